//! PostgreSQL's system catalogs and the information schema, made of the snapshot that a statement reads.
//!
//! The crate `datafusion-pg-catalog` does not serve here: its OIDs differ between processes, it has no rows of indexes
//! and constraints, and it brings DataFusion's default features along.
//!
//! [`relation`] knows every relation of PostgreSQL 15 with its columns; [`objects`] says what the database holds in
//! PostgreSQL's words; [`class`], [`global`], [`views`], [`information`] and [`roles`] make rows of that, with the owners and grants of [`access`], [`live`] asks
//! the sessions, and [`fixed`] has those that are the same everywhere. Relations that nobody makes rows for are empty. [`functions`]
//! are those that clients call beside them.

mod access;
mod casts;
mod class;
pub(crate) mod coercion;
mod comments;
mod context;
mod definition;
pub mod extensions;
mod fixed;
pub mod functions;
mod global;
mod information;
mod information_domains;
mod live;
mod objects;
mod oid;
mod partitions;
mod references;
mod relation;
mod roles;
mod routines;
mod rows;
mod sequence_table;
mod table;
mod types;
mod views;

pub use casts::field_of_type;
pub(crate) use casts::{RegTypeRule, show_names};
pub use context::{PgContext, SessionFacts};
pub(crate) use definition::quote_ident;
pub(crate) use functions::OfRelation;
pub use functions::reg_type_of;
pub use live::{Live, LiveRelation, Row, Signal, Value};
pub use sequence_table::SequenceTable;
pub(crate) use table::{SystemCatalog, SystemCatalogTable};

use arrow::datatypes::Field;

use crate::catalog::pg_type::type_of;
use crate::storage::change::QualifiedName;
use crate::storage::enum_type::EnumType;
use crate::storage::schema::{CollectionId, SequenceId};

/// The schemas that PostgreSQL keeps for itself.
pub const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

/// The OID that the one database of a server has.
pub const DATABASE_OID: u32 = oid::DATABASE;

/// The name of a field's type as messages have it.
pub(crate) fn type_name(field: &Field) -> String {
    match EnumType::of_field(field) {
        Some(of) => of.to_string(),
        None => definition::format_type(type_of(field).oid, None),
    }
}

/// The name of the type of an OID.
pub(crate) fn format_type(oid: u32) -> String {
    definition::format_type(oid, None)
}

/// The OID of a collection in `pg_class`.
pub fn collection_oid(id: CollectionId) -> u32 {
    oid::collection(id)
}

/// The OID of a view in `pg_class`.
pub fn view_oid(name: &QualifiedName) -> u32 {
    oid::view(&name.schema, &name.name)
}

/// The OID of a sequence in `pg_class`.
pub fn sequence_oid(id: SequenceId) -> u32 {
    oid::sequence(id)
}

/// The OID of a relation of `pg_catalog`.
pub fn system_relation(name: &str) -> Option<u32> {
    relation::find("pg_catalog", name).map(|relation| relation.oid)
}
