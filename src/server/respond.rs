//! Answers that are the same for all messages: errors, notices, columns, tags.

use arrow::datatypes::{Field, FieldRef, Schema};
use pgwire::messages::data::{FieldDescription, ParameterDescription, RowDescription};
use pgwire::messages::response::{ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};

use crate::catalog::pg_type::{PgType, numeric_precision_and_scale, oid};
use crate::error::{Error, PLAN_CHANGED};
use crate::sql::format::{self, Format};
use crate::sql::{Notice, TransactionStatus as Block, is_cast, literal_place, origin_of};

/// Bytes of an error's text that are sent; the rest of a longer one would only fill logs.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// PostgreSQL's routine that finds [`PLAN_CHANGED`]: by it JDBC's driver and Rails know to prepare the statement again.
const REVALIDATE: &str = "RevalidateCachedQuery";

/// How bad an error is for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The message for an error in a statement, whose text is `text` from byte `offset` of it on.
pub fn error(error: &Error, severity: Severity, text: &str, offset: usize) -> ErrorResponse {
    let mut fields = vec![
        (b'S', severity.as_str().to_string()),
        (b'V', severity.as_str().to_string()),
        (b'C', error.sqlstate().to_string()),
        (b'M', clean(error.message())),
    ];
    let objects = error.objects();
    let others = [
        (b'D', error.detail()),
        (b'H', error.hint()),
        (b'W', error.context_lines()),
        (b't', objects.table.as_deref()),
        (b'c', objects.column.as_deref()),
        (b'n', objects.constraint.as_deref()),
    ];
    for (field, value) in others {
        fields.extend(value.map(|value| (field, clean(value))));
    }
    if error.message().starts_with(PLAN_CHANGED) {
        fields.push((b'R', REVALIDATE.to_string()));
    }
    let position = error
        .position()
        .or_else(|| literal_place(error, text.get(offset..)?))
        .and_then(|place| characters_before(text, offset, place));
    fields.extend(position.map(|characters| (b'P', (characters + 1).to_string())));
    ErrorResponse::new(fields)
}

/// The message for a notice.
pub fn notice(notice: &Notice) -> NoticeResponse {
    let severity = notice.severity.as_str().to_string();
    let mut fields = vec![
        (b'S', severity.clone()),
        (b'V', severity),
        (b'C', notice.sqlstate.to_string()),
        (b'M', clean(&notice.message)),
    ];
    for (field, value) in [(b'D', &notice.detail), (b'H', &notice.hint)] {
        fields.extend(value.as_deref().map(|value| (field, clean(value))));
    }
    NoticeResponse::new(fields)
}

/// A string ends at its first zero byte on the wire.
fn clean(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\\0")
}

/// Characters of `text` before a place (line and column, from 1) in its part from byte `offset` on.
fn characters_before(text: &str, offset: usize, place: (u64, u64)) -> Option<usize> {
    let (line, column) = (
        usize::try_from(place.0).ok()?,
        usize::try_from(place.1).ok()?,
    );
    let part = text.get(offset..)?;
    let mut starts = std::iter::once(0).chain(part.match_indices('\n').map(|(at, _)| at + 1));
    let start = starts.nth(line.checked_sub(1)?)?;
    let before = text[..offset + start].chars().count();
    Some(before + column.checked_sub(1)?)
}

/// Precision and scale of what was declared as NUMERIC.
const NUMERIC_WITHOUT_PRECISION: (i32, i32) = (38, 10);

/// The columns of an answer in the given formats.
pub fn row_description(schema: &Schema, formats: &[Format]) -> RowDescription {
    let fields = schema.fields().iter().enumerate();
    let described = fields.map(|(i, field)| {
        let pg = format::type_of(field);
        let format = formats.get(i).copied().unwrap_or(Format::Text);
        let name = clean(field.name());
        let (table, column) = origin_of(field);
        FieldDescription::new(
            name,
            table as i32,
            column,
            pg.oid,
            pg.length,
            modifier_of(field, pg),
            format.code(),
        )
    });
    RowDescription::new(described.collect())
}

/// The modifier of a column's type. NUMERICs that are computed have none, whatever Arrow's type says: only columns that were
/// declared with one, and casts to such a type.
fn modifier_of(field: &Field, pg: PgType) -> i32 {
    let is_numeric = matches!(pg.oid, oid::NUMERIC | oid::NUMERIC_ARRAY);
    let is_declared = origin_of(field) != (0, 0) || is_cast(field);
    let is_plain = numeric_precision_and_scale(pg.typmod) == Some(NUMERIC_WITHOUT_PRECISION);
    match is_numeric && (is_plain || !is_declared) {
        true => -1,
        false => pg.typmod,
    }
}

/// The types of a statement's parameters.
pub fn parameter_description(parameters: &[FieldRef]) -> ParameterDescription {
    ParameterDescription::new(parameters.iter().map(|p| format::type_of(p).oid).collect())
}

/// The end of an answer.
pub fn ready(block: Block) -> ReadyForQuery {
    ReadyForQuery::new(match block {
        Block::Idle => TransactionStatus::Idle,
        Block::Open => TransactionStatus::Transaction,
        Block::Failed => TransactionStatus::Error,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_count_characters_of_the_whole_text() {
        let text = "SELECT 'é';\nSELECT\n  nothing";
        let offset = text.find("SELECT\n").unwrap();
        assert_eq!(characters_before(text, offset, (2, 3)), Some(21));
        assert_eq!(characters_before(text, 0, (1, 1)), Some(0));
        assert_eq!(characters_before(text, 0, (9, 1)), None);
        assert_eq!(characters_before(text, 0, (0, 0)), None);
    }

    #[test]
    fn texts_are_cut_between_characters_and_have_no_zero() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(clean(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(clean("a\0b"), "a\\0b");
    }
}
