//! Carries out a choice: read, sort, cut, write, and replace inputs by outputs in one commit.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::depth::{Depth, depth_of};
use super::expire::delete_expired;
use super::input::Input;
use super::jobs::{Inputs, Phase, Task};
use super::memory::Shares;
use super::policy::{Choice, Request, Run, Work, choose, limits};
use super::ranges::Limits;
use super::sort::{SortLimits, SortOrder, Sorted, sorted, spilled_bytes};
use super::train::train;
use super::write::{GroupWriter, Outputs, Target};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::change::{Change, JobKind, JobRecord, JobState, NewSegment, Replace, Training};
use crate::storage::collection::{Collection, Segment};
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, JobId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Transaction;

/// Sorted batches that may wait for the writer.
const BATCHES_AHEAD: usize = 2;

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
            job.state = JobState::NothingToDo;
            job.reason = reason;
            job.finished_ms = Some(now_ms());
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

/// Milliseconds since 1970 UTC.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
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

async fn write_groups(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
    work: &Work,
    limits: Limits,
    job: &mut JobRecord,
    task: &Task,
) -> Result<Outputs> {
    let mut outputs = Outputs::new(Arc::clone(engine), collection.id);
    let mut groups = Vec::new();
    for group in &work.groups {
        let open = |id: &_| Input::find(engine, collection, *id);
        let inputs: Vec<Input> = group.inputs.iter().map(open).collect::<Result<_>>()?;
        job.segments_in += inputs.len() as u64;
        job.rows_in += inputs.iter().map(|i| i.weight().rows).sum::<u64>();
        job.bytes_in += inputs.iter().map(Input::bytes).sum::<u64>();
        groups.push((group, Arc::new(inputs)));
    }
    job.reason.clone_from(&work.reason);
    task.set_inputs(Inputs {
        segments: job.segments_in,
        rows: job.rows_in,
        bytes: job.bytes_in,
    });
    let mut runs = Runs::of(job.id);
    for (group, inputs) in groups {
        let target = Target {
            run: runs.of_group(engine, group.run),
            level: group.level,
            limits,
            rows_before: outputs.rows(),
        };
        outputs = write_group(engine, collection, target, inputs, outputs, job, task).await?;
    }
    task.measure(job);
    Ok(outputs)
}

/// The names of a job's new runs: the first is named after the job, others get names that no job has.
struct Runs(Option<JobId>);

impl Runs {
    fn of(job: JobId) -> Self {
        Self(Some(job))
    }

    fn of_group(&mut self, engine: &Engine, run: Run) -> Option<JobId> {
        match run {
            Run::None => None,
            Run::Same(run) => Some(run),
            Run::New => {
                let next = || JobId(engine.committer.allocate_id());
                Some(self.0.take().unwrap_or_else(next))
            }
        }
    }
}

/// Bytes of memory that a job may use.
fn memory_budget(kind: JobKind, settings: &Settings) -> u64 {
    let most = settings.compaction_memory_budget.0;
    let part = settings.compaction_clustering_memory_buffer_ratio * settings.memory_limit.0 as f64;
    match kind {
        JobKind::Cluster => most.min(part as u64),
        JobKind::Seal | JobKind::Merge => most,
    }
}

/// Sorts on this thread while another gathers and encodes.
async fn write_group(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
    target: Target,
    inputs: Arc<Vec<Input>>,
    mut outputs: Outputs,
    job: &JobRecord,
    task: &Task,
) -> Result<Outputs> {
    task.enter(Phase::Sorting);
    let order = Arc::new(SortOrder::try_new(collection)?);
    let budget = memory_budget(job.kind, &engine.settings);
    let shares = Shares::of(budget, order.narrow().vector_bytes());
    let limits = SortLimits {
        memory_bytes: budget,
        batch_bytes: shares.batch,
        spill_directory: engine.store.tmp_dir(),
    };
    let Sorted {
        mut stream,
        pool,
        sort,
    } = sorted(&inputs, &order, &limits, task)?;
    let mut writer = GroupWriter::try_new(
        Arc::clone(engine),
        Arc::clone(collection),
        inputs,
        order,
        target,
        shares,
        task.clone(),
    )?;
    let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
    let writing = tokio::task::spawn_blocking(move || -> Result<Outputs> {
        while let Some(batch) = receiver.blocking_recv() {
            match batch {
                Some(batch) => writer.push(batch, &mut outputs)?,
                None => {
                    writer.finish(&mut outputs)?;
                    return Ok(outputs);
                }
            }
        }
        Err(Error::internal("the sort of a compaction ended early"))
    });
    let sorting = async {
        let mut spilled = 0;
        while let Some(batch) = stream.next().await {
            task.enter(Phase::Writing);
            // What was written to temporary files is read again.
            let before = std::mem::replace(&mut spilled, spilled_bytes(sort.as_deref()));
            task.has_moved(2 * (spilled - before)).await?;
            task.note_memory(pool.max_reserved() as u64);
            still_wanted(engine, collection)?;
            if sender.send(Some(batch.map_err(sort_error)?)).await.is_err() {
                // The writer has failed, and says why.
                break;
            }
        }
        let _ = sender.send(None).await;
        Ok::<(), Error>(())
    };
    let sorted = sorting.await;
    drop(sender);
    drop(stream);
    task.note_memory(pool.max_reserved() as u64);
    task.add_spilled(spilled_bytes(sort.as_deref()));
    let written = writing
        .await
        .map_err(|e| Error::internal(format!("the writer of a compaction ended early: {e}")))?;
    sorted.and(written)
}

fn sort_error(error: DataFusionError) -> Error {
    let error = Error::from(error);
    if error.sqlstate() == sqlstate::OUT_OF_MEMORY {
        return error.with_hint("Raise compaction.memory_budget: a few rows do not fit.");
    }
    error
}

/// That the collection still wants the outputs: it was not dropped, truncated or given another clustering key.
fn still_wanted(engine: &Engine, collection: &Collection) -> Result<()> {
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
    job.state = JobState::Succeeded;
    job.finished_ms = Some(now_ms());
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
    let replace = Replace {
        collection: collection.id,
        inputs: work.inputs().collect(),
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
        Err(error) => return Err(why(engine, collection.id, error)),
    };
    let recorded = committed.job(job.id).map(|j| JobRecord::clone(j));
    Ok(recorded.unwrap_or(job))
}

/// Says in the words of the one who waits why the commit was refused.
fn why(engine: &Engine, id: CollectionId, error: Error) -> Error {
    let snapshot = engine.committer.snapshot();
    match snapshot.collection_by_id(id) {
        None => Error::conflict("the collection was dropped meanwhile"),
        Some(c) if c.segments().len() == 0 && c.growing().is_empty() => {
            Error::conflict(format!("collection \"{}\" was truncated meanwhile", c.name))
        }
        Some(_) => error,
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
