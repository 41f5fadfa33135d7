//! Record batches to rows of the protocol.

mod column;
mod list;
mod scalar;
mod text;
mod vector;

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};

use self::column::{Column, Target};
use super::{Format, PgType, Style, type_of};
use crate::catalog::quotient::Shown;
use crate::error::{Error, Result, sqlstate};

/// The length that stands for NULL.
const NULL_LENGTH: i32 = -1;

/// Writes rows of record batches in the formats that a client asked for.
///
/// ```text
/// RowEncoder::try_new(schema, formats, style)       once per result
///   start(batch)                                    once per batch: columns are downcast here
///     put_row(row, out)                             count, then length and bytes of every value
/// ```
pub struct RowEncoder {
    types: Vec<PgType>,
    /// Which digits behind the point are shown of decimals that are computed.
    shown: Vec<Option<Shown>>,
    formats: Vec<Format>,
    style: Arc<Style>,
    columns: Vec<Column>,
}

impl RowEncoder {
    /// An encoder of rows of the schema. No format means text for all columns, one is that of all.
    ///
    /// # Errors
    /// 08P01 when there are several formats, but not one for each column.
    pub fn try_new(schema: &Schema, formats: &[Format], style: &Style) -> Result<Self> {
        let columns = schema.fields().len();
        let formats = match formats {
            [] => vec![Format::Text; columns],
            [all] => vec![*all; columns],
            each if each.len() == columns => each.to_vec(),
            other => {
                let message = format!(
                    "bind message has {} result formats but query has {columns} columns",
                    other.len()
                );
                return Err(Error::invalid(sqlstate::PROTOCOL_VIOLATION, message));
            }
        };
        Ok(Self {
            types: schema.fields().iter().map(|f| type_of(f)).collect(),
            shown: schema
                .fields()
                .iter()
                .map(|f| Shown::where_written(f))
                .collect(),
            formats,
            style: Arc::new(style.clone()),
            columns: Vec::new(),
        })
    }

    /// Takes the batch that the next rows are of.
    ///
    /// # Errors
    /// 54000 for more columns than a row of the protocol has, 0A000 for a type without binary format.
    pub fn start(&mut self, batch: &RecordBatch) -> Result<()> {
        if i16::try_from(batch.num_columns()).is_err() {
            return Err(Error::limit(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                "a row can have at most 32767 columns",
            ));
        }
        let kinds = self.types.iter().zip(&self.formats).zip(&self.shown);
        let columns = batch.columns().iter().zip(kinds);
        let columns = columns.map(|(array, ((pg_type, format), shown))| {
            let target = Target {
                pg_type: *pg_type,
                format: *format,
                shown: *shown,
                style: &self.style,
            };
            Column::try_new(array, target)
        });
        self.columns = columns.collect::<Result<_>>()?;
        Ok(())
    }

    /// Appends a row of the batch: the number of values as `int16`, then for each its length as `int32` and its
    /// bytes. On an error nothing is appended.
    ///
    /// # Errors
    /// 22008 for moments that PostgreSQL's types cannot hold, 22P05 for characters that the client's encoding does not have,
    /// 54000 for values of more than 2 GiB.
    pub fn put_row(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        // `start` has checked that the number fits.
        out.put_i16(self.columns.len() as i16);
        let mut columns = self.columns.iter().zip(&self.formats);
        let put = columns.try_for_each(|(column, format)| match format {
            Format::Text if self.style.encoding.converts() => self.put_converted(column, row, out),
            _ => column.put_with_length(row, out),
        });
        if put.is_err() {
            out.truncate(start);
        }
        put
    }

    /// Appends the length of a text and the text in the client's encoding.
    fn put_converted(&self, column: &Column, row: usize, out: &mut BytesMut) -> Result<()> {
        if column.is_null(row) {
            return column.put_with_length(row, out);
        }
        put_sized(out, |out| {
            let start = out.len();
            column.put(row, out)?;
            self.style.encoding.convert_from(start, out)
        })
    }

    /// Appends one value of a row without its length, a text in UTF-8; answers whether there is one, for NULL appends nothing.
    ///
    /// # Errors
    /// As [`Self::put_row`].
    pub fn put_value(&self, column: usize, row: usize, out: &mut BytesMut) -> Result<bool> {
        let Some(column) = self.columns.get(column) else {
            return Err(Error::internal(format!("a row has no column {column}")));
        };
        if column.is_null(row) {
            return Ok(false);
        }
        column.put(row, out)?;
        Ok(true)
    }
}

/// Appends a value with its length before it.
fn put_sized(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.put_i32(0);
    put(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| {
        Error::limit(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "a value is larger than 2 GiB",
        )
    })?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
