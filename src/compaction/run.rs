//! Carries out a choice: read, sort, cut, write, and replace inputs by outputs in one commit.

use std::sync::Arc;

use super::depth::{Depth, depth_of};
use super::expire::delete_expired;
use super::jobs::{Phase, Task};
use super::outputs::Outputs;
use super::policy::{Choice, Request, Work, choose, limits};
use super::rewrite::write_groups;
use super::train::train;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::change::{Change, JobKind, JobRecord, JobState, NewSegment, Replace, Training};
use crate::storage::collection::{Collection, Segment};
use crate::storage::committer::now_ms;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, SegmentId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Transaction;

/// Carries out a job up to its end, which is committed together with what it did. Answers its last record.
///
/// # Errors
/// When it fails or is cancelled (57014) nothing has changed, and its end is not recorded yet.
pub async fn run(
    engine: &Arc<Engine>,
    mut job: JobRecord,
    request: &Request,
    task: &Task,
) -> Result<JobRecord> {
    let prepared = match prepare(engine, &job, request, task).await? {
        Ok(prepared) => prepared,
        Err(reason) => {
            end(engine, &mut job, JobState::NothingToDo);
            job.reason = reason;
            record(engine, &job).await?;
            return Ok(job);
        }
    };
    task.enter(Phase::Committing);
    task.check()?;
    commit(engine, prepared).await
}

/// Outputs that wait to replace their inputs.
pub(super) struct Prepared {
    /// What was read.
    snapshot: Arc<Snapshot>,
    /// With the computed keys that the job trained.
    collection: Arc<Collection>,
    trainings: Vec<Training>,
    work: Work,
    outputs: Outputs,
    job: JobRecord,
}

/// Chooses inputs and writes outputs; the reason when there is nothing to do.
pub(super) async fn prepare(
    engine: &Arc<Engine>,
    job: &JobRecord,
    request: &Request,
    task: &Task,
) -> Result<Result<Prepared, String>> {
    let mut job = job.clone();
    let snapshot = engine.committer.snapshot();
    let collection = Arc::clone(find(&snapshot, &job)?);
    let now = now_ms();
    let work = match choose(&collection, request, &engine.settings, now)? {
        Choice::Work(work) => work,
        Choice::NothingToDo(reason) => return Ok(Err(reason)),
    };
    let snapshot = freeze(engine, &collection, &work, snapshot).await?;
    let collection = Arc::clone(find(&snapshot, &job)?);
    let snapshot = delete_expired(engine, snapshot, &collection, &work, now, task).await?;
    let collection = Arc::clone(find(&snapshot, &job)?);
    let (collection, trainings) = match request.kind {
        JobKind::Cluster => train(engine, &collection, &work, task).await?,
        JobKind::Seal | JobKind::Merge => (collection, Vec::new()),
    };
    let limits = limits(&collection, request, &engine.settings);
    let outputs = write_groups(engine, &collection, &work, limits, &mut job, task).await?;
    Ok(Ok(Prepared {
        snapshot,
        collection,
        trainings,
        work,
        outputs,
        job,
    }))
}

/// Commits a job's record alone.
///
/// # Errors
/// 58030 when the log cannot be written.
pub async fn record(engine: &Engine, job: &JobRecord) -> Result<()> {
    let version = engine.committer.snapshot().version();
    let transaction = Transaction::new(version, vec![Change::Job(job.clone())]);
    engine.committer.commit(transaction).await.map(|_| ())
}

/// Notes in a job's record that it ends now.
pub(super) fn end(engine: &Engine, job: &mut JobRecord, state: JobState) {
    job.end(
        state,
        now_ms(),
        engine.settings.compaction_history_retention,
    );
}

fn find<'a>(snapshot: &'a Snapshot, job: &JobRecord) -> Result<&'a Arc<Collection>> {
    snapshot.collection_by_id(job.collection).ok_or_else(|| {
        let name = &job.collection_name;
        Error::conflict(format!("collection \"{name}\" was dropped meanwhile"))
    })
}

/// Ends the growth of growing inputs; the answer has all rows that they will ever have.
async fn freeze(
    engine: &Engine,
    collection: &Collection,
    work: &Work,
    mut snapshot: Arc<Snapshot>,
) -> Result<Arc<Snapshot>> {
    for id in work.inputs() {
        if collection.growing_segment(id).is_some() {
            snapshot = engine.committer.freeze(collection.id, id).await?;
        }
    }
    Ok(snapshot)
}

/// That the collection still wants the outputs: it was not dropped, truncated or given another clustering key.
pub(super) fn still_wanted(engine: &Engine, collection: &Collection) -> Result<()> {
    let snapshot = engine.committer.snapshot();
    let name = &collection.name;
    let Some(now) = snapshot.collection_by_id(collection.id) else {
        let message = format!("collection \"{name}\" was dropped meanwhile");
        return Err(Error::conflict(message));
    };
    if !now.schema.has_key_of(&collection.schema) {
        let message = format!("the clustering key of \"{name}\" was changed meanwhile");
        return Err(Error::conflict(message).with_hint("Start the compaction again."));
    }
    Ok(())
}

/// Replaces inputs by outputs, and records the job's end with it.
pub(super) async fn commit(engine: &Engine, prepared: Prepared) -> Result<JobRecord> {
    let Prepared {
        snapshot,
        collection,
        trainings,
        work,
        mut outputs,
        mut job,
    } = prepared;
    still_wanted(engine, &collection)?;
    let segments = outputs.segments();
    end(engine, &mut job, JobState::Succeeded);
    job.segments_out = segments.len() as u64;
    job.rows_out = segments.iter().map(|s| s.rows).sum();
    job.bytes_out = segments.iter().map(|s| s.bytes).sum();
    if !collection.schema.clustering_key.is_empty() {
        let before = depth(&collection, collection.segments());
        let after = depth_after(&collection, &work, segments);
        (job.depth_before, job.depth_after) =
            (Some(before.average_depth), Some(after.average_depth));
        (job.overlaps_before, job.overlaps_after) =
            (Some(before.average_overlaps), Some(after.average_overlaps));
    }
    let inputs: Vec<SegmentId> = work.inputs().collect();
    let replace = Replace {
        collection: collection.id,
        inputs: inputs.clone(),
        outputs: segments.to_vec(),
    };
    let trained = trainings
        .into_iter()
        .map(|t| Change::Train(collection.id, t));
    let replaced = [Change::Replace(replace), Change::Job(job.clone())];
    let changes = trained.chain(replaced).collect();
    let mut transaction = Transaction::new(snapshot.version(), changes);
    transaction.row_maps = outputs.take_row_maps();
    let committed = match engine.committer.commit(transaction).await {
        Ok(committed) => {
            outputs.keep();
            committed
        }
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            // The commit may be in the log nevertheless; what nothing names goes when the database is opened.
            outputs.keep();
            return Err(error);
        }
        Err(error) => return Err(why(engine, collection.id, &inputs, error)),
    };
    let recorded = committed.job(job.id).map(|j| JobRecord::clone(j));
    Ok(recorded.unwrap_or(job))
}

/// Says in the words of the one who waits why the commit was refused.
fn why(engine: &Engine, id: CollectionId, inputs: &[SegmentId], error: Error) -> Error {
    let snapshot = engine.committer.snapshot();
    let Some(now) = snapshot.collection_by_id(id) else {
        return Error::conflict("the collection was dropped meanwhile");
    };
    let is_there =
        |id: &SegmentId| now.segment(*id).is_some() || now.growing_segment(*id).is_some();
    match inputs.iter().any(is_there) {
        true => error,
        // No other job replaces them.
        false => Error::conflict(format!(
            "collection \"{}\" was truncated meanwhile",
            now.name
        )),
    }
}

fn depth<'a>(collection: &Collection, segments: impl Iterator<Item = &'a Arc<Segment>>) -> Depth {
    let key = &collection.schema.clustering_key;
    depth_of(collection, segments.map(|s| &**s), key)
}

fn depth_after(collection: &Collection, work: &Work, outputs: &[NewSegment]) -> Depth {
    let gone: std::collections::HashSet<_> = work.inputs().collect();
    let staying = collection.segments().filter(|s| !gone.contains(&s.id));
    let coming = outputs
        .iter()
        .map(|s| Arc::new(Segment::from_new(s, Version(0))));
    let all: Vec<Arc<Segment>> = staying.cloned().chain(coming).collect();
    depth(collection, all.iter())
}
