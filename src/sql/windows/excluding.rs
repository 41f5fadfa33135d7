//! Functions over what a frame leaves of its rows.
//!
//! Each row's answer is computed of its rows anew: as long as the frames are, so many steps a row takes.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::{filter, partition, take};
use arrow::datatypes::{Field, FieldRef, Int64Type, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    AggregateUDF, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};

use super::Exclusion;
use crate::error::{Error, sqlstate};

/// What is computed of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Computed {
    Aggregate(Arc<AggregateUDF>),
    First,
    Last,
    /// The value at a place, which is the second argument.
    Nth,
}

/// A function over the rows that its frame does not leave out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Excluding {
    name: String,
    computed: Computed,
    exclusion: Exclusion,
    /// Whether the last argument says which rows count.
    has_filter: bool,
    signature: Signature,
}

impl Excluding {
    pub(super) fn new(
        name: &str,
        computed: Computed,
        exclusion: Exclusion,
        has_filter: bool,
    ) -> Self {
        Self {
            name: name.to_string(),
            computed,
            exclusion,
            has_filter,
            // The arguments are of the right types by now.
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    /// The fields of the arguments, without the filter.
    fn arguments<'f>(&self, fields: &'f [FieldRef]) -> &'f [FieldRef] {
        &fields[..fields.len() - usize::from(self.has_filter)]
    }
}

impl WindowUDFImpl for Excluding {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let fields = self.arguments(args.input_fields());
        let field = match &self.computed {
            Computed::Aggregate(function) => function.return_field(fields)?.as_ref().clone(),
            // Where nothing is left there is no value.
            _ => Field::clone(&fields[0]).with_nullable(true),
        };
        Ok(Arc::new(field.with_name(args.name())))
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let fields = self.arguments(args.input_fields());
        let aggregate = match &self.computed {
            Computed::Aggregate(function) => {
                Some(aggregate_of(function, fields, args.input_exprs())?)
            }
            _ => None,
        };
        Ok(Box::new(Evaluator {
            aggregate,
            computed: self.computed.clone(),
            exclusion: self.exclusion,
            arguments: fields.len(),
            has_filter: self.has_filter,
            peers: Vec::new(),
            row: 0,
        }))
    }
}

/// The aggregate of columns of these fields, in their order. Arguments that are literals stay what they are: some, such as
/// the delimiter of `string_agg`, have to be.
fn aggregate_of(
    function: &Arc<AggregateUDF>,
    fields: &[FieldRef],
    arguments: &[Arc<dyn PhysicalExpr>],
) -> Result<AggregateFunctionExpr> {
    let named = |(place, field): (usize, &FieldRef)| {
        let field = Field::clone(field).with_name(format!("{place}"));
        Arc::new(field)
    };
    let fields: Vec<FieldRef> = fields.iter().enumerate().map(named).collect();
    let columns = fields.iter().zip(arguments).enumerate();
    let columns = columns.map(
        |(place, (field, argument))| match argument.is::<Literal>() {
            true => Arc::clone(argument),
            false => Arc::new(Column::new(field.name(), place)),
        },
    );
    AggregateExprBuilder::new(Arc::clone(function), columns.collect())
        .schema(Arc::new(Schema::new(fields.clone())))
        .alias(function.name())
        .build()
}

#[derive(Debug)]
struct Evaluator {
    aggregate: Option<AggregateFunctionExpr>,
    computed: Computed,
    exclusion: Exclusion,
    arguments: usize,
    has_filter: bool,
    /// The rows of each group of peers, in order.
    peers: Vec<Range<usize>>,
    /// The row that is next.
    row: usize,
}

impl PartitionEvaluator for Evaluator {
    fn uses_window_frame(&self) -> bool {
        true
    }

    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<ScalarValue> {
        let (row, rows) = (self.row, values[0].len());
        if row == 0 {
            let columns = self.arguments + usize::from(self.has_filter);
            self.peers = groups_of(&values[columns..], rows)?;
        }
        self.row += 1;
        let at = self.peers.partition_point(|group| group.end <= row);
        let rest = self.exclusion.rest(frame, row, &self.peers[at]);
        match self.computed {
            Computed::Aggregate(_) => self.total(values, rest),
            Computed::First => value_at(values, rest.first().map(|part| part.start)),
            Computed::Last => value_at(values, rest.last().map(|part| part.end - 1)),
            Computed::Nth => {
                let place = place_at(&values[1], row)?;
                value_at(
                    values,
                    place.and_then(|place| rest.into_iter().flatten().nth(place)),
                )
            }
        }
    }
}

impl Evaluator {
    /// The aggregate of the rows in these parts.
    fn total(&self, values: &[ArrayRef], parts: Vec<Range<usize>>) -> Result<ScalarValue> {
        let Some(aggregate) = &self.aggregate else {
            return datafusion::common::internal_err!("an aggregate without a function");
        };
        let mut total = aggregate.create_accumulator()?;
        for part in parts {
            let slice = |array: &ArrayRef| array.slice(part.start, part.len());
            let mut slices: Vec<ArrayRef> = values[..self.arguments].iter().map(slice).collect();
            if self.has_filter {
                let counts = true_ones(slice(&values[self.arguments]).as_boolean());
                for slice in &mut slices {
                    *slice = filter(slice, &counts)?;
                }
            }
            total.update_batch(&slices)?;
        }
        total.evaluate()
    }
}

/// Those that are true, where NULL is not.
fn true_ones(filter: &BooleanArray) -> BooleanArray {
    filter
        .iter()
        .map(|counts| Some(counts == Some(true)))
        .collect()
}

/// The rows that have the same keys, in order.
fn groups_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    match keys {
        [] => Ok(std::iter::once(0..rows).collect()),
        keys => Ok(partition(keys)?.ranges()),
    }
}

/// The first argument's value in a row, NULL where there is none.
fn value_at(values: &[ArrayRef], row: Option<usize>) -> Result<ScalarValue> {
    let place = UInt64Array::from(vec![row.map(|row| row as u64)]);
    ScalarValue::try_from_array(&take(&values[0], &place, None)?, 0)
}

/// The place that a row asks for, from 0.
///
/// # Errors
/// 22016 for a place before the first.
fn place_at(places: &ArrayRef, row: usize) -> Result<Option<usize>> {
    let places = arrow::compute::cast(places, &arrow::datatypes::DataType::Int64)?;
    let places = places.as_primitive::<Int64Type>();
    if places.is_null(row) {
        return Ok(None);
    }
    let place = usize::try_from(places.value(row)).ok();
    match place.and_then(|place| place.checked_sub(1)) {
        Some(place) => Ok(Some(place)),
        None => {
            let message = "argument of nth_value must be greater than zero";
            Err(Error::invalid(sqlstate::INVALID_ARGUMENT_FOR_NTH_VALUE, message).into())
        }
    }
}
