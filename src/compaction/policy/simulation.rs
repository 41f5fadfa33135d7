//! Months of inserts driven through [`choose`] alone, without a disk: what they cost, and what order they leave.
//!
//! A row stands for 16 MB, so that a terabyte is 65,536 rows; every row has a real key, and a compaction sorts them and
//! cuts them as the worker does. Time is counted in hours.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roaring::RoaringBitmap;

use super::due::{Clustered, Round, clustering_due};
use super::tests::builder::{COLLECTION, KEY, book};
use super::*;
use crate::compaction::depth::{Depth, depth_of};
use crate::compaction::scheduler::new_record;
use crate::storage::change::{Change, Commit, JobRecord, JobState, NewSegment, Replace};
use crate::storage::schema::Version;
use crate::storage::snapshot::Snapshot;
use crate::storage::stats::{Bound, ColumnStats, SegmentStats};

const ROW_BYTES: u64 = 16 << 20;
const SEGMENT_ROWS: u64 = 8;
/// Rows that are sealed together: 64 MB.
const FLUSH_ROWS: usize = 4;
const HOUR_MS: i64 = 3_600_000;
const TERABYTE_ROWS: usize = 1 << 16;

/// How the keys of new rows come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrival {
    /// Each greater than all before.
    Sequential,
    /// Anywhere.
    Random,
    /// Half of them within a hundredth of the keys.
    Skewed,
    /// Near the present, up to an hour late.
    TimeOrdered,
    /// `(tenant, time)`: each of 50 tenants in order of time, tenants mixed, some far larger than others.
    MultiTenant,
}

impl Arrival {
    fn key(self, row: usize, random: &mut SmallRng) -> i64 {
        match self {
            Self::Sequential => row as i64,
            Self::Random => random.random_range(0..1 << 40),
            Self::Skewed if random.random_bool(0.5) => random.random_range(0..(1 << 40) / 100),
            Self::Skewed => random.random_range(0..1 << 40),
            Self::TimeOrdered => row as i64 * 100 - random.random_range(0..3_000),
            Self::MultiTenant => {
                let tenant = (50.0 * random.random::<f64>().powi(2)) as i64;
                (tenant << 32) + row as i64
            }
        }
    }
}

/// A collection that lives in its metadata and the keys of its rows.
struct World {
    snapshot: Snapshot,
    settings: Settings,
    keys: HashMap<SegmentId, Vec<i64>>,
    next_id: u64,
    now_ms: i64,
    /// Rows that came, and rows that were written, by inserts and compactions.
    rows_in: u64,
    rows_written: u64,
}

impl World {
    fn new() -> Self {
        let mut new = book(SEGMENT_ROWS);
        new.schema.columns[0].nullable = false;
        let settings = Settings {
            compaction_clustering_auto: true,
            ..Settings::default()
        };
        let mut world = Self {
            snapshot: Snapshot::empty(),
            settings,
            keys: HashMap::new(),
            next_id: 2,
            now_ms: 0,
            rows_in: 0,
            rows_written: 0,
        };
        world.commit(vec![Change::CreateCollection(new)]);
        world
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let commit = Commit {
            version: Version(self.snapshot.version().0 + 1),
            timestamp_ms: self.now_ms,
            changes,
        };
        self.snapshot = self.snapshot.apply(&commit).unwrap();
    }

    fn collection(&self) -> &Collection {
        self.snapshot.collection_by_id(COLLECTION).unwrap()
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn segment(&mut self, keys: Vec<i64>, run: Option<JobId>, level: u8) -> NewSegment {
        let id = SegmentId(self.new_id());
        let rows = keys.len() as u64;
        let stats = ColumnStats {
            field: KEY,
            min: Some(Bound::Int(keys[0])),
            max: Some(Bound::Int(keys[keys.len() - 1])),
            min_exact: true,
            max_exact: true,
            null_count: 0,
            nan_count: 0,
        };
        let stats = SegmentStats {
            columns: vec![stats],
            memory_bytes: rows * ROW_BYTES,
            ..SegmentStats::default()
        };
        self.keys.insert(id, keys);
        self.rows_written += rows;
        NewSegment {
            id,
            rows,
            bytes: rows * ROW_BYTES,
            crc32c: 0,
            sorted_by: vec![KEY],
            run,
            level,
            stats: Arc::new(stats),
            filters: vec![],
            deletes: RoaringBitmap::new(),
        }
    }

    fn flush(&mut self, mut keys: Vec<i64>) {
        keys.sort_unstable();
        self.rows_in += keys.len() as u64;
        let segment = self.segment(keys, None, 0);
        self.commit(vec![Change::AddSegments(COLLECTION, vec![segment])]);
    }

    /// Deletes a row of each of so many random segments.
    fn delete(&mut self, segments: usize, random: &mut SmallRng) {
        let all: Vec<SegmentId> = self.collection().segments().map(|s| s.id).collect();
        for _ in 0..segments {
            let id = all[random.random_range(0..all.len())];
            let segment = self.collection().segment(id).unwrap();
            let row = random.random_range(0..segment.rows as u32);
            if !segment.deletes.contains(row) && segment.live_rows() > 1 {
                let rows = RoaringBitmap::from_iter([row]);
                self.commit(vec![Change::Delete(COLLECTION, id, rows)]);
            }
        }
    }

    /// Carries a choice out as the worker does; whether there was something to do.
    fn run(&mut self, request: &Request) -> bool {
        let choice = choose(self.collection(), request, &self.settings, self.now_ms).unwrap();
        let Choice::Work(work) = choice else {
            return false;
        };
        let job = JobId(self.new_id());
        let mut outputs = Vec::new();
        let mut first = Some(job);
        for group in &work.groups {
            let run = match group.run {
                Run::None => None,
                Run::Same(run) => Some(run),
                Run::New => first.take().or_else(|| Some(JobId(self.new_id()))),
            };
            let keys = self.live_keys(&group.inputs);
            let segments = keys.len().div_ceil(SEGMENT_ROWS as usize).max(1);
            for cut in keys.chunks(keys.len().div_ceil(segments)) {
                let segment = self.segment(cut.to_vec(), run, group.level);
                outputs.push(segment);
            }
        }
        let replace = Replace {
            collection: COLLECTION,
            inputs: work.inputs().collect(),
            outputs,
        };
        self.commit(vec![Change::Replace(replace)]);
        let record = self.record(job, request, work.reason);
        self.commit(vec![Change::Job(record)]);
        true
    }

    fn live_keys(&self, inputs: &[SegmentId]) -> Vec<i64> {
        let mut keys = Vec::new();
        for id in inputs {
            let deletes = &self.collection().segment(*id).unwrap().deletes;
            let rows = self.keys[id].iter().zip(0_u32..);
            keys.extend(
                rows.filter(|(_, row)| !deletes.contains(*row))
                    .map(|r| *r.0),
            );
        }
        keys.sort_unstable();
        keys
    }

    fn record(&self, id: JobId, request: &Request, reason: String) -> JobRecord {
        JobRecord {
            state: JobState::Succeeded,
            created_ms: self.now_ms,
            started_ms: Some(self.now_ms),
            finished_ms: Some(self.now_ms),
            depth_after: Some(self.depth().average_depth),
            reason,
            ..new_record(id, self.collection(), request)
        }
    }

    /// What the scheduler does in an hour.
    fn hour(&mut self) -> bool {
        self.now_ms += HOUR_MS;
        let automatic = JobOptions {
            automatic: true,
            ..JobOptions::default()
        };
        self.run(&Request {
            kind: JobKind::Merge,
            options: automatic.clone(),
        });
        let clustered = Clustered::of(&self.snapshot, self.collection(), &self.settings);
        let round = clustering_due(self.collection(), clustered, &self.settings, self.now_ms);
        let settle = round == Round::Settle;
        if matches!(round, Round::Skip(_)) {
            return false;
        }
        let kind = JobKind::Cluster;
        let options = JobOptions {
            settle,
            ..automatic
        };
        self.run(&Request { kind, options }) && settle
    }

    fn depth(&self) -> Depth {
        self.depth_where(|_| true)
    }

    fn depth_where(&self, is_meant: impl Fn(&Segment) -> bool) -> Depth {
        let collection = self.collection();
        let segments = collection.segments().map(|s| &**s);
        depth_of(collection, segments.filter(|s| is_meant(s)), &[KEY])
    }
}

/// The depth that all but a twentieth of the segments do not pass.
fn p95(depth: &Depth) -> u64 {
    let total: u64 = depth.histogram.values().sum();
    let mut seen = 0;
    for (bucket, count) in &depth.histogram {
        seen += count;
        if seen * 20 >= total * 19 {
            return *bucket;
        }
    }
    0
}

/// What a history came to. Depths are the greatest p95 over the segments.
#[derive(Debug, Default)]
struct Outcome {
    write_amplification: f64,
    /// Right after a settling.
    depth_settled: u64,
    /// At the end of any day, of the runs that clusterings made.
    depth_runs: u64,
    /// At the end of any day, also of what came since the last clustering.
    depth_any: u64,
    /// Segments for each that full ones would be, at the end of any day with so many that it tells something.
    segments_part: f64,
    /// Rows on disk for each live one.
    space: f64,
    settles: u32,
}

impl Outcome {
    fn end_of_day(&mut self, world: &World) {
        self.depth_any = self.depth_any.max(p95(&world.depth()));
        let of_runs = world.depth_where(|s| s.run.is_some());
        self.depth_runs = self.depth_runs.max(p95(&of_runs));
        let collection = world.collection();
        let (rows, live): (u64, u64) = (
            collection.segments().map(|s| s.rows).sum(),
            collection.live_rows(),
        );
        self.space = self.space.max(rows as f64 / live as f64);
        let full = live as f64 / SEGMENT_ROWS as f64;
        if full >= 32.0 {
            let part = collection.segments().len() as f64 / full;
            self.segments_part = self.segments_part.max(part);
        }
    }
}

/// Rows that come evenly over so many days, with a round every hour.
fn history(arrival: Arrival, rows: usize, days: usize, deletes: bool) -> Outcome {
    let mut world = World::new();
    let mut random = SmallRng::seed_from_u64(7);
    let hours = days * 24;
    let mut outcome = Outcome::default();
    let mut row = 0;
    for hour in 1..=hours {
        while row < rows * hour / hours {
            let keys = (row..row + FLUSH_ROWS).map(|row| arrival.key(row, &mut random));
            world.flush(keys.collect());
            row += FLUSH_ROWS;
            if deletes {
                world.delete(1, &mut random);
            }
        }
        let settled = world.hour();
        if settled {
            outcome.settles += 1;
            outcome.depth_settled = outcome.depth_settled.max(p95(&world.depth()));
        }
        if hour % 24 == 0 {
            outcome.end_of_day(&world);
        }
    }
    outcome.write_amplification = world.rows_written as f64 / world.rows_in as f64;
    outcome
}

/// 16 GB in a month: what grows with the logarithm of the data shows, and the tests stay short without optimisation.
const ROWS: usize = TERABYTE_ROWS / 64;

/// What holds whatever comes.
fn run(arrival: Arrival, rows: usize, days: usize, deletes: bool) -> Outcome {
    let outcome = history(arrival, rows, days, deletes);
    println!("{arrival:?}, {rows} rows in {days} days, deletes {deletes}: {outcome:?}");
    assert!(outcome.segments_part <= 1.5, "few segments");
    assert!(outcome.space <= 1.25, "dead rows are purged");
    assert!(outcome.depth_settled <= 4);
    outcome
}

#[test]
fn keys_in_order_are_clustered_about_once() {
    for arrival in [Arrival::Sequential, Arrival::TimeOrdered] {
        for deletes in [false, true] {
            let outcome = run(arrival, ROWS, 30, deletes);
            assert!(outcome.write_amplification <= 3.0);
            assert!(outcome.depth_runs <= 4);
            assert!(outcome.depth_any <= 8);
        }
    }
}

/// Four runs overlap at the most, at the end of every day, besides what came since the last clustering.
#[test]
fn keys_in_no_order_are_clustered_within_bounds() {
    for arrival in [Arrival::MultiTenant, Arrival::Skewed, Arrival::Random] {
        for deletes in [false, true] {
            let outcome = run(arrival, ROWS, 30, deletes);
            assert!(outcome.write_amplification <= 5.5);
            assert!(outcome.depth_runs <= 4);
            assert!(outcome.depth_any <= 16);
        }
    }
}

/// Four times as fast, that would cost too much every day; eight runs of a level become one then, and now and then at most
/// four overlap again. Whoever keeps to four at all times (in the best order of merges: Mathieu et al., Bigtable Merge
/// Compaction) writes each row of a terabyte that comes in 720 clusterings eight times more.
#[test]
fn what_comes_fast_is_clustered_within_bounds() {
    for arrival in [Arrival::MultiTenant, Arrival::Skewed, Arrival::Random] {
        let outcome = run(arrival, 2 * ROWS, 15, true);
        assert!(outcome.write_amplification <= 6.0);
        assert!(outcome.depth_runs <= 16);
    }
}

/// The bound of the design, at its size. Over 60 days it is about 6.7: slower arrivals are settled more often.
#[test]
#[ignore = "takes minutes without optimisation"]
fn a_terabyte_of_random_keys_within_a_month_is_written_six_times() {
    let outcome = run(Arrival::Random, TERABYTE_ROWS, 30, false);
    assert!(outcome.write_amplification <= 6.0);
    assert!(outcome.settles > 0);
}
