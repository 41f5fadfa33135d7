//! Spellings that are others' with the same meaning: FETCH FIRST, SIMILAR TO, U&'..', SUBSTRING by a pattern.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CharacterLength, Expr, Ident, LimitClause, ObjectName, Query, Select,
    SelectItem, UnaryOperator, Value,
};

use super::build::{binary, call, call_with, cast, cast_as, nested};
use super::constant::constant_text;
use super::untyped::is_text;
use crate::sql::functions::{IS_NORMALIZED, ROUND_SECONDS, SUBSTRING_SIMILAR, operator_pattern};
use crate::sql::parser::fold;

/// `FETCH FIRST 2 ROWS ONLY` is `LIMIT 2`.
pub(super) fn limit_of_fetch(query: &mut Query) {
    let Some(fetch) = &query.fetch else {
        return;
    };
    if fetch.with_ties || fetch.percent {
        return;
    }
    let one = || Expr::value(Value::Number("1".to_string(), false));
    let quantity = fetch.quantity.clone().unwrap_or_else(one);
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) if limit.is_none() => *limit = Some(quantity),
        None => {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: Some(quantity),
                offset: None,
                limit_by: Vec::new(),
            });
        }
        _ => return,
    }
    query.fetch = None;
}

/// `a[2:]` and `a[:2]` have both bounds: the first place, and the last that there can be.
pub(super) fn bound_slices(chain: &mut [ast::AccessExpr]) {
    let number = |place: i32| Expr::value(Value::Number(place.to_string(), false));
    for access in chain {
        if let ast::AccessExpr::Subscript(ast::Subscript::Slice {
            lower_bound,
            upper_bound,
            stride: None,
        }) = access
        {
            lower_bound.get_or_insert_with(|| number(1));
            upper_bound.get_or_insert_with(|| number(i32::MAX));
        }
    }
}

/// `1::smallint unsigned` is a SMALLINT, and `unsigned` its name: there is no such type.
pub(super) fn name_unsigned(item: &mut SelectItem) {
    use ast::DataType as D;
    let SelectItem::UnnamedExpr(Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        data_type,
        ..
    }) = item
    else {
        return;
    };
    *data_type = match data_type {
        D::SmallIntUnsigned(_) | D::Int2Unsigned(_) => D::SmallInt(None),
        D::IntUnsigned(_) | D::IntegerUnsigned(_) | D::Int4Unsigned(_) => D::Integer(None),
        D::BigIntUnsigned(_) | D::Int8Unsigned(_) => D::BigInt(None),
        _ => return,
    };
    if let SelectItem::UnnamedExpr(expr) = item {
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::new("unsigned"),
        };
    }
}

/// The function that cuts texts of `varchar(n)`; in quotes it is no call that somebody wrote.
pub(in crate::sql) const CUT_TEXT: &str = "left";

/// `x::varchar(2)` is the cast of `left(x::varchar, 2)`: a cast cuts what is too long.
pub(super) fn cut_text(expr: &mut Box<Expr>, data_type: &ast::DataType) {
    use ast::DataType as D;
    let length = match data_type {
        D::Varchar(length) | D::CharacterVarying(length) | D::CharVarying(length) => *length,
        D::Char(length) | D::Character(length) => {
            Some(length.unwrap_or(CharacterLength::IntegerLength {
                length: 1,
                unit: None,
            }))
        }
        _ => None,
    };
    let Some(CharacterLength::IntegerLength { length, .. }) = length else {
        return;
    };
    let text = cast((**expr).clone(), "varchar");
    let length = Expr::value(Value::Number(length.to_string(), false));
    let mut cut = call_with("left", vec![text, length], Vec::new());
    cut.name = ObjectName::from(vec![Ident::with_quote('"', CUT_TEXT)]);
    **expr = Expr::Function(cut);
}

/// `x::timestamp(3)` is the cast of `round_seconds(x::timestamp, 3)`.
pub(super) fn round_seconds(expr: &mut Box<Expr>, data_type: &ast::DataType) {
    use ast::DataType as D;
    let (whole, digits) = match data_type {
        D::Time(Some(digits), zone) => (D::Time(None, *zone), digits),
        D::Timestamp(Some(digits), zone) => (D::Timestamp(None, *zone), digits),
        D::Interval {
            fields: None,
            precision: Some(digits),
        } => {
            let (fields, precision) = (None, None);
            (D::Interval { fields, precision }, digits)
        }
        _ => return,
    };
    let digits = Expr::value(Value::Number(digits.to_string(), false));
    let whole = cast_as((**expr).clone(), whole);
    **expr = call(ROUND_SECONDS, vec![whole, digits]);
}

/// `x SIMILAR TO 'a%'` is `x ~ '^(?:a.*)$'`; none where the pattern is no constant.
pub(super) fn regex_of_similar(expr: &Expr) -> Option<Expr> {
    let Expr::SimilarTo {
        negated,
        expr,
        pattern,
        escape_char,
    } = expr
    else {
        return None;
    };
    let escape = match escape_char.as_ref().map(|escape| &escape.value) {
        None => Some('\\'),
        Some(Value::SingleQuotedString(text)) => text.chars().next(),
        Some(_) => return None,
    };
    let regex = similar_as_regex(&constant_text(pattern)?, escape);
    let regex = Expr::value(Value::SingleQuotedString(regex));
    let matches = nested(binary(
        Expr::clone(expr),
        BinaryOperator::PGRegexMatch,
        regex,
    ));
    Some(match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(matches),
        },
        false => matches,
    })
}

/// The regular expression of a pattern of SQL's: `%` and `_` as in LIKE, `|*+?{}()[]` as in regular expressions.
fn similar_as_regex(pattern: &str, escape: Option<char>) -> String {
    let mut regex = String::from("^(?s:");
    let mut in_class = false;
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            c if Some(c) == escape => {
                if let Some(literal) = characters.next() {
                    push_literal(literal, &mut regex);
                }
            }
            '[' if !in_class => {
                in_class = true;
                regex.push('[');
            }
            ']' if in_class => {
                in_class = false;
                regex.push(']');
            }
            c if in_class => {
                if c == '\\' {
                    regex.push('\\');
                }
                regex.push(c);
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | ')' => regex.push(c),
            '(' => regex.push_str("(?:"),
            c => push_literal(c, &mut regex),
        }
    }
    regex.push_str(")$");
    regex
}

fn push_literal(c: char, regex: &mut String) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

/// `substring(x from 'b.')` is what the pattern, or its first group, matches.
pub(super) fn match_of_substring(expr: &Expr) -> Option<Expr> {
    let Expr::Substring {
        expr,
        substring_from: Some(from),
        substring_for: None,
        ..
    } = expr
    else {
        return None;
    };
    let pattern = constant_text(from)?;
    let pattern = Expr::value(Value::SingleQuotedString(pattern));
    let matched = call("regexp_match", vec![(**expr).clone(), pattern]);
    let first = Expr::value(Value::Number("1".to_string(), false));
    Some(call("array_element", vec![matched, first]))
}

/// `x IS NOT NFC NORMALIZED` as a call.
pub(super) fn is_normalized(
    text: &Expr,
    form: Option<&ast::NormalizationForm>,
    negated: bool,
) -> Expr {
    let form = form.map_or_else(|| "NFC".to_string(), ToString::to_string);
    let form = Expr::value(Value::SingleQuotedString(form));
    let is = call(IS_NORMALIZED, vec![text.clone(), form]);
    match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(is),
        },
        false => is,
    }
}

/// The pattern of an operator that matches patterns, if it is another one in the syntax of the engine.
pub(super) fn pattern_of_operator(op: &BinaryOperator, pattern: &Expr) -> Option<Expr> {
    use BinaryOperator as B;
    match op {
        B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => {
            let pattern = operator_pattern(&constant_text(pattern)?)?;
            Some(Expr::value(Value::SingleQuotedString(pattern)))
        }
        _ => None,
    }
}

/// `SUBSTRING(x FROM 2 FOR 3)`, `POSITION(x IN y)` and `OVERLAY(x PLACING y FROM 2)` as calls, which may be of bytes too.
pub(super) fn part_of_text(expr: &Expr) -> Option<Expr> {
    let one = || Expr::value(Value::Number("1".to_string(), false));
    let boxed = |expr: &Option<Box<Expr>>| expr.as_deref().cloned();
    let (name, first, others) = match expr {
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let from = boxed(substring_from).unwrap_or_else(one);
            let length = boxed(substring_for);
            match length.as_ref().is_some_and(is_text) && is_text(&from) {
                // A pattern of SQL's, and what escapes in it.
                true => (SUBSTRING_SIMILAR, expr, [Some(from), length, None]),
                false => {
                    let places = [Some(whole_number(from)), length.map(whole_number), None];
                    ("substr", expr, places)
                }
            }
        }
        Expr::Position { expr, r#in } => ("strpos", r#in, [Some(Expr::clone(expr)), None, None]),
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let (what, from) = (Expr::clone(overlay_what), Expr::clone(overlay_from));
            (
                "overlay",
                expr,
                [Some(what), Some(from), boxed(overlay_for)],
            )
        }
        _ => return None,
    };
    let arguments = std::iter::once(Expr::clone(first)).chain(others.into_iter().flatten());
    Some(call(name, arguments.collect()))
}

/// The number that a literal without a type is.
fn whole_number(expr: Expr) -> Expr {
    match is_text(&expr) {
        true => cast_as(expr, ast::DataType::Integer(None)),
        false => expr,
    }
}

/// `U&'d\0061t'` is its text, unless it has a character that no text has.
pub(super) fn text_of_unicode(value: &mut Value) {
    if let Value::UnicodeStringLiteral(text) = value
        && !text.contains('\0')
    {
        *value = Value::SingleQuotedString(std::mem::take(text));
    }
}

/// Literals of an array become what another element is cast to: `ARRAY['[1]'::vector, '[2]']`.
pub(super) fn share_element_type(array: &mut ast::Array) {
    let casts = array.elem.iter().filter_map(|element| match element {
        Expr::Cast {
            data_type, format, ..
        } => Some((data_type.clone(), format.clone())),
        _ => None,
    });
    let Some((data_type, format)) = casts.into_iter().next() else {
        return;
    };
    for element in &mut array.elem {
        let is_literal = matches!(element, Expr::Value(value)
            if matches!(value.value, Value::SingleQuotedString(_) | Value::Null));
        if is_literal {
            let inner = std::mem::replace(element, Expr::value(Value::Null));
            *element = Expr::Cast {
                kind: ast::CastKind::Cast,
                expr: Box::new(inner),
                data_type: data_type.clone(),
                array: false,
                format: format.clone(),
            };
        }
    }
}

/// `SELECT oid '5'` is a cast: no alias is written like that.
pub(super) fn typed_literals(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item
            && alias.quote_style == Some('\'')
            && let Expr::Identifier(name) = &*expr
            && name.quote_style.is_none()
        {
            let text = Expr::value(Value::SingleQuotedString(std::mem::take(&mut alias.value)));
            *item = SelectItem::UnnamedExpr(cast(text, &name.value));
        }
    }
}

/// The fields of `(x).a` as DataFusion reads them.
pub(super) fn name_fields(chain: &mut [ast::AccessExpr]) {
    for access in chain {
        if let ast::AccessExpr::Dot(field) = access
            && let Expr::Identifier(name) = &*field
        {
            *field = Expr::value(Value::SingleQuotedString(fold(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::similar_as_regex;

    #[test]
    fn patterns_of_sql_become_regular_expressions() {
        for (pattern, expected) in [
            ("a%", "^(?s:a.*)$"),
            ("(a|b)_+", "^(?s:(?:a|b).+)$"),
            ("a.b$", "^(?s:a\\.b\\$)$"),
            ("[a-c%]x\\%", "^(?s:[a-c%]x\\%)$"),
        ] {
            assert_eq!(similar_as_regex(pattern, Some('\\')), expected);
        }
    }
}
