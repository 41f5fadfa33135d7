//! Spellings of PostgreSQL that DataFusion's planner does not read, made into ones that it does.
//!
//! Each rewrite keeps the meaning of every statement it touches:
//! - `pg_catalog.f(..)`, `OPERATOR(pg_catalog.=)`: functions and operators have no schemas here, so the qualifier that
//!   says "the built-in one" says nothing.
//! - `x COLLATE "default"`, `"C"`, `"POSIX"`: all text is compared by its bytes, as these collations do in a database
//!   of the C locale.
//! - `ARRAY(SELECT x .. ORDER BY y)` is `array_agg(x ORDER BY y)` over the same rows, and an empty array where that
//!   is NULL.
//! - `current_user` and its like without parentheses are the functions: the words are reserved, so they are no columns.
//! - `f(..)` in FROM may use columns of what stands before it, as if it were LATERAL.
//! - `generate_subscripts(a, 1)` gives the places of the array's elements as rows.
//! - `'{1,2}'` beside ANY or ALL, or cast to an array, is the array of that text; so it is beside `polroles`, which is
//!   an array.
//! - `= ANY` and `<> ALL` of an array that is written with a NULL, or of a subquery, are IN and NOT IN; ANY and ALL with
//!   other operators compare with one element after the other.
//! - `ARRAY[a, b]::vector[]` is `ARRAY[a::vector, b::vector]`.
//! - `LIKE 'a/_' ESCAPE '/'` of a constant pattern is `LIKE 'a\_'`; that of any other calls `like_escape`.
//! - `B'101'` and `X'1F'` are casts of their texts to `"bit"`; `~x` calls `bitnot`.
//! - constants that are computed with each other alone, as in `0.1 + 0.2`, are NUMERIC.
//! - in a column of VALUES, literals are cast to the type that stands beside them: of a bit string, a sparse vector, a
//!   cast, an array.
//! - `generate_series(..)` in a SELECT list gives rows, as `_pg_expandarray(..)`, `jsonb_each(..)` and their like do.
//! - `row_number()` and its like, and `cardinality(x)`, are numbers with a sign.
//! - `coalesce(x, '{}')` calls a function that gives an empty array where `x` is an array, and that text elsewhere.
//! - `a.tableoid` of a system relation is its OID, the same for all its rows; `a.xmin` is the newest transaction, since
//!   which any of them may have changed.
//! - `to_date` and `to_timestamp` with a template are functions of their own; `date(x)` is `x::date`.
//! - `t AT TIME ZONE z` calls `timezone(z, t)`; `(a, b) OVERLAPS (c, d)` is a call; an interval that DataFusion
//!   reads otherwise is a cast of its text.
//! - `json_agg` and its like are functions over `array_agg`.
//! - `every`, `|/ x`, `||/ x`, `@ x`, `a ^@ b`, `localtimestamp` and `localtime` are DataFusion's
//!   functions of other names; arguments by their names are put into their order.
//! - unnamed columns of queries in FROM and WITH, of views and of
//!   CREATE TABLE AS get PostgreSQL's names.
//! - `FETCH FIRST n ROWS WITH TIES` is a condition on `rank()`; LIMIT and OFFSET of a subquery are one on `row_number()`.
//! - `abs('-1.2')` is of a double, `array_remove(NULL, 1)` of an array: literals without a type get that of the function.
//! - `concat` and `format` write values by `output_text`: a boolean is `t` there, and `true` in a cast.
//! - `FETCH FIRST`, `SIMILAR TO`, `U&'..'`, `SUBSTRING(x FROM 'pattern')`, `array_fill` and `mod` are LIMIT, regular
//!   expressions, plain texts, `array_repeat` and `%`; a literal in ARRAY[..] is cast as the element beside it.
//! - `SELECT oid '5'` is a cast; `(x).a` is a field.
//! - `(a, b) < (c, d)`, `(a, b) IN (..)` and `(a, b) IS NULL` are about the values, one by one; so are comparisons of
//!   a row with the rows of a subquery.
//! - long chains of AND and OR become trees that are flat.
//! - `x::varchar(2)` is that of the first two characters; with ORDER BY, `x::text` is called `x`.
//! - `x::timestamp(3)` is that of `x::timestamp`, rounded.
//! - RIGHT and FULL joins with USING are over conditions, and what their common columns mean is written out.
//! - a window that another is made of is written out, and its name where it stands outside of a SELECT list.
//! - a column that comes twice in a SELECT gets a name of its own, with blanks behind it: a table of DataFusion has no two
//!   of a name.

mod arguments;
mod array_literal;
mod build;
mod calls;
mod constant;
mod elements;
mod exact;
mod from;
mod gather;
mod grouping;
mod join_alias;
mod joins;
mod limits;
mod lone_series;
mod moment;
mod names;
mod qualified;
mod quantified;
mod query;
mod recursion;
mod row_queries;
mod rows;
mod series;
mod spelling;
mod system;
mod ties;
mod twins;
mod untyped;
mod values;
mod variadic;
mod windows;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    TableFactor, UnaryOperator, UpdateTableFromKind, Value, VisitMut, VisitorMut,
};

use self::arguments::order_arguments;
pub(super) use self::array_literal::array_of_literal;
use self::array_literal::{array_of_casts, deepen};
pub(super) use self::build::call;
use self::build::cast;
use self::calls::{called_operator, mend_call};
pub(super) use self::constant::{NAMED_TYPES, share_named_type, without_exponent};
use self::constant::{bits_of_literal, check_size, list_of_any, mend_escape, share_types};
use self::exact::{compare_exactly, compute_exactly, is_exact, round_exactly};
use self::from::{call_arrays, call_in_from};
use self::grouping::{spell_distinct, spell_sets};
use self::join_alias::join_aliases;
use self::joins::merge_in_brackets;
pub(super) use self::joins::{has_natural, merge_in_order, merge_in_select, refuse_merged};
pub(super) use self::limits::check_counts;
use self::lone_series::stream_series;
use self::moment::{at_time_zone, cast_of_interval, interval_of_text, overlaps};
pub(super) use self::names::{first_select, name_columns};
use self::names::{
    keep_names, lasting_names, name_common, name_derived, name_sorted_casts, type_series,
};
pub(super) use self::qualified::compares_bytes;
use self::qualified::{operator, unqualify};
use self::quantified::compare_quantified;
use self::query::begin_query;
pub(super) use self::row_queries::{ROWS, compare_widths};
use self::row_queries::{row_among_rows, row_with_query, rows_in_where};
use self::rows::{compare_rows, row_in_list, row_is_null};
use self::series::{place_sorted_series, unnest_series};
pub(super) use self::spelling::CUT_TEXT;
use self::spelling::{
    bound_slices, cut_text, is_normalized, limit_of_fetch, match_of_substring, name_fields,
    name_unsigned, part_of_text, pattern_of_operator, regex_of_similar, round_seconds,
    share_element_type, text_of_unicode, typed_literals,
};
use self::system::{name_system_columns, shown_tables, system_relations};
pub(super) use self::twins::name_twin_items;
use self::twins::name_twins;
use self::untyped::{type_double, type_untyped};
use self::values::select_numbers;
pub(super) use self::values::select_values;
use self::variadic::spread_variadic;
use self::windows::{check_window, name_sorted_windows, spell_windows};
use super::complexity::Expansion;
use super::dml::{changes_at_top, changes_rows, with_statement};
use super::statement::{CopySubject, Statement};
use super::walk;
use crate::error::{Error, Result};
use crate::sql::functions::{JSONPATH, PATH_EXISTS, PATH_MATCH};

/// Functions that may be written without parentheses.
const BARE: [&str; 3] = ["current_role", "current_schema", "current_catalog"];

/// Mends all SQL that a statement holds.
///
/// # Errors
/// 54001 when its CTEs, put where they are named, are too many relations.
pub(super) fn mend_statement(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::DataFusion(inner) => {
            mend_datafusion(inner)?;
            if let Some(with) = with_statement(inner)? {
                *statement = Statement::With(Box::new(with));
            }
            Ok(())
        }
        Statement::Explain(explain) => mend_statement(&mut explain.statement),
        Statement::Prepare(prepare) => mend_statement(&mut prepare.statement),
        Statement::Declare(declare) => mend(&mut declare.query),
        Statement::CreateView(view) => mend_named(&mut view.query),
        Statement::CreateCollection(create) => create.query.as_mut().map_or(Ok(()), mend_named),
        Statement::Insert(insert) => mend(&mut insert.statement),
        Statement::Update(update) => {
            refuse_merged(update.from.iter().flat_map(|from| match from {
                UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from) => from,
            }))?;
            mend(update.as_mut())
        }
        Statement::Delete(delete) => {
            refuse_merged(delete.using.iter().flatten())?;
            mend(delete.as_mut())
        }
        Statement::Merge(merge) => {
            merge.try_for_each(&mut |part| mend(part), &mut |part| mend(part))
        }
        Statement::Copy(copy) => match &mut copy.subject {
            CopySubject::Query(query) => mend(query),
            CopySubject::Table(..) => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Mends a query whose columns will be known by their names.
fn mend_named(query: &mut Box<Query>) -> Result<()> {
    mend(query)?;
    name_columns(query);
    Ok(())
}

fn mend_datafusion(statement: &mut DataFusionStatement) -> Result<()> {
    match statement {
        DataFusionStatement::Statement(statement) => {
            if let ast::Statement::ShowTables { .. } = statement.as_ref()
                && let Some(query) = shown_tables()
            {
                **statement = ast::Statement::Query(query);
            }
            let changes = match statement.as_ref() {
                ast::Statement::Query(query) => changes_at_top(query),
                _ => 0,
            };
            if let ast::Statement::Query(query) = statement.as_mut() {
                select_numbers(&mut query.body);
            }
            mend_changing(statement.as_mut(), changes)
        }
        DataFusionStatement::Explain(explain) => mend_datafusion(&mut explain.statement),
        _ => Ok(()),
    }
}

/// Mends a part of a statement.
fn mend(node: &mut impl VisitMut) -> Result<()> {
    mend_changing(node, 0)
}

/// Mends an expression.
///
/// # Errors
/// Those of [`mend_statement`].
pub(super) fn mend_expression(expr: &mut Expr) -> Result<()> {
    mend(expr)
}

/// Mends a query whose WITH may change rows.
///
/// # Errors
/// Those of [`mend_statement`].
pub(super) fn mend_query(query: &mut Query) -> Result<()> {
    let changes = changes_at_top(query);
    mend_changing(query, changes)
}

/// Mends a part of a statement, so many queries of which may change rows.
fn mend_changing(node: &mut impl VisitMut, changes: usize) -> Result<()> {
    let mut expansion = Expansion::default();
    walk::change(node, &mut expansion)?;
    let mut mender = Mender {
        common: expansion.into_names(),
        scopes: Vec::new(),
        names: Vec::new(),
        changes,
    };
    walk::change(node, &mut mender)
}

struct Mender {
    common: HashSet<String>,
    /// The system relations of the SELECTs around, innermost last: aliases and OIDs.
    scopes: Vec<HashMap<String, u32>>,
    /// The names of the columns of the SELECTs around, before they are mended.
    names: Vec<Vec<Option<String>>>,
    /// How many queries may still change rows.
    changes: usize,
}

impl Mender {
    /// The OID of the system relation that the alias stands for.
    fn system_alias(&self, alias: &str) -> Option<u32> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.get(alias))
            .copied()
    }
}

/// The last part of a name.
pub(super) fn last_part(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(ObjectNamePart::as_ident)
}

/// A name as it is compared with others.
fn folded(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

impl VisitorMut for Mender {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        merge_in_brackets(factor);
        or_break(call_in_from(factor))?;
        type_series(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        name_derived(factor);
        if let TableFactor::Function {
            lateral: true,
            args,
            ..
        } = factor
        {
            call_arrays(args);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if changes_rows(&query.body) {
            let Some(left) = self.changes.checked_sub(1) else {
                let message =
                    "WITH clause containing a data-modifying statement must be at the top level";
                return ControlFlow::Break(Error::unsupported(message));
            };
            self.changes = left;
        }
        place_sorted_series(query);
        or_break(begin_query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        or_break(spell_windows(select))?;
        or_break(join_aliases(select))?;
        or_break(merge_in_select(select))?;
        or_break(rows_in_where(&mut select.selection))?;
        let scope = system_relations(select, &self.common);
        name_system_columns(select, &scope);
        self.scopes.push(scope);
        self.names.push(lasting_names(select));
        stream_series(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        unnest_series(select);
        if !self.scopes.is_empty() {
            call_arrays(select);
        }
        keep_names(select, self.names.pop().unwrap_or_default());
        typed_literals(select);
        for item in &mut select.projection {
            name_unsigned(item);
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                compute_exactly(expr);
            }
        }
        spell_sets(select);
        spell_distinct(select);
        name_twins(select);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let ast::SetExpr::Values(values) = query.body.as_mut() {
            share_types(values);
        }
        limit_of_fetch(query);
        name_common(query);
        name_sorted_casts(query);
        name_sorted_windows(query);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Some(among) = or_break(row_among_rows(expr))? {
            *expr = among;
            return ControlFlow::Continue(());
        }
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            bound_slices(access_chain);
        }
        match expr {
            Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } => type_double(expr),
            Expr::Function(function) => {
                unqualify(&mut function.name);
                or_break(check_window(function))?;
                if let Some(spread) = or_break(spread_variadic(function))? {
                    *expr = spread;
                    return ControlFlow::Continue(());
                }
                or_break(order_arguments(function))?;
                if let Some(name) = last_part(&function.name).map(folded) {
                    type_untyped(function, &name);
                }
                if let Some(mended) = mend_call(function) {
                    *expr = mended;
                }
            }
            Expr::Value(value) => {
                text_of_unicode(&mut value.value);
                or_break(check_size(&value.value))?;
                if let Some(typed) = bits_of_literal(&value.value) {
                    *expr = typed;
                }
            }
            // Behind a name, a dot is that of a longer name.
            Expr::CompoundFieldAccess { root, access_chain } if last_name(root).is_none() => {
                name_fields(access_chain);
            }
            Expr::Array(array) => share_element_type(array),
            Expr::IsNormalized {
                expr: text,
                form,
                negated,
            } => *expr = is_normalized(text, form.as_ref(), *negated),
            Expr::SimilarTo { .. } => {
                if let Some(matches) = regex_of_similar(expr) {
                    *expr = matches;
                }
            }
            Expr::Substring { .. } => {
                if let Some(matched) = match_of_substring(expr).or_else(|| part_of_text(expr)) {
                    *expr = matched;
                }
            }
            Expr::Position { .. } | Expr::Overlay { .. } => {
                if let Some(call) = part_of_text(expr) {
                    *expr = call;
                }
            }
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                let name = ident.value.to_lowercase();
                if BARE.contains(&name.as_str()) {
                    *expr = call(&name, Vec::new());
                }
            }
            Expr::CompoundIdentifier(names) => {
                if let [table, column] = names.as_slice()
                    && let Some(oid) = self.system_alias(&folded(table))
                {
                    match folded(column).as_str() {
                        "tableoid" => {
                            let number = Expr::value(Value::Number(oid.to_string(), false));
                            *expr = cast(number, "oid");
                        }
                        "xmin" => *expr = cast(call("txid_current", Vec::new()), "xid"),
                        _ => {}
                    }
                }
            }
            Expr::Interval(interval) => {
                if let Some(cast) = interval_of_text(interval) {
                    *expr = cast;
                }
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => *expr = at_time_zone(timestamp, time_zone),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Overlaps,
                right,
            } => {
                if let Some(meets) = overlaps(left, right) {
                    *expr = meets;
                }
            }
            Expr::BinaryOp { left, op, right } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|name| operator(name))
                {
                    *op = plain;
                }
                let function = match op {
                    BinaryOperator::PGStartsWith => Some("starts_with"),
                    BinaryOperator::AtQuestion => Some(PATH_EXISTS),
                    BinaryOperator::AtAt => Some(PATH_MATCH),
                    _ => None,
                };
                if let Some(function) = function {
                    let operands = vec![(**left).clone(), (**right).clone()];
                    *expr = call(function, operands);
                    return ControlFlow::Continue(());
                }
                if let Some(pattern) = pattern_of_operator(op, right) {
                    **right = pattern;
                }
                let rows = compare_rows(left, op, right);
                let rows = match rows {
                    None => or_break(row_with_query(left, op, right))?,
                    rows => rows,
                };
                if let Some(rows) = rows {
                    *expr = rows;
                    return ControlFlow::Continue(());
                }
                if matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq)
                    && last_name(left).is_some_and(|n| n.value == "polroles")
                    && let Some(array) = array_of_literal(right)
                {
                    **right = array;
                }
                compare_exactly(left, op, right);
            }
            // DataFusion puts the sign before the text, whose first number alone it is of.
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: inner,
            } if matches!(inner.as_ref(), Expr::Interval(_)) => {
                if let Expr::Interval(interval) = inner.as_ref() {
                    **inner = cast_of_interval(interval);
                }
            }
            Expr::UnaryOp { op, expr: inner } => {
                if let Some(called) = called_operator(*op, inner) {
                    *expr = called;
                }
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Some(array) = array_of_literal(right) {
                    **right = array;
                }
                let mended = list_of_any(expr).or_else(|| compare_quantified(expr));
                if let Some(mended) = mended {
                    *expr = mended;
                }
            }
            Expr::Cast {
                expr: inner,
                data_type: ast::DataType::Array(elements),
                ..
            } => {
                if let Some(array) = array_of_literal(inner) {
                    **inner = array;
                }
                deepen(elements, inner);
                if let Some(array) = array_of_casts(inner, elements) {
                    *expr = array;
                }
            }
            Expr::Cast {
                expr: path,
                data_type: ast::DataType::Custom(name, _),
                ..
            } if last_part(name).is_some_and(|name| folded(name) == JSONPATH) => {
                *expr = call(JSONPATH, vec![(**path).clone()]);
            }
            Expr::Cast {
                expr, data_type, ..
            } if is_exact(data_type) => round_exactly(expr),
            Expr::Cast {
                expr, data_type, ..
            } => {
                cut_text(expr, data_type);
                round_seconds(expr, data_type);
            }
            Expr::InList {
                expr: row,
                list,
                negated,
            } => {
                if let Some(any) = row_in_list(row, list, *negated) {
                    *expr = any;
                }
            }
            Expr::IsNull(row) => {
                if let Some(all) = row_is_null(row, false) {
                    *expr = all;
                }
            }
            Expr::IsNotNull(row) => {
                if let Some(all) = row_is_null(row, true) {
                    *expr = all;
                }
            }
            Expr::Like {
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                pattern,
                escape_char,
                ..
            } => mend_escape(pattern, escape_char),
            Expr::Collate {
                expr: inner,
                collation,
            } if compares_bytes(collation) => {
                let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
                *expr = inner;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Ends a walk where there is an error.
pub(super) fn or_break<T>(result: Result<T>) -> ControlFlow<Error, T> {
    result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

/// The last part of a column's name.
fn last_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
