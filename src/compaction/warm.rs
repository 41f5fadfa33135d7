//! Makes outputs as ready for searches as inputs are.
//!
//! Who reads a segment first opens its file, checks the blocks that it reads and decodes the columns that it filters by;
//! who comes later finds that done. A commit that replaces segments that are searched by such that nobody has read makes
//! the next searches of each range the first again. So compaction does all this before it commits.

use std::collections::HashSet;
use std::sync::Arc;

use super::jobs::Task;
use crate::error::Result;
use crate::storage::change::NewSegment;
use crate::storage::collection::{Collection, Segment};
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionSchema, FieldId, SegmentId, Version};
use crate::storage::segment::SegmentReader;

/// Reads of a new segment what searches of the collection read of its segments; nothing where there are none.
///
/// # Errors
/// XX001 when its file does not have the bytes that were written, 58030 when it cannot be read, 57014 when the task is
/// cancelled.
pub(super) fn warm(
    engine: &Engine,
    collection: &Collection,
    segment: &NewSegment,
    task: &Task,
) -> Result<()> {
    let known: HashSet<SegmentId> = collection.segments().map(|s| s.id).collect();
    if !engine.segments.is_any_mapped(&known) {
        return Ok(());
    }
    let reader = engine.open_segment(collection, &Segment::from_new(segment, Version(0)))?;
    reader.row_group_stats(&collection.schema, &segment.stats);
    check_vectors(&reader, &collection.schema, task)?;
    let filtered_by: Vec<FieldId> = engine.columns.fields_of(&known).into_iter().collect();
    for row_group in 0..reader.row_groups() {
        for field in filtered_by.chunks(1) {
            let columns = &engine.columns;
            columns.read(segment.id, &reader, row_group, &collection.schema, field)?;
        }
        task.check()?;
    }
    Ok(())
}

/// Looks at all vectors in place: whoever does so first checks their blocks, and has their pages mapped.
fn check_vectors(
    reader: &Arc<SegmentReader>,
    schema: &CollectionSchema,
    task: &Task,
) -> Result<()> {
    let vectors = schema.columns.iter();
    for column in vectors.filter(|c| c.column_type.is_vector()) {
        let Some(pages) = reader.vector_pages(column.id)? else {
            continue;
        };
        for (page, rows) in pages.pages().iter().enumerate() {
            pages.vectors(page, 0..rows.valid_rows())?;
            task.check()?;
        }
    }
    Ok(())
}
