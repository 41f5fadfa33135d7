//! RETURNING: what a statement computes of the rows that it changes.
//!
//! Its expressions are planned as those of a SELECT from the statement's tables, so that names, wildcards and
//! subqueries mean what they mean there. Then the changed rows take the place of the tables.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::sql::sqlparser::ast::{Ident, SelectItem, TableWithJoins};

use super::select;
use super::through::{ChangeThrough, Through};
use crate::catalog::dml::{ChangedRowsNode, DmlNode, Operation, Returned, ReturnedColumn};
use crate::catalog::pg::show_names;
use crate::error::{Error, Result, sqlstate};
use crate::sql::mend::name_twin_items;
use crate::sql::session::Planning;
use crate::storage::collection::Collection;

/// Columns of the query that are not those of the collection: the addresses that stand behind them.
const ADDRESS_COLUMNS: usize = 2;

/// A change of rows.
pub(super) struct Change {
    pub collection: Arc<Collection>,
    pub operation: Operation,
    /// The query for the rows, which selects from the tables of `from` unless it inserts.
    pub input: LogicalPlan,
    /// The tables that RETURNING can name: first the collection.
    pub from: Vec<TableWithJoins>,
    /// What the collection or view is called.
    pub alias: Ident,
    /// The view by which it is changed.
    pub through: Option<Through>,
}

impl Planning<'_> {
    /// The plan of a change.
    pub(super) async fn change(
        &self,
        change: Change,
        returning: Option<Vec<SelectItem>>,
    ) -> Result<LogicalPlan> {
        let engine = Arc::clone(&self.session.inner.core.engine);
        let Change {
            collection,
            operation,
            input,
            from,
            alias,
            through,
        } = change;
        let change = through.as_ref().map(|through| ChangeThrough {
            through,
            alias,
            operation,
            input: input.clone(),
        });
        let Some(mut items) = returning else {
            return match change {
                Some(change) => change.plan(self),
                None => DmlNode::plan(engine, collection, operation, input),
            };
        };
        let has_one_table = matches!(from.as_slice(), [only] if only.joins.is_empty());
        name_twin_items(&mut items, has_one_table);
        let shown = show_names(self.query(select(items, from, None)?).await?)?;
        if let Some(change) = change {
            return change.returning(self, shown);
        }
        let over = |tables: &LogicalPlan, exprs: &[Expr]| {
            let (columns, input) = returned(tables, exprs, &collection, operation, input)?;
            let (engine, collection) = (Arc::clone(&engine), Arc::clone(&collection));
            ChangedRowsNode::plan(engine, collection, operation, input, columns)
        };
        DmlNode::returning(replace_tables(shown, "RETURNING", over)?)
    }
}

/// The projection with other rows below it; `clause` is what it is of.
pub(super) fn replace_tables(
    plan: LogicalPlan,
    clause: &str,
    rows: impl FnOnce(&LogicalPlan, &[Expr]) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = plan else {
        let message = format!("{clause} takes expressions only");
        return Err(Error::unsupported(message));
    };
    let below = match projection.input.as_ref() {
        // That of types whose values are shown by other names.
        below @ LogicalPlan::Projection(_) => replace_tables(below.clone(), clause, rows)?,
        tables => {
            check_rows(tables, clause)?;
            rows(tables, &projection.expr)?
        }
    };
    let projection = Projection::try_new(projection.expr, Arc::new(below))?;
    Ok(LogicalPlan::Projection(projection))
}

/// That each row is computed of one row.
pub(super) fn check_rows(tables: &LogicalPlan, clause: &str) -> Result<()> {
    let refuse = |sqlstate, what: &str| {
        let message = format!("{what} are not allowed in {clause}");
        Err(Error::invalid(sqlstate, message))
    };
    match tables {
        LogicalPlan::Aggregate(_) => refuse(sqlstate::GROUPING_ERROR, "aggregate functions"),
        LogicalPlan::Window(_) => refuse(sqlstate::WINDOWING_ERROR, "window functions"),
        LogicalPlan::Unnest(_) => {
            refuse(sqlstate::FEATURE_NOT_SUPPORTED, "set-returning functions")
        }
        _ => Ok(()),
    }
}

/// The columns of `tables` that the expressions read: as they are stored, or from the query, which gets them as further
/// columns.
fn returned(
    tables: &LogicalPlan,
    exprs: &[Expr],
    collection: &Collection,
    operation: Operation,
    query: LogicalPlan,
) -> Result<(Vec<ReturnedColumn>, LogicalPlan)> {
    let read = columns_read(exprs)?;
    let own = collection.schema.columns.len();
    let mut query = match query {
        LogicalPlan::Projection(query) => query,
        other => Projection::try_new(
            other
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect(),
            Arc::new(other),
        )?,
    };
    let mut columns = Vec::new();
    for (place, (relation, field)) in tables.schema().iter().enumerate() {
        let column = Column::new(relation.cloned(), field.name());
        if read.as_ref().is_some_and(|read| !read.contains(&column)) {
            continue;
        }
        let is_stored = place < own && operation != Operation::Delete;
        let from = match is_stored {
            true => Returned::Stored(place),
            false => {
                let place = if place < own {
                    place
                } else {
                    place + ADDRESS_COLUMNS
                };
                let column = column_at(&query, place, &column)?;
                let at = query.expr.len();
                let name = format!("_returned_{at}");
                query.expr.push(Expr::Column(column).alias(name));
                Returned::Queried(at)
            }
        };
        columns.push((relation.cloned(), Arc::clone(field), from));
    }
    let query = Projection::try_new(query.expr, query.input)?;
    Ok((columns, LogicalPlan::Projection(query)))
}

/// The column of the tables from which the query selects.
fn column_at(query: &Projection, place: usize, expected: &Column) -> Result<Column> {
    let found = query.input.schema().iter().nth(place).map(Column::from);
    found.filter(|column| column == expected).ok_or_else(|| {
        Error::unsupported(format!(
            "RETURNING cannot read {expected} in this statement"
        ))
    })
}

/// The columns that expressions read; `None` for any, when there are subqueries, which may read them too.
pub(super) fn columns_read(exprs: &[Expr]) -> Result<Option<HashSet<Column>>> {
    let mut columns = HashSet::new();
    let mut has_subquery = false;
    for expr in exprs {
        expr.apply(|expr| {
            match expr {
                Expr::Column(column) => _ = columns.insert(column.clone()),
                Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_) => has_subquery = true,
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok((!has_subquery).then_some(columns))
}
