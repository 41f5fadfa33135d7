//! Foreign keys in `pg_constraint` and in `information_schema`.

use std::collections::HashSet;

use super::definition::quote_ident;
use super::information::{Information, yes};
use super::objects::{Objects, Relation, attribute_number, quoted_name};
use super::oid;
use super::rows::{Rows, Value};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::{ForeignKey, ReferentialAction, Timing};
use crate::storage::schema::FieldId;
use crate::storage::unique::{KeyId, UniqueKey};

/// A foreign key with both of its collections.
pub(super) struct Reference<'a> {
    child: &'a Relation,
    parent: &'a Relation,
    from: &'a Collection,
    to: &'a Collection,
    key: &'a ForeignKey,
}

/// All foreign keys, in the order of the names of their collections and of their own.
pub(super) fn references(objects: &Objects) -> impl Iterator<Item = Reference<'_>> {
    objects.relations.iter().flat_map(move |child| {
        let keys = child.collection().into_iter().flat_map(|from| {
            let keys = from.schema.foreign_keys.iter();
            keys.map(move |key| (from, key))
        });
        keys.filter_map(move |(from, key)| {
            let parent = objects.relation(oid::collection(key.parent))?;
            Some(Reference {
                child,
                parent,
                from,
                to: parent.collection()?,
                key,
            })
        })
    })
}

/// The OIDs of collections that refer to others or are referred to: those that PostgreSQL has triggers of.
pub(super) fn linked(objects: &Objects) -> HashSet<u32> {
    let pairs = references(objects).map(|r| [r.child.oid, r.parent.oid]);
    pairs.flatten().collect()
}

impl Reference<'_> {
    /// The OID of its constraint.
    pub fn oid(&self) -> u32 {
        oid::check(self.from.id, &self.key.name)
    }

    /// `FOREIGN KEY (member) REFERENCES member(id) ON DELETE CASCADE`.
    pub fn definition(&self) -> String {
        let key = self.key;
        let mut text = format!(
            "FOREIGN KEY ({}) REFERENCES {}({})",
            names(self.from, &key.columns),
            quoted_name(&self.to.name),
            names(self.to, &key.referred)
        );
        if key.match_full {
            text.push_str(" MATCH FULL");
        }
        if key.on_update != ReferentialAction::NoAction {
            text.push_str(&format!(" ON UPDATE {}", key.on_update));
        }
        if key.on_delete != ReferentialAction::NoAction {
            text.push_str(&format!(" ON DELETE {}", key.on_delete));
        }
        if !key.set_on_delete.is_empty() {
            text.push_str(&format!(" ({})", names(self.from, &key.set_on_delete)));
        }
        text.push_str(match key.timing {
            Timing::Immediate => "",
            Timing::Deferrable => " DEFERRABLE",
            Timing::Deferred => " DEFERRABLE INITIALLY DEFERRED",
        });
        if !key.is_validated {
            text.push_str(" NOT VALID");
        }
        text
    }

    /// The unique key that is referred to.
    fn unique(&self) -> Option<UniqueKey> {
        let mut keys = self.to.unique_keys().into_iter();
        keys.find(|unique| unique.id == self.key.key)
    }

    fn index(&self) -> u32 {
        match self.key.key {
            KeyId::Primary => oid::key_index(self.to.id),
            KeyId::Index(id) => oid::index(id),
        }
    }
}

fn names(collection: &Collection, fields: &[FieldId]) -> String {
    let columns = fields.iter();
    let columns = columns.filter_map(|id| collection.schema.column_by_id(*id));
    let names = columns.map(|column| quote_ident(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

fn numbers(fields: &[FieldId]) -> Vec<i16> {
    fields.iter().map(|id| attribute_number(*id)).collect()
}

pub(super) fn pg_constraint(rows: &mut Rows, objects: &Objects) {
    for reference in references(objects) {
        let key = reference.key;
        let set = (!key.set_on_delete.is_empty()).then(|| numbers(&key.set_on_delete));
        rows.push(&[
            ("oid", reference.oid().into()),
            ("conname", key.name.as_str().into()),
            ("connamespace", reference.child.namespace.into()),
            ("contype", "f".into()),
            ("condeferrable", (key.timing != Timing::Immediate).into()),
            ("condeferred", (key.timing == Timing::Deferred).into()),
            ("convalidated", key.is_validated.into()),
            ("conrelid", reference.child.oid.into()),
            ("conindid", reference.index().into()),
            ("confrelid", reference.parent.oid.into()),
            ("confupdtype", key.on_update.letter().into()),
            ("confdeltype", key.on_delete.letter().into()),
            (
                "confmatchtype",
                if key.match_full { "f" } else { "s" }.into(),
            ),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", numbers(&key.columns).into()),
            ("confkey", numbers(&key.referred).into()),
            ("confdelsetcols", set.into()),
        ]);
    }
}

impl Information<'_> {
    /// The cells of a foreign key, of the table that it is of or refers to.
    fn cells_of(&self, reference: &Reference<'_>, table: &Relation) -> Vec<(&'static str, Value)> {
        let mut cells = self.constraint_of(table, &reference.key.name);
        cells.retain(|(name, _)| *name != "constraint_schema");
        cells.push(("constraint_schema", reference.child.schema.as_str().into()));
        cells
    }

    /// The part of `table_constraints`.
    pub(super) fn foreign_keys(&self, rows: &mut Rows) {
        for reference in references(self.objects) {
            let timing = reference.key.timing;
            let mut cells = self.cells_of(&reference, reference.child);
            cells.extend([
                ("constraint_type", "FOREIGN KEY".into()),
                ("is_deferrable", yes(timing != Timing::Immediate)),
                ("initially_deferred", yes(timing == Timing::Deferred)),
                ("enforced", yes(true)),
            ]);
            rows.push(&cells);
        }
    }

    /// The part of `constraint_table_usage`: the tables that are referred to.
    pub(super) fn referred_tables(&self, rows: &mut Rows) {
        for reference in references(self.objects) {
            rows.push(&self.cells_of(&reference, reference.parent));
        }
    }

    /// The part of `key_column_usage`.
    pub(super) fn referring_columns(&self, rows: &mut Rows) {
        for reference in references(self.objects) {
            let unique = reference.unique().map(|unique| unique.fields);
            let pairs = reference.key.columns.iter().zip(&reference.key.referred);
            for (place, (own, referred)) in pairs.enumerate() {
                let Some(column) = reference.from.schema.column_by_id(*own) else {
                    continue;
                };
                let fields = unique.iter().flatten();
                let in_unique = fields.zip(1_i64..).find(|(id, _)| *id == referred);
                let mut cells = self.cells_of(&reference, reference.child);
                cells.extend([
                    ("column_name", column.name.as_str().into()),
                    ("ordinal_position", Value::Int(place as i64 + 1)),
                    (
                        "position_in_unique_constraint",
                        in_unique.map(|(_, place)| place).into(),
                    ),
                ]);
                rows.push(&cells);
            }
        }
    }

    /// The part of `constraint_column_usage`: the columns that are referred to.
    pub(super) fn referred_columns(&self, rows: &mut Rows) {
        for reference in references(self.objects) {
            let columns = reference.key.referred.iter();
            for column in columns.filter_map(|id| reference.to.schema.column_by_id(*id)) {
                let mut cells = self.cells_of(&reference, reference.parent);
                cells.push(("column_name", column.name.as_str().into()));
                rows.push(&cells);
            }
        }
    }

    pub(super) fn referential_constraints(&self, rows: &mut Rows) {
        for reference in references(self.objects) {
            let key = reference.key;
            let mut cells = self.cells_of(&reference, reference.child);
            cells.retain(|(name, _)| name.starts_with("constraint"));
            if let Some(unique) = reference.unique().filter(|unique| unique.is_constraint) {
                cells.extend([
                    ("unique_constraint_catalog", self.database().into()),
                    (
                        "unique_constraint_schema",
                        reference.parent.schema.as_str().into(),
                    ),
                    ("unique_constraint_name", unique.name.into()),
                ]);
            }
            let matched = if key.match_full { "FULL" } else { "NONE" };
            cells.extend([
                ("match_option", matched.into()),
                ("update_rule", key.on_update.to_string().into()),
                ("delete_rule", key.on_delete.to_string().into()),
            ]);
            rows.push(&cells);
        }
    }
}
