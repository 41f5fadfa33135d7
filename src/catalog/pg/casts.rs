//! Casts from and to the types that stand for names of objects: `'book'::regclass`, `oid::regtype::text`.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder, TryCast};
use datafusion::optimizer::AnalyzerRule;
use shelfmark_udfs::field_of;

use super::functions::{RegType, reg_type_of};
use super::relation::Kind;
use crate::catalog::pg_type;
use crate::storage::schema::SQL_TYPE_KEY;

/// The field of a type that PostgreSQL has and DataFusion does not know by name.
pub fn field_of_type(name: &str, is_quoted: bool) -> Option<Field> {
    // Unquoted, this one is character(1).
    if name == "char" && !is_quoted {
        return None;
    }
    if let Some(reg) = RegType::of_name(name) {
        return Some(Kind::Oid(reg.name()).field(""));
    }
    match name {
        "int2vector" => Some(Kind::List(Box::new(Kind::Int2), Some("int2vector")).field("")),
        "oidvector" => Some(Kind::List(Box::new(Kind::Oid("oid")), Some("oidvector")).field("")),
        "aclitem" | "pg_node_tree" | "cstring" | "unknown" | "refcursor" | "inet" | "cidr" => {
            Some(Kind::Text("text").field(""))
        }
        name => {
            let found = super::fixed::type_of_name(name)?;
            let field = pg_type::field_of_oid("", found.oid, -1)?;
            Some(Field::clone(&field))
        }
    }
}

/// Makes casts between text and these types, and parameters of them, calls of functions that read and write names.
#[derive(Debug, Default)]
pub(crate) struct RegTypeRule;

impl AnalyzerRule for RegTypeRule {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let inputs = plan.inputs();
            let schema = match inputs.is_empty() {
                // The filters of a scan are over its own columns.
                true => DFSchema::clone(plan.schema()),
                false => merge_schema(&inputs),
            };
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| rewrite(expr, &schema))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        rewritten.data.recompute_schema()
    }

    fn name(&self) -> &str {
        "reg_types"
    }
}

/// The type of names that a parameter has whose value is a text.
fn reg_parameter(expr: &Expr) -> Option<RegType> {
    let Expr::Placeholder(Placeholder {
        field: Some(field), ..
    }) = expr
    else {
        return None;
    };
    let name = field.metadata().get(SQL_TYPE_KEY)?;
    RegType::of_name(name).filter(|_| field.data_type().is_string())
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(reg) = reg_parameter(&expr) {
        return Ok(Transformed::yes(reg.reading().call(vec![expr])));
    }
    let (inner, target) = match &expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field),
        _ => return Ok(Transformed::no(expr)),
    };
    // An expression that has no type by now is somebody else's error.
    let Ok(source) = source_of(inner, schema) else {
        return Ok(Transformed::no(expr));
    };
    let (from, to) = (reg_type_of(&source), reg_type_of(target));
    Ok(match (from, to) {
        (Some(reg), None) if target.data_type().is_string() => {
            Transformed::yes(reg.writing().call(vec![inner.as_ref().clone()]))
        }
        (None, Some(reg)) if source.data_type().is_string() => {
            Transformed::yes(reg.reading().call(vec![inner.as_ref().clone()]))
        }
        _ => Transformed::no(expr),
    })
}

/// The field of an expression; of a column of an outer query too.
fn source_of(expr: &Expr, schema: &dyn ExprSchema) -> Result<FieldRef> {
    match expr {
        Expr::OuterReferenceColumn(field, _) => Ok(Arc::clone(field)),
        expr => field_of(expr, schema),
    }
}

/// The plan with its columns of these types written as names, as clients want to see them.
///
/// # Errors
/// When the plan's columns cannot be selected.
pub(crate) fn show_names(plan: LogicalPlan) -> Result<LogicalPlan> {
    let shown = |field: &Field| reg_type_of(field);
    if !plan.schema().fields().iter().any(|f| shown(f).is_some()) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::from((qualifier, field));
        match shown(field) {
            Some(reg) => reg
                .showing()
                .call(vec![column])
                .alias_qualified(qualifier.cloned(), field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
