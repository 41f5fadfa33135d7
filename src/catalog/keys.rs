//! PRIMARY KEY and UNIQUE: that no two live rows have the same key.
//!
//! Keys are known by hashes. A segment whose range of keys meets the new ones is asked through an index of its
//! hashes ([`KeyIndexes`](crate::storage::key_index::KeyIndexes)), which is built when it is first needed; a row that
//! is found there is read, to see that it is alive and has the key indeed. Where memory has no room for one more
//! index, few keys are looked for in row groups whose bloom filters may hold them. Two transactions that insert the same key
//! at the same time are told apart by the committer.

mod columns;
mod existing;
mod lookup;
mod parts;
mod point;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use datafusion::common::ScalarValue;
use roaring::RoaringBitmap;

pub(super) use self::columns::{KeyColumns, one_zero};
pub(super) use self::existing::Existing;
pub(super) use self::lookup::Found;
use self::lookup::Lookup;
pub use self::parts::know_functions;
pub(super) use self::point::{Place, PointKey};
use crate::compaction::expire::expired_rows;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::committer::now_ms;
use crate::storage::engine::Engine;
use crate::storage::schema::{FieldId, SegmentId};
use crate::storage::unique::{KeyId, UniqueKey};

/// Rows of each segment that the statement removes: their keys are free.
pub type Removed = HashMap<SegmentId, RoaringBitmap>;

/// The keys that a statement brings.
#[derive(Debug)]
pub struct NewKeys {
    columns: KeyColumns,
    /// Hashes of twice 64 bits; the upper ones find, all together decide.
    hashes: Vec<u128>,
    /// The first key column of the least and of the greatest key, in Arrow's row format. Keys that equal no other do
    /// not count.
    range: Option<(Vec<u8>, Vec<u8>)>,
    /// The first key column of each key, as long as they are few.
    few: Option<Vec<ScalarValue>>,
}

/// So many keys are looked up in bloom filters where there is no room for an index.
const FEW_MAX: usize = 64;

impl NewKeys {
    /// No keys yet, for each unique key of the collection.
    ///
    /// # Errors
    /// 0A000 for a key of a type that has no order.
    pub fn all(collection: &Collection) -> Result<Vec<Self>> {
        let keys = collection.unique_keys().into_iter();
        keys.map(|key| Ok(Self::new(KeyColumns::try_new(collection, key)?)))
            .collect()
    }

    /// No keys yet, for one unique key of the collection.
    ///
    /// # Errors
    /// 40001 for a key that is not there any more.
    pub fn of(collection: &Collection, key: KeyId) -> Result<Self> {
        Ok(Self::new(KeyColumns::of(collection, key)?))
    }

    /// No keys yet, of these columns.
    pub(super) fn new(columns: KeyColumns) -> Self {
        Self {
            columns,
            hashes: Vec::new(),
            range: None,
            few: Some(Vec::new()),
        }
    }

    /// Takes the keys of rows of the collection.
    ///
    /// # Errors
    /// None in practice: the columns are of the key's types.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let columns = self.columns.of_rows(rows)?;
        self.hashes.extend(self.columns.hash(&columns)?);
        if self.hashes.len() > FEW_MAX {
            self.few = None;
        } else if let Some(few) = &mut self.few {
            for row in 0..rows.num_rows() {
                few.push(ScalarValue::try_from_array(&columns[0], row)?);
            }
        }
        let first = self.columns.first_column_rows(&columns[0])?;
        let counts = |row: &usize| self.columns.nulls_equal() || columns[0].is_valid(*row);
        for row in (0..rows.num_rows()).filter(counts) {
            let row = first.row(row);
            let bytes = row.as_ref();
            match &mut self.range {
                None => self.range = Some((bytes.to_vec(), bytes.to_vec())),
                Some((least, greatest)) => {
                    if bytes < least.as_slice() {
                        *least = bytes.to_vec();
                    } else if bytes > greatest.as_slice() {
                        *greatest = bytes.to_vec();
                    }
                }
            }
        }
        Ok(())
    }

    /// Of which unique key of the collection.
    pub(super) fn key(&self) -> KeyId {
        self.columns.key()
    }

    /// Makes [`NewKeys::has`] and [`NewKeys::present`] possible.
    pub(super) fn sort(&mut self) {
        self.hashes.sort_unstable();
    }

    /// Whether one of the keys, which are sorted, has the hash.
    pub(super) fn has(&self, hash: u128) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }

    /// That the statement does not bring a key twice; sorts them. `rows` are those of the statement as far as they are at hand.
    ///
    /// # Errors
    /// 23505 naming the key where it is at hand.
    pub fn check_unique(&mut self, rows: &[RecordBatch]) -> Result<()> {
        self.sort();
        let twice = self.hashes.windows(2).find(|pair| pair[0] == pair[1]);
        let Some(hash) = twice.map(|pair| pair[0]) else {
            return Ok(());
        };
        for batch in rows {
            let columns = self.columns.of_rows(batch)?;
            let hashes = self.columns.hash(&columns)?;
            if let Some(row) = hashes.iter().position(|h| *h == hash) {
                let key = self.columns.describe(&columns, row)?;
                return Err(self.duplicate(Some(key)));
            }
        }
        Err(self.duplicate(None))
    }

    /// That no live row of the collection has one of the keys, those of `removed` apart. Reads files.
    ///
    /// # Errors
    /// 23505 naming the key; XX001 or 58030 for segments that cannot be read.
    pub fn check_absent(
        &self,
        engine: &Engine,
        collection: &Collection,
        removed: &Removed,
    ) -> Result<()> {
        match self.present(engine, collection, removed)? {
            Some(key) => Err(self.duplicate(Some(key))),
            None => Ok(()),
        }
    }

    /// The text of one of the keys, which are sorted, that a live row of the collection has, those of `removed` apart.
    /// Reads files.
    ///
    /// # Errors
    /// XX001 or 58030 for segments that cannot be read.
    pub(super) fn present(
        &self,
        engine: &Engine,
        collection: &Collection,
        removed: &Removed,
    ) -> Result<Option<String>> {
        let Some((least, greatest)) = &self.range else {
            return Ok(None);
        };
        let lookup = self.lookup(engine, collection, &self.hashes, removed);
        match lookup.in_growing()? {
            Some(key) => Ok(Some(key)),
            None => lookup.in_sealed(least, greatest),
        }
    }

    /// Whether they are looked up in memory alone, and soon: they are few, and indexed is all that may have them.
    pub fn are_at_hand(&self, engine: &Engine, collection: &Collection) -> Result<bool> {
        let Some((least, greatest)) = &self.range else {
            return Ok(true);
        };
        if self.hashes.len() > FEW_MAX {
            return Ok(false);
        }
        let removed = Removed::new();
        self.lookup(engine, collection, &self.hashes, &removed)
            .is_at_hand(least, greatest)
    }

    /// The live rows of the collection that have the keys, those of `removed` apart, with some of their columns. Reads
    /// files.
    ///
    /// # Errors
    /// XX001 or 58030 for segments that cannot be read.
    pub fn find(
        &self,
        engine: &Engine,
        collection: &Collection,
        fields: &[FieldId],
        removed: &Removed,
    ) -> Result<Existing> {
        let mut hashes = self.hashes.clone();
        hashes.sort_unstable();
        let lookup = self.lookup(engine, collection, &hashes, removed);
        let found = lookup.existing(self.range.as_ref(), fields)?;
        Existing::new(self.hashes.clone(), found, &collection.schema, fields)
    }

    /// The live rows of the collection that have the keys, which are sorted, those of `removed` apart, with some of
    /// their columns: several may have one. Reads files.
    ///
    /// # Errors
    /// XX001 or 58030 for segments that cannot be read.
    pub(super) fn found(
        &self,
        engine: &Engine,
        collection: &Collection,
        fields: &[FieldId],
        removed: &Removed,
    ) -> Result<Vec<Found>> {
        let lookup = self.lookup(engine, collection, &self.hashes, removed);
        lookup.existing(self.range.as_ref(), fields)
    }

    fn lookup<'a>(
        &'a self,
        engine: &'a Engine,
        collection: &'a Collection,
        hashes: &'a [u128],
        removed: &'a Removed,
    ) -> Lookup<'a> {
        Lookup {
            engine,
            collection,
            columns: &self.columns,
            hashes,
            short: hashes.iter().map(|h| short(*h)).collect(),
            removed,
            few: self.few.as_deref(),
        }
    }

    fn duplicate(&self, key: Option<String>) -> Error {
        let name = self.columns.name();
        let message = format!("duplicate key value violates unique constraint \"{name}\"");
        let error = Error::invalid(sqlstate::UNIQUE_VIOLATION, message)
            .with_constraint(self.columns.table(), name);
        match key {
            Some(key) => error.with_detail(format!("Key {key} already exists.")),
            None => error.with_detail("The statement brings a key twice."),
        }
    }
}

/// That what a key is computed of can be computed where rows are stored.
///
/// # Errors
/// Whatever is wrong with its expressions.
pub fn check_key(collection: &Collection, key: UniqueKey) -> Result<()> {
    KeyColumns::try_new(collection, key).map(|_| ())
}

/// Whether all of the keys are looked up in memory alone, and soon.
///
/// # Errors
/// None in practice.
pub fn are_at_hand(keys: &[NewKeys], engine: &Engine, collection: &Collection) -> Result<bool> {
    for keys in keys {
        if !keys.are_at_hand(engine, collection)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Looks keys up: at once when they are at hand, else where threads wait for files.
///
/// # Errors
/// Those of `look`.
pub async fn look_up<T: Send + 'static>(
    are_at_hand: bool,
    look: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if are_at_hand {
        return look();
    }
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|e| Error::internal(format!("the search for keys ended: {e}")))?
}

/// The rows of a collection that have expired, whose keys are free; `None` where rows do not expire.
///
/// # Errors
/// Those of reading them.
pub async fn expired(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
) -> Result<Option<Removed>> {
    let (engine, collection) = (Arc::clone(engine), Arc::clone(collection));
    look_up(false, move || expired_rows(&engine, &collection, now_ms())).await
}

/// The sorted hashes by which the committer finds transactions that insert one of the same keys.
pub fn hashes(keys: &[NewKeys]) -> Arc<Vec<u64>> {
    let hashes = keys.iter().flat_map(|keys| &keys.hashes);
    let mut hashes: Vec<u64> = hashes.map(|h| short(*h)).collect();
    if keys.len() > 1 {
        hashes.sort_unstable();
    }
    Arc::new(hashes)
}

/// The part of a hash that indexes keep. Sorted hashes have sorted parts.
pub(super) fn short(hash: u128) -> u64 {
    (hash >> 64) as u64
}
