//! Function calls in FROM.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, SelectItem, TableFactor,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::arguments::in_order;
use super::build::{argument, binary, call, cast_as, nested};
use super::unqualify;
use crate::error::Result;
use crate::sql::parser::fold;
use crate::sql::tokens::DIALECT;
use crate::sql::walk;

/// Makes calls in FROM functions that may use what stands before them.
///
/// # Errors
/// Those of [`in_order`].
pub(super) fn call_in_from(factor: &mut TableFactor) -> Result<()> {
    if let TableFactor::Table {
        name,
        args: Some(ast::TableFunctionArgs { args, .. }),
        ..
    }
    | TableFactor::Function { name, args, .. } = factor
    {
        in_order(name, args)?;
    }
    if let Some(records) = records_of(factor) {
        *factor = records;
        return Ok(());
    }
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            with_ordinality,
            ..
        } => {
            unqualify(name);
            args.args.iter_mut().for_each(uncast_relation);
            let uses_columns = args.args.iter().any(uses_columns);
            let with_ordinality = *with_ordinality;
            if uses_columns || with_ordinality {
                *factor = TableFactor::Function {
                    lateral: uses_columns,
                    name: name.clone(),
                    args: args.args.clone(),
                    with_ordinality,
                    alias: alias.take(),
                };
            }
        }
        TableFactor::Function { name, .. } => unqualify(name),
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_offset: false,
            with_ordinality,
            ..
        } => {
            let args: Vec<FunctionArg> = array_exprs.iter().cloned().map(argument).collect();
            *factor = TableFactor::Function {
                lateral: args.iter().any(uses_columns),
                name: ObjectName::from(vec![Ident::new("unnest")]),
                args,
                with_ordinality: *with_ordinality,
                alias: alias.take(),
            };
        }
        _ => {}
    }
    Ok(())
}

/// `f('t'::regclass)` as `f('t')`, whose function looks the name up: the cast would be made before, of a number.
fn uncast_relation(argument: &mut FunctionArg) {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
        return;
    };
    if let Expr::Cast {
        data_type: ast::DataType::Regclass,
        expr: of,
        ..
    } = expr
        && matches!(of.as_ref(), Expr::Value(_))
    {
        *expr = Expr::clone(of);
    }
}

/// `json_to_record(j) AS x (a int, ..)` as `(SELECT (j ->> 'a')::int AS a, ..) AS x`, and `json_to_recordset` as the same
/// from the elements of the array.
fn records_of(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table {
        name,
        alias: Some(alias),
        args: Some(args),
        with_ordinality: false,
        ..
    } = factor
    else {
        return None;
    };
    let called = name.0.last()?.as_ident().map(fold)?;
    let elements = match called.as_str() {
        "json_to_record" | "jsonb_to_record" => None,
        "json_to_recordset" => Some("json_array_elements"),
        "jsonb_to_recordset" => Some("jsonb_array_elements"),
        _ => return None,
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(json))] = args.args.as_slice() else {
        return None;
    };
    let json = cast_as(nested(json.clone()), ast::DataType::JSON);
    let record = match elements {
        None => json.clone(),
        Some(_) => Expr::Identifier(Ident::new("value")),
    };
    let columns = alias.columns.iter().map(|column| member(&record, column));
    let from = match elements {
        None => "SELECT 1".to_string(),
        Some(elements) => format!("SELECT 1 FROM {elements}(1) AS elements (value)"),
    };
    let mut parser = Parser::new(&DIALECT).try_with_sql(&from).ok()?;
    let mut subquery = parser.parse_query().ok()?;
    let ast::SetExpr::Select(select) = subquery.body.as_mut() else {
        return None;
    };
    select.projection = columns.collect::<Option<Vec<_>>>()?;
    if let Some(from) = select.from.first_mut()
        && let TableFactor::Table {
            args: Some(args), ..
        } = &mut from.relation
    {
        args.args = vec![argument(json)];
    }
    let mut alias = alias.clone();
    alias.columns.clear();
    Some(TableFactor::Derived {
        lateral: args.args.iter().any(uses_columns),
        subquery,
        alias: Some(alias),
        sample: None,
    })
}

/// A member of a record as a column of the type that it is given; `None` without a type, and for arrays.
fn member(record: &Expr, column: &ast::TableAliasColumnDef) -> Option<SelectItem> {
    let data_type = column.data_type.clone()?;
    let op = match data_type {
        ast::DataType::Array(_) => return None,
        ast::DataType::JSON | ast::DataType::JSONB => ast::BinaryOperator::Arrow,
        _ => ast::BinaryOperator::LongArrow,
    };
    let key = Expr::value(ast::Value::SingleQuotedString(fold(&column.name)));
    let member = nested(binary(record.clone(), op, key));
    Some(SelectItem::ExprWithAlias {
        expr: cast_as(member, data_type),
        alias: column.name.clone(),
    })
}

/// Whether an argument names a column.
fn uses_columns(argument: &FunctionArg) -> bool {
    names_columns(argument)
}

/// Whether a node names a column.
pub(super) fn names_columns(node: &impl ast::Visit) -> bool {
    let found = walk::read_expressions(node, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Makes calls of arrays that are written with columns, where these may be of a query further out: DataFusion looks for
/// columns of an array in the query itself alone.
pub(super) fn call_arrays(node: &mut impl ast::VisitMut) {
    walk::change_expressions(node, |expr| {
        if let Expr::Array(array) = expr
            && names_columns(&array.elem)
        {
            *expr = call("make_array", std::mem::take(&mut array.elem));
        }
    });
}
