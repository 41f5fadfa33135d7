//! Arrays that are written as texts, `'{a,"b c",NULL}'`, `'{{1,2},{3,4}}'`, and their casts.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, DataType, Expr, Value};

use super::build::cast_as;

/// The most dimensions of an array.
const DIMENSIONS_MAX: usize = 6;

/// The array that a literal stands for; none for one of another form.
pub(in crate::sql) fn array_of_literal(expr: &Expr) -> Option<Expr> {
    let value = match expr {
        Expr::Nested(inner) => return array_of_literal(inner),
        Expr::Value(value) => value,
        _ => return None,
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return None;
    };
    let mut rest = text.trim().chars().peekable();
    let array = array(&mut rest, DIMENSIONS_MAX).filter(|_| rest.next().is_none())?;
    let is_numeric = array.values().all(|value| match value {
        Some(text) => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        None => true,
    });
    array.is_even().then(|| array.written(is_numeric))
}

/// The array type of as many dimensions as the array that is cast to it: all are one type to PostgreSQL.
pub(super) fn deepen(data_type: &mut ArrayElemTypeDef, array: &Expr) {
    let ArrayElemTypeDef::SquareBracket(element, _) = data_type else {
        return;
    };
    let Expr::Array(array) = array else {
        return;
    };
    let Some(inner @ Expr::Array(_)) = array.elem.first() else {
        return;
    };
    if !matches!(element.as_ref(), DataType::Array(_)) {
        let flat = ArrayElemTypeDef::SquareBracket(element.clone(), None);
        **element = DataType::Array(flat);
    }
    if let DataType::Array(element) = element.as_mut() {
        deepen(element, inner);
    }
}

/// `ARRAY[a, b]::vector[]` as `ARRAY[a::vector, b::vector]`: a list of texts has no cast to a list of such a type.
pub(super) fn array_of_casts(array: &Expr, elements: &ArrayElemTypeDef) -> Option<Expr> {
    let (Expr::Array(array), ArrayElemTypeDef::SquareBracket(data_type, _)) = (array, elements)
    else {
        return None;
    };
    let DataType::Custom(name, modifiers) = data_type.as_ref() else {
        return None;
    };
    let is_nested = array.elem.iter().any(|e| matches!(e, Expr::Array(_)));
    if array.elem.is_empty() || is_nested {
        return None;
    }
    let data_type = DataType::Custom(name.clone(), modifiers.clone());
    let cast = |element: &Expr| cast_as(element.clone(), data_type.clone());
    Some(Expr::Array(ast::Array {
        elem: array.elem.iter().map(cast).collect(),
        named: array.named,
    }))
}

#[derive(Debug)]
enum Element {
    Value(Option<String>),
    Array(Vec<Element>),
}

impl Element {
    /// The values at the bottom.
    fn values(&self) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
        match self {
            Self::Value(value) => Box::new(std::iter::once(value.as_deref())),
            Self::Array(elements) => Box::new(elements.iter().flat_map(Self::values)),
        }
    }

    /// The lengths of its dimensions, if those of one are the same everywhere.
    fn lengths(&self) -> Option<Vec<usize>> {
        let Self::Array(elements) = self else {
            return Some(Vec::new());
        };
        let mut inner = elements.iter().map(Self::lengths);
        let first = inner.next().unwrap_or(Some(Vec::new()))?;
        let is_even = inner.all(|lengths| lengths.as_ref() == Some(&first));
        is_even.then(|| [vec![elements.len()], first].concat())
    }

    fn is_even(&self) -> bool {
        // `{{}}` is malformed.
        self.lengths()
            .is_some_and(|lengths| lengths.len() < 2 || !lengths.contains(&0))
    }

    fn written(self, is_numeric: bool) -> Expr {
        match self {
            Self::Value(None) => Expr::value(Value::Null),
            Self::Value(Some(text)) if is_numeric => Expr::value(Value::Number(text, false)),
            Self::Value(Some(text)) => Expr::value(Value::SingleQuotedString(text)),
            Self::Array(elements) => {
                let elements = elements.into_iter().map(|e| e.written(is_numeric));
                // Not written as ARRAY[..], so that it is not called like that.
                Expr::Array(ast::Array {
                    elem: elements.collect(),
                    named: false,
                })
            }
        }
    }
}

/// Reads an array of so many dimensions at most.
fn array(rest: &mut Peekable<Chars<'_>>, dimensions: usize) -> Option<Element> {
    let is_open = rest.next_if_eq(&'{').is_some();
    if !is_open || dimensions == 0 {
        return None;
    }
    skip_blanks(rest);
    let mut elements = Vec::new();
    if rest.next_if_eq(&'}').is_some() {
        return Some(Element::Array(elements));
    }
    loop {
        skip_blanks(rest);
        elements.push(match rest.peek()? {
            '{' => array(rest, dimensions - 1)?,
            _ => value(rest)?,
        });
        skip_blanks(rest);
        match rest.next()? {
            ',' => {}
            '}' => return Some(Element::Array(elements)),
            _ => return None,
        }
    }
}

fn skip_blanks(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
}

/// Reads a value up to the comma or brace behind it.
fn value(rest: &mut Peekable<Chars<'_>>) -> Option<Element> {
    let (mut text, mut quoted, mut was_quoted) = (String::new(), false, false);
    // Blanks at the end belong to no value, unless they are quoted.
    let mut kept = 0;
    loop {
        match rest.peek()? {
            ',' | '}' if !quoted => break,
            '{' if !quoted => return None,
            _ => {}
        }
        match rest.next()? {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
                kept = text.len();
            }
            '\\' => {
                text.push(rest.next()?);
                kept = text.len();
            }
            c => {
                text.push(c);
                if quoted || !c.is_whitespace() {
                    kept = text.len();
                }
            }
        }
    }
    text.truncate(kept);
    let is_null = !was_quoted && text.eq_ignore_ascii_case("null");
    Some(Element::Value((!is_null).then_some(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let literal = Expr::value(Value::SingleQuotedString(text.to_string()));
        array_of_literal(&literal).map(|array| array.to_string())
    }

    #[test]
    fn texts_are_arrays() {
        for (text, expected) in [
            ("{}", "[]"),
            (" { 1, 2 } ", "[1, 2]"),
            ("{a, \" b \" ,NULL,\"NULL\"}", "['a', ' b ', NULL, 'NULL']"),
            ("{a b\\, c}", "['a b, c']"),
            ("{{1,2},{3,NULL}}", "[[1, 2], [3, NULL]]"),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "1",
            "{1",
            "{1}}",
            "{1}2",
            "{{1},{2,3}}",
            "{{1},2}",
            "{{}}",
            "{\"a}",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
