//! Rows of PostgreSQL's binary format, however their bytes are cut.
//!
//! `PGCOPY\n\377\r\n\0`, flags, the length of an extension and the extension; then tuples: int16 number of fields, for
//! each int32 length (-1 is NULL) and its bytes; at last int16 -1. What these mean is found out when a batch is whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};

use super::lines::RECORD_BYTES_MAX;
use super::rows::{Intake, Rows, is_full};
use crate::error::{Error, Result};
use crate::sql::copy::bad_file;

/// What the format begins with.
pub(in crate::sql::copy) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Bytes before the extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// The flag of a format that had object ids, which is no more.
const FLAG_OIDS: u32 = 1 << 16;

/// Makes rows of tuples.
#[derive(Debug)]
pub(super) struct BinaryDecoder {
    intake: Arc<Intake>,
    columns: Vec<BinaryBuilder>,
    rows: usize,
    bytes: usize,
    /// The number of the tuple that was read last, and of the last that was taken.
    line: u64,
    taken: u64,
    part: Part,
    /// Bytes of a part that has not come whole.
    rest: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Extension(usize),
    Tuple,
    /// Nothing: the trailer was read.
    End,
}

impl BinaryDecoder {
    pub(super) fn new(intake: Arc<Intake>) -> Self {
        let columns = intake
            .columns()
            .iter()
            .map(|_| BinaryBuilder::new())
            .collect();
        Self {
            intake,
            columns,
            rows: 0,
            bytes: 0,
            line: 0,
            taken: 0,
            part: Part::Header,
            rest: Vec::new(),
        }
    }

    /// The number of the tuple that was read last.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Takes more bytes; rows that are complete go to `out`, and those before an error, too.
    ///
    /// # Errors
    /// 22P04 for what is not the format.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Rows>) -> Result<()> {
        if self.rest.is_empty() {
            let used = self.parts(bytes, out)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        let used = self.parts(&joined, out)?;
        joined.drain(..used);
        self.rest = joined;
        Ok(())
    }

    /// Ends the bytes; the trailer may be missing, as in PostgreSQL.
    ///
    /// # Errors
    /// 22P04 for a header or tuple that is cut short.
    pub(super) fn finish(&mut self, out: &mut Vec<Rows>) -> Result<()> {
        out.push(self.take());
        match self.part {
            Part::Header => Err(bad_header(&self.rest)),
            Part::Extension(_) => Err(bad_file("invalid COPY file header (wrong length)")),
            Part::Tuple if self.rest.len() >= 2 => {
                self.line += 1;
                Err(self.cut_short())
            }
            Part::Tuple | Part::End => Ok(()),
        }
    }

    /// The parts that `bytes` have whole; how many bytes they took.
    fn parts(&mut self, bytes: &[u8], out: &mut Vec<Rows>) -> Result<usize> {
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let used = match self.part {
                Part::Header => self.header(rest)?,
                Part::Extension(length) => {
                    let used = length.min(rest.len());
                    self.part = match length - used {
                        0 => Part::Tuple,
                        left => Part::Extension(left),
                    };
                    used
                }
                Part::Tuple => match self.tuple(rest) {
                    Ok(used) => used,
                    Err(e) => {
                        out.push(self.take());
                        return Err(e);
                    }
                },
                Part::End if rest.is_empty() => 0,
                Part::End => {
                    out.push(self.take());
                    let error = bad_file("received copy data after EOF marker");
                    return Err(error.with_context_line(self.intake.at_line(self.line)));
                }
            };
            if is_full(self.rows, self.bytes) {
                out.push(self.take());
            }
            if used == 0 {
                return Ok(start);
            }
            start += used;
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(header) = bytes.get(..HEADER_BYTES) else {
            return match SIGNATURE.starts_with(&bytes[..bytes.len().min(SIGNATURE.len())]) {
                true => Ok(0),
                false => Err(bad_header(bytes)),
            };
        };
        if !header.starts_with(SIGNATURE) {
            return Err(bad_header(bytes));
        }
        let flags = u32::from_be_bytes(word(header, SIGNATURE.len()));
        if flags & FLAG_OIDS != 0 {
            return Err(bad_file("invalid COPY file header (WITH OIDS)"));
        }
        if flags >> 16 != 0 {
            return Err(bad_file("unrecognized critical flags in COPY file header"));
        }
        let extension = i32::from_be_bytes(word(header, SIGNATURE.len() + 4));
        let extension = usize::try_from(extension)
            .map_err(|_| bad_file("invalid COPY file header (missing length)"))?;
        self.part = match extension {
            0 => Part::Tuple,
            length => Part::Extension(length),
        };
        Ok(HEADER_BYTES)
    }

    /// The tuple or trailer at the beginning; 0 when it is not there whole.
    fn tuple(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(count) = bytes.first_chunk() else {
            return Ok(0);
        };
        let line = self.line + 1;
        match i16::from_be_bytes(*count) {
            -1 => {
                (self.part, self.line) = (Part::End, line);
                return Ok(2);
            }
            count if i64::from(count) != self.columns.len() as i64 => {
                self.line = line;
                let expected = self.columns.len();
                let message = format!("row field count is {count}, expected {expected}");
                return Err(bad_file(message).with_context_line(self.intake.at_line(line)));
            }
            _ => {}
        }
        let Some(length) = tuple_length(bytes, self.columns.len())
            .map_err(|(at, e)| e.with_context_line(self.intake.at_column(line, at)))?
        else {
            return Ok(0);
        };
        self.line = line;
        let mut at = 2;
        for values in &mut self.columns {
            let size = i32::from_be_bytes(word(bytes, at));
            at += 4;
            let value = usize::try_from(size).ok().map(|size| &bytes[at..at + size]);
            at += value.map_or(0, <[u8]>::len);
            values.append_option(value);
        }
        self.rows += 1;
        self.bytes += length;
        Ok(length)
    }

    /// The error of a tuple that the bytes do not have whole.
    fn cut_short(&self) -> Error {
        let mut at = 2;
        let mut column = 0;
        while let Some(size) = self.rest.get(at..).and_then(<[u8]>::first_chunk) {
            let size = usize::try_from(i32::from_be_bytes(*size)).unwrap_or(0);
            if self.rest.len() < at + 4 + size {
                break;
            }
            at += 4 + size;
            column += 1;
        }
        let context = self.intake.at_column(self.line, column);
        bad_file("unexpected EOF in COPY data").with_context_line(context)
    }

    fn take(&mut self) -> Rows {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let columns = self.columns.iter_mut();
        let columns = columns.map(|values| Arc::new(values.finish()) as ArrayRef);
        let first = self.taken + 1;
        self.taken += rows as u64;
        Rows {
            columns: columns.collect(),
            lines: (first..=self.taken).collect(),
            cut_short: false,
        }
    }
}

/// The bytes of the tuple that `bytes` begin with; `None` when they do not have it whole.
///
/// # Errors
/// 22P04 for a length that no field has, with the place of the field. Nothing is kept for a field before it is there.
fn tuple_length(bytes: &[u8], fields: usize) -> Result<Option<usize>, (usize, Error)> {
    let mut at = 2;
    for field in 0..fields {
        let Some(size) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            return Ok(None);
        };
        at += 4;
        at += match i32::from_be_bytes(*size) {
            -1 => 0,
            size => match usize::try_from(size) {
                Ok(size) if at + size <= RECORD_BYTES_MAX => size,
                _ => return Err((field, bad_file("invalid field size"))),
            },
        };
    }
    Ok((at <= bytes.len()).then_some(at))
}

fn word(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

/// What is wrong with a header that is too short or has another signature.
fn bad_header(bytes: &[u8]) -> Error {
    if !bytes.starts_with(SIGNATURE) {
        return bad_file("COPY file signature not recognized");
    }
    let missing = match bytes.len() < SIGNATURE.len() + 4 {
        true => "flags",
        false => "length",
    };
    bad_file(format!("invalid COPY file header (missing {missing})"))
}
