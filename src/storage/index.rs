//! Indexes: what CREATE INDEX defined, and the bloom filters that make it fast.
//!
//! An index on scalar columns is a bloom filter per segment, row group and column, beside the bounds that every
//! segment has anyway. Segments written while the index exists have it in their Parquet file, where other readers of
//! Parquet find it too. Segments written before get it in a file of their own: rewriting them would cost their whole
//! size, and a filter in memory alone would have to be built again at every start. A filter file is written, synced
//! and published like a segment, then named by a commit ([`super::change::Change::AddFilters`]) with its checksum, and
//! removed by vacuum when no version needs it; compaction replaces the segment, and with it the file.
//!
//! A filter answers for one column. It tells nothing of order, so an index of several columns is several filters, and
//! ASC, DESC, operator classes and predicates are kept for those who ask for the definition, no more.

use serde::{Deserialize, Serialize};

use super::bloom::has_filter;
use super::schema::{CollectionSchema, FieldId, FilterId, IndexId};

/// An index of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its identity.
    pub id: IndexId,
    /// Its name, in the SQL schema of its collection.
    pub name: String,
    /// The access method by its name in SQL: `btree`, `hash`, `hnsw`, ...
    pub method: String,
    /// What it indexes, in order.
    pub keys: Vec<IndexKey>,
    /// The columns of INCLUDE.
    pub include: Vec<FieldId>,
    /// Whether no two rows, of those that fulfil the predicate, may have the same key.
    pub is_unique: bool,
    /// Whether it belongs to a UNIQUE constraint, which has its name.
    #[serde(default)]
    pub is_constraint: bool,
    /// NULLS NOT DISTINCT: a NULL is like another NULL to a unique index.
    #[serde(default)]
    pub nulls_equal: bool,
    /// WITH (option = value, ..).
    pub options: Vec<(String, String)>,
    /// The predicate of a partial index as its author wrote it.
    pub predicate: Option<String>,
    /// All columns that it names anywhere: it goes when one of them goes.
    pub columns: Vec<FieldId>,
}

/// One part of an index's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    /// A column or an expression.
    pub part: IndexPart,
    /// The operator class, where one was named.
    pub operator_class: Option<String>,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST or NULLS LAST, where it was said.
    pub nulls_first: Option<bool>,
}

/// What a part of an index's key is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexPart {
    /// A column.
    Column(FieldId),
    /// An expression as its author wrote it.
    Expression(String),
}

impl Index {
    /// Whether the method looks values up, so that bloom filters serve it.
    pub fn looks_up(&self) -> bool {
        matches!(self.method.as_str(), "btree" | "hash")
    }

    /// The columns that get bloom filters.
    pub fn filter_fields<'a>(
        &'a self,
        schema: &'a CollectionSchema,
    ) -> impl Iterator<Item = FieldId> + 'a {
        let keys = self.keys.iter().filter(|_| self.looks_up());
        keys.filter_map(|key| match key.part {
            IndexPart::Column(field) => {
                let column = schema.column_by_id(field)?;
                has_filter(&column.column_type).then_some(field)
            }
            IndexPart::Expression(_) => None,
        })
    }
}

/// The bloom filters of one column of a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFilter {
    /// The column.
    pub field: FieldId,
    /// Bytes that they take.
    pub bytes: u64,
    /// Where they are.
    pub place: FilterPlace,
}

/// Where the bloom filters of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterPlace {
    /// In the segment's own file, as far as it has the column.
    Segment,
    /// In a file of their own.
    File {
        /// The name of the file.
        id: FilterId,
        /// CRC32C of the whole file.
        crc32c: u32,
    },
}

impl SegmentFilter {
    /// The file to remove with it, if there is one.
    pub fn file(&self) -> Option<FilterId> {
        match self.place {
            FilterPlace::Segment => None,
            FilterPlace::File { id, .. } => Some(id),
        }
    }
}
