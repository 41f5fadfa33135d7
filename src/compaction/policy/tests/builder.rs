//! Collections for the tables of the policy's tests, built commit by commit.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use roaring::RoaringBitmap;

use super::super::*;
use crate::storage::change::{
    AlterCollection, Append, Change, Commit, NewCollection, NewSegment, QualifiedName, Training,
};
use crate::storage::key_model::{Codebook, ComputedKey, KeyFunction, KeyModel, Learned};
use crate::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, Version,
};
use crate::storage::snapshot::Snapshot;
use crate::storage::stats::{Bound, ColumnStats, SegmentStats};

pub const COLLECTION: CollectionId = CollectionId(1);
pub const KEY: FieldId = FieldId(0);

/// `book (key BIGINT CLUSTERING KEY)` with segments of at most so many rows.
pub fn book(segment_rows_max: u64) -> NewCollection {
    let column = Column {
        id: KEY,
        name: "key".into(),
        column_type: ColumnType::BigInt,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    let schema = CollectionSchema {
        columns: vec![column],
        primary_key: vec![],
        clustering_key: vec![KEY],
        partition_key: None,
        next_field_id: FieldId(1),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let options = CollectionOptions {
        segment_rows_max,
        ..CollectionOptions::default()
    };
    NewCollection {
        id: COLLECTION,
        name: QualifiedName::new("public", "book"),
        schema,
        options,
    }
}

/// A collection with segments of at most 1,000 rows, built commit by commit.
pub struct Builder {
    pub snapshot: Snapshot,
}

impl Builder {
    pub fn new(clustered: bool) -> Self {
        let mut new = book(1_000);
        if !clustered {
            new.schema.clustering_key.clear();
        }
        let snapshot = Snapshot::empty();
        Self { snapshot }.commit(Change::CreateCollection(new))
    }

    /// With settings of its own.
    pub fn own(self, settings: &[(&str, &str)]) -> Self {
        let mut options = self.collection().options.clone();
        for (name, value) in settings {
            let own = &mut options.own_settings;
            own.insert((*name).to_string(), (*value).to_string());
        }
        self.commit(Change::AlterCollection(AlterCollection {
            id: COLLECTION,
            name: None,
            schema: None,
            options: Some(options),
        }))
    }

    /// With a computed key, which is not trained.
    pub fn near(self) -> Self {
        let mut schema = CollectionSchema::clone(&self.collection().schema);
        let id = schema.next_field_id;
        schema.next_field_id.0 += 1;
        schema.clustering_key = vec![id];
        let function = KeyFunction::Vector(KEY);
        schema.computed_keys = vec![ComputedKey { id, function }];
        self.commit(Change::AlterCollection(AlterCollection {
            id: COLLECTION,
            name: None,
            schema: Some(schema),
            options: None,
        }))
    }

    /// With its computed key trained to something else than before.
    pub fn trained(self) -> Self {
        let schema = &self.collection().schema;
        let codebook = Codebook::new(1, &[(vec![0.0], vec![0.0])], 1.0);
        let training = Training {
            key: schema.clustering_key[0],
            model: KeyModel {
                id: schema.next_field_id,
                learned: Learned::Codebook(codebook),
            },
        };
        self.commit(Change::Train(COLLECTION, training))
    }

    pub fn commit(mut self, change: Change) -> Self {
        let commit = Commit {
            version: Version(self.snapshot.version().0 + 1),
            timestamp_ms: 0,
            changes: vec![change],
        };
        self.snapshot = self.snapshot.apply(&commit).unwrap();
        self
    }

    /// A segment of `rows` rows with keys `keys`, of which the first `dead` are deleted.
    pub fn segment(
        self,
        id: u64,
        rows: u64,
        keys: (i64, i64),
        dead: u32,
        run: Option<u64>,
    ) -> Self {
        let sorted_by = self.collection().sort_key().to_vec();
        let stats = ColumnStats {
            field: sorted_by.first().copied().unwrap_or(KEY),
            min: Some(Bound::Int(keys.0)),
            max: Some(Bound::Int(keys.1)),
            min_exact: true,
            max_exact: true,
            null_count: 0,
            nan_count: 0,
        };
        let stats = SegmentStats {
            columns: vec![stats],
            memory_bytes: rows * 8,
            ..SegmentStats::default()
        };
        let segment = NewSegment {
            id: SegmentId(id),
            rows,
            bytes: rows,
            crc32c: 0,
            sorted_by,
            run: run.map(JobId),
            level: u8::from(run.is_some()),
            stats: Arc::new(stats),
            filters: vec![],
            deletes: RoaringBitmap::new(),
        };
        let added = self.commit(Change::AddSegments(COLLECTION, vec![segment]));
        if dead == 0 {
            return added;
        }
        let deletes = RoaringBitmap::from_sorted_iter(0..dead).unwrap();
        added.commit(Change::Delete(COLLECTION, SegmentId(id), deletes))
    }

    pub fn growing(self, id: u64, rows: i64) -> Self {
        let schema = self.collection().schema.arrow_schema();
        let values = Int64Array::from_iter_values(0..rows);
        let rows = RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap();
        self.commit(Change::Append(Append {
            collection: COLLECTION,
            segment: SegmentId(id),
            rows,
        }))
    }

    pub fn collection(&self) -> &Collection {
        self.snapshot.collection_by_id(COLLECTION).unwrap()
    }

    pub fn choose(&self, kind: JobKind, options: JobOptions) -> Choice {
        let request = Request { kind, options };
        choose(self.collection(), &request, &Settings::default(), 1_000).unwrap()
    }

    /// Groups as text: `1,2 3+same`, or `-` for nothing to do.
    pub fn groups(&self, kind: JobKind, options: JobOptions) -> String {
        let Choice::Work(work) = self.choose(kind, options) else {
            return "-".into();
        };
        let text = |group: &Group| {
            let ids: Vec<String> = group.inputs.iter().map(ToString::to_string).collect();
            let run = match group.run {
                Run::None => String::new(),
                Run::Same(run) => format!("+same{run}"),
                Run::New => "+new".into(),
            };
            ids.join(",") + &run
        };
        work.groups.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    pub fn asked(&self, kind: JobKind) -> String {
        self.groups(kind, JobOptions::default())
    }

    pub fn automatic(&self, kind: JobKind) -> String {
        let options = JobOptions {
            automatic: true,
            ..JobOptions::default()
        };
        self.groups(kind, options)
    }
}
