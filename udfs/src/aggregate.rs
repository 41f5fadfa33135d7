//! `vector_avg` and `vector_sum`: the average and the sum of vectors, in `f64`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{exec_err, not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, ReversedUDAF, Signature};
use datafusion::scalar::ScalarValue;
use half::f16;

use crate::error::VectorError;
use crate::functions::result_type;
use crate::input::Vectors;
use crate::output::vector_scalar;
use crate::signature::{argument_type, immutable};
use crate::types::{Element, VectorType, is_number_list};

/// What an aggregate makes of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    /// Divides it by the number of vectors.
    Average,
    /// Leaves it.
    Sum,
}

/// `vector_avg` and `vector_sum`; NULL when there is no vector at all.
///
/// Vectors of one group must have one dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VectorAggregate {
    total: Total,
    signature: Signature,
}

impl VectorAggregate {
    /// The aggregate.
    pub fn new(total: Total) -> Self {
        Self {
            total,
            signature: immutable(),
        }
    }
}

impl AggregateUDFImpl for VectorAggregate {
    fn name(&self) -> &str {
        match self.total {
            Total::Average => "vector_avg",
            Total::Sum => "vector_sum",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let open = VectorType::unsized_of(Element::Single);
        Ok(argument_type(&types[0]).unwrap_or(open).arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [vector] if is_number_list(vector) || vector.is_null() => Ok(types.to_vec()),
            _ => plan_err!("{} takes one vector, not {types:?}", self.name()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(
                format_state_name(args.name, "sum"),
                sum_type(),
                true,
            )),
            Arc::new(Field::new(
                format_state_name(args.name, "count"),
                DataType::Int64,
                false,
            )),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("DISTINCT in {}", self.name());
        }
        let target = result_type(&args.return_field)?;
        Ok(Box::new(VectorAccumulator {
            total: self.total,
            target,
            sum: vec![],
            count: 0,
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

fn sum_type() -> DataType {
    DataType::new_list(DataType::Float64, true)
}

#[derive(Debug)]
struct VectorAccumulator {
    total: Total,
    target: VectorType,
    /// Empty until the first vector comes.
    sum: Vec<f64>,
    count: i64,
}

impl VectorAccumulator {
    fn add(&mut self, vector: impl ExactSizeIterator<Item = f64>) -> Result<(), VectorError> {
        if self.sum.is_empty() {
            self.sum.extend(vector);
            return Ok(());
        }
        let (expected, actual) = (self.sum.len(), vector.len());
        if actual != expected {
            return Err(match self.total {
                Total::Average => VectorError::unexpected_dimension(expected, actual),
                Total::Sum => {
                    VectorError::different_dimensions(self.target.element, expected, actual)
                }
            });
        }
        self.sum
            .iter_mut()
            .zip(vector)
            .for_each(|(sum, x)| *sum += x);
        Ok(())
    }

    fn element(&self, sum: f64) -> Result<f32, VectorError> {
        let value = match self.total {
            Total::Average => sum / self.count as f64,
            Total::Sum => sum,
        };
        let narrow = value as f32;
        let is_half = self.target.element == Element::Half;
        if narrow.is_infinite() || is_half && f16::from_f32(narrow).is_infinite() {
            return Err(VectorError::overflow());
        }
        Ok(narrow)
    }
}

impl Accumulator for VectorAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let vectors = Vectors::try_new(&values[0])?.into_single();
        for vector in (0..vectors.len()).filter_map(|row| vectors.get(row)) {
            self.add(vector.iter().map(|&x| f64::from(x)))?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let vectors = Vectors::try_new(&values[0])?.into_single();
        for vector in (0..vectors.len()).filter_map(|row| vectors.get(row)) {
            self.add(vector.iter().map(|&x| -f64::from(x)))?;
            self.count -= 1;
        }
        if self.count == 0 {
            // An empty frame has no dimension, and no rounding error to pass on.
            self.sum.clear();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else {
            return exec_err!(
                "an aggregate of vectors has two states, not {}",
                states.len()
            );
        };
        let counts = counts.as_primitive::<Int64Type>();
        for (row, sum) in sums.as_list::<i32>().iter().enumerate() {
            if let Some(sum) = sum.filter(|sum| !sum.is_empty()) {
                self.add(sum.as_primitive::<Float64Type>().values().iter().copied())?;
                self.count += counts.value(row);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = (self.count > 0).then(|| {
            let sum: Vec<_> = self
                .sum
                .iter()
                .map(|x| ScalarValue::Float64(Some(*x)))
                .collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&sum, &DataType::Float64))
        });
        let sum = sum.map_or_else(|| ScalarValue::try_from(&sum_type()), Ok)?;
        Ok(vec![sum, ScalarValue::Int64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.target.arrow());
        }
        let values: Result<Vec<f32>, _> = self.sum.iter().map(|sum| self.element(*sum)).collect();
        vector_scalar(&values?, self.target)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sum.capacity() * size_of::<f64>()
    }
}
