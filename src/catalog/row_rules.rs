//! What a collection makes of rows on their way into it: values that are computed, and conditions that are checked.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SessionState;

use super::checks::Checks;
use super::domains::DomainChecks;
use super::generated::GeneratedColumns;
use super::routing::Routing;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::schema::Column;

/// What new rows of a collection get and must pass, planned with the statement that brings them.
#[derive(Debug, Clone, Default)]
pub struct RowRules {
    /// Its CHECK constraints.
    checks: Option<Arc<Checks>>,
    /// The domains of its columns, with the places of these.
    domains: Vec<(usize, Arc<DomainChecks>)>,
    /// Its partitions.
    routing: Option<Arc<Routing>>,
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
            domains: DomainChecks::all(collection, state)?,
            routing: Routing::of(collection)?.map(Arc::new),
            generated: GeneratedColumns::of(collection, state)?,
        })
    }

    /// Those of a collection that has none.
    ///
    /// # Errors
    /// 0A000 for another.
    pub fn none(collection: &Collection) -> Result<Self> {
        if Self::has_some(collection) {
            let message = "a collection with checks, domains, partitions or generated columns takes rows \
                           from a DataFusion session";
            return Err(Error::unsupported(message));
        }
        Ok(Self::default())
    }

    /// Whether the collection has some.
    pub fn has_some(collection: &Collection) -> bool {
        let schema = &collection.schema;
        let is_ruled = |c: &Column| c.generated.is_some() || c.domain.is_some();
        !schema.checks.is_empty()
            || schema.partitioning.is_some()
            || schema.columns.iter().any(is_ruled)
    }

    /// Whether rules that were made for the collection as it was then are its rules now.
    pub fn are_same(then: &Collection, now: &Collection) -> bool {
        let of_domains = now.schema.columns.iter().any(|c| c.domain.is_some());
        then.schema.columns == now.schema.columns
            && then.schema.checks == now.schema.checks
            && then.is_divided_like(now)
            && (!of_domains || then.schema_version == now.schema_version)
    }

    /// That rows, with the collection's columns as they are stored, may come.
    ///
    /// # Errors
    /// 23514 and 23502 for the first that may not, and whatever a condition itself fails with.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        if let Some(routing) = &self.routing {
            routing.check(rows)?;
        }
        for (place, domain) in &self.domains {
            domain.check(rows.column(*place))?;
        }
        match &self.checks {
            Some(checks) => checks.check(rows),
            None => Ok(()),
        }
    }

    /// Whether they say the same of the same row at any time and in any session. What is computed always does.
    pub fn are_immutable(&self) -> bool {
        let checks = self.checks.as_ref();
        checks.is_none_or(|checks| checks.are_immutable()) && self.domains.is_empty()
    }
}
