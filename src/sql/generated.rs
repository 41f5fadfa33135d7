//! Generated columns as definitions: what CREATE and ALTER TABLE make of GENERATED ALWAYS AS (..) STORED.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast;

use super::constraint::{check_reads_row, columns_of, planned};
use super::parser::fold;
use super::session::Planning;
use super::statement::ColumnDefinition;
use crate::catalog::assign::check_assignable;
use crate::catalog::checks::changes_with_time;
use crate::catalog::typed::in_expression;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::{CollectionSchema, Column, Generated};

/// Functions that give the same for moments in whatever zone the session is.
const ZONELESS: [&str; 8] = [
    "age",
    "coalesce",
    "greatest",
    "least",
    "nullif",
    "timezone",
    "to_unixtime",
    "typed",
];

/// Makes columns generated ones whose definitions say so.
///
/// # Errors
/// Those of [`set`]; 42P17 for the column of the partition key.
pub(super) fn set_all(
    planning: &Planning<'_>,
    schema: &mut CollectionSchema,
    definitions: &[ColumnDefinition],
) -> Result<()> {
    // An expression may name a column that comes behind: none may be generated as it is planned.
    let is_generated = |name: &str| {
        let mut all = definitions.iter();
        all.any(|d| d.generated.is_some() && fold(&d.name) == name)
    };
    for definition in definitions {
        if let Some(expression) = &definition.generated {
            set(
                planning,
                schema,
                &fold(&definition.name),
                expression,
                &is_generated,
            )?;
        }
    }
    let partition = schema.partition_key.and_then(|id| schema.column_by_id(id));
    match partition.filter(|column| column.generated.is_some()) {
        None => Ok(()),
        Some(column) => {
            let message = "cannot use generated column in partition key";
            let detail = format!("Column \"{}\" is a generated column.", column.name);
            Err(Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message).with_detail(detail))
        }
    }
}

/// Makes the column of that name a generated one; `is_generated` tells of columns that are to be.
///
/// # Errors
/// 42P17 for an expression that is not immutable or reads a generated column, 42703 for a missing column, 42804 for a type
/// that does not fit, 0A000, 42803 or 42P20 for one that reads more than the row.
pub(super) fn set(
    planning: &Planning<'_>,
    schema: &mut CollectionSchema,
    name: &str,
    expression: &ast::Expr,
    is_generated: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let row = DFSchema::try_from(schema.arrow_schema())?;
    let (written, expr) = planned(planning, expression, &row)?;
    let expr = in_expression(expr, &row)?;
    check_reads_row(&expr, "column generation expression")?;
    let columns = columns_of(&expr, schema);
    let mut read = schema.columns.iter().filter(|c| columns.contains(&c.id));
    let is_computed =
        |c: &&Column| c.name == name || c.generated.is_some() || is_generated(&c.name);
    if let Some(other) = read.find(is_computed) {
        return Err(reads_generated(other));
    }
    if expr.exists(|expr| reads_session(expr, &row))? {
        let message = "generation expression is not immutable";
        return Err(Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message));
    }
    let mut columns_mut = schema.columns.iter_mut();
    let column = columns_mut.find(|column| column.name == name);
    let column = column.ok_or_else(|| Error::internal("a generated column is missing"))?;
    check_assignable(&expr.get_type(&row)?, column)?;
    column.generated = Some(Generated {
        expression: written.to_string(),
        columns,
    });
    Ok(())
}

fn reads_generated(column: &Column) -> Error {
    let message = format!(
        "cannot use generated column \"{}\" in column generation expression",
        column.name
    );
    let detail = "A generated column cannot reference another generated column.";
    Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message).with_detail(detail)
}

/// Whether an expression says something else at another time, or in a session with another zone.
fn reads_session(expr: &Expr, row: &DFSchema) -> DataFusionResult<bool> {
    let is_instant = |expr: &Expr| Ok(is_instant(&expr.get_type(row)?));
    let (inner, becomes) = match expr {
        Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
        Expr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
        Expr::BinaryExpr(binary) => {
            let (left, right) = (binary.left.get_type(row)?, binary.right.get_type(row)?);
            return Ok(moves_instant(&left, &right) || moves_instant(&right, &left));
        }
        Expr::ScalarFunction(call) if !ZONELESS.contains(&call.name()) => {
            let instants = call.args.iter().map(is_instant);
            let instants = instants.collect::<DataFusionResult<Vec<bool>>>()?;
            return Ok(changes_with_time(expr) || instants.contains(&true));
        }
        other => return Ok(changes_with_time(other)),
    };
    Ok(is_instant(inner)? != self::is_instant(becomes))
}

/// Whether values are instants, which sessions tell by their clocks.
fn is_instant(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(_, Some(_)))
}

/// Whether an instant goes on by days and months, whose lengths depend on the zone.
fn moves_instant(instant: &DataType, by: &DataType) -> bool {
    is_instant(instant) && matches!(by, DataType::Interval(_))
}
