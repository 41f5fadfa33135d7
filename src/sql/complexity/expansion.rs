//! The first visit of a statement: how many relations it is once its CTEs stand where they are named, and chains of AND
//! and OR made flat, because the visits after it descend them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, ObjectName, Query, Value, VisitorMut};

use super::{RELATIONS_MAX, too_complex};
use crate::error::Error;

/// Chains of fewer terms stay as they are.
const BALANCED_TERMS_MIN: usize = 32;

/// Breaks off at a statement that is too large.
#[derive(Default)]
pub(in crate::sql) struct Expansion {
    /// Relations by the name of the CTE; of several with one name the largest.
    sizes: HashMap<String, usize>,
    /// The queries around, the innermost last.
    queries: Vec<Enclosing>,
}

/// A query that is visited.
#[derive(Default)]
struct Enclosing {
    /// Its CTEs that were not visited yet: they come before all else.
    common: VecDeque<String>,
    relations: usize,
}

impl Expansion {
    /// The names of all CTEs.
    pub fn into_names(self) -> HashSet<String> {
        self.sizes.into_keys().collect()
    }

    fn add(&mut self, relations: usize) -> ControlFlow<Error> {
        let Some(query) = self.queries.last_mut() else {
            return ControlFlow::Continue(());
        };
        query.relations = query.relations.saturating_add(relations);
        match query.relations > RELATIONS_MAX {
            true => ControlFlow::Break(too_complex(
                "its common table expressions name each other too often",
            )),
            false => ControlFlow::Continue(()),
        }
    }
}

impl VisitorMut for Expansion {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.queries.push(Enclosing {
            common: with
                .map(|cte| cte.alias.name.value.to_lowercase())
                .collect(),
            relations: 0,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        let relations = self.queries.pop().map_or(0, |query| query.relations);
        let common = self.queries.last_mut().and_then(|q| q.common.pop_front());
        match common {
            Some(name) => {
                let size = self.sizes.entry(name).or_default();
                *size = relations.max(*size);
                ControlFlow::Continue(())
            }
            None => self.add(relations),
        }
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<Error> {
        let ident = name.0.last().and_then(|part| part.as_ident());
        let size = ident.and_then(|ident| self.sizes.get(&ident.value.to_lowercase()));
        self.add(size.map_or(1, |size| (*size).max(1)))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        balance(expr);
        ControlFlow::Continue(())
    }
}

/// Makes `((a OR b) OR c) OR ..` a tree that is as flat as may be, with its terms in their order.
fn balance(expr: &mut Expr) {
    for op in [BinaryOperator::And, BinaryOperator::Or] {
        if terms(expr, &op) < BALANCED_TERMS_MIN {
            continue;
        }
        let mut rest = std::mem::replace(expr, Expr::value(Value::Null));
        let mut reversed = Vec::new();
        loop {
            match rest {
                Expr::BinaryOp {
                    left,
                    op: found,
                    right,
                } if found == op => {
                    reversed.push(*right);
                    rest = *left;
                }
                first => {
                    reversed.push(first);
                    break;
                }
            }
        }
        reversed.reverse();
        *expr = tree(reversed, &op);
    }
}

/// How many terms the operator connects, as far as its chain leans to the left.
fn terms(mut expr: &Expr, op: &BinaryOperator) -> usize {
    let mut terms = 1;
    while let Expr::BinaryOp {
        left, op: found, ..
    } = expr
        && found == op
    {
        terms += 1;
        expr = left;
    }
    terms
}

fn tree(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut left = terms.into_iter();
        while let Some(first) = left.next() {
            pairs.push(match left.next() {
                Some(second) => Expr::BinaryOp {
                    left: Box::new(first),
                    op: op.clone(),
                    right: Box::new(second),
                },
                None => first,
            });
        }
        terms = pairs;
    }
    terms.pop().expect("invariant: a chain has terms")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_balanced_chain_has_the_same_terms_in_the_same_order() {
        for count in [2, 31, 32, 33, 1_000] {
            let names: Vec<String> = (0..count).map(|i| format!("c{i}")).collect();
            let terms = names.iter().map(|n| Expr::Identifier(n.as_str().into()));
            let chain = terms.reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::Or,
                right: Box::new(right),
            });
            let mut chain = chain.unwrap();
            balance(&mut chain);
            assert_eq!(chain.to_string(), names.join(" OR "));
            assert!(super::terms(&chain, &BinaryOperator::Or) < BALANCED_TERMS_MIN);
        }
    }

    #[test]
    fn common_tables_that_double_are_too_large() {
        let doubling = |levels: usize| {
            let first = "WITH c0 AS (SELECT 1 AS x)".to_string();
            let each = (1..=levels).map(|n| {
                let below = n - 1;
                format!(", c{n} AS (SELECT a.x FROM c{below} a, (WITH i AS (SELECT * FROM c{below}) SELECT * FROM i) b)")
            });
            format!(
                "{}{} SELECT * FROM c{levels}",
                first,
                each.collect::<String>()
            )
        };
        assert!(crate::sql::parser::parse(&doubling(8)).is_ok());
        let error = crate::sql::parser::parse(&doubling(40)).unwrap_err();
        assert_eq!(error.sqlstate(), "54001");
    }
}
