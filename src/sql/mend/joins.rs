//! RIGHT and FULL joins by columns of one name, `USING (x)`: they have one column `x`, the value of the side that has a row.
//!
//! DataFusion takes the left side's, which is NULL where only the right side has a row. Where a FROM holds such a join, its
//! joins by names are written as joins over conditions, `ON a.x = b.x`, and what `x` and `*` mean is written out:
//! `coalesce(a.x, b.x)`, and `coalesce(a.x, b.x) AS x, a.* EXCLUDE (x), b.* EXCLUDE (x)`. An `x` that is not found here
//! (within a correlated subquery) is ambiguous to the planner, which is an error and never a wrong value.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor,
    TableWithJoins, VisitMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::build::{binary, call};
use crate::error::{Error, Result};
use crate::sql::complexity::too_complex;
use crate::sql::output_names::lasting_name;
use crate::sql::parser::fold;
use crate::sql::tokens::DIALECT;
use crate::sql::walk;

/// The most columns that are written for the merged ones of a SELECT: a name is one, which many joins make many columns.
const COPIES_MAX: usize = 100_000;

/// Writes merged columns out in a SELECT.
///
/// # Errors
/// 0A000 where the tables that have the columns are not to be told from the text.
pub(in crate::sql) fn merge_in_select(select: &mut Select) -> Result<()> {
    // The columns of natural joins are known later.
    if !select.from.iter().any(has_merged) || select.from.iter().any(has_natural) {
        return Ok(());
    }
    let mut from = std::mem::take(&mut select.from);
    let columns = columns_of(&mut from)?;
    let mut merge = Merge::new(&columns);
    let items = std::mem::take(&mut select.projection);
    select.projection = items
        .into_iter()
        .flat_map(|item| merge.item(item))
        .collect();
    let merged = merge.write(select);
    select.from = from;
    merged?;
    merge.check()
}

/// Writes merged columns out in the ORDER BY of a query, where they are not the names of its output.
///
/// # Errors
/// As [`merge_in_select`].
pub(in crate::sql) fn merge_in_order(query: &mut Query) -> Result<()> {
    let (Some(order), SetExpr::Select(select)) = (&mut query.order_by, query.body.as_ref()) else {
        return Ok(());
    };
    let OrderByKind::Expressions(keys) = &mut order.kind else {
        return Ok(());
    };
    if !select.from.iter().any(has_merged) || select.from.iter().any(has_natural) {
        return Ok(());
    }
    let columns = columns_of(&mut select.from.clone())?;
    let mut merge = Merge::new(&columns);
    for key in keys {
        let shown = match &key.expr {
            Expr::Identifier(name) => {
                let mut items = select.projection.iter();
                items.find_map(|item| output(item, name, &columns))
            }
            _ => None,
        };
        if let Some(shown) = shown {
            key.expr = shown;
        } else {
            merge.write(key)?;
        }
    }
    merge.check()
}

/// Brackets of joins that have an alias are a query: behind the alias nobody names the tables.
pub(super) fn merge_in_brackets(factor: &mut TableFactor) {
    let TableFactor::NestedJoin {
        table_with_joins,
        alias: alias @ Some(_),
    } = factor
    else {
        return;
    };
    if !has_merged(table_with_joins) {
        return;
    }
    if let Some(subquery) = all_of(table_with_joins) {
        *factor = TableFactor::Derived {
            lateral: false,
            subquery,
            alias: alias.take(),
            sample: None,
        };
    }
}

/// That there is no such join where its columns are not written out.
///
/// # Errors
/// 0A000.
pub(in crate::sql) fn refuse_merged<'a>(
    from: impl IntoIterator<Item = &'a TableWithJoins>,
) -> Result<()> {
    match from.into_iter().any(has_merged) {
        true => Err(unsupported("a RIGHT or FULL JOIN with USING", "here")),
        false => Ok(()),
    }
}

fn unsupported(what: &str, place: &str) -> Error {
    let message = format!("{what} is not supported {place}");
    let hint = "Join over a condition, ON a.x = b.x, and name the column: coalesce(a.x, b.x).";
    Error::unsupported(message).with_hint(hint)
}

/// `SELECT * FROM ..`
fn all_of(from: &TableWithJoins) -> Option<Box<Query>> {
    let query = Parser::new(&DIALECT).try_with_sql("SELECT *");
    let mut query = query.ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    select.from = vec![from.clone()];
    Some(query)
}

/// Whether there is a join whose merged column is not the left side's, and a natural one that tells by what.
pub(in crate::sql) fn has_natural(from: &TableWithJoins) -> bool {
    has_merged(from) && joins_naturally(from)
}

fn joins_naturally(from: &TableWithJoins) -> bool {
    let in_brackets = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } => joins_naturally(table_with_joins),
        _ => false,
    };
    let is_natural = |join: &Join| {
        use JoinOperator as J;
        matches!(
            &join.join_operator,
            J::Join(JoinConstraint::Natural)
                | J::Inner(JoinConstraint::Natural)
                | J::Left(JoinConstraint::Natural)
                | J::LeftOuter(JoinConstraint::Natural)
                | J::Right(JoinConstraint::Natural)
                | J::RightOuter(JoinConstraint::Natural)
                | J::FullOuter(JoinConstraint::Natural)
        )
    };
    let mut joins = from.joins.iter();
    in_brackets(&from.relation) || joins.any(|join| is_natural(join) || in_brackets(&join.relation))
}

/// Whether there is a join whose merged column is not the left side's.
fn has_merged(from: &TableWithJoins) -> bool {
    let in_brackets = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } => has_merged(table_with_joins),
        _ => false,
    };
    let is_merged = |join: &Join| match &join.join_operator {
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) | JoinOperator::FullOuter(on) => {
            matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    };
    let mut joins = from.joins.iter();
    in_brackets(&from.relation) || joins.any(|join| is_merged(join) || in_brackets(&join.relation))
}

/// Columns of a FROM, in the order of `*`.
#[derive(Debug, Clone)]
enum Columns {
    /// One of joins by its name: the columns of which the first that is not NULL is its value.
    Merged(String, Vec<Expr>),
    /// Those of a table, without merged ones.
    Table(Ident, Vec<String>),
}

impl Columns {
    fn item(&self) -> SelectItem {
        match self {
            Self::Merged(name, parts) => SelectItem::ExprWithAlias {
                expr: value(parts),
                alias: Ident::with_quote('"', name),
            },
            Self::Table(table, merged) => {
                let name = |name: &String| ObjectName::from(vec![Ident::with_quote('"', name)]);
                let merged: Vec<_> = merged.iter().map(name).collect();
                let table = ObjectName::from(vec![table.clone()]);
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(table),
                    WildcardAdditionalOptions {
                        opt_exclude: (!merged.is_empty())
                            .then_some(ExcludeSelectItem::Multiple(merged)),
                        ..Default::default()
                    },
                )
            }
        }
    }
}

/// The value of a merged column.
fn value(parts: &[Expr]) -> Expr {
    match parts {
        [only] => only.clone(),
        parts => call("coalesce", parts.to_vec()),
    }
}

/// The columns of a FROM, whose joins by names become joins over conditions.
fn columns_of(from: &mut [TableWithJoins]) -> Result<Vec<Columns>> {
    let mut columns = Vec::new();
    for tables in from {
        columns.extend(joined(tables)?);
    }
    Ok(columns)
}

fn joined(from: &mut TableWithJoins) -> Result<Vec<Columns>> {
    let mut left = columns_of_factor(&mut from.relation)?;
    for join in &mut from.joins {
        let right = columns_of_factor(&mut join.relation)?;
        left = join_of(left, right, &mut join.join_operator)?;
    }
    Ok(left)
}

fn columns_of_factor(factor: &mut TableFactor) -> Result<Vec<Columns>> {
    let name = match factor {
        TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } => return joined(table_with_joins),
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident());
            alias.as_ref().map(|alias| &alias.name).or(last)
        }
        TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
            alias.as_ref().map(|alias| &alias.name)
        }
        _ => None,
    };
    match name {
        Some(name) => Ok(vec![Columns::Table(name.clone(), Vec::new())]),
        None => Err(unsupported(
            "a RIGHT or FULL JOIN with USING",
            "beside a table without a name",
        )),
    }
}

/// The columns of a join; those of its names come first.
fn join_of(
    mut left: Vec<Columns>,
    mut right: Vec<Columns>,
    operator: &mut JoinOperator,
) -> Result<Vec<Columns>> {
    use JoinOperator as J;
    let (of_left, of_right) = match operator {
        J::Right(_) | J::RightOuter(_) => (false, true),
        J::FullOuter(_) => (true, true),
        _ => (true, false),
    };
    let constraint = match operator {
        J::Join(on) | J::Inner(on) | J::Left(on) | J::LeftOuter(on) | J::CrossJoin(on) => on,
        J::Right(on) | J::RightOuter(on) | J::FullOuter(on) => on,
        _ => return Err(unsupported("a RIGHT or FULL JOIN with USING", "beside it")),
    };
    let names = match constraint {
        JoinConstraint::Using(names) => std::mem::take(names),
        JoinConstraint::Natural => return Err(unsupported("NATURAL", "with a RIGHT or FULL JOIN")),
        JoinConstraint::On(on) => {
            left.extend(right);
            let mut merge = Merge::new(&left);
            merge.write(on)?;
            merge.check()?;
            return Ok(left);
        }
        JoinConstraint::None => Vec::new(),
    };
    let mut columns = Vec::new();
    let mut conditions = Vec::new();
    for name in &names {
        let name = name.0.last().and_then(|part| part.as_ident()).map(fold);
        let name = name.unwrap_or_default();
        let sides = (take(&mut left, &name)?, take(&mut right, &name)?);
        conditions.push(equal(value(&sides.0), value(&sides.1)));
        let mut parts = Vec::new();
        parts.extend(of_left.then_some(sides.0).into_iter().flatten());
        parts.extend(of_right.then_some(sides.1).into_iter().flatten());
        columns.push(Columns::Merged(name, parts));
    }
    if let Some(condition) = conditions.into_iter().reduce(both) {
        *constraint = JoinConstraint::On(condition);
    }
    columns.extend(left);
    columns.extend(right);
    Ok(columns)
}

/// The column of the name on one side, which is no column of its own any more.
fn take(side: &mut Vec<Columns>, name: &str) -> Result<Vec<Expr>> {
    let merged = side
        .iter()
        .position(|c| matches!(c, Columns::Merged(known, _) if known == name));
    if let Some(merged) = merged
        && let Columns::Merged(_, parts) = side.remove(merged)
    {
        return Ok(parts);
    }
    let mut tables = side.iter_mut().filter_map(|columns| match columns {
        Columns::Table(table, merged) => Some((table, merged)),
        Columns::Merged(..) => None,
    });
    match (tables.next(), tables.next()) {
        (Some((table, merged)), None) => {
            merged.push(name.to_string());
            let column = vec![table.clone(), Ident::with_quote('"', name)];
            Ok(vec![Expr::CompoundIdentifier(column)])
        }
        _ => Err(unsupported(
            &format!("USING (\"{name}\") with a RIGHT or FULL JOIN"),
            "where one side has several tables that are not joined by it",
        )),
    }
}

fn equal(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::Eq, right)
}

fn both(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::And, right)
}

/// The output column of that name: it has the name by an alias, or is a column of that name.
fn output(item: &SelectItem, name: &Ident, columns: &[Columns]) -> Option<Expr> {
    let is_name = |other: &str| other == fold(name);
    let by_name = || Expr::Identifier(name.clone());
    match item {
        SelectItem::ExprWithAlias { alias, .. } => is_name(&fold(alias)).then(by_name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            let is_column = parts.last().is_some_and(|last| is_name(&fold(last)));
            is_column.then(|| Expr::CompoundIdentifier(parts.clone()))
        }
        SelectItem::UnnamedExpr(expr) => {
            let called = lasting_name(expr).is_some_and(|called| is_name(&called));
            called.then(by_name)
        }
        SelectItem::Wildcard(_) => columns
            .iter()
            .any(|column| matches!(column, Columns::Merged(merged, _) if is_name(merged)))
            .then(by_name),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) => {
            let table = table.0.last()?.as_ident()?;
            let has_it = |column: &Columns| match column {
                Columns::Table(known, merged) => {
                    fold(known) == fold(table) && merged.iter().any(|merged| is_name(merged))
                }
                Columns::Merged(..) => false,
            };
            let column = vec![table.clone(), name.clone()];
            let has_it = columns.iter().any(has_it);
            has_it.then_some(Expr::CompoundIdentifier(column))
        }
        _ => None,
    }
}

/// Writes the values of merged columns where their names stand, outside of subqueries.
struct Merge<'a> {
    columns: &'a [Columns],
    copies: usize,
}

impl<'a> Merge<'a> {
    fn new(columns: &'a [Columns]) -> Self {
        Self { columns, copies: 0 }
    }

    fn item(&mut self, item: SelectItem) -> Vec<SelectItem> {
        let plain = WildcardAdditionalOptions::default();
        match item {
            SelectItem::Wildcard(options) if options == plain => {
                self.columns.iter().map(Columns::item).collect()
            }
            SelectItem::UnnamedExpr(mut expr) => {
                let name = lasting_name(&expr);
                // Where it breaks, `check` says why.
                let _ = self.write(&mut expr);
                match name.filter(|name| lasting_name(&expr).as_ref() != Some(name)) {
                    Some(name) => vec![SelectItem::ExprWithAlias {
                        expr,
                        alias: Ident::with_quote('"', name),
                    }],
                    None => vec![SelectItem::UnnamedExpr(expr)],
                }
            }
            other => vec![other],
        }
    }

    /// Writes them in a node.
    fn write(&mut self, node: &mut impl VisitMut) -> Result<()> {
        walk::change_outside_subqueries(node, |expr| {
            let Expr::Identifier(name) = expr else {
                return Ok(());
            };
            let name = fold(name);
            let found = self.columns.iter().find_map(|columns| match columns {
                Columns::Merged(known, parts) if *known == name => Some(parts),
                _ => None,
            });
            if let Some(parts) = found {
                self.copies += parts.len();
                self.check()?;
                *expr = value(parts);
            }
            Ok(())
        })
    }

    fn check(&self) -> Result<()> {
        match self.copies > COPIES_MAX {
            true => Err(too_complex("it names columns of its joins too often")),
            false => Ok(()),
        }
    }
}
