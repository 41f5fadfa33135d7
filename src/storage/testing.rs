//! Small values that storage tests share.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::change::{Append, Change, NewCollection, NewSegment, QualifiedName, Training};
use super::collection::Collection;
use super::index::{Index, IndexKey, IndexPart};
use super::key_model::{Codebook, KeyModel, Learned};
use super::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, IndexId,
    SegmentId, SequenceId,
};
use super::sequence::{Position, Sequence};
use super::snapshot::Snapshot;

/// The schema of one column `id BIGINT`.
pub(crate) fn schema() -> CollectionSchema {
    CollectionSchema {
        columns: vec![Column {
            id: FieldId(1),
            name: "id".into(),
            column_type: ColumnType::BigInt,
            nullable: false,
            default: None,
            missing: None,
            generated: None,
            domain: None,
        }],
        primary_key: vec![FieldId(1)],
        clustering_key: vec![FieldId(1)],
        partition_key: None,
        next_field_id: FieldId(2),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    }
}

/// The sequence of CREATE SEQUENCE without options.
pub(crate) fn sequence(name: &str) -> Sequence {
    Sequence {
        id: SequenceId(7),
        name: QualifiedName::new("public", name),
        data_type: ColumnType::BigInt,
        increment: 1,
        min: 1,
        max: i64::MAX,
        start: 1,
        cycle: false,
        cache: 1,
        owner: None,
        generation: 7,
        position: Position {
            last: 1,
            is_called: false,
        },
    }
}

/// A collection with [`schema`].
pub(crate) fn new_collection(id: u64, name: &str) -> NewCollection {
    NewCollection {
        id: CollectionId(id),
        name: QualifiedName::new("public", name),
        schema: schema(),
        options: CollectionOptions::default(),
    }
}

/// What trains a computed key of a collection with [`schema`] and that key.
pub(crate) fn training() -> Training {
    let codebook = Codebook::new(2, &[(vec![0.1, 2.0], vec![0.1, 2.0, f32::MAX, -0.0])], 0.7);
    Training {
        key: FieldId(2),
        model: KeyModel {
            id: FieldId(3),
            learned: Learned::Codebook(codebook),
        },
    }
}

/// A sealed segment without a file.
pub(crate) fn new_segment(id: u64, rows: u64) -> NewSegment {
    NewSegment {
        id: SegmentId(id),
        rows,
        bytes: rows * 8,
        crc32c: 0,
        sorted_by: vec![FieldId(1)],
        run: None,
        level: 0,
        stats: Arc::default(),
        filters: vec![],
        deletes: Default::default(),
    }
}

/// An index on the column of [`schema`].
pub(crate) fn index(id: u64, name: &str) -> Index {
    Index {
        id: IndexId(id),
        name: name.to_string(),
        method: "btree".to_string(),
        keys: vec![IndexKey {
            part: IndexPart::Column(FieldId(1)),
            operator_class: None,
            descending: false,
            nulls_first: None,
        }],
        include: vec![],
        is_unique: false,
        options: vec![],
        is_constraint: false,
        nulls_equal: false,
        predicate: None,
        columns: vec![FieldId(1)],
    }
}

/// Rows of [`schema`].
pub(crate) fn rows(ids: &[i64]) -> RecordBatch {
    let ids = Int64Array::from(ids.to_vec());
    RecordBatch::try_new(schema().arrow_schema(), vec![Arc::new(ids)]).unwrap()
}

/// An append whose segment the committer chooses.
pub(crate) fn append(collection: u64, ids: &[i64]) -> Change {
    append_to(collection, 0, ids)
}

/// An append to a segment.
pub(crate) fn append_to(collection: u64, segment: u64, ids: &[i64]) -> Change {
    Change::Append(Append {
        collection: CollectionId(collection),
        segment: SegmentId(segment),
        rows: rows(ids),
    })
}

/// Every growing row that is not deleted, in order.
pub(crate) fn growing_ids(collection: &Collection) -> Vec<i64> {
    let mut ids = Vec::new();
    for segment in collection.growing() {
        let batches = segment.batches().iter();
        let all = batches.flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec());
        let live = all
            .enumerate()
            .filter(|(row, _)| !segment.deletes.contains(*row as u32));
        ids.extend(live.map(|(_, id)| id));
    }
    ids
}

/// The name `public.<name>`.
pub(crate) fn name(name: &str) -> QualifiedName {
    QualifiedName::new("public", name)
}

/// A delete of rows by their places.
pub(crate) fn delete(collection: u64, segment: u64, rows: &[u32]) -> Change {
    let rows = rows.iter().copied().collect();
    Change::Delete(CollectionId(collection), SegmentId(segment), rows)
}

/// That two snapshots have the same content.
pub(crate) fn same(found: &Snapshot, expected: &Snapshot) {
    assert_eq!(describe(found), describe(expected));
}

/// Everything that a snapshot has, as text.
pub(crate) fn describe(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "version {} at {} next id {}\n",
        snapshot.version(),
        snapshot.timestamp_ms(),
        snapshot.next_id()
    );
    let mut schemas: Vec<_> = snapshot.schemas().collect();
    schemas.sort();
    let views: Vec<_> = snapshot.views().collect();
    let jobs: Vec<_> = snapshot.jobs().collect();
    text += &format!("{schemas:?}\n{views:?}\n{jobs:?}\n");
    let roles: Vec<_> = snapshot.roles().collect();
    let access: Vec<_> = snapshot.authority().accesses().collect();
    text += &format!("{roles:?}\n{access:?}\n");
    for c in snapshot.collections() {
        let segments: Vec<_> = c.segments().collect();
        let (name, since) = (&c.name, c.schema_version);
        text += &format!(
            "{name} {:?} {since} {:?} {:?} {:?} {segments:?}\n",
            c.schema,
            c.options,
            c.indexes(),
            c.models()
        );
        for g in c.growing() {
            // However the batches were put together.
            let columns = g.batches().first().map_or(0, RecordBatch::num_columns);
            let column = |i| {
                let parts: Vec<_> = g.batches().iter().map(|b| &**b.column(i)).collect();
                arrow::compute::concat(&parts).unwrap()
            };
            let rows: Vec<_> = (0..columns).map(column).collect();
            let (id, created, deletes) = (g.id, g.created_ms, &g.deletes);
            text += &format!("{id} {created} {} {deletes:?} {rows:?}\n", g.rows);
        }
    }
    text
}

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % end
    }

    /// Brings a list into another order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}
