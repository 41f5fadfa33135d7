//! The columns of a unique key, their hashes and their text.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::parts::ComputedParts;
use crate::catalog::assign::text_of;
use crate::error::{Error, Result, sqlstate};
use crate::storage::adapt::adapt_batch;
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionSchema, FieldId};
use crate::storage::unique::{KeyId, UniqueKey};

/// The columns of a unique key of a collection.
#[derive(Debug)]
pub(in crate::catalog) struct KeyColumns {
    unique: UniqueKey,
    /// Tells the columns from those of other keys, in this process.
    number: u64,
    schema: Arc<CollectionSchema>,
    names: Vec<String>,
    key: RowConverter,
    first: RowConverter,
    table: String,
    /// How the values are computed of the columns, where they are.
    computed: Option<ComputedParts>,
}

impl KeyColumns {
    /// The columns of that key of the collection.
    ///
    /// # Errors
    /// 40001 for a key that is not there any more.
    pub fn of(collection: &Collection, key: KeyId) -> Result<Self> {
        let keys = collection.unique_keys();
        match keys.into_iter().find(|unique| unique.id == key) {
            Some(unique) => Self::try_new(collection, unique),
            None => {
                let message = format!(
                    "a unique key of \"{}\" was dropped by a concurrent commit",
                    collection.name
                );
                Err(Error::invalid(sqlstate::SERIALIZATION_FAILURE, message)
                    .with_hint("Run the statement again."))
            }
        }
    }

    /// The columns of a key of the collection.
    pub fn try_new(collection: &Collection, unique: UniqueKey) -> Result<Self> {
        let mut schema = Arc::clone(&collection.schema);
        // Rows that were deleted are known too, which may have NULLs where none may be by now.
        let columns = &mut Arc::make_mut(&mut schema).columns;
        let in_key = columns.iter_mut().filter(|c| unique.fields.contains(&c.id));
        in_key.for_each(|column| column.nullable = true);
        let columns = unique.fields.iter();
        let columns = columns.filter_map(|id| schema.column_by_id(*id));
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for column in columns {
            names.push(column.name.clone());
            fields.push(SortField::new(column.column_type.arrow_type()));
        }
        let computed = ComputedParts::of(&unique, &schema)?;
        if let Some(computed) = &computed {
            names = computed.names().to_vec();
            let types = computed.types().iter().cloned();
            fields = types.map(SortField::new).collect();
        }
        let first = fields.first().cloned();
        let first = first.ok_or_else(|| Error::internal("a unique key without columns"))?;
        Ok(Self {
            number: number(&unique),
            unique,
            key: RowConverter::new(fields)?,
            first: RowConverter::new(vec![first])?,
            names,
            schema,
            table: collection.name.name.clone(),
            computed,
        })
    }

    /// Whether its values are those of columns, by whose bounds segments are left out.
    pub fn is_of_columns(&self) -> bool {
        self.computed.is_none()
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The name of the key's constraint.
    pub fn name(&self) -> &str {
        &self.unique.name
    }

    /// The same columns, described under these names.
    pub fn under_names(mut self, names: Vec<String>) -> Self {
        self.names = names;
        self
    }

    /// Of which unique key they are.
    pub fn key(&self) -> KeyId {
        self.unique.id
    }

    /// A number of these columns, another one for other columns of the collection.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a NULL is like another NULL.
    pub fn nulls_equal(&self) -> bool {
        self.unique.nulls_equal
    }

    /// The columns' identities.
    pub fn fields(&self) -> &[FieldId] {
        &self.unique.fields
    }

    /// The schema that the columns are of.
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// The key columns of rows, matched by field id, or what is computed of them.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let batch = adapt_batch(rows, &self.schema, self.fields())?;
        match &self.computed {
            Some(computed) => Ok(computed.values(&batch)?.iter().map(one_zero).collect()),
            None => Ok(batch.columns().iter().map(one_zero).collect()),
        }
    }

    /// The hash of each row's key. One with a NULL that is not like others has a hash which nothing else has.
    pub fn hash(&self, columns: &[ArrayRef]) -> Result<Vec<u128>> {
        let rows = self.key.convert_columns(columns)?;
        let hashes = rows.iter().map(|row| hash(self.number, row.as_ref()));
        if self.unique.nulls_equal || columns.iter().all(|column| column.null_count() == 0) {
            return Ok(hashes.collect());
        }
        let is_alone = |row| columns.iter().any(|column| column.is_null(row));
        let hashes = hashes.enumerate().map(|(row, hash)| match is_alone(row) {
            true => hash_of_none(),
            false => hash,
        });
        Ok(hashes.collect())
    }

    /// The first key column in a format whose bytes sort as its values.
    pub fn first_column_rows(&self, column: &ArrayRef) -> Result<Rows> {
        Ok(self.first.convert_columns(std::slice::from_ref(column))?)
    }

    /// `(id)=(1)`
    pub fn describe(&self, columns: &[ArrayRef], row: usize) -> Result<String> {
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let text = text_of(&column.slice(row, 1))?;
            values.push(match text.is_null(0) {
                true => "null".to_string(),
                false => text.value(0).to_string(),
            });
        }
        Ok(format!(
            "({})=({})",
            self.names.join(", "),
            values.join(", ")
        ))
    }
}

/// A number that tells a key from others of its collection.
fn number(unique: &UniqueKey) -> u64 {
    let columns = (&unique.fields, unique.nulls_equal);
    match &unique.computed {
        None => states().0.hash_one(columns),
        Some(computed) => states().0.hash_one((columns, computed)),
    }
}

/// Two independent hashes with keys of this process: nobody can make keys that collide.
fn states() -> &'static (RandomState, RandomState) {
    static STATES: OnceLock<(RandomState, RandomState)> = OnceLock::new();
    STATES.get_or_init(|| (RandomState::new(), RandomState::new()))
}

fn hash(columns: u64, key: &[u8]) -> u128 {
    let (upper, lower) = states();
    let upper = upper.hash_one((columns, key));
    (u128::from(upper) << 64) | u128::from(lower.hash_one((columns, key)))
}

/// A hash that no key has, another one each time.
fn hash_of_none() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    hash(u64::MAX, &next.to_le_bytes())
}

/// -0.0 and 0.0 are one key.
pub(in crate::catalog) fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats = column.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|v| v + 0.0))
        }
        DataType::Float64 => {
            let floats = column.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|v| v + 0.0))
        }
        _ => Arc::clone(column),
    }
}
