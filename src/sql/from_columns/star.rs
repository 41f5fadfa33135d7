//! The order of `*` over joins by names: the common columns come first.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, Select, SelectItem, TableWithJoins,
    WildcardAdditionalOptions,
};

use super::super::shapes::{Shapes, common_columns, name_of};

/// A column of a table.
type Column = (String, String);

/// Writes the columns of `*` where DataFusion's are in another order, and all are known.
pub(super) fn order_star(select: &mut Select, shapes: &Shapes<'_>) {
    let is_star = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(options)
        if *options == WildcardAdditionalOptions::default())
    };
    if !select.projection.iter().any(is_star) {
        return;
    }
    let mut columns = Vec::new();
    let mut is_other = false;
    for from in &select.from {
        let Some((ordered, is_moved)) = ordered(from, shapes) else {
            return;
        };
        columns.extend(ordered);
        is_other |= is_moved;
    }
    if !is_other {
        return;
    }
    let items = std::mem::take(&mut select.projection).into_iter();
    let items = items.flat_map(|item| match is_star(&item) {
        true => columns.iter().map(item_of).collect(),
        false => vec![item],
    });
    select.projection = items.collect();
}

fn item_of((table, column): &Column) -> SelectItem {
    let quoted = |name: &str| Ident::with_quote('"', name);
    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![
        quoted(table),
        quoted(column),
    ]))
}

/// The columns of a FROM in order, and whether they are in another order than its tables have them.
fn ordered(from: &TableWithJoins, shapes: &Shapes<'_>) -> Option<(Vec<Column>, bool)> {
    let columns_of = |factor| -> Option<Vec<Column>> {
        let table = name_of(factor)?;
        let columns = shapes.factor(factor)?.into_iter();
        Some(columns.map(|column| (table.clone(), column)).collect())
    };
    let mut left = columns_of(&from.relation)?;
    let mut is_moved = false;
    for join in &from.joins {
        let right = columns_of(&join.relation)?;
        let common = common(join, &left, &right)?;
        let is_common = |column: &Column| common.contains(&column.1);
        let mut merged: Vec<Column> = Vec::with_capacity(left.len() + right.len());
        for name in &common {
            merged.push(left.iter().find(|(_, column)| column == name)?.clone());
        }
        is_moved |= merged.as_slice() != left.get(..merged.len())?;
        merged.extend(left.into_iter().filter(|column| !is_common(column)));
        merged.extend(right.into_iter().filter(|column| !is_common(column)));
        left = merged;
    }
    Some((left, is_moved))
}

/// The names that a join is by, none of one over a condition; `None` where it is no inner or left join.
fn common(join: &Join, left: &[Column], right: &[Column]) -> Option<Vec<String>> {
    use JoinOperator as J;
    let operator = &join.join_operator;
    match operator {
        J::Join(_) | J::Inner(_) | J::Left(_) | J::LeftOuter(_) | J::CrossJoin(_) => {}
        J::Right(on) | J::RightOuter(on) | J::FullOuter(on)
            if matches!(on, JoinConstraint::On(_)) => {}
        _ => return None,
    }
    let names = |columns: &[Column]| -> Vec<String> {
        columns.iter().map(|(_, column)| column.clone()).collect()
    };
    Some(common_columns(operator, &names(left), &names(right)))
}
