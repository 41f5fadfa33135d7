//! Where a recursive query may name itself: once in its recursive term, neither in a subquery nor where an outer join makes
//! rows up.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, JoinOperator, Query, Select, SetExpr, SetOperator, TableFactor, Visitor, With,
};

use super::folded;
use crate::error::{Error, Result, sqlstate};
use crate::sql::walk;

/// Looks at the recursive queries of a WITH.
///
/// # Errors
/// 42P19 where one names itself in another place.
pub(super) fn check_recursion(with: &With) -> Result<()> {
    match with.recursive {
        true => with.cte_tables.iter().try_for_each(check),
        false => Ok(()),
    }
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_RECURSION, message)
}

fn check(cte: &Cte) -> Result<()> {
    let name = folded(&cte.alias.name);
    let references = |part: &SetExpr| References::of(&name, part);
    let misplaced = |place: &str| {
        let message = format!("recursive reference to query \"{name}\" must not appear {place}");
        Err(invalid(message))
    };
    let body = in_brackets(&cte.query.body);
    let (first, term) = match body {
        SetExpr::SetOperation {
            op: SetOperator::Union,
            left,
            right,
            ..
        } => (left.as_ref(), right.as_ref()),
        body if references(body).count == 0 => return Ok(()),
        _ => {
            let form = "non-recursive-term UNION [ALL] recursive-term";
            let message = format!("recursive query \"{name}\" does not have the form {form}");
            return Err(invalid(message));
        }
    };
    if references(first).count > 0 {
        return misplaced("within its non-recursive term");
    }
    let found = references(term);
    match found.misplaced {
        Some(place) => misplaced(place),
        None if found.count > 1 => misplaced("more than once"),
        None => Ok(()),
    }
}

/// The query without the brackets around it.
fn in_brackets(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::Query(query) => in_brackets(&query.body),
        other => other,
    }
}

/// Where a query names a relation.
struct References<'a> {
    name: &'a str,
    count: usize,
    /// Where the first stands that must not stand there.
    misplaced: Option<&'static str>,
    /// Subqueries in expressions around.
    subqueries: usize,
    /// Queries around whose own WITH has the name.
    hidden: usize,
}

impl<'a> References<'a> {
    fn of(name: &'a str, part: &SetExpr) -> Self {
        let mut references = Self {
            name,
            count: 0,
            misplaced: None,
            subqueries: 0,
            hidden: 0,
        };
        // It never breaks.
        let _ = walk::read(part, &mut references);
        references
    }

    fn hides(&self, query: &Query) -> bool {
        let mut tables = query.with.iter().flat_map(|with| &with.cte_tables);
        tables.any(|cte| folded(&cte.alias.name) == self.name)
    }

    fn is_reference(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => match name.0.as_slice() {
                [only] => only.as_ident().is_some_and(|i| folded(i) == self.name),
                _ => false,
            },
            _ => false,
        }
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. }
    )
}

impl Visitor for References<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.hidden += usize::from(self.hides(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.hidden -= usize::from(self.hides(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        use JoinOperator::{FullOuter, Left, LeftOuter, Right, RightOuter};
        for from in select.from.iter().filter(|_| self.hidden == 0) {
            let mut is_left = self.is_reference(&from.relation);
            for join in &from.joins {
                let is_right = self.is_reference(&join.relation);
                let is_made_up = match join.join_operator {
                    Left(_) | LeftOuter(_) => is_right,
                    Right(_) | RightOuter(_) => is_left,
                    FullOuter(_) => is_left || is_right,
                    _ => false,
                };
                if is_made_up {
                    self.misplaced.get_or_insert("within an outer join");
                }
                is_left |= is_right;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if self.hidden == 0 && self.is_reference(factor) {
            self.count += 1;
            if self.subqueries > 0 {
                self.misplaced.get_or_insert("within a subquery");
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.subqueries += usize::from(is_subquery(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.subqueries -= usize::from(is_subquery(expr));
        ControlFlow::Continue(())
    }
}
