//! What is written comes back, whatever is asked for; what the statistics say holds.
#![allow(clippy::unwrap_used)]

mod columns;
mod damage;
mod random;
mod read;
mod stats;
mod vectors;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use tempfile::NamedTempFile;

use super::{ReadRequest, SegmentReader};
use crate::storage::collect::nan_fields;
use crate::storage::schema::{CollectionOptions, CollectionSchema, FieldId};
use crate::storage::writer::{SegmentLayout, SegmentWriter, WrittenSegment};

/// A segment on disk, and what went into it.
struct Fixture {
    schema: Arc<CollectionSchema>,
    rows: RecordBatch,
    file: NamedTempFile,
    written: WrittenSegment,
}

impl Fixture {
    fn write(schema: CollectionSchema, batches: &[RecordBatch], row_group_rows_max: u64) -> Self {
        let options = CollectionOptions {
            row_group_rows_max,
            ..CollectionOptions::default()
        };
        Self::write_with(schema, batches, &options, &nan_fields(batches))
    }

    fn write_with(
        schema: CollectionSchema,
        batches: &[RecordBatch],
        options: &CollectionOptions,
        nan_fields: &HashSet<FieldId>,
    ) -> Self {
        let file = NamedTempFile::new().unwrap();
        let layout = SegmentLayout {
            schema: &schema,
            options,
            sorted_by: &[],
            nan_fields,
            filter_fields: &[],
        };
        let mut writer = SegmentWriter::try_new(file.reopen().unwrap(), layout).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        let written = writer.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(written.bytes, bytes.len() as u64);
        assert_eq!(written.crc32c, crc32c::crc32c(&bytes));
        Self {
            rows: concat_batches(&schema.arrow_schema(), batches).unwrap(),
            schema: Arc::new(schema),
            file,
            written,
        }
    }

    fn open(&self) -> Arc<SegmentReader> {
        SegmentReader::open(self.file.path(), "segment 1 of \"book\"").unwrap()
    }

    fn fields(&self) -> Vec<FieldId> {
        self.schema.columns.iter().map(|c| c.id).collect()
    }
}

/// All that the request answers, as one batch.
fn read(reader: &Arc<SegmentReader>, request: ReadRequest) -> RecordBatch {
    let batches = reader.read(request).unwrap();
    let schema = Arc::clone(batches.schema());
    let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().unwrap();
    concat_batches(&schema, &batches).unwrap()
}
