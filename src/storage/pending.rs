//! What a transaction did to rows, told by its end alone: rows that it added and removed again are not in its commit.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use roaring::RoaringBitmap;

use super::change::{Append, Change};
use super::collection::Collection;
use super::growing::GrowingSegment;
use super::schema::{CollectionId, SegmentId};
use super::snapshot::Snapshot;
use crate::error::Result;

/// The changes of rows that lead from `base` to `now` in these collections, after all changes of definitions between
/// the two have been made.
///
/// Rows of growing segments that `base` does not have are appended wherever the committer puts them.
///
/// # Errors
/// None in practice: batches that are joined have equal schemas.
pub fn row_changes(
    base: &Snapshot,
    now: &Snapshot,
    collections: impl IntoIterator<Item = CollectionId>,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for id in collections {
        // What the transaction dropped has no rows.
        if let Some(now) = now.collection_by_id(id) {
            let base = base.collection_by_id(id).map(|c| &**c);
            changes.extend(deletes(base, now));
            changes.extend(added_segments(base, now));
            changes.extend(appends(base, now)?);
        }
    }
    Ok(changes)
}

/// The rows of `base` that are deleted in `now`, by their segments.
pub fn row_deletes(
    base: &Snapshot,
    now: &Snapshot,
    collection: CollectionId,
) -> impl Iterator<Item = (SegmentId, RoaringBitmap)> {
    let both = base
        .collection_by_id(collection)
        .zip(now.collection_by_id(collection));
    let deletes = both.map(|(base, now)| deleted_rows(base, now));
    deletes.into_iter().flatten()
}

/// The deletes among the segments that both have.
fn deletes(base: Option<&Collection>, now: &Collection) -> Vec<Change> {
    let Some(base) = base else {
        return Vec::new();
    };
    let deletes = deleted_rows(base, now).into_iter();
    deletes
        .map(|(segment, rows)| Change::Delete(now.id, segment, rows))
        .collect()
}

fn deleted_rows(base: &Collection, now: &Collection) -> Vec<(SegmentId, RoaringBitmap)> {
    let sealed = now.segments().filter_map(|segment| {
        let before = &base.segment(segment.id)?.deletes;
        Some((segment.id, &*segment.deletes - &**before))
    });
    let growing = now.growing().iter().filter_map(|segment| {
        let before = &base.growing_segment(segment.id)?.deletes;
        Some((segment.id, &segment.deletes - before))
    });
    let some = |(_, rows): &(SegmentId, RoaringBitmap)| !rows.is_empty();
    sealed.chain(growing).filter(some).collect()
}

/// The sealed segments that are new, but for those whose rows are all deleted again.
fn added_segments(base: Option<&Collection>, now: &Collection) -> Option<Change> {
    let is_new = |id| base.is_none_or(|c| c.segment(id).is_none());
    let new = now.segments().filter(|s| is_new(s.id) && s.live_rows() > 0);
    let new: Vec<_> = new.map(|segment| segment.to_new()).collect();
    (!new.is_empty()).then_some(Change::AddSegments(now.id, new))
}

/// The live rows of growing segments that are new, as few batches as their schemas allow.
fn appends(base: Option<&Collection>, now: &Collection) -> Result<Vec<Change>> {
    let is_new = |g: &GrowingSegment| base.is_none_or(|c| c.growing_segment(g.id).is_none());
    let mut batches = Vec::new();
    for growing in now.growing().iter().filter(|g| is_new(g)) {
        batches.extend(growing.live_batches()?);
    }
    let mut changes = Vec::new();
    for same in batches.chunk_by(|a, b| a.schema_ref() == b.schema_ref()) {
        let rows: RecordBatch = concat_batches(same[0].schema_ref(), same)?;
        changes.push(Change::Append(Append {
            collection: now.id,
            segment: SegmentId(0),
            rows,
        }));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::storage::change::Commit;
    use crate::storage::schema::Version;
    use crate::storage::testing::{
        append, append_to, delete, growing_ids, name, new_collection, new_segment,
    };

    const BOOK: CollectionId = CollectionId(1);

    /// A collection with the growing segment 2 of five rows and the sealed segment 3 of ten.
    fn base() -> Arc<Snapshot> {
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 0,
            changes: vec![
                Change::CreateCollection(new_collection(1, "book")),
                append_to(1, 2, &[0, 1, 2, 3, 4]),
                Change::AddSegments(BOOK, vec![new_segment(3, 10)]),
            ],
        };
        Arc::new(Snapshot::empty().apply(&commit).unwrap())
    }

    fn changes(base: &Arc<Snapshot>, pending: &[Change]) -> Vec<Change> {
        let now = base.with_pending(pending).unwrap();
        assert!(now.is_pending() && !base.is_pending());
        row_changes(base, &now, [BOOK]).unwrap()
    }

    /// Changes as text, without the metadata of columns, whose order is none.
    fn told(changes: &[Change]) -> Vec<String> {
        let text = |change: &Change| match change {
            Change::Append(Append {
                collection,
                segment,
                rows,
            }) => format!("{collection:?} {segment:?} {:?}", rows.columns()),
            other => format!("{other:?}"),
        };
        changes.iter().map(text).collect()
    }

    #[test]
    fn rows_that_come_and_go_are_not_told() {
        let base = base();
        let pending = [
            append_to(1, 9, &[7, 8]),
            append_to(1, 9, &[9]),
            delete(1, 9, &[0, 2]),
            delete(1, 2, &[1]),
            delete(1, 2, &[3]),
            delete(1, 3, &[5]),
        ];
        let found = changes(&base, &pending);
        let expected = [delete(1, 3, &[5]), delete(1, 2, &[1, 3]), append(1, &[8])];
        assert_eq!(told(&found), told(&expected));
        let all_gone = [append_to(1, 9, &[7]), delete(1, 9, &[0])];
        assert!(changes(&base, &all_gone).is_empty());
    }

    #[test]
    fn sealed_segments_bring_their_deletes_or_stay_away() {
        let base = base();
        let pending = [
            Change::AddSegments(BOOK, vec![new_segment(7, 3), new_segment(8, 2)]),
            delete(1, 7, &[1]),
            delete(1, 8, &[0, 1]),
        ];
        let found = changes(&base, &pending);
        let [Change::AddSegments(BOOK, segments)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].deletes, RoaringBitmap::from([1]));
    }

    #[test]
    fn after_a_truncate_only_new_rows_are_told() {
        let base = base();
        let pending = [
            delete(1, 2, &[1]),
            append_to(1, 9, &[7]),
            Change::Truncate(BOOK),
            append_to(1, 10, &[8]),
        ];
        let now = base.with_pending(&pending).unwrap();
        assert_eq!(growing_ids(now.collection(&name("book")).unwrap()), [8]);
        let found = changes(&base, &pending);
        assert_eq!(told(&found), told(&[append(1, &[8])]));
    }

    #[test]
    fn what_is_dropped_or_untouched_has_no_changes() {
        let base = base();
        assert!(changes(&base, &[Change::DropCollection(BOOK)]).is_empty());
        assert!(changes(&base, &[]).is_empty());
    }
}
