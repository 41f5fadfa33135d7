//! The keys that rows on their way into a collection refer to by a foreign key.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter};
use arrow::datatypes::DataType;

use super::values::joined;
use super::violations::{is_missing, refers_to_nothing};
use crate::catalog::keys::KeyColumns;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::unique::UniqueKey;

/// The distinct keys that rows refer to by one foreign key. Rows with a NULL among its columns refer to nothing.
#[derive(Debug)]
pub struct Brought {
    key: ForeignKey,
    table: String,
    columns: KeyColumns,
    seen: HashSet<u128>,
    /// What stands in place of their hashes where the key is one integer: children come many to a parent, and to know
    /// their integers again takes a quarter of hashing them as keys.
    seen_integers: HashSet<i64>,
    /// The columns of the keys, batch after batch.
    keys: Vec<Vec<ArrayRef>>,
}

impl Brought {
    /// None yet, for each foreign key of a collection.
    ///
    /// # Errors
    /// None in practice: the columns can be keys.
    pub fn all(collection: &Collection) -> Result<Vec<Self>> {
        let keys = collection.schema.foreign_keys.iter();
        keys.map(|key| Self::of(collection, key)).collect()
    }

    /// None yet, for one foreign key of a collection.
    ///
    /// # Errors
    /// None in practice: the columns can be keys.
    pub fn of(collection: &Collection, key: &ForeignKey) -> Result<Self> {
        Ok(Self {
            columns: referring_columns(collection, key)?,
            table: collection.name.name.clone(),
            key: key.clone(),
            seen: HashSet::new(),
            seen_integers: HashSet::new(),
            keys: Vec::new(),
        })
    }

    /// By which foreign key.
    pub fn key(&self) -> &ForeignKey {
        &self.key
    }

    /// Whether the rows refer to nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes the keys of rows of the collection.
    ///
    /// # Errors
    /// 23503 for a row with some NULLs where MATCH FULL is asked for.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let columns = self.columns.of_rows(rows)?;
        let is_new = match integers(&columns) {
            Some(integers) => self.new_integers(&integers),
            None => self.new_keys(&columns)?,
        };
        if is_new.has_true() {
            let new = columns.iter().map(|column| Ok(filter(column, &is_new)?));
            self.keys.push(new.collect::<Result<_>>()?);
        }
        Ok(())
    }

    fn new_integers(&mut self, integers: &Int64Array) -> BooleanArray {
        let seen = &mut self.seen_integers;
        let is_new = |integer: Option<i64>| integer.is_some_and(|integer| seen.insert(integer));
        integers.iter().map(is_new).collect::<Vec<_>>().into()
    }

    fn new_keys(&mut self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let hashes = self.columns.hash(columns)?;
        let mut is_new = Vec::with_capacity(hashes.len());
        for (row, hash) in hashes.into_iter().enumerate() {
            let nulls = columns.iter().filter(|column| column.is_null(row)).count();
            if nulls > 0 && nulls < columns.len() && self.key.match_full {
                let detail = "MATCH FULL does not allow mixing of null and nonnull key values.";
                return Err(refers_to_nothing(
                    &self.table,
                    &self.key,
                    detail.to_string(),
                ));
            }
            is_new.push(nulls == 0 && self.seen.insert(hash));
        }
        Ok(BooleanArray::from(is_new))
    }

    /// The keys, each once: the columns in the order of the foreign key.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn values(&self) -> Result<Vec<ArrayRef>> {
        joined(&self.keys)
    }

    /// The error for rows that refer to a key, which the parent does not have.
    pub(super) fn missing(&self, values: &[ArrayRef], row: usize, parent: &Collection) -> Error {
        match self.columns.describe(values, row) {
            Ok(text) => is_missing(&self.table, &self.key, &text, parent),
            Err(error) => error,
        }
    }
}

/// The values of the only column of a key, if they are integers.
fn integers(columns: &[ArrayRef]) -> Option<Int64Array> {
    let [column] = columns else {
        return None;
    };
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive().clone()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            let integers = cast(column, &DataType::Int64).ok()?;
            Some(integers.as_primitive().clone())
        }
        _ => None,
    }
}

/// The columns of a collection by which it refers to another, as if they were a key of it.
///
/// # Errors
/// None in practice: the columns can be keys.
pub(super) fn referring_columns(collection: &Collection, key: &ForeignKey) -> Result<KeyColumns> {
    let unique = UniqueKey {
        computed: None,
        id: key.key,
        name: key.name.clone(),
        is_constraint: true,
        fields: key.columns.clone(),
        nulls_equal: false,
    };
    KeyColumns::try_new(collection, unique)
}
