//! What a commit can do: the words of the log.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::access::{Access, Object};
use super::comment::Commented;
use super::domain::Domain;
use super::enum_type::EnumType;
use super::function::Function;
use super::index::{Index, SegmentFilter};
use super::key_model::KeyModel;
use super::materialized::Materialized;
use super::role::{Role, RoleId};
use super::schema::{
    CollectionId, CollectionOptions, CollectionSchema, FieldId, FunctionId, IndexId, JobId,
    SegmentId, SequenceId, TypeId, Version,
};
use super::sequence::Sequence;
use super::snapshot::{DEFAULT_SCHEMA, TEMPORARY_SCHEMA};
use super::stats::SegmentStats;
pub use super::view::View;

/// One step of history. All its changes happen, or none.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The version that the commit makes: one more than the one before.
    pub version: Version,
    /// When, in milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// What, in order.
    pub changes: Vec<Change>,
}

/// What a commit can do.
///
/// The log has it as JSON; rows and bitmaps, which serde skips, travel beside it (`codec`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A SQL schema appears.
    CreateSchema(String),
    /// An empty SQL schema goes.
    DropSchema(String),
    /// A collection appears.
    CreateCollection(NewCollection),
    /// A collection and all its rows go.
    DropCollection(CollectionId),
    /// Name, columns, keys or options of a collection change; its segments stay.
    AlterCollection(AlterCollection),
    /// All rows of a collection go.
    Truncate(CollectionId),
    /// A view appears or is replaced.
    CreateView(View),
    /// A view goes.
    DropView(QualifiedName),
    /// Rows come into a growing segment, which begins with its first rows.
    Append(Append),
    /// Sealed segments come whole (bulk COPY).
    AddSegments(CollectionId, Vec<NewSegment>),
    /// Rows of one segment go; the bitmap has their places in it.
    Delete(CollectionId, SegmentId, #[serde(skip)] RoaringBitmap),
    /// Segments are replaced by others with the same rows (seal, merge, cluster).
    Replace(Replace),
    /// A compaction job begins or ends.
    Job(JobRecord),
    /// A role appears.
    CreateRole(Role),
    /// A role is as given from now on.
    AlterRole(Role),
    /// A role that nothing depends on goes, and its memberships with it.
    DropRole(RoleId),
    /// Owner and grants of an object are as given from now on.
    SetAccess(Object, Access),
    /// An index appears.
    CreateIndex(CollectionId, Index),
    /// An index goes.
    DropIndex(CollectionId, IndexId),
    /// An index gets another name.
    RenameIndex(CollectionId, IndexId, String),
    /// A sequence appears.
    CreateSequence(Sequence),
    /// A sequence is as given from now on, its name too.
    AlterSequence(Sequence),
    /// A sequence goes.
    DropSequence(SequenceId),
    /// Numbers of that generation of a sequence are reserved up to the last.
    Reserve(SequenceId, u64, i64),
    /// A type appears.
    CreateType(EnumType),
    /// A type is as given from now on, its name too.
    AlterType(EnumType),
    /// A type that no column has goes.
    DropType(TypeId),
    /// A domain appears.
    CreateDomain(Domain),
    /// A domain is as given from now on, its name too.
    AlterDomain(Domain),
    /// A domain that no column is of goes.
    DropDomain(TypeId),
    /// A comment is as given from now on; `None` takes it away.
    Comment(Commented, Option<String>),
    /// Bloom filters of a sealed segment come. Their files are durable before the commit is.
    AddFilters(CollectionId, SegmentId, Vec<SegmentFilter>),
    /// A computed item of a collection's clustering key is as trained from now on; its centroids are attached.
    Train(CollectionId, Training),
    /// What the rows of a collection come from is as given from now on.
    Materialize(CollectionId, Box<Materialized>),
    /// A function appears.
    CreateFunction(Box<Function>),
    /// A function is as given from now on, its name too.
    AlterFunction(Box<Function>),
    /// A function goes.
    DropFunction(FunctionId),
}

impl Change {
    /// Whether it changes more than rows and where they are: what names mean, or who may do what.
    pub fn defines(&self) -> bool {
        match self {
            Self::Truncate(_)
            | Self::Append(_)
            | Self::AddSegments(..)
            | Self::Delete(..)
            | Self::Replace(_)
            | Self::Job(_)
            | Self::Reserve(..)
            | Self::AddFilters(..)
            | Self::Train(..) => false,
            Self::CreateSchema(_)
            | Self::DropSchema(_)
            | Self::CreateCollection(_)
            | Self::DropCollection(_)
            | Self::AlterCollection(_)
            | Self::Materialize(..)
            | Self::CreateView(_)
            | Self::DropView(_)
            | Self::CreateRole(_)
            | Self::AlterRole(_)
            | Self::DropRole(_)
            | Self::SetAccess(..)
            | Self::CreateIndex(..)
            | Self::DropIndex(..)
            | Self::RenameIndex(..)
            | Self::CreateSequence(_)
            | Self::AlterSequence(_)
            | Self::DropSequence(_)
            | Self::CreateType(_)
            | Self::AlterType(_)
            | Self::DropType(_)
            | Self::CreateDomain(_)
            | Self::AlterDomain(_)
            | Self::DropDomain(_)
            | Self::CreateFunction(_)
            | Self::AlterFunction(_)
            | Self::DropFunction(_)
            | Self::Comment(..) => true,
        }
    }
}

/// A name within a SQL schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The SQL schema.
    pub schema: String,
    /// The name.
    pub name: String,
}

impl QualifiedName {
    /// `schema.name`.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if [DEFAULT_SCHEMA, TEMPORARY_SCHEMA].contains(&self.schema.as_str()) {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

/// A collection as it is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewCollection {
    /// Its identity.
    pub id: CollectionId,
    /// Its name.
    pub name: QualifiedName,
    /// Its columns and keys.
    pub schema: CollectionSchema,
    /// Its options.
    pub options: CollectionOptions,
}

/// The parts of a collection that ALTER changes; `None` leaves a part as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlterCollection {
    /// The collection.
    pub id: CollectionId,
    /// A new name.
    pub name: Option<QualifiedName>,
    /// New columns and keys.
    pub schema: Option<CollectionSchema>,
    /// New options.
    pub options: Option<CollectionOptions>,
}

/// Rows for a growing segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Append {
    /// The collection.
    pub collection: CollectionId,
    /// The growing segment; 0 leaves the choice to the committer.
    pub segment: SegmentId,
    /// The rows; fields carry their field ids.
    #[serde(skip, default = "no_rows")]
    pub rows: RecordBatch,
}

fn is_zero(level: &u8) -> bool {
    *level == 0
}

fn no_rows() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

/// A sealed segment as it enters the database. Its file is durable before the commit is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewSegment {
    /// Its identity and the name of its file.
    pub id: SegmentId,
    /// Rows in the file.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
    /// The columns by which its rows are sorted, most significant first.
    pub sorted_by: Vec<FieldId>,
    /// The run of segments with disjoint key ranges it was made with by a clustering; `None` otherwise.
    pub run: Option<JobId>,
    /// How often its rows have been clustered: the place of its run among tiers of runs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub level: u8,
    /// What its columns can hold.
    pub stats: Arc<SegmentStats>,
    /// Its bloom filters of indexed columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<SegmentFilter>,
    /// Rows that are deleted already when it enters (deletes rebased onto a compaction's output).
    #[serde(skip)]
    pub deletes: RoaringBitmap,
}

/// A computed item of a clustering key with what it was trained to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The item before: one not trained, or trained to something else.
    pub key: FieldId,
    /// What takes its place, under the collection's next field id.
    pub model: KeyModel,
}

/// Inputs that become outputs with the same live rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replace {
    /// The collection.
    pub collection: CollectionId,
    /// The segments that go, growing or sealed.
    pub inputs: Vec<SegmentId>,
    /// The segments that come.
    pub outputs: Vec<NewSegment>,
}

/// The kind of a compaction job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Growing rows become segments.
    Seal,
    /// Small segments together, dead rows purged, order kept.
    Merge,
    /// Rows redistributed by key range.
    Cluster,
}

/// The state of a compaction job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker carries it out.
    Running,
    /// Done; the segments are replaced.
    Succeeded,
    /// Looked, and all was well as it is.
    NothingToDo,
    /// Ended by an error; nothing changed.
    Failed,
    /// Stopped on request; nothing changed.
    Cancelled,
}

impl JobKind {
    /// The kind as users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Merge => "merge",
            Self::Cluster => "cluster",
        }
    }
}

impl JobState {
    /// The state as users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::NothingToDo => "nothing_to_do",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of a compaction job; its history is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its identity.
    pub id: JobId,
    /// Its collection.
    pub collection: CollectionId,
    /// The collection's name when it began.
    pub collection_name: String,
    /// Its kind.
    pub kind: JobKind,
    /// Its state.
    pub state: JobState,
    /// When it was asked for, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When a worker took it.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Until when it is remembered; `None` while it has not ended, and in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until_ms: Option<i64>,
    /// Segments read.
    pub segments_in: u64,
    /// Segments written.
    pub segments_out: u64,
    /// Live rows read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes of the segments read.
    pub bytes_in: u64,
    /// Bytes of the segments written.
    pub bytes_out: u64,
    /// Average depth of the clustering key before, where there is one.
    pub depth_before: Option<f64>,
    /// Average depth after.
    pub depth_after: Option<f64>,
    /// How many other segments one of them overlapped on average before, by the clustering key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps_before: Option<f64>,
    /// The same after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps_after: Option<f64>,
    /// Deletes that landed meanwhile and were carried over to the outputs.
    pub deletes_rebased: u64,
    /// The most memory that it had reserved of its budget; `None` in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that it wrote to temporary files while it sorted; `None` in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spilled_bytes: Option<u64>,
    /// The SQLSTATE of the error that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// Why it did nothing or failed, or why it was started.
    pub reason: String,
}

impl JobRecord {
    /// A job of a collection of that name, as it begins.
    pub fn queued(
        id: JobId,
        collection: CollectionId,
        name: impl Into<String>,
        kind: JobKind,
        created_ms: i64,
    ) -> Self {
        Self {
            id,
            collection,
            collection_name: name.into(),
            kind,
            state: JobState::Queued,
            created_ms,
            started_ms: None,
            finished_ms: None,
            kept_until_ms: None,
            segments_in: 0,
            segments_out: 0,
            rows_in: 0,
            rows_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            depth_before: None,
            depth_after: None,
            overlaps_before: None,
            overlaps_after: None,
            deletes_rebased: 0,
            peak_memory_bytes: None,
            spilled_bytes: None,
            sqlstate: None,
            reason: String::new(),
        }
    }

    /// The job ends at `now_ms`, and is remembered for so long.
    pub fn end(&mut self, state: JobState, now_ms: i64, kept: Duration) {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        self.state = state;
        self.finished_ms = Some(now_ms);
        self.kept_until_ms = Some(now_ms.saturating_add(kept));
    }
}
