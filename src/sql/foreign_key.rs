//! FOREIGN KEY constraints as definitions: what CREATE and ALTER TABLE make of them.

mod dependents;
mod existing;
mod grammar;

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

pub(super) use self::dependents::{Released, referring, releases};
pub(super) use self::existing::check_rows;
pub(super) use self::grammar::{foreign_key, references, timing};
use super::ddl::{find_collection, qualify};
use super::default_name::{first_free, joined};
use super::parser::fold;
use super::session::Session;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Privilege;
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::foreign_key::{ForeignKey, ReferentialAction, Timing};
use crate::storage::schema::{CollectionId, CollectionSchema, Column, ColumnType, FieldId};
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};
use crate::storage::unique::{KeyId, UniqueKey, is_key_or_check};

/// A FOREIGN KEY constraint as its author wrote it.
#[derive(Debug, Clone)]
pub struct ForeignKeyDefinition {
    /// Its name, if it has one.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// The collection whose rows they refer to.
    pub table: ObjectName,
    /// Its columns; its primary key where there are none.
    pub referred: Vec<Ident>,
    /// MATCH FULL.
    pub match_full: bool,
    /// ON DELETE.
    pub on_delete: ReferentialAction,
    /// ON UPDATE.
    pub on_update: ReferentialAction,
    /// The columns of ON DELETE SET.
    pub set_on_delete: Vec<Ident>,
    /// When it is checked.
    pub timing: Timing,
    /// Whether rows that exist are checked: not with NOT VALID.
    pub is_validated: bool,
}

/// The collection that gets foreign keys.
pub(super) struct Child<'a> {
    pub session: &'a Session,
    pub snapshot: &'a Snapshot,
    pub id: CollectionId,
    pub name: &'a QualifiedName,
    /// Its unique keys as they will be, for references to itself.
    pub keys: &'a [UniqueKey],
}

/// The collection that a foreign key refers to.
struct Parent<'a> {
    id: CollectionId,
    name: String,
    schema: &'a CollectionSchema,
    keys: Vec<UniqueKey>,
}

impl Child<'_> {
    /// Adds a foreign key to the schema of the collection.
    ///
    /// # Errors
    /// 42P01 for a collection that does not exist, 42703 for a missing column, 42830 for columns that are no unique key,
    /// 42804 for types that cannot be compared, 42710 for a name that is taken, 42P16 where only one of the two is
    /// temporary, 42501.
    pub fn add(
        &self,
        schema: &mut CollectionSchema,
        definition: &ForeignKeyDefinition,
    ) -> Result<()> {
        let own = columns_of(schema, &definition.columns)?;
        let parent = self.parent(schema, definition)?;
        let (key, referred) = parent.key(definition)?;
        if referred.len() != own.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Error::invalid(sqlstate::INVALID_FOREIGN_KEY, message));
        }
        let name = match &definition.name {
            Some(name) => self.free(schema, fold(name))?,
            None => self.free_name(schema, &own),
        };
        for (own, referred) in own.iter().zip(&referred) {
            check_comparable(&name, own, referred)?;
        }
        let set = columns_of(schema, &definition.set_on_delete)?;
        if let Some(other) = set.iter().find(|c| !own.iter().any(|own| own.id == c.id)) {
            let message = format!(
                "column \"{}\" referenced in ON DELETE SET action must be part of foreign key",
                other.name
            );
            return Err(Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message));
        }
        check_generated(&own, definition)?;
        let ids = |columns: &[&Column]| columns.iter().map(|c| c.id).collect::<Vec<FieldId>>();
        let added = ForeignKey {
            name,
            columns: ids(&own),
            parent: parent.id,
            key,
            referred: ids(&referred),
            match_full: definition.match_full,
            on_delete: definition.on_delete,
            on_update: definition.on_update,
            set_on_delete: ids(&set),
            timing: definition.timing,
            is_validated: definition.is_validated,
        };
        schema.foreign_keys.push(added);
        schema.foreign_keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn parent<'a>(
        &'a self,
        own: &'a CollectionSchema,
        definition: &ForeignKeyDefinition,
    ) -> Result<Parent<'a>> {
        let name = qualify(&definition.table, &self.session.search_path())?;
        // A temporary table hides others of its name once it is there.
        let is_hidden = self.name.schema == TEMPORARY_SCHEMA
            && definition.table.0.len() == 1
            && name.name == self.name.name;
        if name == *self.name || is_hidden {
            return Ok(Parent {
                id: self.id,
                name: self.name.name.clone(),
                schema: own,
                keys: self.keys.to_vec(),
            });
        }
        if self.snapshot.view(&name).is_some() {
            let message = format!("referenced relation \"{name}\" is not a table");
            return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        let parent = find_collection(self.snapshot, &name)?;
        if parent.materialized.is_some() {
            let message = format!("referenced relation \"{}\" is not a table", name.name);
            return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        self.check_lasts_as(parent)?;
        self.session
            .check_may(self.snapshot, parent, Privilege::References)?;
        Ok(Parent {
            id: parent.id,
            name: name.name,
            schema: &parent.schema,
            keys: parent.unique_keys(),
        })
    }

    /// That both collections are temporary, or none is.
    fn check_lasts_as(&self, parent: &Collection) -> Result<()> {
        let kind = match (self.name.schema == TEMPORARY_SCHEMA, parent.is_temporary()) {
            (true, false) => "temporary",
            (false, true) => "permanent",
            _ => return Ok(()),
        };
        let message = format!("constraints on {kind} tables may reference only {kind} tables");
        Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message))
    }

    /// The name, which no other constraint of the collection has.
    fn free(&self, schema: &CollectionSchema, name: String) -> Result<String> {
        if !self.is_taken(schema, &name) {
            return Ok(name);
        }
        let relation = &self.name.name;
        let message = format!("constraint \"{name}\" for relation \"{relation}\" already exists");
        Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message))
    }

    /// `loan_member_fkey`, with a number behind it where that is taken.
    fn free_name(&self, schema: &CollectionSchema, columns: &[&Column]) -> String {
        let columns: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let columns = columns.join("_");
        let named = |number: &str| joined(&self.name.name, &columns, &format!("fkey{number}"));
        first_free(named, |name| !self.is_taken(schema, name))
    }

    fn is_taken(&self, schema: &CollectionSchema, name: &str) -> bool {
        schema.foreign_key(name).is_some() || is_key_or_check(self.keys, schema, name)
    }
}

impl Parent<'_> {
    /// The unique key that the definition refers to, and its columns as they are named there.
    fn key(&self, definition: &ForeignKeyDefinition) -> Result<(KeyId, Vec<&Column>)> {
        if definition.referred.is_empty() {
            let primary = self.keys.iter().find(|key| key.id == KeyId::Primary);
            let primary = primary.ok_or_else(|| {
                let message = format!(
                    "there is no primary key for referenced table \"{}\"",
                    self.name
                );
                Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
            })?;
            let columns = primary.fields.iter();
            let columns = columns.filter_map(|id| self.schema.column_by_id(*id));
            return Ok((primary.id, columns.collect()));
        }
        let columns = columns_of(self.schema, &definition.referred)?;
        let wanted: HashSet<FieldId> = columns.iter().map(|c| c.id).collect();
        let is_wanted = |key: &&UniqueKey| {
            let fields: HashSet<FieldId> = key.fields.iter().copied().collect();
            fields == wanted && columns.len() == key.fields.len() && key.computed.is_none()
        };
        match self.keys.iter().find(is_wanted) {
            Some(key) => Ok((key.id, columns)),
            None => {
                let message = format!(
                    "there is no unique constraint matching given keys for referenced table \"{}\"",
                    self.name
                );
                Err(Error::invalid(sqlstate::INVALID_FOREIGN_KEY, message))
            }
        }
    }
}

fn columns_of<'a>(schema: &'a CollectionSchema, names: &[Ident]) -> Result<Vec<&'a Column>> {
    let column = |name: &Ident| {
        let name = fold(name);
        schema.column(&name).ok_or_else(|| {
            let message =
                format!("column \"{name}\" referenced in foreign key constraint does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })
    };
    names.iter().map(column).collect()
}

/// That the foreign key gives no values to generated columns.
fn check_generated(own: &[&Column], definition: &ForeignKeyDefinition) -> Result<()> {
    use ReferentialAction as Does;
    if own.iter().all(|column| column.generated.is_none()) {
        return Ok(());
    }
    let sets = |action| matches!(action, Does::SetNull | Does::SetDefault);
    let event = match (definition.on_delete, definition.on_update) {
        (_, update) if sets(update) || update == Does::Cascade => "UPDATE",
        (delete, _) if sets(delete) => "DELETE",
        _ => return Ok(()),
    };
    let message =
        format!("invalid ON {event} action for foreign key constraint containing generated column");
    Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
}

/// That values of the two columns can be equal.
pub(super) fn check_comparable(name: &str, own: &Column, referred: &Column) -> Result<()> {
    if own.column_type.is_scalar() && are_comparable(&own.column_type, &referred.column_type) {
        return Ok(());
    }
    let message = format!("foreign key constraint \"{name}\" cannot be implemented");
    let detail = format!(
        "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
        own.name, referred.name, own.column_type, referred.column_type
    );
    Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message).with_detail(detail))
}

/// Whether a value of the one type may refer to one of the other, as where PostgreSQL compares them by an index.
fn are_comparable(own: &ColumnType, referred: &ColumnType) -> bool {
    use ColumnType as C;
    let is_text = |of: &C| matches!(of, C::Text | C::Varchar(_) | C::Named(_));
    let is_whole = |of: &C| matches!(of, C::TinyInt | C::SmallInt | C::Integer | C::BigInt);
    match (own.base(), referred.base()) {
        (own, C::Numeric(..)) => is_whole(own) || matches!(own, C::Numeric(..)),
        (own, referred) if is_text(own) && is_text(referred) => true,
        (C::Char(_), C::Char(_)) => true,
        (C::Real | C::Double, C::Real | C::Double) => true,
        (own, referred) => own == referred || (is_whole(own) && is_whole(referred)),
    }
}
