//! CHECK constraints as definitions: what CREATE and ALTER TABLE make of them.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::ExprSchemable;
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast::{self, Ident};

use super::default_name::first_free;
use super::dml::parse_expr;
use super::mend::mend_expression;
use super::parser::fold;
use super::session::Planning;
use super::statement::CheckDefinition;
use super::walk;
use crate::catalog::typed::in_expression;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::{Check, CollectionSchema, FieldId};

/// Adds a check to the schema of the collection named `relation`.
///
/// # Errors
/// 42710 for a name that exists, 42703 for a missing column, 42804 for a condition that is none, 0A000 or 42803 for one
/// that reads more than the row.
pub(super) fn add(
    planning: &Planning<'_>,
    relation: &str,
    schema: &mut CollectionSchema,
    definition: &CheckDefinition,
) -> Result<()> {
    let row = DFSchema::try_from(schema.arrow_schema())?;
    let (written, condition) = planned(planning, &definition.condition, &row)?;
    let condition = in_expression(condition, &row)?;
    check_condition(&condition, &row)?;
    let columns: Vec<FieldId> = columns_of(&condition, schema);
    let name = match &definition.name {
        Some(name) => fold(name),
        None => free_name(relation, schema, &columns),
    };
    if schema.checks.iter().any(|c| c.name == name) {
        let message = format!("constraint \"{name}\" for relation \"{relation}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    schema.checks.push(Check {
        name,
        condition: written.to_string(),
        columns,
    });
    schema.checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// A condition as it is kept, and as it is planned. What cannot be planned as it was written is kept in the spelling that
/// can.
fn planned(
    planning: &Planning<'_>,
    condition: &ast::Expr,
    row: &DFSchema,
) -> Result<(ast::Expr, Expr)> {
    let written = condition.clone();
    let error = match planning.parsed(written.clone(), row) {
        Ok(planned) => return Ok((written, planned)),
        Err(error) => error,
    };
    let mut mended = written;
    mend_expression(&mut mended)?;
    match planning.parsed(mended.clone(), row) {
        Ok(planned) => Ok((mended, planned)),
        Err(_) => Err(error),
    }
}

/// That the condition is one, and reads the row alone.
fn check_condition(condition: &Expr, row: &DFSchema) -> Result<()> {
    condition.apply(|expr| match expr {
        Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => {
            Err(Error::unsupported("cannot use subquery in check constraint").into())
        }
        Expr::AggregateFunction(_) => {
            let message = "aggregate functions are not allowed in check constraints";
            Err(Error::invalid(sqlstate::GROUPING_ERROR, message).into())
        }
        Expr::WindowFunction(_) => {
            let message = "window functions are not allowed in check constraints";
            Err(Error::invalid(sqlstate::WINDOWING_ERROR, message).into())
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    let of = condition.get_type(row)?;
    if of.is_null() || of == arrow::datatypes::DataType::Boolean {
        return Ok(());
    }
    let message = format!("argument of CHECK must be type boolean, not type {of}");
    Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message))
}

fn columns_of(condition: &Expr, schema: &CollectionSchema) -> Vec<FieldId> {
    let refs = condition.column_refs();
    let columns = schema.columns.iter();
    let read = columns.filter(|c| refs.iter().any(|r| r.name == c.name));
    read.map(|c| c.id).collect()
}

/// `table_column_check`, or `table_check` where it reads several columns, with a number behind it where that is taken.
fn free_name(relation: &str, schema: &CollectionSchema, columns: &[FieldId]) -> String {
    let base = match columns {
        [one] => {
            let name = schema.column_by_id(*one).map_or("", |c| c.name.as_str());
            format!("{relation}_{name}_check")
        }
        _ => format!("{relation}_check"),
    };
    let is_free = |name: &String| schema.checks.iter().all(|c| c.name != *name);
    first_free(|number| format!("{base}{number}"), is_free)
}

/// The condition of a check with a column's new name.
///
/// # Errors
/// When the condition cannot be read, which it could when it was made.
pub(super) fn rename_column(condition: &str, from: &str, to: &str) -> Result<String> {
    let mut expr = parse_expr(condition)?;
    let new = Ident::with_quote('"', to);
    walk::change_expressions(&mut expr, |expr| {
        let ident = match expr {
            ast::Expr::Identifier(ident) => Some(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.last_mut(),
            _ => None,
        };
        if let Some(ident) = ident.filter(|ident| fold(ident) == from) {
            *ident = new.clone();
        }
    });
    Ok(expr.to_string())
}
