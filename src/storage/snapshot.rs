//! The state of the database at one version: an immutable value, the fold of the commits up to it.

mod comments;
mod definitions;
mod domains;
mod functions;
mod partitions;
mod references;
mod sequences;
mod temporary;
mod types;

use std::sync::Arc;

use roaring::RoaringBitmap;
use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync, RedBlackTreeSetSync};

pub(super) use self::domains::has_domain;
pub use self::temporary::{OnCommit, TEMPORARY_SCHEMA, TemporaryRelations};
use super::access::{Access, Object};
use super::authority::{self, Authority};
use super::change::{Append, Change, Commit, JobRecord, QualifiedName, Replace, View};
use super::collection::{Collection, Segment, check_rows};
use super::comment::Commented;
use super::domain::Domain;
use super::enum_type::EnumType;
use super::function::Function;
use super::growing::GrowingSegment;
use super::index::Index;
use super::job_history::JobHistory;
use super::materialized::Materialized;
use super::role::{Role, RoleId};
use super::schema::{
    CollectionId, FieldId, FunctionId, JobId, SegmentId, SequenceId, TypeId, Version,
};
use super::sequence::Sequence;
use crate::error::{Error, Result, sqlstate};

/// The schema that exists in every database.
pub const DEFAULT_SCHEMA: &str = "public";
/// The database at one version.
///
/// Invariants: every name in `names` belongs to exactly one collection or view; ids of collections, segments and
/// jobs are below `next_id`; every delete is of a row that its segment has.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: Version,
    /// The newest version that changed more than rows: what names mean, and who may do what. `None` when changes that
    /// are not committed do.
    definitions: Option<Version>,
    timestamp_ms: i64,
    next_id: u64,
    schemas: HashTrieSetSync<String>,
    names: RedBlackTreeMapSync<QualifiedName, CollectionId>,
    collections: HashTrieMapSync<CollectionId, Arc<Collection>>,
    views: RedBlackTreeMapSync<QualifiedName, Arc<View>>,
    sequences: RedBlackTreeMapSync<SequenceId, Arc<Sequence>>,
    /// The sequences that belong to columns.
    owned: RedBlackTreeMapSync<(CollectionId, FieldId), SequenceId>,
    /// Parents with their children: each child has a foreign key to the parent.
    references: RedBlackTreeSetSync<(CollectionId, CollectionId)>,
    /// The types, each with the version that changed it last.
    types: RedBlackTreeMapSync<TypeId, (Arc<EnumType>, Version)>,
    /// The domains, each with the version that changed it last.
    domains: RedBlackTreeMapSync<TypeId, (Arc<Domain>, Version)>,
    /// The functions, each with the version that changed it last.
    functions: RedBlackTreeMapSync<FunctionId, (Arc<Function>, Version)>,
    comments: RedBlackTreeMapSync<Commented, Arc<str>>,
    jobs: JobHistory,
    authority: Authority,
    /// The version below changes that are not committed: whoever reads this needs the files of that.
    base: Option<Arc<Snapshot>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::empty()
    }
}

impl Snapshot {
    /// Version 0: one SQL schema, nothing in it.
    pub fn empty() -> Self {
        Self {
            version: Version(0),
            definitions: Some(Version(0)),
            timestamp_ms: 0,
            next_id: 1,
            schemas: HashTrieSetSync::new_sync().insert(DEFAULT_SCHEMA.to_string()),
            names: RedBlackTreeMapSync::new_sync(),
            collections: HashTrieMapSync::new_sync(),
            views: RedBlackTreeMapSync::new_sync(),
            sequences: RedBlackTreeMapSync::new_sync(),
            owned: RedBlackTreeMapSync::new_sync(),
            references: RedBlackTreeSetSync::new_sync(),
            types: RedBlackTreeMapSync::new_sync(),
            domains: RedBlackTreeMapSync::new_sync(),
            functions: RedBlackTreeMapSync::new_sync(),
            comments: RedBlackTreeMapSync::new_sync(),
            jobs: JobHistory::new(),
            authority: Authority::new(),
            base: None,
        }
    }

    /// The newest version, as far as this snapshot knows, that changed more than rows: a plan that was made since then
    /// means the same. After a restart it is the version that was recovered. `None` when changes that are not committed
    /// are among them.
    pub fn definitions(&self) -> Option<Version> {
        self.definitions
    }

    /// A snapshot without anything in it, not even a schema: a checkpoint fills it.
    pub(super) fn restore(version: Version, timestamp_ms: i64, next_id: u64) -> Self {
        Self {
            version,
            definitions: Some(version),
            timestamp_ms,
            next_id,
            schemas: HashTrieSetSync::new_sync(),
            ..Self::empty()
        }
    }

    pub(super) fn put_schema(&mut self, name: String) {
        self.schemas.insert_mut(name);
    }

    pub(super) fn put_view(&mut self, view: Arc<View>) {
        self.views.insert_mut(view.name.clone(), view);
    }

    /// Its collection, if there is one, is there already.
    pub(super) fn put_job(&mut self, job: Arc<JobRecord>) {
        let exists = self.collections.contains_key(&job.collection);
        self.jobs.put(job, exists);
    }

    pub(super) fn put_collection(&mut self, collection: Arc<Collection>) {
        self.names
            .insert_mut(collection.name.clone(), collection.id);
        self.insert_collection(collection);
    }

    pub(super) fn put_role(&mut self, role: Role) {
        self.authority.put_role(role, Version(0));
    }

    pub(super) fn put_access(&mut self, object: Object, access: Access) {
        self.authority.put_access(object, access, Version(0));
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// When the version was made, milliseconds since 1970 UTC.
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// The least number that no collection, segment or job of this database has had.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The SQL schemas, in no order.
    pub fn schemas(&self) -> impl Iterator<Item = &String> {
        self.schemas.iter()
    }

    /// Whether the SQL schema exists.
    pub fn has_schema(&self, name: &str) -> bool {
        self.schemas.contains(name)
    }

    /// The collections in the order of their names.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.names
            .values()
            .filter_map(|id| self.collections.get(id))
    }

    /// The collection of that name.
    pub fn collection(&self, name: &QualifiedName) -> Option<&Arc<Collection>> {
        self.collections.get(self.names.get(name)?)
    }

    /// The collection of that id.
    pub fn collection_by_id(&self, id: CollectionId) -> Option<&Arc<Collection>> {
        self.collections.get(&id)
    }

    /// The views in the order of their names.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.values()
    }

    /// The view of that name.
    pub fn view(&self, name: &QualifiedName) -> Option<&Arc<View>> {
        self.views.get(name)
    }

    /// The index of that name, and its collection.
    pub fn index(&self, name: &QualifiedName) -> Option<(&Arc<Collection>, &Arc<Index>)> {
        let in_schema = self.collections().filter(|c| c.name.schema == name.schema);
        let mut all = in_schema.flat_map(|c| c.indexes().iter().map(move |index| (c, index)));
        all.find(|(_, index)| index.name == name.name)
    }

    /// Whether a collection, view, index or sequence has the name: they share them.
    pub fn has_relation(&self, name: &QualifiedName) -> bool {
        self.is_taken(name) || self.keyed(name).is_some()
    }

    fn is_taken(&self, name: &QualifiedName) -> bool {
        self.names.contains_key(name)
            || self.views.contains_key(name)
            || self.index(name).is_some()
            || self.sequence_named(name).is_some()
    }

    /// The collection whose primary key has the name.
    pub fn keyed(&self, name: &QualifiedName) -> Option<&Arc<Collection>> {
        let mut in_schema = self.collections().filter(|c| c.name.schema == name.schema);
        in_schema.find(|c| {
            !c.schema.primary_key.is_empty() && c.schema.key_name(&c.name.name) == name.name
        })
    }

    /// The compaction jobs in the order of their ids.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Arc<JobRecord>> {
        self.jobs.jobs()
    }

    /// The clusterings of a collection from which intervals count, youngest first: its last one that changed something,
    /// and for each bound the last one that left the depth within it.
    pub fn clusterings(&self, collection: CollectionId) -> impl Iterator<Item = &Arc<JobRecord>> {
        self.jobs.clusterings(collection)
    }

    /// The job of that id.
    pub fn job(&self, id: JobId) -> Option<&Arc<JobRecord>> {
        self.jobs.job(id)
    }

    /// The roles in the order of their ids.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.authority.roles()
    }

    /// The role of that id.
    pub fn role(&self, id: RoleId) -> Option<&Arc<Role>> {
        self.authority.role(id)
    }

    /// The role of that name.
    pub fn role_named(&self, name: &str) -> Option<&Arc<Role>> {
        self.authority.role_named(name)
    }

    /// The owner and the grants of an object.
    pub fn access(&self, object: &Object) -> Arc<Access> {
        self.authority.access(object)
    }

    /// The objects that the role owns, or has or gave grants on.
    pub fn objects_of(&self, role: RoleId) -> impl Iterator<Item = (&Object, &Arc<Access>)> {
        let all = self.authority.accesses();
        all.filter(move |(_, access)| authority::names(access, role))
    }

    /// The snapshot after `commit`.
    ///
    /// # Errors
    /// The commit does not follow this version, or one of its changes does not fit: a name exists already or does
    /// not exist, a segment is gone (40001). Nothing of the commit happens then.
    pub fn apply(&self, commit: &Commit) -> Result<Self> {
        if commit.version.0 != self.version.0 + 1 {
            return Err(Error::corrupted(format!(
                "commit {} does not follow version {}",
                commit.version, self.version
            )));
        }
        let mut next = self.clone();
        next.version = commit.version;
        next.timestamp_ms = commit.timestamp_ms;
        for change in &commit.changes {
            next.apply_change(change)?;
        }
        next.check_references(&commit.changes)?;
        if commit.changes.iter().any(Change::defines) {
            next.definitions = Some(commit.version);
        }
        Ok(next)
    }

    /// The database as a transaction sees it that read this and made `changes`, which are not committed. The version
    /// stays what it is.
    ///
    /// # Errors
    /// As of [`Snapshot::apply`].
    pub fn with_pending(self: &Arc<Self>, changes: &[Change]) -> Result<Self> {
        let mut next = Self::clone(self);
        next.base.get_or_insert_with(|| Arc::clone(self));
        for change in changes {
            next.apply_change(change)?;
        }
        next.check_references(changes)?;
        if changes.iter().any(Change::defines) {
            next.definitions = None;
        }
        Ok(next)
    }

    /// Whether there are changes in it that are not committed.
    pub fn is_pending(&self) -> bool {
        self.base.is_some()
    }

    fn apply_change(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::CreateSchema(name) => self.create_schema(name),
            Change::DropSchema(name) => self.drop_schema(name),
            Change::CreateCollection(new) => self.create_collection(new),
            Change::DropCollection(id) => self.drop_collection(*id),
            Change::AlterCollection(alter) => self.alter_collection(alter),
            Change::Truncate(id) => self.update(*id, |c, _| {
                c.clear();
                Ok(())
            }),
            Change::CreateView(view) => self.create_view(view),
            Change::DropView(name) => self.drop_view(name),
            Change::Append(append) => self.append(append),
            Change::AddSegments(id, segments) => {
                segments.iter().for_each(|s| self.use_id(s.id.0));
                self.update(*id, |c, version| {
                    for segment in segments {
                        c.insert_segment(Segment::from_new(segment, version))?;
                    }
                    Ok(())
                })
            }
            Change::Delete(id, segment, rows) => {
                self.update(*id, |c, _| delete_rows(c, *segment, rows))
            }
            Change::Replace(replace) => self.replace(replace),
            Change::Job(job) => {
                self.record_job(job);
                Ok(())
            }
            Change::CreateRole(role) => {
                self.use_id(role.id.0);
                self.authority.create_role(role, self.version)
            }
            Change::AlterRole(role) => self.authority.alter_role(role, self.version),
            Change::DropRole(id) => self.authority.drop_role(*id, self.version),
            Change::SetAccess(object, access) => {
                self.authority.set_access(object, access, self.version)
            }
            Change::CreateIndex(id, index) => self.create_index(*id, index),
            Change::DropIndex(id, index) => {
                self.forget_comments_of_index(*id, *index);
                self.update(*id, |c, _| {
                    c.remove_index(*index).then_some(()).ok_or_else(no_index)
                })
            }
            Change::RenameIndex(id, index, name) => self.rename_index(*id, *index, name),
            Change::CreateSequence(sequence) => self.create_sequence(sequence),
            Change::AlterSequence(sequence) => self.alter_sequence(sequence),
            Change::DropSequence(id) => self.drop_sequence(*id),
            Change::Reserve(id, generation, last) => self.reserve(*id, *generation, *last),
            Change::CreateType(of) => self.create_type(of),
            Change::AlterType(of) => self.alter_type(of),
            Change::DropType(id) => self.drop_type(*id),
            Change::CreateDomain(domain) => self.create_domain(domain),
            Change::AlterDomain(domain) => self.alter_domain(domain),
            Change::DropDomain(id) => self.drop_domain(*id),
            Change::CreateFunction(function) => self.create_function(function),
            Change::AlterFunction(function) => self.alter_function(function),
            Change::DropFunction(id) => self.drop_function(*id),
            Change::Comment(on, text) => self.comment(on, text.as_deref()),
            Change::AddFilters(id, segment, filters) => {
                let files = filters.iter().filter_map(|f| f.file());
                files.for_each(|file| self.use_id(file.0));
                self.update(*id, |c, _| c.add_filters(*segment, filters))
            }
            Change::Train(id, training) => {
                self.update(*id, |c, version| c.train(training, version))
            }
            Change::Materialize(id, materialized) => self.update(*id, |c, _| {
                c.materialized = Some(Arc::new(Materialized::clone(materialized)));
                Ok(())
            }),
        }
    }

    fn use_id(&mut self, id: u64) {
        self.next_id = self.next_id.max(id + 1);
    }

    fn append(&mut self, append: &Append) -> Result<()> {
        self.use_id(append.segment.0);
        let now = self.timestamp_ms;
        self.update(append.collection, |collection, _| {
            let segment = match collection.growing_segment(append.segment) {
                Some(segment) => segment.append(&append.rows)?,
                None => GrowingSegment::new(append.segment, now).append(&append.rows)?,
            };
            collection.put_growing(segment);
            Ok(())
        })
    }

    fn replace(&mut self, replace: &Replace) -> Result<()> {
        for output in &replace.outputs {
            self.use_id(output.id.0);
            if let Some(run) = output.run {
                self.use_id(run.0);
            }
        }
        self.update(replace.collection, |collection, version| {
            for id in &replace.inputs {
                if !collection.remove_segment(*id) {
                    return Err(Error::conflict(format!(
                        "segment {id} of \"{}\" was replaced by a concurrent compaction",
                        collection.name
                    )));
                }
            }
            for output in &replace.outputs {
                collection.insert_segment(Segment::from_new(output, version))?;
            }
            Ok(())
        })
    }

    fn record_job(&mut self, job: &JobRecord) {
        self.use_id(job.id.0);
        self.put_job(Arc::new(job.clone()));
        self.jobs.forget(self.timestamp_ms);
    }

    fn update(
        &mut self,
        id: CollectionId,
        change: impl FnOnce(&mut Collection, Version) -> Result<()>,
    ) -> Result<()> {
        let mut collection = Collection::clone(self.collections.get(&id).ok_or_else(gone)?);
        change(&mut collection, self.version)?;
        self.insert_collection(Arc::new(collection));
        Ok(())
    }
}

fn delete_rows(collection: &mut Collection, id: SegmentId, rows: &RoaringBitmap) -> Result<()> {
    if let Some(growing) = collection.growing_segment(id) {
        check_rows(rows, growing.rows, id)?;
        let mut next = GrowingSegment::clone(growing);
        add_deletes(&mut next.deletes, rows, id)?;
        collection.put_growing(next);
        return Ok(());
    }
    let segment = collection.segment(id).ok_or_else(|| {
        Error::conflict(format!("segment {id} of \"{}\" is gone", collection.name))
    })?;
    check_rows(rows, segment.rows, id)?;
    let mut next = Segment::clone(segment);
    let mut deletes = RoaringBitmap::clone(&next.deletes);
    add_deletes(&mut deletes, rows, id)?;
    next.deletes = Arc::new(deletes);
    collection.replace_deletes(next);
    Ok(())
}

fn add_deletes(deletes: &mut RoaringBitmap, rows: &RoaringBitmap, id: SegmentId) -> Result<()> {
    if !deletes.is_disjoint(rows) {
        let message =
            format!("rows of segment {id} were deleted or updated by a concurrent commit");
        return Err(Error::conflict(message));
    }
    *deletes |= rows;
    Ok(())
}

fn no_schema(name: &str) -> Error {
    Error::not_found(
        sqlstate::INVALID_SCHEMA_NAME,
        format!("schema \"{name}\" does not exist"),
    )
}

fn no_index() -> Error {
    Error::conflict("the index was dropped by a concurrent commit")
}

fn gone() -> Error {
    Error::conflict("the collection was dropped by a concurrent commit")
}
