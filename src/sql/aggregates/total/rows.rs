//! The sum or the average of all rows, or of those of a window frame.

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::input::{Input, SumOf, add, sum_of};
use super::{Task, Total};
use crate::catalog::quotient::overflow;

#[derive(Debug)]
pub(super) struct RowTotal<I: Input> {
    task: Task,
    sum: SumOf<I>,
    /// How many numbers the sum is of.
    count: i64,
}

impl<I: Input> RowTotal<I> {
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            sum: SumOf::<I>::default(),
            count: 0,
        }
    }

    /// # Errors
    /// 22003 for a sum without room.
    fn add(&mut self, more: SumOf<I>) -> Result<()> {
        match add::<I>(&mut self.sum, more) {
            true => Ok(()),
            false => Err(overflow().into()),
        }
    }
}

fn numbers_in(array: &ArrayRef) -> i64 {
    (array.len() - array.null_count()) as i64
}

impl<I: Input> Accumulator for RowTotal<I> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += numbers_in(&values[0]);
        self.add(sum_of::<I>(values[0].as_primitive())?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= numbers_in(&values[0]);
        let less = sum_of::<I>(values[0].as_primitive())?;
        self.sum = self.sum.sub_wrapping(less);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for sum in states[0].as_primitive::<I::Sum>().iter().flatten() {
            self.add(sum)?;
        }
        self.count += match self.task.total {
            // That there are some is all there is to know.
            Total::Sum => numbers_in(&states[0]),
            Total::Average => {
                let counts = states[1].as_primitive::<Int64Type>();
                counts.iter().flatten().sum()
            }
        };
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = self.task.sum_value(self.sum.into(), self.count > 0);
        Ok(match self.task.total {
            Total::Sum => vec![sum],
            Total::Average => vec![sum, self.count.into()],
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.task.value_of(self.sum.into(), self.count)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
