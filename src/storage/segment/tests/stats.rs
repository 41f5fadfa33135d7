use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use datafusion::common::ScalarValue;

use super::random::Random;
use super::*;
use crate::storage::bloom::{has_filter, hashes_of};
use crate::storage::collect::centroid;
use crate::storage::schema::{Column, ColumnType};
use crate::storage::stats::{ColumnBounds, PartitionStats};

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _ => false,
    }
}

/// Every value of `rows` lies within the bounds of container `i`.
fn check(bounds: &ColumnBounds, i: usize, rows: &ArrayRef, seed: u64) {
    let order = SortOptions::default();
    let below = make_comparator(&bounds.min, rows, order).unwrap();
    let above = make_comparator(rows, &bounds.max, order).unwrap();
    for row in 0..rows.len() {
        let value = ScalarValue::try_from_array(rows, row).unwrap();
        if value.is_null() {
            assert!(bounds.may_null[i], "seed {seed}");
        } else if is_nan(&value) {
            assert!(bounds.may_nan[i], "seed {seed}");
        } else {
            assert!(bounds.may_value[i], "seed {seed}");
            let inside = (bounds.min.is_null(i) || below(i, row).is_le())
                && (bounds.max.is_null(i) || above(row, i).is_le());
            assert!(inside, "seed {seed}: {value:?} in {bounds:?}");
        }
    }
}

/// Adding zeros of both signs must not leave the bounds: they are equal.
fn check_zeros(bounds: &ColumnBounds, i: usize, rows: &ArrayRef) {
    let has_zero = match rows.data_type() {
        DataType::Float64 => rows
            .as_primitive::<Float64Type>()
            .iter()
            .any(|v| v == Some(0.0)),
        DataType::Float32 => rows
            .as_primitive::<Float32Type>()
            .iter()
            .any(|v| v == Some(0.0)),
        _ => false,
    };
    if has_zero {
        let zeros: ArrayRef = match rows.data_type() {
            DataType::Float64 => Arc::new(arrow::array::Float64Array::from(vec![0.0, -0.0])),
            _ => Arc::new(arrow::array::Float32Array::from(vec![0.0, -0.0])),
        };
        check(bounds, i, &zeros, 0);
    }
}

#[test]
fn statistics_hold_at_every_level() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let schema = random.schema();
        let batches: Vec<RecordBatch> = (0..1 + random.below(3))
            .map(|_| {
                let rows = random.pick(&[0, 1, 5, 300, 5000]);
                random.batch(&schema, rows)
            })
            .collect();
        let row_group_rows = random.pick(&[7, 64, 3000, 100_000]);
        // NaN that nobody announced must do no harm.
        let fixture = if random.chance(50) {
            Fixture::write(schema, &batches, row_group_rows)
        } else {
            let options = CollectionOptions {
                row_group_rows_max: row_group_rows,
                ..Default::default()
            };
            Fixture::write_with(schema, &batches, &options, &HashSet::new())
        };
        check_segment(&fixture, seed);
        check_parts(&fixture, seed);
        check_vectors(&fixture, seed);
        check_blooms(&fixture, seed);
    }
}

/// No stored value is denied.
fn check_blooms(fixture: &Fixture, seed: u64) {
    let reader = fixture.open();
    for (i, column) in fixture.schema.columns.iter().enumerate() {
        let key = fixture.schema.clustering_key.contains(&column.id);
        let has = reader.filter_bytes(column.id).unwrap().is_some();
        let wanted = key && has_filter(&column.column_type);
        assert_eq!(has, wanted || reader.row_groups() == 0, "seed {seed}");
        for group in 0..reader.row_groups() {
            for row in reader.row_group_range(group) {
                let value = ScalarValue::try_from_array(fixture.rows.column(i), row as usize);
                let Some(hashes) = hashes_of(&value.unwrap()) else {
                    continue;
                };
                let maybe = reader.may_contain(group, column.id, &hashes).unwrap();
                assert!(maybe, "seed {seed}");
            }
        }
    }
}

fn check_segment(fixture: &Fixture, seed: u64) {
    let stats = &fixture.written.stats;
    let text = serde_json::to_string(stats).unwrap();
    assert_eq!(stats, &serde_json::from_str(&text).unwrap(), "seed {seed}");
    let built = PartitionStats::build(&fixture.schema, &[(fixture.written.rows, stats)]);
    for (i, column) in fixture.schema.columns.iter().enumerate() {
        let rows = fixture.rows.column(i);
        let Some(bounds) = built.column(column.id) else {
            assert!(!column.column_type.is_scalar());
            continue;
        };
        check(bounds, 0, rows, seed);
        check_zeros(bounds, 0, rows);
        let stats = stats.column(column.id).unwrap();
        assert_eq!(stats.null_count, rows.null_count() as u64);
        let values = (0..rows.len()).map(|r| ScalarValue::try_from_array(rows, r).unwrap());
        let values: Vec<ScalarValue> = values.filter(|v| !v.is_null()).collect();
        let nans = values.iter().filter(|v| is_nan(v)).count();
        assert_eq!(stats.nan_count, nans as u64);
        assert_eq!(stats.min.is_some(), values.len() > nans, "seed {seed}");
        let stored = |bound: &ScalarValue| values.iter().any(|v| v == bound || is_zero(bound));
        let edge = |array: &ArrayRef| ScalarValue::try_from_array(array, 0).unwrap();
        let (min, max) = (edge(&bounds.min), edge(&bounds.max));
        assert!(
            min.is_null() || !stats.min_exact || stored(&min),
            "seed {seed}: {min:?}"
        );
        assert!(
            max.is_null() || !stats.max_exact || stored(&max),
            "seed {seed}: {max:?}"
        );
    }
}

fn is_zero(value: &ScalarValue) -> bool {
    matches!(
        value,
        ScalarValue::Float32(Some(0.0)) | ScalarValue::Float64(Some(0.0))
    )
}

fn check_parts(fixture: &Fixture, seed: u64) {
    let reader = fixture.open();
    let stats = &fixture.written.stats;
    let groups = reader.row_group_stats(&fixture.schema, stats);
    assert_eq!(groups.containers, reader.row_groups());
    for group in 0..reader.row_groups() {
        let range = reader.row_group_range(group);
        let slice =
            |i: usize, start: u32, rows: usize| fixture.rows.column(i).slice(start as usize, rows);
        let pages = reader.page_stats(group, &fixture.schema, stats, &fixture.fields());
        if let Some((_, rows)) = &pages {
            assert_eq!(rows.first().unwrap().start, 0);
            assert_eq!(rows.last().unwrap().end as usize, range.len());
        }
        for (i, column) in fixture.schema.columns.iter().enumerate() {
            let Some(bounds) = groups.column(column.id) else {
                continue;
            };
            check(bounds, group, &slice(i, range.start, range.len()), seed);
            check_zeros(bounds, group, &slice(i, range.start, range.len()));
            let (pages, rows) = pages.as_ref().unwrap();
            for (page, rows) in rows.iter().enumerate() {
                let rows = slice(i, range.start + rows.start, rows.len());
                check(pages.column(column.id).unwrap(), page, &rows, seed);
            }
        }
    }
}

fn check_vectors(fixture: &Fixture, seed: u64) {
    for stats in &fixture.written.stats.vectors {
        let column = fixture.schema.index_of(stats.field).unwrap();
        let list = fixture.rows.column(column).as_fixed_size_list();
        assert_eq!(stats.null_count, list.null_count() as u64);
        let centroid = centroid(stats).unwrap();
        for vector in list.iter().flatten() {
            let values: Vec<f64> = match vector.data_type() {
                DataType::Float32 => {
                    let values = vector.as_primitive::<Float32Type>().values().iter();
                    values.map(|v| f64::from(*v)).collect()
                }
                _ => {
                    let values = vector.as_primitive::<Float16Type>().values().iter();
                    values.map(|v| f64::from(*v)).collect()
                }
            };
            let squares = values
                .iter()
                .zip(&centroid)
                .map(|(v, c)| (v - f64::from(*c)).powi(2));
            let distance: f64 = squares.sum::<f64>().sqrt();
            assert!(
                !distance.is_finite() || distance <= stats.radius,
                "seed {seed}"
            );
            if !distance.is_finite() {
                assert_eq!(stats.radius, f64::MAX);
            }
        }
    }
}

/// Statistics that say nothing would be sound too.
#[test]
fn statistics_are_tight_for_plain_numbers() {
    let schema = CollectionSchema {
        columns: vec![Column {
            id: FieldId(1),
            name: "a".into(),
            column_type: ColumnType::BigInt,
            nullable: false,
            default: None,
            missing: None,
            generated: None,
            domain: None,
        }],
        primary_key: vec![],
        clustering_key: vec![FieldId(1)],
        partition_key: None,
        next_field_id: FieldId(2),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let values: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(0..10_000));
    let rows = RecordBatch::try_new(schema.arrow_schema(), vec![values]).unwrap();
    let fixture = Fixture::write(schema, &[rows], 6_000);
    let reader = fixture.open();
    let stats = &fixture.written.stats;
    let groups = reader.row_group_stats(&fixture.schema, stats);
    let bounds = groups.column(FieldId(1)).unwrap();
    let values = |array: &ArrayRef| {
        array
            .as_primitive::<arrow::datatypes::Int64Type>()
            .values()
            .to_vec()
    };
    assert_eq!(values(&bounds.min), [0, 6_000]);
    assert_eq!(values(&bounds.max), [5_999, 9_999]);
    assert_eq!(bounds.may_null, [false, false]);
    let maybe = |v: i64| {
        let hashes = hashes_of(&ScalarValue::Int64(Some(v))).unwrap();
        reader.may_contain(0, FieldId(1), &hashes).unwrap()
    };
    let false_positives = (6_000..10_000).filter(|v| maybe(*v)).count();
    assert!(false_positives < 200, "{false_positives} of 4000");
    let (pages, rows) = reader
        .page_stats(1, &fixture.schema, stats, &[FieldId(1)])
        .unwrap();
    assert_eq!(rows, [0..2048, 2048..4000]);
    let bounds = pages.column(FieldId(1)).unwrap();
    assert_eq!(values(&bounds.min), [6_000, 8_048]);
    assert_eq!(values(&bounds.max), [8_047, 9_999]);
}
