//! That rows which come refer to rows that are there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::values::convert;
use super::{Brought, Links};
use crate::catalog::keys::{KeyColumns, NewKeys, Removed, hashes};
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::{CollectionId, FieldId};

/// The keys that rows refer to by one foreign key, as keys of the parent.
pub(super) struct Needed {
    key: ForeignKey,
    parent: Arc<Collection>,
    /// Those that the parent can have.
    keys: NewKeys,
}

impl Needed {
    /// What was brought, looked for in `parent`.
    ///
    /// # Errors
    /// 23503 for a value that the parent's columns cannot have, 40001 when the parent's key is gone.
    pub fn of(brought: &Brought, parent: &Arc<Collection>) -> Result<Self> {
        let key = brought.key().clone();
        let columns = KeyColumns::of(parent, key.key)?;
        let values = brought.values()?;
        let ordered = in_order_of(columns.fields(), &key.referred, &values)?;
        let fields = fields_of(parent, columns.fields());
        let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
        let converted = convert(&ordered, &types)?;
        if let Some(row) = converted.fits.iter().position(|fits| fits == Some(false)) {
            return Err(brought.missing(&values, row, parent));
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), converted.columns)?;
        let mut keys = NewKeys::new(columns);
        keys.add(&rows)?;
        Ok(Self {
            key,
            parent: Arc::clone(parent),
            keys,
        })
    }

    /// Whose keys they are.
    pub fn parent(&self) -> CollectionId {
        self.parent.id
    }

    /// Whether they are looked up in memory alone, and soon.
    ///
    /// # Errors
    /// None in practice.
    pub fn are_at_hand(&self, engine: &Engine) -> Result<bool> {
        self.keys.are_at_hand(engine, &self.parent)
    }

    /// The sorted hashes by which the committer finds transactions that take one of them.
    pub fn hashes(&self) -> Arc<Vec<u64>> {
        let mut needed = Vec::clone(&hashes(std::slice::from_ref(&self.keys)));
        needed.sort_unstable();
        Arc::new(needed)
    }

    /// That each of them is there when the statement has been done to `collection`. Reads files.
    ///
    /// # Errors
    /// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
    pub fn check(&self, links: &Links, collection: &Collection) -> Result<()> {
        let is_own = self.parent.id == collection.id;
        let none = Removed::new();
        let removed = if is_own { &*links.removed } else { &none };
        let existing = self.keys.find(&links.engine, &self.parent, &[], removed)?;
        let own = links.new_keys(self.key.key).filter(|_| is_own);
        let comes = |hash: &u128| own.is_some_and(|own| own.has(*hash));
        let is_missing =
            |row: &usize| existing.places.is_null(*row) && !comes(&existing.hashes[*row]);
        let Some(row) = (0..existing.hashes.len()).find(is_missing) else {
            return Ok(());
        };
        let brought = links.brought.iter().find(|b| b.key().name == self.key.name);
        let brought = brought.ok_or_else(|| Error::internal("a foreign key without rows"))?;
        Err(brought.missing(&brought.values()?, row, &self.parent))
    }
}

/// The columns of `fields`, which may be NULL.
pub(super) fn fields_of(collection: &Collection, fields: &[FieldId]) -> Vec<Field> {
    let columns = fields.iter();
    let columns = columns.filter_map(|id| collection.schema.column_by_id(*id));
    columns
        .map(|c| c.arrow_field().with_nullable(true))
        .collect()
}

/// Columns that stand in the order of `from` in that of `to`.
///
/// # Errors
/// XX000 when a column is missing.
pub(super) fn in_order_of(
    to: &[FieldId],
    from: &[FieldId],
    columns: &[ArrayRef],
) -> Result<Vec<ArrayRef>> {
    let column = |id: &FieldId| {
        let place = from.iter().position(|other| other == id);
        let column = place.and_then(|place| columns.get(place));
        column
            .map(Arc::clone)
            .ok_or_else(|| Error::internal(format!("a foreign key does not refer to column {id}")))
    };
    to.iter().map(column).collect()
}
