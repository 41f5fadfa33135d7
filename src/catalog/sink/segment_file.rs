//! A sealed segment that no commit names yet.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat, interleave_record_batch, lexsort_to_indices,
};
use roaring::RoaringBitmap;

use crate::catalog::keys::one_zero;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::change::NewSegment;
use crate::storage::collect::nan_fields;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, SegmentId};
use crate::storage::transaction::Transaction;
use crate::storage::writer::{SegmentLayout, SegmentWriter};

/// Rows that are put in order at once: a few megabytes of vectors.
const GATHER_ROWS: usize = 2_048;

/// A durable file of a segment; it is removed when this is dropped.
pub(in crate::catalog) struct SegmentFile {
    engine: Arc<Engine>,
    collection: CollectionId,
    segment: Option<NewSegment>,
    id: SegmentId,
}

impl SegmentFile {
    /// Takes charge of a published file.
    pub fn new(engine: Arc<Engine>, collection: CollectionId, segment: NewSegment) -> Self {
        Self {
            engine,
            collection,
            id: segment.id,
            segment: Some(segment),
        }
    }

    /// What a commit says of it.
    pub fn segment(&self) -> &NewSegment {
        self.segment
            .as_ref()
            .expect("invariant: taken by keep() alone, which consumes self")
    }

    /// Leaves the file: a commit names it, or may do so.
    pub fn keep(mut self) -> NewSegment {
        self.segment
            .take()
            .expect("invariant: taken by keep() alone, which consumes self")
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.segment.is_none() {
            return;
        }
        // The transaction that wrote it may have read it too.
        self.engine.segments.remove(self.id);
        self.engine.keys.remove(self.id);
        if let Err(error) = self.engine.store.remove_segment(self.collection, self.id) {
            tracing::warn!(%error, segment = self.id.0, "a file of a failed statement stays");
        }
    }
}

/// Commits a transaction that names the files. They come back with an error after which it certainly is not in the
/// log, to be named again or to go.
pub(in crate::catalog) async fn commit_with_files(
    engine: &Arc<Engine>,
    transaction: Transaction,
    files: Vec<SegmentFile>,
) -> std::result::Result<(), (Error, Vec<SegmentFile>)> {
    // From here on the commit may be in the log even if nobody waits for its end: the files must stay.
    let files: Vec<_> = files
        .into_iter()
        .map(|file| (file.collection, file.keep()))
        .collect();
    match engine.committer.commit(transaction).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let is_certain = !matches!(
                error.kind(),
                ErrorKind::Unavailable | ErrorKind::LimitExceeded
            );
            let files = files.into_iter().filter(|_| is_certain);
            let own = |(id, segment)| SegmentFile::new(Arc::clone(engine), id, segment);
            Err((error, files.map(own).collect()))
        }
    }
}

/// Writes rows, sorted by the columns that the clustering key begins with, as a durable file.
pub(in crate::catalog) fn write_segment(
    engine: Arc<Engine>,
    collection: &Collection,
    batches: &[RecordBatch],
) -> Result<SegmentFile> {
    let id = SegmentId(engine.committer.allocate_id());
    let mut file = engine.store.create_segment(collection.id, id)?;
    let handle = file
        .file()
        .try_clone()
        .map_err(|e| Error::io("use the file of a new segment", e))?;
    let layout = SegmentLayout {
        schema: &collection.schema,
        options: &collection.options,
        sorted_by: collection.schema.stored_key(),
        nan_fields: &nan_fields(batches),
        filter_fields: &collection.filter_fields(),
    };
    let mut writer = SegmentWriter::try_new(handle, layout)?;
    match order(collection, batches)? {
        None => batches.iter().try_for_each(|batch| writer.write(batch))?,
        Some(order) => {
            let sources: Vec<&RecordBatch> = batches.iter().collect();
            let places = places(batches);
            for rows in order.values().chunks(GATHER_ROWS) {
                let rows: Vec<_> = rows.iter().map(|row| places[*row as usize]).collect();
                writer.write(&interleave_record_batch(&sources, &rows)?)?;
            }
        }
    }
    let written = writer.finish()?;
    file.publish()?;
    let segment = NewSegment {
        id,
        rows: written.rows,
        bytes: written.bytes,
        crc32c: written.crc32c,
        sorted_by: collection.schema.stored_key().to_vec(),
        run: None,
        level: 0,
        stats: Arc::new(written.stats),
        filters: written.filters,
        deletes: RoaringBitmap::new(),
    };
    Ok(SegmentFile::new(engine, collection.id, segment))
}

/// The batch and the row in it of each row.
fn places(batches: &[RecordBatch]) -> Vec<(usize, usize)> {
    let batches = batches.iter().enumerate();
    let of_batch = |(at, batch): (usize, &RecordBatch)| (0..batch.num_rows()).map(move |i| (at, i));
    batches.flat_map(of_batch).collect()
}

/// The rows in the order of the clustering key, equal ones as they came; `None` when they came like that.
fn order(collection: &Collection, batches: &[RecordBatch]) -> Result<Option<UInt32Array>> {
    let key = collection.schema.clustering_indices();
    if key.is_empty() {
        return Ok(None);
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let options = Some(SortOptions {
        descending: false,
        nulls_first: false,
    });
    let mut columns = Vec::with_capacity(key.len() + 1);
    for index in key {
        let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(index).as_ref()).collect();
        columns.push(SortColumn {
            // Equal zeros leave the order to the next column of the key.
            values: one_zero(&concat(&parts)?),
            options,
        });
    }
    let came: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows as u32));
    columns.push(SortColumn {
        values: came,
        options,
    });
    let order = lexsort_to_indices(&columns, None)?;
    let sorted = order.values().iter().zip(0..).all(|(row, at)| *row == at);
    Ok((!sorted).then_some(order))
}
