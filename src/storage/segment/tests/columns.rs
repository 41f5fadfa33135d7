//! Columns that are kept decoded are those that a read gives.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};

use super::{Fixture, read};
use crate::storage::fetch::{sealed_rows, sealed_rows_kept};
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId, SegmentId};
use crate::storage::segment::{ColumnCache, ReadRequest};

const SEGMENT: SegmentId = SegmentId(1);
const NUMBER: FieldId = FieldId(1);
const FLAG: FieldId = FieldId(2);
const TEXT: FieldId = FieldId(3);

/// Two row groups of 500 rows of a number, a flag and a text.
fn fixture() -> Fixture {
    let column = |id, column_type| Column {
        id,
        name: format!("c{id}"),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    let schema = CollectionSchema {
        columns: vec![
            column(NUMBER, ColumnType::BigInt),
            column(FLAG, ColumnType::Boolean),
            column(TEXT, ColumnType::Text),
        ],
        primary_key: vec![],
        clustering_key: vec![],
        partition_key: None,
        next_field_id: FieldId(4),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let numbers = (0..1_000).map(|i| (i % 7 > 0).then_some(i));
    let flags = (0..1_000).map(|i| (i % 5 > 0).then_some(i % 2 == 0));
    let texts = (0..1_000).map(|i| Some(i.to_string()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(numbers)),
        Arc::new(BooleanArray::from_iter(flags)),
        Arc::new(StringArray::from_iter(texts)),
    ];
    let rows = RecordBatch::try_new(schema.arrow_schema(), columns).unwrap();
    Fixture::write(schema, &[rows], 500)
}

#[test]
fn columns_are_decoded_once() {
    let fixture = fixture();
    let reader = fixture.open();
    let cache = ColumnCache::new(1 << 20);
    let kept = |row_group, fields: &[FieldId]| {
        let found = cache.read(SEGMENT, &reader, row_group, &fixture.schema, fields);
        found.unwrap()
    };
    let plain = |row_group, fields: &[FieldId]| {
        let all = ReadRequest::all(&reader, Arc::clone(&fixture.schema), fields.to_vec());
        let row_groups = vec![row_group];
        read(&reader, ReadRequest { row_groups, ..all })
    };
    for row_group in [0, 1] {
        let (rows, bytes) = kept(row_group, &[NUMBER]).unwrap();
        assert_eq!(rows, plain(row_group, &[NUMBER]));
        assert!(bytes > 0);
        let both = [FLAG, NUMBER];
        let (rows, flag_bytes) = kept(row_group, &both).unwrap();
        assert_eq!(rows, plain(row_group, &both));
        assert!(flag_bytes > 0);
        assert_eq!(kept(row_group, &both).unwrap(), (rows, 0));
    }
    let with_text = [TEXT, NUMBER];
    let (rows, text_bytes) = kept(0, &with_text).unwrap();
    assert_eq!(rows, plain(0, &with_text));
    assert!(text_bytes > 0);
    assert_eq!(kept(0, &with_text).unwrap(), (rows, 0));
    cache.remove(SEGMENT);
    assert!(kept(0, &[NUMBER]).unwrap().1 > 0);
}

#[test]
fn parts_of_row_groups_are_decoded_once_or_cut_from_all() {
    let fixture = fixture();
    let reader = fixture.open();
    let cache = ColumnCache::new(1 << 20);
    let fields = [NUMBER, FLAG];
    let kept = |rows: Range<u32>| {
        let found = cache.read_rows(SEGMENT, &reader, rows, &fixture.schema, &fields);
        found.unwrap().unwrap()
    };
    for rows in [0..500, 3..10, 499..500, 500..1_000, 700..701] {
        let places: Vec<u32> = rows.clone().collect();
        let (plain, _) = sealed_rows(&reader, &fixture.schema, &fields, &places).unwrap();
        let is_whole = rows.len() == 500;
        let (found, bytes) = kept(rows.clone());
        assert_eq!(found, plain, "{rows:?}");
        assert_eq!(bytes > 0, is_whole, "{rows:?}");
    }
    cache.remove(SEGMENT);
    for rows in [3..10, 500..501] {
        let (first, bytes) = kept(rows.clone());
        assert!(bytes > 0);
        assert_eq!(kept(rows), (first, 0));
    }
}

#[test]
fn no_more_is_kept_than_may_be() {
    let fixture = fixture();
    let reader = fixture.open();
    let bytes = |cache: &ColumnCache, segment, row_group| {
        let segment = SegmentId(segment);
        let found = cache.read(segment, &reader, row_group, &fixture.schema, &[NUMBER]);
        found.unwrap().map(|(_, bytes)| bytes)
    };
    assert_eq!(bytes(&ColumnCache::new(0), 1, 0), None);
    // A row group may take an eighth: ten do not fit.
    let cache = ColumnCache::new(8 * 500 * 9);
    for segment in 1..11 {
        assert!(bytes(&cache, segment, 0) > Some(0));
    }
    assert_eq!(bytes(&cache, 10, 0), Some(0));
    assert!(bytes(&cache, 1, 0) > Some(0));
    assert_eq!(bytes(&cache, 10, 0), Some(0));
}

#[test]
fn a_column_is_decoded_for_few_rows_when_it_is_wanted_again() {
    let fixture = fixture();
    let reader = fixture.open();
    let cache = ColumnCache::new(1 << 20);
    let fields = [NUMBER, TEXT, FLAG];
    let mut bytes = Vec::new();
    for rows in [
        vec![3, 499, 500, 999],
        vec![0, 7, 501],
        vec![7, 8],
        vec![3, 999],
    ] {
        let (plain, _) = sealed_rows(&reader, &fixture.schema, &fields, &rows).unwrap();
        let of_cache = sealed_rows_kept(&cache, SEGMENT, &reader, &fixture.schema, &fields, &rows);
        let (found, read) = of_cache.unwrap();
        assert_eq!(found, plain);
        bytes.push(read);
    }
    // A row group is decoded at the second time.
    assert!(bytes[0] > 0 && bytes[1] > 0, "{bytes:?}");
    assert_eq!(bytes[2], 0);
}

#[test]
fn texts_that_are_large_are_not_kept() {
    let fixture = fixture();
    let reader = fixture.open();
    // The numbers of a row group may take an eighth, and its texts as well, but not both.
    let cache = ColumnCache::new(8 * 500 * 9);
    let read = |fields: &[FieldId]| {
        let found = cache.read(SEGMENT, &reader, 0, &fixture.schema, fields);
        found.unwrap().map(|(rows, _)| rows)
    };
    assert!(read(&[NUMBER]).is_some() && read(&[TEXT]).is_some());
    assert!(read(&[NUMBER, TEXT]).is_none());
    let cache = ColumnCache::new(8 * 500 * 5);
    let rows = [3, 499];
    let read =
        || sealed_rows_kept(&cache, SEGMENT, &reader, &fixture.schema, &[TEXT], &rows).unwrap();
    let (plain, bytes) = sealed_rows(&reader, &fixture.schema, &[TEXT], &rows).unwrap();
    for _ in 0..3 {
        assert_eq!(read(), (plain.clone(), bytes));
    }
}

/// Where the cache is full, columns that are asked for in turn do not push each other out.
#[test]
fn a_full_cache_keeps_what_is_wanted_oftener() {
    let fixture = fixture();
    let reader = fixture.open();
    let cache = ColumnCache::new(8 * 500 * 9);
    let decoded = |segment| {
        let of = SegmentId(segment);
        let found = cache.read_again(of, &reader, 0, &fixture.schema, NUMBER);
        found.unwrap().map(|(_, bytes)| bytes)
    };
    let each = |segments: Range<u64>| segments.map(decoded).collect::<Vec<_>>();
    assert!(each(1..20).iter().all(Option::is_none));
    // As many as fit are decoded, and stay while others are asked for now and then.
    let found = each(1..20);
    let kept = found.iter().take_while(|bytes| **bytes > Some(0)).count();
    assert!((1..10).contains(&kept), "{found:?}");
    assert!(found[kept..].iter().all(Option::is_none), "{found:?}");
    for _ in 0..3 {
        assert!(each(100..120).iter().all(Option::is_none));
        assert_eq!(each(1..kept as u64 + 1), vec![Some(0); kept]);
    }
    // What is wanted again at once comes in.
    assert_eq!(decoded(200), None);
    assert!(decoded(200) > Some(0));
    assert_eq!(decoded(200), Some(0));
}

/// A column that became NOT NULL when the rows without a value were deleted.
#[test]
fn deleted_rows_may_have_nulls_where_none_may_be() {
    let fixture = fixture();
    let reader = fixture.open();
    let mut schema = CollectionSchema::clone(&fixture.schema);
    schema.columns[0].nullable = false;
    let schema = Arc::new(schema);
    let cache = ColumnCache::new(1 << 20);
    let (all, _) = cache
        .read(SEGMENT, &reader, 0, &schema, &[NUMBER])
        .unwrap()
        .unwrap();
    assert_eq!((all.num_rows(), all.column(0).null_count()), (500, 72));
    let rows = [1, 499];
    let kept = sealed_rows_kept(&cache, SEGMENT, &reader, &schema, &[NUMBER], &rows).unwrap();
    let (plain, _) = sealed_rows(&reader, &schema, &[NUMBER], &rows).unwrap();
    assert_eq!(kept, (plain, 0));
}
