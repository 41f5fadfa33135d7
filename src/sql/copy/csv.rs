//! Records of CSV, with the line each begins on and which fields were quoted: an unquoted empty field is NULL and a
//! quoted one is the empty string, as Postgres has it and as libraries do not tell.

use std::io::{BufRead, BufReader, Read};

use super::bad_file;
use crate::error::{Error, Result};

/// The longest record in bytes; a quote that is never closed ends here.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: u8,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// Reads records one by one.
pub(super) struct CsvReader<R> {
    input: BufReader<R>,
    syntax: Syntax,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: Read> CsvReader<R> {
    pub(super) fn new(input: R, syntax: Syntax) -> Self {
        let input = BufReader::with_capacity(1 << 20, input);
        Self {
            input,
            syntax,
            line: 0,
            buffer: Vec::new(),
        }
    }

    /// The next record into `fields`, and the line it begins on; `None` at the end.
    ///
    /// # Errors
    /// 22P04 for a quote that is not closed or text behind a closed one, 22021 for what is not UTF-8, with the line.
    pub(super) fn next(&mut self, fields: &mut Vec<Field>) -> Result<Option<u64>> {
        fields.clear();
        if !self.read_line()? {
            return Ok(None);
        }
        let first = self.line;
        let mut at = 0;
        loop {
            let (field, end) = self.field(at, first)?;
            fields.push(field);
            match self.buffer.get(end) {
                Some(byte) if *byte == self.syntax.delimiter => at = end + 1,
                None => return Ok(Some(first)),
                Some(_) => {
                    let message = format!("line {}: text behind a closing quote", self.line);
                    return Err(bad_file(message));
                }
            }
        }
    }

    /// Puts the next line, without its end, behind what the buffer has.
    fn append_line(&mut self) -> Result<bool> {
        let before = self.buffer.len();
        let mut limited = (&mut self.input).take(RECORD_BYTES_MAX as u64 + 1);
        let read = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|e| Error::io(format!("read line {}", self.line + 1), e))?;
        if self.buffer.len() > RECORD_BYTES_MAX {
            return Err(bad_file(format!(
                "line {}: the record is too long",
                self.line + 1
            )));
        }
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.len() > before && self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        Ok(true)
    }

    /// The next line that is not empty at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.buffer.clear();
        let read = self.append_line()?;
        if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
        Ok(read)
    }

    /// The field that begins at `at`, and where it ends.
    fn field(&mut self, at: usize, first: u64) -> Result<(Field, usize)> {
        if self.buffer.get(at) == Some(&self.syntax.quote) {
            return self.quoted(at + 1, first);
        }
        let rest = &self.buffer[at..];
        let length = rest
            .iter()
            .position(|b| *b == self.syntax.delimiter)
            .unwrap_or(rest.len());
        let text = self.utf8(rest[..length].to_vec())?;
        Ok((
            Field {
                text,
                quoted: false,
            },
            at + length,
        ))
    }

    fn quoted(&mut self, mut at: usize, first: u64) -> Result<(Field, usize)> {
        let Syntax { quote, escape, .. } = self.syntax;
        let mut bytes = Vec::new();
        loop {
            match (
                self.buffer.get(at).copied(),
                self.buffer.get(at + 1).copied(),
            ) {
                (Some(byte), Some(next)) if byte == escape && (next == quote || next == escape) => {
                    bytes.push(next);
                    at += 2;
                }
                (Some(byte), _) if byte == quote => {
                    let text = self.utf8(bytes)?;
                    return Ok((Field { text, quoted: true }, at + 1));
                }
                (Some(byte), _) => {
                    bytes.push(byte);
                    at += 1;
                }
                (None, _) => {
                    bytes.push(b'\n');
                    // The parts read so far are done with; the record goes on in the next line.
                    self.buffer.clear();
                    at = 0;
                    if bytes.len() > RECORD_BYTES_MAX || !self.append_line()? {
                        return Err(bad_file(format!("line {first}: unterminated quoted field")));
                    }
                }
            }
        }
    }

    fn utf8(&self, bytes: Vec<u8>) -> Result<String> {
        String::from_utf8(bytes).map_err(|_| {
            let message = format!(
                "line {}: invalid byte sequence for encoding \"UTF8\"",
                self.line
            );
            Error::invalid(crate::error::sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A record's line, and its fields with whether each was quoted.
    type Record = (u64, Vec<(String, bool)>);

    fn records(text: &str) -> Result<Vec<Record>> {
        let syntax = Syntax {
            delimiter: b',',
            quote: b'"',
            escape: b'"',
        };
        let mut reader = CsvReader::new(text.as_bytes(), syntax);
        let (mut fields, mut all) = (Vec::new(), Vec::new());
        while let Some(line) = reader.next(&mut fields)? {
            all.push((
                line,
                fields.iter().map(|f| (f.text.clone(), f.quoted)).collect(),
            ));
        }
        Ok(all)
    }

    fn plain(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|t| (t.to_string(), false)).collect()
    }

    #[test]
    fn lines_are_counted_through_quoted_ones() {
        let all = records("a,b\r\n\"x\ny\",2\n3,4").unwrap();
        assert_eq!(all[0], (1, plain(&["a", "b"])));
        assert_eq!(
            all[1],
            (2, vec![("x\ny".into(), true), ("2".into(), false)])
        );
        assert_eq!(all[2], (4, plain(&["3", "4"])));
    }

    #[test]
    fn empty_and_quoted_empty_differ() {
        let all = records(",\"\",\"a\"\"b\"\n").unwrap();
        let expected = [("", false), ("", true), ("a\"b", true)];
        let expected: Vec<_> = expected.iter().map(|(t, q)| (t.to_string(), *q)).collect();
        assert_eq!(all, [(1, expected)]);
    }

    #[test]
    fn broken_quotes_say_their_line() {
        assert!(
            records("a\n\"b\nc")
                .unwrap_err()
                .message()
                .contains("line 2")
        );
        assert!(
            records("\"a\"b,c\n")
                .unwrap_err()
                .message()
                .contains("line 1")
        );
    }
}
