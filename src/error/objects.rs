//! The names of what an error is about, which clients read from fields of their own and not from the message.

use super::Error;

/// What an error is about; where it is nothing of the kind, there is no name.
#[derive(Debug, Default)]
pub struct Objects {
    /// The table.
    pub table: Option<String>,
    /// The column of the table.
    pub column: Option<String>,
    /// The constraint, or the unique index.
    pub constraint: Option<String>,
}

impl Error {
    /// Adds the constraint of a table that rows do not keep.
    pub fn with_constraint(mut self, table: impl Into<String>, name: impl Into<String>) -> Self {
        self.inner.objects.table = Some(table.into());
        self.inner.objects.constraint = Some(name.into());
        self
    }

    /// Adds the column of a table that may not have a value.
    pub fn with_column(mut self, table: impl Into<String>, name: impl Into<String>) -> Self {
        self.inner.objects.table = Some(table.into());
        self.inner.objects.column = Some(name.into());
        self
    }

    /// What it is about (fields t, c and n of the protocol).
    pub fn objects(&self) -> &Objects {
        &self.inner.objects
    }
}
