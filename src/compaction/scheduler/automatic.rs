//! What starts by itself: seals and merges as commits come and rows get old, clusterings in rounds.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Shared, work};
use crate::compaction::policy::due::{Clustered, Round, clustering_due};
use crate::compaction::policy::{Choice, JobOptions, Request, choose};
use crate::settings::Settings;
use crate::storage::change::JobKind;
use crate::storage::collection::Collection;
use crate::storage::committer::now_ms;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, JobId};
use crate::storage::snapshot::Snapshot;
use crate::storage::vacuum::VacuumOptions;

/// The least time between two looks for what is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The most time between two looks: rows get old without a commit.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// How often versions are forgotten whose retention is over, and what could not be deleted is tried again.
const VACUUM_INTERVAL: Duration = Duration::from_secs(60);
/// The most rounds that are remembered, over all collections.
const ROUNDS_MAX: usize = 1_000;

/// Starts what is due, as commits come and rows get old, and deletes files that are no longer needed.
pub(super) async fn look_after(shared: Arc<Shared>, handle: tokio::runtime::Handle) {
    let mut versions = shared.engine.committer.subscribe();
    let (mut vacuumed, mut is_clean) = (Instant::now(), true);
    let mut sealed = HashSet::new();
    while !shared.closing.load(Ordering::Relaxed) {
        let changed = tokio::time::timeout(LOOK_INTERVAL_MAX, versions.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        {
            // Not kept while nothing is done: its files would be kept, too.
            let snapshot = shared.engine.committer.snapshot();
            // Rounds are rare: rows that come all the time, and jobs for them, do not keep them from their turn.
            hold_rounds(&shared, &handle, &snapshot);
            start_due(&shared, &handle, &snapshot, &mut sealed);
        }
        shared.filters.start_due(&shared.engine, &handle);
        // The last reader of a file tells nobody that it is done.
        let is_free = is_clean && shared.engine.committer.has_unreachable_files();
        if is_free || vacuumed.elapsed() >= VACUUM_INTERVAL {
            is_clean = vacuum(&shared.engine);
            vacuumed = Instant::now();
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Deletes the files of replaced segments whose retention is over; whether the disk let it.
pub(super) fn vacuum(engine: &Engine) -> bool {
    let done = engine.vacuum(&VacuumOptions::default());
    let is_clean = done.is_ok();
    match done {
        Ok(done) if done.segments.is_empty() => {}
        Ok(done) => {
            tracing::info!(
                segments = done.segments.len(),
                bytes = done.bytes,
                "vacuumed"
            );
        }
        Err(error) => tracing::warn!(%error, "files of replaced segments stay for now"),
    }
    is_clean
}

/// Whether compactions of the collection may start by themselves.
fn is_automatic(collection: &Collection, settings: &Settings) -> bool {
    let settings = collection.options.settings(settings);
    settings.compaction_enable && settings.compaction_auto
}

/// What is looked for in a collection. Growing rows are sealed in any case: they are in memory and in each checkpoint.
pub(super) fn automatic(collection: &Collection, settings: &Settings) -> Vec<Request> {
    let kinds: &[JobKind] = match is_automatic(collection, settings) {
        true => &[JobKind::Seal, JobKind::Merge],
        false => &[JobKind::Seal],
    };
    let request = |kind: &JobKind| Request {
        kind: *kind,
        options: JobOptions {
            automatic: true,
            ..JobOptions::default()
        },
    };
    kinds.iter().map(request).collect()
}

/// Starts a job for each collection that has none. After a seal it is the turn of a merge: where rows come so fast that a
/// seal is always due, their segments would never be put together otherwise. `sealed` are those collections.
fn start_due(
    shared: &Arc<Shared>,
    handle: &tokio::runtime::Handle,
    snapshot: &Snapshot,
    sealed: &mut HashSet<CollectionId>,
) {
    let before = std::mem::take(sealed);
    for collection in snapshot.collections() {
        let settings = &shared.engine.settings;
        let is_merges_turn = before.contains(&collection.id);
        if shared.is_busy(collection.id) {
            sealed.extend(is_merges_turn.then_some(collection.id));
            continue;
        }
        let is_due = |request: &Request| {
            let choice = choose(collection, request, settings, now_ms());
            matches!(choice, Ok(Choice::Work(_)))
        };
        let mut requests = automatic(collection, settings);
        if is_merges_turn {
            requests.reverse();
        }
        if let Some(request) = requests.into_iter().find(is_due) {
            let seals = request.kind == JobKind::Seal;
            sealed.extend(seals.then_some(collection.id));
            start(shared, handle, collection, request);
        }
    }
}

/// Starts a job; none when there is one of that kind already.
fn start(
    shared: &Arc<Shared>,
    handle: &tokio::runtime::Handle,
    collection: &Collection,
    request: Request,
) -> Option<JobId> {
    let (job, is_new) = shared.enlist(collection, &request).ok()?;
    if is_new {
        handle.spawn(work(Arc::clone(shared), job.id, request));
    }
    is_new.then_some(job.id)
}

/// What a round decided for a collection: whether clustering starts by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundRecord {
    /// The collection.
    pub collection: CollectionId,
    /// Its name then.
    pub collection_name: String,
    /// When the round was held, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The job that it started.
    pub job: Option<JobId>,
    /// Why that was started, or why none was.
    pub reason: String,
}

/// Rounds that were held since the database was opened.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    held: HashMap<CollectionId, Instant>,
    records: VecDeque<RoundRecord>,
}

impl Rounds {
    /// What is remembered, oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &RoundRecord> {
        self.records.iter()
    }

    /// Whether the collection's next round is due, which then counts as held.
    fn is_due(&mut self, collection: CollectionId, interval: Duration) -> bool {
        let now = Instant::now();
        let last = self.held.entry(collection);
        let mut due = false;
        let last = last.or_insert_with(|| {
            due = true;
            now
        });
        if now.duration_since(*last) >= interval {
            (due, *last) = (true, now);
        }
        due
    }

    fn note(&mut self, record: RoundRecord) {
        if self.records.len() == ROUNDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    fn forget_others(&mut self, snapshot: &Snapshot) {
        if self.held.len() > snapshot.collections().count() {
            let all: HashSet<_> = snapshot.collections().map(|c| c.id).collect();
            self.held.retain(|id, _| all.contains(id));
        }
    }
}

/// Decides for each collection with a clustering key, once per `trigger_interval`, whether it is clustered now.
fn hold_rounds(shared: &Arc<Shared>, handle: &tokio::runtime::Handle, snapshot: &Snapshot) {
    let settings = &shared.engine.settings;
    let mut rounds = shared.rounds.lock();
    rounds.forget_others(snapshot);
    for collection in snapshot.collections() {
        if collection.schema.clustering_key.is_empty() || !is_automatic(collection, settings) {
            continue;
        }
        let own = collection.options.settings(settings);
        let interval = own.compaction_clustering_trigger_interval;
        if !rounds.is_due(collection.id, interval) {
            continue;
        }
        let (job, reason) = hold_round(shared, handle, snapshot, collection);
        rounds.note(RoundRecord {
            collection: collection.id,
            collection_name: collection.name.to_string(),
            at_ms: now_ms(),
            job,
            reason,
        });
    }
}

fn hold_round(
    shared: &Arc<Shared>,
    handle: &tokio::runtime::Handle,
    snapshot: &Snapshot,
    collection: &Collection,
) -> (Option<JobId>, String) {
    let settings = &shared.engine.settings;
    let clustered = Clustered::of(snapshot, collection, settings);
    let settle = match clustering_due(collection, clustered, settings, now_ms()) {
        Round::Skip(reason) => return (None, reason),
        Round::Cluster => false,
        Round::Settle => true,
    };
    if let Some(reason) = shared.why_not_now(collection.id) {
        return (None, reason);
    }
    let request = Request {
        kind: JobKind::Cluster,
        options: JobOptions {
            automatic: true,
            settle,
            ..JobOptions::default()
        },
    };
    match choose(collection, &request, settings, now_ms()) {
        Ok(Choice::Work(work)) => match start(shared, handle, collection, request) {
            Some(job) => (Some(job), work.reason),
            None => (None, "another compaction was asked for first".into()),
        },
        Ok(Choice::NothingToDo(reason)) => (None, reason),
        Err(error) => (None, error.message().to_string()),
    }
}
