//! Values that are sorted, grouped and joined by something else: intervals by their lengths, `jsonb` by keys of its own.

use arrow::datatypes::Field;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, SortExpr,
};
use shelfmark_udfs::field_of;

use super::typed::typed;
use crate::storage::schema::SQL_TYPE_KEY;

/// By what values of a type are compared.
pub(crate) struct OrderKey {
    /// Whether values of the field are of the type.
    pub(crate) is_of: fn(&Field) -> bool,
    /// What stands for a value.
    pub(crate) key: fn(Expr) -> Expr,
}

impl OrderKey {
    /// Whether the expression is of the type.
    pub(crate) fn is_of(&self, expr: &Expr, schema: &dyn ExprSchema) -> bool {
        let field = field_of(expr, schema);
        field.is_ok_and(|field| (self.is_of)(&field))
    }

    /// What the expression is compared by.
    pub(crate) fn key(&self, expr: Expr, schema: &dyn ExprSchema) -> Expr {
        match self.is_of(&expr, schema) {
            true => (self.key)(expr),
            false => expr,
        }
    }

    /// Makes keys of what is sorted by.
    pub(crate) fn sort_keys(&self, sort: &mut [SortExpr], schema: &DFSchema) {
        for by in sort {
            by.expr = self.key(std::mem::take(&mut by.expr), schema);
        }
    }

    /// Makes keys of what a window is sorted and cut by.
    pub(crate) fn window_keys(&self, params: &mut WindowFunctionParams, schema: &DFSchema) {
        self.sort_keys(&mut params.order_by, schema);
        for by in &mut params.partition_by {
            *by = self.key(std::mem::take(by), schema);
        }
    }

    /// Makes keys of what the node itself sorts, groups and joins by.
    ///
    /// # Errors
    /// Those of DataFusion's schemas.
    pub(crate) fn in_plan(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        Ok(Transformed::yes(match plan {
            LogicalPlan::Sort(mut sort) => {
                self.sort_keys(&mut sort.expr, sort.input.schema());
                LogicalPlan::Sort(sort)
            }
            LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
                let schema = distinct.input.schema();
                let on = distinct.on_expr.into_iter();
                distinct.on_expr = on.map(|expr| self.key(expr, schema)).collect();
                if let Some(sort) = &mut distinct.sort_expr {
                    self.sort_keys(sort, schema);
                }
                LogicalPlan::Distinct(Distinct::On(distinct))
            }
            LogicalPlan::Distinct(Distinct::All(input)) if self.is_in(input.schema()) => {
                let columns = input.schema().columns().into_iter().map(Expr::Column);
                let columns = columns.collect();
                self.grouped(Aggregate::try_new(input, columns, Vec::new())?)?
            }
            LogicalPlan::Aggregate(aggregate) if self.groups(&aggregate) => {
                self.grouped(aggregate)?
            }
            LogicalPlan::Join(mut join) => {
                for (left, right) in &mut join.on {
                    *left = self.key(std::mem::take(left), join.left.schema());
                    *right = self.key(std::mem::take(right), join.right.schema());
                }
                LogicalPlan::Join(join)
            }
            plan => return Ok(Transformed::no(plan)),
        }))
    }

    fn is_in(&self, schema: &DFSchema) -> bool {
        schema.fields().iter().any(|field| (self.is_of)(field))
    }

    fn groups(&self, aggregate: &Aggregate) -> bool {
        let schema = aggregate.input.schema();
        let groups = &aggregate.group_expr;
        !groups.iter().any(|e| matches!(e, Expr::GroupingSet(_)))
            && groups.iter().any(|e| self.is_of(e, schema))
    }

    /// The rows by the keys of their values, each group with the first value in it.
    fn grouped(&self, aggregate: Aggregate) -> Result<LogicalPlan> {
        let input = aggregate.input;
        let groups = aggregate.group_expr.len();
        let mut places: Vec<usize> = (0..groups + aggregate.aggr_expr.len()).collect();
        let mut group_expr = Vec::with_capacity(groups);
        let mut aggr_expr = aggregate.aggr_expr;
        for (place, expr) in aggregate.group_expr.into_iter().enumerate() {
            if !self.is_of(&expr, input.schema()) {
                group_expr.push(expr);
                continue;
            }
            group_expr.push((self.key)(expr.clone()).alias(format!("__key_{place}")));
            places[place] = groups + aggr_expr.len();
            let first = first_value_udaf().call(vec![expr]);
            aggr_expr.push(first.alias(format!("__value_{place}")));
        }
        let by_key = Aggregate::try_new(input, group_expr, aggr_expr)?;
        let columns = by_key.schema.columns();
        let shown = places.into_iter().zip(aggregate.schema.iter());
        let shown: Vec<Expr> = shown
            .map(|(place, (table, field))| {
                let column = Expr::Column(columns[place].clone());
                // An aggregate does not say what type its value is of, beside Arrow's.
                let is_first = place >= groups && field.metadata().contains_key(SQL_TYPE_KEY);
                let column = match is_first {
                    true => typed(column, field),
                    false => column,
                };
                column.alias_qualified(table.cloned(), field.name())
            })
            .collect();
        LogicalPlanBuilder::from(LogicalPlan::Aggregate(by_key))
            .project(shown)?
            .build()
    }
}
