//! `vector_search('book', 'embedding', queries, k [, metric])` in FROM.

use std::ops::ControlFlow;

use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, lit};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Statement, TableFactor, Value, Visitor,
};
use shelfmark_udfs::Metric;

use super::relation::{function, function_name};
use super::walk;
use crate::catalog::pg::functions::ARRAY_SUBSCRIPTS;
use crate::error::{Error, sqlstate};
use crate::search::knn::function::VectorSearch;

/// The name of the function.
const VECTOR_SEARCH: &str = "vector_search";
/// Its parameters, by which arguments can be named: `k => 10`.
const PARAMETERS: [&str; 5] = ["collection", "column", "queries", "k", "metric"];

/// The arguments of a call, each at the place of its parameter.
type Arguments<'a> = [Option<&'a SqlExpr>; PARAMETERS.len()];

/// Plans calls of `vector_search`.
#[derive(Debug, Default)]
pub(crate) struct VectorSearchPlanner;

impl RelationPlanner for VectorSearchPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(args) = arguments_of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let args = by_parameter(args).ok_or_else(usage)?;
        let [
            Some(collection),
            Some(column),
            Some(queries),
            Some(k),
            metric,
        ] = args
        else {
            return Err(usage().into());
        };
        let collection = collection_name(collection).ok_or_else(usage)?;
        let source = context
            .context_provider()
            .get_table_source(collection.clone())?;
        let queries = context.sql_to_expr(queries.clone(), &DFSchema::empty())?;
        let k = context.sql_to_expr(k.clone(), &DFSchema::empty())?;
        let search = VectorSearch {
            collection: (collection, source),
            column: text(column).ok_or_else(usage)?.to_string(),
            queries,
            k: number_of_rows(k)?,
            metric: metric.map_or(Ok(Metric::L2), named_metric)?,
            subscripts: function(ARRAY_SUBSCRIPTS, context)?,
        };
        let plan = search.plan()?;
        let alias = alias_of(&relation).cloned();
        let named = match alias {
            Some(_) => plan,
            None => datafusion::logical_expr::LogicalPlanBuilder::from(plan)
                .alias(VECTOR_SEARCH)?
                .build()?,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            named, alias,
        ))))
    }
}

/// The collections that a statement searches by the function: their names are texts, not relations.
pub(super) fn searched_collections(statement: &Statement) -> Vec<TableReference> {
    #[derive(Default)]
    struct Found(Vec<TableReference>);
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            let args = arguments_of(factor).and_then(by_parameter);
            let collection = args.and_then(|[collection, ..]| collection_name(collection?));
            self.0.extend(collection);
            ControlFlow::Continue(())
        }
    }
    let mut found = Found::default();
    // It never breaks.
    let _ = walk::read(statement, &mut found);
    found.0
}

/// The arguments of a relation that is a call of the function.
fn arguments_of(relation: &TableFactor) -> Option<&[FunctionArg]> {
    let (name, args) = match relation {
        TableFactor::Function { name, args, .. } => (name, args),
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => (name, &args.args),
        _ => return None,
    };
    (function_name(name) == VECTOR_SEARCH).then_some(args)
}

fn alias_of(relation: &TableFactor) -> Option<&datafusion::sql::sqlparser::ast::TableAlias> {
    match relation {
        TableFactor::Function { alias, .. } | TableFactor::Table { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// Arguments at the places of their parameters: those without a name first. `None` when they do not fit.
fn by_parameter(args: &[FunctionArg]) -> Option<Arguments<'_>> {
    let mut placed = Arguments::default();
    let mut named = false;
    for (i, arg) in args.iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Unnamed(value) if !named => (i, value),
            FunctionArg::Named { name, arg, .. } => {
                named = true;
                let is_it = |parameter: &str| parameter.eq_ignore_ascii_case(&name.value);
                (PARAMETERS.iter().position(|p| is_it(p))?, arg)
            }
            _ => return None,
        };
        let FunctionArgExpr::Expr(value) = value else {
            return None;
        };
        if placed.get_mut(place)?.replace(value).is_some() {
            return None;
        }
    }
    Some(placed)
}

fn usage() -> Error {
    let message = "vector_search takes the names of a collection and of its vector column, an array of vectors, \
                   how many rows of each, and a metric if need be";
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "For example vector_search('book', 'embedding', ARRAY['[1,2]', '[3,4]'], k => 10, metric => 'cosine').",
    )
}

fn text(expr: &SqlExpr) -> Option<&str> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The name as SQL would read it: lower case where it is not quoted.
fn collection_name(expr: &SqlExpr) -> Option<TableReference> {
    text(expr).map(|name| TableReference::parse_str(name.trim()))
}

/// How many rows an argument asks for: a number or a parameter, which may be cast as LIMIT's may.
fn number_of_rows(k: Expr) -> Result<Expr> {
    let bare = match &k {
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    match (bare, &k) {
        (Expr::Literal(value, _), Expr::Cast(cast)) => {
            Ok(lit(value.cast_to(cast.field.data_type())?))
        }
        (Expr::Literal(..) | Expr::Placeholder(_), _) => Ok(k),
        _ => {
            let message = "how many rows vector_search finds has to be a number or a parameter";
            Err(Error::unsupported(message).into())
        }
    }
}

/// The metric of a name or an operator.
fn named_metric(expr: &SqlExpr) -> Result<Metric> {
    let name = text(expr).unwrap_or_default().to_lowercase();
    match name.as_str() {
        "l2" | "<->" => Ok(Metric::L2),
        "cosine" | "<=>" => Ok(Metric::Cosine),
        "ip" | "inner_product" | "<#>" => Ok(Metric::NegativeInnerProduct),
        "l1" | "<+>" => Ok(Metric::L1),
        _ => {
            let message = format!("{expr} is no metric of vector_search");
            let error = Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(
                "The metrics are 'l2', 'cosine', 'ip' and 'l1'; the smallest comes first.",
            );
            Err(error.into())
        }
    }
}
