//! GROUPING SETS, ROLLUP and CUBE as DataFusion reads them: sets within sets are written out, and places in the SELECT list
//! are the expressions that stand there. `()` alone is one group of all rows, and so is HAVING without keys; beside other keys
//! it says nothing.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Distinct, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Select, SelectItem, Value,
};

use super::build::{arguments, binary, call_with, nested};
use crate::sql::tokens::DISTINCT_SETS;
use crate::sql::walk;

/// The most keys of a CUBE that is written out.
const CUBE_MAX: usize = 12;

/// Mends GROUP BY.
pub(super) fn spell_sets(select: &mut Select) {
    let items: Vec<Option<Expr>> = select.projection.iter().map(value_of).collect();
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return;
    };
    let is_one_group = match keys.is_empty() {
        // DataFusion makes no group for HAVING alone.
        true => select.having.as_ref().is_some_and(|having| !calls(having)),
        false => {
            keys.retain(|key| !matches!(key, Expr::Tuple(keys) if keys.is_empty()));
            keys.is_empty()
        }
    };
    if is_one_group {
        let one_group = all_rows();
        select.having = Some(match select.having.take() {
            Some(having) => binary(nested(having), BinaryOperator::And, one_group),
            None => one_group,
        });
        return;
    }
    if keys.first().is_some_and(is_distinct_mark) {
        keys.remove(0);
        *keys = vec![Expr::GroupingSets(distinct_sets(keys))];
    }
    for key in keys {
        // DataFusion has ROLLUP and CUBE of single expressions.
        if matches!(&*key, Expr::Rollup(parts) | Expr::Cube(parts) if parts.iter().any(|part| part.len() > 1))
        {
            *key = Expr::GroupingSets(sets_of(key));
        }
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

/// Whether a function is called in an expression, be it an aggregate.
fn calls(expr: &Expr) -> bool {
    struct Calls;
    impl ast::Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    walk::read(expr, &mut Calls).is_break()
}

/// `count(*) >= 0`, which is true of any group and makes one of all rows.
fn all_rows() -> Expr {
    let mut count: Function = call_with("count", Vec::new(), Vec::new());
    if let FunctionArguments::List(list) = &mut count.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    }
    let zero = Expr::value(Value::Number("0".to_string(), false));
    binary(Expr::Function(count), BinaryOperator::GtEq, zero)
}

fn is_distinct_mark(key: &Expr) -> bool {
    matches!(key, Expr::Identifier(name) if name.value == DISTINCT_SETS)
}

/// The sets that the keys stand for together, each once.
fn distinct_sets(keys: &[Expr]) -> Vec<Vec<Expr>> {
    let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
    for key in keys {
        let of_key = sets_of(key);
        let with = |set: &Vec<Expr>| {
            let set = set.clone();
            of_key.iter().map(move |more| {
                let mut set = set.clone();
                set.extend(
                    more.iter()
                        .filter(|key| !set.contains(key))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                set
            })
        };
        sets = sets.iter().flat_map(with).collect();
    }
    let mut known = HashSet::new();
    sets.retain(|set| {
        let mut names: Vec<String> = set.iter().map(Expr::to_string).collect();
        names.sort();
        known.insert(names)
    });
    sets
}

/// The sets of one key.
fn sets_of(key: &Expr) -> Vec<Vec<Expr>> {
    match key {
        Expr::GroupingSets(sets) => sets.iter().cloned().flat_map(spread).collect(),
        Expr::Rollup(keys) => {
            let counts = (0..=keys.len()).rev();
            counts.map(|count| keys[..count].concat()).collect()
        }
        Expr::Cube(keys) if keys.len() <= CUBE_MAX => subsets(keys),
        Expr::Tuple(keys) => vec![keys.clone()],
        key => vec![vec![key.clone()]],
    }
}

/// All choices of keys, most first.
fn subsets(keys: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    let sets = (0..1_usize << keys.len()).rev();
    let chosen = |set: usize| {
        let keys = keys.iter().enumerate();
        let keys = keys.filter(move |(at, _)| (set >> at) & 1 == 1);
        keys.flat_map(|(_, key)| key.clone()).collect()
    };
    sets.map(chosen).collect()
}

/// Places in DISTINCT ON are the expressions that stand there.
pub(super) fn spell_distinct(select: &mut Select) {
    let Some(Distinct::On(keys)) = &mut select.distinct else {
        return;
    };
    for key in keys {
        let item = place(key).and_then(|place| select.projection.get(place));
        if let Some(expr) = item.and_then(value_of) {
            *key = expr;
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
pub(super) fn place(key: &Expr) -> Option<usize> {
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
        "cube" if keys.len() <= CUBE_MAX => Some(subsets(&keys)),
        _ => None,
    }
}
