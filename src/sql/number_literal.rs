//! Numbers as PostgreSQL types them: a whole one that fits 32 bits is INTEGER, larger ones are BIGINT; one with a point or an
//! exponent is NUMERIC, and so is one that BIGINT does not hold.
//!
//! DataFusion's planner reads every whole number as BIGINT, one with a point as a double, and asks nobody. What it does ask
//! for is the meaning of an operator. So a number becomes the operand of one that no statement can be written with, and the
//! planner is told what it is: everything after that, be it coercion, overflow or the type of a column, sees the right type
//! from the beginning.
//!
//! Numbers that are no values stay as they are: the ordinals of ORDER BY and GROUP BY, LIMIT and OFFSET, the bounds of
//! window frames. Numbers with a point stay doubles beside which DataFusion would make a NUMERIC of a double: where they are
//! compared, and in INTERSECT and EXCEPT of what is not written. So they do in the terms of recursive queries, whose columns
//! have one scale. Those of more digits than a double has are exact everywhere.

mod powers;
mod untyped;

use std::ops::ControlFlow;

use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr as SqlExpr, SelectItem, UnaryOperator, Value, VisitMut, VisitorMut,
};

use self::powers::{cut_whole, given, given_mut, is_long_power};
use self::untyped::{untype, untype_bounds, untype_call, untype_key, untype_subscript};
use super::mend::{call, last_part, without_exponent};
use super::walk;
use crate::catalog::decimal_literal::decimal_of_text;
use crate::error::Error;

/// The operator of INTEGERs; its left operand is the number.
const INTEGER: &str = "integer literal";
/// The operator of NUMERICs; its left operand is the text of the number.
const NUMERIC: &str = "numeric literal";
/// The digits that tell any double from all others: a number of more of them is meant to be exact.
const DOUBLE_DIGITS: usize = 17;
/// How many integers in a list of IN are typed where the list is planned: an operator for each of them takes its time.
const LONG_LIST: usize = 64;
/// Functions that give a NUMERIC of one, or tell its type, its digits or its text.
const EXACT: [&str; 47] = [
    "abs",
    "array_agg",
    "avg",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "concat_ws",
    "div",
    "exp",
    "factorial",
    "first_value",
    "floor",
    "gcd",
    "greatest",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "lag",
    "last_value",
    "lcm",
    "lead",
    "least",
    "ln",
    "log",
    "log10",
    "max",
    "min",
    "min_scale",
    "mod",
    "nth_value",
    "nullif",
    "output_text",
    "pg_typeof",
    "pow",
    "power",
    "round",
    "scale",
    "sign",
    "signum",
    "sqrt",
    "sum",
    "to_json",
    "to_jsonb",
    "trim_scale",
    "trunc",
];

/// Gives the numbers of a statement their types. It comes last before the statement is planned: nobody else knows the
/// operators.
pub(super) fn type_numbers(node: &mut impl VisitMut) {
    // It never breaks.
    let _ = walk::change(node, &mut Typing::default());
}

/// Leaves casts to NUMERIC in VALUES as they are: all cells of a column have one field, and how many digits of a value are
/// shown is a part of it.
fn untrim_cells(body: &mut ast::SetExpr) {
    let ast::SetExpr::Values(values) = body else {
        return;
    };
    for cell in values.rows.iter_mut().flat_map(|row| row.iter_mut()) {
        if let SqlExpr::Function(function) = cell
            && is_called(function, &["trim_scale"])
            && let ast::FunctionArguments::List(list) = &mut function.args
            && let [argument] = list.args.as_mut_slice()
            && let Some(cast) = given_mut(argument)
            && is_cast_to_numeric(cast)
        {
            let cast = std::mem::replace(cast, SqlExpr::value(Value::Null));
            *cell = cast;
        }
    }
}

fn is_cast_to_numeric(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Cast { data_type, .. }
        | SqlExpr::TypedString(ast::TypedString { data_type, .. }) => is_open_numeric(data_type),
        _ => false,
    }
}

/// The number as it is written, where `expr` is one that was typed.
pub(super) fn typed_integer(expr: &SqlExpr) -> Option<&str> {
    match marked_number(expr)? {
        (INTEGER, left) => number(left),
        _ => None,
    }
}

/// The digits of a number that was typed.
pub(super) fn typed_number(expr: &SqlExpr) -> Option<&str> {
    let SqlExpr::Value(value) = marked_number(expr)?.1 else {
        return None;
    };
    match &value.value {
        Value::Number(digits, _) | Value::SingleQuotedString(digits) => Some(digits),
        _ => None,
    }
}

/// The operator of a number that was typed, and its operand.
fn marked_number(expr: &SqlExpr) -> Option<(&str, &SqlExpr)> {
    match expr {
        SqlExpr::BinaryOp {
            left,
            op: BinaryOperator::Custom(name),
            ..
        } if [INTEGER, NUMERIC].contains(&name.as_str()) => Some((name, left)),
        _ => None,
    }
}

/// An INTEGER as a BIGINT: functions of DataFusion's in FROM know no other whole numbers.
pub(super) fn widened(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int32(number), metadata) => {
            Expr::Literal(ScalarValue::Int64(number.map(i64::from)), metadata)
        }
        other => other,
    }
}

#[derive(Default)]
struct Typing {
    /// The queries around, innermost last.
    queries: Vec<OpenQuery>,
    /// The lists of IN around that are not looked at, innermost last.
    lists: Vec<Option<Vec<SqlExpr>>>,
}

/// A query that is walked through: what is in its WITH comes first.
struct OpenQuery {
    /// How many queries of its WITH are still to come.
    common_left: usize,
    /// Whether its WITH is RECURSIVE.
    is_recursive: bool,
    /// Whether numbers with a point stay doubles.
    is_inexact: bool,
}

impl Typing {
    /// Makes numbers with a point NUMERIC.
    fn type_exactly<'e>(&self, exprs: impl IntoIterator<Item = &'e mut SqlExpr>) {
        if !self.queries.last().is_some_and(|query| query.is_inexact) {
            exprs.into_iter().for_each(type_decimal);
        }
    }

    /// Whether numbers with a point stay doubles in a query that begins.
    fn begins_inexact(&mut self, query: &ast::Query) -> bool {
        let is_united = matches!(query.body.as_ref(), ast::SetExpr::SetOperation { .. });
        let mut is_inexact = is_compared(&query.body) && !is_written(&query.body);
        if let Some(around) = self.queries.last_mut() {
            let is_common = around.common_left > 0;
            around.common_left -= usize::from(is_common);
            is_inexact |= around.is_inexact || is_common && around.is_recursive && is_united;
        }
        is_inexact
    }

    /// Types what the SELECTs of a set operation, or the one there is, give.
    fn type_items(&self, body: &mut ast::SetExpr) {
        match body {
            ast::SetExpr::Select(select) => {
                let items = select.projection.iter_mut();
                self.type_exactly(items.filter_map(|item| match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                        Some(expr)
                    }
                    _ => None,
                }));
            }
            ast::SetExpr::SetOperation { left, right, .. } => {
                self.type_items(left);
                self.type_items(right);
            }
            _ => {}
        }
    }

    fn type_arguments(&self, call: &mut ast::Function) {
        let is_power = is_called(call, &["exp", "pow", "power"]);
        if is_called(call, &EXACT)
            && let ast::FunctionArguments::List(list) = &mut call.args
        {
            let given: Vec<&SqlExpr> = list.args.iter().filter_map(given).collect();
            if is_power && is_long_power(&given) {
                return;
            }
            let mut args: Vec<&mut SqlExpr> = list.args.iter_mut().filter_map(given_mut).collect();
            self.type_exactly(args.iter_mut().map(|arg| &mut **arg));
            if is_power && let [_, exponent] = args.as_mut_slice() {
                cut_whole(exponent);
            }
        }
    }

    /// Makes the numbers with a point in columns of numbers NUMERIC.
    fn type_values(&self, body: &mut ast::SetExpr) {
        let ast::SetExpr::Values(values) = body else {
            return;
        };
        let columns = values.rows.first().map_or(0, |row| row.len());
        for column in 0..columns {
            let cells = values.rows.iter().filter_map(|row| row.get(column));
            if cells.clone().all(is_number_or_null) {
                let cells = values.rows.iter_mut();
                self.type_exactly(cells.filter_map(|row| row.get_mut(column)));
            }
        }
    }
}

impl VisitorMut for Typing {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        let is_inexact = self.begins_inexact(query);
        let with = query.with.as_ref();
        self.queries.push(OpenQuery {
            common_left: with.map_or(0, |with| with.cte_tables.len()),
            is_recursive: with.is_some_and(|with| with.recursive),
            is_inexact,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<Error> {
        if let ast::TableFactor::Derived { subquery, .. } = factor {
            self.type_values(&mut subquery.body);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Error> {
        if let SqlExpr::InList { list, .. } = expr {
            let is_long = list.len() >= LONG_LIST && list.iter().all(is_integer);
            self.lists.push(is_long.then(|| std::mem::take(list)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Error> {
        match expr {
            SqlExpr::InList { list, .. } => {
                if let Some(Some(long)) = self.lists.pop() {
                    *list = long;
                }
            }
            SqlExpr::Value(_) => {
                if let Some(typed) = number(expr).and_then(typed) {
                    *expr = typed;
                }
            }
            SqlExpr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: inner,
            } => {
                let digits = typed_number(inner).or_else(|| number(inner));
                if let Some(digits) = digits.filter(|digits| !digits.starts_with('-')) {
                    match typed(&format!("-{digits}")) {
                        Some(typed) => *expr = typed,
                        // Of the least BIGINT, whose digits alone are none.
                        None => **inner = literal(digits),
                    }
                }
            }
            SqlExpr::BinaryOp { left, op, right }
                if computes(op) || *op == BinaryOperator::StringConcat =>
            {
                if *op == BinaryOperator::PGExp && is_long_power(&[left.as_ref(), right.as_ref()]) {
                    return ControlFlow::Continue(());
                }
                self.type_exactly([left.as_mut(), right.as_mut()]);
                if *op == BinaryOperator::PGExp {
                    cut_whole(right);
                }
            }
            SqlExpr::Ceil { expr, .. } | SqlExpr::Floor { expr, .. } => {
                self.type_exactly([expr.as_mut()]);
            }
            SqlExpr::Case {
                conditions,
                else_result,
                ..
            } => {
                let results = conditions.iter_mut().map(|when| &mut when.result);
                self.type_exactly(results.chain(else_result.as_deref_mut()));
            }
            SqlExpr::Cast {
                expr, data_type, ..
            } if is_text(data_type) => self.type_exactly([expr.as_mut()]),
            SqlExpr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                data_type,
                ..
            }
            | SqlExpr::TypedString(ast::TypedString { data_type, .. })
                if is_open_numeric(data_type) =>
            {
                // Behind the point it has the digits that its value needs.
                let cast = std::mem::replace(expr, SqlExpr::value(Value::Null));
                *expr = call("trim_scale", vec![cast]);
            }
            SqlExpr::Array(array) => self.type_exactly(&mut array.elem),
            SqlExpr::Interval(interval) => untype(&mut interval.value),
            SqlExpr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter_mut().for_each(untype_subscript);
            }
            SqlExpr::Function(call) => {
                self.type_arguments(call);
                untype_call(call);
                name_common_logarithm(call);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Error> {
        if let ast::GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.iter_mut().for_each(untype_key);
        }
        if let Some(ast::Distinct::On(keys)) = &mut select.distinct {
            keys.iter_mut().for_each(untype);
        }
        for ast::NamedWindowDefinition(_, window) in &mut select.named_window {
            if let ast::NamedWindowExpr::WindowSpec(window) = window {
                untype_bounds(window);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        self.type_items(&mut query.body);
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.type_values(&mut cte.query.body);
        }
        untrim_cells(&mut query.body);
        self.queries.pop();
        if let Some(ast::OrderBy {
            kind: ast::OrderByKind::Expressions(keys),
            ..
        }) = &mut query.order_by
        {
            keys.iter_mut().for_each(|key| untype(&mut key.expr));
        }
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            let offset = offset.iter_mut().map(|offset| &mut offset.value);
            limit.iter_mut().chain(offset).for_each(untype);
        }
        if let Some(quantity) = query.fetch.iter_mut().find_map(|f| f.quantity.as_mut()) {
            untype(quantity);
        }
        ControlFlow::Continue(())
    }
}

/// Whether rows of a query are compared with each other.
fn is_compared(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::SetOperation {
            op, left, right, ..
        } => *op != ast::SetOperator::Union || is_compared(left) || is_compared(right),
        _ => false,
    }
}

/// Whether all that the queries of a set operation give are numbers that are written.
fn is_written(body: &ast::SetExpr) -> bool {
    let is_number = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            is_number_or_null(expr)
        }
        _ => false,
    };
    match body {
        ast::SetExpr::Select(select) => select.projection.iter().all(is_number),
        ast::SetExpr::SetOperation { left, right, .. } => is_written(left) && is_written(right),
        _ => false,
    }
}

/// Whether it is the digits of an INTEGER.
fn is_integer(expr: &SqlExpr) -> bool {
    number(expr).is_some_and(|digits| digits.parse::<i32>().is_ok())
}

/// Whether a function has one of the names.
fn is_called(call: &ast::Function, names: &[&str]) -> bool {
    let is_name = |name: &ast::Ident| names.iter().any(|n| name.value.eq_ignore_ascii_case(n));
    last_part(&call.name).is_some_and(is_name)
}

/// `log(x)` as `log10(x)`: DataFusion divides natural logarithms, whose last digits are others.
fn name_common_logarithm(call: &mut ast::Function) {
    if let ast::FunctionArguments::List(list) = &call.args
        && list.args.len() == 1
        && is_called(call, &["log"])
    {
        call.name = ast::ObjectName::from(vec![ast::Ident::new("log10")]);
    }
}

/// Whether a type is one of texts, which have the digits of a number as they were written.
fn is_text(data_type: &ast::DataType) -> bool {
    use ast::DataType::{Character, CharacterVarying, Text, Varchar};
    matches!(
        data_type,
        Text | Varchar(_) | CharacterVarying(_) | Character(_)
    )
}

/// Whether a type is NUMERIC without precision.
fn is_open_numeric(data_type: &ast::DataType) -> bool {
    use ast::DataType::{Dec, Decimal, Numeric};
    matches!(
        data_type,
        Numeric(ast::ExactNumberInfo::None)
            | Decimal(ast::ExactNumberInfo::None)
            | Dec(ast::ExactNumberInfo::None)
    )
}

/// Whether an operator computes a number.
fn computes(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, PGExp, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo | PGExp)
}

fn is_number_or_null(cell: &SqlExpr) -> bool {
    match cell {
        SqlExpr::Value(value) => matches!(value.value, Value::Number(..) | Value::Null),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => number(expr).is_some(),
        cell => typed_integer(cell).is_some(),
    }
}

/// Makes a number with a point, or an exponent, NUMERIC.
fn type_decimal(expr: &mut SqlExpr) {
    let typed = match &mut *expr {
        SqlExpr::Nested(inner) => return type_decimal(inner),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Plus,
            expr: inner,
        } => return type_decimal(inner),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        } => number(inner)
            .filter(|digits| is_fraction(digits))
            .and_then(|digits| typed_decimal(&format!("-{digits}"))),
        other => number(other)
            .filter(|digits| is_fraction(digits))
            .and_then(typed_decimal),
    };
    if let Some(typed) = typed {
        *expr = typed;
    }
}

/// Whether a number is written with a point or an exponent.
fn is_fraction(digits: &str) -> bool {
    digits.contains(['.', 'e', 'E'])
}

/// The digits of a number, and a sign that this module has put before them.
fn number(expr: &SqlExpr) -> Option<&str> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

/// The number under the operator of its type; `None` of a BIGINT, and of what is a double where it is not computed.
fn typed(digits: &str) -> Option<SqlExpr> {
    if digits.parse::<i32>().is_ok() {
        return Some(marked(literal(digits), INTEGER));
    }
    let is_exact = digits.parse::<i64>().is_err() && significant_digits(digits) > DOUBLE_DIGITS;
    is_exact.then(|| typed_decimal(digits))?
}

/// How many digits a number has that tell it from others.
fn significant_digits(digits: &str) -> usize {
    let mantissa = digits.split(['e', 'E']).next().unwrap_or(digits);
    let digits = mantissa.trim_start_matches(['-', '0', '.']).bytes();
    digits.filter(u8::is_ascii_digit).count()
}

/// The NUMERIC of the digits, if it has room for them.
fn typed_decimal(digits: &str) -> Option<SqlExpr> {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let text = format!("{sign}{}", without_exponent(digits)?);
    decimal_of_text(&text)?;
    let text = SqlExpr::value(Value::SingleQuotedString(text));
    Some(marked(text, NUMERIC))
}

fn marked(number: SqlExpr, operator: &str) -> SqlExpr {
    SqlExpr::BinaryOp {
        left: Box::new(number),
        op: BinaryOperator::Custom(operator.to_string()),
        right: Box::new(SqlExpr::value(Value::Null)),
    }
}

/// The number that is written by the digits.
pub(super) fn literal(digits: &str) -> SqlExpr {
    SqlExpr::value(Value::Number(digits.to_string(), false))
}

/// Tells DataFusion's planner what the operators mean.
#[derive(Debug, Default)]
pub(crate) struct NumberPlanner;

impl ExprPlanner for NumberPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let BinaryOperator::Custom(operator) = &expr.op else {
            return Ok(PlannerResult::Original(expr));
        };
        let number = match (operator.as_str(), &expr.left) {
            (INTEGER, Expr::Literal(ScalarValue::Int64(Some(number)), _)) => {
                let number = i32::try_from(*number).ok();
                number.map(|number| ScalarValue::Int32(Some(number)))
            }
            (NUMERIC, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => decimal_of_text(text),
            _ => None,
        };
        Ok(match number {
            Some(number) => PlannerResult::Planned(Expr::Literal(number, None)),
            None => PlannerResult::Original(expr),
        })
    }
}

#[cfg(test)]
mod tests;
