//! CHECK constraints as definitions: what CREATE and ALTER TABLE make of them.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{ExprSchemable, Operator};
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast::{self, Ident};

use super::ddl::column_type_of;
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
    let (written, condition) = condition_over(planning, &definition.condition, &row)?;
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

/// The condition of a check, as it is kept and as it is planned.
///
/// # Errors
/// 42703 for a missing column, 42804 for a condition that is none, 0A000 or 42803 for one that reads more than the row.
pub(super) fn condition_over(
    planning: &Planning<'_>,
    condition: &ast::Expr,
    row: &DFSchema,
) -> Result<(ast::Expr, Expr)> {
    let (written, condition) = planned(planning, condition, row)?;
    let condition = in_expression(condition, row)?;
    check_reads_row(&condition, "check constraint")?;
    check_boolean(&condition, row)?;
    Ok((written, condition))
}

/// An expression as it is kept, and as it is planned. What cannot be planned as it was written is kept in the spelling that
/// can.
pub(super) fn planned(
    planning: &Planning<'_>,
    expr: &ast::Expr,
    row: &DFSchema,
) -> Result<(ast::Expr, Expr)> {
    let written = expr.clone();
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

/// That the expression reads the row alone; `place` says where it stands.
///
/// # Errors
/// 0A000, 42803 or 42P20 for one that reads more.
pub(super) fn check_reads_row(expr: &Expr, place: &str) -> Result<()> {
    expr.apply(|expr| match expr {
        Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => {
            Err(Error::unsupported(format!("cannot use subquery in {place}")).into())
        }
        Expr::AggregateFunction(_) => {
            let message = format!("aggregate functions are not allowed in {place}s");
            Err(Error::invalid(sqlstate::GROUPING_ERROR, message).into())
        }
        Expr::WindowFunction(_) => {
            let message = format!("window functions are not allowed in {place}s");
            Err(Error::invalid(sqlstate::WINDOWING_ERROR, message).into())
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}

/// That the operators of an expression are there for the types of their operands now, where a text would be compared or
/// computed with another value.
///
/// # Errors
/// 42883.
pub(super) fn check_operators(expr: &Expr, row: &DFSchema) -> Result<()> {
    expr.apply(|expr| {
        let Expr::BinaryExpr(binary) = expr else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let types = [binary.left.get_type(row)?, binary.right.get_type(row)?];
        let is_literal = |side: &Expr| matches!(side, Expr::Literal(..));
        let [left, right] = [&*binary.left, &*binary.right].map(is_literal);
        let mixes = match types.each_ref().map(|of| of.is_string()) {
            [true, false] => !left && types[1].is_numeric(),
            [false, true] => !right && types[0].is_numeric(),
            _ => false,
        };
        if !mixes || binary.op == Operator::StringConcat {
            return Ok(TreeNodeRecursion::Continue);
        }
        let [left, right] = types.each_ref().map(sql_name);
        let message = format!("operator does not exist: {left} {} {right}", binary.op);
        Err(Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).into())
    })?;
    Ok(())
}

/// The name of a type of values.
fn sql_name(of: &DataType) -> String {
    let field = Field::new("", of.clone(), true);
    column_type_of(&field).map_or_else(|_| of.to_string(), |of| of.to_string())
}

/// That an expression is a condition.
///
/// # Errors
/// 42804.
fn check_boolean(condition: &Expr, row: &DFSchema) -> Result<()> {
    let of = condition.get_type(row)?;
    if of.is_null() || of == DataType::Boolean {
        return Ok(());
    }
    let message = format!("argument of CHECK must be type boolean, not type {of}");
    Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message))
}

/// The columns that an expression over a row reads.
pub(super) fn columns_of(expr: &Expr, schema: &CollectionSchema) -> Vec<FieldId> {
    let refs = expr.column_refs();
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

/// An expression over a row with a column's new name.
///
/// # Errors
/// When the expression cannot be read, which it could when it was made.
pub(super) fn rename_column(expr: &str, from: &str, to: &str) -> Result<String> {
    let mut expr = parse_expr(expr)?;
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
