//! Texts that describe objects: types with their modifiers, indexes, constraints, functions.

use super::fixed::{named_function, named_type};
use super::objects::{Objects, Relation, Source};
use crate::catalog::index_definition::{definition, part_text};
use crate::catalog::pg_type::{numeric_precision_and_scale, oid};

/// A name as SQL writes it: in quotes where it would be read otherwise.
pub(crate) fn quote_ident(name: &str) -> String {
    let mut characters = name.chars();
    let starts = characters
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if starts && characters.all(plain) && !is_reserved(name) {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the word may not stand for a name.
fn is_reserved(word: &str) -> bool {
    use std::collections::HashSet;
    use std::sync::LazyLock;
    static RESERVED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        let lines = super::fixed::lines(super::fixed::KEYWORDS);
        lines.filter(|l| l[1] != "U").map(|l| l[0]).collect()
    });
    RESERVED.contains(word)
}

/// A text as a literal of SQL.
pub(super) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// `schema.name`, in quotes where needed.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_ident(schema), quote_ident(name))
}

/// A type as SQL writes it: `character varying(20)`. Without a modifier (`None`) names of some types differ from those
/// with an unknown one, as in PostgreSQL.
pub(super) fn format_type(type_oid: u32, typmod: Option<i32>) -> String {
    if type_oid == 0 {
        return "-".to_string();
    }
    let Some(named) = named_type(type_oid) else {
        return "???".to_string();
    };
    if named.element != 0 {
        return format!("{}[]", format_type(named.element, typmod));
    }
    let known = typmod.filter(|m| *m >= 0);
    let length = |base: &str, extra: i32| match known {
        Some(m) => format!("{base}({})", m - extra),
        None => base.to_string(),
    };
    let precision = |base: &str, zone: &str| match known {
        Some(m) => format!("{base}({m}){zone}"),
        None => format!("{base}{zone}"),
    };
    match type_oid {
        oid::BOOL => "boolean".to_string(),
        oid::INT2 => "smallint".to_string(),
        oid::INT4 => "integer".to_string(),
        oid::INT8 => "bigint".to_string(),
        oid::FLOAT4 => "real".to_string(),
        oid::FLOAT8 => "double precision".to_string(),
        oid::CHAR => "\"char\"".to_string(),
        // Without a length this name would mean character(1).
        oid::BPCHAR if typmod.is_some() && known.is_none() => "bpchar".to_string(),
        oid::BPCHAR => length("character", 4),
        oid::VARCHAR => length("character varying", 4),
        oid::BIT if typmod.is_some() && known.is_none() => "\"bit\"".to_string(),
        oid::BIT => length("bit", 0),
        oid::VARBIT => length("bit varying", 0),
        oid::TIME => precision("time", " without time zone"),
        1266 => precision("time", " with time zone"),
        // Only those that have all fields are types of columns.
        oid::INTERVAL => match known {
            Some(modifier) => format!("interval({})", modifier & 0xffff),
            None => "interval".to_string(),
        },
        oid::TIMESTAMP => precision("timestamp", " without time zone"),
        oid::TIMESTAMPTZ => precision("timestamp", " with time zone"),
        oid::NUMERIC => match known.and_then(numeric_precision_and_scale) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".to_string(),
        },
        _ => length(&quote_ident(named.name), 0),
    }
}

/// `CREATE UNIQUE INDEX ..` of the index of a primary key.
pub(super) fn index_definition(index: &Relation) -> Option<String> {
    let collection = match &index.source {
        Source::KeyIndex(collection) => collection,
        Source::Index(collection, index) => return Some(definition(collection, index)),
        _ => return None,
    };
    let table = qualified(&collection.name.schema, &collection.name.name);
    Some(format!(
        "CREATE UNIQUE INDEX {} ON {table} USING btree ({})",
        quote_ident(&index.name),
        columns(index)
    ))
}

/// The nth part of an index's key, from 1.
pub(super) fn index_part(index: &Relation, n: usize) -> Option<String> {
    if let Source::Index(collection, definition) = &index.source {
        let key = definition.keys.get(n.checked_sub(1)?)?;
        return Some(part_text(collection, &key.part));
    }
    let column = index.columns.get(n.checked_sub(1)?)?;
    Some(quote_ident(&column.name))
}

/// `PRIMARY KEY (a, b)`, or UNIQUE.
pub(super) fn key_definition(index: &Relation) -> String {
    let kind = match &index.source {
        Source::Index(_, unique) if unique.nulls_equal => "UNIQUE NULLS NOT DISTINCT",
        Source::Index(..) => "UNIQUE",
        _ => "PRIMARY KEY",
    };
    format!("{kind} ({})", columns(index))
}

fn columns(relation: &Relation) -> String {
    let names = relation.columns.iter().map(|c| quote_ident(&c.name));
    names.collect::<Vec<_>>().join(", ")
}

/// The types of a function's arguments, as PostgreSQL lists them.
pub(super) fn function_arguments(function: u32) -> Option<String> {
    let named = named_function(function)?;
    let types = named.arguments.split_whitespace();
    let types = types.map(|oid| format_type(oid.parse().unwrap_or(0), None));
    Some(types.collect::<Vec<_>>().join(", "))
}

/// The type that a function gives.
pub(super) fn function_result(function: u32) -> Option<String> {
    let named = named_function(function)?;
    let set = if named.returns_set { "SETOF " } else { "" };
    Some(format!("{set}{}", format_type(named.result, None)))
}

/// The index of that constraint.
pub(super) fn index_of_constraint(objects: &Objects, constraint: u32) -> Option<&Relation> {
    objects.relations.iter().find(|r| match &r.source {
        Source::KeyIndex(c) => super::oid::key_constraint(c.id) == constraint,
        Source::Index(_, index) if index.is_constraint => {
            super::oid::index_constraint(index.id) == constraint
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_in_postgres() {
        for (type_oid, typmod, expected) in [
            (oid::INT8, Some(-1), "bigint"),
            (oid::VARCHAR, Some(24), "character varying(20)"),
            (oid::VARCHAR, None, "character varying"),
            (oid::BPCHAR, Some(-1), "bpchar"),
            (oid::BPCHAR, None, "character"),
            (oid::NUMERIC, Some(655_366), "numeric(10,2)"),
            (oid::VECTOR, Some(384), "vector(384)"),
            (oid::VECTOR, Some(-1), "vector"),
            (oid::TEXT_ARRAY, Some(-1), "text[]"),
            (oid::VARCHAR_ARRAY, Some(24), "character varying(20)[]"),
            (oid::TIMESTAMPTZ, Some(-1), "timestamp with time zone"),
            (oid::TIMESTAMPTZ, Some(3), "timestamp(3) with time zone"),
            (oid::INTERVAL, Some(-1), "interval"),
            (oid::INTERVAL, Some(0x7fff_0003), "interval(3)"),
            (oid::CHAR, None, "\"char\""),
            (oid::OIDVECTOR, None, "oidvector"),
            (0, None, "-"),
            (1_999_999_999, None, "???"),
        ] {
            assert_eq!(format_type(type_oid, typmod), expected);
        }
    }

    #[test]
    fn names_are_quoted_where_they_would_be_read_otherwise() {
        for (name, expected) in [
            ("book", "book"),
            ("_a1", "_a1"),
            ("Book", "\"Book\""),
            ("1a", "\"1a\""),
            ("select", "\"select\""),
            ("a\"b", "\"a\"\"b\""),
            ("year", "year"),
            ("", "\"\""),
        ] {
            assert_eq!(quote_ident(name), expected);
        }
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }
}
