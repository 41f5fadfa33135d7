//! Constants that PostgreSQL reads by their surroundings: texts of arrays, patterns with an ESCAPE of their own.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Value};

use super::build::{call, cast_as};

/// The array that a literal like `'{a,"b c",NULL}'` stands for; none for one with arrays inside or of another form.
pub(super) fn array_of_literal(expr: &Expr) -> Option<Expr> {
    let value = match expr {
        Expr::Nested(inner) => return array_of_literal(inner),
        Expr::Value(value) => value,
        _ => return None,
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
    // Not written as ARRAY[..], so that it is not called like that.
    Some(Expr::Array(ast::Array {
        elem: elements.into_iter().map(element).collect(),
        named: false,
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

/// The bit string that a literal `B'101'` or `X'1F'` is, of the type that PostgreSQL writes `"bit"`: of any length.
pub(super) fn bits_of_literal(value: &Value) -> Option<Expr> {
    let text = match value {
        Value::SingleQuotedByteStringLiteral(bits) => format!("b{bits}"),
        Value::HexStringLiteral(digits) => format!("x{digits}"),
        _ => return None,
    };
    let text = Expr::value(Value::SingleQuotedString(text));
    Some(cast_to_quoted(text, "bit"))
}

/// The digits that tell any double from all others: a number of more of them is meant to be exact.
const DOUBLE_DIGITS: usize = 17;
/// The most digits of a NUMERIC.
const NUMERIC_DIGITS: usize = 38;

/// The NUMERIC that a number such as `99999999999999999.99` is, which no double is.
pub(super) fn exact_number(value: &Value) -> Option<Expr> {
    let Value::Number(text, _) = value else {
        return None;
    };
    let digits = text.trim_start_matches(['0', '.']).bytes();
    let significant = digits.filter(u8::is_ascii_digit).count();
    (significant > DOUBLE_DIGITS).then(|| numeric_of(value))?
}

/// The NUMERIC of a number with a point and without an exponent.
pub(super) fn numeric_of(value: &Value) -> Option<Expr> {
    let Value::Number(text, _) = value else {
        return None;
    };
    let (whole, fraction) = text.split_once('.')?;
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    if !(1..=NUMERIC_DIGITS).contains(&digits) {
        return None;
    }
    let precision = ast::ExactNumberInfo::PrecisionAndScale(digits as u64, fraction.len() as i64);
    let text = Expr::value(Value::SingleQuotedString(text.clone()));
    Some(cast_as(text, ast::DataType::Numeric(precision)))
}

/// Types that DataFusion knows by a name beside the Arrow type, which all rows of VALUES have to share.
const NAMED_TYPES: [&str; 3] = ["bit", "varbit", "sparsevec"];

/// Casts the literals of a column of VALUES, and what is cast already, to the type of the first row that names one.
pub(super) fn share_types(values: &mut ast::Values) {
    let columns = values.rows.first().map_or(0, |row| row.len());
    if values.rows.len() < 2 {
        return;
    }
    for column in 0..columns {
        let cells = values.rows.iter().filter_map(|row| row.get(column));
        let Some(name) = cells.filter_map(named_type).next() else {
            continue;
        };
        let cells = values.rows.iter_mut().filter_map(|row| row.get_mut(column));
        for cell in cells.filter(|e| matches!(e, Expr::Value(_)) || named_type(e).is_some()) {
            let inner = std::mem::replace(cell, Expr::value(Value::Null));
            *cell = cast_to_quoted(inner, name);
        }
    }
}

/// The name of the type when it is one of [`NAMED_TYPES`] that an expression is cast to.
fn named_type(expr: &Expr) -> Option<&'static str> {
    let Expr::Cast { data_type, .. } = expr else {
        return None;
    };
    match data_type {
        ast::DataType::Bit(_) => Some("bit"),
        ast::DataType::BitVarying(_) | ast::DataType::VarBit(_) => Some("varbit"),
        ast::DataType::Custom(name, _) => {
            let last = name.0.last()?.as_ident()?;
            let known = |name: &&&str| last.value.eq_ignore_ascii_case(name);
            NAMED_TYPES.iter().find(known).copied()
        }
        _ => None,
    }
}

/// A cast to a type of that name without a length.
fn cast_to_quoted(expr: Expr, name: &str) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: ast::DataType::Custom(
            ast::ObjectName::from(vec![ast::Ident::with_quote('"', name)]),
            Vec::new(),
        ),
        array: false,
        format: None,
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
