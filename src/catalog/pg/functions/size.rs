//! Functions about the bytes of relations.

use super::{Call, Definition, Gives, Value};
use crate::catalog::pg::class::bytes_of;
use crate::catalog::pg::objects::Relation;
use datafusion::common::Result;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("pg_relation_size", 1..=2, Gives::Int8, relation).volatile(),
    Definition::new("pg_table_size", 1..=1, Gives::Int8, relation).volatile(),
    Definition::new("pg_total_relation_size", 1..=1, Gives::Int8, relation).volatile(),
    // A primary key's index is in memory and in the bloom filters of its segments.
    Definition::new("pg_indexes_size", 1..=1, Gives::Int8, |_| Ok(Value::Int(0))),
    Definition::new("pg_database_size", 1..=1, Gives::Int8, database).volatile(),
    Definition::new("pg_tablespace_size", 1..=1, Gives::Int8, database).volatile(),
    Definition::new("pg_tablespace_location", 1..=1, Gives::Text, |_| {
        Ok("".into())
    }),
    Definition::new("pg_relation_filenode", 1..=1, Gives::Oid("oid"), |c| {
        Ok(c.relation(0)?.map(|r| r.oid).into())
    }),
    Definition::new("pg_size_pretty", 1..=1, Gives::Text, pretty),
];

fn bytes(relation: &Relation) -> i64 {
    let bytes = relation.collection().map_or(0, |c| bytes_of(c));
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn relation(call: &Call<'_>) -> Result<Value> {
    Ok(call.relation(0)?.map(bytes).into())
}

fn database(call: &Call<'_>) -> Result<Value> {
    let relations = call.context.objects().relations.iter();
    Ok(relations.map(bytes).sum::<i64>().into())
}

fn pretty(call: &Call<'_>) -> Result<Value> {
    let value = call.text(0).and_then(|text| text.parse::<f64>().ok());
    Ok(value.map(|value| pretty_bytes(value as i64)).into())
}

/// PostgreSQL's `pg_size_pretty`: the unit grows when 10,240 of it are reached, halves are rounded away from zero.
fn pretty_bytes(value: i64) -> String {
    const LIMIT: i64 = 10 * 1024;
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    if value.abs() < LIMIT {
        return format!("{value} bytes");
    }
    // One bit more is kept until the end, for rounding.
    let mut doubled = value >> 9;
    for (place, unit) in UNITS.iter().enumerate().skip(1) {
        if doubled.abs() < 2 * LIMIT - 1 || place == UNITS.len() - 1 {
            let rounded = (doubled + if doubled > 0 { 1 } else { -1 }) / 2;
            return format!("{rounded} {unit}");
        }
        doubled >>= 10;
    }
    format!("{value} bytes")
}

#[cfg(test)]
mod tests {
    use super::pretty_bytes;

    #[test]
    fn sizes_are_as_postgres_writes_them() {
        for (value, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            (16_384, "16 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1_288_490_189, "1229 MB"),
            (12_884_901_888, "12 GB"),
        ] {
            assert_eq!(pretty_bytes(value), expected, "{value}");
        }
    }
}
