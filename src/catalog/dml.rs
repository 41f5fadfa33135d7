//! INSERT, UPDATE and DELETE as plan nodes.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use crate::error::{Error, Result};
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;

/// What a statement does to the rows of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Adds the input's rows.
    Insert,
    /// Replaces the rows at the input's addresses by the input's rows.
    Update,
    /// Removes the rows at the input's addresses.
    Delete,
}

/// The node that acts on a collection with the rows of its input.
#[derive(Debug)]
pub struct DmlNode;

impl DmlNode {
    /// The plan of the operation.
    ///
    /// # Errors
    /// 0A000 until the node exists.
    pub fn plan(
        _engine: Arc<Engine>,
        _collection: CollectionId,
        operation: Operation,
        _input: LogicalPlan,
    ) -> Result<LogicalPlan> {
        Err(Error::unsupported(format!(
            "{operation:?} is not supported yet"
        )))
    }
}
