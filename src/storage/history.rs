//! Recent versions: which can be queried, and which segment files nobody can reach any more.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::access::Object;
use super::change::{Change, Commit};
use super::growing::batch_bytes;
use super::schema::{CollectionId, FilterId, SegmentId, Version};
use super::snapshot::Snapshot;

/// The most versions that can be queried.
const VERSIONS_MAX: usize = 1_000;
/// Bytes of rows that may have been appended since the oldest version that can be queried: their memory is shared
/// with older versions, and could not be freed.
const APPENDED_BYTES_MAX: u64 = 256 << 20;

/// What `shelfmark.versions` says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version.
    pub version: Version,
    /// When it was made, milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// What its commit did, in a few words.
    pub summary: String,
    /// Whether it can still be queried.
    pub retained: bool,
}

/// A file of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum DataFile {
    /// A sealed segment.
    Segment(SegmentId),
    /// The bloom filters of one of its columns.
    Filter(FilterId),
}

/// A file that the newest version does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retired {
    /// The version that removed it.
    pub(super) version: Version,
    /// Its collection.
    pub(super) collection: CollectionId,
    /// The file.
    pub(super) file: DataFile,
}

impl Retired {
    fn is_unreachable(&self, oldest: Version, of: Option<&[CollectionId]>) -> bool {
        self.version <= oldest && of.is_none_or(|of| of.contains(&self.collection))
    }
}

/// The newest version and those before it that are kept or still in somebody's hands.
#[derive(Debug)]
pub(super) struct History {
    retention: Duration,
    kept: VecDeque<Kept>,
    /// Bytes that the commits of `kept` appended.
    appended_bytes: u64,
    /// Versions that cannot be queried any more, oldest first.
    dropped: VecDeque<VersionInfo>,
    /// The snapshots of `dropped`, and of versions whose words are forgotten, as long as somebody holds them.
    held: Vec<Weak<Snapshot>>,
    /// Snapshots that nobody has any more: to free them takes longer than whoever commits should wait.
    spent: Vec<Arc<Snapshot>>,
    retired: Vec<Retired>,
    /// The newest version that no crash takes away: its files stay.
    written: Version,
}

#[derive(Debug)]
struct Kept {
    snapshot: Arc<Snapshot>,
    info: VersionInfo,
    appended_bytes: u64,
    /// Segments that its commit read and wrote again: their rows did not change.
    rewritten: Arc<HashSet<SegmentId>>,
}

/// What a commit did, told by what was there before and after.
#[derive(Debug, Clone)]
pub struct Step {
    /// The version before.
    pub before: Arc<Snapshot>,
    /// The version that the commit made.
    pub after: Arc<Snapshot>,
    /// Segments, of before and of after, between which the commit moved rows without changing any.
    pub rewritten: Arc<HashSet<SegmentId>>,
}

impl History {
    /// A history that begins with the version found at open.
    pub(super) fn new(opened: Arc<Snapshot>, retention: Duration) -> Self {
        let info = VersionInfo {
            version: opened.version(),
            timestamp_ms: opened.timestamp_ms(),
            summary: "open".to_string(),
            retained: true,
        };
        let opened_version = opened.version();
        let first = Kept {
            snapshot: opened,
            info,
            appended_bytes: 0,
            rewritten: Arc::default(),
        };
        Self {
            retention,
            kept: [first].into(),
            appended_bytes: 0,
            dropped: VecDeque::new(),
            held: Vec::new(),
            spent: Vec::new(),
            retired: Vec::new(),
            written: opened_version,
        }
    }

    /// The oldest version that can be queried.
    pub(super) fn oldest(&self) -> Version {
        self.kept.front().map_or(Version(0), |k| k.info.version)
    }

    /// The newest version that was there at a time, if it is kept.
    pub(super) fn as_of(&self, timestamp_ms: i64) -> Option<&Arc<Snapshot>> {
        let later = |k: &Kept| k.info.timestamp_ms > timestamp_ms;
        let next = self.kept.iter().position(later).unwrap_or(self.kept.len());
        let at = next.checked_sub(1)?;
        self.kept.get(at).map(|k| &k.snapshot)
    }

    /// The commit of a version as what was there before, what was there after, and which segments it rewrote.
    pub(super) fn step(&self, version: Version) -> Option<Step> {
        let before = self.get(Version(version.0.checked_sub(1)?))?;
        let after = self.kept_at(version)?;
        Some(Step {
            before: Arc::clone(before),
            after: Arc::clone(&after.snapshot),
            rewritten: Arc::clone(&after.rewritten),
        })
    }

    /// The files that some version needs which anybody can reach, though the newest does not.
    pub(super) fn retired(&self) -> impl Iterator<Item = (CollectionId, DataFile)> {
        self.retired.iter().map(|r| (r.collection, r.file))
    }

    /// Forgets the versions that need a file which is not there (any more): a vacuum with another retention took it.
    pub(super) fn forget_without(&mut self, is_there: impl Fn(CollectionId, DataFile) -> bool) {
        let missing = self
            .retired
            .iter()
            .filter(|r| !is_there(r.collection, r.file));
        let Some(since) = missing.map(|r| r.version).max() else {
            return;
        };
        while self.oldest() < since && self.kept.len() > 1 {
            self.drop_oldest();
        }
        self.dropped.clear();
    }

    /// The newest version.
    pub(super) fn newest(&self) -> &Arc<Snapshot> {
        let newest = self.kept.back();
        &newest
            .expect("invariant: the newest version is kept")
            .snapshot
    }

    /// Puts the version that `commit` made after the newest.
    pub(super) fn push(&mut self, snapshot: Arc<Snapshot>, commit: &Commit) {
        let before = Arc::clone(self.newest());
        self.retired.extend(retired(&before, &snapshot, commit));
        let appended_bytes = commit.changes.iter().map(appended_bytes).sum();
        self.appended_bytes += appended_bytes;
        let now_ms = snapshot.timestamp_ms();
        let info = VersionInfo {
            version: snapshot.version(),
            timestamp_ms: now_ms,
            summary: summary(&snapshot, &before, &commit.changes),
            retained: true,
        };
        self.kept.push_back(Kept {
            snapshot,
            info,
            appended_bytes,
            rewritten: Arc::new(rewritten(&commit.changes)),
        });
        self.trim(now_ms);
    }

    /// Notes that everything up to a version is in the log.
    pub(super) fn written(&mut self, version: Version) {
        self.written = version;
    }

    /// How long versions are kept that were superseded.
    pub(super) fn retention(&self) -> Duration {
        self.retention
    }

    /// Drops the versions that were superseded longer ago than the retention, or are too many.
    pub(super) fn trim(&mut self, now_ms: i64) {
        self.trim_to(self.retention, now_ms);
    }

    /// As [`History::trim`], with another retention.
    pub(super) fn trim_to(&mut self, retention: Duration, now_ms: i64) {
        for _ in 0..self.outdated(retention, now_ms) {
            self.drop_oldest();
        }
    }

    /// How many of the oldest versions are not to be kept any more.
    fn outdated(&self, retention: Duration, now_ms: i64) -> usize {
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let mut appended_bytes = self.appended_bytes;
        let mut count = 0;
        while let Some(superseded) = self.kept.get(count + 1) {
            let age_ms = now_ms.saturating_sub(superseded.info.timestamp_ms);
            let many =
                self.kept.len() - count > VERSIONS_MAX || appended_bytes > APPENDED_BYTES_MAX;
            if age_ms < retention_ms && !many {
                break;
            }
            appended_bytes -= self.kept[count].appended_bytes;
            count += 1;
        }
        count
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.kept.pop_front() else {
            return;
        };
        self.appended_bytes -= oldest.appended_bytes;
        if Arc::strong_count(&oldest.snapshot) > 1 {
            self.held.retain(|s| s.strong_count() > 0);
            self.held.push(Arc::downgrade(&oldest.snapshot));
        } else {
            self.spent.push(oldest.snapshot);
        }
        self.dropped.push_back(VersionInfo {
            retained: false,
            ..oldest.info
        });
        if self.dropped.len() > VERSIONS_MAX {
            self.dropped.pop_front();
        }
    }

    /// Takes out the snapshots that nobody has any more, to be freed where nobody waits.
    pub(super) fn take_spent(&mut self) -> Vec<Arc<Snapshot>> {
        std::mem::take(&mut self.spent)
    }

    /// The version, if it is kept.
    pub(super) fn get(&self, version: Version) -> Option<&Arc<Snapshot>> {
        self.kept_at(version).map(|k| &k.snapshot)
    }

    fn kept_at(&self, version: Version) -> Option<&Kept> {
        let first = self.kept.front()?.info.version;
        let at = version.0.checked_sub(first.0)?;
        self.kept.get(usize::try_from(at).ok()?)
    }

    /// What is known of versions, oldest first.
    pub(super) fn infos(&self) -> Vec<VersionInfo> {
        let kept = self.kept.iter().map(|k| &k.info);
        self.dropped.iter().chain(kept).cloned().collect()
    }

    /// The oldest version that anybody can reach, also after a crash, when so many of the oldest kept ones are not kept any more.
    fn oldest_reachable(&self, without: usize) -> Version {
        let held = self.held.iter().filter_map(Weak::upgrade);
        let kept = self.kept.iter().enumerate();
        let kept = kept.filter(|(at, k)| *at >= without || Arc::strong_count(&k.snapshot) > 1);
        let kept = kept.map(|(_, k)| k.info.version);
        let versions = held.map(|s| s.version()).chain(kept);
        versions.min().unwrap_or_default().min(self.written)
    }

    /// Takes out the retired files that nobody can reach; of some collections alone, if they are given.
    pub(super) fn take_unreachable(&mut self, of: Option<&[CollectionId]>) -> Vec<Retired> {
        self.held.retain(|s| s.strong_count() > 0);
        let oldest = self.oldest_reachable(0);
        let unreachable = |r: &mut Retired| r.is_unreachable(oldest, of);
        self.retired.extract_if(.., unreachable).collect()
    }

    /// What [`History::take_unreachable`] would take after [`History::trim_to`].
    pub(super) fn unreachable_after(
        &self,
        retention: Duration,
        now_ms: i64,
        of: Option<&[CollectionId]>,
    ) -> Vec<Retired> {
        let oldest = self.oldest_reachable(self.outdated(retention, now_ms));
        let retired = self.retired.iter().copied();
        retired.filter(|r| r.is_unreachable(oldest, of)).collect()
    }

    /// Puts back what could not be deleted.
    pub(super) fn retire(&mut self, segments: impl IntoIterator<Item = Retired>) {
        self.retired.extend(segments);
    }
}

/// The files that a commit takes away.
fn retired(before: &Snapshot, after: &Snapshot, commit: &Commit) -> Vec<Retired> {
    let mut retired = Vec::new();
    for change in &commit.changes {
        let (collection, inputs) = match change {
            Change::DropCollection(id) | Change::Truncate(id) => (*id, None),
            Change::Replace(replace) => (replace.collection, Some(&replace.inputs)),
            Change::DropIndex(id, _) => {
                retired.extend(retired_filters(before, after, *id, commit.version));
                continue;
            }
            Change::AlterCollection(alter) if alter.schema.is_some() => {
                retired.extend(retired_filters(before, after, alter.id, commit.version));
                continue;
            }
            _ => continue,
        };
        let found = before.collection_by_id(collection);
        let segments = found.into_iter().flat_map(|c| c.segments());
        let gone = segments.filter(|s| inputs.is_none_or(|i| i.contains(&s.id)));
        for segment in gone {
            let filters = segment.filters.iter().filter_map(|f| f.file());
            let filters = filters.map(DataFile::Filter);
            let files = std::iter::once(DataFile::Segment(segment.id)).chain(filters);
            retired.extend(files.map(|file| Retired {
                version: commit.version,
                collection,
                file,
            }));
        }
    }
    retired
}

/// The filter files that segments have no more, though they are still there themselves.
fn retired_filters(
    before: &Snapshot,
    after: &Snapshot,
    collection: CollectionId,
    version: Version,
) -> Vec<Retired> {
    let (Some(old), Some(new)) = (
        before.collection_by_id(collection),
        after.collection_by_id(collection),
    ) else {
        return Vec::new();
    };
    let mut retired = Vec::new();
    for segment in old.segments() {
        let Some(now) = new.segment(segment.id) else {
            continue;
        };
        let gone = segment.filters.iter();
        let gone = gone.filter(|f| now.filter(f.field).is_none());
        retired.extend(gone.filter_map(|f| f.file()).map(|id| Retired {
            version,
            collection,
            file: DataFile::Filter(id),
        }));
    }
    retired
}

/// Inputs and outputs of compactions and seals.
fn rewritten(changes: &[Change]) -> HashSet<SegmentId> {
    let replaces = changes.iter().filter_map(|change| match change {
        Change::Replace(replace) => Some(replace),
        _ => None,
    });
    let segments = replaces.flat_map(|replace| {
        let outputs = replace.outputs.iter().map(|output| output.id);
        replace.inputs.iter().copied().chain(outputs)
    });
    segments.collect()
}

fn appended_bytes(change: &Change) -> u64 {
    match change {
        Change::Append(append) => batch_bytes(&append.rows),
        _ => 0,
    }
}

/// A commit in a few words.
fn summary(after: &Snapshot, before: &Snapshot, changes: &[Change]) -> String {
    const CHANGES_MAX: usize = 3;
    let name = |id: &CollectionId| {
        let found = after
            .collection_by_id(*id)
            .or_else(|| before.collection_by_id(*id));
        found.map_or_else(|| format!("collection {id}"), |c| c.name.to_string())
    };
    let mut words: Vec<String> = changes
        .iter()
        .take(CHANGES_MAX)
        .map(|c| words(c, &name))
        .collect();
    if changes.len() > CHANGES_MAX {
        words.push(format!("{} more", changes.len() - CHANGES_MAX));
    }
    words.join(", ")
}

fn words(change: &Change, name: &impl Fn(&CollectionId) -> String) -> String {
    match change {
        Change::CreateSchema(schema) => format!("create schema {schema}"),
        Change::DropSchema(schema) => format!("drop schema {schema}"),
        Change::CreateCollection(new) => format!("create {}", new.name),
        Change::DropCollection(id) => format!("drop {}", name(id)),
        Change::AlterCollection(alter) => format!("alter {}", name(&alter.id)),
        Change::Truncate(id) => format!("truncate {}", name(id)),
        Change::CreateView(view) if view.partition.is_some() => {
            format!("create partition {}", view.name)
        }
        Change::CreateView(view) => format!("create view {}", view.name),
        Change::DropView(view) => format!("drop view {view}"),
        Change::Append(append) => format!(
            "insert {} rows into {}",
            append.rows.num_rows(),
            name(&append.collection)
        ),
        Change::AddSegments(id, segments) => format!(
            "insert {} rows in {} segments into {}",
            segments.iter().map(|s| s.rows).sum::<u64>(),
            segments.len(),
            name(id)
        ),
        Change::Delete(id, _, rows) => format!("delete {} rows from {}", rows.len(), name(id)),
        Change::Replace(replace) => format!(
            "replace {} segments of {} by {}",
            replace.inputs.len(),
            name(&replace.collection),
            replace.outputs.len()
        ),
        Change::Job(job) => format!("compaction {}", job.id),
        Change::CreateRole(role) => format!("create role {}", role.name),
        Change::AlterRole(role) => format!("alter role {}", role.name),
        Change::DropRole(id) => format!("drop role {id}"),
        Change::SetAccess(Object::Database, _) => "access to the database".to_string(),
        Change::SetAccess(Object::Schema(schema), _) => format!("access to schema {schema}"),
        Change::SetAccess(Object::Collection(id), _) => format!("access to {}", name(id)),
        Change::SetAccess(Object::Sequence(id), _) => format!("access to sequence {id}"),
        Change::SetAccess(Object::Type(id), _) => format!("access to type {id}"),
        Change::SetAccess(Object::Function(id), _) => format!("access to function {id}"),
        Change::SetAccess(Object::View(view), _) => format!("access to view {view}"),
        Change::CreateIndex(id, index) => format!("create index {} of {}", index.name, name(id)),
        Change::DropIndex(id, index) => format!("drop index {index} of {}", name(id)),
        Change::RenameIndex(id, index, _) => format!("rename index {index} of {}", name(id)),
        Change::CreateSequence(sequence) => format!("create sequence {}", sequence.name),
        Change::AlterSequence(sequence) => format!("alter sequence {}", sequence.name),
        Change::DropSequence(id) => format!("drop sequence {id}"),
        Change::Reserve(id, _, last) => format!("reserve sequence {id} up to {last}"),
        Change::CreateType(of) => format!("create type {}", of.name),
        Change::AlterType(of) => format!("alter type {}", of.name),
        Change::DropType(id) => format!("drop type {id}"),
        Change::CreateDomain(domain) => format!("create domain {domain}"),
        Change::AlterDomain(domain) => format!("alter domain {domain}"),
        Change::DropDomain(id) => format!("drop domain {id}"),
        Change::CreateFunction(function) => format!("create {function}"),
        Change::AlterFunction(function) => format!("alter {function}"),
        Change::DropFunction(id) => format!("drop function {id}"),
        Change::Comment(..) => "comment".to_string(),
        Change::AddFilters(id, segment, _) => {
            format!("index segment {segment} of {}", name(id))
        }
        Change::Materialize(id, _) => format!("define the query of {}", name(id)),
        Change::Train(id, _) => format!("train the clustering key of {}", name(id)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::Replace;
    use crate::storage::testing::{append, new_collection, new_segment};

    fn commit(snapshot: &Snapshot, timestamp_ms: i64, changes: Vec<Change>) -> Commit {
        Commit {
            version: Version(snapshot.version().0 + 1),
            timestamp_ms,
            changes,
        }
    }

    fn push(history: &mut History, timestamp_ms: i64, changes: Vec<Change>) {
        let commit = commit(history.newest(), timestamp_ms, changes);
        let next = Arc::new(history.newest().apply(&commit).unwrap());
        history.push(next, &commit);
        history.written(commit.version);
    }

    #[test]
    fn versions_that_nobody_has_wait_to_be_freed_and_count_for_nothing() {
        let id = CollectionId(1);
        let mut history = History::new(Arc::new(Snapshot::empty()), Duration::from_millis(5));
        let create = Change::CreateCollection(new_collection(1, "book"));
        let load = Change::AddSegments(id, vec![new_segment(2, 5)]);
        push(&mut history, 0, vec![create, load]);
        let first = Arc::downgrade(history.newest());
        push(&mut history, 10, vec![Change::Truncate(id)]);
        history.trim(20);
        assert!(history.get(Version(1)).is_none());
        assert_eq!(first.strong_count(), 1);
        assert_eq!(history.take_unreachable(None).len(), 1);
        assert!(!history.take_spent().is_empty());
        assert_eq!(first.strong_count(), 0);
    }

    #[test]
    fn a_segment_is_unreachable_when_its_last_reader_is_gone() {
        let id = CollectionId(1);
        let opened = Arc::new(Snapshot::empty());
        let mut history = History::new(opened, Duration::from_millis(10));
        let create = Change::CreateCollection(new_collection(1, "book"));
        let load = Change::AddSegments(id, vec![new_segment(2, 5), new_segment(3, 5)]);
        push(&mut history, 0, vec![create, load]);
        let reader = Arc::clone(history.newest());
        let replace = |input, output| {
            Change::Replace(Replace {
                collection: id,
                inputs: vec![SegmentId(input)],
                outputs: vec![new_segment(output, 5)],
            })
        };
        push(&mut history, 5, vec![replace(2, 4)]);
        assert_eq!(history.take_unreachable(None), []);
        history.trim(16);
        assert_eq!(history.take_unreachable(None), []);
        assert!(history.get(Version(1)).is_none());
        drop(reader);
        assert_eq!(history.take_unreachable(Some(&[CollectionId(7)])), []);
        let would = history.unreachable_after(Duration::MAX, 16, None);
        let gone = history.take_unreachable(None);
        assert_eq!(would, gone);
        let segments: Vec<_> = gone.iter().map(|r| r.file).collect();
        assert_eq!(segments, [DataFile::Segment(SegmentId(2))]);
        push(&mut history, 20, vec![Change::Truncate(id)]);
        assert_eq!(
            history.unreachable_after(Duration::from_millis(10), 21, None),
            []
        );
        let would = history.unreachable_after(Duration::ZERO, 20, Some(&[id]));
        assert_eq!(would.len(), 2);
        assert_eq!(history.infos().iter().filter(|i| i.retained).count(), 2);
        history.trim_to(Duration::ZERO, 20);
        let mut segments: Vec<_> = history
            .take_unreachable(None)
            .iter()
            .map(|r| r.file)
            .collect();
        segments.sort();
        assert_eq!(segments, [3, 4].map(|id| DataFile::Segment(SegmentId(id))));
    }

    #[test]
    fn versions_are_kept_for_a_time_and_told_in_words() {
        let mut history = History::new(Arc::new(Snapshot::empty()), Duration::from_secs(1));
        let mut new = append(1, &[1, 2]);
        if let Change::Append(a) = &mut new {
            a.segment = SegmentId(9);
        }
        let create = Change::CreateCollection(new_collection(1, "book"));
        push(&mut history, 1_000, vec![create]);
        push(&mut history, 2_500, vec![new]);
        let infos = history.infos();
        let told: Vec<_> = infos
            .iter()
            .map(|i| (i.version.0, i.summary.as_str(), i.retained))
            .collect();
        let expected = [
            (0, "open", false),
            (1, "create book", true),
            (2, "insert 2 rows into book", true),
        ];
        assert_eq!(told, expected);
        assert_eq!(history.get(Version(2)).unwrap().version(), Version(2));
        assert!(history.get(Version(3)).is_none());
        history.trim(3_501);
        assert!(history.get(Version(1)).is_none());
    }
}
