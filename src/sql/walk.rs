//! Walks over the parser's tree.
//!
//! `sqlparser` derives a walk of its few hundred node types, and the compiler makes all of it anew for each type of visitor:
//! with a dozen visitors that was nearly half of what there was to compile of this crate. Here a visitor is called through
//! a trait object, and the walk is made twice: for visitors that read, and for those that change.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

use crate::error::{Error, Result};

/// Shows a node and all below it to a visitor, until that breaks.
pub(in crate::sql) fn read(
    node: &impl Visit,
    visitor: &mut dyn Visitor<Break = ()>,
) -> ControlFlow<()> {
    node.visit(&mut Reading(visitor))
}

/// Calls `each` with all expressions of a node, an expression before those inside, until that breaks.
pub(in crate::sql) fn read_expressions(
    node: &impl Visit,
    mut each: impl FnMut(&Expr) -> ControlFlow<()>,
) -> ControlFlow<()> {
    read(node, &mut Expressions(&mut each))
}

/// Lets a visitor change a node and all below it.
///
/// # Errors
/// Where the visitor breaks; what it changed before stays changed.
pub(in crate::sql) fn change(
    node: &mut impl VisitMut,
    visitor: &mut dyn VisitorMut<Break = Error>,
) -> Result<()> {
    match node.visit(&mut Changing(visitor)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Calls `each` with all expressions of a node, an expression after those inside.
pub(in crate::sql) fn change_expressions(
    node: &mut impl VisitMut,
    mut each: impl FnMut(&mut Expr),
) {
    // It never breaks.
    let _ = change(node, &mut ChangedExpressions(&mut each));
}

/// Calls `each` with the expressions of a node that are not of its subqueries, an expression before those inside.
///
/// # Errors
/// The first of `each`; what it changed before stays changed.
pub(in crate::sql) fn change_outside_subqueries(
    node: &mut impl VisitMut,
    mut each: impl FnMut(&mut Expr) -> Result<()>,
) -> Result<()> {
    let mut visitor = OutsideSubqueries {
        each: &mut each,
        depth: 0,
    };
    change(node, &mut visitor)
}

/// A visitor that reads.
struct Reading<'a>(&'a mut dyn Visitor<Break = ()>);

/// A visitor that changes.
struct Changing<'a>(&'a mut dyn VisitorMut<Break = Error>);

/// Hands each node to the visitor that is inside.
macro_rules! hand_on {
    ($($node:ty: $($method:ident)*;)*) => {
        $($(
            fn $method(&mut self, node: $node) -> ControlFlow<Self::Break> {
                self.0.$method(node)
            }
        )*)*
    };
}

impl Visitor for Reading<'_> {
    type Break = ();

    hand_on! {
        &Query: pre_visit_query post_visit_query;
        &Select: pre_visit_select post_visit_select;
        &ObjectName: pre_visit_relation post_visit_relation;
        &TableFactor: pre_visit_table_factor post_visit_table_factor;
        &Expr: pre_visit_expr post_visit_expr;
        &Statement: pre_visit_statement post_visit_statement;
        &ValueWithSpan: pre_visit_value post_visit_value;
    }
}

impl VisitorMut for Changing<'_> {
    type Break = Error;

    hand_on! {
        &mut Query: pre_visit_query post_visit_query;
        &mut Select: pre_visit_select post_visit_select;
        &mut ObjectName: pre_visit_relation post_visit_relation;
        &mut TableFactor: pre_visit_table_factor post_visit_table_factor;
        &mut Expr: pre_visit_expr post_visit_expr;
        &mut Statement: pre_visit_statement post_visit_statement;
        &mut ValueWithSpan: pre_visit_value post_visit_value;
    }
}

struct Expressions<'a>(&'a mut dyn FnMut(&Expr) -> ControlFlow<()>);

impl Visitor for Expressions<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        (self.0)(expr)
    }
}

struct ChangedExpressions<'a>(&'a mut dyn FnMut(&mut Expr));

impl VisitorMut for ChangedExpressions<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        (self.0)(expr);
        ControlFlow::Continue(())
    }
}

struct OutsideSubqueries<'a> {
    each: &'a mut dyn FnMut(&mut Expr) -> Result<()>,
    /// How many subqueries the place is in.
    depth: usize,
}

impl VisitorMut for OutsideSubqueries<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.depth {
            0 => (self.each)(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue),
            _ => ControlFlow::Continue(()),
        }
    }
}
