//! Columns of a file that are known by name.

use crate::error::Result;
use crate::sql::copy::bad_file;
use crate::storage::schema::Column;

/// How a file's columns become those of a collection.
#[derive(Debug, Clone)]
pub(super) struct Matching {
    pub(super) relation: String,
    /// Whether the statement named the columns, so that others of the file are to be left out.
    pub(super) named: bool,
}

impl Matching {
    /// Which of the file's fields each column is; `None` where its header has none of the columns' names, so that
    /// fields go by their places.
    ///
    /// # Errors
    /// 22P04 for a column that the file has not, and for a field that no column takes and that the statement did not
    /// leave out.
    pub(super) fn fields(
        &self,
        names: &[String],
        columns: &[Column],
    ) -> Result<Option<Vec<usize>>> {
        let known = columns.iter().any(|c| position(names, &c.name).is_some());
        if !known && names.len() == columns.len() {
            return Ok(None);
        }
        self.all_fields(names, columns).map(Some)
    }

    /// Which of the file's fields each column is.
    ///
    /// # Errors
    /// As [`Matching::fields`].
    pub(super) fn all_fields(&self, names: &[String], columns: &[Column]) -> Result<Vec<usize>> {
        let field = |column: &Column| {
            position(names, &column.name)
                .ok_or_else(|| bad_file(format!("the file has no column \"{}\"", column.name)))
        };
        let fields: Vec<usize> = columns.iter().map(field).collect::<Result<_>>()?;
        let extra = (0..names.len()).find(|at| !fields.contains(at));
        match extra {
            Some(at) if !self.named => {
                let (name, relation) = (&names[at], &self.relation);
                let message = format!("column \"{name}\" of the file is not in \"{relation}\"");
                Err(bad_file(message)
                    .with_hint("Name the columns to be read: COPY book (id, title) FROM .."))
            }
            _ => Ok(fields),
        }
    }
}

/// The place of a name, or else of one that differs only in case.
pub(super) fn position(names: &[String], name: &str) -> Option<usize> {
    let exact = names.iter().position(|n| n == name);
    exact.or_else(|| names.iter().position(|n| n.eq_ignore_ascii_case(name)))
}
