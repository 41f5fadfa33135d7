//! Where the records of text and csv end, however their bytes are cut.

use memchr::memchr3;

use crate::error::{Error, Result, sqlstate};
use crate::sql::copy::bad_file;
use crate::sql::copy::dialect::Quoting;

/// The longest record in bytes; a quote that is never closed ends here.
pub(super) const RECORD_BYTES_MAX: usize = 256 << 20;

/// How lines end; the first line decides for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    Return,
    ReturnNewline,
}

/// What stands at the beginning of the bytes that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A record that has not ended yet.
    More,
    /// A record of `length` bytes; the next one begins at `next`.
    Record { length: usize, next: usize },
    /// The last record, of `length` bytes; one without bytes is none. What follows is not read.
    Last { length: usize },
}

/// Finds the ends of records as PostgreSQL does: `CopyReadLineText` decides what is a line, and what its number is.
#[derive(Debug)]
pub(super) struct Cutter {
    /// `None` for the text format, where a backslash takes the special meaning from what follows it.
    quoting: Option<Quoting>,
    line_end: Option<LineEnd>,
    line: u64,
    /// Whether `line` is that of the record at the beginning.
    begun: bool,
    /// Bytes of that record that were looked at, and whether they end inside quotes.
    seen: usize,
    quoted: bool,
}

impl Cutter {
    pub(super) fn new(quoting: Option<Quoting>) -> Self {
        Self {
            quoting,
            line_end: None,
            line: 0,
            begun: false,
            seen: 0,
            quoted: false,
        }
    }

    /// The line of the record that was looked at last: that on which it ends, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Looks at bytes that begin with the first record that was not given yet; `last` when none follow them.
    ///
    /// # Errors
    /// 22P04 for lines that end differently and for a broken end marker, 54000 for a record that is too long.
    pub(super) fn cut(&mut self, bytes: &[u8], last: bool) -> Result<Cut> {
        if !self.begun {
            self.begun = true;
            self.line += 1;
        }
        let cut = match self.quoting {
            None => self.cut_text(bytes, last)?,
            Some(quoting) => self.cut_csv(bytes, last, quoting)?,
        };
        match cut {
            Cut::More if bytes.len() > RECORD_BYTES_MAX => {
                let message = "a line of COPY data is longer than 256 MB";
                Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
            }
            Cut::More => Ok(cut),
            Cut::Record { .. } | Cut::Last { .. } => {
                (self.begun, self.seen, self.quoted) = (false, 0, false);
                Ok(cut)
            }
        }
    }

    fn cut_text(&mut self, bytes: &[u8], last: bool) -> Result<Cut> {
        loop {
            let Some(found) = memchr3(b'\n', b'\r', b'\\', &bytes[self.seen..]) else {
                return Ok(self.end(bytes, last));
            };
            let at = self.seen + found;
            if bytes[at] != b'\\' {
                match self.line_end(bytes, at, last)? {
                    Some(cut) => return Ok(cut),
                    None => return Ok(self.wait(at)),
                }
            }
            match bytes.get(at + 1) {
                Some(b'.') => match self.end_marker(bytes, at, last)? {
                    Some(cut) => return Ok(cut),
                    None => return Ok(self.wait(at)),
                },
                Some(_) => self.seen = at + 2,
                None if last => {
                    return Ok(Cut::Last {
                        length: bytes.len(),
                    });
                }
                None => return Ok(self.wait(at)),
            }
        }
    }

    fn cut_csv(&mut self, bytes: &[u8], last: bool, quoting: Quoting) -> Result<Cut> {
        if self.seen == 0 && bytes.starts_with(b"\\") {
            match self.end_marker_alone(bytes, last)? {
                Some(cut) => return Ok(cut),
                None if bytes.len() < 4 && !last => return Ok(Cut::More),
                None => {}
            }
        }
        loop {
            let found = match self.quoted {
                false => memchr3(b'\n', b'\r', quoting.quote, &bytes[self.seen..]),
                // Lines inside quotes count, as far as the way they end is known.
                true => {
                    let line_end = self.counted_inside_quotes();
                    memchr3(quoting.quote, quoting.escape, line_end, &bytes[self.seen..])
                }
            };
            let Some(found) = found else {
                return Ok(self.end(bytes, last));
            };
            let at = self.seen + found;
            match bytes[at] {
                byte if byte == quoting.quote && byte == quoting.escape => {
                    self.quoted = !self.quoted;
                    self.seen = at + 1;
                }
                byte if self.quoted && byte == quoting.escape => match bytes.get(at + 1) {
                    Some(next) if *next == quoting.quote || *next == quoting.escape => {
                        self.seen = at + 2;
                    }
                    Some(_) => self.seen = at + 1,
                    None if last => {
                        return Ok(Cut::Last {
                            length: bytes.len(),
                        });
                    }
                    None => return Ok(self.wait(at)),
                },
                byte if byte == quoting.quote => {
                    self.quoted = !self.quoted;
                    self.seen = at + 1;
                }
                _ if self.quoted => {
                    self.line += 1;
                    self.seen = at + 1;
                }
                _ => match self.line_end(bytes, at, last)? {
                    Some(cut) => return Ok(cut),
                    None => return Ok(self.wait(at)),
                },
            }
        }
    }

    fn counted_inside_quotes(&self) -> u8 {
        match self.line_end {
            Some(LineEnd::Newline) => b'\n',
            _ => b'\r',
        }
    }

    /// No end was found in the bytes.
    fn end(&mut self, bytes: &[u8], last: bool) -> Cut {
        if last {
            return Cut::Last {
                length: bytes.len(),
            };
        }
        self.wait(bytes.len())
    }

    /// What stands at `at` means something only with what follows.
    fn wait(&mut self, at: usize) -> Cut {
        self.seen = at;
        Cut::More
    }

    /// The line that ends at a newline or carriage return; `None` when its end may have a second byte.
    fn line_end(&mut self, bytes: &[u8], at: usize, last: bool) -> Result<Option<Cut>> {
        let (line_end, next) = match (bytes[at], bytes.get(at + 1)) {
            (b'\n', _) => (LineEnd::Newline, at + 1),
            (_, Some(b'\n')) if self.line_end != Some(LineEnd::Return) => {
                (LineEnd::ReturnNewline, at + 2)
            }
            (_, None) if !last && self.line_end != Some(LineEnd::Return) => return Ok(None),
            _ => (LineEnd::Return, at + 1),
        };
        match self.line_end {
            Some(first) if first != line_end => Err(self.other_line_end(bytes[at])),
            _ => {
                self.line_end = Some(line_end);
                Ok(Some(Cut::Record { length: at, next }))
            }
        }
    }

    fn other_line_end(&self, byte: u8) -> Error {
        let (name, escaped) = match byte {
            b'\n' => ("newline", "\\n"),
            _ => ("carriage return", "\\r"),
        };
        if self.quoting.is_none() {
            return bad_file(format!("literal {name} found in data"))
                .with_hint(format!("Use \"{escaped}\" to represent {name}."));
        }
        bad_file(format!("unquoted {name} found in data"))
            .with_hint(format!("Use quoted CSV field to represent {name}."))
    }

    /// `\.` in text: the end of the data, with what stands before it on its line as the last record.
    fn end_marker(&self, bytes: &[u8], at: usize, last: bool) -> Result<Option<Cut>> {
        let corrupt = || bad_file("end-of-copy marker corrupt");
        let other = || bad_file("end-of-copy marker does not match previous newline style");
        let length = at;
        match (self.line_end, bytes.get(at + 2), bytes.get(at + 3)) {
            (_, None, _) if !last => Ok(None),
            (Some(LineEnd::ReturnNewline), Some(b'\n'), _) => Err(other()),
            (Some(LineEnd::ReturnNewline), Some(b'\r'), None) if !last => Ok(None),
            (Some(LineEnd::ReturnNewline), Some(b'\r'), Some(b'\n')) => {
                Ok(Some(Cut::Last { length }))
            }
            (Some(LineEnd::ReturnNewline), Some(b'\r'), Some(b'\r')) => Err(other()),
            (Some(LineEnd::ReturnNewline), ..) => Err(corrupt()),
            (None, Some(b'\n' | b'\r'), _)
            | (Some(LineEnd::Newline), Some(b'\n'), _)
            | (Some(LineEnd::Return), Some(b'\r'), _) => Ok(Some(Cut::Last { length })),
            (_, Some(b'\n' | b'\r'), _) => Err(other()),
            _ => Err(corrupt()),
        }
    }

    /// `\.` in csv: the end of the data where it is a whole line, otherwise a value.
    fn end_marker_alone(&self, bytes: &[u8], last: bool) -> Result<Option<Cut>> {
        if bytes.get(1).is_some_and(|byte| *byte != b'.') {
            return Ok(None);
        }
        match (self.line_end, bytes.get(2), bytes.get(3)) {
            (_, None, _) if last => Ok(None),
            (None, Some(b'\n' | b'\r'), _)
            | (Some(LineEnd::Newline), Some(b'\n'), _)
            | (Some(LineEnd::Return), Some(b'\r'), _)
            | (Some(LineEnd::ReturnNewline), Some(b'\r'), Some(b'\n')) => {
                Ok(Some(Cut::Last { length: 0 }))
            }
            (Some(LineEnd::Newline), Some(b'\r'), _) | (Some(LineEnd::Return), Some(b'\n'), _) => {
                Err(bad_file(
                    "end-of-copy marker does not match previous newline style",
                ))
            }
            _ => Ok(None),
        }
    }
}
