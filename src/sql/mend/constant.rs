//! Constants that PostgreSQL reads by their surroundings: texts of arrays, patterns with an ESCAPE of their own.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Value};

use super::call;

/// The array that a literal like `'{a,"b c",NULL}'` stands for; none for one with arrays inside or of another form.
pub(super) fn array_of_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Value(value) = expr else {
        return None;
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return None;
    };
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let elements = array_elements(inner)?;
    let numbers = elements
        .iter()
        .flatten()
        .all(|e| !e.is_empty() && is_number(e));
    let element = |element: Option<String>| match element {
        None => Expr::value(Value::Null),
        Some(text) if numbers => Expr::value(Value::Number(text, false)),
        Some(text) => Expr::value(Value::SingleQuotedString(text)),
    };
    Some(Expr::Array(ast::Array {
        elem: elements.into_iter().map(element).collect(),
        named: true,
    }))
}

fn is_number(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

/// The elements between the braces of an array of one dimension.
fn array_elements(inner: &str) -> Option<Vec<Option<String>>> {
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let (mut text, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut characters = inner.chars();
    loop {
        match characters.next() {
            Some('\\') => text.push(characters.next()?),
            Some('"') => {
                quoted = !quoted;
                was_quoted = true;
            }
            Some('{' | '}') if !quoted => return None,
            Some(c) if quoted || c != ',' => text.push(c),
            end => {
                let element = match was_quoted {
                    true => std::mem::take(&mut text),
                    false => std::mem::take(&mut text).trim().to_string(),
                };
                let is_null = !was_quoted && element.eq_ignore_ascii_case("null");
                elements.push((!is_null).then_some(element));
                was_quoted = false;
                if end.is_none() {
                    return (!quoted).then_some(elements);
                }
            }
        }
    }
}

/// The text of a literal, or of literals joined by `||`.
pub(super) fn constant_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            _ => None,
        },
        Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat,
            right,
        } => Some(constant_text(left)? + &constant_text(right)?),
        Expr::Nested(inner) => constant_text(inner),
        _ => None,
    }
}

/// Makes a pattern with an ESCAPE of its own one that is escaped by backslashes.
pub(super) fn mend_escape(pattern: &mut Expr, escape: &mut Option<ast::ValueWithSpan>) {
    let own = match escape.as_ref().map(|e| &e.value) {
        Some(Value::SingleQuotedString(text)) if text != "\\" => text.clone(),
        _ => return,
    };
    let mut own = own.chars();
    let (Some(own), None) = (own.next(), own.next()) else {
        return;
    };
    let Some(text) = constant_text(pattern) else {
        let given = std::mem::replace(pattern, Expr::value(Value::Null));
        let own = Expr::value(Value::SingleQuotedString(own.to_string()));
        *pattern = call("like_escape", vec![given, own]);
        *escape = None;
        return;
    };
    let mut mended = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c == own => {
                mended.push('\\');
                mended.extend(characters.next());
            }
            '\\' => mended.push_str("\\\\"),
            c => mended.push(c),
        }
    }
    *pattern = Expr::value(Value::SingleQuotedString(mended));
    *escape = None;
}
