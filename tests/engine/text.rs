//! Values as the text that `.slt` files expect.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use shelfmark_udfs::{VectorType, format_vector};

const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_null("NULL")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));

/// The rows of a batch; the lines of an EXPLAIN are rows of their own.
pub fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    if names == ["plan_type", "plan"] {
        return plan_lines(batch);
    }
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|c| cell(c, row)).collect())
        .collect()
}

fn plan_lines(batch: &RecordBatch) -> Vec<Vec<String>> {
    let plans = cast(batch.column(1), &DataType::Utf8).unwrap();
    let lines = plans
        .as_string::<i32>()
        .iter()
        .flatten()
        .flat_map(str::lines);
    lines
        .map(|line| vec![line.trim().to_string()])
        .filter(|line| !line[0].is_empty())
        .collect()
}

fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_string();
    }
    if VectorType::of(array.data_type()).is_some() {
        let list = match array.as_fixed_size_list_opt() {
            Some(fixed) => fixed.value(row),
            None => array.as_list::<i32>().value(row),
        };
        let values = cast(&list, &DataType::Float32).unwrap();
        return format_vector(
            values
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .copied(),
        );
    }
    let formatter = ArrayFormatter::try_new(array, &OPTIONS).unwrap();
    let text = formatter.value(row).try_to_string().unwrap();
    match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => format!("\\x{text}"),
        _ if text.is_empty() => "(empty)".to_string(),
        _ => text.replace('\n', "\\n"),
    }
}
