//! Literals in UNION that say no type: they have that of the values in the same column, as PostgreSQL reads them.
//!
//! DataFusion takes `'2'` for a text, and makes texts of the numbers beside it. What is no value of the type is an error when
//! the text is read.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union, cast};
use datafusion::optimizer::AnalyzerRule;

/// Casts such literals. It must run before types are coerced.
#[derive(Debug, Default)]
pub(crate) struct SetLiteralRule;

impl AnalyzerRule for SetLiteralRule {
    fn name(&self) -> &str {
        "set_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut concerns = false;
        plan.apply_with_subqueries(|node| {
            concerns = matches!(node, LogicalPlan::Union(union) if wanted(union).is_some());
            Ok(match concerns {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })?;
        match concerns {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = match plan {
        LogicalPlan::Union(union) => match wanted(&union) {
            Some(types) => with_types(&union, &types)?,
            None => LogicalPlan::Union(union).recompute_schema()?,
        },
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(plan))
}

/// The types that the literals of each column get; `None` where there are no literals to change.
fn wanted(union: &Union) -> Option<Vec<Option<DataType>>> {
    let columns = 0..union.schema.fields().len();
    let types: Vec<Option<DataType>> = columns.map(|column| type_of(union, column)).collect();
    types.iter().any(Option::is_some).then_some(types)
}

/// The type of the first values of a column that are not such literals, where there are some beside it.
fn type_of(union: &Union, column: usize) -> Option<DataType> {
    let is_untyped = |input: &&Arc<LogicalPlan>| literal(input, column).is_some();
    if !union.inputs.iter().any(|input| is_untyped(&input)) {
        return None;
    }
    let mut others = union.inputs.iter().filter(|input| !is_untyped(input));
    let found = others.find_map(|input| {
        let data_type = input.schema().fields().get(column)?.data_type();
        (!data_type.is_null()).then(|| data_type.clone())
    });
    found.filter(|found| !found.is_string() && !found.is_nested())
}

/// The literal without a type that a SELECT gives a column.
fn literal(input: &LogicalPlan, column: usize) -> Option<&Expr> {
    let LogicalPlan::Projection(projection) = input else {
        return None;
    };
    let expr = projection.expr.get(column)?;
    let is_untyped = matches!(
        unaliased(expr),
        Expr::Literal(ScalarValue::Utf8(Some(_)), metadata) if metadata.is_none()
    );
    is_untyped.then_some(expr)
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn with_types(union: &Union, types: &[Option<DataType>]) -> Result<LogicalPlan> {
    let inputs = union.inputs.iter().map(|input| {
        let LogicalPlan::Projection(projection) = input.as_ref() else {
            return Ok(Arc::clone(input));
        };
        let exprs = projection.expr.iter().zip(types).enumerate();
        let exprs = exprs.map(|(column, (expr, wanted))| match wanted {
            Some(wanted) if literal(input, column).is_some() => {
                let (table, field) = projection.schema.qualified_field(column);
                cast(unaliased(expr).clone(), wanted.clone())
                    .alias_qualified(table.cloned(), field.name())
            }
            _ => expr.clone(),
        });
        let typed = Projection::try_new(exprs.collect(), Arc::clone(&projection.input))?;
        Ok(Arc::new(LogicalPlan::Projection(typed)))
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}
