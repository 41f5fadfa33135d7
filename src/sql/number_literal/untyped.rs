//! Numbers that are no values, as DataFusion's planner reads them.

use datafusion::sql::sqlparser::ast::{self, Expr as SqlExpr, UnaryOperator};

use super::super::frame_offsets::untype_offset;
use super::{is_called, literal, typed_number};

/// Makes a number that is typed what it was.
pub(super) fn untype(expr: &mut SqlExpr) {
    if let SqlExpr::Nested(inner) = expr {
        return untype(inner);
    }
    let Some(digits) = typed_number(expr) else {
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
pub(super) fn untype_key(key: &mut SqlExpr) {
    match key {
        SqlExpr::Rollup(sets) | SqlExpr::Cube(sets) | SqlExpr::GroupingSets(sets) => {
            sets.iter_mut().flatten().for_each(untype);
        }
        SqlExpr::Tuple(keys) => keys.iter_mut().for_each(untype),
        key => untype(key),
    }
}

/// The bounds of a window frame, and what `count` counts: DataFusion knows `count(1)` for `count(*)`.
pub(super) fn untype_call(call: &mut ast::Function) {
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
pub(super) fn untype_subscript(access: &mut ast::AccessExpr) {
    if let ast::AccessExpr::Subscript(ast::Subscript::Index { index }) = access {
        untype(index);
    }
}

pub(super) fn untype_bounds(window: &mut ast::WindowSpec) {
    let Some(frame) = &mut window.window_frame else {
        return;
    };
    use ast::WindowFrameBound::{Following, Preceding};
    let is_range = frame.units == ast::WindowFrameUnits::Range;
    let bounds = std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound);
    for bound in bounds {
        if let Preceding(Some(rows)) | Following(Some(rows)) = bound {
            untype(rows);
            if is_range {
                untype_offset(rows);
            }
        }
    }
}
