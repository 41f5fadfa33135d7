//! Checkpoints: a whole snapshot in one file, so that opening need not read all of the log.
//!
//! ```text
//! file = "SHELFCKP" | format u32 | crc32c u32 of what follows | record*     checkpoint/<version, 20 digits>.ckpt
//! ```
//! The records (`codec`) are one head, then schemas, types, functions, views, sequences, jobs, roles, accesses, comments, and per
//! collection its models and its segments, sealed and growing. Format 1 had no roles; then everything belongs to the roles of a new database.
//! Format 2 had neither models nor foreign keys, format 3 neither types nor comments, format 4 no columns of intervals.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::Buffer;
use serde::{Deserialize, Serialize};

use super::access::{Access, Object};
use super::change::{JobRecord, NewCollection, NewSegment, View};
use super::codec::{Attachments, Reader, Record, encode_bitmap, encode_rows};
use super::collection::{Collection, Segment};
use super::comment::Commented;
use super::disk::Files;
use super::domain::Domain;
use super::enum_type::EnumType;
use super::function::Function;
use super::growing::GrowingSegment;
use super::index::Index;
use super::key_model::KeyModel;
use super::log::{log_files, numbered_files};
use super::materialized::Materialized;
use super::role::Role;
use super::schema::{CollectionId, SegmentId, Version};
use super::sequence::Sequence;
use super::snapshot::Snapshot;
use super::store::{Store, io, remove, sync_directory};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"SHELFCKP";
const FORMAT: u32 = 11;
/// The oldest format that can be read.
const FORMAT_MIN: u32 = 1;
const HEADER_BYTES: usize = 16;

/// One record of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Head {
        version: Version,
        timestamp_ms: i64,
        next_id: u64,
        /// How many records follow.
        entries: u64,
    },
    Schema(String),
    Type(Box<EnumType>),
    Domain(Box<Domain>),
    Function(Box<Function>),
    View(View),
    Sequence(Box<Sequence>),
    Job(Box<JobRecord>),
    Role(Box<Role>),
    Access(Object, Access),
    Comment(Commented, String),
    Collection {
        new: NewCollection,
        schema_version: Version,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        indexes: Vec<Index>,
    },
    /// Attached: its centroids.
    Materialized {
        collection: CollectionId,
        of: Box<Materialized>,
    },
    KeyModel {
        collection: CollectionId,
        model: KeyModel,
    },
    /// Attached: its deletes.
    Segment {
        collection: CollectionId,
        created: Version,
        segment: NewSegment,
    },
    /// Attached: its deletes, then its batches.
    Growing {
        collection: CollectionId,
        segment: SegmentId,
        created_ms: i64,
        bytes: u64,
    },
}

/// Writes a checkpoint durably, then removes what it makes needless: checkpoints older than the one before it, and
/// log files that the one before it does not need. Those from which versions since `oldest` can be made again stay. The
/// answer is the number of bytes.
///
/// # Errors
/// 58030 or 53100 for what the disk says; whatever was there can still be opened.
pub(super) fn write(store: &Store, snapshot: &Snapshot, oldest: Version) -> Result<u64> {
    let bytes = encode(snapshot)?;
    let path = path(&store.checkpoint_dir(), snapshot.version());
    let mut file = store.create(path.clone())?;
    file.file()
        .write_all(&bytes)
        .map_err(|e| io("write", &path, e))?;
    file.publish_over()?;
    remove_needless(store, oldest)?;
    Ok(bytes.len() as u64)
}

/// The good checkpoints, newest first, as far back as `goes_on` says of the one before: where opening may begin. The
/// last is the empty snapshot when there is no older checkpoint, and at least when there is none. A bad one is passed
/// over: the log since the one before it is still there.
///
/// # Errors
/// 58030 for what the disk says.
pub(super) fn read_back(
    store: &Store,
    goes_on: impl Fn(&Snapshot) -> bool,
) -> Result<Vec<Snapshot>> {
    let directory = store.checkpoint_dir();
    let mut found = Vec::new();
    for snapshot in good_in(store.files(), &directory)? {
        let snapshot = snapshot?;
        let is_last = !goes_on(&snapshot);
        found.push(snapshot);
        if is_last {
            break;
        }
    }
    // A name seen may be a name that never reached the disk; the log before it may go only after that.
    sync_directory(store.files(), &directory)?;
    if found.last().is_none_or(goes_on) {
        found.push(Snapshot::empty());
    }
    Ok(found)
}

/// The newest good checkpoint; the empty snapshot when there is none.
///
/// # Errors
/// 58030 for what the disk says.
pub(super) fn newest_in(files: &Files, directory: &Path) -> Result<Snapshot> {
    let newest = good_in(files, directory)?.next();
    newest.unwrap_or_else(|| Ok(Snapshot::empty()))
}

/// The good checkpoints of a directory, newest first, each read when it is asked for.
fn good_in<'a>(
    files: &'a Files,
    directory: &Path,
) -> Result<impl Iterator<Item = Result<Snapshot>> + 'a> {
    let newest_first = numbered_files(files, directory, "ckpt")?.into_iter().rev();
    Ok(newest_first.filter_map(|(version, path)| {
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(io("read", &path, error))),
        };
        match decode(bytes) {
            Ok(snapshot) if snapshot.version() == version => return Some(Ok(snapshot)),
            Ok(_) => tracing::warn!(path = %path.display(), "checkpoint is of another version"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "checkpoint is damaged"),
        }
        None
    }))
}

/// That the bytes are a whole checkpoint of that version.
///
/// # Errors
/// XX001.
pub(super) fn check(bytes: Vec<u8>, version: Version) -> Result<()> {
    let found = decode(bytes)?.version();
    match found == version {
        true => Ok(()),
        false => Err(Error::corrupted(format!(
            "checkpoint is of version {found}"
        ))),
    }
}

/// The path of the checkpoint of a version.
pub(super) fn path(directory: &Path, version: Version) -> PathBuf {
    directory.join(format!("{:020}.ckpt", version.0))
}

fn remove_needless(store: &Store, oldest: Version) -> Result<()> {
    let files = store.files();
    let checkpoints = numbered_files(files, &store.checkpoint_dir(), "ckpt")?;
    let versions: Vec<Version> = checkpoints.iter().map(|(version, _)| *version).collect();
    let Some(first) = first_needed(&versions, oldest) else {
        return Ok(());
    };
    for (_, path) in checkpoints.iter().filter(|(version, _)| *version < first) {
        remove(files, path)?;
    }
    let logs = log_files(files, &store.log_dir())?;
    for pair in logs.windows(2) {
        // All commits of a file come before the first commit of the next.
        if pair[1].0.0 <= first.0 + 1 {
            remove(files, &pair[0].1)?;
        }
    }
    for (version, path) in numbered_files(files, &store.log_dir(), "torn")? {
        if version <= first {
            remove(files, &path)?;
        }
    }
    Ok(())
}

/// The oldest checkpoint that must stay, of those there are in ascending order: the one before the newest, which is
/// there in case the newest is damaged, or an older one that `oldest` can be made again from. `None` when all must stay,
/// and with them all of the log.
fn first_needed(checkpoints: &[Version], oldest: Version) -> Option<Version> {
    let [.., fallback, _newest] = checkpoints else {
        return None;
    };
    let base = checkpoints.iter().rev().find(|version| **version <= oldest);
    base.map(|base| *base.min(fallback))
}

/// The bytes of a checkpoint.
pub(super) fn encode(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    let mut put = |entry: &Entry, attachments| {
        records.push(Record::new(entry, attachments)?);
        Ok::<_, Error>(())
    };
    for schema in snapshot.schemas() {
        put(&Entry::Schema(schema.clone()), vec![])?;
    }
    for of in snapshot.types() {
        put(&Entry::Type(Box::new(EnumType::clone(of))), vec![])?;
    }
    for domain in snapshot.domains() {
        put(&Entry::Domain(Box::new(Domain::clone(domain))), vec![])?;
    }
    for function in snapshot.functions() {
        let function = Box::new(Function::clone(function));
        put(&Entry::Function(function), vec![])?;
    }
    for view in snapshot.views() {
        put(&Entry::View(View::clone(view)), vec![])?;
    }
    for sequence in snapshot.sequences() {
        put(
            &Entry::Sequence(Box::new(Sequence::clone(sequence))),
            vec![],
        )?;
    }
    for job in snapshot.jobs() {
        put(&Entry::Job(Box::new(JobRecord::clone(job))), vec![])?;
    }
    for role in snapshot.roles() {
        put(&Entry::Role(Box::new(Role::clone(role))), vec![])?;
    }
    for (object, access) in snapshot.authority().accesses() {
        put(
            &Entry::Access(object.clone(), Access::clone(access)),
            vec![],
        )?;
    }
    for (on, text) in snapshot.comments() {
        put(&Entry::Comment(on.clone(), text.to_string()), vec![])?;
    }
    for collection in snapshot.collections() {
        encode_collection(collection, &mut put)?;
    }
    let head = Entry::Head {
        version: snapshot.version(),
        timestamp_ms: snapshot.timestamp_ms(),
        next_id: snapshot.next_id(),
        entries: records.len() as u64,
    };
    let mut bytes = vec![0; HEADER_BYTES];
    Record::new(&head, vec![])?.write(&mut bytes);
    records.iter().for_each(|r| r.write(&mut bytes));
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn encode_collection(
    collection: &Collection,
    put: &mut impl FnMut(&Entry, Vec<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    let new = NewCollection {
        id: collection.id,
        name: collection.name.clone(),
        schema: (*collection.schema).clone(),
        options: collection.options.clone(),
    };
    let schema_version = collection.schema_version;
    let indexes = collection.indexes().iter();
    put(
        &Entry::Collection {
            new,
            schema_version,
            indexes: indexes.map(|index| Index::clone(index)).collect(),
        },
        vec![],
    )?;
    if let Some(of) = &collection.materialized {
        let entry = Entry::Materialized {
            collection: collection.id,
            of: Box::new(Materialized::clone(of)),
        };
        put(&entry, vec![])?;
    }
    for model in collection.models() {
        let entry = Entry::KeyModel {
            collection: collection.id,
            model: KeyModel::clone(model),
        };
        put(&entry, vec![model.bytes()])?;
    }
    for segment in collection.segments() {
        let entry = Entry::Segment {
            collection: collection.id,
            created: segment.created,
            segment: segment.to_new(),
        };
        put(&entry, vec![encode_bitmap(&segment.deletes)])?;
    }
    for growing in collection.growing() {
        let entry = Entry::Growing {
            collection: collection.id,
            segment: growing.id,
            created_ms: growing.created_ms,
            bytes: growing.bytes,
        };
        let mut attachments = vec![encode_bitmap(&growing.deletes)];
        for batch in growing.batches() {
            attachments.push(encode_rows(batch)?);
        }
        put(&entry, attachments)?;
    }
    Ok(())
}

fn decode(bytes: Vec<u8>) -> Result<Snapshot> {
    let wrong = |why| Error::corrupted(format!("checkpoint {why}"));
    if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
        return Err(wrong("does not begin as one"));
    }
    let format = bytes[8..12].try_into().map(u32::from_le_bytes);
    if !format.is_ok_and(|f| (FORMAT_MIN..=FORMAT).contains(&f)) {
        return Err(wrong("has another format"));
    }
    if bytes[12..16] != crc32c::crc32c(&bytes[HEADER_BYTES..]).to_le_bytes() {
        return Err(wrong("is damaged"));
    }
    let mut reader = Reader::new(Buffer::from_vec(bytes).slice(HEADER_BYTES));
    let mut restore = Restore::default();
    while !reader.is_empty() {
        let (entry, mut attachments) = reader.record::<Entry>()?;
        restore.entry(entry, &mut attachments)?;
        attachments.end()?;
    }
    restore.finish()
}

/// A snapshot while its entries come in.
#[derive(Debug, Default)]
struct Restore {
    head: Option<(Version, i64, u64, u64)>,
    entries: u64,
    schemas: Vec<String>,
    types: Vec<EnumType>,
    domains: Vec<Domain>,
    functions: Vec<Function>,
    views: Vec<View>,
    sequences: Vec<Sequence>,
    jobs: Vec<JobRecord>,
    roles: Vec<Role>,
    access: Vec<(Object, Access)>,
    comments: Vec<(Commented, String)>,
    collections: HashMap<CollectionId, Collection>,
}

impl Restore {
    fn entry(&mut self, entry: Entry, attachments: &mut Attachments) -> Result<()> {
        self.entries += 1;
        match entry {
            Entry::Head {
                version,
                timestamp_ms,
                next_id,
                entries,
            } => self.head = Some((version, timestamp_ms, next_id, entries)),
            Entry::Schema(name) => self.schemas.push(name),
            Entry::Type(of) => self.types.push(*of),
            Entry::Domain(domain) => self.domains.push(*domain),
            Entry::Function(function) => self.functions.push(*function),
            Entry::View(view) => self.views.push(view),
            Entry::Sequence(sequence) => self.sequences.push(*sequence),
            Entry::Job(job) => self.jobs.push(*job),
            Entry::Role(role) => self.roles.push(*role),
            Entry::Access(object, access) => self.access.push((object, access)),
            Entry::Comment(on, text) => self.comments.push((on, text)),
            Entry::Collection {
                new,
                schema_version,
                indexes,
            } => {
                let mut collection = Collection::new(&new, schema_version);
                let indexes = indexes.into_iter();
                indexes.for_each(|i| collection.put_index(i, schema_version));
                self.collections.insert(new.id, collection);
            }
            Entry::Materialized { collection, of } => {
                self.collection(collection)?.materialized = Some(Arc::new(*of));
            }
            Entry::KeyModel {
                collection,
                mut model,
            } => {
                attachments.model(&mut model)?;
                self.collection(collection)?.put_model(model);
            }
            Entry::Segment {
                collection,
                created,
                mut segment,
            } => {
                segment.deletes = attachments.bitmap()?;
                let segment = Segment::from_new(&segment, created);
                self.collection(collection)?.insert_segment(segment)?;
            }
            Entry::Growing {
                collection,
                segment,
                created_ms,
                bytes,
            } => {
                let deletes = attachments.bitmap()?;
                let mut batches = Vec::new();
                while attachments.len() > 0 {
                    batches.push(attachments.rows()?);
                }
                let growing =
                    GrowingSegment::restore(segment, created_ms, bytes, deletes, batches)?;
                self.collection(collection)?.put_growing(growing);
            }
        }
        Ok(())
    }

    fn collection(&mut self, id: CollectionId) -> Result<&mut Collection> {
        let found = self.collections.get_mut(&id);
        found.ok_or_else(|| Error::corrupted("checkpoint has a segment of no collection"))
    }

    fn finish(self) -> Result<Snapshot> {
        let (version, timestamp_ms, next_id, entries) = self
            .head
            .filter(|(.., entries)| entries + 1 == self.entries)
            .ok_or_else(|| Error::corrupted("checkpoint is not whole"))?;
        debug_assert!(entries < self.entries);
        let mut snapshot = Snapshot::restore(version, timestamp_ms, next_id);
        self.schemas
            .into_iter()
            .for_each(|s| snapshot.put_schema(s));
        self.types.into_iter().for_each(|t| snapshot.put_type(t));
        let domains = self.domains.into_iter();
        domains.for_each(|domain| snapshot.put_domain(domain));
        let functions = self.functions.into_iter();
        functions.for_each(|function| snapshot.put_function(function));
        self.views
            .into_iter()
            .for_each(|v| snapshot.put_view(Arc::new(v)));
        self.sequences
            .into_iter()
            .for_each(|s| snapshot.put_sequence(s));
        self.roles.into_iter().for_each(|r| snapshot.put_role(r));
        self.access
            .into_iter()
            .for_each(|(object, access)| snapshot.put_access(object, access));
        self.comments
            .into_iter()
            .for_each(|(on, text)| snapshot.put_comment(on, text.into()));
        let collections = self.collections.into_values();
        collections.for_each(|c| snapshot.put_collection(Arc::new(c)));
        self.jobs
            .into_iter()
            .for_each(|j| snapshot.put_job(Arc::new(j)));
        snapshot.link_all_partitions()?;
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{Change, Commit};
    use crate::storage::key_model::{ComputedKey, KeyFunction};
    use crate::storage::schema::FieldId;
    use crate::storage::stats::{Cell, Cells, SegmentStats, VectorStats};
    use crate::storage::testing::{new_collection, new_segment, same, training};

    #[test]
    fn a_trained_key_and_the_cells_of_segments_come_back() {
        let training = training();
        let (key, trained) = (training.key, training.model.id);
        let mut new = new_collection(1, "book");
        new.schema.next_field_id = trained;
        new.schema.clustering_key = vec![key];
        let function = KeyFunction::Vector(FieldId(1));
        new.schema.computed_keys = vec![ComputedKey { id: key, function }];
        let cells = [Cell::new(1, 8, 0.1), Cell::new(0, 2, f64::INFINITY)];
        let vectors = VectorStats {
            field: FieldId(1),
            centroid: String::new(),
            decoded: Default::default(),
            radius: f64::MAX,
            null_count: 0,
            cells: Some(Cells {
                key: trained,
                cells: cells.to_vec(),
            }),
        };
        let mut segment = new_segment(9, 10);
        segment.sorted_by = vec![trained];
        segment.stats = Arc::new(SegmentStats {
            vectors: vec![vectors],
            ..SegmentStats::default()
        });
        let collection = new.id;
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 5,
            changes: vec![
                Change::CreateCollection(new),
                Change::Train(collection, training),
                Change::AddSegments(collection, vec![segment]),
            ],
        };
        let snapshot = Snapshot::empty().apply(&commit).unwrap();
        let back = decode(encode(&snapshot).unwrap()).unwrap();
        same(&back, &snapshot);
        assert_eq!(back.collection_by_id(collection).unwrap().models().len(), 1);
    }

    #[test]
    fn what_makes_kept_versions_again_stays() {
        let first = |checkpoints: &[u64], oldest| {
            let checkpoints: Vec<Version> = checkpoints.iter().copied().map(Version).collect();
            first_needed(&checkpoints, Version(oldest)).map(|version| version.0)
        };
        assert_eq!(first(&[], 0), None);
        assert_eq!(first(&[10], 10), None);
        assert_eq!(first(&[10, 20], 20), Some(10));
        assert_eq!(first(&[10, 20, 30], 30), Some(20));
        assert_eq!(first(&[10, 20, 30], 25), Some(20));
        assert_eq!(first(&[10, 20, 30], 19), Some(10));
        assert_eq!(first(&[10, 20, 30], 9), None);
    }
}
