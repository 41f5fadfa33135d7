//! What SET and INSERT assign: columns, lists of columns, and elements of arrays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::Expr as DfExpr;
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    ObjectNamePart, OrderByKind, Query, SelectItem, SetExpr, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::{Target, quoted, target_columns};
use crate::error::{Error, Result, sqlstate};
use crate::sql::functions::{SET_ELEMENT, SET_SLICE};
use crate::sql::mend::{array_of_literal, call};
use crate::sql::number_literal::type_numbers;
use crate::sql::parser::{OPEN, fold, is_subscript};
use crate::sql::session::Planning;
use crate::sql::tokens::{DIALECT, tokenize};
use crate::storage::collection::Collection;
use crate::storage::schema::{Column, ColumnType};

/// The new values by the names of their columns.
///
/// # Errors
/// 42703 for a column that is not there, 42601 for one that gets two values, and those of values that do not fit.
pub(super) fn assignments(
    target: &Target,
    assignments: Vec<ast::Assignment>,
) -> Result<HashMap<String, Expr>> {
    let mut values: HashMap<String, (Expr, bool)> = HashMap::new();
    for (name, value) in single_assignments(assignments)? {
        let Place { name, subscripts } = Place::of(&name)?;
        let column = target.assigned(&name)?;
        let is_whole = subscripts.is_empty();
        match values.entry(column.name.clone()) {
            Entry::Occupied(mut entry) => {
                if is_whole || entry.get().1 {
                    let name = entry.key();
                    let message = format!("multiple assignments to same column \"{name}\"");
                    return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
                }
                let before = entry.get().0.clone();
                entry.get_mut().0 = assigned(before, column, subscripts, value)?;
            }
            Entry::Vacant(entry) => {
                let value = match is_whole {
                    true => value,
                    false => assigned(target.column(&column.name), column, subscripts, value)?,
                };
                entry.insert((value, is_whole));
            }
        }
    }
    let values = values.into_iter();
    Ok(values.map(|(name, (value, _))| (name, value)).collect())
}

/// `(a, b) = (1, 2)` as two assignments.
fn single_assignments(assignments: Vec<ast::Assignment>) -> Result<Vec<(ObjectName, Expr)>> {
    let mut single = Vec::with_capacity(assignments.len());
    for ast::Assignment { target, value } in assignments {
        match target {
            AssignmentTarget::ColumnName(name) => single.push((name, value)),
            AssignmentTarget::Tuple(names) => {
                let values = values_of_row(value, names.len())?;
                if names.len() != values.len() {
                    let message = "number of columns does not match number of values";
                    return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
                }
                single.extend(names.into_iter().zip(values));
            }
        }
    }
    Ok(single)
}

/// The values of a row: those that it is written with, or a subquery for each.
fn values_of_row(row: Expr, columns: usize) -> Result<Vec<Expr>> {
    match row {
        Expr::Tuple(values) => return Ok(values),
        Expr::Subquery(query) => {
            return (0..columns)
                .map(|place| column_of(&query, place, columns))
                .collect();
        }
        Expr::Function(ast::Function {
            name,
            args: FunctionArguments::List(list),
            ..
        }) if name.to_string().eq_ignore_ascii_case("row") => {
            let value = |arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
                _ => None,
            };
            let values: Option<Vec<Expr>> = list.args.into_iter().map(value).collect();
            if let Some(values) = values {
                return Ok(values);
            }
        }
        _ => {}
    }
    let message =
        "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
    Err(Error::unsupported(message))
}

/// A query for one of the columns that another gives.
fn column_of(query: &Query, place: usize, columns: usize) -> Result<Expr> {
    let mut query = query.clone();
    if let Some(items) = plain_items(&query) {
        if items.len() != columns {
            let message = "number of columns does not match number of values";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        name_order(&mut query, &items);
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.projection = vec![SelectItem::UnnamedExpr(items[place].1.clone())];
        }
        return Ok(Expr::Subquery(Box::new(query)));
    }
    let names: Vec<String> = (0..columns).map(|at| format!("column{at}")).collect();
    let text = format!(
        "SELECT column{place} FROM (SELECT 1) AS row_({})",
        names.join(", ")
    );
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokenize(&text)?);
    let mut outer = parser.parse_query()?;
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(from) = select.from.first_mut()
        && let ast::TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        **subquery = query;
    }
    Ok(Expr::Subquery(outer))
}

/// The names and values of a SELECT each item of which stands for itself.
fn plain_items(query: &Query) -> Option<Vec<(Option<String>, Expr)>> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let by_place = match &select.group_by {
        ast::GroupByExpr::Expressions(by, _) => by.iter().any(|by| matches!(by, Expr::Value(_))),
        ast::GroupByExpr::All(_) => true,
    };
    if select.distinct.is_some() || by_place {
        return None;
    }
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some((None, expr.clone())),
        SelectItem::ExprWithAlias { expr, alias } => Some((Some(fold(alias)), expr.clone())),
        _ => None,
    };
    select.projection.iter().map(item).collect()
}

/// Writes out what ORDER BY names by its place or its alias.
fn name_order(query: &mut Query, items: &[(Option<String>, Expr)]) {
    let Some(OrderByKind::Expressions(by)) = query.order_by.as_mut().map(|by| &mut by.kind) else {
        return;
    };
    for by in by {
        let item = match &by.expr {
            Expr::Value(value) => match &value.value {
                Value::Number(place, _) => {
                    let place = place.parse::<usize>().ok();
                    place.and_then(|place| items.get(place.checked_sub(1)?))
                }
                _ => None,
            },
            Expr::Identifier(name) => {
                let name = Some(fold(name));
                items.iter().find(|(alias, _)| *alias == name)
            }
            _ => None,
        };
        if let Some((_, expr)) = item {
            by.expr = expr.clone();
        }
    }
}

/// What a value is assigned to.
pub(super) struct Place {
    /// The name of the column.
    pub name: String,
    /// Which part of it.
    pub subscripts: Vec<Subscript>,
}

/// A part of an array.
pub(super) enum Subscript {
    /// The element at a place.
    Element(Box<Expr>),
    /// The elements from a place to another; none is the array's own bound.
    Slice(Option<Box<Expr>>, Option<Box<Expr>>),
    /// A field of a row, which no column is yet.
    Field(String),
}

impl Place {
    /// The place that a target names: what follows the first name, as in `t.a`, is a part of it, for targets are not
    /// qualified.
    ///
    /// # Errors
    /// 42601 for one without a column.
    pub(super) fn of(target: &ObjectName) -> Result<Self> {
        let mut name = None;
        let mut subscripts = Vec::new();
        for part in &target.0 {
            match part {
                ObjectNamePart::Identifier(ident) if name.is_none() => name = Some(fold(ident)),
                ObjectNamePart::Identifier(ident) => subscripts.push(Subscript::Field(fold(ident))),
                ObjectNamePart::Function(call) if is_subscript(&call.name) => {
                    subscripts.push(Subscript::of(&call.args)?);
                }
                ObjectNamePart::Function(_) => name = None,
            }
        }
        match name {
            Some(name) => Ok(Self { name, subscripts }),
            None => {
                let message = format!("\"{target}\" is not a name");
                Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
            }
        }
    }
}

impl Subscript {
    fn of(arguments: &[FunctionArg]) -> Result<Self> {
        let bound = |argument: &FunctionArg| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))
                if name.quote_style.is_some() && name.value == OPEN =>
            {
                Some(None)
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(Some(expr.clone())),
            _ => None,
        };
        let bounds: Option<Vec<Option<Expr>>> = arguments.iter().map(bound).collect();
        match bounds.as_deref() {
            Some([Some(at)]) => Ok(Self::Element(Box::new(at.clone()))),
            Some([from, to]) => {
                let boxed = |bound: &Option<Expr>| bound.clone().map(Box::new);
                Ok(Self::Slice(boxed(from), boxed(to)))
            }
            _ => Err(Error::invalid(
                sqlstate::SYNTAX_ERROR,
                "an array subscript takes a place, or the bounds of a slice",
            )),
        }
    }
}

/// The value of a column, a part of which is another value.
///
/// # Errors
/// 42804 for a column without parts or with other ones, 0A000 for parts of parts, and for DEFAULT.
pub(super) fn assigned(
    before: Expr,
    column: &Column,
    subscripts: Vec<Subscript>,
    value: Expr,
) -> Result<Expr> {
    if super::is_default(&value) {
        return Err(Error::unsupported("cannot set an array element to DEFAULT"));
    }
    if let Some(Subscript::Field(field)) = subscripts.first() {
        return Err(not_composite(field, column, &column.column_type));
    }
    match &column.column_type {
        ColumnType::Array(element) => assigned_element(before, column, element, subscripts, value),
        ColumnType::Jsonb => assigned_member(before, column, subscripts, value),
        other => {
            let message =
                format!("cannot subscript type {other} because it does not support subscripting");
            Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message))
        }
    }
}

fn not_composite(field: &str, column: &Column, of: &ColumnType) -> Error {
    let name = &column.name;
    let message = format!(
        "cannot assign to field \"{field}\" of column \"{name}\" because its type {of} is not a composite type"
    );
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
}

fn assigned_element(
    before: Expr,
    column: &Column,
    element: &ColumnType,
    mut subscripts: Vec<Subscript>,
    value: Expr,
) -> Result<Expr> {
    let subscript = match (subscripts.pop(), subscripts.is_empty()) {
        (Some(subscript), true) => subscript,
        _ => {
            let message = "assignment to an element of an array within an array is not supported";
            return Err(Error::unsupported(message));
        }
    };
    match subscript {
        Subscript::Element(at) => {
            let value = cast_to(value, element)?;
            let at = cast_to(*at, &ColumnType::Integer)?;
            Ok(call(SET_ELEMENT, vec![before, value, at]))
        }
        Subscript::Slice(from, to) => {
            let number = |text: &str| Expr::value(Value::Number(text.to_string(), false));
            let from = from.map_or_else(|| number("1"), |from| *from);
            let length = || call("array_length", vec![before.clone(), number("1")]);
            let to = to.map_or_else(length, |to| *to);
            let value = cast_to(value, &ColumnType::Array(Box::new(element.clone())))?;
            let from = cast_to(from, &ColumnType::Integer)?;
            let to = cast_to(to, &ColumnType::Integer)?;
            Ok(call(SET_SLICE, vec![before, value, from, to]))
        }
        Subscript::Field(field) => Err(not_composite(&field, column, element)),
    }
}

/// `document['a']['b'] = value`.
fn assigned_member(
    before: Expr,
    column: &Column,
    subscripts: Vec<Subscript>,
    value: Expr,
) -> Result<Expr> {
    let mut path = Vec::with_capacity(subscripts.len());
    for subscript in subscripts {
        match subscript {
            Subscript::Element(key) => path.push(cast_to(*key, &ColumnType::Text)?),
            Subscript::Slice(..) => {
                let message = "jsonb subscript does not support slices";
                return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message));
            }
            Subscript::Field(field) => {
                return Err(not_composite(&field, column, &column.column_type));
            }
        }
    }
    let path = Expr::Array(ast::Array {
        elem: path,
        named: true,
    });
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_string()));
    let document = |text| Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(text),
        data_type: ast::DataType::JSONB,
        array: false,
        format: None,
    };
    let before = call("coalesce", vec![before, document(text("{}"))]);
    Ok(call("jsonb_set", vec![before, path, document(value)]))
}

/// The value as one of the type; labels of an enum are checked where they are stored.
fn cast_to(value: Expr, column_type: &ColumnType) -> Result<Expr> {
    if column_type.enum_type().is_some() {
        return Ok(value);
    }
    let value = match column_type {
        ColumnType::Array(_) => array_of_literal(&value).unwrap_or(value),
        _ => value,
    };
    let tokens = tokenize(&column_type.to_string())?;
    let data_type = Parser::new(&DIALECT)
        .with_tokens_with_locations(tokens)
        .parse_data_type()?;
    Ok(Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(value),
        data_type,
        array: false,
        format: None,
    })
}

/// Places of the columns that a list names, none of them in parts.
///
/// # Errors
/// Those of [`target_columns`]; 0A000 for parts.
pub(super) fn whole_columns(collection: &Collection, names: &[ObjectName]) -> Result<Vec<usize>> {
    for name in names {
        if !Place::of(name)?.subscripts.is_empty() {
            let message = "MERGE does not insert into parts of columns";
            return Err(Error::unsupported(message));
        }
    }
    target_columns(collection, names)
}

impl Planning<'_> {
    /// The values of an INSERT with those of the parts of a column joined, and where each column's are.
    pub(super) fn joined_parts(
        &self,
        source: LogicalPlan,
        targets: Vec<usize>,
        names: &[ObjectName],
        collection: &Collection,
    ) -> Result<(LogicalPlan, Vec<usize>)> {
        let mut places = names.iter().map(Place::of).collect::<Result<Vec<_>>>()?;
        if places.iter().all(|place| place.subscripts.is_empty()) {
            return Ok((source, targets));
        }
        places.truncate(targets.len());
        let value = |at: usize| format!("value{at}");
        let given = source.schema().columns().into_iter().enumerate();
        let given = given.map(|(at, column)| DfExpr::Column(column).alias(value(at)));
        let source = LogicalPlanBuilder::from(source).project(given)?.build()?;
        let mut joined: Vec<(usize, Expr)> = Vec::new();
        for (at, (target, place)) in targets.into_iter().zip(places).enumerate() {
            let given = Expr::Identifier(quoted(&value(at)));
            let Some(column) = collection.schema.columns.get(target) else {
                continue;
            };
            let known = joined.iter().position(|(column, _)| *column == target);
            let before = match known {
                Some(known) => joined.remove(known).1,
                None => cast_to(Expr::value(Value::Null), &column.column_type)?,
            };
            let value = match place.subscripts.is_empty() {
                true => given,
                false => assigned(before, column, place.subscripts, given)?,
            };
            joined.push((target, value));
        }
        let (targets, values): (Vec<usize>, Vec<Expr>) = joined.into_iter().unzip();
        let values = values.into_iter().map(|mut value| {
            type_numbers(&mut value);
            self.parsed(value, source.schema())
        });
        let values: Vec<DfExpr> = values.collect::<Result<_>>()?;
        let source = LogicalPlanBuilder::from(source).project(values)?.build()?;
        Ok((source, targets))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn columns(text: &str, count: usize) -> Vec<String> {
        let tokens = tokenize(text).unwrap();
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        let row = parser.parse_expr().unwrap();
        let values = values_of_row(row, count).unwrap();
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_row_is_a_value_for_each_column() {
        assert_eq!(columns("ROW(1, DEFAULT)", 2), ["1", "DEFAULT"]);
        assert_eq!(
            columns("(SELECT a, b AS c FROM s ORDER BY c, 1 LIMIT 1)", 2),
            [
                "(SELECT a FROM s ORDER BY b, a LIMIT 1)",
                "(SELECT b FROM s ORDER BY b, a LIMIT 1)"
            ]
        );
        assert_eq!(
            columns("(SELECT * FROM s)", 2)[1],
            "(SELECT column1 FROM (SELECT * FROM s) AS row_ (column0, column1))"
        );
    }
}
