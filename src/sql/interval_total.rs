//! `sum` and `avg` of intervals: months, days and times are added each for itself, as PostgreSQL adds them.
//!
//! DataFusion has no average of them, and its sum goes round where it is too long. It finds an aggregate by its name alone,
//! so the name holds a function that looks at its argument; the rule of `interval_order` puts the function below back
//! wherever that is no interval.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};
use shelfmark_udfs::coerced_types;

use super::aggregates::totals_of_numbers;
use super::functions::{INTERVAL, divided, interval_out_of_range};
use crate::error::Error;

/// What is made of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Total {
    Sum,
    Average,
}

/// An aggregate for intervals under the name of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IntervalTotal {
    total: Total,
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl IntervalTotal {
    fn new(total: Total, inner: Arc<AggregateUDF>) -> Self {
        Self {
            total,
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// `sum` and `avg`, those of numbers below.
    pub(crate) fn functions() -> [Arc<AggregateUDF>; 2] {
        let [sum, average] = totals_of_numbers();
        let totals = [(Total::Sum, sum), (Total::Average, average)];
        totals.map(|(total, inner)| Arc::new(Self::new(total, Arc::new(inner)).into()))
    }

    /// The function below, where there is one.
    pub(super) fn inner_of(function: &AggregateUDF) -> Option<&Arc<AggregateUDF>> {
        let total = function.inner().downcast_ref::<Self>();
        total.map(|total| &total.inner)
    }

    fn takes(fields: &[FieldRef]) -> bool {
        matches!(fields, [field] if field.data_type() == &INTERVAL)
    }
}

impl AggregateUDFImpl for IntervalTotal {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if matches!(types, [DataType::Interval(_)]) {
            return Ok(vec![INTERVAL]);
        }
        coerced_types(&self.inner, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Interval(_)] => Ok(INTERVAL),
            types => self.inner.return_type(types),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match Self::takes(fields) {
            true => Ok(Arc::new(Field::new(self.name(), INTERVAL, true))),
            false => self.inner.return_field(fields),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !Self::takes(args.input_fields) {
            return self.inner.state_fields(args);
        }
        let sum = Field::new(format_state_name(args.name, "sum"), INTERVAL, true);
        let count = format_state_name(args.name, "count");
        let count = Field::new(count, DataType::Int64, false);
        Ok(vec![Arc::new(sum), Arc::new(count)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !Self::takes(args.expr_fields) {
            return self.inner.accumulator(args);
        }
        if args.is_distinct {
            let message = format!("DISTINCT in {} of intervals is not supported", self.name());
            return Err(Error::unsupported(message).into());
        }
        Ok(Box::new(Accumulated {
            total: self.total,
            sum: IntervalMonthDayNano::default(),
            count: 0,
        }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match Self::takes(args.expr_fields) {
            true => self.accumulator(args),
            false => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !Self::takes(args.expr_fields) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match Self::takes(args.expr_fields) {
            true => Err(Error::internal("intervals are added up group by group").into()),
            false => self.inner.create_groups_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

#[derive(Debug)]
struct Accumulated {
    total: Total,
    sum: IntervalMonthDayNano,
    /// How many intervals the sum is of.
    count: i64,
}

impl Accumulated {
    fn change(
        &mut self,
        values: &ArrayRef,
        by: fn(IntervalMonthDayNano, IntervalMonthDayNano) -> Option<IntervalMonthDayNano>,
    ) -> Result<()> {
        for value in values
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .flatten()
        {
            self.sum = by(self.sum, value).ok_or_else(interval_out_of_range)?;
        }
        Ok(())
    }
}

fn plus(a: IntervalMonthDayNano, b: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        nanoseconds: a.nanoseconds.checked_add(b.nanoseconds)?,
    })
}

fn minus(a: IntervalMonthDayNano, b: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano {
        months: a.months.checked_sub(b.months)?,
        days: a.days.checked_sub(b.days)?,
        nanoseconds: a.nanoseconds.checked_sub(b.nanoseconds)?,
    })
}

fn values_of(array: &ArrayRef) -> i64 {
    (array.len() - array.null_count()) as i64
}

impl Accumulator for Accumulated {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += values_of(&values[0]);
        self.change(&values[0], plus)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= values_of(&values[0]);
        self.change(&values[0], minus)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[1].as_primitive::<Int64Type>();
        self.count += counts.iter().flatten().sum::<i64>();
        self.change(&states[0], plus)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::IntervalMonthDayNano(Some(self.sum));
        Ok(vec![sum, self.count.into()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match (self.count, self.total) {
            (0, _) => None,
            (_, Total::Sum) => Some(self.sum),
            (count, Total::Average) => {
                let average = divided(self.sum, count as f64);
                Some(average.ok_or_else(interval_out_of_range)?)
            }
        };
        Ok(ScalarValue::IntervalMonthDayNano(value))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
