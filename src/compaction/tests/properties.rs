//! Any collection, any requests: no row is lost, limits hold, and there is an end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::{TIMEOUT, assert_same, compact, prepared, scheduler};
use crate::compaction::depth::key_range;
use crate::compaction::policy::{JobOptions, KeyRange, Scope};
use crate::compaction::run::commit;
use crate::compaction::scheduler::Scheduler;
use crate::compaction::testing::{Book, CURVE, KEY, NEAR, Shelf, TITLE, quiet, rows_max};
use crate::settings::ByteSize;
use crate::storage::change::{JobKind, JobState};
use crate::storage::collection::Collection;
use crate::storage::schema::FieldId;
use crate::storage::stats::Bound;

/// Clustering keys: of columns, and of what is computed from them.
const KEYS: [&[FieldId]; 6] = [
    &[KEY, TITLE],
    &[NEAR],
    &[TITLE, NEAR],
    &[NEAR, KEY],
    &[CURVE],
    &[TITLE, CURVE, NEAR],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_collection_keeps_its_rows(
        books in prop::collection::vec(book(), 0..300),
        parts in 1_usize..6,
        segment_rows in 5_u64..120,
        kinds in prop::collection::vec(0_u8..3, 1..4),
        deletes in prop::collection::vec(0_i64..300, 0..60),
        key in select(&KEYS[..]),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(keeps_rows(books, parts, segment_rows, kinds, deletes, key));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn limited_compactions_keep_rows_and_limits_and_end(
        books in prop::collection::vec(book(), 1..300),
        parts in 1_usize..8,
        segment_rows in 5_u64..120,
        clusters in prop::collection::vec(any::<bool>(), 1..4),
        low in -6_i32..6,
        width in 0_i32..6,
        limit in 1_000_u64..100_000,
    ) {
        let bound = |v: i32| Some(Bound::Float(f64::from(v).to_bits()));
        let scope = Scope {
            ranges: vec![KeyRange { field: KEY, low: bound(low), high: bound(low + width) }],
            bytes_max: Some(ByteSize(limit)),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(keeps_limits(books, parts, segment_rows, clusters, scope));
    }
}

/// Gives the books their ids, and inserts them as so many segments.
async fn fill(shelf: &Shelf, scheduler: &Scheduler, books: &mut [Book], parts: usize) {
    books
        .iter_mut()
        .zip(0..)
        .for_each(|(book, id)| book.id = id);
    for part in books.chunks(books.len().div_ceil(parts).max(1)) {
        shelf.insert(part);
        compact(scheduler, shelf, JobKind::Seal).await;
    }
}

async fn keeps_limits(
    mut books: Vec<Book>,
    parts: usize,
    segment_rows: u64,
    clusters: Vec<bool>,
    scope: Scope,
) {
    const JOBS_MAX: usize = 300;
    let shelf = Shelf::open(quiet(), rows_max(segment_rows), &[KEY, TITLE]);
    let scheduler = scheduler(&shelf);
    fill(&shelf, &scheduler, &mut books, parts).await;
    let before = shelf.rows();
    for cluster in clusters {
        let kind = match cluster {
            true => JobKind::Cluster,
            false => JobKind::Merge,
        };
        let mut jobs = 0;
        loop {
            let known: Vec<_> = shelf.current().segments().cloned().collect();
            let options = JobOptions {
                scope: scope.clone(),
                ..JobOptions::default()
            };
            let id = scheduler.submit(shelf.collection, kind, options).await;
            let job = scheduler.wait(id.unwrap(), TIMEOUT).await.unwrap();
            assert_same(&shelf.rows(), &before);
            assert!(Some(ByteSize(job.bytes_in)) <= scope.bytes_max, "{job:?}");
            let now = shelf.current();
            let gone = known.iter().filter(|s| now.segment(s.id).is_none());
            assert!(gone.into_iter().all(|s| scope.reaches(&now, s)));
            assert_runs_are_in_order(&now);
            if job.state == JobState::NothingToDo {
                break;
            }
            assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
            jobs += 1;
            assert!(jobs < JOBS_MAX, "no end of {kind:?}: {}", job.reason);
        }
    }
}

/// That the ranges of each run meet at their ends at the most.
fn assert_runs_are_in_order(collection: &Collection) {
    let mut runs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for segment in collection.segments().filter(|s| s.run.is_some()) {
        // Titles are long, and their bounds truncated.
        let range = key_range(collection, segment, &[KEY]);
        runs.entry(segment.run).or_default().push(range);
    }
    for mut ranges in runs.into_values() {
        ranges.sort();
        let in_order = |pair: &[(_, _)]| pair[0].1 <= pair[1].0;
        assert!(ranges.windows(2).all(in_order), "{ranges:?}");
    }
}

fn book() -> impl Strategy<Value = Book> {
    let key = prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(-0.0)),
        Just(Some(0.0)),
        Just(Some(f64::MIN)),
        (-5_i32..5).prop_map(|v| Some(f64::from(v))),
        any::<f64>().prop_map(Some),
    ];
    let title = prop::option::of("[a-c]{0,3}|x{2000}");
    (key, title, any::<bool>()).prop_map(|(key, title, has_embedding)| Book {
        id: 0,
        key,
        title,
        has_embedding,
    })
}

async fn keeps_rows(
    mut books: Vec<Book>,
    parts: usize,
    segment_rows: u64,
    kinds: Vec<u8>,
    deletes: Vec<i64>,
    key: &[FieldId],
) {
    // So wide that a few dozens of rows are worth a centroid.
    let shelf = Shelf::with_dimensions(quiet(), rows_max(segment_rows), key, 256);
    let scheduler = scheduler(&shelf);
    fill(&shelf, &scheduler, &mut books, parts).await;
    deletes.iter().take(30).for_each(|id| {
        shelf.delete(*id);
    });
    for kind in kinds {
        let before = shelf.rows();
        let kind = [JobKind::Seal, JobKind::Merge, JobKind::Cluster][usize::from(kind)];
        let job = compact(&scheduler, &shelf, kind).await;
        assert!(
            matches!(job.state, JobState::Succeeded | JobState::NothingToDo),
            "{}",
            job.reason
        );
        assert_same(&shelf.rows(), &before);
        // Where dead rows had the lowest keys of a segment, that has other neighbours when they are gone.
        let mut again = compact(&scheduler, &shelf, kind).await;
        for _ in 0..deletes.len() {
            if again.state == JobState::NothingToDo {
                break;
            }
            assert_same(&shelf.rows(), &before);
            again = compact(&scheduler, &shelf, kind).await;
        }
        assert_eq!(
            again.state,
            JobState::NothingToDo,
            "{kind:?}: {}",
            again.reason
        );
    }
    let waiting = shelf.current().live_rows() > 0;
    if waiting {
        let full = prepared(&shelf).await;
        deletes.iter().skip(30).for_each(|id| {
            shelf.delete(*id);
        });
        let expected = shelf.rows();
        commit(&shelf.engine, full).await.unwrap();
        assert_same(&shelf.rows(), &expected);
    }
}
