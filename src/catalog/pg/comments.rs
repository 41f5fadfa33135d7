//! Comments as `pg_description` and `pg_shdescription` have them.

use std::collections::HashMap;
use std::sync::Arc;

use super::objects::{Objects, attribute_number};
use super::oid;
use super::rows::Rows;
use crate::catalog::pg_type::enum_oid;
use crate::storage::comment::Commented;
use crate::storage::schema::{CollectionId, FieldId};
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::KeyId;

/// What a comment is on: the catalog and the OID of an object, and the number of a column.
pub(super) type Place = (u32, u32, i16);

/// The comments of a version by what they are on.
pub(super) fn of(snapshot: &Snapshot) -> HashMap<Place, Arc<str>> {
    let all = snapshot.comments();
    all.map(|(on, text)| (place(on, snapshot), Arc::clone(text)))
        .collect()
}

/// The OID of a constraint.
fn constraint(snapshot: &Snapshot, id: CollectionId, name: &str) -> u32 {
    let Some(collection) = snapshot.collection_by_id(id) else {
        return 0;
    };
    let mut keys = collection.unique_keys().into_iter();
    let key = keys.find(|key| key.is_constraint && key.name == name);
    match key.map(|key| key.id) {
        Some(KeyId::Primary) => oid::key_constraint(id),
        Some(KeyId::Index(index)) => oid::index_constraint(index),
        None => oid::check(id, name),
    }
}

fn place(on: &Commented, snapshot: &Snapshot) -> Place {
    match on {
        Commented::Database => (oid::PG_DATABASE, oid::DATABASE, 0),
        Commented::Schema(name) => (oid::PG_NAMESPACE, oid::schema(name), 0),
        Commented::Collection(id) => (oid::PG_CLASS, oid::collection(*id), 0),
        Commented::Column(id, field) => (
            oid::PG_CLASS,
            oid::collection(*id),
            attribute_number(*field),
        ),
        Commented::PrimaryKey(id) => (oid::PG_CLASS, oid::key_index(*id), 0),
        Commented::Index(_, id) => (oid::PG_CLASS, oid::index(*id), 0),
        Commented::View(name) => (oid::PG_CLASS, oid::view(&name.schema, &name.name), 0),
        Commented::ViewColumn(name, number) => {
            let view = oid::view(&name.schema, &name.name);
            (oid::PG_CLASS, view, attribute_number(FieldId(*number)))
        }
        Commented::Sequence(id) => (oid::PG_CLASS, oid::sequence(*id), 0),
        Commented::Function(id) => (oid::PG_PROC, oid::user_function(*id), 0),
        Commented::Type(id) => (oid::PG_TYPE, enum_oid(*id), 0),
        Commented::Constraint(id, name) => (oid::PG_CONSTRAINT, constraint(snapshot, *id, name), 0),
    }
}

/// The rows of `pg_description` that users made.
pub(super) fn pg_description(rows: &mut Rows, objects: &Objects) {
    let of_database = |place: &Place| place.0 == oid::PG_DATABASE;
    for ((class, object, column), text) in objects.comments.iter().filter(|(p, _)| !of_database(p))
    {
        rows.push(&[
            ("objoid", (*object).into()),
            ("classoid", (*class).into()),
            ("objsubid", (*column).into()),
            ("description", (&**text).into()),
        ]);
    }
}

/// The rows of `pg_shdescription`.
pub(super) fn pg_shdescription(rows: &mut Rows, objects: &Objects) {
    if let Some(text) = objects.comments.get(&(oid::PG_DATABASE, oid::DATABASE, 0)) {
        rows.push(&[
            ("objoid", oid::DATABASE.into()),
            ("classoid", oid::PG_DATABASE.into()),
            ("description", (&**text).into()),
        ]);
    }
}
