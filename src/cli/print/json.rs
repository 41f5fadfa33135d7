//! Rows as JSON objects, in one array or one per line.

use std::io::Write;

use arrow::json::writer::{JsonArray, LineDelimited, Writer, WriterBuilder};
use arrow::record_batch::RecordBatch;

use super::no_text;
use crate::cli::shell::Failure;

/// Prints JSON.
pub enum Json {
    /// One array of objects.
    Array(Box<Writer<Vec<u8>, JsonArray>>),
    /// One object per line.
    Lines(Box<Writer<Vec<u8>, LineDelimited>>),
}

fn builder() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

impl Json {
    pub fn array() -> Self {
        Self::Array(Box::new(builder().build(Vec::new())))
    }

    pub fn lines() -> Self {
        Self::Lines(Box::new(builder().build(Vec::new())))
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        let buffer = match self {
            Self::Array(writer) => {
                writer.write(batch).map_err(no_text)?;
                writer.get_mut()
            }
            Self::Lines(writer) => {
                writer.write(batch).map_err(no_text)?;
                writer.get_mut()
            }
        };
        out.write_all(buffer)?;
        buffer.clear();
        Ok(())
    }

    pub fn finish(self, out: &mut impl Write) -> Result<(), Failure> {
        let Self::Array(mut writer) = self else {
            return Ok(());
        };
        writer.finish().map_err(no_text)?;
        out.write_all(&writer.into_inner())?;
        Ok(out.write_all(b"\n")?)
    }
}
