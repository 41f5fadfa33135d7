//! Rows of text and csv, however their bytes are cut.

use std::io::Read;
use std::sync::Arc;

use super::encoding::utf8;
use super::fields::{Field, csv_fields, text_fields};
use super::lines::{Cut, Cutter};
use super::matching::Matching;
use super::rows::{Intake, Rows, TextRows};
use crate::error::{Error, Result};
use crate::sql::copy::bad_file;
use crate::sql::copy::dialect::{Header, LineFormat};

/// Bytes that are read to find the end of a header.
const HEADER_CHUNK_BYTES: u64 = 16 << 10;

/// Makes rows of lines.
#[derive(Debug)]
pub(super) struct LineDecoder {
    intake: Arc<Intake>,
    format: LineFormat,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    cutter: Cutter,
    /// The beginning of a record that has not ended.
    rest: Vec<u8>,
    rows: TextRows,
    /// Which column each field of a record goes to, where the header says it.
    places: Option<Places>,
    header: Header,
    matching: Option<Matching>,
    ended: bool,
    scratch: Vec<u8>,
}

/// Where fields go by the names of a header.
#[derive(Debug, Clone)]
struct Places {
    names: Vec<String>,
    columns: Vec<Option<usize>>,
}

impl LineDecoder {
    /// # Errors
    /// 42P10 for FORCE options of columns that are not copied.
    pub(super) fn try_new(intake: Arc<Intake>, format: LineFormat) -> Result<Self> {
        let columns: Vec<&str> = intake.columns().iter().map(|c| c.name.as_str()).collect();
        let force_not_null = format.force_not_null.flags("FORCE_NOT_NULL", &columns)?;
        let force_null = format.force_null.flags("FORCE_NULL", &columns)?;
        Ok(Self {
            force_not_null,
            force_null,
            cutter: Cutter::new(format.quoting),
            rest: Vec::new(),
            rows: TextRows::new(columns.len()),
            places: None,
            header: format.header,
            matching: None,
            ended: false,
            scratch: Vec::new(),
            intake,
            format,
        })
    }

    /// From now on the names of a header say where fields go.
    pub(super) fn match_names(&mut self, matching: Matching) {
        self.matching = Some(matching);
    }

    /// The line that was read last.
    pub(super) fn line(&self) -> u64 {
        self.cutter.line()
    }

    /// Takes more bytes; rows that are complete go to `out`, and those before an error, too.
    ///
    /// # Errors
    /// 22P04 for what is not the format, 22021 for what is not UTF-8, with the line.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Rows>) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.rest.is_empty() {
            let used = self.records(bytes, false, out)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        let used = self.records(&joined, false, out)?;
        joined.drain(..used);
        self.rest = joined;
        Ok(())
    }

    /// Ends the bytes.
    ///
    /// # Errors
    /// As [`LineDecoder::push`].
    pub(super) fn finish(&mut self, out: &mut Vec<Rows>) -> Result<()> {
        if !self.ended {
            let rest = std::mem::take(&mut self.rest);
            self.records(&rest, true, out)?;
        }
        out.push(self.rows.take(false));
        Ok(())
    }

    /// The records of `bytes`; how many of the bytes they took.
    fn records(&mut self, bytes: &[u8], last: bool, out: &mut Vec<Rows>) -> Result<usize> {
        let mut start = 0;
        loop {
            let cut = match self.cutter.cut(&bytes[start..], last) {
                Ok(cut) => cut,
                Err(e) => {
                    out.push(self.rows.take(false));
                    return Err(e.with_context_line(self.intake.at_line(self.line())));
                }
            };
            match cut {
                Cut::More => return Ok(start),
                Cut::Record { length, next } => {
                    self.record(&bytes[start..start + length], out)?;
                    start += next;
                }
                Cut::Last { length } => {
                    if length > 0 || self.header == Header::Match {
                        self.record(&bytes[start..start + length], out)?;
                    }
                    self.ended = true;
                    return Ok(bytes.len());
                }
            }
        }
    }

    fn record(&mut self, bytes: &[u8], out: &mut Vec<Rows>) -> Result<()> {
        let line = self.line();
        let record = match utf8(bytes) {
            Ok(record) => record,
            Err(e) => {
                out.push(self.rows.take(false));
                return Err(e.with_context_line(self.intake.at_line(line)));
            }
        };
        let done = match self.header {
            Header::None => self.row(record),
            _ => self.header(record).map(|()| Width::Header),
        };
        let error = match done {
            Ok(Width::Header) => return Ok(()),
            Ok(Width::Right) => {
                if self.rows.end_row(line) {
                    out.push(self.rows.take(false));
                }
                return Ok(());
            }
            Ok(Width::Short(missing)) => {
                self.rows.end_short_row(line);
                out.push(self.rows.take(true));
                bad_file(format!("missing data for column \"{missing}\""))
            }
            Err(e) => {
                out.push(self.rows.take(false));
                e
            }
        };
        Err(error.with_context_line(self.intake.at_text(line, record)))
    }

    /// Puts the fields of a record into the row that is being made.
    fn row(&mut self, record: &str) -> Result<Width> {
        let Self {
            rows,
            scratch,
            format,
            places,
            ..
        } = self;
        let columns = self.intake.columns();
        let width = places.as_ref().map_or(columns.len(), |p| p.columns.len());
        if width == 0 && record.is_empty() {
            return Ok(Width::Right);
        }
        let (force_not_null, force_null) = (&self.force_not_null, &self.force_null);
        let null = format.null.as_str();
        let take = |at: usize, field: Field<'_>| {
            let column = match places {
                Some(places) => places.columns.get(at).copied().flatten(),
                None => (at < width).then_some(at),
            };
            if let Some(column) = column {
                let is_null = match field.is_null {
                    true => !force_not_null[column],
                    false => force_null[column] && field.text == null,
                };
                rows.push(column, (!is_null).then_some(field.text));
            }
            Ok(())
        };
        let given = split(record, format, scratch, take)?;
        if given > width {
            return Err(bad_file("extra data after last expected column"));
        }
        if given < width {
            let name = match places {
                Some(places) => &places.names[given],
                None => &columns[given].name,
            };
            return Ok(Width::Short(name.clone()));
        }
        Ok(Width::Right)
    }

    fn header(&mut self, record: &str) -> Result<()> {
        let header = std::mem::replace(&mut self.header, Header::None);
        if header != Header::Match && self.matching.is_none() {
            return Ok(());
        }
        let names = header_names(record, &self.format)?;
        let Some(matching) = &self.matching else {
            return self.match_header(&names);
        };
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        let Some(fields) = matching.fields(&names, self.intake.columns())? else {
            return Ok(());
        };
        let column_of = |field| fields.iter().position(|wanted| *wanted == field);
        let columns = (0..names.len()).map(column_of).collect();
        self.places = Some(Places { names, columns });
        Ok(())
    }

    fn match_header(&self, names: &[(String, bool)]) -> Result<()> {
        let columns = self.intake.columns();
        let (given, expected) = (names.len(), columns.len());
        if given != expected {
            return Err(bad_file(format!(
                "wrong number of fields in header line: got {given}, expected {expected}"
            )));
        }
        for (at, ((name, is_null), column)) in names.iter().zip(columns).enumerate() {
            if !is_null && name == &column.name {
                continue;
            }
            let got = match is_null {
                true => format!("null value (\"{name}\")"),
                false => format!("\"{name}\""),
            };
            return Err(bad_file(format!(
                "column name mismatch in header line field {}: got {got}, expected \"{}\"",
                at + 1,
                column.name
            )));
        }
        Ok(())
    }
}

/// How many fields a record has, compared with the columns.
enum Width {
    Right,
    /// The first column that has none.
    Short(String),
    /// It was the header.
    Header,
}

fn split(
    record: &str,
    format: &LineFormat,
    scratch: &mut Vec<u8>,
    take: impl FnMut(usize, Field<'_>) -> Result<()>,
) -> Result<usize> {
    let delimiter = format.delimiter;
    match format.quoting {
        None => text_fields(record, delimiter, &format.null, scratch, take),
        Some(quoting) => csv_fields(record, delimiter, quoting, &format.null, scratch, take),
    }
}

/// The names of a header, and whether each stands for NULL. What marks the byte order is no part of them.
fn header_names(record: &str, format: &LineFormat) -> Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    let record = record.strip_prefix('\u{feff}').unwrap_or(record);
    split(record, format, &mut Vec::new(), |_, field| {
        names.push((field.text.to_string(), field.is_null));
        Ok(())
    })?;
    Ok(names)
}

/// The names of the header that an input begins with; `None` when it has no line.
///
/// # Errors
/// 22P04 or 22021 for what is no line, 58030 for I/O errors.
pub(super) fn first_names(
    mut input: impl Read,
    format: &LineFormat,
) -> Result<Option<Vec<String>>> {
    let mut cutter = Cutter::new(format.quoting);
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len() as u64;
        let read = (&mut input)
            .take(HEADER_CHUNK_BYTES)
            .read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read the header", e))?;
        let last = bytes.len() as u64 - before < HEADER_CHUNK_BYTES;
        let length = match cutter.cut(&bytes, last)? {
            Cut::More => continue,
            Cut::Last { length: 0 } => return Ok(None),
            Cut::Last { length } | Cut::Record { length, .. } => length,
        };
        let names = header_names(&format.encoding.decode(&bytes[..length])?, format)?;
        return Ok(Some(names.into_iter().map(|(name, _)| name).collect()));
    }
}
