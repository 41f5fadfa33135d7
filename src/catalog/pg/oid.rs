//! OIDs of objects: the same in every process and after every restart, because they are made of what the commit log
//! keeps.
//!
//! Objects of PostgreSQL have PostgreSQL's OIDs. A collection's OID is made of its id; so are those of what belongs to
//! it. Schemas, views and functions have no ids, so theirs are made of a hash of their names. The kinds of objects lie
//! in ranges of their own, below 2^31 because some clients read OIDs as signed numbers.

use crate::catalog::pg_type::{OID_RANGE as RANGE, oid};
use crate::storage::schema::{CollectionId, FieldId, FunctionId, IndexId, SequenceId};

/// The catalog `pg_class`, in `classoid` columns.
pub(super) const PG_CLASS: u32 = 1259;
/// The catalog `pg_proc`.
pub(super) const PG_PROC: u32 = 1255;
/// The catalog `pg_type`.
pub(super) const PG_TYPE: u32 = 1247;
/// The catalog `pg_namespace`.
pub(super) const PG_NAMESPACE: u32 = 2615;
/// The catalog `pg_database`.
pub(super) const PG_DATABASE: u32 = 1262;
/// The catalog `pg_extension`.
pub(super) const PG_EXTENSION: u32 = 3079;
/// The catalog `pg_constraint`.
pub(super) const PG_CONSTRAINT: u32 = 2606;

/// The schema of the system catalogs.
pub(super) const NAMESPACE_PG_CATALOG: u32 = 11;
/// The schema of the information schema's views.
pub(super) const NAMESPACE_INFORMATION_SCHEMA: u32 = 13_000;
/// The schema that every database has.
pub(super) const NAMESPACE_PUBLIC: u32 = 2200;
/// The schema of the engine's own tables.
pub(super) const NAMESPACE_SHELFMARK: u32 = 16_800;
/// The extension `vector`.
pub(super) const EXTENSION_VECTOR: u32 = 16_384;
/// The extension `uuid-ossp`.
pub(super) const EXTENSION_UUID: u32 = 16_805;
/// The extension `pgcrypto`.
pub(super) const EXTENSION_CRYPTO: u32 = 16_806;
/// The only database.
pub(super) const DATABASE: u32 = 16_801;
/// The only tablespace of data.
pub(super) const TABLESPACE_DEFAULT: u32 = 1663;
/// The table access method of collections.
pub(super) const AM_SHELFMARK: u32 = 16_802;
/// The index access method hnsw; nothing is built by it.
pub(super) const AM_HNSW: u32 = 16_803;
/// The index access method ivfflat; nothing is built by it.
pub(super) const AM_IVFFLAT: u32 = 16_804;
/// The index access method of primary keys.
pub(super) const AM_BTREE: u32 = 403;
/// OIDs below are PostgreSQL's own.
pub(super) const FIRST_USER: u32 = 16_384;

/// Where the ranges begin; each holds 2^27 objects.
const COLLECTIONS: u32 = 1 << 27;
const KEY_INDEXES: u32 = 2 << 27;
const KEY_CONSTRAINTS: u32 = 3 << 27;
const SCHEMAS: u32 = 4 << 27;
const VIEWS: u32 = 5 << 27;
const FUNCTIONS: u32 = 6 << 27;
const DEFAULTS: u32 = 7 << 27;
const RULES: u32 = 8 << 27;
const INDEXES: u32 = 9 << 27;
const SEQUENCES: u32 = 10 << 27;
const CHECKS: u32 = 11 << 27;
const INDEX_CONSTRAINTS: u32 = 12 << 27;
/// Those from 13 on are of enum types and of their arrays.
const ENUM_LABELS: u32 = 15 << 27;

fn in_range(start: u32, id: u64) -> u32 {
    // Ids come from one counter; after 2^27 of them an OID could come twice, in another collection's lifetime.
    start + (id % u64::from(RANGE)) as u32
}

/// FNV-1a: short, and the same in every version of the program.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|p| p.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

/// A collection.
pub(super) fn collection(id: CollectionId) -> u32 {
    in_range(COLLECTIONS, id.0)
}

/// The index of a collection's primary key.
pub(super) fn key_index(id: CollectionId) -> u32 {
    in_range(KEY_INDEXES, id.0)
}

/// An index that CREATE INDEX defined.
pub(super) fn index(id: IndexId) -> u32 {
    in_range(INDEXES, id.0)
}

/// A value of an enum type.
pub(super) fn enum_label(id: u64) -> u32 {
    in_range(ENUM_LABELS, id)
}

/// A sequence.
pub(super) fn sequence(id: SequenceId) -> u32 {
    in_range(SEQUENCES, id.0)
}

/// The constraint of a collection's primary key.
pub(super) fn key_constraint(id: CollectionId) -> u32 {
    in_range(KEY_CONSTRAINTS, id.0)
}

/// The constraint that an index keeps.
pub(super) fn index_constraint(id: IndexId) -> u32 {
    in_range(INDEX_CONSTRAINTS, id.0)
}

/// A check of a collection.
pub(super) fn check(id: CollectionId, name: &str) -> u32 {
    in_range(CHECKS, id.0.wrapping_mul(4099).wrapping_add(hash(&[name])))
}

/// A check of a domain.
pub(super) fn domain_check(id: u64) -> u32 {
    in_range(CHECKS, id)
}

/// The default of a column.
pub(super) fn default(id: CollectionId, column: FieldId) -> u32 {
    in_range(
        DEFAULTS,
        id.0.wrapping_mul(4099).wrapping_add(u64::from(column.0)),
    )
}

/// The default of a view's column.
pub(super) fn default_of_view(view: u32, number: i16) -> u32 {
    in_range(DEFAULTS, hash(&[&view.to_string(), &number.to_string()]))
}

/// A SQL schema.
pub(super) fn schema(name: &str) -> u32 {
    match name {
        "pg_catalog" => NAMESPACE_PG_CATALOG,
        "information_schema" => NAMESPACE_INFORMATION_SCHEMA,
        "public" => NAMESPACE_PUBLIC,
        "shelfmark" => NAMESPACE_SHELFMARK,
        name => in_range(SCHEMAS, hash(&[name])),
    }
}

/// A view, or a table that is no collection.
pub(super) fn view(schema: &str, name: &str) -> u32 {
    in_range(VIEWS, hash(&[schema, name]))
}

/// The rule that makes a relation a view.
pub(super) fn rule(view: u32) -> u32 {
    in_range(RULES, u64::from(view))
}

/// A function that PostgreSQL does not have.
pub(super) fn function(name: &str) -> u32 {
    in_range(FUNCTIONS, hash(&[name]))
}

/// A function that CREATE FUNCTION made.
pub(super) fn user_function(id: FunctionId) -> u32 {
    // In the range of functions that PostgreSQL does not have, whose places tell nothing.
    in_range(FUNCTIONS, id.0)
}

/// Whether values of a type can be collated.
pub(super) fn collation_of(type_oid: u32) -> u32 {
    const DEFAULT: u32 = 100;
    const C: u32 = 950;
    match type_oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR => DEFAULT,
        oid::TEXT_ARRAY | oid::VARCHAR_ARRAY | oid::BPCHAR_ARRAY => DEFAULT,
        oid::NAME | oid::NAME_ARRAY => C,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::pg_type::{enum_array_oid, enum_oid};
    use crate::storage::schema::TypeId;

    #[test]
    fn kinds_do_not_meet_and_stay_signed() {
        let far = CollectionId(u64::MAX);
        let all = [
            collection(far),
            rule(view("public", "v")),
            key_index(far),
            key_constraint(far),
            index(IndexId(7)),
            index_constraint(IndexId(7)),
            sequence(SequenceId(8)),
            check(far, "c"),
            schema("tenant"),
            view("public", "v"),
            function("f"),
            enum_oid(TypeId(u64::MAX)),
            enum_array_oid(TypeId(u64::MAX)),
            enum_label(u64::MAX),
        ];
        let mut ranges: Vec<u32> = all.iter().map(|oid| oid / RANGE).collect();
        ranges.sort_unstable();
        ranges.dedup();
        assert_eq!(ranges.len(), all.len());
        assert!(all.iter().all(|oid| i32::try_from(*oid).is_ok()));
    }

    #[test]
    fn names_have_the_oids_they_always_had() {
        // Clients keep them: a change here is a change of the format.
        assert_eq!(schema("tenant"), 667_122_637);
        assert_ne!(view("a", "bc"), view("ab", "c"));
    }
}
