//! What a path finds in a value.
//!
//! In lax mode arrays are unwrapped where an accessor needs an item, items are wrapped where one needs an array, and what is
//! not there is nothing; in strict mode all of these are errors. An error within a predicate makes it unknown.

mod predicate;

use std::borrow::Cow;
use std::ops::Deref;

use super::moment::Moment;
use super::number::Number;
use super::tree::{Method, Node, Operator, Path, Step};
use crate::catalog::json::{Map, Value, kind_of};
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};
use crate::sql::functions::pattern::Patterns;

/// An item: a part of the value, or one that was computed.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    value: Cow<'a, Value>,
    /// What it is, if it is no value of JSON; the value is its text then.
    moment: Option<Moment>,
}

impl<'a> Item<'a> {
    fn borrowed(value: &'a Value) -> Self {
        Self {
            value: Cow::Borrowed(value),
            moment: None,
        }
    }

    fn owned(value: Value) -> Self {
        Self {
            value: Cow::Owned(value),
            moment: None,
        }
    }

    pub(super) fn into_value(self) -> Value {
        self.value.into_owned()
    }
}

impl Deref for Item<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// What the value does not have: silenced where that is asked for.
    Item(Error),
    /// A mistake of the query.
    Query(Error),
}

pub(super) type Found<T> = Result<T, Failure>;

/// A path over a value.
pub(super) struct Run<'a> {
    pub path: &'a Path,
    pub root: &'a Value,
    /// An object.
    pub variables: &'a Value,
    pub patterns: &'a Patterns,
    /// The session's, where times may be told by it.
    pub zone: Option<Zone>,
}

/// What `@` and `last` mean at a place of the path.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    current: Item<'a>,
    last: i64,
    /// Whether what is not there is nothing, as behind `.**`.
    ignores: bool,
}

fn item_error(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::Item(Error::invalid(code, message))
}

impl<'a> Run<'a> {
    fn is_lax(&self) -> bool {
        !self.path.strict
    }

    /// Puts what the path finds; what was found before an error stays.
    pub(super) fn find(&self, out: &mut Vec<Item<'a>>) -> Found<()> {
        let scope = Scope {
            current: Item::borrowed(self.root),
            last: -1,
            ignores: self.is_lax(),
        };
        self.items(&self.path.root, &scope, out)
    }

    /// Whether the path finds anything.
    pub(super) fn exists(&self) -> Found<bool> {
        let mut found = Vec::new();
        let result = self.find(&mut found);
        self.any(result, &found)
    }

    /// Whether there is an item; in strict mode all must be found without an error.
    fn any(&self, result: Found<()>, found: &[Item<'_>]) -> Found<bool> {
        match result {
            Err(Failure::Item(_)) if self.is_lax() && !found.is_empty() => Ok(true),
            result => result.map(|()| !found.is_empty()),
        }
    }

    fn items(&self, node: &'a Node, scope: &Scope<'a>, out: &mut Vec<Item<'a>>) -> Found<()> {
        let item = match node {
            Node::Root => Item::borrowed(self.root),
            Node::Current => scope.current.clone(),
            Node::Last => Item::owned(Number::whole(scope.last).into_value()),
            Node::Literal(value) => Item::borrowed(value),
            Node::Variable(name) => Item::borrowed(self.variable(name)?),
            Node::Steps(head, steps) => {
                let mut heads = Vec::new();
                self.items(head, scope, &mut heads)?;
                return heads
                    .into_iter()
                    .try_for_each(|item| self.walk(steps, item, scope, self.is_lax(), out));
            }
            Node::Negative(inner) => return self.signed(inner, true, scope, out),
            Node::Positive(inner) => return self.signed(inner, false, scope, out),
            Node::Arithmetic(operator, left, right) => {
                Item::owned(self.computed(*operator, left, right, scope)?)
            }
            predicate => Item::owned(match self.truth(predicate, scope)? {
                Some(truth) => Value::Bool(truth),
                None => Value::Null,
            }),
        };
        out.push(item);
        Ok(())
    }

    fn variable(&self, name: &str) -> Found<&'a Value> {
        let found = match self.variables {
            Value::Object(members) => members.get(name),
            _ => None,
        };
        found.ok_or_else(|| {
            let message = format!("could not find jsonpath variable \"{name}\"");
            Failure::Query(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
        })
    }

    /// The items of a node, arrays of them unwrapped in lax mode.
    fn unwrapped(&self, node: &'a Node, scope: &Scope<'a>) -> Found<Vec<Item<'a>>> {
        let mut found = Vec::new();
        self.items(node, scope, &mut found)?;
        if !self.is_lax() {
            return Ok(found);
        }
        let items = found.into_iter().flat_map(|item| match is_array(&item) {
            true => children(item),
            false => vec![item],
        });
        Ok(items.collect())
    }

    fn signed(
        &self,
        inner: &'a Node,
        is_negative: bool,
        scope: &Scope<'a>,
        out: &mut Vec<Item<'a>>,
    ) -> Found<()> {
        for item in self.unwrapped(inner, scope)? {
            let Some(number) = Number::of(&item) else {
                let sign = if is_negative { "-" } else { "+" };
                let message =
                    format!("operand of unary jsonpath operator {sign} is not a numeric value");
                return Err(item_error(sqlstate::SQL_JSON_NUMBER_NOT_FOUND, message));
            };
            let number = if is_negative {
                number.negated()
            } else {
                number
            };
            out.push(Item::owned(number.into_value()));
        }
        Ok(())
    }

    fn computed(
        &self,
        operator: Operator,
        left: &'a Node,
        right: &'a Node,
        scope: &Scope<'a>,
    ) -> Found<Value> {
        let single = |node: &'a Node, side: &str| {
            let found = self.unwrapped(node, scope)?;
            let number = match found.as_slice() {
                [item] => Number::of(item),
                _ => None,
            };
            number.ok_or_else(|| {
                let sign = operator.sign();
                let message = format!(
                    "{side} operand of jsonpath operator {sign} is not a single numeric value"
                );
                item_error(sqlstate::SINGLETON_SQL_JSON_ITEM_REQUIRED, message)
            })
        };
        let (left, right) = (single(left, "left")?, single(right, "right")?);
        let computed = left.compute(operator, right);
        Ok(computed.map_err(Failure::Item)?.into_value())
    }

    /// Walks the accessors from an item; `unwraps` says whether an array stands for its elements.
    fn walk(
        &self,
        steps: &'a [Step],
        item: Item<'a>,
        scope: &Scope<'a>,
        unwraps: bool,
        out: &mut Vec<Item<'a>>,
    ) -> Found<()> {
        let Some((step, rest)) = steps.split_first() else {
            out.push(item);
            return Ok(());
        };
        let takes_items = match step {
            Step::Key(_) | Step::Members | Step::Filter(_) => true,
            Step::Method(method) => !matches!(method, Method::Size | Method::Type),
            Step::DateTime(_) => true,
            Step::Elements | Step::Places(_) | Step::Levels(..) => false,
        };
        if takes_items && unwraps && is_array(&item) {
            return children(item)
                .into_iter()
                .try_for_each(|child| self.walk(steps, child, scope, false, out));
        }
        let mut onward = |found: Item<'a>| self.walk(rest, found, scope, self.is_lax(), out);
        match step {
            Step::Key(key) => match (member(&item, key), kind_of(&item)) {
                (Some(found), _) => onward(found),
                _ if scope.ignores => Ok(()),
                (None, "object") => {
                    let message = format!("JSON object does not contain key \"{key}\"");
                    Err(item_error(sqlstate::SQL_JSON_MEMBER_NOT_FOUND, message))
                }
                _ => Err(item_error(
                    sqlstate::SQL_JSON_MEMBER_NOT_FOUND,
                    "jsonpath member accessor can only be applied to an object",
                )),
            },
            Step::Members => match kind_of(&item) {
                "object" => children(item).into_iter().try_for_each(onward),
                _ if scope.ignores => Ok(()),
                _ => Err(item_error(
                    sqlstate::SQL_JSON_OBJECT_NOT_FOUND,
                    "jsonpath wildcard member accessor can only be applied to an object",
                )),
            },
            Step::Elements => match kind_of(&item) {
                "array" => children(item).into_iter().try_for_each(onward),
                _ if self.is_lax() => onward(item),
                _ if scope.ignores => Ok(()),
                _ => Err(item_error(
                    sqlstate::SQL_JSON_ARRAY_NOT_FOUND,
                    "jsonpath wildcard array accessor can only be applied to an array",
                )),
            },
            Step::Places(places) => {
                for found in self.places(places, item, scope)? {
                    onward(found)?;
                }
                Ok(())
            }
            Step::Levels(first, last) => {
                let scope = Scope {
                    ignores: true,
                    ..scope.clone()
                };
                self.levels(item, (*first, *last), 0, rest, &scope, out)
            }
            Step::Filter(predicate) => {
                let inner = Scope {
                    current: item.clone(),
                    ..scope.clone()
                };
                match self.truth(predicate, &inner)? {
                    Some(true) => onward(item),
                    _ => Ok(()),
                }
            }
            Step::Method(Method::KeyValue) => {
                for found in self.pairs(item)? {
                    onward(found)?;
                }
                Ok(())
            }
            Step::Method(method) => onward(Item::owned(self.applied(*method, &item, scope)?)),
            Step::DateTime(template) => onward(moment(&item, template.as_deref())?),
        }
    }

    /// The elements at places of an array; an item is the only one of its array in lax mode.
    fn places(
        &self,
        places: &'a [(Node, Option<Node>)],
        item: Item<'a>,
        scope: &Scope<'a>,
    ) -> Found<Vec<Item<'a>>> {
        let elements = match is_array(&item) {
            true => children(item.clone()),
            false if self.is_lax() => vec![item.clone()],
            false if scope.ignores => return Ok(Vec::new()),
            false => {
                let message = "jsonpath array accessor can only be applied to an array";
                return Err(item_error(sqlstate::SQL_JSON_ARRAY_NOT_FOUND, message));
            }
        };
        let length = elements.len() as i64;
        let scope = Scope {
            current: item,
            last: length - 1,
            ignores: scope.ignores,
        };
        let mut found = Vec::new();
        for (first, last) in places {
            let first = self.place(first, &scope)?;
            let last = match last {
                Some(last) => self.place(last, &scope)?,
                None => first,
            };
            if !scope.ignores && (first < 0 || first > last || last >= length) {
                let message = "jsonpath array subscript is out of bounds";
                return Err(item_error(sqlstate::INVALID_SQL_JSON_SUBSCRIPT, message));
            }
            let places = first.max(0)..=last.min(length - 1);
            found.extend(places.filter_map(|place| elements.get(place as usize).cloned()));
        }
        Ok(found)
    }

    fn place(&self, node: &'a Node, scope: &Scope<'a>) -> Found<i64> {
        let mut found = Vec::new();
        self.items(node, scope, &mut found)?;
        let number = match found.as_slice() {
            [item] => Number::of(item),
            _ => None,
        };
        let number = number.ok_or_else(|| {
            let message = "jsonpath array subscript is not a single numeric value";
            item_error(sqlstate::INVALID_SQL_JSON_SUBSCRIPT, message)
        })?;
        number.truncated().ok_or_else(|| {
            let message = "jsonpath array subscript is out of integer range";
            item_error(sqlstate::INVALID_SQL_JSON_SUBSCRIPT, message)
        })
    }

    /// The item and what is within it, down to a level.
    fn levels(
        &self,
        item: Item<'a>,
        (first, last): (u32, Option<u32>),
        level: u32,
        rest: &'a [Step],
        scope: &Scope<'a>,
        out: &mut Vec<Item<'a>>,
    ) -> Found<()> {
        let is_leaf = !matches!(&*item, Value::Array(_) | Value::Object(_));
        // `{last}` is what nothing is within.
        let is_found = level >= first || (first == u32::MAX && last.is_none() && is_leaf);
        if is_found {
            self.walk(rest, item.clone(), scope, self.is_lax(), out)?;
        }
        if is_leaf || last.is_some_and(|last| level >= last) {
            return Ok(());
        }
        children(item)
            .into_iter()
            .try_for_each(|child| self.levels(child, (first, last), level + 1, rest, scope, out))
    }

    fn applied(&self, method: Method, item: &Item<'a>, scope: &Scope<'a>) -> Found<Value> {
        let name = method.name();
        match method {
            Method::Type => {
                let kind = item.moment.map_or(kind_of(item), Moment::type_name);
                return Ok(Value::String(kind.to_string()));
            }
            Method::Size => {
                return match &**item {
                    Value::Array(items) => Ok(Number::whole(items.len() as i64).into_value()),
                    _ if self.is_lax() || scope.ignores => Ok(Number::whole(1).into_value()),
                    _ => {
                        let message =
                            "jsonpath item method .size() can only be applied to an array";
                        Err(item_error(sqlstate::SQL_JSON_ARRAY_NOT_FOUND, message))
                    }
                };
            }
            Method::Double => return double(item),
            _ => {}
        }
        let number = Number::of(item).ok_or_else(|| {
            let message =
                format!("jsonpath item method .{name}() can only be applied to a numeric value");
            item_error(sqlstate::NON_NUMERIC_SQL_JSON_ITEM, message)
        })?;
        let number = match method {
            Method::Abs => number.abs(),
            Method::Ceiling => number.ceiling(),
            _ => number.floor(),
        };
        Ok(number.into_value())
    }

    /// The members of an object as objects of a key and a value.
    fn pairs(&self, item: Item<'a>) -> Found<Vec<Item<'a>>> {
        let Value::Object(members) = &*item else {
            let message = "jsonpath item method .keyvalue() can only be applied to an object";
            return Err(item_error(sqlstate::SQL_JSON_OBJECT_NOT_FOUND, message));
        };
        // What tells other objects apart is where jsonb keeps them, and nothing does so here.
        if !std::ptr::eq(&*item, self.root) {
            let message = "jsonpath item method .keyvalue() of any object but $ is not supported";
            return Err(Failure::Query(Error::unsupported(message)));
        }
        let pair = |(key, value): (&str, &Value)| {
            Item::owned(Value::Object(Map::of(vec![
                ("id".to_string(), Number::whole(0).into_value()),
                ("key".to_string(), Value::String(key.to_string())),
                ("value".to_string(), value.clone()),
            ])))
        };
        Ok(members.iter().map(pair).collect())
    }
}

/// The item of a text that tells a date or a time.
fn moment<'a>(item: &Item<'_>, template: Option<&str>) -> Found<Item<'a>> {
    let text = match &**item {
        Value::String(text) if item.moment.is_none() => text,
        _ => {
            let message = "jsonpath item method .datetime() can only be applied to a string";
            let code = sqlstate::INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION;
            return Err(item_error(code, message));
        }
    };
    let moment = Moment::read(text, template).map_err(Failure::Item)?;
    Ok(Item {
        value: Cow::Owned(Value::String(moment.text().map_err(Failure::Item)?)),
        moment: Some(moment),
    })
}

fn double(item: &Item<'_>) -> Found<Value> {
    let text = match &**item {
        Value::Number(text) => text.trim(),
        Value::String(text) if item.moment.is_none() => text.trim(),
        _ => {
            let message = "jsonpath item method .double() can only be applied to a string or \
                           numeric value";
            return Err(item_error(sqlstate::NON_NUMERIC_SQL_JSON_ITEM, message));
        }
    };
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let double = text.parse::<f64>().ok().filter(|_| !is_word);
    let number = double.filter(|double| double.is_finite());
    // As many digits as a double is sure of.
    let number = number.and_then(|number| Number::parse(&format!("{number:.14e}")));
    number.map(|number| number.without_zeros().into_value()).ok_or_else(|| {
        let message = "argument of jsonpath item method .double() is not a valid representation \
                       of a double precision number";
        item_error(sqlstate::NON_NUMERIC_SQL_JSON_ITEM, message)
    })
}

fn is_array(item: &Value) -> bool {
    matches!(item, Value::Array(_))
}

/// The member of an object.
fn member<'a>(item: &Item<'a>, key: &str) -> Option<Item<'a>> {
    match &item.value {
        Cow::Borrowed(Value::Object(members)) => members.get(key).map(Item::borrowed),
        Cow::Owned(Value::Object(members)) => members.get(key).cloned().map(Item::owned),
        _ => None,
    }
}

/// The elements of an array, the values of an object.
fn children(item: Item<'_>) -> Vec<Item<'_>> {
    match item.value {
        Cow::Borrowed(Value::Array(items)) => items.iter().map(Item::borrowed).collect(),
        Cow::Borrowed(Value::Object(members)) => members
            .iter()
            .map(|(_, value)| Item::borrowed(value))
            .collect(),
        Cow::Owned(Value::Array(items)) => items.into_iter().map(Item::owned).collect(),
        Cow::Owned(Value::Object(members)) => {
            let members = members.iter();
            members
                .map(|(_, value)| Item::owned(value.clone()))
                .collect()
        }
        _ => Vec::new(),
    }
}
