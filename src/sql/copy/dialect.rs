//! How PostgreSQL's formats are written.

use super::options::Force;
use crate::error::{Error, Result};
use crate::sql::format::ClientEncoding;

/// A format of rows with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialect {
    /// text or csv
    Lines(LineFormat),
    /// binary
    Binary,
}

impl Dialect {
    /// The format of lines; `None` for binary.
    pub(super) fn lines(&self) -> Option<&LineFormat> {
        match self {
            Self::Lines(format) => Some(format),
            Self::Binary => None,
        }
    }
}

/// Rows as lines of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineFormat {
    /// The byte between fields.
    pub(super) delimiter: u8,
    /// What stands for NULL.
    pub(super) null: String,
    pub(super) header: Header,
    /// `None` for text.
    pub(super) quoting: Option<Quoting>,
    /// Columns that are written in quotes whatever they hold.
    pub(super) force_quote: Force,
    /// Columns in which what stands for NULL is a value.
    pub(super) force_not_null: Force,
    /// Columns in which it is NULL in quotes, too.
    pub(super) force_null: Force,
    /// What its text is in.
    pub(super) encoding: ClientEncoding,
}

/// The quotes of csv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quoting {
    pub(super) quote: u8,
    /// What takes the special meaning of a quote, and of itself, inside quotes.
    pub(super) escape: u8,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A row.
    None,
    /// The names of the columns.
    Line,
    /// The names of the columns, which have to be those of the statement.
    Match,
}

impl Force {
    /// Which of the columns are meant; `option` is the name for errors.
    ///
    /// # Errors
    /// 42P10 for one that is not among them.
    pub(super) fn flags(&self, option: &str, columns: &[&str]) -> Result<Vec<bool>> {
        match self {
            Self::Nothing => Ok(vec![false; columns.len()]),
            Self::All => Ok(vec![true; columns.len()]),
            Self::Columns(names) => {
                if let Some(name) = names.iter().find(|n| !columns.contains(&n.as_str())) {
                    let message = format!("{option} column \"{name}\" not referenced by COPY");
                    return Err(Error::invalid("42P10", message));
                }
                let is_meant = |column: &&str| names.iter().any(|name| name == column);
                Ok(columns.iter().map(is_meant).collect())
            }
        }
    }
}
