//! Rows as the bytes of PostgreSQL's formats.

use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use super::dialect::{Dialect, Header, LineFormat, Quoting};
use super::from::SIGNATURE;
use crate::error::Result;
use crate::sql::format::RowEncoder;

/// What ends the binary format: a number of fields that no tuple has.
const TRAILER: i16 = -1;
/// Bytes that are looked at before the search for one that needs a backslash or quotes may end.
const SEARCH_BYTES: usize = 128;

/// Writes rows of batches, one payload each.
pub(super) struct Encoder {
    rows: RowEncoder,
    dialect: Dialect,
    /// Columns that are written in quotes whatever they hold.
    force_quote: Vec<bool>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// For rows that `rows` writes in the dialect's format.
    pub(super) fn new(rows: RowEncoder, dialect: Dialect, force_quote: Vec<bool>) -> Self {
        Self {
            rows,
            dialect,
            force_quote,
            scratch: Vec::new(),
        }
    }

    /// The payload before the first row's, if there is one; of the binary format only the beginning, which is part of
    /// the payload that follows.
    ///
    /// # Errors
    /// 22P05 for characters that the encoding does not have.
    pub(super) fn put_header(&self, names: &[&str], out: &mut BytesMut) -> Result<bool> {
        match &self.dialect {
            Dialect::Binary => {
                out.put_slice(SIGNATURE);
                out.put_u64(0);
                Ok(false)
            }
            Dialect::Lines(format) if format.header == Header::None => Ok(false),
            Dialect::Lines(format) => {
                let first = out.len();
                put_line(format, names.iter().map(|name| Some(*name)), out);
                out.put_u8(b'\n');
                format.encoding.convert_from(first, out)?;
                Ok(true)
            }
        }
    }

    /// The payload behind the last row's; whether there is one.
    pub(super) fn put_trailer(&self, out: &mut BytesMut) -> bool {
        match self.dialect {
            Dialect::Binary => {
                out.put_i16(TRAILER);
                true
            }
            Dialect::Lines(_) => false,
        }
    }

    /// Takes the batch that the next rows are of.
    ///
    /// # Errors
    /// 0A000 for a type without the format.
    pub(super) fn start(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.start(batch)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// 22008 for moments that PostgreSQL's types cannot hold, 22P05 for characters that the encoding does not have.
    pub(super) fn put_row(&mut self, row: usize, out: &mut BytesMut) -> Result<()> {
        let Dialect::Lines(format) = &self.dialect else {
            return self.rows.put_row(row, out);
        };
        let first = out.len();
        let alone = self.force_quote.len() == 1;
        for (column, quoted) in self.force_quote.iter().enumerate() {
            if column > 0 {
                out.put_u8(format.delimiter);
            }
            let start = out.len();
            if !self.rows.put_value(column, row, out)? {
                out.put_slice(format.null.as_bytes());
            } else if *quoted || is_marked(format, &out[start..], alone) {
                self.scratch.clear();
                self.scratch.extend_from_slice(&out[start..]);
                out.truncate(start);
                put_marked(format, &self.scratch, out);
            }
        }
        out.put_u8(b'\n');
        format.encoding.convert_from(first, out)
    }
}

/// Writes a line of fields without its end; `None` is NULL.
pub(super) fn put_line<'a>(
    format: &LineFormat,
    fields: impl ExactSizeIterator<Item = Option<&'a str>>,
    out: &mut BytesMut,
) {
    let alone = fields.len() == 1;
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.put_u8(format.delimiter);
        }
        match field.map(str::as_bytes) {
            None => out.put_slice(format.null.as_bytes()),
            Some(value) if is_marked(format, value, alone) => put_marked(format, value, out),
            Some(value) => out.put_slice(value),
        }
    }
}

/// Whether a value needs backslashes or quotes; `alone` says that it is the only one of its line.
fn is_marked(format: &LineFormat, value: &[u8], alone: bool) -> bool {
    let delimiter = format.delimiter;
    let Some(Quoting { quote, .. }) = format.quoting else {
        return any(value, |byte| {
            (byte == delimiter) | (byte == b'\\') | matches!(byte, 8..=13)
        });
    };
    value == format.null.as_bytes()
        || (alone && value == b"\\.")
        || any(value, |byte| {
            (byte == delimiter) | (byte == quote) | (byte == b'\n') | (byte == b'\r')
        })
}

/// Whether the test holds for any byte; many are looked at at once.
fn any(value: &[u8], test: impl Fn(u8) -> bool + Copy) -> bool {
    value
        .chunks(SEARCH_BYTES)
        .any(|bytes| bytes.iter().fold(false, |found, byte| found | test(*byte)))
}

fn put_marked(format: &LineFormat, value: &[u8], out: &mut BytesMut) {
    match format.quoting {
        None => put_escaped(value, format.delimiter, out),
        Some(quoting) => put_quoted(value, quoting, out),
    }
}

fn put_escaped(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for &byte in value {
        let escaped = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            byte if byte == delimiter || byte == b'\\' => byte,
            byte => {
                out.put_u8(byte);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(escaped);
    }
}

fn put_quoted(value: &[u8], Quoting { quote, escape }: Quoting, out: &mut BytesMut) {
    out.put_u8(quote);
    let mut rest = value;
    while let Some(at) = memchr2(quote, escape, rest) {
        out.put_slice(&rest[..at]);
        out.put_u8(escape);
        out.put_u8(rest[at]);
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
    out.put_u8(quote);
}
