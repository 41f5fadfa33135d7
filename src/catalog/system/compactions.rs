//! `shelfmark.compactions` and `shelfmark.compaction_rounds`: what background jobs did, do, and why they did not.

use super::columns::Columns;
use crate::compaction::jobs::Progress;
use crate::compaction::scheduler::{RoundRecord, Scheduler};
use crate::storage::change::{JobRecord, JobState};
use crate::storage::committer::now_ms;

/// A job with how far it is, if it has not ended.
struct Row<'a> {
    job: &'a JobRecord,
    progress: Option<Progress>,
}

impl Row<'_> {
    /// What is counted while the job is at work, and recorded at its end.
    fn count(&self, running: fn(&Progress) -> u64, ended: fn(&JobRecord) -> u64) -> u64 {
        match &self.progress {
            Some(progress) => running(progress),
            None => ended(self.job),
        }
    }

    /// The same where older records have nothing.
    fn measure(
        &self,
        running: fn(&Progress) -> u64,
        ended: fn(&JobRecord) -> Option<u64>,
    ) -> Option<u64> {
        match &self.progress {
            Some(progress) => Some(running(progress)),
            None => ended(self.job),
        }
    }

    /// The part that is done, 0 to 1; `None` where that is not known.
    fn done(&self) -> Option<f64> {
        match (&self.progress, self.job.state) {
            (Some(progress), _) => Some(progress.part_done()),
            (None, JobState::Succeeded | JobState::NothingToDo) => Some(1.0),
            (None, _) => None,
        }
    }

    /// When it will have ended if it goes on as until now, milliseconds since 1970 UTC.
    fn eta_ms(&self, now_ms: i64) -> Option<i64> {
        let left = self.progress.as_ref()?.time_left()?;
        Some(now_ms.saturating_add(i64::try_from(left.as_millis()).ok()?))
    }
}

/// A row for each of the jobs.
pub(super) fn compactions<'a>(
    jobs: impl Iterator<Item = &'a JobRecord>,
    scheduler: Option<&Scheduler>,
) -> Columns {
    let rows: Vec<Row> = jobs
        .map(|job| Row {
            job,
            progress: scheduler.and_then(|s| s.progress(job.id)),
        })
        .collect();
    let now = now_ms();
    let each = || rows.iter();
    let phase = |r: &Row| r.progress.as_ref().map(|p| p.phase.name().to_string());
    Columns::default()
        .number("compaction_id", each().map(|r| r.job.id.0))
        .text("collection", each().map(|r| r.job.collection_name.clone()))
        .number("collection_id", each().map(|r| r.job.collection.0))
        .text("kind", each().map(|r| r.job.kind.as_str().to_string()))
        .text("state", each().map(|r| r.job.state.as_str().to_string()))
        .text("phase", each().map(phase))
        .double("progress", each().map(Row::done))
        .instant("eta", each().map(|r| r.eta_ms(now)))
        .instant("created_at", each().map(|r| r.job.created_ms))
        .instant("started_at", each().map(|r| r.job.started_ms))
        .instant("finished_at", each().map(|r| r.job.finished_ms))
        .number(
            "segments_in",
            each().map(|r| r.count(|p| p.inputs.segments, |j| j.segments_in)),
        )
        .number(
            "segments_out",
            each().map(|r| r.count(|p| p.segments_written, |j| j.segments_out)),
        )
        .number(
            "rows_in",
            each().map(|r| r.count(|p| p.rows_read, |j| j.rows_in)),
        )
        .number(
            "rows_out",
            each().map(|r| r.count(|p| p.rows_written, |j| j.rows_out)),
        )
        .number(
            "bytes_in",
            each().map(|r| r.count(|p| p.inputs.bytes, |j| j.bytes_in)),
        )
        .number(
            "bytes_out",
            each().map(|r| r.count(|p| p.bytes_written, |j| j.bytes_out)),
        )
        .number("deletes_rebased", each().map(|r| r.job.deletes_rebased))
        .double("depth_before", each().map(|r| r.job.depth_before))
        .double("depth_after", each().map(|r| r.job.depth_after))
        .double("overlaps_before", each().map(|r| r.job.overlaps_before))
        .double("overlaps_after", each().map(|r| r.job.overlaps_after))
        .number(
            "peak_memory_bytes",
            each().map(|r| r.measure(|p| p.memory_bytes_max, |j| j.peak_memory_bytes)),
        )
        .number(
            "spilled_bytes",
            each().map(|r| r.measure(|p| p.spilled_bytes, |j| j.spilled_bytes)),
        )
        .text("sqlstate", each().map(|r| r.job.sqlstate.clone()))
        .text("reason", each().map(|r| r.job.reason.clone()))
}

/// Whether clustering started by itself, and why not.
pub(super) fn compaction_rounds(rounds: &[RoundRecord]) -> Columns {
    let each = || rounds.iter();
    Columns::default()
        .text("collection", each().map(|r| r.collection_name.clone()))
        .number("collection_id", each().map(|r| r.collection.0))
        .instant("held_at", each().map(|r| r.at_ms))
        .number("compaction_id", each().map(|r| r.job.map(|job| job.0)))
        .text("reason", each().map(|r| r.reason.clone()))
}
