//! Values as text, the way Postgres and pgvector write them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use shelfmark_udfs::format_vector;

use crate::catalog::infinity::Infinity;
use crate::error::{Error, Result};

/// Each value as text; NULL stays NULL. Structures become JSON.
///
/// # Errors
/// When Arrow cannot print a value, such as a date beyond its calendar.
pub fn text_of(array: &ArrayRef) -> Result<StringArray> {
    match array.data_type() {
        DataType::Null => Ok(StringArray::new_null(array.len())),
        DataType::Utf8 => Ok(array.as_string::<i32>().clone()),
        DataType::LargeUtf8 | DataType::Utf8View => {
            Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
        }
        DataType::Dictionary(_, values) => text_of(&cast(array, values)?),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => bytes_as_text(array),
        DataType::FixedSizeList(field, _) if field.data_type().is_floating() => {
            vectors_as_text(array)
        }
        DataType::List(field) if field.data_type().is_floating() && !field.is_nullable() => {
            vectors_as_text(array)
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            arrays_as_text(array)
        }
        nested if nested.is_nested() => json_of(array),
        DataType::Float16 => text_of(&cast(array, &DataType::Float32)?),
        _ => scalars_as_text(array),
    }
}

fn scalars_as_text(array: &ArrayRef) -> Result<StringArray> {
    let options = FormatOptions::default()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        match Infinity::in_row(array, row) {
            Some(infinity) => builder.append_value(infinity.name()),
            None => {
                formatter.value(row).write(&mut builder)?;
                builder.append_value("");
            }
        }
    }
    Ok(builder.finish())
}

fn bytes_as_text(array: &ArrayRef) -> Result<StringArray> {
    let binary = cast(array, &DataType::Binary)?;
    let mut builder = StringBuilder::new();
    for value in binary.as_binary::<i32>() {
        let Some(value) = value else {
            builder.append_null();
            continue;
        };
        let mut text = String::with_capacity(2 + value.len() * 2);
        text.push_str("\\x");
        for byte in value {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        builder.append_value(text);
    }
    Ok(builder.finish())
}

fn vectors_as_text(array: &ArrayRef) -> Result<StringArray> {
    let mut builder = StringBuilder::new();
    for row in 0..array.len() {
        match list_value(array, row) {
            Some(elements) => {
                let elements = cast(&elements, &DataType::Float32)?;
                let values = elements.as_primitive::<Float32Type>();
                builder.append_value(format_vector(values.values().iter().copied()));
            }
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

fn list_value(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_list::<i32>().value(row),
    })
}

/// `{a,"b c",NULL}`
fn arrays_as_text(array: &ArrayRef) -> Result<StringArray> {
    let mut builder = StringBuilder::new();
    for row in 0..array.len() {
        let Some(elements) = list_value(array, row) else {
            builder.append_null();
            continue;
        };
        let nested = elements.data_type().is_nested();
        let mut text = String::from("{");
        for (at, element) in text_of(&elements)?.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            match element {
                None => text.push_str("NULL"),
                Some(element) if nested && element.starts_with('{') => text.push_str(element),
                Some(element) => push_element(element, &mut text),
            }
        }
        text.push('}');
        builder.append_value(text);
    }
    Ok(builder.finish())
}

fn push_element(element: &str, out: &mut String) {
    let special = |c: char| matches!(c, ',' | '{' | '}' | '"' | '\\') || c.is_whitespace();
    let bare = !element.is_empty()
        && !element.contains(special)
        && !element.starts_with('[')
        && !element.eq_ignore_ascii_case("null");
    if bare {
        out.push_str(element);
        return;
    }
    out.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Each value as JSON.
///
/// # Errors
/// When Arrow has no JSON for the type.
pub fn json_of(array: &ArrayRef) -> Result<StringArray> {
    const BEFORE: &str = "{\"v\":";
    let schema = Schema::new(vec![Field::new("v", array.data_type().clone(), true)]);
    let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
    let batch =
        RecordBatch::try_new_with_options(Arc::new(schema), vec![Arc::clone(array)], &options)?;
    let mut builder = StringBuilder::new();
    for row in 0..batch.num_rows() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch.slice(row, 1))?;
        writer.finish()?;
        let line = String::from_utf8(writer.into_inner())
            .map_err(|_| Error::internal("JSON that is not UTF-8"))?;
        let value = line.trim_end().strip_prefix(BEFORE);
        let value = value.and_then(|v| v.strip_suffix('}')).unwrap_or("null");
        builder.append_value(value);
    }
    Ok(builder.finish())
}
