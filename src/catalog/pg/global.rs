//! The catalogs of schemas, databases, types, functions and what else is no relation.

use std::collections::{BTreeSet, HashSet};

use datafusion::catalog::Session;

use super::access::{acl, owner};
use super::class::operator_class;
use super::context::PgContext;
use super::extensions;
use super::fixed::{self, fill, has_function, namespace_of};
use super::objects::Objects;
use super::oid;
use super::roles::OWNER;
use super::routines;
use super::rows::{Rows, Value};
use crate::catalog::pg_type;
use crate::storage::access::Object;

/// The code of UTF-8.
pub(super) const UTF8: i64 = 6;
const LANGUAGE_INTERNAL: u32 = 12;
/// The locale by which text is compared: bytes.
const LOCALE: &str = "C.UTF-8";

pub(super) fn pg_namespace(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for (oid, name) in &objects.namespaces {
        let object = Object::Schema(name.clone());
        rows.push(&[
            ("oid", (*oid).into()),
            ("nspname", name.as_str().into()),
            ("nspowner", owner(context, Some(&object)).into()),
            ("nspacl", acl(context, Some(&object))),
        ]);
    }
}

pub(super) fn pg_database(rows: &mut Rows, context: &PgContext) {
    rows.push(&[
        ("oid", oid::DATABASE.into()),
        ("datname", context.facts.database.as_str().into()),
        ("datdba", owner(context, Some(&Object::Database)).into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", Value::Int(-1)),
        ("dattablespace", oid::TABLESPACE_DEFAULT.into()),
        ("datcollate", LOCALE.into()),
        ("datctype", LOCALE.into()),
        ("datacl", acl(context, Some(&Object::Database))),
    ]);
}

pub(super) fn pg_tablespace(rows: &mut Rows) {
    for (oid, name) in [(oid::TABLESPACE_DEFAULT, "pg_default"), (1664, "pg_global")] {
        rows.push(&[
            ("oid", oid.into()),
            ("spcname", name.into()),
            ("spcowner", OWNER.into()),
        ]);
    }
}

pub(super) fn pg_am(rows: &mut Rows) {
    for (oid, name, kind) in [
        (oid::AM_SHELFMARK, "shelfmark", "t"),
        (2, "heap", "t"),
        (oid::AM_BTREE, "btree", "i"),
        (405, "hash", "i"),
        (783, "gist", "i"),
        (2742, "gin", "i"),
        (3580, "brin", "i"),
        (4000, "spgist", "i"),
        (oid::AM_HNSW, "hnsw", "i"),
        (oid::AM_IVFFLAT, "ivfflat", "i"),
    ] {
        rows.push(&[
            ("oid", oid.into()),
            ("amname", name.into()),
            ("amtype", kind.into()),
        ]);
    }
}

pub(super) fn pg_opclass(rows: &mut Rows) {
    const ORDERED: [u32; 16] = [
        pg_type::oid::BOOL,
        pg_type::oid::BYTEA,
        pg_type::oid::NAME,
        pg_type::oid::INT8,
        pg_type::oid::INT2,
        pg_type::oid::INT4,
        pg_type::oid::TEXT,
        pg_type::oid::OID,
        pg_type::oid::FLOAT4,
        pg_type::oid::FLOAT8,
        pg_type::oid::DATE,
        pg_type::oid::TIME,
        pg_type::oid::TIMESTAMP,
        pg_type::oid::TIMESTAMPTZ,
        pg_type::oid::NUMERIC,
        pg_type::oid::UUID,
    ];
    for type_oid in ORDERED {
        let name = fixed::named_type(type_oid).map_or("any", |t| t.name);
        rows.push(&[
            ("oid", operator_class(type_oid).into()),
            ("opcmethod", oid::AM_BTREE.into()),
            ("opcname", format!("{name}_ops").into()),
            ("opcnamespace", oid::NAMESPACE_PG_CATALOG.into()),
            ("opcowner", OWNER.into()),
            ("opcintype", type_oid.into()),
            ("opcdefault", true.into()),
        ]);
    }
    let methods = [oid::AM_HNSW, oid::AM_IVFFLAT].into_iter().enumerate();
    for (m, method) in methods {
        let types = ["vector", "halfvec", "sparsevec"].into_iter().enumerate();
        for (t, name) in types {
            let metrics = ["l2", "ip", "cosine", "l1"].into_iter().enumerate();
            for (d, metric) in metrics {
                let place = (m * 3 + t) * 4 + d;
                let type_oid = fixed::type_of_name(name).map_or(0, |t| t.oid);
                rows.push(&[
                    ("oid", (16_720 + place as u32).into()),
                    ("opcmethod", method.into()),
                    ("opcname", format!("{name}_{metric}_ops").into()),
                    ("opcnamespace", oid::NAMESPACE_PUBLIC.into()),
                    ("opcowner", OWNER.into()),
                    ("opcintype", type_oid.into()),
                    (
                        "opcdefault",
                        (name == "vector" && metric == "l2" && method == oid::AM_IVFFLAT).into(),
                    ),
                ]);
            }
        }
    }
}

pub(super) fn pg_collation(rows: &mut Rows) {
    for (oid, name, provider) in [(100, "default", "d"), (950, "C", "c"), (951, "POSIX", "c")] {
        let locale = (provider == "c").then_some(name);
        rows.push(&[
            ("oid", Value::Int(oid)),
            ("collname", name.into()),
            ("collnamespace", oid::NAMESPACE_PG_CATALOG.into()),
            ("collowner", OWNER.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", Value::Int(-1)),
            ("collcollate", locale.into()),
            ("collctype", locale.into()),
        ]);
    }
}

pub(super) fn pg_language(rows: &mut Rows) {
    let internal = (LANGUAGE_INTERNAL, "internal");
    for (oid, name) in [internal, routines::SQL, routines::PLPGSQL] {
        let trusted = oid != LANGUAGE_INTERNAL;
        rows.push(&[
            ("oid", oid.into()),
            ("lanname", name.into()),
            ("lanowner", OWNER.into()),
            ("lanpltrusted", trusted.into()),
        ]);
    }
}

pub(super) fn pg_type(rows: &mut Rows) {
    let oid_of = |line: &[&str]| line[0].parse().unwrap_or(0);
    fill(
        rows,
        fixed::TYPES,
        |_| true,
        |line| {
            vec![
                ("typnamespace", namespace_of(oid_of(line)).into()),
                ("typowner", OWNER.into()),
                ("typisdefined", true.into()),
                ("typtypmod", Value::Int(-1)),
            ]
        },
    );
}

pub(super) fn pg_range(rows: &mut Rows) {
    fill(rows, fixed::RANGES, |_| true, |_| Vec::new());
}

pub(super) fn pg_operator(rows: &mut Rows) {
    fill(
        rows,
        fixed::OPERATORS,
        |_| true,
        |line| {
            let oid = line[0].parse().unwrap_or(0);
            vec![
                ("oprnamespace", namespace_of(oid).into()),
                ("oprowner", OWNER.into()),
            ]
        },
    );
}

pub(super) fn pg_cast(rows: &mut Rows) {
    fill(rows, fixed::CASTS, |_| true, |_| Vec::new());
}

pub(super) fn pg_description(rows: &mut Rows, objects: &Objects) {
    fill(rows, fixed::DESCRIPTIONS, |_| true, |_| Vec::new());
    extensions::descriptions(rows);
    rows.push(&[
        ("objoid", oid::NAMESPACE_PG_CATALOG.into()),
        ("classoid", oid::PG_NAMESPACE.into()),
        ("description", "system catalog schema".into()),
    ]);
    let public = (oid::PG_NAMESPACE, oid::NAMESPACE_PUBLIC, 0);
    if !objects.comments.contains_key(&public) {
        rows.push(&[
            ("objoid", oid::NAMESPACE_PUBLIC.into()),
            ("classoid", oid::PG_NAMESPACE.into()),
            ("description", "standard public schema".into()),
        ]);
    }
}

/// The functions of the session: with PostgreSQL's rows where it has functions of the name, else with one row that
/// takes anything.
pub(super) fn pg_proc(rows: &mut Rows, session: &dyn Session) {
    let names = function_names(session);
    let called: HashSet<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let operators = fixed::lines(fixed::OPERATORS).map(|line| line[10]);
    let operators: HashSet<&str> = operators.collect();
    // Input and output functions, which other catalogs name, take or give `internal` or `cstring`.
    let internal = |types: &str| types.contains("2281") || types.contains("2275");
    let wanted = |line: &[&'static str]| {
        called.contains(line[1])
            || operators.contains(line[0])
            || internal(line[6])
            || internal(line[7])
    };
    fill(rows, fixed::FUNCTIONS, wanted, |line| {
        let oid = line[0].parse().unwrap_or(0);
        let arguments = line[7].split_whitespace().count();
        vec![
            ("pronamespace", namespace_of(oid).into()),
            ("proowner", OWNER.into()),
            ("prolang", LANGUAGE_INTERNAL.into()),
            ("procost", 1.0.into()),
            ("proparallel", "s".into()),
            ("pronargs", (arguments as i64).into()),
            ("prosrc", line[1].into()),
        ]
    });
    for (name, kind) in &names {
        if !has_function(name) {
            rows.push(&[
                ("oid", oid::function(name).into()),
                ("proname", name.as_str().into()),
                ("pronamespace", oid::NAMESPACE_PG_CATALOG.into()),
                ("proowner", OWNER.into()),
                ("prolang", LANGUAGE_INTERNAL.into()),
                ("procost", 1.0.into()),
                ("prokind", (*kind).into()),
                ("provolatile", "i".into()),
                ("proparallel", "s".into()),
                ("provariadic", pg_type::oid::ANYARRAY.into()),
                ("prorettype", pg_type::oid::ANYARRAY.into()),
                ("prosrc", name.as_str().into()),
            ]);
        }
    }
}

/// The names of the session's functions, with PostgreSQL's letter for the kind.
pub(super) fn function_names(session: &dyn Session) -> BTreeSet<(String, &'static str)> {
    let scalar = session.scalar_functions().keys().map(|n| (n.clone(), "f"));
    let aggregate = session.aggregate_functions().keys();
    let aggregate = aggregate.map(|n| (n.clone(), "a"));
    let window = session.window_functions().keys().map(|n| (n.clone(), "w"));
    scalar.chain(aggregate).chain(window).collect()
}
