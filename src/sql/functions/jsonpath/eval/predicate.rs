//! Predicates: true, false, or unknown.

use std::cmp::Ordering;

use super::{Failure, Found, Item, Run, Scope};
use crate::catalog::json::Value;
use crate::sql::functions::jsonpath::number::Number;
use crate::sql::functions::jsonpath::tree::{Comparison, Node};

/// Whether something is true; `None` where that is unknown.
type Truth = Option<bool>;

impl<'a> Run<'a> {
    pub(super) fn truth(&self, node: &'a Node, scope: &Scope<'a>) -> Found<Truth> {
        match node {
            Node::And(left, right) => Ok(match self.truth(left, scope)? {
                Some(false) => Some(false),
                left => match self.truth(right, scope)? {
                    Some(true) => left,
                    right => right,
                },
            }),
            Node::Or(left, right) => Ok(match self.truth(left, scope)? {
                Some(true) => Some(true),
                left => match self.truth(right, scope)? {
                    Some(false) => left,
                    right => right,
                },
            }),
            Node::Not(inner) => Ok(self.truth(inner, scope)?.map(|truth| !truth)),
            Node::IsUnknown(inner) => Ok(Some(self.truth(inner, scope)?.is_none())),
            Node::Exists(inner) => {
                let mut found = Vec::new();
                let result = self.items(inner, scope, &mut found);
                known(self.any(result, &found))
            }
            Node::Compare(comparison, left, right) => {
                let Some(right) = known(self.unwrapped(right, scope))? else {
                    return Ok(None);
                };
                self.any_of(left, scope, &right, |left, right| {
                    self.compare(*comparison, left, right)
                })
            }
            Node::StartsWith(whole, initial) => {
                let mut initials = Vec::new();
                self.items(initial, scope, &mut initials)?;
                self.any_of(whole, scope, &initials, |whole, initial| {
                    Ok(match (text_of(whole), text_of(initial)) {
                        (Some(whole), Some(initial)) => Some(whole.starts_with(initial)),
                        _ => None,
                    })
                })
            }
            Node::LikeRegex(text, pattern, options) => {
                let pattern = self.patterns.get(pattern, options);
                let pattern = pattern.map_err(Failure::Query)?;
                let once = [Item::owned(Value::Null)];
                self.any_of(text, scope, &once, |text, _| {
                    Ok(text_of(text).map(|text| pattern.first(text).is_some()))
                })
            }
            other => {
                let mut found = Vec::new();
                let _ = known(self.items(other, scope, &mut found))?;
                Ok(None)
            }
        }
    }

    /// Whether it is true for any pair; in lax mode the first that is true decides, in strict mode one that is unknown.
    fn any_of(
        &self,
        left: &'a Node,
        scope: &Scope<'a>,
        right: &[Item<'a>],
        of: impl Fn(&Item<'_>, &Item<'_>) -> Found<Truth>,
    ) -> Found<Truth> {
        let Some(left) = known(self.unwrapped(left, scope))? else {
            return Ok(None);
        };
        let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (l, r)));
        let (mut is_true, mut is_unknown) = (false, false);
        for (left, right) in pairs {
            match of(left, right)? {
                Some(true) if self.is_lax() => return Ok(Some(true)),
                Some(true) => is_true = true,
                Some(false) => {}
                None if !self.is_lax() => return Ok(None),
                None => is_unknown = true,
            }
        }
        Ok(match (is_true, is_unknown) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        })
    }
}

/// What is not there makes a predicate unknown.
fn known<T>(found: Found<T>) -> Found<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Item(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The text of an item that is one of JSON.
fn text_of<'i>(item: &'i Item<'_>) -> Option<&'i str> {
    match &**item {
        Value::String(text) if item.moment.is_none() => Some(text),
        _ => None,
    }
}

impl Run<'_> {
    /// How two items are compared; times that would need the session's zone end the query where it may not be used.
    fn compare(&self, comparison: Comparison, left: &Item<'_>, right: &Item<'_>) -> Found<Truth> {
        let is_null = |item: &Item<'_>| matches!(**item, Value::Null);
        match (left.moment, right.moment) {
            (Some(a), Some(b)) => {
                let ordering = a.compare(b, self.zone.as_ref()).map_err(Failure::Query)?;
                Ok(ordering.map(|ordering| holds(comparison, ordering)))
            }
            (Some(_), None) | (None, Some(_)) if !is_null(left) && !is_null(right) => Ok(None),
            _ => Ok(compare(comparison, left, right)),
        }
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Truth {
    let ordering = match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) | (_, Value::Null) => return Some(comparison == Comparison::NotEqual),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(_), Value::Number(_)) => Number::of(left)?.compare(Number::of(right)?),
        _ => return None,
    };
    Some(holds(comparison, ordering))
}

fn holds(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}
