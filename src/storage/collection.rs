//! A collection at one version: its schema and its segments, all shared with the versions before it.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;
use rpds::RedBlackTreeMapSync;

use super::change::{NewCollection, NewSegment, QualifiedName, Training, View};
use super::growing::GrowingSegment;
use super::index::{Index, SegmentFilter};
use super::key_model::KeyModel;
use super::materialized::Materialized;
use super::schema::{
    CollectionId, CollectionOptions, CollectionSchema, FieldId, IndexId, JobId, SegmentId, Version,
};
use super::stats::{PartitionStats, SegmentStats};
use crate::error::{Error, Result};

/// A sealed segment: an immutable Parquet file, and which of its rows are deleted.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its identity and the name of its file.
    pub id: SegmentId,
    /// Rows in the file, deleted ones included.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
    /// The columns by which its rows are sorted.
    pub sorted_by: Arc<[FieldId]>,
    /// The clustering run it belongs to.
    pub run: Option<JobId>,
    /// How often its rows have been clustered.
    pub level: u8,
    /// The version that brought it.
    pub created: Version,
    /// What its columns can hold.
    pub stats: Arc<SegmentStats>,
    /// Its bloom filters of indexed columns.
    pub filters: Arc<[SegmentFilter]>,
    /// Places of deleted rows.
    pub deletes: Arc<RoaringBitmap>,
}

impl Segment {
    /// The segment as the commit of `created` brings it.
    pub fn from_new(new: &NewSegment, created: Version) -> Self {
        Self {
            id: new.id,
            rows: new.rows,
            bytes: new.bytes,
            crc32c: new.crc32c,
            sorted_by: new.sorted_by.as_slice().into(),
            run: new.run,
            level: new.level,
            created,
            stats: Arc::clone(&new.stats),
            filters: new.filters.as_slice().into(),
            deletes: Arc::new(new.deletes.clone()),
        }
    }

    /// The segment as a commit could bring it.
    pub fn to_new(&self) -> NewSegment {
        NewSegment {
            id: self.id,
            rows: self.rows,
            bytes: self.bytes,
            crc32c: self.crc32c,
            sorted_by: self.sorted_by.to_vec(),
            run: self.run,
            level: self.level,
            stats: Arc::clone(&self.stats),
            filters: self.filters.to_vec(),
            deletes: (*self.deletes).clone(),
        }
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows - self.deletes.len()
    }

    /// Its bloom filters of a column, if it has them.
    pub fn filter(&self, field: FieldId) -> Option<&SegmentFilter> {
        self.filters.iter().find(|f| f.field == field)
    }
}

/// That a segment has the rows.
pub(super) fn check_rows(rows: &RoaringBitmap, of: u64, segment: SegmentId) -> Result<()> {
    match rows.max() {
        Some(max) if u64::from(max) >= of => Err(Error::corrupted(format!(
            "a delete names row {max} of segment {segment}, which has {of} rows"
        ))),
        _ => Ok(()),
    }
}

/// A collection at one version.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its identity.
    pub id: CollectionId,
    /// Its name.
    pub name: QualifiedName,
    /// Its columns and keys.
    pub schema: Arc<CollectionSchema>,
    /// Its options.
    pub options: CollectionOptions,
    /// The query that its rows come from, of a materialized view.
    pub materialized: Option<Arc<Materialized>>,
    /// The version of the last change to the schema or the name.
    pub schema_version: Version,
    segments: RedBlackTreeMapSync<SegmentId, Arc<Segment>>,
    growing: Vec<Arc<GrowingSegment>>,
    indexes: Vec<Arc<Index>>,
    models: Vec<Arc<KeyModel>>,
    /// Those that its rows are divided among, in the order of their names.
    partitions: Arc<[Arc<View>]>,
    /// The partition that a statement writes rows by.
    written_by: Option<QualifiedName>,
    /// The version of the last training of a computed key, of this process: what was read before it opened is gone.
    pub(super) trained_version: Version,
    /// Built when first asked for; shared by versions with the same schema.
    arrow: Arc<OnceLock<SchemaRef>>,
    /// Built when first asked for; shared by versions with the same segments and schema.
    stats: Arc<OnceLock<PartitionStats>>,
}

impl Collection {
    /// An empty collection.
    pub fn new(new: &NewCollection, version: Version) -> Self {
        Self {
            id: new.id,
            name: new.name.clone(),
            schema: Arc::new(new.schema.clone()),
            options: new.options.clone(),
            materialized: None,
            schema_version: version,
            segments: RedBlackTreeMapSync::new_sync(),
            growing: Vec::new(),
            indexes: Vec::new(),
            models: Vec::new(),
            partitions: Arc::default(),
            written_by: None,
            trained_version: Version(0),
            arrow: Arc::default(),
            stats: Arc::default(),
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.materialized {
            Some(_) => "materialized view",
            None => "table",
        }
    }

    /// Whether it may be read: a materialized view once it has its rows.
    pub fn is_populated(&self) -> bool {
        self.materialized.as_ref().is_none_or(|of| of.populated)
    }

    /// The partitions of a partitioned collection, in the order of their names.
    pub fn partitions(&self) -> &[Arc<View>] {
        &self.partitions
    }

    /// Whether rows find the same partitions as in another version of the collection.
    pub fn is_divided_like(&self, other: &Self) -> bool {
        self.schema.partitioning == other.schema.partitioning
            && (Arc::ptr_eq(&self.partitions, &other.partitions)
                || self.partitions == other.partitions)
    }

    pub(super) fn set_partitions(&mut self, partitions: Vec<Arc<View>>) {
        self.partitions = partitions.into();
    }

    /// The collection for a statement whose new rows are rows of one of its partitions.
    pub fn by_partition(&self, name: &QualifiedName) -> Self {
        Self {
            written_by: Some(name.clone()),
            ..self.clone()
        }
    }

    /// The partition that a statement writes rows by, if it names one.
    pub fn written_by(&self) -> Option<&QualifiedName> {
        self.written_by.as_ref()
    }

    /// The collection with these segments in place of its own.
    pub fn with_segments(
        &self,
        segments: impl IntoIterator<Item = Segment>,
        growing: Vec<Arc<GrowingSegment>>,
    ) -> Self {
        let segments = segments.into_iter().map(|s| (s.id, Arc::new(s)));
        Self {
            segments: segments.collect(),
            growing,
            stats: Arc::default(),
            ..self.clone()
        }
    }

    /// The Arrow schema of the columns: the same one for all rows that come as long as they do not change.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(self.arrow.get_or_init(|| self.schema.arrow_schema()))
    }

    /// The sealed segments in order of their ids.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Arc<Segment>> {
        self.segments.values()
    }

    /// The sealed segment of that id.
    pub fn segment(&self, id: SegmentId) -> Option<&Arc<Segment>> {
        self.segments.get(&id)
    }

    /// The growing segments, oldest first.
    pub fn growing(&self) -> &[Arc<GrowingSegment>] {
        &self.growing
    }

    /// The growing segment of that id.
    pub fn growing_segment(&self, id: SegmentId) -> Option<&Arc<GrowingSegment>> {
        self.growing.iter().find(|g| g.id == id)
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        let sealed: u64 = self.segments().map(|s| s.live_rows()).sum();
        sealed + self.growing.iter().map(|g| g.live_rows()).sum::<u64>()
    }

    /// The indexes, oldest first.
    pub fn indexes(&self) -> &[Arc<Index>] {
        &self.indexes
    }

    /// What a computed item of the clustering key was trained to, if it was.
    pub fn model(&self, id: FieldId) -> Option<&Arc<KeyModel>> {
        self.models.iter().find(|model| model.id == id)
    }

    /// What the computed items of the clustering key were trained to.
    pub fn models(&self) -> &[Arc<KeyModel>] {
        &self.models
    }

    /// What rows can be sorted by: the clustering key up to its first computed item that is not trained yet.
    pub fn sort_key(&self) -> &[FieldId] {
        let key = &self.schema.clustering_key;
        let known =
            |id: &&FieldId| self.schema.computed_key(**id).is_none() || self.model(**id).is_some();
        &key[..key.iter().take_while(known).count()]
    }

    /// The columns of which every segment should have bloom filters, each once.
    pub fn filter_fields(&self) -> Vec<FieldId> {
        let indexes = self.indexes.iter();
        let mut fields: Vec<_> = indexes
            .flat_map(|i| i.filter_fields(&self.schema))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// PartitionStats of the sealed segments, one slot per segment in the order of [`Collection::segments`].
    pub fn partition_stats(&self) -> &PartitionStats {
        self.stats.get_or_init(|| {
            let stats: Vec<_> = self.segments().map(|s| (s.rows, &*s.stats)).collect();
            PartitionStats::build(&self.schema, &stats)
        })
    }

    pub(super) fn rename(&mut self, name: QualifiedName, version: Version) {
        self.name = name;
        self.schema_version = version;
    }

    /// The collection with other columns and keys, for those who look ahead.
    pub fn with_schema(&self, schema: CollectionSchema) -> Self {
        let mut altered = self.clone();
        altered.replace_schema(schema);
        altered
    }

    fn replace_schema(&mut self, schema: CollectionSchema) {
        self.schema = Arc::new(schema);
        self.arrow = Arc::default();
    }

    pub(super) fn set_schema(&mut self, schema: CollectionSchema, version: Version) {
        self.replace_schema(schema);
        self.schema_version = version;
        self.stats = Arc::default();
        let has = |id: &FieldId| self.schema.column_by_id(*id).is_some();
        self.indexes.retain(|index| index.columns.iter().all(has));
        let is_used = |model: &Arc<KeyModel>| self.schema.computed_key(model.id).is_some();
        self.models.retain(is_used);
        self.drop_needless_filters();
    }

    /// Puts what an item was trained to in place of the item.
    ///
    /// # Errors
    /// 40001 when there is no such item, or its next id is taken.
    pub fn train(&mut self, training: &Training, version: Version) -> Result<()> {
        let mut schema = CollectionSchema::clone(&self.schema);
        let id = training.model.id;
        let computed = schema
            .computed_keys
            .iter_mut()
            .find(|k| k.id == training.key);
        let item = schema
            .clustering_key
            .iter_mut()
            .find(|k| **k == training.key);
        let (Some(computed), Some(item), true) = (computed, item, id == schema.next_field_id)
        else {
            let message = format!(
                "the clustering key of \"{}\" was changed meanwhile",
                self.name
            );
            return Err(Error::conflict(message));
        };
        (computed.id, *item) = (id, id);
        schema.next_field_id.0 += 1;
        self.replace_schema(schema);
        self.models.retain(|model| model.id != training.key);
        self.models.push(Arc::new(training.model.clone()));
        self.trained_version = version;
        Ok(())
    }

    pub(super) fn put_model(&mut self, model: KeyModel) {
        self.models.push(Arc::new(model));
    }

    /// A unique one is as a change of the schema to those who write rows.
    pub(super) fn put_index(&mut self, index: Index, version: Version) {
        if index.is_unique {
            self.schema_version = version;
        }
        // One that is made again stays where it was: rows are looked up in this order.
        let at = self.indexes.partition_point(|other| other.id < index.id);
        self.indexes.insert(at, Arc::new(index));
    }

    /// Whether there was such an index.
    pub(super) fn remove_index(&mut self, id: IndexId) -> bool {
        let before = self.indexes.len();
        self.indexes.retain(|index| index.id != id);
        self.drop_needless_filters();
        self.indexes.len() < before
    }

    /// Whether there was such an index.
    pub(super) fn rename_index(&mut self, id: IndexId, name: &str) -> bool {
        let Some(index) = self.indexes.iter_mut().find(|index| index.id == id) else {
            return false;
        };
        Arc::make_mut(index).name = name.to_string();
        true
    }

    /// What errors call a segment of the collection.
    pub fn segment_label(&self, id: SegmentId) -> String {
        format!("collection \"{}\", segment {id}", self.name)
    }

    /// Forgets filter files of columns that no index names any more. What is in a segment's file stays there.
    fn drop_needless_filters(&mut self) {
        let wanted = self.filter_fields();
        let needless = |f: &SegmentFilter| f.file().is_some() && !wanted.contains(&f.field);
        let changed: Vec<Segment> = self
            .segments()
            .filter(|segment| segment.filters.iter().any(needless))
            .map(|segment| {
                let kept = segment.filters.iter().filter(|f| !needless(f));
                Segment {
                    filters: kept.cloned().collect(),
                    ..Segment::clone(segment)
                }
            })
            .collect();
        for segment in changed {
            self.segments.insert_mut(segment.id, Arc::new(segment));
        }
    }

    /// Gives a segment more filters: of indexed columns that it had none of.
    pub(super) fn add_filters(&mut self, id: SegmentId, filters: &[SegmentFilter]) -> Result<()> {
        let segment = self
            .segment(id)
            .ok_or_else(|| Error::conflict(format!("segment {id} of \"{}\" is gone", self.name)))?;
        let wanted = self.filter_fields();
        let fits =
            |f: &SegmentFilter| wanted.contains(&f.field) && segment.filter(f.field).is_none();
        if !filters.iter().all(fits) {
            let message = format!("the indexes of \"{}\" were changed meanwhile", self.name);
            return Err(Error::conflict(message));
        }
        let mut next = Segment::clone(segment);
        next.filters = next.filters.iter().chain(filters).cloned().collect();
        self.segments.insert_mut(id, Arc::new(next));
        Ok(())
    }

    /// Puts a segment in.
    ///
    /// # Errors
    /// XX001 for deletes of rows that it does not have.
    pub(super) fn insert_segment(&mut self, segment: Segment) -> Result<()> {
        check_rows(&segment.deletes, segment.rows, segment.id)?;
        self.segments.insert_mut(segment.id, Arc::new(segment));
        self.stats = Arc::default();
        Ok(())
    }

    /// Replaces a segment by the same one with other deletes: its statistics stay.
    pub(super) fn replace_deletes(&mut self, segment: Segment) {
        self.segments.insert_mut(segment.id, Arc::new(segment));
    }

    pub(super) fn remove_segment(&mut self, id: SegmentId) -> bool {
        let before = self.growing.len();
        self.growing.retain(|g| g.id != id);
        if self.growing.len() < before {
            return true;
        }
        self.stats = Arc::default();
        self.segments.remove_mut(&id)
    }

    pub(super) fn put_growing(&mut self, segment: GrowingSegment) {
        let segment = Arc::new(segment);
        match self.growing.iter_mut().find(|g| g.id == segment.id) {
            Some(slot) => *slot = segment,
            None => self.growing.push(segment),
        }
    }

    pub(super) fn clear(&mut self) {
        self.segments = RedBlackTreeMapSync::new_sync();
        self.growing.clear();
        self.stats = Arc::default();
    }
}
