use arrow::array::{AsArray, BooleanArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use super::random::Random;
use super::*;
use crate::error::Error;
use crate::storage::adapt::adapt_batch;
use crate::storage::schema::{Column, ColumnType};
use crate::storage::segment::{ROW_COLUMN, live_selection};
use crate::storage::stats::Bound;

fn fixture(random: &mut Random) -> Fixture {
    let schema = random.schema();
    let batches: Vec<RecordBatch> = (0..1 + random.below(3))
        .map(|_| {
            let rows = random.pick(&[0, 1, 10, 100, 700]);
            random.batch(&schema, rows)
        })
        .collect();
    let row_group_rows = random.pick(&[7, 64, 1000, 100_000]);
    Fixture::write(schema, &batches, row_group_rows)
}

#[test]
fn what_is_written_is_read() {
    for seed in 0..150 {
        let fixture = fixture(&mut Random(seed));
        let reader = fixture.open();
        let request = ReadRequest::all(&reader, Arc::clone(&fixture.schema), fixture.fields());
        let rows = read(&reader, request);
        assert_eq!(rows, fixture.rows, "seed {seed}");
        assert_eq!(reader.rows(), fixture.rows.num_rows() as u64);
        assert_eq!(fixture.written.rows, reader.rows());
    }
}

/// Any columns, row groups, selected rows, filter and batch size give the rows that a `take` gives.
#[test]
fn any_request_equals_a_take() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let fixture = fixture(&mut random);
        let reader = fixture.open();
        let mut fields = fixture.fields();
        random.shuffle(&mut fields);
        fields.truncate(random.below(fields.len() + 1));
        let mut row_groups: Vec<usize> = (0..reader.row_groups()).collect();
        row_groups.retain(|_| random.chance(70));
        let mut places: Vec<u32> = row_groups
            .iter()
            .flat_map(|g| reader.row_group_range(*g))
            .collect();
        let rows = random.chance(70).then(|| select(&mut random, &mut places));
        let filter = random.chance(50).then(|| {
            let fields = fixture.fields();
            let keep: Vec<bool> = (0..fixture.rows.num_rows())
                .map(|_| random.chance(30))
                .collect();
            let seen = std::sync::atomic::AtomicUsize::new(0);
            // The filter meets exactly the selected rows, in order.
            let of_filter: Vec<bool> = places.iter().map(|p| keep[*p as usize]).collect();
            places.retain(|place| keep[*place as usize]);
            let filter = move |batch: &RecordBatch| {
                let rows = batch.num_rows();
                let start = seen.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
                Ok(BooleanArray::from(of_filter[start..start + rows].to_vec()))
            };
            let count = random.below(fields.len() + 1);
            (
                fields[..count].to_vec(),
                Box::new(filter) as super::super::RowFilter,
            )
        });
        let request = ReadRequest {
            schema: Arc::clone(&fixture.schema),
            fields: fields.clone(),
            row_groups,
            rows,
            row_number: true,
            filter,
            batch_size: random.pick(&[1, 13, 8192]),
        };
        let found = read(&reader, request);
        let places = UInt32Array::from(places);
        let numbers = found.column_by_name(ROW_COLUMN).unwrap();
        assert_eq!(numbers.as_primitive::<UInt32Type>(), &places, "seed {seed}");
        let wanted = adapt_batch(&fixture.rows, &fixture.schema, &fields).unwrap();
        if fields.is_empty() {
            continue;
        }
        let wanted = take_record_batch(&wanted, &places).unwrap();
        let found = adapt_batch(&found, &fixture.schema, &fields).unwrap();
        assert_eq!(found, wanted, "seed {seed}");
    }
}

fn select(random: &mut Random, places: &mut Vec<u32>) -> RowSelection {
    let percent = random.pick(&[0, 2, 50, 98, 100]);
    if random.chance(50) {
        let ranges: Vec<_> = places.iter().map(|p| *p..*p + 1).collect();
        let deletes = places
            .iter()
            .copied()
            .filter(|_| random.chance(percent))
            .collect();
        let selection = live_selection(&deletes, ranges);
        places.retain(|p| !deletes.contains(*p));
        let all = || RowSelection::from(vec![RowSelector::select(places.len())]);
        return selection.unwrap_or_else(all);
    }
    let mut selectors = Vec::new();
    places.retain(|_| {
        let keep = random.chance(percent);
        selectors.push(match keep {
            true => RowSelector::select(1),
            false => RowSelector::skip(1),
        });
        keep
    });
    selectors.into()
}

#[test]
fn columns_renamed_added_and_dropped_are_matched_by_field_id() {
    let column = |id: u32, name: &str, column_type| Column {
        id: FieldId(id),
        name: name.into(),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    let old = CollectionSchema {
        columns: vec![
            column(1, "a", ColumnType::BigInt),
            column(2, "b", ColumnType::Text),
        ],
        primary_key: vec![],
        clustering_key: vec![],
        partition_key: None,
        next_field_id: FieldId(3),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let rows = Random(1).batch(&old, 100);
    let fixture = Fixture::write(old.clone(), &[rows], 30);
    let mut new = old;
    new.columns[0].name = "b".into();
    new.columns[1] = column(3, "a", ColumnType::BigInt);
    new.columns[1].missing = Some(Bound::Int(42));
    let reader = fixture.open();
    let request = ReadRequest {
        // A filter on nothing but the column that the file does not have.
        filter: Some((
            vec![FieldId(3)],
            Box::new(|batch| {
                let values = batch.column(0).as_primitive::<Int64Type>();
                Ok(values.iter().map(|v| Some(v == Some(42))).collect())
            }),
        )),
        ..ReadRequest::all(&reader, Arc::new(new), vec![FieldId(3), FieldId(1)])
    };
    let found = read(&reader, request);
    assert_eq!(found.num_rows(), 100);
    assert_eq!(found.schema().field(0).name(), "a");
    let values = found.column(0).as_primitive::<Int64Type>();
    assert!(values.iter().all(|v| v == Some(42)));
    assert_eq!(found.column(1), fixture.rows.column(0));
}

#[test]
fn an_error_of_the_filter_comes_through() {
    let fixture = fixture(&mut Random(3));
    let reader = fixture.open();
    let request = ReadRequest {
        filter: Some((
            fixture.fields(),
            Box::new(|_| Err(Error::limit("53200", "too much"))),
        )),
        ..ReadRequest::all(&reader, Arc::clone(&fixture.schema), fixture.fields())
    };
    let error = reader.read(request).unwrap().next().unwrap().unwrap_err();
    assert_eq!(error.sqlstate(), "53200");
}

#[test]
fn a_narrow_read_reads_few_bytes() {
    let mut random = Random(5);
    let column = |id: u32, column_type| Column {
        id: FieldId(id),
        name: format!("c{id}"),
        column_type,
        nullable: false,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    let schema = CollectionSchema {
        columns: vec![
            column(1, ColumnType::BigInt),
            column(2, ColumnType::Vector(300)),
        ],
        primary_key: vec![FieldId(1)],
        clustering_key: vec![],
        partition_key: None,
        next_field_id: FieldId(3),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let rows = random.batch(&schema, 5_000);
    let fixture = Fixture::write(schema, &[rows], 4_000);
    let reader = fixture.open();
    let mut one = RowSelection::from(vec![RowSelector::skip(4_500), RowSelector::select(1)]);
    let request = ReadRequest {
        rows: Some(std::mem::take(&mut one)),
        ..ReadRequest::all(
            &reader,
            Arc::clone(&fixture.schema),
            vec![FieldId(1), FieldId(2)],
        )
    };
    let mut batches = reader.read(request).unwrap();
    assert_eq!(batches.next().unwrap().unwrap().num_rows(), 1);
    assert!(batches.next().is_none());
    let whole = fixture.written.bytes;
    assert!(
        batches.bytes_read() < whole / 3,
        "{} of {whole}",
        batches.bytes_read()
    );
    assert!(batches.bytes_read() > 1_000);
}
