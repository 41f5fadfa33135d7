//! Correlated subqueries that DataFusion cannot turn into joins: run once for each distinct set of outer values.
//!
//! DataFusion plans a correlated subquery as a join when its outer columns stand in equalities of its filters, and
//! refuses all others. Those become calls of an asynchronous function over the outer columns and the statement's
//! parameters; the function puts the values into the subquery's plan, runs it, and remembers the answer while the batch
//! lasts. A LATERAL relation becomes a function too, whose answer is a list of rows, unnested after the call.
//!
//! It is slow beside a join (a plan for each distinct set of values) and meant for queries of catalogs, but holds for
//! every query; without it they would be errors.

mod absent;
mod conditions;
mod function;
mod lambda_places;
mod membership;
mod references;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, UnnestOptions};
use datafusion::config::ConfigOptions;
use datafusion::execution::context::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::async_udf::AsyncScalarUDF;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Signature, Sort,
    Subquery, TypeSignature, Volatility, not,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use parking_lot::RwLock;

use self::absent::may_be_absent;
use self::conditions::asks;
use self::function::{Answer, SubqueryFunction};
pub(crate) use self::lambda_places::LambdaPlacesRule;
use self::references::{Reference, free_references, parameters};
pub(in crate::sql) use self::references::{subquery_of, subquery_of_mut};

/// The state of the session that runs the statements, set when the session is made.
pub(crate) type SessionCell = Arc<OnceLock<Weak<RwLock<SessionState>>>>;

/// Makes function calls of correlated subqueries that DataFusion cannot plan.
#[derive(Debug)]
pub(crate) struct CorrelatedRule {
    session: SessionCell,
}

impl CorrelatedRule {
    /// A rule whose calls run in the session.
    pub fn new(session: SessionCell) -> Self {
        Self { session }
    }

    fn rewrite(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if asks(&join) => self.conditioned(join),
            LogicalPlan::Join(join) => self.lateral(join),
            LogicalPlan::Sort(sort) if sort.expr.iter().any(|by| holds_subquery(&by.expr)) => {
                self.sorted(sort)
            }
            LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(holds_subquery) => {
                self.aggregated(aggregate)
            }
            LogicalPlan::Filter(filter) if holds_subquery(&filter.predicate) => {
                let schema = filter.input.schema();
                let condition = self.memberships(filter.predicate, schema, true)?;
                let condition = condition.transform_up(|expr| self.call(expr, schema, true))?;
                let filter = Filter::try_new(condition.data, filter.input)?;
                Ok(Transformed::yes(LogicalPlan::Filter(filter)))
            }
            plan @ LogicalPlan::Projection(_) => {
                let schema = merge_schema(&plan.inputs());
                let names = NamePreserver::new(&plan);
                plan.map_expressions(|expr| {
                    let name = names.save(&expr);
                    let expr = expr.transform_up(|expr| self.call(expr, &schema, false))?;
                    Ok(expr.update_data(|expr| name.restore(expr)))
                })
            }
            plan => Ok(Transformed::no(plan)),
        }
    }

    /// A sort by subqueries: they are computed in columns of their own before it.
    fn sorted(&self, sort: Sort) -> Result<Transformed<LogicalPlan>> {
        let Sort { expr, input, fetch } = sort;
        let columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let name = |place: usize| format!("__sort_{place}");
        let keys = expr.iter().enumerate();
        let keys = keys.map(|(place, by)| by.expr.clone().alias(name(place)));
        let keyed = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
            .project(columns.iter().cloned().chain(keys))?
            .build()?;
        let keyed = self.rewrite(keyed)?.data;
        let by = expr.iter().enumerate().map(|(place, by)| {
            let key = Expr::Column(Column::from_name(name(place)));
            by.with_expr(key)
        });
        let sorted = LogicalPlanBuilder::from(keyed)
            .sort_with_limit(by.collect::<Vec<_>>(), fetch)?
            .project(columns)?
            .build()?;
        Ok(Transformed::yes(sorted))
    }

    /// Aggregates of subqueries, or with some in FILTER: they are computed in columns of their own before.
    fn aggregated(&self, aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
        let mut computed = Vec::new();
        let mut aggr_expr = Vec::with_capacity(aggregate.aggr_expr.len());
        for expr in aggregate.aggr_expr {
            let taken = expr.transform_down(|expr| {
                if !is_subquery(&expr) {
                    return Ok(Transformed::no(expr));
                }
                let name = format!("__argument_{}", computed.len());
                computed.push(expr.alias(&name));
                let column = Expr::Column(Column::from_name(name));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            })?;
            aggr_expr.push(taken.data);
        }
        let columns = aggregate.input.schema().columns();
        let columns = columns.into_iter().map(Expr::Column).chain(computed);
        let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input))
            .project(columns.collect::<Vec<_>>())?
            .build()?;
        let input = Arc::new(self.rewrite(input)?.data);
        let over = Aggregate::try_new(input, aggregate.group_expr, aggr_expr)?;
        let columns = over.schema.columns().into_iter();
        let named = columns.zip(aggregate.schema.iter());
        let named = named.map(|(column, (table, field))| {
            Expr::Column(column).alias_qualified(table.cloned(), field.name())
        });
        let named = named.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(LogicalPlan::Aggregate(over))
            .project(named)?
            .build()?;
        Ok(Transformed::yes(plan))
    }

    /// The call for a subquery that cannot become a join.
    fn call(&self, expr: Expr, schema: &DFSchema, in_filter: bool) -> Result<Transformed<Expr>> {
        let (subquery, answer, negated) = match &expr {
            Expr::ScalarSubquery(subquery) => (subquery, Answer::Value, false),
            Expr::Exists(Exists { subquery, negated }) => (subquery, Answer::Exists, *negated),
            // In filters it is a join.
            Expr::InSubquery(inside)
                if !in_filter
                    || mixes_names(&inside.subquery)
                    || numbers_rows(&inside.subquery.subquery)
                    || inside.negated && !inside.subquery.outer_ref_columns.is_empty()
                    || OuterReads::of(&inside.subquery.subquery).below =>
            {
                let references = free_references(&inside.subquery.subquery);
                let plan = &inside.subquery.subquery;
                let call = self.apply(plan, references, Answer::Among, schema)?;
                let Expr::ScalarFunction(mut call) = call else {
                    return Ok(Transformed::no(expr));
                };
                call.args.push(inside.expr.as_ref().clone());
                let call = Expr::ScalarFunction(call);
                return Ok(Transformed::yes(if inside.negated {
                    not(call)
                } else {
                    call
                }));
            }
            _ => return Ok(Transformed::no(expr)),
        };
        let references = free_references(&subquery.subquery);
        // EXISTS outside of a filter is never planned as a join.
        let planned = match answer {
            Answer::Exists if !in_filter => false,
            _ => references.is_empty() || becomes_join(subquery, &references, answer, schema),
        };
        if planned {
            return Ok(Transformed::no(expr));
        }
        let call = self.apply(&subquery.subquery, references, answer, schema)?;
        Ok(Transformed::yes(if negated { not(call) } else { call }))
    }

    /// The call of a subquery's plan over the outer columns that it reads.
    fn apply(
        &self,
        plan: &Arc<LogicalPlan>,
        references: Vec<Reference>,
        answer: Answer,
        schema: &DFSchema,
    ) -> Result<Expr> {
        let parameters = parameters(plan)?;
        let argument = |(field, column): &Reference| match schema.has_column(column) {
            true => Expr::Column(column.clone()),
            // A column of a query further out.
            false => Expr::OuterReferenceColumn(Arc::clone(field), column.clone()),
        };
        let arguments = references.iter().map(argument);
        let given = parameters.iter().cloned().map(Expr::Placeholder);
        let arguments: Vec<Expr> = arguments.chain(given).collect();
        // The value that is looked for among the rows comes last.
        let arity = match arguments.len() + usize::from(answer == Answer::Among) {
            0 => TypeSignature::Nullary,
            n => TypeSignature::Any(n),
        };
        let function = SubqueryFunction {
            plan: Arc::clone(plan),
            references,
            parameters,
            answer,
            // Volatile: it must stay where it is, in a projection or a filter.
            signature: Signature::new(arity, Volatility::Volatile),
            session: Arc::clone(&self.session),
        };
        let function = AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf();
        Ok(function.call(arguments))
    }

    /// `left, LATERAL right` as the unnested answers of `right` for each row of `left`.
    fn lateral(&self, join: Join) -> Result<Transformed<LogicalPlan>> {
        let references = match join.right.as_ref() {
            LogicalPlan::Subquery(_) | LogicalPlan::SubqueryAlias(_) => {
                free_references(&join.right)
            }
            _ => Vec::new(),
        };
        let left = join.left.schema();
        let inner = matches!(join.join_type, JoinType::Inner | JoinType::Left);
        if references.is_empty() || !inner || lateral_becomes_join(&join.right) {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        const ROWS: &str = "__lateral_rows";
        let keep_all = join.join_type == JoinType::Left;
        let right = Arc::clone(&join.right);
        let equal = join.on.into_iter().map(|(l, r)| l.eq(r));
        let condition = conjunction(equal.chain(join.filter));
        // A row of the left side stays though none of the right one meets the condition: it is looked at inside.
        let (right, condition) = match condition {
            Some(condition) if keep_all => {
                let inside = as_seen_inside(condition, left)?;
                let filtered = Filter::try_new(inside, right)?;
                (Arc::new(LogicalPlan::Filter(filtered)), None)
            }
            condition => (right, condition),
        };
        let references = free_references(&right);
        let rows = self
            .apply(&right, references, Answer::Rows, left)?
            .alias(ROWS);
        let columns = |schema: &DFSchema| schema.columns().into_iter().map(Expr::Column);
        let options = UnnestOptions::new().with_preserve_nulls(keep_all);
        let unnested = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&join.left)))
            .project(columns(left).chain([rows]))?
            .unnest_column_with_options(Column::from_name(ROWS), options)?;
        let row = Expr::Column(Column::from_name(ROWS));
        let fields = right
            .schema()
            .iter()
            .enumerate()
            .map(|(i, (qualifier, field))| {
                get_field(row.clone(), inner_name(i))
                    .alias_qualified(qualifier.cloned(), field.name())
            });
        let fields: Vec<Expr> = fields.collect();
        let mut builder = unnested.project(columns(left).chain(fields))?;
        if let Some(condition) = condition {
            builder = builder.filter(condition)?;
        }
        Ok(Transformed::yes(builder.build()?))
    }
}

impl AnalyzerRule for CorrelatedRule {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(may_be_absent(plan)?
            .transform_up_with_subqueries(|plan| self.rewrite(plan))?
            .data)
    }

    fn name(&self) -> &str {
        "correlated_subqueries"
    }
}

/// A condition over both sides of a join as the right side reads it: columns of the left one are outer columns.
fn as_seen_inside(condition: Expr, left: &DFSchema) -> Result<Expr> {
    let outer = |expr: Expr| {
        Ok(match expr {
            Expr::Column(column) if left.has_column(&column) => {
                let (_, field) = left.qualified_field_from_column(&column)?;
                Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column))
            }
            other => Transformed::no(other),
        })
    };
    Ok(condition.transform(outer)?.data)
}

/// The name of a field of a row of a LATERAL relation: places, because names may come twice.
fn inner_name(place: usize) -> String {
    format!("c{place}")
}

/// Whether the value of a subquery is part of the expression.
fn holds_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_subquery(e))).unwrap_or(false)
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)
    )
}

/// Whether DataFusion plans the subquery as a join.
fn becomes_join(
    subquery: &Subquery,
    references: &[Reference],
    answer: Answer,
    schema: &DFSchema,
) -> bool {
    let near = references
        .iter()
        .all(|(_, column)| schema.has_column(column));
    if !near || !reads_outer_in_filters(&subquery.subquery) || numbers_rows(&subquery.subquery) {
        return false;
    }
    let reads = OuterReads::of(&subquery.subquery);
    let pull_up = match answer {
        Answer::Exists if reads.above && reads.below => return false,
        Answer::Exists => PullUpCorrelatedExpr::new().with_exists_sub_query(true),
        Answer::Value | Answer::Rows | Answer::Among => {
            if !is_one_row(&subquery.subquery) {
                return false;
            }
            PullUpCorrelatedExpr::new().with_need_handle_count_bug(true)
        }
    };
    pulled(subquery, pull_up).is_some_and(|pulled| pulled.can_pull_up && !pulls_twins(&pulled))
}

/// What DataFusion pulls out of a subquery; `None` where it fails.
fn pulled(subquery: &Subquery, mut pull_up: PullUpCorrelatedExpr) -> Option<PullUpCorrelatedExpr> {
    let plan = LogicalPlan::clone(&subquery.subquery);
    plan.rewrite(&mut pull_up).ok()?;
    Some(pull_up)
}

/// Whether the conditions that leave a subquery name columns of several tables that are called alike: above, DataFusion
/// tells them by their names alone.
fn pulls_twins(pull_up: &PullUpCorrelatedExpr) -> bool {
    pull_up.correlated_subquery_cols_map.values().any(|pulled| {
        let mut names = HashSet::new();
        !pulled.iter().all(|column| names.insert(&column.name))
    })
}

/// [`pulls_twins`] of a subquery behind IN.
fn mixes_names(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
        && pulled(subquery, PullUpCorrelatedExpr::new()).is_some_and(|pulled| pulls_twins(&pulled))
}

/// Where a subquery reads outer columns: above the aliases in it, or below one. DataFusion loses the tables of conditions
/// that it pulls up from both.
#[derive(Default)]
struct OuterReads {
    above: bool,
    below: bool,
}

impl OuterReads {
    fn of(plan: &LogicalPlan) -> Self {
        let mut reads = Self::default();
        reads.look(plan, false);
        reads
    }

    fn look(&mut self, plan: &LogicalPlan, is_below: bool) {
        let reads = plan.contains_outer_reference();
        self.below |= reads && is_below;
        self.above |= reads && !is_below;
        let is_below = is_below || matches!(plan, LogicalPlan::SubqueryAlias(_));
        for input in plan.inputs() {
            self.look(input, is_below);
        }
    }
}

/// Whether columns of outer queries stand in filters alone.
fn reads_outer_in_filters(plan: &LogicalPlan) -> bool {
    let here = matches!(plan, LogicalPlan::Filter(_)) || !plan.contains_outer_reference();
    here && plan.inputs().into_iter().all(reads_outer_in_filters)
}

/// Whether window functions are over rows that outer columns choose: a condition that is pulled up above them would choose
/// too late.
fn numbers_rows(plan: &LogicalPlan) -> bool {
    let in_window = |plan: &LogicalPlan| {
        matches!(plan, LogicalPlan::Window(_)) && !free_references(plan).is_empty()
    };
    plan.exists(|plan| Ok(in_window(plan))).unwrap_or(false)
}

/// Whether the subquery is an aggregate over all its rows.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty() && !aggregate.aggr_expr.is_empty()
        }
        _ => false,
    }
}

/// Whether DataFusion plans the right side of a LATERAL join as one without LATERAL.
fn lateral_becomes_join(right: &LogicalPlan) -> bool {
    let inner = match right {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Subquery(subquery) = inner else {
        return false;
    };
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    let plan = LogicalPlan::clone(&subquery.subquery);
    reads_outer_in_filters(&subquery.subquery)
        && !numbers_rows(&subquery.subquery)
        && plan.rewrite(&mut pull_up).is_ok()
        && pull_up.can_pull_up
        && pull_up.pull_up_having_expr.is_none()
}
