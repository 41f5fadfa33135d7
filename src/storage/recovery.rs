//! Opening a database: its newest version, and those before it that are kept, from checkpoints and the log.
//!
//! ```text
//! checkpoint 20   checkpoint 30   checkpoint 40
//!     |  log ..       |  log ..       |  log ..    newest 47
//!                     + replayed from here when 35 is the oldest version that is kept
//! ```
//! Versions are kept for `retention_duration`, at most so many and with at most so many bytes of rows between them
//! (`history`); checkpoints and log files that make them again stay as long (`checkpoint`). So the work of opening, and
//! the disk space, are bounded by that.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::buffer::Buffer;

use super::change::Commit;
use super::checkpointer::Recovered;
use super::codec::read_commits;
use super::committer::now_ms;
use super::history::{DataFile, History};
use super::log::log_files;
use super::replay::Replay;
use super::schema::Version;
use super::snapshot::Snapshot;
use super::store::Store;
use super::{checkpoint, replay, vacuum};
use crate::error::{Error, Result};

/// What a directory has when it is opened.
pub(crate) struct Opened {
    /// The newest version, and those before it that are kept.
    pub(super) history: History,
    pub(super) recovered: Recovered,
    /// The first number that was never given.
    pub(super) next_id: u64,
}

impl Opened {
    /// The newest version.
    #[cfg(test)]
    pub(crate) fn newest(&self) -> &Arc<Snapshot> {
        self.history.newest()
    }
}

/// Takes a checkpoint and the commits after it, as far back as versions are kept, and removes the files that no version
/// needs.
///
/// # Errors
/// Those of [`super::committer::Committer::open`].
pub(crate) fn recover(store: &Store, retention: Duration) -> Result<Opened> {
    let (mut history, recovered) = read_history(store, retention)?;
    let files = vacuum::data_files(store)?;
    let there: HashSet<_> = files.iter().copied().collect();
    history.forget_without(|collection, file| there.contains(&(collection, file)));
    history.take_unreachable(None);
    let snapshot = Arc::clone(history.newest());
    vacuum::remove_stale(store, &vacuum::stale(&snapshot, history.retired(), &files))?;
    // Ids that a crash left on disk are passed over, although their files are gone.
    let used = files.iter().map(|(collection, file)| match file {
        DataFile::Segment(id) => collection.0.max(id.0) + 1,
        DataFile::Filter(id) => collection.0.max(id.0) + 1,
    });
    Ok(Opened {
        next_id: used.fold(snapshot.next_id(), u64::max),
        history,
        recovered,
    })
}

/// Replays the log from the checkpoint before the oldest version that is kept. What is wrong with the log before the
/// newest checkpoint costs only the versions before that.
fn read_history(store: &Store, retention: Duration) -> Result<(History, Recovered)> {
    let now_ms = now_ms();
    let since_ms = now_ms.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
    // A version is kept as long after the next one came: that before a younger checkpoint may be.
    let mut bases = checkpoint::read_back(store, |base| base.timestamp_ms() > since_ms)?;
    let newest_checkpoint = bases.first().map_or(Version(0), Snapshot::version);
    let log_dir = store.log_dir();
    let logs = log_files(store.files(), &log_dir)?;
    let begins = logs.first().map_or(u64::MAX, |(first, _)| first.0);
    // The log does not go on from a base that is older.
    let is_before_log = |base: &Snapshot| base.version().0 + 1 < begins;
    while bases.len() > 1 && bases.last().is_some_and(is_before_log) {
        bases.pop();
    }
    loop {
        let base = bases.pop().unwrap_or_default();
        let from = base.version();
        let mut history = History::new(Arc::new(base), retention);
        let replayed = match replay_onto(&mut history, store, newest_checkpoint) {
            Err(error) if !bases.is_empty() => {
                tracing::warn!(checkpoint = %from, %error, "versions before the next checkpoint are lost");
                continue;
            }
            replayed => replayed?,
        };
        replayed.replay.settle(store.files(), &log_dir)?;
        history.written(history.newest().version());
        history.trim(now_ms);
        let (version, oldest) = (history.newest().version(), history.oldest());
        let read_bytes = replayed.replay.bytes();
        tracing::info!(%version, %oldest, checkpoint = %from, read_bytes, "database opened");
        let recovered = Recovered {
            log_bytes: replayed.bytes_after,
            commits: version.0.saturating_sub(newest_checkpoint.0),
        };
        return Ok((history, recovered));
    }
}

/// What was read of the log.
struct Replayed {
    replay: Replay,
    /// Bytes of commits after the newest checkpoint.
    bytes_after: u64,
}

/// Puts all commits of the log into the history.
///
/// # Errors
/// XX001 when the log is damaged, or ends before the newest checkpoint: a backup has no log, and whatever a version has that
/// was given out counts more than what the log has.
fn replay_onto(
    history: &mut History,
    store: &Store,
    newest_checkpoint: Version,
) -> Result<Replayed> {
    let from = history.newest().version();
    let mut bytes_after = 0;
    let replay = replay::read(store.files(), &store.log_dir(), from, |payload| {
        if history.newest().version() >= newest_checkpoint {
            bytes_after += payload.len() as u64;
        }
        push_frame(history, payload)
    })?;
    let reached = history.newest().version();
    if reached < newest_checkpoint {
        let message =
            format!("the log ends at version {reached}, before checkpoint {newest_checkpoint}");
        return Err(Error::corrupted(message));
    }
    Ok(Replayed {
        replay,
        bytes_after,
    })
}

/// Puts the commits of a frame that are newer into the history; the answer is its newest version then.
fn push_frame(history: &mut History, payload: Buffer) -> Result<Version> {
    for commit in read_commits(payload)? {
        let newest = history.newest();
        if commit.version > newest.version() {
            let next = follow(newest, &commit)?;
            history.push(Arc::new(next), &commit);
        }
    }
    Ok(history.newest().version())
}

/// Applies the commits of a frame that are newer than the snapshot; the answer is its version then.
///
/// # Errors
/// XX001 for a frame that was not written by us, or a commit that does not fit.
pub(crate) fn apply_frame(snapshot: &mut Snapshot, payload: Buffer) -> Result<Version> {
    for commit in read_commits(payload)? {
        if commit.version > snapshot.version() {
            *snapshot = follow(snapshot, &commit)?;
        }
    }
    Ok(snapshot.version())
}

fn follow(snapshot: &Snapshot, commit: &Commit) -> Result<Snapshot> {
    snapshot.apply(commit).map_err(|e| {
        let version = commit.version;
        Error::corrupted(format!("commit {version} does not fit: {e}")).with_source(e)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;
    use crate::storage::change::Change;
    use crate::storage::committer::{Committer, CommitterOptions, Transaction};
    use crate::storage::schema::{CollectionId, SegmentId};
    use crate::storage::testing::{append, describe, new_collection, new_segment, same};
    use crate::storage::vacuum::VacuumOptions;

    const BOOK: CollectionId = CollectionId(1);

    fn open(path: &Path) -> (Committer, Arc<Store>) {
        let options = CommitterOptions {
            checkpoint_commits: 7,
            ..CommitterOptions::from(&Settings::default())
        };
        let store = Arc::new(Store::open(path).unwrap());
        (Committer::open(Arc::clone(&store), options).unwrap(), store)
    }

    async fn commit(committer: &Committer, changes: Vec<Change>) -> Arc<Snapshot> {
        let read = committer.snapshot().version();
        let transaction = Transaction::new(read, changes);
        committer.commit(transaction).await.unwrap()
    }

    fn described(committer: &Committer) -> BTreeMap<Version, String> {
        let kept = committer.versions().into_iter().filter(|v| v.retained);
        let versions = kept.map(|v| committer.snapshot_at(v.version).unwrap());
        versions.map(|s| (s.version(), describe(&s))).collect()
    }

    /// A segment, 40 appends and a truncate, with checkpoints in between and some reopens.
    async fn history(path: &Path) -> BTreeMap<Version, String> {
        let (committer, store) = open(path);
        assert_eq!(committer.allocate_id(), 1);
        commit(
            &committer,
            vec![Change::CreateCollection(new_collection(1, "book"))],
        )
        .await;
        let file = store.create_segment(BOOK, SegmentId(2)).unwrap();
        file.publish().unwrap();
        commit(
            &committer,
            vec![Change::AddSegments(BOOK, vec![new_segment(2, 3)])],
        )
        .await;
        drop((committer, store));
        for part in 0..4 {
            let (committer, _store) = open(path);
            for id in 0..10 {
                commit(&committer, vec![append(1, &[part * 10 + id])]).await;
            }
        }
        let (committer, _store) = open(path);
        commit(&committer, vec![Change::Truncate(BOOK)]).await;
        let described = described(&committer);
        assert_eq!(described.len(), 44);
        described
    }

    #[tokio::test]
    async fn kept_versions_are_there_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let history = history(dir.path()).await;
        let checkpoints = std::fs::read_dir(dir.path().join("checkpoint")).unwrap();
        assert!(checkpoints.count() > 2, "they make old versions again");
        let (committer, store) = open(dir.path());
        assert_eq!(described(&committer), history);
        assert!(store.segment_path(BOOK, SegmentId(2)).exists());
        let second = committer.snapshot_at(Version(2)).unwrap();
        let as_of = committer.snapshot_as_of(second.timestamp_ms()).unwrap();
        assert!(as_of.version() >= Version(2));
        assert_eq!(as_of.timestamp_ms(), second.timestamp_ms());
    }

    #[tokio::test]
    async fn a_damaged_past_costs_nothing_but_the_past() {
        let dir = tempfile::tempdir().unwrap();
        let history = history(dir.path()).await;
        let (newest, _) = history.last_key_value().unwrap();
        let mut logs: Vec<_> = std::fs::read_dir(dir.path().join("log")).unwrap().collect();
        logs.sort_by_key(|entry| entry.as_ref().unwrap().path());
        let first = logs[0].as_ref().unwrap().path();
        let mut bytes = std::fs::read(&first).unwrap();
        bytes[100..200].fill(0xff);
        std::fs::write(&first, bytes).unwrap();
        let (committer, _store) = open(dir.path());
        let kept = described(&committer);
        assert!(kept.len() < history.len());
        assert!(kept.iter().all(|(version, text)| history[version] == *text));
        assert!(kept.contains_key(newest));
        assert_eq!(
            committer.snapshot_at(Version(2)).unwrap_err().sqlstate(),
            "72000"
        );
    }

    #[tokio::test]
    async fn a_checkpoint_without_its_log_is_all_there_is() {
        let dir = tempfile::tempdir().unwrap();
        history(dir.path()).await;
        let newest = {
            let store = Store::open(dir.path()).unwrap();
            checkpoint::newest_in(store.files(), &store.checkpoint_dir()).unwrap()
        };
        let log = dir.path().join("log");
        let mut logs: Vec<_> = std::fs::read_dir(&log).unwrap().collect();
        logs.sort_by_key(|entry| entry.as_ref().unwrap().path());
        // The first file alone ends too early; without any it is as in a backup.
        for kept in [1, 0] {
            for entry in &logs[kept..] {
                let path = entry.as_ref().unwrap().path();
                let _ = std::fs::remove_file(path);
            }
            let (committer, _store) = open(dir.path());
            same(&committer.snapshot(), &newest);
        }
        let (committer, store) = open(dir.path());
        commit(&committer, vec![append(1, &[7])]).await;
        let after = committer.snapshot();
        drop((committer, store));
        same(&open(dir.path()).0.snapshot(), &after);
    }

    #[tokio::test]
    async fn what_a_vacuum_took_stays_away() {
        let dir = tempfile::tempdir().unwrap();
        history(dir.path()).await;
        let (committer, store) = open(dir.path());
        let now = VacuumOptions {
            retention: Some(Duration::ZERO),
            ..VacuumOptions::default()
        };
        let vacuumed = committer.vacuum(&now).unwrap();
        assert_eq!(vacuumed.segments, [SegmentId(2)]);
        let newest = committer.snapshot();
        drop((committer, store));
        // The log could make the versions again, but not their file.
        let (committer, _store) = open(dir.path());
        same(&committer.snapshot(), &newest);
        let gone = committer.snapshot_at(Version(3)).unwrap_err();
        assert_eq!(gone.sqlstate(), "72000");
        assert!(gone.message().ends_with("the oldest is 43"), "{gone}");
    }
}
