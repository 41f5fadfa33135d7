//! Objects of JSON files, before their values are cast.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::sql::copy::bad_file;

/// Objects of a JSON file: one a line, or all in one array.
pub(super) struct JsonReader<R> {
    input: BufReader<R>,
    line: u64,
    buffer: String,
    /// The rest of a file that is one array.
    array: Option<std::vec::IntoIter<Value>>,
}

impl<R: Read> JsonReader<R> {
    pub(super) fn new(input: R) -> Self {
        let input = BufReader::with_capacity(1 << 20, input);
        Self {
            input,
            line: 0,
            buffer: String::new(),
            array: None,
        }
    }

    /// The next object, and its line (in a file that is one array: its number); `None` at the end.
    ///
    /// # Errors
    /// 22P04 for what is no JSON object, with the line.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Map<String, Value>)>> {
        if let Some(array) = &mut self.array {
            self.line += 1;
            return array
                .next()
                .map(|value| object(self.line, value))
                .transpose();
        }
        loop {
            self.buffer.clear();
            let read = self
                .input
                .read_line(&mut self.buffer)
                .map_err(|e| Error::io(format!("read line {}", self.line + 1), e))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let text = self.buffer.trim();
            if self.line == 1 && text.starts_with('[') {
                return self.read_array();
            }
            if !text.is_empty() {
                let value = serde_json::from_str(text)
                    .map_err(|e| bad_file(format!("line {}: {e}", self.line)))?;
                return object(self.line, value).map(Some);
            }
        }
    }

    /// Reads a file that is one array, whole.
    fn read_array(&mut self) -> Result<Option<(u64, Map<String, Value>)>> {
        self.input
            .read_to_string(&mut self.buffer)
            .map_err(|e| Error::io("read the JSON array", e))?;
        let values: Vec<Value> =
            serde_json::from_str(&self.buffer).map_err(|e| bad_file(e.to_string()))?;
        self.line = 0;
        self.array = Some(values.into_iter());
        self.next()
    }
}

fn object(line: u64, value: Value) -> Result<(u64, Map<String, Value>)> {
    match value {
        Value::Object(object) => Ok((line, object)),
        _ => Err(bad_file(format!("line {line}: not a JSON object"))),
    }
}

/// A JSON value as the text that casts to its column's type.
pub(super) fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
