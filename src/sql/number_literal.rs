//! Numbers as PostgreSQL types them: a whole one that fits 32 bits is INTEGER, larger ones are BIGINT; one with a point is
//! NUMERIC.
//!
//! DataFusion's planner reads every whole number as BIGINT, one with a point as a double, and asks nobody. What it does ask
//! for is the meaning of an operator. So a number becomes the operand of one that no statement can be written with, and the
//! planner is told what it is: everything after that, be it coercion, overflow or the type of a column, sees the right type
//! from the beginning.
//!
//! Numbers that are no values stay as they are: the ordinals of ORDER BY and GROUP BY, LIMIT and OFFSET, the bounds of
//! window frames. Numbers with a point stay doubles beside which DataFusion would make a NUMERIC of a double: where they are
//! compared, and in INTERSECT and EXCEPT. So they do in the terms of recursive queries, whose columns have one scale.

use std::ops::ControlFlow;

use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr as SqlExpr, SelectItem, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::mend::{last_part, without_exponent};
use super::walk;
use crate::catalog::decimal_literal::decimal_of_text;
use crate::error::Error;

/// The operator of INTEGERs; its left operand is the number.
const INTEGER: &str = "integer literal";
/// The operator of NUMERICs; its left operand is the text of the number.
const NUMERIC: &str = "numeric literal";
/// Functions that give a NUMERIC of one, or tell its type, its digits or its text.
const EXACT: [&str; 44] = [
    "abs",
    "array_agg",
    "avg",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "concat_ws",
    "div",
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

/// The number as it is written, where `expr` is one that was typed.
pub(super) fn typed_integer(expr: &SqlExpr) -> Option<&str> {
    match expr {
        SqlExpr::BinaryOp {
            left,
            op: BinaryOperator::Custom(name),
            ..
        } if name == INTEGER => number(left),
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
        let mut is_inexact = is_compared(&query.body);
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
        if is_called(call, &EXACT)
            && let ast::FunctionArguments::List(list) = &mut call.args
        {
            self.type_exactly(list.args.iter_mut().filter_map(|arg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            }));
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

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Error> {
        match expr {
            SqlExpr::Value(_) => {
                if let Some(typed) = number(expr).and_then(typed) {
                    *expr = typed;
                }
            }
            SqlExpr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: inner,
            } => {
                let digits = typed_integer(inner).or_else(|| number(inner));
                if let Some(digits) = digits.filter(|digits| !digits.starts_with('-'))
                    && let Some(typed) = typed(&format!("-{digits}"))
                {
                    *expr = typed;
                }
            }
            SqlExpr::BinaryOp { left, op, right }
                if computes(op) || *op == BinaryOperator::StringConcat =>
            {
                self.type_exactly([left.as_mut(), right.as_mut()]);
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
            SqlExpr::Array(array) => self.type_exactly(&mut array.elem),
            SqlExpr::Interval(interval) => untype(&mut interval.value),
            SqlExpr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter_mut().for_each(untype_subscript);
            }
            SqlExpr::Function(call) => {
                self.type_arguments(call);
                untype_call(call);
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

/// Whether a function has one of the names.
fn is_called(call: &ast::Function, names: &[&str]) -> bool {
    let is_name = |name: &ast::Ident| names.iter().any(|n| name.value.eq_ignore_ascii_case(n));
    last_part(&call.name).is_some_and(is_name)
}

/// Whether a type is one of texts, which have the digits of a number as they were written.
fn is_text(data_type: &ast::DataType) -> bool {
    use ast::DataType::{Character, CharacterVarying, Text, Varchar};
    matches!(
        data_type,
        Text | Varchar(_) | CharacterVarying(_) | Character(_)
    )
}

/// Whether an operator computes a number.
fn computes(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
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
    let text = match &mut *expr {
        SqlExpr::Nested(inner) => return type_decimal(inner),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        } => number(inner)
            .and_then(plain_decimal)
            .map(|n| format!("-{n}")),
        other => number(other).and_then(plain_decimal),
    };
    if let Some(text) = text.filter(|text| decimal_of_text(text).is_some()) {
        let text = SqlExpr::value(Value::SingleQuotedString(text));
        *expr = marked(text, NUMERIC);
    }
}

/// The digits without an exponent; `None` of a whole number.
fn plain_decimal(digits: &str) -> Option<String> {
    let is_whole = !digits.contains(['.', 'e', 'E']);
    (!is_whole).then(|| without_exponent(digits))?
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

/// The number under the operator, if it fits.
fn typed(digits: &str) -> Option<SqlExpr> {
    digits.parse::<i32>().ok()?;
    Some(marked(literal(digits), INTEGER))
}

fn marked(number: SqlExpr, operator: &str) -> SqlExpr {
    SqlExpr::BinaryOp {
        left: Box::new(number),
        op: BinaryOperator::Custom(operator.to_string()),
        right: Box::new(SqlExpr::value(Value::Null)),
    }
}

fn literal(digits: &str) -> SqlExpr {
    SqlExpr::value(Value::Number(digits.to_string(), false))
}

/// Makes a number that is typed what it was.
fn untype(expr: &mut SqlExpr) {
    if let SqlExpr::Nested(inner) = expr {
        return untype(inner);
    }
    let Some(digits) = typed_integer(expr) else {
        return;
    };
    *expr = match digits.strip_prefix('-') {
        None => literal(digits),
        Some(digits) => SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(literal(digits)),
        },
    };
}

/// [`untype`] of a key of GROUP BY, or of those in its sets.
fn untype_key(key: &mut SqlExpr) {
    match key {
        SqlExpr::Rollup(sets) | SqlExpr::Cube(sets) | SqlExpr::GroupingSets(sets) => {
            sets.iter_mut().flatten().for_each(untype);
        }
        SqlExpr::Tuple(keys) => keys.iter_mut().for_each(untype),
        key => untype(key),
    }
}

/// The bounds of a window frame, and what `count` counts: DataFusion knows `count(1)` for `count(*)`.
fn untype_call(call: &mut ast::Function) {
    if let Some(ast::WindowType::WindowSpec(window)) = &mut call.over {
        untype_bounds(window);
    }
    if is_called(call, &["count"])
        && let ast::FunctionArguments::List(list) = &mut call.args
        && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(counted))] =
            list.args.as_mut_slice()
    {
        untype(counted);
    }
}

/// DataFusion finds an element of an array that it gathers by a BIGINT alone.
fn untype_subscript(access: &mut ast::AccessExpr) {
    if let ast::AccessExpr::Subscript(ast::Subscript::Index { index }) = access {
        untype(index);
    }
}

fn untype_bounds(window: &mut ast::WindowSpec) {
    let Some(frame) = &mut window.window_frame else {
        return;
    };
    use ast::WindowFrameBound::{Following, Preceding};
    let bounds = std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound);
    for bound in bounds {
        if let Preceding(Some(rows)) | Following(Some(rows)) = bound {
            untype(rows);
        }
    }
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::sql::tokens::DIALECT;

    /// The statement as it is planned, with `n::int4` and `'n'::numeric` for what is typed.
    fn shown(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&DIALECT, sql).unwrap();
        type_numbers(&mut statements[0]);
        statements[0]
            .to_string()
            .replace(&format!(" {INTEGER} NULL"), "::int4")
            .replace(&format!(" {NUMERIC} NULL"), "::numeric")
    }

    #[test]
    fn numbers_that_fit_are_integers() {
        for (sql, expected) in [
            ("SELECT 1, -1, (2)", "SELECT 1::int4, -1::int4, (2::int4)"),
            ("SELECT 2147483647", "SELECT 2147483647::int4"),
            ("SELECT 2147483648", "SELECT 2147483648"),
            ("SELECT -2147483648", "SELECT -2147483648::int4"),
            ("SELECT -2147483649", "SELECT -2147483649"),
            ("SELECT - -5, -(5)", "SELECT --5::int4, -(5::int4)"),
            ("SELECT '1' WHERE a > 1.5", "SELECT '1' WHERE a > 1.5"),
            (
                "SELECT a + 1 FROM t WHERE b IN (1, 3000000000)",
                "SELECT a + 1::int4 FROM t WHERE b IN (1::int4, 3000000000)",
            ),
            ("VALUES (1), (2)", "VALUES (1::int4), (2::int4)"),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn numbers_with_a_point_are_exact_where_they_may_be() {
        for (sql, expected) in [
            (
                "SELECT 1.50, (-2.5)",
                "SELECT '1.50'::numeric, ('-2.5'::numeric)",
            ),
            (
                "SELECT 15e-1, 1e3",
                "SELECT '1.5'::numeric, '1000.'::numeric",
            ),
            ("SELECT a * 1.5 > 2.5", "SELECT a * '1.5'::numeric > 2.5"),
            (
                "SELECT abs(-1.5), sin(2.0), coalesce(a, 2.0)",
                "SELECT abs('-1.5'::numeric), sin(2.0), coalesce(a, '2.0'::numeric)",
            ),
            (
                "SELECT CASE WHEN a > 1.5 THEN 1.5 ELSE 2.5 END, ARRAY[1.5, a]",
                "SELECT CASE WHEN a > 1.5 THEN '1.5'::numeric ELSE '2.5'::numeric END, ARRAY['1.5'::numeric, a]",
            ),
            (
                "SELECT x FROM (VALUES (1, 1.5), (2, NULL)) AS v (n, x)",
                "SELECT x FROM (VALUES (1::int4, '1.5'::numeric), (2::int4, NULL)) AS v (n, x)",
            ),
            (
                "SELECT x FROM (VALUES (1.5), (a)) AS v (x)",
                "SELECT x FROM (VALUES (1.5), (a)) AS v (x)",
            ),
            (
                "SELECT 1.5 UNION ALL SELECT d FROM t",
                "SELECT '1.5'::numeric UNION ALL SELECT d FROM t",
            ),
            (
                "SELECT 1.5 EXCEPT SELECT d FROM t",
                "SELECT 1.5 EXCEPT SELECT d FROM t",
            ),
            (
                "SELECT a * 1.5 FROM t INTERSECT SELECT d FROM t",
                "SELECT a * 1.5 FROM t INTERSECT SELECT d FROM t",
            ),
            (
                "WITH RECURSIVE t AS (SELECT 1.5 AS n UNION ALL SELECT n * 1.5 FROM t), u AS (SELECT 2.5) SELECT n * 1.5 FROM t",
                "WITH RECURSIVE t AS (SELECT 1.5 AS n UNION ALL SELECT n * 1.5 FROM t), u AS (SELECT '2.5'::numeric) SELECT n * '1.5'::numeric FROM t",
            ),
            ("SELECT 1e300", "SELECT 1e300"),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn numbers_that_are_no_values_stay() {
        for sql in [
            "SELECT a FROM t ORDER BY 1 LIMIT 2 OFFSET 3",
            "SELECT a FROM t FETCH FIRST 2 ROWS ONLY",
            "SELECT DISTINCT ON (1) a FROM t GROUP BY 1, (2)",
            "SELECT a FROM t GROUP BY ROLLUP (1, (2))",
            "SELECT count(*) OVER (ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t",
            "SELECT count(*) OVER w FROM t WINDOW w AS (ROWS 1 PRECEDING)",
            "SELECT a FROM t ORDER BY -1",
            "SELECT count(1), count(DISTINCT 2), (array_agg(a))[1] FROM t",
        ] {
            let plain = Parser::parse_sql(&DIALECT, sql).unwrap();
            assert_eq!(shown(sql), plain[0].to_string(), "{sql}");
        }
    }
}
