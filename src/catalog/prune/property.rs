#![allow(clippy::unwrap_used)]
//! The property: whatever the rows and the predicate, a container with a row for which DataFusion evaluates the
//! predicate to true is kept, and one that need not be filtered has no other rows.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{SortOptions, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{binary, cast, col, in_list, is_null, like, lit, not};
use proptest::prelude::*;

use super::Pruner;
use super::tests::{column_stats, schema};
use crate::storage::schema::CollectionSchema;
use crate::storage::stats::{PartitionStats, SegmentStats};

/// How many of the columns take part.
const COLUMNS: usize = 4;

fn value_of(data_type: &DataType) -> BoxedStrategy<ScalarValue> {
    let null = ScalarValue::try_from(data_type).unwrap();
    let some: BoxedStrategy<ScalarValue> = match data_type {
        DataType::Int64 => prop_oneof![-3i64..4, Just(i64::MIN), Just(i64::MAX)]
            .prop_map(ScalarValue::from)
            .boxed(),
        DataType::Float64 => prop::sample::select(vec![
            f64::NEG_INFINITY,
            -1.5,
            -0.0,
            0.0,
            f64::MIN_POSITIVE,
            1.0,
            2.0,
            f64::INFINITY,
            f64::NAN,
        ])
        .prop_map(ScalarValue::from)
        .boxed(),
        DataType::Utf8 => ("(aaaa|aaab)?", "[ab\u{d7ff}\u{10ffff}]{0,3}")
            .prop_map(|(head, tail)| ScalarValue::from(format!("{head}{tail}")))
            .boxed(),
        _ => any::<bool>().prop_map(ScalarValue::from).boxed(),
    };
    prop_oneof![1 => Just(null), 5 => some].boxed()
}

fn test_schema() -> CollectionSchema {
    let mut schema = schema();
    schema.columns.truncate(COLUMNS);
    schema
}

/// Containers of rows; each container holds a few values of each column so that bounds are narrow.
fn containers() -> impl Strategy<Value = Vec<Vec<Vec<ScalarValue>>>> {
    let types: Vec<DataType> = test_schema()
        .columns
        .iter()
        .map(|c| c.column_type.arrow_type())
        .collect();
    let container = (1usize..4).prop_flat_map(move |rows| {
        types
            .iter()
            .map(|t| prop::collection::vec(value_of(t), rows))
            .collect::<Vec<_>>()
    });
    prop::collection::vec(container, 1..6)
}

fn leaf() -> BoxedStrategy<Arc<dyn PhysicalExpr>> {
    let schema = test_schema().arrow_schema();
    let operators = vec![
        Operator::Eq,
        Operator::NotEq,
        Operator::Lt,
        Operator::LtEq,
        Operator::Gt,
        Operator::GtEq,
        Operator::IsDistinctFrom,
        Operator::IsNotDistinctFrom,
    ];
    (0..COLUMNS, prop::sample::select(operators), any::<u8>())
        .prop_flat_map(move |(index, operator, shape)| {
            let field = schema.field(index);
            let key = col(field.name(), &schema).unwrap();
            let schema = Arc::clone(&schema);
            let values = prop::collection::vec(value_of(field.data_type()), 1..7);
            values.prop_map(move |values| leaf_of(&key, operator, shape, &values, &schema))
        })
        .boxed()
}

fn leaf_of(
    key: &Arc<dyn PhysicalExpr>,
    operator: Operator,
    shape: u8,
    values: &[ScalarValue],
    schema: &SchemaRef,
) -> Arc<dyn PhysicalExpr> {
    let key = Arc::clone(key);
    let literals = values.iter().map(|v| lit(v.clone()));
    let first = lit(values[0].clone());
    let data_type = key.data_type(schema).unwrap();
    match (shape % 8, &data_type) {
        (0, _) => is_null(key).unwrap(),
        (1 | 2, _) => in_list(key, literals.collect(), &(shape > 127), schema).unwrap(),
        (3, _) => binary(first, operator, key, schema).unwrap(),
        (4 | 5, DataType::Utf8) => {
            let pattern = match &values[0] {
                ScalarValue::Utf8(Some(text)) if shape % 8 == 4 => format!("{text}%"),
                ScalarValue::Utf8(Some(text)) => format!("{text}_%a"),
                _ => "%".to_string(),
            };
            like(shape > 127, false, key, lit(pattern), schema).unwrap()
        }
        (4, DataType::Int64) => {
            let wide = cast(key, schema, DataType::Float64).unwrap();
            binary(wide, operator, lit(0.5f64), schema).unwrap()
        }
        (4, DataType::Boolean) => key,
        _ => binary(key, operator, first, schema).unwrap(),
    }
}

fn predicate() -> impl Strategy<Value = Arc<dyn PhysicalExpr>> {
    leaf().prop_recursive(4, 24, 2, |inner| {
        let schema = test_schema().arrow_schema();
        let operators = prop::sample::select(vec![Operator::And, Operator::Or]);
        let is = vec![Operator::IsDistinctFrom, Operator::IsNotDistinctFrom];
        let other = Arc::clone(&schema);
        prop_oneof![
            4 => (inner.clone(), operators, inner.clone())
                .prop_map(move |(a, op, b)| binary(a, op, b, &schema).unwrap()),
            2 => inner.clone().prop_map(|a| not(a).unwrap()),
            1 => (inner, prop::sample::select(is), any::<bool>())
                .prop_map(move |(a, op, b)| binary(a, op, lit(b), &other).unwrap()),
        ]
    })
}

fn batch_of(container: &[Vec<ScalarValue>]) -> RecordBatch {
    let columns = container
        .iter()
        .map(|values| ScalarValue::iter_to_array(values.iter().cloned()).unwrap())
        .collect();
    RecordBatch::try_new(test_schema().arrow_schema(), columns).unwrap()
}

/// How many rows of the batch are accepted.
fn matches(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> usize {
    let result = predicate.evaluate(batch).unwrap();
    let result = result.into_array(batch.num_rows()).unwrap();
    result.as_boolean().true_count()
}

/// `key >= a AND key < b` and the like, of one column.
fn of_one_column() -> impl Strategy<Value = Arc<dyn PhysicalExpr>> {
    let schema = test_schema().arrow_schema();
    let operators = vec![
        Operator::Eq,
        Operator::Lt,
        Operator::LtEq,
        Operator::Gt,
        Operator::GtEq,
    ];
    let column = prop::sample::select(vec![0, 2, 3]);
    (
        column,
        prop::collection::vec(prop::sample::select(operators), 1..4),
    )
        .prop_flat_map(move |(index, operators)| {
            let field = schema.field(index);
            let key = col(field.name(), &schema).unwrap();
            let schema = Arc::clone(&schema);
            let values = prop::collection::vec(value_of(field.data_type()), operators.len());
            values.prop_map(move |values| {
                let compared = operators.iter().zip(values).map(|(operator, value)| {
                    binary(Arc::clone(&key), *operator, lit(value), &schema).unwrap()
                });
                let and = |a, b| binary(a, Operator::And, b, &schema).unwrap();
                compared.reduce(and).unwrap()
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn an_interval_is_what_the_predicate_accepts_of_a_sorted_column(
        containers in containers(),
        predicate in of_one_column(),
    ) {
        let schema = test_schema().arrow_schema();
        let pruner = Pruner::new(&predicate, &schema);
        let Some(interval) = pruner.interval() else {
            return Ok(());
        };
        let batches: Vec<RecordBatch> = containers.iter().map(|c| batch_of(c)).collect();
        let rows = concat_batches(&schema, &batches).unwrap();
        let place = test_schema().index_of(interval.field()).unwrap();
        let nulls_last = SortOptions { descending: false, nulls_first: false };
        let order = sort_to_indices(rows.column(place), Some(nulls_last), None).unwrap();
        let sorted = take_record_batch(&rows, &order).unwrap();
        let accepted = predicate.evaluate(&sorted).unwrap().into_array(sorted.num_rows()).unwrap();
        let accepted: Vec<usize> = (0..sorted.num_rows())
            .filter(|i| accepted.as_boolean().is_valid(*i) && accepted.as_boolean().value(*i))
            .collect();
        let found: Vec<usize> = interval.of_sorted(sorted.column(place)).unwrap().collect();
        prop_assert_eq!(found, accepted, "{}", predicate);
    }

    #[test]
    fn containers_are_pruned_and_left_unfiltered_rightly(
        containers in containers(),
        predicate in predicate(),
        text_max in 1usize..8,
    ) {
        let schema = test_schema();
        let segments: Vec<(u64, SegmentStats)> = containers
            .iter()
            .map(|container| {
                let columns = schema.columns.iter().zip(container);
                let stats = SegmentStats {
                    columns: columns.map(|(c, v)| column_stats(c.id, v, text_max)).collect(),
                    ..SegmentStats::default()
                };
                (container[0].len() as u64, stats)
            })
            .collect();
        let borrowed: Vec<_> = segments.iter().map(|(rows, stats)| (*rows, stats)).collect();
        let stats = PartitionStats::build(&schema, &borrowed);
        let pruner = Pruner::new(&predicate, &schema.arrow_schema());
        let (kept, all) = (pruner.may_match(&stats), pruner.must_match(&stats));
        prop_assert_eq!(&pruner.matches(&stats), &(kept.clone(), all.clone()));
        prop_assert_eq!(&pruner.verdicts(&stats), &(kept.clone(), all.clone()), "{}", predicate);
        for (i, container) in containers.iter().enumerate() {
            let batch = batch_of(container);
            let matching = matches(&predicate, &batch);
            prop_assert!(kept.value(i) || matching == 0, "container {} of {} lost", i, predicate);
            let filtered = !all.value(i) || matching == batch.num_rows();
            prop_assert!(filtered, "container {} of {} is not filtered", i, predicate);
        }
    }
}
