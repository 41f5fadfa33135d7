//! An error of one row, so that its caller can say where the row came from.

use crate::error::{Error, sqlstate};

/// What is wrong with a value, and the place of its row in the batch.
#[derive(Debug)]
pub struct RowError {
    /// The row in its batch, from 0; `None` when the whole batch is at fault.
    pub row: Option<usize>,
    /// What is wrong.
    pub error: Error,
}

impl RowError {
    /// An error of the row.
    pub fn new(row: usize, error: impl Into<Error>) -> Self {
        Self {
            row: Some(row),
            error: error.into(),
        }
    }

    /// The same error of another row: that of the list that holds an element.
    pub(super) fn moved(self, to: impl FnOnce(usize) -> usize) -> Self {
        Self {
            row: self.row.map(to),
            error: self.error,
        }
    }
}

impl<E: Into<Error>> From<E> for RowError {
    fn from(error: E) -> Self {
        Self {
            row: None,
            error: error.into(),
        }
    }
}

/// How much of a user's text a message repeats, in characters.
const QUOTE_CHARS_MAX: usize = 64;

/// A user's text, short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// 22P02, or another code for text that is no value of the type.
pub(super) fn syntax(code: &'static str, type_name: &str, text: &str) -> Error {
    let text = shorten(text);
    Error::invalid(
        code,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

/// 22003 for a number that the type cannot hold.
pub(super) fn out_of_range(type_name: &str) -> Error {
    Error::invalid(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("{type_name} out of range"),
    )
}

/// 22003 for text of such a number.
pub(super) fn text_out_of_range(type_name: &str, text: &str) -> Error {
    let text = shorten(text.trim());
    Error::invalid(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{text}\" is out of range for type {type_name}"),
    )
}
