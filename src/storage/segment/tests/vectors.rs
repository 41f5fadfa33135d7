use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::random::Random;
use super::*;
use crate::storage::schema::{Column, ColumnType};

fn vector_schema(column_type: ColumnType, nullable: bool) -> CollectionSchema {
    let column = |id: u32, column_type, nullable| Column {
        id: FieldId(id),
        name: format!("c{id}"),
        column_type,
        nullable,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    CollectionSchema {
        columns: vec![
            column(1, ColumnType::BigInt, false),
            column(2, column_type, nullable),
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
    }
}

/// The bytes of each vector; `None` for NULL.
fn raw(list: &ArrayRef) -> Vec<Option<Vec<u8>>> {
    let bytes = |vector: ArrayRef| -> Vec<u8> {
        match vector.data_type() {
            DataType::Float32 => {
                let values = vector.as_primitive::<Float32Type>().values().iter();
                values.flat_map(|v| v.to_le_bytes()).collect()
            }
            _ => {
                let values = vector.as_primitive::<Float16Type>().values().iter();
                values.flat_map(|v| v.to_le_bytes()).collect()
            }
        }
    };
    list.as_fixed_size_list()
        .iter()
        .map(|v| v.map(bytes))
        .collect()
}

fn fixtures() -> impl Iterator<Item = Fixture> {
    (0..60).map(|seed| {
        let mut random = Random(seed);
        let dimensions = random.pick(&[1, 2, 3, 8, 9, 100, 768, 2000]);
        let column_type = match random.chance(70) {
            true => ColumnType::Vector(dimensions),
            false => ColumnType::HalfVec(dimensions),
        };
        let schema = vector_schema(column_type, random.chance(60));
        let rows = (1 << 19) / dimensions.max(100) as usize;
        let batches: Vec<RecordBatch> = (0..2).map(|_| random.batch(&schema, rows)).collect();
        let row_group_rows = random.pick(&[rows as u64 + 100, 100, 1_000_000]);
        Fixture::write(schema, &batches, row_group_rows)
    })
}

/// The format as any Parquet reader sees it: data pages V2, PLAIN, uncompressed, whole rows, and behind the levels
/// exactly the matrix of the rows that are not NULL.
#[test]
fn pages_are_raw_matrices() {
    let mut several_pages = 0;
    for fixture in fixtures() {
        let wanted = raw(fixture.rows.column(1));
        let file = SerializedFileReader::new(fixture.file.reopen().unwrap()).unwrap();
        let (mut row, mut found) = (0, 0);
        for group in 0..file.num_row_groups() {
            let group = file.get_row_group(group).unwrap();
            let chunk = group.metadata().column(1);
            assert_eq!(
                chunk.compression(),
                parquet::basic::Compression::UNCOMPRESSED
            );
            assert!(chunk.statistics().is_none());
            let mut pages = group.get_column_page_reader(1).unwrap();
            while let Some(page) = pages.get_next_page().unwrap() {
                let Page::DataPageV2 {
                    buf,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    ..
                } = page
                else {
                    panic!("not a data page V2");
                };
                assert_eq!(encoding, Encoding::PLAIN);
                let rows = &wanted[row..row + num_rows as usize];
                assert_eq!(
                    rows.iter().filter(|v| v.is_none()).count(),
                    num_nulls as usize
                );
                let matrix: Vec<u8> = rows.iter().flatten().flatten().copied().collect();
                let values = &buf[(def_levels_byte_len + rep_levels_byte_len) as usize..];
                assert_eq!(values, matrix);
                row += num_rows as usize;
                found += 1;
            }
        }
        assert_eq!(row, wanted.len());
        several_pages += usize::from(found > 2 * file.num_row_groups());
    }
    assert!(several_pages > 3);
}

#[test]
fn pages_and_gathered_rows_are_what_was_written() {
    for (seed, fixture) in fixtures().enumerate() {
        let mut random = Random(seed as u64);
        let wanted = raw(fixture.rows.column(1));
        let reader = fixture.open();
        let pages = reader.vector_pages(FieldId(2)).unwrap().expect("raw pages");
        let mut buffer = MutableBuffer::new(0);
        let mut row = 0;
        for (i, page) in pages.pages().iter().enumerate() {
            assert_eq!(page.first_row as usize, row);
            let rows = &wanted[row..row + page.rows as usize];
            let matrix: Vec<u8> = rows.iter().flatten().flatten().copied().collect();
            assert_eq!(pages.read_page(i, &mut buffer).unwrap(), matrix);
            let places: Vec<u32> = page.valid_places().collect();
            let valid = (0..page.rows).filter(|place| rows[*place as usize].is_some());
            assert_eq!(places, valid.collect::<Vec<_>>());
            assert_eq!(page.valid_rows(), places.len());
            row += page.rows as usize;
        }
        assert_eq!(row, wanted.len());
        let percent = random.pick(&[0, 1, 20, 90, 100]);
        let rows: Vec<u32> = (0..wanted.len() as u32)
            .filter(|_| random.chance(percent))
            .collect();
        let stride = pages.vector_bytes();
        let mut target = vec![0xaa; rows.len() * stride];
        let nulls = pages.gather(&rows, &mut target).unwrap();
        for (i, row) in rows.iter().enumerate() {
            let valid = nulls.as_ref().is_none_or(|n| n.is_valid(i));
            let bytes = &target[i * stride..(i + 1) * stride];
            match &wanted[*row as usize] {
                Some(vector) => assert!(valid && bytes == vector),
                None => assert!(!valid && bytes.iter().all(|b| *b == 0)),
            }
        }
        assert!(
            pages
                .gather(&[wanted.len() as u32], &mut vec![0; stride])
                .is_err()
        );
    }
}

#[test]
fn other_columns_have_no_vector_pages() {
    let schema = vector_schema(ColumnType::Array(Box::new(ColumnType::Real)), true);
    let rows = Random(1).batch(&schema, 100);
    let reader = Fixture::write(schema, &[rows], 50).open();
    for field in 1..4 {
        assert!(reader.vector_pages(FieldId(field)).unwrap().is_none());
    }
}
