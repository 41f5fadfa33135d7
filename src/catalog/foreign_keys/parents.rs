//! Whether rows refer to rows that are there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::Field;

use super::values::rows_as;
use crate::catalog::keys::{KeyColumns, NewKeys, Removed, hashes};
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::{CollectionId, FieldId};

/// Keys that are referred to by one foreign key, as keys of the parent.
pub(super) struct Needed {
    pub key: ForeignKey,
    pub parent: Arc<Collection>,
    /// The columns as they were brought, in the order of the foreign key.
    pub values: Vec<ArrayRef>,
    /// Of each key whether the parent's columns can have it.
    fits: BooleanArray,
    /// Those that fit.
    keys: NewKeys,
}

impl Needed {
    /// Keys without NULLs, the columns in the order of the foreign key, looked for in `parent`.
    ///
    /// # Errors
    /// 40001 when the parent's key is gone.
    pub fn of(key: &ForeignKey, values: Vec<ArrayRef>, parent: &Arc<Collection>) -> Result<Self> {
        let columns = KeyColumns::of(parent, key.key)?;
        let ordered = in_order_of(columns.fields(), &key.referred, &values)?;
        let (rows, fits) = rows_as(fields_of(parent, columns.fields()), &ordered)?;
        let mut keys = NewKeys::new(columns);
        keys.add(&rows)?;
        Ok(Self {
            key: key.clone(),
            parent: Arc::clone(parent),
            values,
            fits,
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

    /// Of each key whether neither a live row of the parent has it, those of `removed` apart, nor one that comes. Reads
    /// files.
    ///
    /// # Errors
    /// XX001 or 58030 for segments that cannot be read.
    pub fn missing(
        &self,
        engine: &Engine,
        removed: &Removed,
        come: Option<&NewKeys>,
    ) -> Result<BooleanArray> {
        let existing = self.keys.find(engine, &self.parent, &[], removed)?;
        let comes = |hash: &u128| come.is_some_and(|come| come.has(*hash));
        let mut of_fitting = (0..).zip(&existing.hashes);
        let mut is_there = || {
            let next = of_fitting.next();
            next.is_some_and(|(row, hash)| existing.places.is_valid(row) || comes(hash))
        };
        let fits = self.fits.iter().map(|fits| fits == Some(true));
        Ok(fits.map(|fits| Some(!(fits && is_there()))).collect())
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
