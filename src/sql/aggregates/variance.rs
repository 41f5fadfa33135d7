//! Variances and deviations of numbers that are not finite.
//!
//! DataFusion's variance of one number is zero, whatever the number, and a frame of a window that has held a NaN never gets
//! rid of it. What it keeps of its rows (their count, their mean, and the sum of the squares of their distances from it)
//! tells PostgreSQL's answer; frames count what is not finite apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature,
};

/// The functions.
pub(super) fn functions() -> [(AggregateUDF, Measure); 4] {
    let all = [
        (var_pop_udaf(), false, false),
        (var_samp_udaf(), true, false),
        (stddev_pop_udaf(), false, true),
        (stddev_udaf(), true, true),
    ];
    all.map(|(inner, of_sample, is_root)| {
        let measure = Measure { of_sample, is_root };
        (Variance { inner, measure }.into(), measure)
    })
}

/// What is made of the sum of squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Measure {
    pub(super) of_sample: bool,
    pub(super) is_root: bool,
}

impl Measure {
    fn of(self, count: u64, squares: f64) -> Option<f64> {
        let divisor = count.checked_sub(u64::from(self.of_sample));
        let divisor = divisor.filter(|divisor| *divisor > 0)?;
        let variance = squares / divisor as f64;
        Some(if self.is_root {
            variance.sqrt()
        } else {
            variance
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Variance {
    /// DataFusion's.
    inner: Arc<AggregateUDF>,
    measure: Measure,
}

impl AggregateUDFImpl for Variance {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let is_distinct = args.is_distinct;
        let inner = self.inner.accumulator(args)?;
        Ok(match is_distinct {
            // Its state is the numbers.
            true => inner,
            false => Box::new(Measured {
                inner,
                measure: self.measure,
            }),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let is_distinct = args.is_distinct;
        let finite = self.inner.create_sliding_accumulator(args)?;
        Ok(match is_distinct {
            true => finite,
            false => Box::new(Sliding {
                finite,
                others: 0,
                measure: self.measure,
            }),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(Box::new(MeasuredGroups {
            inner,
            measure: self.measure,
        }))
    }
}

/// The count and the sum of squares in an accumulator's state.
fn moments(inner: &mut dyn Accumulator) -> Result<(u64, f64)> {
    Ok(match inner.state()?.as_slice() {
        [
            ScalarValue::UInt64(Some(count)),
            _,
            ScalarValue::Float64(Some(squares)),
        ] => (*count, *squares),
        _ => (0, 0.0),
    })
}

#[derive(Debug)]
struct Measured {
    inner: Box<dyn Accumulator>,
    measure: Measure,
}

impl Accumulator for Measured {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (count, squares) = moments(self.inner.as_mut())?;
        Ok(ScalarValue::Float64(self.measure.of(count, squares)))
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

/// The numbers of a frame, those that are not finite only counted.
#[derive(Debug)]
struct Sliding {
    finite: Box<dyn Accumulator>,
    others: u64,
    measure: Measure,
}

/// The finite numbers, and how many others there are.
fn finite(values: &[ArrayRef]) -> Result<(ArrayRef, u64)> {
    let numbers = values[0].as_primitive::<Float64Type>();
    let is_finite: BooleanArray = numbers.iter().map(|n| n.map(f64::is_finite)).collect();
    let finite = arrow::compute::filter(numbers, &is_finite)?;
    let known = numbers.len() - numbers.null_count();
    Ok((Arc::clone(&finite), (known - finite.len()) as u64))
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (finite, others) = finite(values)?;
        self.others += others;
        self.finite.update_batch(&[finite])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (finite, others) = finite(values)?;
        self.others -= others;
        self.finite.retract_batch(&[finite])
    }

    fn supports_retract_batch(&self) -> bool {
        self.finite.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.finite.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.finite.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (count, squares) = moments(self.finite.as_mut())?;
        let squares = if self.others > 0 { f64::NAN } else { squares };
        let measured = self.measure.of(count + self.others, squares);
        Ok(ScalarValue::Float64(measured))
    }

    fn size(&self) -> usize {
        self.finite.size()
    }
}

struct MeasuredGroups {
    inner: Box<dyn GroupsAccumulator>,
    measure: Measure,
}

impl GroupsAccumulator for MeasuredGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, groups, filter, total)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit)?;
        let counts = state[0].as_primitive::<UInt64Type>();
        let squares = state[2].as_primitive::<Float64Type>();
        let groups = counts.values().iter().zip(squares.values());
        let measured = groups.map(|(count, squares)| self.measure.of(*count, *squares));
        Ok(Arc::new(measured.collect::<Float64Array>()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
