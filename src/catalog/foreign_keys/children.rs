//! That nothing refers to rows which go.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Schema};

use super::Links;
use super::brought::referring_columns;
use super::parents::{fields_of, in_order_of};
use super::values::convert;
use crate::catalog::keys::{KeyColumns, NewKeys, Removed, open_segment, short};
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::fetch::{growing_rows, sealed_rows};
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::FieldId;
use crate::storage::unique::KeyId;

/// The keys that a statement takes from a collection that others refer to: those of rows that go, but for those that
/// come again.
pub(super) struct Taken {
    key: KeyId,
    columns: KeyColumns,
    values: Vec<ArrayRef>,
    hashes: Vec<u64>,
}

impl Taken {
    /// The keys of one of the collection's unique keys. Reads files.
    ///
    /// # Errors
    /// 40001 when the key is gone, XX001 or 58030 for segments that cannot be read.
    pub fn of(links: &Links, collection: &Collection, key: KeyId) -> Result<Self> {
        let columns = KeyColumns::of(collection, key)?;
        let come = links.new_keys(key);
        let (mut parts, mut hashes) = (Vec::new(), Vec::new());
        for rows in rows_at(&links.engine, collection, columns.fields(), &links.removed)? {
            let values = columns.of_rows(&rows)?;
            let all = columns.hash(&values)?;
            let goes = |row: usize, hash: u128| {
                // Nothing refers to a key with a NULL.
                values.iter().all(|column| column.is_valid(row))
                    && !come.is_some_and(|come| come.has(hash))
            };
            let go: Vec<bool> = (0..)
                .zip(&all)
                .map(|(row, hash)| goes(row, *hash))
                .collect();
            let gone = all.iter().zip(&go).filter(|(_, goes)| **goes);
            hashes.extend(gone.map(|(hash, _)| short(*hash)));
            let go = BooleanArray::from(go);
            let values = values.iter().map(|column| Ok(filter(column, &go)?));
            parts.push(values.collect::<Result<Vec<ArrayRef>>>()?);
        }
        Ok(Self {
            values: joined(&parts, collection, columns.fields())?,
            key,
            columns,
            hashes,
        })
    }

    /// Of which unique key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The sorted hashes by which the committer finds transactions that need one of them.
    pub fn hashes(taken: &[Self]) -> Arc<Vec<u64>> {
        let all = taken.iter().flat_map(|taken| &taken.hashes);
        let mut all: Vec<u64> = all.copied().collect();
        all.sort_unstable();
        Arc::new(all)
    }

    /// That no row of `child` refers to one of them when the statement has been done to `collection`. Rows that come are
    /// not looked at: they are known to refer to what is there. Reads files.
    ///
    /// # Errors
    /// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
    pub fn check(
        &self,
        links: &Links,
        collection: &Collection,
        child: &Collection,
        key: &ForeignKey,
    ) -> Result<()> {
        let keys = self.of_child(collection, child, key)?;
        let none = Removed::new();
        let removed = match child.id == collection.id {
            true => &*links.removed,
            false => &none,
        };
        match keys.present(&links.engine, child, removed)? {
            Some(text) => Err(still_referred_to(collection, child, key, &text)),
            None => Ok(()),
        }
    }

    /// The keys as the columns of a child have them that refer to the collection, under the names of the collection's.
    fn of_child(
        &self,
        collection: &Collection,
        child: &Collection,
        key: &ForeignKey,
    ) -> Result<NewKeys> {
        let names = key.referred.iter();
        let names = names.filter_map(|id| collection.schema.column_by_id(*id));
        let names = names.map(|column| column.name.clone()).collect();
        let columns = referring_columns(child, key)?.under_names(names);
        let values = in_order_of(&key.referred, self.columns.fields(), &self.values)?;
        let fields = fields_of(child, &key.columns);
        let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
        let converted = convert(&values, &types)?;
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), converted.columns)?;
        let mut keys = NewKeys::new(columns);
        keys.add(&rows)?;
        keys.sort();
        Ok(keys)
    }
}

fn still_referred_to(
    collection: &Collection,
    child: &Collection,
    key: &ForeignKey,
    text: &str,
) -> Error {
    let (table, name, child) = (&collection.name.name, &key.name, &child.name.name);
    let message = format!(
        "update or delete on table \"{table}\" violates foreign key constraint \"{name}\" on table \"{child}\""
    );
    let detail = format!("Key {text} is still referenced from table \"{child}\".");
    Error::invalid(sqlstate::FOREIGN_KEY_VIOLATION, message).with_detail(detail)
}

/// Columns in parts as whole ones; there may be no part.
fn joined(
    parts: &[Vec<ArrayRef>],
    collection: &Collection,
    fields: &[FieldId],
) -> Result<Vec<ArrayRef>> {
    let fields = fields_of(collection, fields).into_iter().enumerate();
    let column = |(place, field): (usize, arrow::datatypes::Field)| {
        let empty = arrow::array::new_empty_array(field.data_type());
        let parts = parts.iter().map(|part| part[place].as_ref());
        let parts: Vec<&dyn Array> = std::iter::once(empty.as_ref()).chain(parts).collect();
        Ok(concat(&parts)?)
    };
    fields.map(column).collect()
}

/// Columns of rows at these places. Reads files.
///
/// # Errors
/// XX001 or 58030 for segments that cannot be read.
fn rows_at(
    engine: &Engine,
    collection: &Collection,
    fields: &[FieldId],
    places: &Removed,
) -> Result<Vec<RecordBatch>> {
    let mut found = Vec::with_capacity(places.len());
    for (id, places) in places.iter().filter(|(_, places)| !places.is_empty()) {
        let places: Vec<u32> = places.iter().collect();
        if let Some(growing) = collection.growing_segment(*id) {
            found.push(growing_rows(growing, &collection.schema, fields, &places)?);
            continue;
        }
        let segment = collection.segment(*id).ok_or_else(|| {
            Error::conflict(format!("segment {id} of \"{}\" is gone", collection.name))
        })?;
        let reader = open_segment(engine, collection, segment)?;
        found.push(sealed_rows(&reader, &collection.schema, fields, &places)?.0);
    }
    Ok(found)
}
