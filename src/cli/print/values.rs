//! Single values as text, in full or shortened for the eye.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use shelfmark_udfs::{VectorType, format_vector};

/// Longer text is cut when it is shortened.
const TEXT_CHARS_MAX: usize = 60;
/// Longer lists are cut when they are shortened.
const LIST_ITEMS_MAX: usize = 8;
/// What is left of a cut list.
const LIST_ITEMS_SHOWN: usize = 2;

const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_display_error(false)
    .with_null("NULL")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// All of it, so that a program can read it.
    Full,
    /// As much as a person wants to see, on one line.
    Short,
}

/// One column's values as text.
pub struct Values<'a> {
    array: &'a dyn Array,
    formatter: ArrayFormatter<'a>,
    length: Length,
}

impl<'a> Values<'a> {
    /// The values of every column of a batch.
    ///
    /// # Errors
    /// A type that has no text.
    pub fn of(batch: &'a RecordBatch, length: Length) -> Result<Vec<Self>, ArrowError> {
        batch
            .columns()
            .iter()
            .map(|array| Self::new(array, length))
            .collect()
    }

    fn new(array: &'a ArrayRef, length: Length) -> Result<Self, ArrowError> {
        let formatter = ArrayFormatter::try_new(array, &OPTIONS)?;
        Ok(Self {
            array,
            formatter,
            length,
        })
    }

    /// The text of a row; `None` is NULL.
    ///
    /// # Errors
    /// A value that has no text, such as a timestamp outside the calendar.
    pub fn text(&self, row: usize) -> Result<Option<String>, ArrowError> {
        if self.array.is_null(row) {
            return Ok(None);
        }
        let text = match self.list(row) {
            Some(list) => self.list_text(&list, row)?,
            None => self.formatter.value(row).try_to_string()?,
        };
        let text = match self.array.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => format!("\\x{text}"),
            _ => text,
        };
        Ok(Some(match self.length {
            Length::Full => text,
            Length::Short => shorten(&text),
        }))
    }

    fn list(&self, row: usize) -> Option<ArrayRef> {
        match self.array.data_type() {
            DataType::FixedSizeList(..) => Some(self.array.as_fixed_size_list().value(row)),
            DataType::List(_) => Some(self.array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => Some(self.array.as_list::<i64>().value(row)),
            _ => None,
        }
    }

    fn list_text(&self, list: &ArrayRef, row: usize) -> Result<String, ArrowError> {
        if self.length == Length::Short && list.len() > LIST_ITEMS_MAX {
            return short_list(list);
        }
        if VectorType::of(self.array.data_type()).is_none() {
            return self.formatter.value(row).try_to_string();
        }
        let values = cast(list, &DataType::Float32)?;
        let values = values.as_primitive::<Float32Type>().values();
        Ok(format_vector(values.iter().copied()))
    }
}

/// `[0.0123, -0.04, .. 384]`: the first items, and how many there are.
fn short_list(list: &ArrayRef) -> Result<String, ArrowError> {
    let head = list.slice(0, LIST_ITEMS_SHOWN);
    let mut text = String::from("[");
    if list.data_type().is_floating() {
        let head = cast(&head, &DataType::Float64)?;
        for value in head.as_primitive::<Float64Type>() {
            let _ = match value {
                Some(value) => write!(text, "{}, ", short_number(value)),
                None => write!(text, "NULL, "),
            };
        }
    } else {
        let formatter = ArrayFormatter::try_new(&head, &OPTIONS)?;
        for row in 0..head.len() {
            let _ = write!(text, "{}, ", formatter.value(row).try_to_string()?);
        }
    }
    let _ = write!(text, "… {}]", list.len());
    Ok(text)
}

/// Four digits behind the point, or four significant ones where that would show nothing.
fn short_number(value: f64) -> String {
    let magnitude = value.abs();
    if value != 0.0 && !(1e-3..1e6).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// One line, without control characters, not too long.
fn shorten(text: &str) -> String {
    let mut short = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(TEXT_CHARS_MAX) {
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Whether each column's values stand at the right edge.
pub fn right_aligned(schema: &Schema) -> Vec<bool> {
    schema
        .fields()
        .iter()
        .map(|f| f.data_type().is_numeric())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{BinaryArray, FixedSizeListArray, ListArray, StringArray};
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn text(array: ArrayRef, length: Length) -> Option<String> {
        Values::new(&array, length).unwrap().text(0).unwrap()
    }

    fn vector(values: Vec<f32>) -> ArrayRef {
        let field = Arc::new(Field::new("element", DataType::Float32, false));
        let length = values.len() as i32;
        let values = Arc::new(arrow::array::Float32Array::from(values));
        Arc::new(FixedSizeListArray::new(field, length, values, None))
    }

    #[test]
    fn long_vectors_are_shortened_only_for_the_eye() {
        let values: Vec<f32> = (0..384).map(|i| i as f32 / 8.0 - 0.0301).collect();
        assert_eq!(
            text(vector(values.clone()), Length::Short).unwrap(),
            "[-0.0301, 0.0949, … 384]"
        );
        assert_eq!(
            text(vector(values), Length::Full)
                .unwrap()
                .split(',')
                .count(),
            384
        );
        assert_eq!(
            text(vector(vec![1.0, 2.5]), Length::Short).unwrap(),
            "[1,2.5]"
        );
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!(short_number(0.0000123), "1.230e-5");
        assert_eq!(short_number(0.0), "0");
        assert_eq!(short_number(-1.5), "-1.5");
    }

    #[test]
    fn text_stays_on_one_line() {
        let long: ArrayRef = Arc::new(StringArray::from(vec![
            "a\nb".to_string() + &"c".repeat(100),
        ]));
        let short = text(Arc::clone(&long), Length::Short).unwrap();
        assert!(short.starts_with("a\\nbcc") && short.ends_with("c…"));
        assert_eq!(text(long, Length::Full).unwrap().len(), 103);
    }

    #[test]
    fn bytes_and_arrays_have_their_usual_text() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]));
        assert_eq!(text(bytes, Length::Full).unwrap(), "\\x00ff");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(text(Arc::new(list), Length::Full).unwrap(), "[1, NULL]");
    }
}
