//! What the values of a domain must fulfil, evaluated over values on their way into one.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;

use super::options::PinnedSnapshot;
use super::typed::compiled;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::domain::Domain;
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY};

/// The name by which conditions read the value.
pub const VALUE: &str = "value";

/// A row of one value of the type, which conditions are over.
pub fn row_of(base: &ColumnType) -> SchemaRef {
    let metadata = [(SQL_TYPE_KEY.to_string(), base.sql_type())];
    let value = Field::new(VALUE, base.arrow_type(), true).with_metadata(metadata.into());
    Arc::new(Schema::new(vec![value]))
}

/// The conditions of a domain.
pub struct DomainChecks {
    domain: Arc<Domain>,
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    row: SchemaRef,
}

impl fmt::Debug for DomainChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainChecks({})", self.domain)
    }
}

impl DomainChecks {
    /// Those of a domain.
    ///
    /// # Errors
    /// Whatever is wrong with a condition by now: a function it calls may be gone.
    pub fn of(domain: &Arc<Domain>, state: &SessionState) -> Result<Self> {
        let row = row_of(&domain.base);
        let named = DFSchema::try_from(Arc::clone(&row))?;
        let mut conditions = Vec::with_capacity(domain.checks.len());
        for check in &domain.checks {
            conditions.push(compiled(&check.condition, &named, state)?);
        }
        Ok(Self {
            domain: Arc::clone(domain),
            conditions,
            row,
        })
    }

    /// Those of the columns of a collection, with the places of these.
    ///
    /// # Errors
    /// As of [`DomainChecks::of`].
    pub fn all(collection: &Collection, state: &SessionState) -> Result<Vec<(usize, Arc<Self>)>> {
        let columns = &collection.schema.columns;
        if columns.iter().all(|column| column.domain.is_none()) {
            return Ok(Vec::new());
        }
        let Some(pinned) = state.config().get_extension::<PinnedSnapshot>() else {
            let message = "a collection with columns of domains takes rows from a session";
            return Err(Error::unsupported(message));
        };
        let domains = columns.iter().enumerate();
        let domains = domains.filter_map(|(at, column)| Some((at, pinned.0.domain_of(column)?)));
        domains
            .map(|(at, domain)| Ok((at, Arc::new(Self::of(domain, state)?))))
            .collect()
    }

    /// That values, which are of the type below, are of the domain.
    ///
    /// # Errors
    /// 23502 for a NULL where none may be, 23514 for the first that makes a condition false.
    pub fn check(&self, values: &ArrayRef) -> Result<()> {
        let domain = &self.domain;
        if !domain.nullable && values.null_count() > 0 {
            let message = format!("domain {domain} does not allow null values");
            return Err(Error::invalid(sqlstate::NOT_NULL_VIOLATION, message));
        }
        let values = cast(values, &domain.base.arrow_type())?;
        let rows = RecordBatch::try_new(Arc::clone(&self.row), vec![values])?;
        for (check, condition) in domain.checks.iter().zip(&self.conditions) {
            let holds = condition.evaluate(&rows)?.into_array(rows.num_rows())?;
            if holds.as_boolean().iter().any(|holds| holds == Some(false)) {
                let name = &check.name;
                let message =
                    format!("value for domain {domain} violates check constraint \"{name}\"");
                return Err(Error::invalid(sqlstate::CHECK_VIOLATION, message));
            }
        }
        Ok(())
    }
}
