//! The sums or the averages of many groups at once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::unary;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::NullState;

use super::input::{Input, SumOf, add};
use super::{Task, Total};
use crate::catalog::quotient::overflow;

pub(super) struct TotalGroups<I: Input> {
    task: Task,
    sums: Vec<SumOf<I>>,
    /// How many numbers each sum is of; of averages alone.
    counts: Vec<i64>,
    /// Which groups have numbers.
    seen: NullState,
}

impl<I: Input> TotalGroups<I> {
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            sums: Vec::new(),
            counts: Vec::new(),
            seen: NullState::new(),
        }
    }

    fn is_average(&self) -> bool {
        self.task.total == Total::Average
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, SumOf::<I>::default());
        if self.is_average() {
            self.counts.resize(groups, 0);
        }
    }

    fn sums(&mut self, emit_to: EmitTo) -> (Vec<SumOf<I>>, Option<NullBuffer>) {
        let sums = emit_to.take_needed(&mut self.sums);
        (sums, self.seen.build(emit_to))
    }

    fn averages(&self, sums: &[SumOf<I>], counts: &[i64]) -> Result<Vec<i128>> {
        let sums = sums.iter().map(|sum| (*sum).into());
        let averages = sums.zip(counts).map(|(sum, count)| match count {
            0 => Ok(0),
            count => self.task.result_of(sum, *count),
        });
        averages.collect()
    }
}

fn has_room(has_room: bool) -> Result<()> {
    match has_room {
        true => Ok(()),
        false => Err(overflow().into()),
    }
}

impl<I: Input> GroupsAccumulator for TotalGroups<I> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let numbers = values[0].as_primitive::<I>();
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        let mut fits = true;
        match self.task.total {
            Total::Sum => self
                .seen
                .accumulate(groups, numbers, filter, total, |group, number| {
                    fits &= add::<I>(&mut sums[group], I::widened(number));
                }),
            Total::Average => {
                self.seen
                    .accumulate(groups, numbers, filter, total, |group, number| {
                        fits &= add::<I>(&mut sums[group], I::widened(number));
                        counts[group] += 1;
                    });
            }
        }
        has_room(fits)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let added = states[0].as_primitive::<I::Sum>();
        let sums = &mut self.sums;
        let mut fits = true;
        self.seen
            .accumulate(groups, added, None, total, |group, sum| {
                fits &= add::<I>(&mut sums[group], sum);
            });
        if self.is_average() {
            let counts = states[1].as_primitive::<Int64Type>();
            for (group, count) in groups.iter().zip(counts.values()) {
                self.counts[*group] += count;
            }
        }
        has_room(fits)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, nulls) = self.sums(emit_to);
        if self.is_average() {
            let counts = emit_to.take_needed(&mut self.counts);
            let averages = self.averages(&sums, &counts)?;
            return Ok(typed::<Decimal128Type>(averages, nulls, &self.task.result));
        }
        Ok(typed::<I::Sum>(sums, nulls, &self.task.result))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, nulls) = self.sums(emit_to);
        let mut state = vec![typed::<I::Sum>(sums, nulls, &self.task.sum)];
        if self.is_average() {
            let counts = emit_to.take_needed(&mut self.counts);
            state.push(Arc::new(Int64Array::from(counts)));
        }
        Ok(state)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let numbers = values[0].as_primitive::<I>();
        let kept = filter.map(|filter| match filter.nulls() {
            Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
            None => NullBuffer::new(filter.values().clone()),
        });
        let nulls = NullBuffer::union(numbers.nulls(), kept.as_ref());
        let sums: PrimitiveArray<I::Sum> = unary(numbers, I::widened);
        let (_, sums, _) = sums.into_parts();
        let count = |row| i64::from(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
        let counts = Int64Array::from_iter_values((0..numbers.len()).map(count));
        let sums = PrimitiveArray::<I::Sum>::new(sums, nulls);
        let sums = sums.with_data_type(self.task.sum.clone());
        Ok(match self.task.total {
            Total::Sum => vec![Arc::new(sums)],
            Total::Average => vec![Arc::new(sums), Arc::new(counts)],
        })
    }

    fn size(&self) -> usize {
        let sums = self.sums.capacity() * size_of::<SumOf<I>>();
        sums + self.counts.capacity() * size_of::<i64>() + self.seen.size()
    }
}

fn typed<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let values = PrimitiveArray::<T>::new(values.into(), nulls);
    Arc::new(values.with_data_type(data_type.clone()))
}
