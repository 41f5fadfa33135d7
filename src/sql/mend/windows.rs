//! Windows by names: `OVER (w ORDER BY x)` is the window `w`, in an order.
//!
//! DataFusion reads a name that stands alone, and that in a SELECT list; what is written beside one it takes for all there is.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query,
    Select, SelectItem, SetExpr, Value, VisitMut, WindowSpec, WindowType,
};

use super::build::is_distinct;
use super::folded;
use super::grouping::place;
use crate::error::{Error, Result, sqlstate};
use crate::sql::output_names::lasting_name;
use crate::sql::walk;
use crate::sql::windows::Exclusion;

/// Writes the windows that a query's ORDER BY names.
///
/// # Errors
/// Those of [`spell_windows`].
pub(super) fn windows_in_order(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Ok(());
    };
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order.kind
        && !select.named_window.is_empty()
    {
        return spell(keys, &definitions(select)?);
    }
    Ok(())
}

/// `SELECT rank() OVER (..) .. ORDER BY 1`: beside GROUP BY DataFusion does not find the column that the place means, unless
/// it has a name.
pub(super) fn name_sorted_windows(query: &mut Query) {
    let (Some(order), SetExpr::Select(select)) = (&mut query.order_by, query.body.as_mut()) else {
        return;
    };
    let OrderByKind::Expressions(keys) = &mut order.kind else {
        return;
    };
    for key in keys {
        let Some(item) = place(&key.expr).and_then(|place| select.projection.get_mut(place)) else {
            continue;
        };
        if let SelectItem::UnnamedExpr(expr) = item
            && has_windows(expr)
        {
            // The blank is left out of the answer.
            let name = format!("{} ", lasting_name(expr).unwrap_or_default());
            let alias = Ident::with_quote('"', name);
            key.expr = Expr::Identifier(alias.clone());
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

/// Writes the windows that a SELECT names.
///
/// # Errors
/// 42704 for a name that no window has, 42P20 for one that another cannot be made of, and for window functions where there
/// are none.
pub(super) fn spell_windows(select: &mut Select) -> Result<()> {
    refuse_windows(select)?;
    if select.named_window.is_empty() {
        return Ok(());
    }
    let windows = definitions(select)?;
    for NamedWindowDefinition(name, window) in &mut select.named_window {
        if let Some(spec) = windows.get(&folded(name)) {
            *window = NamedWindowExpr::WindowSpec(spec.clone());
        }
    }
    spell(select, &windows)
}

/// # Errors
/// 0A000 for a function of distinct values over a window, 42704 for a window of a name that there is none of.
pub(super) fn check_window(function: &Function) -> Result<()> {
    let name = match &function.over {
        None => return Ok(()),
        Some(WindowType::NamedWindow(name)) => Some(name),
        Some(WindowType::WindowSpec(spec)) => spec.window_name.as_ref(),
    };
    if let Some(name) = name {
        return Err(unknown(name));
    }
    match is_distinct(function) {
        true => Err(Error::unsupported(
            "DISTINCT is not implemented for window functions",
        )),
        false => Ok(()),
    }
}

fn unknown(name: &Ident) -> Error {
    let message = format!("window \"{}\" does not exist", folded(name));
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
}

fn windowing(message: String) -> Error {
    Error::invalid(sqlstate::WINDOWING_ERROR, message)
}

/// # Errors
/// 42P20 for window functions where rows are chosen or grouped.
fn refuse_windows(select: &mut Select) -> Result<()> {
    let in_groups = match &mut select.group_by {
        GroupByExpr::Expressions(keys, _) => has_windows(keys),
        GroupByExpr::All(_) => false,
    };
    let clauses = [
        (has_windows(&mut select.selection), "WHERE"),
        (has_windows(&mut select.having), "HAVING"),
        (in_groups, "GROUP BY"),
    ];
    match clauses.into_iter().find(|(found, _)| *found) {
        Some((_, clause)) => Err(windowing(format!(
            "window functions are not allowed in {clause}"
        ))),
        None => Ok(()),
    }
}

/// Whether there are window functions outside of subqueries.
fn has_windows(node: &mut impl VisitMut) -> bool {
    let mut found = false;
    // It never breaks.
    let _ = walk::change_outside_subqueries(node, |expr| {
        found |= matches!(expr, Expr::Function(function) if function.over.is_some());
        Ok(())
    });
    found
}

type Windows = HashMap<String, WindowSpec>;

/// The windows of a SELECT, each as if it were written without the name of another.
fn definitions(select: &Select) -> Result<Windows> {
    let mut windows = Windows::new();
    for NamedWindowDefinition(name, window) in &select.named_window {
        let spec = match window {
            NamedWindowExpr::NamedWindow(other) => named(&windows, other)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => whole(spec, &windows)?,
        };
        if windows.insert(folded(name), spec).is_some() {
            let message = format!("window \"{}\" is already defined", folded(name));
            return Err(windowing(message));
        }
    }
    Ok(windows)
}

fn named<'w>(windows: &'w Windows, name: &Ident) -> Result<&'w WindowSpec> {
    windows.get(&folded(name)).ok_or_else(|| unknown(name))
}

/// The window without the name of another that it is made of.
fn whole(spec: &WindowSpec, windows: &Windows) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else {
        return Ok(spec.clone());
    };
    let base = named(windows, name)?;
    let shown = folded(name);
    if spec.partition_by.iter().any(|key| !is_mark(key)) {
        let message = format!("cannot override PARTITION BY clause of window \"{shown}\"");
        return Err(windowing(message));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        let message = format!("cannot override ORDER BY clause of window \"{shown}\"");
        return Err(windowing(message));
    }
    if base.window_frame.is_some() {
        let message = format!("cannot copy window \"{shown}\" because it has a frame clause");
        return Err(windowing(message));
    }
    let order = match base.order_by.is_empty() {
        true => &spec.order_by,
        false => &base.order_by,
    };
    Ok(WindowSpec {
        window_name: None,
        partition_by: [spec.partition_by.as_slice(), &base.partition_by].concat(),
        order_by: order.clone(),
        window_frame: spec.window_frame.clone(),
    })
}

/// Whether the key says what the frame leaves out.
fn is_mark(key: &Expr) -> bool {
    match key {
        Expr::Nested(inner) => is_mark(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Exclusion::of_mark(text).is_some(),
            _ => false,
        },
        _ => false,
    }
}

/// Writes windows for their names, outside of subqueries.
fn spell(node: &mut impl VisitMut, windows: &Windows) -> Result<()> {
    walk::change_outside_subqueries(node, |expr| {
        if let Expr::Function(function) = expr
            && let Some(window) = &mut function.over
        {
            *window = WindowType::WindowSpec(match window {
                WindowType::NamedWindow(name) => named(windows, name)?.clone(),
                WindowType::WindowSpec(spec) => whole(spec, windows)?,
            });
        }
        Ok(())
    })
}
