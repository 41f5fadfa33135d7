//! Rewrites groups of inputs: sorts their rows on one thread while another gathers and encodes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::input::Input;
use super::jobs::{Inputs, Phase, Task};
use super::memory::{Needs, Shares};
use super::order::SortOrder;
use super::outputs::Outputs;
use super::policy::{Run, Work};
use super::ranges::Limits;
use super::run::still_wanted;
use super::sort::{SortLimits, Sorted, sorted, spilled_bytes};
use super::write::{GroupWriter, Target};
use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::change::{JobKind, JobRecord};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::JobId;

/// Sorted batches that may wait for the writer.
pub(super) const BATCHES_AHEAD: usize = 2;

/// Writes the rows of all groups of inputs as segments; the job learns what was read.
///
/// # Errors
/// 57014 when the task is cancelled, 40001 when the collection was dropped or given another key, 53200 when the budget
/// does not hold a few rows, 58030 or 53100 for what the disk says, XX001 for inputs that are damaged.
pub(super) async fn write_groups(
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
            places_bytes_before: outputs.places_bytes(),
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
    outputs: Outputs,
    job: &JobRecord,
    task: &Task,
) -> Result<Outputs> {
    task.enter(Phase::Sorting);
    let order = Arc::new(SortOrder::try_new(collection)?);
    let budget = memory_budget(job.kind, &engine.settings);
    let shares = Shares::of(budget, Needs::of(&inputs, &order, &target));
    let limits = SortLimits {
        memory_bytes: shares.sort,
        batch_bytes: shares.batch,
        spill_directory: engine.store.tmp_dir(),
    };
    let sorted = sorted(&inputs, &order, &limits, task)?;
    let writer = GroupWriter::try_new(
        Arc::clone(engine),
        Arc::clone(collection),
        inputs,
        order,
        target,
        shares,
        task.clone(),
    )?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let writing = tokio::task::spawn_blocking(move || write_sorted(receiver, writer, outputs));
    let sent = send_sorted(engine, collection, sorted, sender, task).await;
    let written = writing
        .await
        .map_err(|e| Error::internal(format!("the writer of a compaction ended early: {e}")))?;
    sent.and(written)
}

/// Hands sorted rows over to the writer, and at their end `None`: without it the sort has failed.
async fn send_sorted(
    engine: &Engine,
    collection: &Collection,
    sorted: Sorted,
    sender: mpsc::Sender<Option<RecordBatch>>,
    task: &Task,
) -> Result<()> {
    let Sorted {
        mut stream,
        pool,
        sort,
    } = sorted;
    let spilled = || spilled_bytes(sort.as_deref());
    let sending = async {
        let mut counted = 0;
        while let Some(batch) = stream.next().await {
            task.enter(Phase::Writing);
            // What was written to temporary files is read again.
            let before = std::mem::replace(&mut counted, spilled());
            task.has_moved(2 * (counted - before)).await?;
            task.note_sort_memory(pool.max_reserved() as u64);
            still_wanted(engine, collection)?;
            if sender.send(Some(batch.map_err(sort_error)?)).await.is_err() {
                // The writer has failed, and says why.
                return Ok(());
            }
        }
        let _ = sender.send(None).await;
        Ok(())
    };
    let sent = sending.await;
    drop(stream);
    task.note_sort_memory(pool.max_reserved() as u64);
    task.add_spilled(spilled());
    sent
}

/// Writes sorted rows up to their end.
fn write_sorted(
    mut receiver: mpsc::Receiver<Option<RecordBatch>>,
    mut writer: GroupWriter,
    mut outputs: Outputs,
) -> Result<Outputs> {
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
}

fn sort_error(error: DataFusionError) -> Error {
    let error = Error::from(error);
    if error.sqlstate() == sqlstate::OUT_OF_MEMORY {
        return error.with_hint("Raise compaction.memory_budget: a few rows do not fit.");
    }
    error
}
