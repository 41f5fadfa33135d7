//! LIMIT and OFFSET of more than a number: `LIMIT 1.6`, `LIMIT '2'`, `LIMIT (SELECT count(*) FROM t)`.
//!
//! DataFusion counts rows by constants alone. How many a subquery gives is known when it has run: it is compared with
//! `row_number()` in the order of the query.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, LimitClause, OrderByKind, Query, Value, Visitor,
};

use super::build::{binary, call, cast_as, nested};
use super::ties::keep_places;
use crate::error::{Error, Result, sqlstate};
use crate::sql::functions::{ROWS_SKIPPED, ROWS_TAKEN};
use crate::sql::walk;

/// Makes whole numbers of what is none, and a condition of a subquery.
///
/// # Errors
/// 42P10 for columns beside a subquery; [`check_counts`] finds the others.
pub(super) fn limit_by_queries(query: &mut Query) -> Result<()> {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return Ok(());
    };
    let mut holds_query = false;
    let parts = [
        ("LIMIT", limit.as_mut()),
        ("OFFSET", offset.as_mut().map(|offset| &mut offset.value)),
    ];
    for (clause, count) in parts {
        if let Some(count) = count {
            let parts = Parts::of(count);
            if parts.has_query && parts.has_column {
                return Err(has_variables(clause));
            }
            holds_query |= parts.has_query;
            make_whole(count);
        }
    }
    if holds_query {
        let limit = limit.take();
        let offset = offset.take().map(|offset| offset.value);
        query.limit_clause = None;
        count_rows(query, limit, offset);
    }
    Ok(())
}

/// Keeps the rows from one place to another.
fn count_rows(query: &mut Query, limit: Option<Expr>, offset: Option<Expr>) {
    let keys = match query.order_by.as_ref().map(|by| &by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.clone(),
        _ => Vec::new(),
    };
    let count = |function: &str, count: Option<Expr>| {
        let count = count.unwrap_or_else(|| Expr::value(Value::Null));
        let big = cast_as(nested(count), ast::DataType::BigInt(None));
        call(function, vec![big])
    };
    let skipped = count(ROWS_SKIPPED, offset);
    let taken = count(ROWS_TAKEN, limit);
    keep_places(query, "row_number", keys, |place| {
        let is_behind = binary(place.clone(), BinaryOperator::Gt, skipped.clone());
        let behind = nested(binary(place, BinaryOperator::Minus, skipped));
        let is_taken = binary(behind, BinaryOperator::LtEq, taken);
        nested(binary(is_behind, BinaryOperator::And, is_taken))
    });
}

/// Makes a whole number of one with a point, or of a text.
fn make_whole(count: &mut Expr) {
    let Expr::Value(value) = count else {
        return;
    };
    let whole = match &value.value {
        Value::SingleQuotedString(text) => text.trim().parse::<i64>().ok(),
        Value::Number(digits, _) if digits.contains('.') => {
            let number = digits.parse::<f64>().ok().map(f64::round);
            number
                .filter(|number| *number < 9e15)
                .map(|number| number as i64)
        }
        _ => None,
    };
    if let Some(whole) = whole.filter(|whole| *whole >= 0) {
        *count = Expr::value(Value::Number(whole.to_string(), false));
    }
}

/// That no LIMIT and no OFFSET of a statement counts by columns. By now the parameters of functions have numbers.
///
/// # Errors
/// 42P10.
pub(in crate::sql) fn check_counts(statement: &ast::Statement) -> Result<()> {
    struct Counts(Option<Error>);
    impl Visitor for Counts {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause else {
                return ControlFlow::Continue(());
            };
            let offset = offset.as_ref().map(|offset| &offset.value);
            let parts = [("LIMIT", limit.as_ref()), ("OFFSET", offset)];
            let bad = |(_, count): &&(&str, Option<&Expr>)| {
                count.is_some_and(|count| Parts::of(count).has_column)
            };
            self.0 = parts
                .iter()
                .find(bad)
                .map(|(clause, _)| has_variables(clause));
            match self.0 {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }
    }
    let mut counts = Counts(None);
    let _ = walk::read(statement, &mut counts);
    counts.0.map_or(Ok(()), Err)
}

fn has_variables(clause: &str) -> Error {
    let message = format!("argument of {clause} must not contain variables");
    Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message)
}

/// What an expression is made of.
#[derive(Default)]
struct Parts {
    depth: usize,
    /// Whether there is a subquery.
    has_query: bool,
    /// Whether there is a column outside of one.
    has_column: bool,
}

impl Parts {
    fn of(expr: &Expr) -> Self {
        let mut parts = Self::default();
        // It never breaks.
        let _ = walk::read(expr, &mut parts);
        parts
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.has_query = true;
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        self.has_column |= is_column && self.depth == 0;
        ControlFlow::Continue(())
    }
}
