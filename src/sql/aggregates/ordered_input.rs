//! Rows of a subquery in order are gathered in its order: `SELECT array_agg(x) FROM (SELECT x FROM t ORDER BY y) s`.
//!
//! DataFusion deals the rows of the subquery out to several threads. The keys that it sorts by become those of the aggregate,
//! in columns of their own where the subquery does not give them.
//!
//! Beside an aggregate with an order of its own DataFusion gathers the rows of one without in that order: here such a one
//! is in the order of the places of its rows.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

use crate::sql::format::{oid, type_of};
use crate::sql::functions::INTERVAL;
use crate::storage::enum_type::is_enum;

/// Gives aggregates whose answer depends on the order of the rows the order of their input. DISTINCT ones of a plain value
/// are in the order of their values, as PostgreSQL finds the distinct ones.
#[derive(Debug, Default)]
pub(crate) struct OrderedInputRule;

impl AnalyzerRule for OrderedInputRule {
    fn name(&self) -> &str {
        "ordered_input"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(gathers) => {
            in_order(aggregate)
        }
        other => Ok(Transformed::no(other)),
    }
}

fn call_of(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::AggregateFunction(call) => Some(call),
        _ => None,
    }
}

/// Whether the answer depends on the order of the rows, which the call does not say.
fn gathers(expr: &Expr) -> bool {
    call_of(expr).is_some_and(|call| {
        call.params.order_by.is_empty() && matches!(call.func.name(), "array_agg" | "string_agg")
    })
}

fn in_order(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let ordered = ordered(&aggregate.input)?;
    let schema = aggregate.input.schema();
    let by_value = |expr: &Expr| value_of_distinct(expr, schema).is_some();
    let is_placed = ordered.is_none() && aggregate.aggr_expr.iter().any(has_order);
    let (input, keys) = match ordered {
        Some((input, keys)) => (Arc::new(input), keys),
        None if is_placed => with_places(&aggregate.input)?,
        None if aggregate.aggr_expr.iter().any(by_value) => {
            (Arc::clone(&aggregate.input), Vec::new())
        }
        None => return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
    };
    let calls = aggregate.aggr_expr.into_iter();
    let calls = calls.map(|expr| match gathers(&expr) {
        true => {
            let by_value = value_of_distinct(&expr, aggregate.input.schema());
            match by_value {
                Some(by_value) => ordered_by(expr, &[by_value]),
                None if is_placed && is_distinct(&expr) => expr,
                None => ordered_by(expr, &keys),
            }
        }
        false => expr,
    });
    let calls: Vec<Expr> = calls.collect();
    let sorted = Aggregate::try_new(input, aggregate.group_expr, calls)?;
    // The name of an aggregate has its ORDER BY.
    let columns = sorted.schema.columns().into_iter();
    let shown = columns.zip(aggregate.schema.iter());
    let shown = shown.map(|(column, (table, field))| {
        Expr::Column(column).alias_qualified(table.cloned(), field.name())
    });
    let shown = shown.collect();
    let sorted = Arc::new(LogicalPlan::Aggregate(sorted));
    let shown = Projection::try_new(shown, sorted)?;
    Ok(Transformed::yes(LogicalPlan::Projection(shown)))
}

/// Whether a call says the order of its rows.
fn has_order(expr: &Expr) -> bool {
    call_of(expr).is_some_and(|call| !call.params.order_by.is_empty())
}

fn is_distinct(expr: &Expr) -> bool {
    call_of(expr).is_some_and(|call| call.params.distinct)
}

/// The rows with their places, and the order of these.
fn with_places(input: &Arc<LogicalPlan>) -> Result<(Arc<LogicalPlan>, Vec<SortExpr>)> {
    const PLACE: &str = "__place";
    let placed = LogicalPlanBuilder::from(Arc::clone(input))
        .window([row_number().alias(PLACE)])?
        .build()?;
    let place = Expr::Column(Column::from_name(PLACE));
    Ok((Arc::new(placed), vec![place.sort(true, false)]))
}

/// The order of the values of a call with DISTINCT, where their type has the order of Arrow's.
fn value_of_distinct(expr: &Expr, schema: &DFSchema) -> Option<SortExpr> {
    let params = &call_of(expr)?.params;
    let value = params.args.first().filter(|_| params.distinct)?;
    let field = value.to_field(schema).ok()?.1;
    let of = field.data_type();
    let is_plain = !of.is_nested() && *of != INTERVAL && !is_enum(&field);
    let is_json = matches!(type_of(&field).oid, oid::JSON | oid::JSONB);
    (is_plain && !is_json).then(|| value.clone().sort(true, false))
}

fn ordered_by(expr: Expr, keys: &[SortExpr]) -> Expr {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = ordered_by(*alias.expr, keys);
            Expr::Alias(alias)
        }
        // DISTINCT goes with no order but that of the values.
        Expr::AggregateFunction(mut call) if !call.params.distinct || keys.len() == 1 => {
            call.params.order_by = keys.to_vec();
            Expr::AggregateFunction(call)
        }
        other => other,
    }
}

/// The plan with the keys that its rows are sorted by; `None` where they are in no order.
fn ordered(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<SortExpr>)>> {
    Ok(match plan {
        LogicalPlan::Sort(sort) => Some((plan.clone(), sort.expr.clone())),
        LogicalPlan::Limit(limit) => ordered(&limit.input)?.map(|(input, keys)| {
            let limit = Limit {
                input: Arc::new(input),
                ..limit.clone()
            };
            (LogicalPlan::Limit(limit), keys)
        }),
        LogicalPlan::Filter(filter) => match ordered(&filter.input)? {
            Some((input, keys)) => {
                let filter = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
                Some((LogicalPlan::Filter(filter), keys))
            }
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match ordered(&alias.input)? {
            Some((input, keys)) => Some(renamed(alias, input, keys)?),
            None => None,
        },
        LogicalPlan::Projection(projection) => match ordered(&projection.input)? {
            Some((input, keys)) => Some(carried(projection, input, keys)?),
            None => None,
        },
        _ => None,
    })
}

/// The alias over the input, and the keys by the names that it gives.
fn renamed(
    alias: &SubqueryAlias,
    input: LogicalPlan,
    keys: Vec<SortExpr>,
) -> Result<(LogicalPlan, Vec<SortExpr>)> {
    let columns = input.schema().columns();
    let aliased = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
    let names = aliased.schema.columns();
    let renamed = |expr: Expr| {
        let found = match &expr {
            Expr::Column(column) => columns.iter().position(|c| c == column),
            _ => None,
        };
        Ok(match found {
            Some(place) => Transformed::yes(Expr::Column(names[place].clone())),
            None => Transformed::no(expr),
        })
    };
    let keys = keys.into_iter().map(|key| {
        let expr = key.expr.clone().transform_up(renamed)?.data;
        Ok(key.with_expr(expr))
    });
    let keys = keys.collect::<Result<_>>()?;
    Ok((LogicalPlan::SubqueryAlias(aliased), keys))
}

/// The projection with the keys among its columns.
fn carried(
    projection: &Projection,
    input: LogicalPlan,
    keys: Vec<SortExpr>,
) -> Result<(LogicalPlan, Vec<SortExpr>)> {
    let mut exprs = projection.expr.clone();
    let given = exprs.len();
    let places: Vec<usize> = keys
        .iter()
        .map(|key| {
            let is_key = |expr: &Expr| expr.clone().unalias() == key.expr;
            exprs.iter().position(is_key).unwrap_or_else(|| {
                exprs.push(
                    key.expr
                        .clone()
                        .alias(free_name(&projection.schema, exprs.len())),
                );
                exprs.len() - 1
            })
        })
        .collect();
    let carried = match exprs.len() == given {
        true => projection.clone(),
        false => Projection::try_new(exprs, Arc::new(input))?,
    };
    let columns: Vec<Column> = carried.schema.columns();
    let keys = keys.into_iter().zip(places);
    let keys = keys.map(|(key, place)| key.with_expr(Expr::Column(columns[place].clone())));
    Ok((LogicalPlan::Projection(carried.clone()), keys.collect()))
}

/// A name that no column has.
fn free_name(schema: &DFSchema, place: usize) -> String {
    let mut name = format!("__order_{place}");
    while schema.fields().iter().any(|field| *field.name() == name) {
        name.push('_');
    }
    name
}
