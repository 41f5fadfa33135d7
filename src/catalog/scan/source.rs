//! What a scan reads from: one collection at one version.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::error::{Error, PLAN_CHANGED, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, FieldId, SegmentId, Version};
use crate::storage::segment::{ROW_COLUMN, SegmentReader};
use crate::storage::snapshot::Snapshot;

/// The name of the column with the segment of each row.
pub const SEGMENT_COLUMN: &str = "_segment";

/// One collection at one version.
#[derive(Debug)]
pub struct ScanSource {
    /// Where its files are.
    pub engine: Arc<Engine>,
    /// Its schema and segments.
    pub collection: Arc<Collection>,
    /// The version.
    pub version: Version,
    /// The version as a whole, where an earlier one is read on purpose: as long as it is held its files stay.
    pub held: Option<Arc<Snapshot>>,
}

/// A column of a scan's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputColumn {
    /// A column of the collection.
    Stored(FieldId),
    /// The id of the row's segment.
    Segment,
    /// The place of the row in its segment.
    Row,
}

impl ScanSource {
    /// The same collection as `snapshot` has it.
    ///
    /// # Errors
    /// 42P01 when it does not have it, 0A000 when its columns are others.
    pub fn at(&self, snapshot: &Snapshot) -> Result<Arc<Self>> {
        let id = self.collection.id;
        let collection = snapshot
            .collection_by_id(id)
            .ok_or_else(|| no_collection(id, snapshot.version()))?;
        if collection.schema.columns != self.collection.schema.columns {
            let message = format!(
                "{PLAN_CHANGED}: the columns of \"{}\" are others now",
                collection.name
            );
            return Err(Error::unsupported(message).with_hint("Run the statement again."));
        }
        Ok(Arc::new(Self {
            engine: Arc::clone(&self.engine),
            collection: Arc::clone(collection),
            version: snapshot.version(),
            held: None,
        }))
    }

    /// The columns that can be read: those of the collection, then the row address.
    pub fn columns(&self, with_row_address: bool) -> Vec<OutputColumn> {
        let columns = self.collection.schema.columns.iter();
        let mut columns: Vec<_> = columns.map(|c| OutputColumn::Stored(c.id)).collect();
        if with_row_address {
            columns.extend([OutputColumn::Segment, OutputColumn::Row]);
        }
        columns
    }

    /// The Arrow schema of these columns.
    pub fn arrow_schema(&self, columns: &[OutputColumn]) -> SchemaRef {
        let schema = &self.collection.schema;
        let field = |column: &OutputColumn| match column {
            OutputColumn::Stored(id) => schema.column_by_id(*id).map(|c| c.arrow_field()),
            OutputColumn::Segment => Some(Field::new(SEGMENT_COLUMN, DataType::UInt64, false)),
            OutputColumn::Row => Some(Field::new(ROW_COLUMN, DataType::UInt32, false)),
        };
        let fields: Vec<FieldRef> = columns.iter().filter_map(field).map(Arc::new).collect();
        Arc::new(Schema::new(fields))
    }

    /// The sealed segment, open.
    pub fn open_segment(&self, id: SegmentId) -> Result<Arc<SegmentReader>> {
        let segment = self.collection.segment(id).ok_or_else(|| {
            let label = self.collection.segment_label(id);
            Error::internal(format!("{label} is not of the snapshot that is read"))
        })?;
        self.engine.open_segment(&self.collection, segment)
    }
}

/// 42P01.
pub(in crate::catalog) fn no_collection(id: CollectionId, version: Version) -> Error {
    let message = format!("collection {id} does not exist in version {version}");
    Error::not_found(sqlstate::UNDEFINED_TABLE, message)
}
