//! Variances of all rows or of a frame, of the numbers that differ, and of many groups at once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, Int64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::moments::{Moments, Task, changed, unscaled};
use crate::catalog::quotient::overflow;

/// The columns of moments in a state.
fn moments_in(states: &[ArrayRef]) -> impl Iterator<Item = Moments> + '_ {
    let counts = states[0].as_primitive::<Int64Type>().values().iter();
    let sums = states[1].as_primitive::<Decimal128Type>().values().iter();
    let squares = states[2].as_primitive::<Decimal256Type>().values().iter();
    let parts = counts.zip(sums).zip(squares);
    parts.map(|((count, sum), squares)| Moments {
        count: *count,
        sum: *sum,
        squares: *squares,
    })
}

fn columns_of(moments: &[Moments], scale: i8) -> Vec<ArrayRef> {
    let sums = Decimal128Array::from_iter_values(moments.iter().map(|of| of.sum));
    let sums = sums.with_data_type(DataType::Decimal128(38, scale));
    let squares = Decimal256Array::from_iter_values(moments.iter().map(|of| of.squares));
    let squares = squares.with_data_type(DataType::Decimal256(76, 0));
    let counts = Int64Array::from_iter_values(moments.iter().map(|of| of.count));
    vec![Arc::new(counts), Arc::new(sums), Arc::new(squares)]
}

#[derive(Debug)]
pub(super) struct Rows {
    task: Task,
    moments: Moments,
}

impl Rows {
    pub(super) fn new(task: Task) -> Self {
        let moments = Moments::default();
        Self { task, moments }
    }
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.moments = changed(self.moments, &values[0], Moments::with)?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.moments = changed(self.moments, &values[0], Moments::without)?;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let all = moments_in(states).try_fold(self.moments, Moments::and);
        self.moments = all.ok_or_else(overflow)?;
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = columns_of(&[self.moments], self.task.scale);
        let values = columns
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0));
        values.collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.task.value_of(self.moments)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[derive(Debug)]
pub(super) struct Distinct {
    task: Task,
    numbers: HashSet<i128>,
}

impl Distinct {
    pub(super) fn new(task: Task) -> Self {
        let numbers = HashSet::new();
        Self { task, numbers }
    }

    fn insert(&mut self, numbers: &ArrayRef) {
        let numbers = numbers.as_primitive::<Decimal128Type>().iter().flatten();
        self.numbers.extend(numbers);
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.insert(&unscaled(&values[0])?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for numbers in states[0].as_list::<i32>().iter().flatten() {
            self.insert(&numbers);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let numbers = Decimal128Array::from_iter_values(self.numbers.iter().copied());
        let numbers = numbers.with_precision_and_scale(38, self.task.scale)?;
        let list = SingleRowListArrayBuilder::new(Arc::new(numbers));
        Ok(vec![list.build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut numbers = self.numbers.iter().copied();
        let moments = numbers.try_fold(Moments::default(), Moments::with);
        self.task.value_of(moments.ok_or_else(overflow)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.numbers.capacity() * (size_of::<i128>() + 1)
    }
}

pub(super) struct Groups {
    task: Task,
    moments: Vec<Moments>,
}

impl Groups {
    pub(super) fn new(task: Task) -> Self {
        let moments = Vec::new();
        Self { task, moments }
    }
}

/// Whether a row counts.
fn is_kept(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.moments.resize(total, Moments::default());
        let numbers = unscaled(&values[0])?;
        let numbers = numbers.as_primitive::<Decimal128Type>();
        for (row, group) in groups.iter().enumerate() {
            if numbers.is_valid(row) && is_kept(filter, row) {
                let with = self.moments[*group].with(numbers.value(row));
                self.moments[*group] = with.ok_or_else(overflow)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.moments.resize(total, Moments::default());
        for (group, more) in groups.iter().zip(moments_in(states)) {
            let all = self.moments[*group].and(more);
            self.moments[*group] = all.ok_or_else(overflow)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let moments = emit_to.take_needed(&mut self.moments);
        let values = moments
            .into_iter()
            .map(|moments| self.task.result_of(moments));
        let values: Decimal128Array = values.collect::<Result<_>>()?;
        Ok(Arc::new(values.with_data_type(DataType::Decimal128(
            38,
            self.task.result,
        ))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let moments = emit_to.take_needed(&mut self.moments);
        Ok(columns_of(&moments, self.task.scale))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let numbers = unscaled(&values[0])?;
        let numbers = numbers.as_primitive::<Decimal128Type>();
        let of_row = |row: usize| match numbers.is_valid(row) && is_kept(filter, row) {
            true => Moments::default()
                .with(numbers.value(row))
                .ok_or_else(overflow),
            false => Ok(Moments::default()),
        };
        let moments = (0..numbers.len()).map(of_row);
        let moments = moments.collect::<Result<Vec<_>, _>>()?;
        Ok(columns_of(&moments, self.task.scale))
    }

    fn size(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}
