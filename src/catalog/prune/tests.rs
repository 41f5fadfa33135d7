#![allow(clippy::unwrap_used)]
//! Tables of predicates, and which containers each of them keeps.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, binary, cast, col, lit};
use datafusion::prelude::SessionContext;

use super::*;
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId};
use crate::storage::stats::{Bound, ColumnStats, SegmentStats};

fn column(id: u32, name: &str, column_type: ColumnType) -> Column {
    Column {
        id: FieldId(id),
        name: name.to_string(),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    }
}

pub(super) fn schema() -> CollectionSchema {
    CollectionSchema {
        columns: vec![
            column(1, "key", ColumnType::BigInt),
            column(2, "price", ColumnType::Double),
            column(3, "title", ColumnType::Text),
            column(4, "flag", ColumnType::Boolean),
            column(5, "born", ColumnType::Date),
            column(6, "seen", ColumnType::TimestampTz),
            column(7, "cost", ColumnType::Numeric(10, 2)),
            column(8, "small", ColumnType::SmallInt),
            column(9, "embedding", ColumnType::Vector(2)),
        ],
        primary_key: vec![],
        clustering_key: vec![FieldId(1)],
        partition_key: None,
        next_field_id: FieldId(10),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    }
}

/// The statistics of values, as the writer of a segment makes them; texts are cut to `text_max` characters.
pub(super) fn column_stats(field: FieldId, values: &[ScalarValue], text_max: usize) -> ColumnStats {
    let is_nan = |v: &ScalarValue| matches!(v, ScalarValue::Float64(Some(x)) if x.is_nan());
    let nan_count = values.iter().filter(|v| is_nan(v)).count() as u64;
    let bounds = values
        .iter()
        .filter(|v| !is_nan(v))
        .filter_map(Bound::from_scalar);
    let bounds: Vec<Bound> = bounds.collect();
    let least = |a: Bound, b: Bound| if b < a { b } else { a };
    let greatest = |a: Bound, b: Bound| if b > a { b } else { a };
    let cut = |b: &Bound| match b {
        Bound::Text(t) if t.chars().count() > text_max => Some(t.chars().take(text_max).collect()),
        _ => None,
    };
    let min = bounds.iter().cloned().reduce(least);
    let max = bounds.iter().cloned().reduce(greatest);
    let (cut_min, cut_max) = (min.as_ref().and_then(cut), max.as_ref().and_then(cut));
    ColumnStats {
        field,
        min_exact: cut_min.is_none(),
        max_exact: cut_max.is_none(),
        min: cut_min.map(Bound::Text).or(min),
        max: match cut_max {
            Some(text) => condition::next_text(&text).map(Bound::Text),
            None => max,
        },
        null_count: values.iter().filter(|v| v.is_null()).count() as u64,
        nan_count,
    }
}

fn ints(values: &[Option<i64>]) -> Vec<ScalarValue> {
    values.iter().map(|v| ScalarValue::Int64(*v)).collect()
}

fn floats(values: &[f64]) -> Vec<ScalarValue> {
    values.iter().map(|v| ScalarValue::from(*v)).collect()
}

fn texts(values: &[&str]) -> Vec<ScalarValue> {
    values.iter().map(|v| ScalarValue::from(*v)).collect()
}

/// Statistics of containers, each given as the values of some columns; the others are NULL.
fn partition_stats(containers: &[Vec<(&str, Vec<ScalarValue>)>]) -> PartitionStats {
    let schema = schema();
    let segments: Vec<(u64, SegmentStats)> = containers
        .iter()
        .map(|columns| {
            let rows = columns[0].1.len() as u64;
            let given = columns
                .iter()
                .map(|(name, values)| column_stats(schema.column(name).unwrap().id, values, 64));
            let stats = SegmentStats {
                columns: given.collect(),
                ..SegmentStats::default()
            };
            (rows, stats)
        })
        .collect();
    let borrowed: Vec<_> = segments
        .iter()
        .map(|(rows, stats)| (*rows, stats))
        .collect();
    PartitionStats::build(&schema, &borrowed)
}

/// The physical predicate of a SQL text, coerced and simplified as a query's filter is.
fn physical(sql: &str) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(schema().arrow_schema()).unwrap();
    let expr = context.parse_sql_expr(sql, &schema).unwrap();
    context.create_physical_expr(expr, &schema).unwrap()
}

fn kept(sql: &str, stats: &PartitionStats) -> Vec<usize> {
    let bits = may_match(&physical(sql), &schema().arrow_schema(), stats);
    bits.set_indices().collect()
}

#[track_caller]
fn check(stats: &PartitionStats, cases: &[(&str, &[usize])]) {
    for (sql, expected) in cases {
        assert_eq!(kept(sql, stats), *expected, "{sql} -> {}", physical(sql));
    }
}

#[test]
fn what_is_computed_of_literals_prunes_as_a_literal() {
    let schema = schema().arrow_schema();
    let key = || col("key", &schema).unwrap();
    let compute = |a: i64, operator, b: i64| binary(lit(a), operator, lit(b), &schema).unwrap();
    let compare = |operator, value| binary(key(), operator, value, &schema).unwrap();
    let cases = [
        (
            compare(Operator::Lt, compute(4, Operator::Plus, 6)),
            vec![0, 4],
        ),
        (
            compare(Operator::Gt, compute(95, Operator::Divide, 5)),
            vec![2, 4],
        ),
        // It fails for every row, if there is one.
        (
            compare(Operator::Eq, compute(1, Operator::Divide, 0)),
            vec![0, 1, 2, 3, 4],
        ),
    ];
    for (predicate, expected) in cases {
        let bits = may_match(&predicate, &schema, &keys());
        assert_eq!(
            bits.set_indices().collect::<Vec<_>>(),
            expected,
            "{predicate}"
        );
    }
}

/// Keys 0..10, 10..20, 20..30, all NULL, some NULL.
fn keys() -> PartitionStats {
    let range = |a: i64, b: i64| (a..b).map(Some).collect::<Vec<_>>();
    partition_stats(&[
        vec![("key", ints(&range(0, 10)))],
        vec![("key", ints(&range(10, 20)))],
        vec![("key", ints(&range(20, 30)))],
        vec![("key", ints(&[None, None]))],
        vec![("key", ints(&[Some(5), None, Some(25)]))],
    ])
}

#[test]
fn comparisons_prune_by_bounds() {
    check(
        &keys(),
        &[
            ("key = 15", &[1, 4]),
            ("15 = key", &[1, 4]),
            ("key = 100", &[]),
            ("key < 10", &[0, 4]),
            ("key <= 10", &[0, 1, 4]),
            ("key > 19", &[2, 4]),
            ("19 < key", &[2, 4]),
            ("key >= 29", &[2]),
            ("key > 9 AND key < 20", &[1, 4]),
            ("key BETWEEN 9 AND 10", &[0, 1, 4]),
            ("key NOT BETWEEN 0 AND 19", &[2, 4]),
            ("key <> 5", &[0, 1, 2, 4]),
            ("NOT (key < 20)", &[2, 4]),
            ("NOT (key < 10 OR key >= 20)", &[1, 4]),
            ("key = NULL", &[]),
            ("NOT (key = NULL)", &[]),
            ("key < 10 OR key > 25", &[0, 2, 4]),
            ("false", &[]),
            ("true", &[0, 1, 2, 3, 4]),
        ],
    );
}

/// What parameters leave when they have values.
#[test]
fn tests_of_literals_alone_are_decided() {
    check(
        &keys(),
        &[
            ("5 IS NULL OR key = 15", &[1, 4]),
            ("NULL IS NULL OR key = 15", &[0, 1, 2, 3, 4]),
            ("7 IS NOT NULL AND key = 15", &[1, 4]),
            ("1 = 2 OR key = 15", &[1, 4]),
            ("1 <> 2 OR key = 15", &[0, 1, 2, 3, 4]),
            ("NULL = 2 OR key = 15", &[1, 4]),
            ("NOT (1 = 1 AND key <> 15)", &[1, 4]),
            ("1 / 0 = 1 OR key = 15", &[0, 1, 2, 3, 4]),
        ],
    );
}

#[test]
fn null_tests_prune_by_counts() {
    check(
        &keys(),
        &[
            ("key IS NULL", &[3, 4]),
            ("key IS NOT NULL", &[0, 1, 2, 4]),
            ("NOT (key IS NULL)", &[0, 1, 2, 4]),
            ("key IS DISTINCT FROM 5", &[0, 1, 2, 3, 4]),
            ("key IS NOT DISTINCT FROM 5", &[0, 4]),
            ("key IS NOT DISTINCT FROM NULL", &[3, 4]),
            ("(key < 10) IS TRUE", &[0, 4]),
            ("(key < 10) IS NOT TRUE", &[1, 2, 3, 4]),
            ("(key < 10) IS FALSE", &[1, 2, 4]),
            ("(key < 10) IS UNKNOWN", &[0, 1, 2, 3, 4]),
        ],
    );
}

#[test]
fn in_lists_of_any_length_prune() {
    let long = (100..1_000).map(|i| i.to_string()).collect::<Vec<_>>();
    let long = format!("key IN (12, {})", long.join(","));
    check(
        &keys(),
        &[
            ("key IN (1, 2, 21, 40, 50)", &[0, 2, 4]),
            ("key IN (31, 32, 33, 34, 35)", &[]),
            (&long, &[1, 4]),
            ("key IN (1, NULL, 3, 4, 5, 6)", &[0, 4]),
            ("key NOT IN (1, 2, 3, 4, 5, 6)", &[0, 1, 2, 4]),
            ("key NOT IN (1, 2, 3, 4, 5, NULL)", &[]),
            ("NOT (key NOT IN (1, 2, 3, 4, 5, 6))", &[0, 4]),
        ],
    );
    let constant = partition_stats(&[vec![("key", ints(&[Some(7), Some(7), None]))]]);
    check(
        &constant,
        &[
            ("key NOT IN (1, 2, 3, 4, 7)", &[]),
            ("key NOT IN (1, 2, 3, 4, 5)", &[0]),
            ("key <> 7", &[]),
        ],
    );
}

/// Milvus overwrote the shared "all" bitset in place: `(other > 1 AND key < 5) OR third = 3` lost the rows of the
/// second arm, while the same arms the other way round were right.
#[test]
fn the_order_of_and_and_or_does_not_matter() {
    let stats = keys();
    let all: &[usize] = &[0, 1, 2, 3, 4];
    check(
        &stats,
        &[
            ("(embedding[1] > 1 AND key < 5) OR embedding[2] = 3", all),
            ("(key < 5 AND embedding[1] > 1) OR embedding[2] = 3", all),
            ("embedding[2] = 3 OR (embedding[1] > 1 AND key < 5)", all),
            ("embedding[1] > 1 AND key < 5", &[0]),
            ("key < 5 AND embedding[1] > 1", &[0]),
            ("(embedding[1] > 1 AND key < 5) OR key > 25", &[0, 2]),
            ("(embedding[1] > 1 OR key < 5) AND key > 25", &[2]),
            ("NOT (embedding[1] > 1 OR key < 20)", &[2, 4]),
        ],
    );
}

#[test]
fn nan_is_greater_than_everything() {
    let stats = partition_stats(&[
        vec![("price", floats(&[1.0, 2.0]))],
        vec![("price", floats(&[1.0, f64::NAN]))],
        vec![("price", floats(&[f64::NAN, f64::NAN]))],
        vec![("price", floats(&[-0.0, 0.0]))],
    ]);
    check(
        &stats,
        &[
            ("price > 5", &[1, 2]),
            ("price < 5", &[0, 1, 3]),
            ("price <> 1", &[0, 1, 2, 3]),
            ("price = 'NaN'::double", &[1, 2]),
            ("price < 'NaN'::double", &[0, 1, 3]),
            ("price >= 'NaN'::double", &[1, 2]),
            ("price <> 'NaN'::double", &[0, 1, 3]),
            ("NOT (price <= 5)", &[1, 2]),
            ("NOT (price > 5)", &[0, 1, 3]),
            ("price IN (5, 6, 7, 8, 'NaN'::double)", &[1, 2]),
            ("price IN (5, 6, 7, 8, 9)", &[]),
            ("price IS NULL", &[]),
            ("price IS NOT NULL", &[0, 1, 2, 3]),
            ("price = 0", &[3]),
            ("price = -0.0", &[3]),
            ("price < 0", &[]),
            ("price > -0.0", &[0, 1, 2]),
            ("price IN (0, 7, 8, 9, 10)", &[3]),
            ("price NOT IN (0, 7, 8, 9, 10)", &[0, 1, 2, 3]),
        ],
    );
}

#[test]
fn prefixes_prune_texts() {
    let stats = partition_stats(&[
        vec![("title", texts(&["apple", "apricot"]))],
        vec![("title", texts(&["Dune", "Emma"]))],
        vec![("title", texts(&["", "zebra"]))],
        vec![("title", texts(&["apple", "apple"]))],
    ]);
    check(
        &stats,
        &[
            ("title LIKE 'ap%'", &[0, 2, 3]),
            ("title LIKE 'apr%t'", &[0, 2]),
            ("title LIKE 'apple'", &[0, 2, 3]),
            ("title LIKE 'D_ne'", &[1, 2]),
            ("title LIKE '%une'", &[0, 1, 2, 3]),
            ("title NOT LIKE 'ap%'", &[1, 2]),
            ("title NOT LIKE 'a%e'", &[0, 1, 2, 3]),
            ("title NOT LIKE 'apple'", &[0, 1, 2]),
            ("title ILIKE 'dune'", &[0, 1, 2, 3]),
            ("title LIKE 'ap\\%%'", &[0, 2, 3]),
            ("starts_with(title, 'Em')", &[1, 2]),
            ("NOT starts_with(title, 'ap')", &[1, 2]),
            ("title = 'Dune'", &[1, 2]),
            ("title IN ('Emma', 'x', 'y', 'z', 'w')", &[1, 2]),
            ("length(title) > 100", &[0, 1, 2, 3]),
        ],
    );
}

#[test]
fn a_text_literal_may_be_of_any_text_type() {
    let stats = partition_stats(&[vec![("title", texts(&["a", "b"]))]]);
    let arrow = schema().arrow_schema();
    let title = cast(col("title", &arrow).unwrap(), &arrow, DataType::Utf8View).unwrap();
    for (text, expected) in [("b", 1), ("c", 0)] {
        let literal = lit(ScalarValue::Utf8View(Some(text.to_string())));
        let equal = binary(Arc::clone(&title), Operator::Eq, literal, &arrow).unwrap();
        assert_eq!(
            may_match(&equal, &arrow, &stats).count_set_bits(),
            expected,
            "{equal}"
        );
    }
}

#[test]
fn casts_that_keep_the_order_prune_and_others_do_not() {
    let day = |d: i32| ScalarValue::Date32(Some(d));
    let instant = |us: i64| ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()));
    let cost = |c: i128| ScalarValue::Decimal128(Some(c), 10, 2);
    let small = |v: i16| ScalarValue::Int16(Some(v));
    let day_us = 86_400_000_000;
    let container = |d: i32, b: bool| {
        vec![
            ("born", vec![day(d), day(d + 9)]),
            ("seen", vec![instant(i64::from(d) * day_us); 2]),
            ("cost", vec![cost(i128::from(d) * 100); 2]),
            ("small", vec![small(d as i16); 2]),
            ("flag", vec![ScalarValue::Boolean(Some(b)); 2]),
        ]
    };
    let stats = partition_stats(&[
        container(0, true),
        container(10, false),
        container(20, true),
    ]);
    check(
        &stats,
        &[
            ("born >= '1970-01-15'", &[1, 2]),
            ("born > date '1970-01-20'", &[2]),
            ("seen >= '1970-01-11T00:00:00Z'", &[1, 2]),
            ("seen > '1970-01-11T00:00:00Z'::timestamptz", &[2]),
            ("seen::date = '1970-01-11'", &[1]),
            ("cost > 10.5", &[2]),
            ("cost = 10", &[1]),
            ("cost < 10.00", &[0]),
            ("small > 100000", &[]),
            ("small >= 10.5", &[2]),
            ("small::bigint < 10", &[0]),
            ("try_cast(small AS bigint) < 10", &[0]),
            ("small::text < '5'", &[0, 1, 2]),
            ("flag", &[0, 2]),
            ("NOT flag", &[1]),
            ("flag IS TRUE", &[0, 2]),
            ("flag = false", &[1]),
            (
                "CASE WHEN embedding[1] > 1 THEN small < 5 ELSE false END",
                &[0],
            ),
        ],
    );
}

#[test]
fn a_literal_of_another_type_keeps_all() {
    let stats = keys();
    let arrow = schema().arrow_schema();
    let key = col("key", &arrow).unwrap();
    let wrong = binary(Arc::clone(&key), Operator::Lt, lit(-1i64), &arrow).unwrap();
    assert_eq!(may_match(&wrong, &arrow, &stats).count_set_bits(), 0);
    let other: Arc<dyn PhysicalExpr> = Arc::new(
        datafusion::physical_expr::expressions::BinaryExpr::new(key, Operator::Lt, lit(-1.0f32)),
    );
    assert_eq!(may_match(&other, &arrow, &stats).count_set_bits(), 5);
}

#[test]
fn an_unknown_upper_bound_and_an_empty_container() {
    let schema = schema();
    let open = ColumnStats {
        field: FieldId(3),
        min: Some(Bound::Text("\u{10ffff}".into())),
        max: None,
        min_exact: false,
        max_exact: false,
        null_count: 0,
        nan_count: 0,
    };
    let segment = SegmentStats {
        columns: vec![open],
        ..SegmentStats::default()
    };
    let empty = SegmentStats::default();
    let stats = PartitionStats::build(&schema, &[(1, &segment), (0, &empty)]);
    check(
        &stats,
        &[
            ("title > 'z'", &[0]),
            ("title < 'z'", &[]),
            ("title IN ('a', 'b', 'c', 'd', '\u{10ffff}x')", &[0]),
            ("title IS NULL", &[]),
        ],
    );
}

#[test]
fn a_dynamic_filter_prunes_as_it_is_now() {
    let arrow = schema().arrow_schema();
    let key = col("key", &arrow).unwrap();
    let dynamic = Arc::new(DynamicFilterPhysicalExpr::new(
        vec![Arc::clone(&key)],
        lit(true),
    ));
    let predicate = Arc::clone(&dynamic) as Arc<dyn PhysicalExpr>;
    assert_eq!(may_match(&predicate, &arrow, &keys()).count_set_bits(), 5);
    dynamic
        .update(binary(key, Operator::Gt, lit(25i64), &arrow).unwrap())
        .unwrap();
    assert_eq!(may_match(&predicate, &arrow, &keys()).count_set_bits(), 1);
}

#[test]
fn the_columns_that_pruned_are_named() {
    let pruner = Pruner::new(
        &physical("key < 5 AND (key < 10 OR small = 1) AND flag IS NULL AND length(title) > 1"),
        &schema().arrow_schema(),
    );
    assert!(pruner.is_useful());
    let pruned = pruner.prune(&keys());
    assert_eq!(pruned.kept.set_indices().collect::<Vec<_>>(), [0]);
    assert_eq!(pruned.by, ["key", "key or small"]);
    assert!(!Pruner::new(&physical("length(title) > 1"), &schema().arrow_schema()).is_useful());
}
