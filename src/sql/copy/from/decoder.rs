//! Rows of a format, however its bytes are cut.

use std::sync::Arc;

use super::binary::BinaryDecoder;
use super::line_decoder::LineDecoder;
use super::matching::Matching;
use super::rows::{Intake, Rows};
use crate::error::{Error, Result};
use crate::sql::copy::dialect::Dialect;
use crate::sql::format::TextDecoder;

/// Makes rows of bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    intake: Arc<Intake>,
    format: Format,
    /// What makes UTF-8 of the bytes, where they are not.
    text: Option<TextDecoder>,
}

#[derive(Debug)]
enum Format {
    Lines(Box<LineDecoder>),
    Binary(Box<BinaryDecoder>),
}

impl Decoder {
    /// # Errors
    /// 42P10 for FORCE options of columns that are not copied.
    pub(super) fn try_new(intake: Arc<Intake>, dialect: Dialect) -> Result<Self> {
        let encoding = dialect.lines().map(|format| format.encoding);
        let encoding = encoding.filter(|encoding| encoding.converts());
        let format = match dialect {
            Dialect::Lines(format) => {
                let lines = LineDecoder::try_new(Arc::clone(&intake), format)?;
                Format::Lines(Box::new(lines))
            }
            Dialect::Binary => Format::Binary(Box::new(BinaryDecoder::new(Arc::clone(&intake)))),
        };
        Ok(Self {
            intake,
            format,
            text: encoding.map(TextDecoder::new),
        })
    }

    /// The same, in which the names of a header say where fields go.
    pub(super) fn with_matching(mut self, matching: Matching) -> Self {
        if let Format::Lines(lines) = &mut self.format {
            lines.match_names(matching);
        }
        self
    }

    pub(super) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Takes more bytes; rows that are complete go to `out`, and those before an error, too.
    ///
    /// # Errors
    /// 22P04 for what is not the format, 22021 for text that is not UTF-8, with the line.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Rows>) -> Result<()> {
        let text = self.text.as_mut().map(|decoder| decoder.decode(bytes));
        let text = text.transpose().map_err(|e| self.locate(e))?;
        let bytes = text.as_ref().map_or(bytes, |text| text.as_bytes());
        match &mut self.format {
            Format::Lines(lines) => lines.push(bytes, out),
            Format::Binary(binary) => binary.push(bytes, out),
        }
    }

    /// Ends the bytes.
    ///
    /// # Errors
    /// As [`Decoder::push`].
    pub(super) fn finish(&mut self, out: &mut Vec<Rows>) -> Result<()> {
        let left = match &mut self.text {
            Some(decoder) => decoder.end(),
            None => Ok(String::new()),
        };
        let left = left.map_err(|e| self.locate(e))?;
        if !left.is_empty() {
            self.text = None;
            self.push(left.as_bytes(), out)?;
        }
        match &mut self.format {
            Format::Lines(lines) => lines.finish(out),
            Format::Binary(binary) => binary.finish(out),
        }
    }

    /// The error, with the line that was read last.
    pub(super) fn locate(&self, error: Error) -> Error {
        let line = match &self.format {
            Format::Lines(lines) => lines.line(),
            Format::Binary(binary) => binary.line(),
        };
        error.with_context_line(self.intake.at_line(line))
    }
}
