//! CHECK constraints of a collection, evaluated over rows on their way into it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;

use super::typed::in_expression;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;

/// The most characters of a value in the detail of an error.
const SHOWN_MAX: usize = 64;

/// The conditions that rows of a collection must not make false.
pub struct Checks {
    relation: String,
    conditions: Vec<(String, Arc<dyn PhysicalExpr>)>,
    are_immutable: bool,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.conditions.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Checks {
    /// The checks of the collection; none where it has none.
    ///
    /// # Errors
    /// Whatever is wrong with a condition by now: a function it calls may be gone.
    pub fn of(collection: &Collection, state: &SessionState) -> Result<Option<Arc<Self>>> {
        let checks = &collection.schema.checks;
        if checks.is_empty() {
            return Ok(None);
        }
        let schema = DFSchema::try_from(collection.schema.arrow_schema())?;
        let mut conditions = Vec::with_capacity(checks.len());
        let mut are_immutable = true;
        for check in checks {
            let expr = state.create_logical_expr(&check.condition, &schema)?;
            are_immutable &= !expr.exists(|e| Ok(changes_with_time(e)))?;
            let expr = in_expression(expr, &schema)?;
            let expr = state.create_physical_expr(expr, &schema)?;
            conditions.push((check.name.clone(), expr));
        }
        Ok(Some(Arc::new(Self {
            relation: collection.name.name.clone(),
            conditions,
            are_immutable,
        })))
    }

    /// Whether they say the same of the same row at any time and in any session.
    pub fn are_immutable(&self) -> bool {
        self.are_immutable
    }

    /// That no row, with the collection's columns as they are stored, makes a condition false.
    ///
    /// # Errors
    /// 23514 for the first that does, and whatever the condition itself fails with.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        for (name, condition) in &self.conditions {
            let value = condition.evaluate(rows)?.into_array(rows.num_rows())?;
            let value = value.as_boolean();
            let is_false = |row: &usize| value.is_valid(*row) && !value.value(*row);
            if let Some(row) = (0..value.len()).find(is_false) {
                let message = format!(
                    "new row for relation \"{}\" violates check constraint \"{name}\"",
                    self.relation
                );
                let error = Error::invalid(sqlstate::CHECK_VIOLATION, message)
                    .with_constraint(&self.relation, name);
                return Err(
                    error.with_detail(format!("Failing row contains {}.", shown(rows, row)))
                );
            }
        }
        Ok(())
    }
}

pub(crate) fn changes_with_time(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
        Expr::ScalarVariable(..) | Expr::HigherOrderFunction(_) => true,
        _ => false,
    }
}

/// A row as an error shows it.
pub(super) fn shown(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::new().with_null("null");
    let value = |array: &Arc<dyn Array>| {
        let text = ArrayFormatter::try_new(array, &options)
            .and_then(|f| f.value(row).try_to_string())
            .unwrap_or_default();
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    };
    let values: Vec<String> = rows.columns().iter().map(value).collect();
    format!("({})", values.join(", "))
}
