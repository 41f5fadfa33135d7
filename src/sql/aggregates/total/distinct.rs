//! The sum or the average of the numbers that differ.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::DataType;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::Task;
use super::input::{Input, SumOf};
use crate::catalog::quotient::overflow;

#[derive(Debug)]
pub(super) struct DistinctTotal<I: Input> {
    task: Task,
    numbers: HashSet<SumOf<I>>,
}

impl<I: Input> DistinctTotal<I> {
    pub(super) fn new(task: Task) -> Self {
        let numbers = HashSet::new();
        Self { task, numbers }
    }
}

impl<I: Input> Accumulator for DistinctTotal<I> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<I>().iter().flatten();
        self.numbers.extend(numbers.map(I::widened));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for numbers in states[0].as_list::<i32>().iter().flatten() {
            let numbers = numbers.as_primitive::<I::Sum>().iter().flatten();
            self.numbers.extend(numbers);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let numbers = PrimitiveArray::<I::Sum>::from_iter_values(self.numbers.iter().copied());
        let numbers = numbers.with_data_type(self.task.sum.clone());
        let list = SingleRowListArrayBuilder::new(Arc::new(numbers));
        Ok(vec![list.build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut numbers = self.numbers.iter().map(|number| (*number).into());
        let sum = numbers.try_fold(0_i128, i128::checked_add);
        let sum = sum.ok_or_else(overflow)?;
        let value = self.task.value_of(sum, self.numbers.len() as i64)?;
        match value {
            // Numbers that differ are few enough for a sum of 64 bits.
            ScalarValue::Int64(None) if !self.numbers.is_empty() => Err(overflow().into()),
            value => Ok(value),
        }
    }

    fn size(&self) -> usize {
        let entry = DataType::primitive_width(&self.task.sum).unwrap_or_default() + 1;
        size_of_val(self) + self.numbers.capacity() * entry
    }
}
