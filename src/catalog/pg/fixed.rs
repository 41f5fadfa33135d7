//! Rows that are the same in every database: PostgreSQL's types, operators, casts and functions, and pgvector's.
//!
//! The files have a line of column names, then a row a line, with tabs between. Rows of PostgreSQL 15 were taken from
//! its catalogs; those of pgvector (OIDs from 16384) have OIDs of ours, because there they differ between databases.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::oid;
use super::relation::Kind;
use super::rows::{Rows, Value};

pub(super) const TYPES: &str = include_str!("data/pg_type.tsv");
pub(super) const FUNCTIONS: &str = include_str!("data/pg_proc.tsv");
pub(super) const OPERATORS: &str = include_str!("data/pg_operator.tsv");
pub(super) const CASTS: &str = include_str!("data/pg_cast.tsv");
pub(super) const DESCRIPTIONS: &str = include_str!("data/pg_description.tsv");
pub(super) const RANGES: &str = include_str!("data/pg_range.tsv");
pub(super) const KEYWORDS: &str = include_str!("data/keywords.tsv");

/// The lines of a file after its first, cut at tabs.
pub(super) fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

fn header(text: &'static str) -> Vec<&'static str> {
    text.lines()
        .next()
        .unwrap_or_default()
        .split('\t')
        .collect()
}

/// Adds the rows of a file that `wanted` accepts; `more` gives the cells that the file does not have.
pub(super) fn fill(
    rows: &mut Rows,
    text: &'static str,
    wanted: impl Fn(&[&'static str]) -> bool,
    more: impl Fn(&[&'static str]) -> Vec<(&'static str, Value)>,
) {
    let header = header(text);
    let relation = rows.relation();
    let kind = |name: &str| relation.columns.iter().find(|c| c.name == name);
    let kinds: Vec<Option<&Kind>> = header.iter().map(|n| kind(n).map(|c| &c.kind)).collect();
    for line in lines(text).filter(|line| wanted(line)) {
        let mut cells = more(&line);
        let parsed = header.iter().zip(&kinds).zip(&line);
        cells
            .extend(parsed.filter_map(|((name, kind), text)| Some((*name, parse((*kind)?, text)))));
        rows.push(&cells);
    }
}

fn parse(kind: &Kind, text: &str) -> Value {
    let number = |text: &str| text.parse::<i64>().map_or(Value::Null, Value::Int);
    match kind {
        Kind::Bool => Value::Bool(text == "t"),
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid(_) => number(text),
        Kind::List(..) => Value::List(text.split_whitespace().map(number).collect()),
        _ => Value::Text(text.to_string()),
    }
}

/// The schema of an object of these files.
pub(super) fn namespace_of(object: u32) -> u32 {
    match object < oid::FIRST_USER {
        true => oid::NAMESPACE_PG_CATALOG,
        false => oid::NAMESPACE_PUBLIC,
    }
}

/// A type as far as its name goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedType {
    pub oid: u32,
    pub name: &'static str,
    /// The type of the elements of a true array, else 0.
    pub element: u32,
    /// The array of the type, or 0.
    pub array: u32,
    pub length: i16,
    pub by_value: bool,
    pub category: &'static str,
    pub align: &'static str,
    pub storage: &'static str,
}

static NAMED_TYPES: LazyLock<HashMap<u32, NamedType>> = LazyLock::new(|| {
    let read = |line: Vec<&'static str>| {
        let name = *line.get(1)?;
        let element = line.get(8)?.parse().ok()?;
        // int2vector and oidvector have elements, but are no arrays to the eye.
        let is_array = name.starts_with('_');
        Some(NamedType {
            oid: line.first()?.parse().ok()?,
            name,
            element: if is_array { element } else { 0 },
            array: line.get(9)?.parse().ok()?,
            length: line.get(2)?.parse().ok()?,
            by_value: *line.get(3)? == "t",
            category: line.get(5)?,
            align: line.get(16)?,
            storage: line.get(17)?,
        })
    };
    let types = lines(TYPES).filter_map(read);
    types.map(|t| (t.oid, t)).collect()
});

/// The type of that OID.
pub(super) fn named_type(oid: u32) -> Option<&'static NamedType> {
    NAMED_TYPES.get(&oid)
}

/// The type that `pg_type` lists under the name.
pub(super) fn type_of_name(name: &str) -> Option<&'static NamedType> {
    NAMED_TYPES.values().find(|t| t.name == name)
}

/// A function as far as its name goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedFunction {
    pub oid: u32,
    pub name: &'static str,
    /// OIDs of the arguments' types, with spaces between.
    pub arguments: &'static str,
    pub result: u32,
    pub returns_set: bool,
}

static NAMED_FUNCTIONS: LazyLock<HashMap<u32, NamedFunction>> = LazyLock::new(|| {
    let read = |line: Vec<&'static str>| {
        Some(NamedFunction {
            oid: line.first()?.parse().ok()?,
            name: line.get(1)?,
            returns_set: *line.get(5)? == "t",
            result: line.get(6)?.parse().ok()?,
            arguments: line.get(7)?,
        })
    };
    let functions = lines(FUNCTIONS).filter_map(read);
    functions.map(|f| (f.oid, f)).collect()
});

static FUNCTION_NAMES: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| NAMED_FUNCTIONS.values().map(|f| f.name).collect());

/// The function of that OID, of PostgreSQL's or pgvector's.
pub(super) fn named_function(oid: u32) -> Option<&'static NamedFunction> {
    NAMED_FUNCTIONS.get(&oid)
}

/// The functions of that name, in the order of their OIDs.
pub(super) fn functions_of_name(name: &str) -> Vec<&'static NamedFunction> {
    let named = NAMED_FUNCTIONS.values().filter(|f| f.name == name);
    let mut found: Vec<_> = named.collect();
    found.sort_unstable_by_key(|f| f.oid);
    found
}

/// Whether PostgreSQL or pgvector have a function of that name.
pub(super) fn has_function(name: &str) -> bool {
    FUNCTION_NAMES.contains(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::pg_type;

    #[test]
    fn every_file_has_as_many_cells_in_each_row_as_in_its_header() {
        for text in [
            TYPES,
            FUNCTIONS,
            OPERATORS,
            CASTS,
            DESCRIPTIONS,
            RANGES,
            KEYWORDS,
        ] {
            let cells = header(text).len();
            assert!(lines(text).all(|line| line.len() == cells));
        }
    }

    #[test]
    fn types_that_clients_are_told_of_are_listed() {
        for known in pg_type::TYPES {
            assert_eq!(named_type(known.oid).unwrap().name, known.name);
            assert_eq!(named_type(known.oid).unwrap().array, known.array_oid);
            assert_eq!(named_type(known.oid).unwrap().length, known.length);
        }
    }

    #[test]
    fn operators_and_casts_call_functions_that_are_listed() {
        for line in lines(OPERATORS) {
            let code = line[10].parse().unwrap();
            assert!(named_function(code).is_some(), "{line:?}");
        }
    }
}
