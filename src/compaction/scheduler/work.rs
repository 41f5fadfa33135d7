//! A job from its place in the queue to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;

use super::Shared;
use super::automatic::vacuum;
use crate::compaction::jobs::Task;
use crate::compaction::policy::Request;
use crate::compaction::run::{end, record, run};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::change::{JobKind, JobRecord, JobState};
use crate::storage::committer::now_ms;
use crate::storage::schema::{CollectionId, JobId};

/// Carries a job from its place in the queue to its end.
pub(super) async fn work(shared: Arc<Shared>, id: JobId, request: Request) {
    let Some((mut job, task)) = shared
        .jobs
        .lock()
        .live
        .get(&id)
        .map(|l| (l.record.clone(), l.task.clone()))
    else {
        return;
    };
    let result = AssertUnwindSafe(take_turn(&shared, &mut job, &request, &task))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::internal("the worker panicked")));
    let failed = result
        .as_ref()
        .is_err_and(|e| e.kind() != ErrorKind::Cancelled);
    if request.options.automatic {
        shared.note_end(job.collection, failed);
    }
    let ended = match result {
        Ok(ended) => ended,
        Err(error) => end_with(&shared, job, &error, &task).await,
    };
    let metrics = shared.engine.metrics();
    metrics.compaction_ended(ended.kind.as_str(), ended.state.as_str());
    tracing::info!(
        job = ended.id.0,
        collection = ended.collection_name,
        kind = ?ended.kind,
        state = ?ended.state,
        rows = ended.rows_out,
        bytes = ended.bytes_out,
        reason = ended.reason,
        "compaction ended"
    );
    shared.forget(&ended);
    vacuum(&shared.engine);
}

/// Waits for the collection and for a free worker, then runs the job.
async fn take_turn(
    shared: &Shared,
    job: &mut JobRecord,
    request: &Request,
    task: &Task,
) -> Result<JobRecord> {
    let turn = async {
        shared.wait_for_turn(job).await;
        shared.running.acquire().await
    };
    let _turn = tokio::select! {
        turn = turn => turn,
        error = task.cancelled() => return Err(error),
    };
    task.check()?;
    let limit = (request.kind == JobKind::Cluster).then(|| timeout(shared, job.collection));
    task.start(limit);
    job.state = JobState::Running;
    job.started_ms = Some(now_ms());
    record(&shared.engine, job).await?;
    run(&shared.engine, job.clone(), request, task).await
}

/// How long a clustering of the collection may take.
fn timeout(shared: &Shared, collection: CollectionId) -> Duration {
    let snapshot = shared.engine.committer.snapshot();
    let settings = &shared.engine.settings;
    let own = snapshot
        .collection_by_id(collection)
        .map(|c| c.options.settings(settings));
    own.as_ref()
        .unwrap_or(settings)
        .compaction_clustering_timeout
}

/// Records why a job ended without having changed anything.
async fn end_with(shared: &Shared, mut job: JobRecord, error: &Error, task: &Task) -> JobRecord {
    task.measure(&mut job);
    job.sqlstate = Some(error.sqlstate().to_string());
    let (state, reason) = match error.kind() {
        ErrorKind::Cancelled if shared.closing.load(Ordering::Relaxed) => {
            (JobState::Cancelled, "the database was closed".to_string())
        }
        ErrorKind::Cancelled => (JobState::Cancelled, "cancelled on request".to_string()),
        _ => {
            let hint = error.hint().map(|h| format!(" ({h})")).unwrap_or_default();
            (JobState::Failed, format!("{}{hint}", error.message()))
        }
    };
    end(&shared.engine, &mut job, state);
    job.reason = reason;
    if let Err(error) = record(&shared.engine, &job).await {
        tracing::warn!(%error, job = job.id.0, "the end of a compaction could not be recorded");
    }
    job
}
