//! What a collection makes of rows on their way into it: values that are computed, and conditions that are checked.

use std::sync::Arc;

use datafusion::execution::SessionState;

use super::checks::Checks;
use super::generated::GeneratedColumns;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;

/// What new rows of a collection get and must pass, planned with the statement that brings them.
#[derive(Debug, Clone, Default)]
pub struct RowRules {
    /// Its CHECK constraints.
    pub checks: Option<Arc<Checks>>,
    /// Its generated columns.
    pub generated: Option<Arc<GeneratedColumns>>,
}

impl RowRules {
    /// The rules of the collection.
    ///
    /// # Errors
    /// Whatever is wrong with an expression by now.
    pub fn of(collection: &Collection, state: &SessionState) -> Result<Self> {
        Ok(Self {
            checks: Checks::of(collection, state)?,
            generated: GeneratedColumns::of(collection, state)?,
        })
    }

    /// Those of a collection that has none.
    ///
    /// # Errors
    /// 0A000 for another.
    pub fn none(collection: &Collection) -> Result<Self> {
        if Self::has_some(collection) {
            let message = "a collection with checks or generated columns takes rows from a \
                           DataFusion session";
            return Err(Error::unsupported(message));
        }
        Ok(Self::default())
    }

    /// Whether the collection has some.
    pub fn has_some(collection: &Collection) -> bool {
        let schema = &collection.schema;
        !schema.checks.is_empty() || schema.columns.iter().any(|c| c.generated.is_some())
    }

    /// Whether they say the same of the same row at any time and in any session. What is computed always does.
    pub fn are_immutable(&self) -> bool {
        let checks = self.checks.as_ref();
        checks.is_none_or(|checks| checks.are_immutable())
    }
}
