//! Random schemas, rows, deletes and predicates.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use proptest::prelude::*;
use proptest::sample::select;

use crate::catalog::infinity::Infinity;
use crate::catalog::testing::column;
use crate::storage::key_model::{ComputedKey, KeyFunction};
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId};

/// The most rows of a case.
const ROWS_MAX: usize = 400;

/// One database and what is asked of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// `id` (the place of the row), random scalar columns, then the vector `v`.
    pub schema: CollectionSchema,
    pub rows: Vec<Vec<ScalarValue>>,
    /// Lengths of the parts the rows come in.
    pub cuts: Vec<usize>,
    /// How many of these parts become segments; the others grow.
    pub sealed: usize,
    pub deleted: BTreeSet<i64>,
    /// What is deleted after the compactions.
    pub deleted_late: BTreeSet<i64>,
    pub predicates: Vec<String>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let types = prop::collection::vec(select(types()), 1..5);
    let sizes = (1..ROWS_MAX, 0usize..7);
    (types, sizes, any::<bool>()).prop_flat_map(|(types, (rows, sealed), curve)| {
        let row = types.iter().map(value).collect::<Vec<_>>();
        let predicates = prop::collection::vec(predicate(&types), 12);
        let cuts = prop::collection::vec(1usize..150, 8);
        let deleted = || prop::collection::btree_set(0..rows as i64, 0..rows / 4 + 1);
        let deleted = (deleted(), deleted());
        let rows = prop::collection::vec(row, rows);
        (rows, cuts, deleted, predicates).prop_map(move |(rows, cuts, deleted, predicates)| Case {
            schema: schema(&types, curve),
            rows: rows.into_iter().enumerate().map(whole_row).collect(),
            cuts,
            sealed,
            deleted: deleted.0,
            deleted_late: deleted.1,
            predicates,
        })
    })
}

fn types() -> Vec<ColumnType> {
    vec![
        ColumnType::Boolean,
        ColumnType::TinyInt,
        ColumnType::Integer,
        ColumnType::BigInt,
        ColumnType::Real,
        ColumnType::Double,
        ColumnType::Double,
        ColumnType::Numeric(10, 2),
        ColumnType::Text,
        ColumnType::Text,
        ColumnType::Date,
        ColumnType::TimestampTz,
        ColumnType::Timestamp,
    ]
}

/// Clustered by the first random column, or along a curve through the first few.
fn schema(types: &[ColumnType], use_curve: bool) -> CollectionSchema {
    let scalars = types.iter().enumerate();
    let scalars = scalars.map(|(i, t)| column(i as u32 + 2, &format!("c{i}"), t.clone()));
    let mut columns: Vec<Column> = vec![column(1, "id", ColumnType::BigInt)];
    columns.extend(scalars);
    columns.push(column(types.len() as u32 + 2, "v", ColumnType::Vector(2)));
    let curve = ComputedKey {
        id: FieldId(types.len() as u32 + 3),
        function: KeyFunction::Hilbert((2..).map(FieldId).take(types.len().min(3)).collect()),
    };
    let computed = (types.len() > 1 && use_curve).then_some(curve);
    CollectionSchema {
        next_field_id: FieldId(types.len() as u32 + 4),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
        clustering_key: vec![computed.as_ref().map_or(FieldId(2), |key| key.id)],
        computed_keys: computed.into_iter().collect(),
        columns,
        primary_key: vec![],
        partition_key: None,
    }
}

fn whole_row((i, scalars): (usize, Vec<ScalarValue>)) -> Vec<ScalarValue> {
    let mut row = vec![ScalarValue::from(i as i64)];
    row.extend(scalars);
    let DataType::FixedSizeList(element, 2) = ColumnType::Vector(2).arrow_type() else {
        panic!("a vector is a list of fixed size");
    };
    let values = Arc::new(Float32Array::from(vec![i as f32, 1.0]));
    let vector = FixedSizeListArray::new(element, 2, values, None);
    row.push(ScalarValue::FixedSizeList(Arc::new(vector)));
    row
}

/// A value of the type: few different ones, so that they meet, and the edges of the type.
fn value(column_type: &ColumnType) -> BoxedStrategy<ScalarValue> {
    let data_type = column_type.arrow_type();
    let null = ScalarValue::try_from(&data_type).unwrap();
    let some = match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(ScalarValue::from).boxed(),
        ColumnType::TinyInt => any::<i8>().prop_map(ScalarValue::from).boxed(),
        ColumnType::Integer => prop_oneof![4 => -40..40, 1 => select(vec![i32::MIN, i32::MAX])]
            .prop_map(ScalarValue::from)
            .boxed(),
        ColumnType::BigInt => {
            prop_oneof![4 => -40i64..40, 1 => select(vec![i64::MIN, i64::MAX, 1 << 53])]
                .prop_map(ScalarValue::from)
                .boxed()
        }
        ColumnType::Real => float().prop_map(|v| ScalarValue::from(v as f32)).boxed(),
        ColumnType::Double => float().prop_map(ScalarValue::from).boxed(),
        ColumnType::Numeric(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            (-500i128..500)
                .prop_map(move |v| ScalarValue::Decimal128(Some(v), precision, scale))
                .boxed()
        }
        ColumnType::Text => text().prop_map(ScalarValue::from).boxed(),
        ColumnType::Date => prop_oneof![6 => -30..30, 1 => select(vec![i32::MIN, i32::MAX])]
            .prop_map(|d| ScalarValue::Date32(Some(d)))
            .boxed(),
        ColumnType::Timestamp => instant()
            .prop_map(|us| ScalarValue::TimestampMicrosecond(Some(us), None))
            .boxed(),
        _ => instant()
            .prop_map(|us| ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())))
            .boxed(),
    };
    prop_oneof![1 => Just(null), 8 => some].boxed()
}

fn float() -> impl Strategy<Value = f64> {
    let edges = vec![
        f64::NEG_INFINITY,
        -0.0,
        0.0,
        f64::from(f32::MIN_POSITIVE),
        f64::INFINITY,
        f64::NAN,
    ];
    prop_oneof![3 => (-20i8..20).prop_map(|v| f64::from(v) / 4.0), 1 => select(edges)]
}

/// Short texts, and long ones that differ only behind the place where bounds are cut.
fn text() -> impl Strategy<Value = String> {
    let long = "x".repeat(64);
    prop_oneof![
        3 => "[a-c%_]{0,3}",
        1 => "[a-c]{1,2}".prop_map(move |tail| format!("{long}{tail}")),
        1 => select(vec!["\u{10ffff}", "\u{d7ff}", "\u{10ffff}a", "\u{e000}", "O'Neil"])
            .prop_map(str::to_string),
    ]
}

fn instant() -> impl Strategy<Value = i64> {
    let hours = (-72i64..72).prop_map(|hours| hours * 3_600_000_000);
    prop_oneof![6 => hours, 1 => select(vec![i64::MIN, i64::MAX])]
}

/// The value as SQL.
fn sql(value: &ScalarValue, column_type: &ColumnType) -> String {
    if value.is_null() {
        return "NULL".to_string();
    }
    // Arrow reads no infinite times.
    match value {
        ScalarValue::Date32(Some(days)) if Infinity::of_days(*days).is_some() => {
            return format!("arrow_cast({days}, 'Int32')::date");
        }
        ScalarValue::TimestampMicrosecond(Some(micros), _) if Infinity::of(*micros).is_some() => {
            return format!("arrow_cast({micros}, '{}')", value.data_type());
        }
        _ => {}
    }
    let text = match value {
        ScalarValue::Float32(Some(v)) if v.is_nan() => "NaN".to_string(),
        ScalarValue::Float64(Some(v)) if v.is_nan() => "NaN".to_string(),
        ScalarValue::Float32(Some(v)) => format!("{v:?}"),
        ScalarValue::Float64(Some(v)) => format!("{v:?}"),
        value => match value.cast_to(&DataType::Utf8).unwrap() {
            ScalarValue::Utf8(Some(text)) => text.replace('\'', "''"),
            other => panic!("{other} is a text"),
        },
    };
    match column_type {
        ColumnType::Text => format!("'{text}'"),
        ColumnType::TimestampTz => format!("'{text}'::timestamptz"),
        other => format!("'{text}'::{other}"),
    }
}

fn predicate(types: &[ColumnType]) -> BoxedStrategy<String> {
    let leaves = types.iter().enumerate();
    let leaves: Vec<_> = leaves.map(|(i, t)| leaf(format!("c{i}"), t)).collect();
    let leaf = prop::strategy::Union::new(leaves);
    let tests = [
        "IS TRUE",
        "IS NOT TRUE",
        "IS FALSE",
        "IS NOT FALSE",
        "IS UNKNOWN",
    ];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let pair = (inner.clone(), select(vec!["AND", "OR"]), inner.clone());
        let three = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            5 => pair.prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            2 => inner.clone().prop_map(|a| format!("NOT ({a})")),
            1 => (inner, select(tests.to_vec())).prop_map(|(a, is)| format!("(({a}) {is})")),
            1 => three.prop_map(|(a, b, c)| format!("(CASE WHEN {a} THEN {b} ELSE {c} END)")),
        ]
    })
    .boxed()
}

fn leaf(name: String, column_type: &ColumnType) -> BoxedStrategy<String> {
    let operators = [
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "IS DISTINCT FROM",
        "IS NOT DISTINCT FROM",
    ];
    let literal = {
        let of = column_type.clone();
        value(column_type).prop_map(move |v| sql(&v, &of))
    };
    let compare = (select(operators.to_vec()), literal.clone(), any::<bool>());
    let list = (prop::collection::vec(literal.clone(), 1..9), any::<bool>());
    let range = (literal.clone(), literal, any::<bool>());
    let not = |negated| if negated { "NOT " } else { "" };
    let wider = match column_type {
        ColumnType::TinyInt | ColumnType::Integer => "::double",
        ColumnType::Date => "::timestamp",
        ColumnType::Timestamp | ColumnType::TimestampTz => "::date",
        ColumnType::Real => "::double",
        _ => "",
    };
    let name = move || name.clone();
    let (n1, n2, n3, n4) = (name(), name(), name(), name());
    let general = prop_oneof![
        6 => compare.prop_map(move |(op, value, swap)| match swap {
            true => format!("({value} {op} {n1})"),
            false => format!("({n1}{wider} {op} {value})"),
        }),
        2 => list.prop_map(move |(list, negated)| {
            format!("{n2} {}IN ({})", not(negated), list.join(", "))
        }),
        1 => range.prop_map(move |(a, b, negated)| format!("{n3} {}BETWEEN {a} AND {b}", not(negated))),
        1 => any::<bool>().prop_map(move |negated| format!("{n4} IS {}NULL", not(negated))),
    ];
    match column_type {
        ColumnType::Boolean => prop_oneof![3 => general, 1 => Just(name())].boxed(),
        ColumnType::Text => prop_oneof![3 => general, 2 => like(name())].boxed(),
        _ => general.boxed(),
    }
}

fn like(name: String) -> impl Strategy<Value = String> {
    let tails = vec!["%", "", "_", "%a", "_%", "\\%"];
    (text(), select(tails), 0..4).prop_map(move |(head, tail, form)| {
        let head = head.replace('\'', "''");
        match form {
            0 => format!("{name} LIKE '{head}{tail}'"),
            1 => format!("{name} NOT LIKE '{head}{tail}'"),
            2 => format!("{name} ILIKE '{head}{tail}'"),
            _ => format!("starts_with({name}, '{head}')"),
        }
    })
}
