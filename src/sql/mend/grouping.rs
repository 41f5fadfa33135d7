//! GROUPING SETS, ROLLUP and CUBE as DataFusion reads them: sets within sets are written out, and places in the SELECT list
//! are the expressions that stand there.

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Value};

use super::build::arguments;

/// The most keys of a CUBE that is written out.
const CUBE_MAX: usize = 12;

/// Mends GROUP BY.
pub(super) fn spell_sets(select: &mut Select) {
    let items: Vec<Option<Expr>> = select.projection.iter().map(value_of).collect();
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return;
    };
    for key in keys {
        let sets = match key {
            Expr::Rollup(sets) | Expr::Cube(sets) => sets,
            Expr::GroupingSets(sets) => {
                *sets = std::mem::take(sets).into_iter().flat_map(spread).collect();
                sets
            }
            _ => continue,
        };
        for key in sets.iter_mut().flatten() {
            if let Some(item) = place(key).and_then(|place| items.get(place)?.clone()) {
                *key = item;
            }
        }
    }
}

fn value_of(item: &SelectItem) -> Option<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}

/// The place in the SELECT list that a key means, from 0.
fn place(key: &Expr) -> Option<usize> {
    let Expr::Value(value) = key else {
        return None;
    };
    let Value::Number(place, _) = &value.value else {
        return None;
    };
    place.parse::<usize>().ok()?.checked_sub(1)
}

/// The sets that one of GROUPING SETS stands for.
fn spread(set: Vec<Expr>) -> Vec<Vec<Expr>> {
    spread_call(&set).unwrap_or_else(|| vec![set])
}

/// The sets of a ROLLUP or CUBE.
fn spread_call(set: &[Expr]) -> Option<Vec<Vec<Expr>>> {
    let [Expr::Function(function)] = set else {
        return None;
    };
    let keys = arguments(function)?.into_iter().map(|key| match key {
        Expr::Tuple(keys) => keys.clone(),
        Expr::Nested(key) => vec![(**key).clone()],
        key => vec![key.clone()],
    });
    let keys: Vec<Vec<Expr>> = keys.collect();
    match function.name.to_string().to_lowercase().as_str() {
        "rollup" => {
            let sets = (0..=keys.len()).rev();
            Some(sets.map(|count| keys[..count].concat()).collect())
        }
        "cube" if keys.len() <= CUBE_MAX => {
            let sets = (0..1_usize << keys.len()).rev();
            let chosen = |set: usize| {
                let keys = keys.iter().enumerate();
                let keys = keys.filter(move |(at, _)| (set >> at) & 1 == 1);
                keys.flat_map(|(_, key)| key.clone()).collect()
            };
            Some(sets.map(chosen).collect())
        }
        _ => None,
    }
}
