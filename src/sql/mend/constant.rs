//! Constants that PostgreSQL reads by their surroundings: bit strings, exact numbers, patterns with an
//! ESCAPE of their own.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Value};

use super::array_literal::array_of_literal;
use super::build::{call, cast_as};
use crate::error::{Error, Result, sqlstate};

/// `x = ANY (ARRAY[1, NULL])` as `x IN (1, NULL)`, and `x <> ALL (..)` as NOT IN; `None` for arrays without a NULL, which
/// DataFusion answers right.
pub(super) fn list_of_any(expr: &Expr) -> Option<Expr> {
    let (left, array, negated) = match expr {
        Expr::AnyOp {
            left,
            compare_op: BinaryOperator::Eq,
            right,
            ..
        } => (left, right, false),
        Expr::AllOp {
            left,
            compare_op: BinaryOperator::NotEq,
            right,
        } => (left, right, true),
        _ => return None,
    };
    let Expr::Array(ast::Array { elem, .. }) = array.as_ref() else {
        return None;
    };
    let is_null = |e: &Expr| matches!(e, Expr::Value(value) if value.value == Value::Null);
    let is_nested = elem.iter().any(|e| matches!(e, Expr::Array(_)));
    let fits = elem.iter().any(is_null) && !elem.iter().all(is_null) && !is_nested;
    fits.then(|| Expr::InList {
        expr: left.clone(),
        list: elem.clone(),
        negated,
    })
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

/// The most digits of a NUMERIC.
const NUMERIC_DIGITS: usize = 38;

/// # Errors
/// 22003 for a number that is larger than any double.
pub(super) fn check_size(value: &Value) -> Result<()> {
    if let Value::Number(text, _) = value
        && text.parse::<f64>().is_ok_and(f64::is_infinite)
    {
        let message = format!("\"{text}\" is out of range for type double precision");
        return Err(Error::invalid(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            message,
        ));
    }
    Ok(())
}

/// The NUMERIC of a number with a point or an exponent.
pub(super) fn numeric_of(value: &Value) -> Option<Expr> {
    let Value::Number(text, _) = value else {
        return None;
    };
    let text = without_exponent(text)?;
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

/// The same number with a point and without an exponent, unless that is longer than any NUMERIC.
pub(in crate::sql) fn without_exponent(text: &str) -> Option<String> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return Some(text.to_string());
    };
    let exponent = exponent.parse::<i32>().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if [whole, fraction]
        .iter()
        .all(|part| part.bytes().all(|digit| digit == b'0'))
    {
        return Some("0.".to_string());
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if point.unsigned_abs() as usize > NUMERIC_DIGITS {
        return None;
    }
    let zeros = "0".repeat(NUMERIC_DIGITS);
    let (digits, point) = match usize::try_from(point) {
        Ok(point) => (format!("{whole}{fraction}"), point),
        Err(_) => {
            let before = point.unsigned_abs() as usize;
            (format!("{}{whole}{fraction}", &zeros[..before]), 0)
        }
    };
    let missing = point.saturating_sub(digits.len());
    let digits = format!("{digits}{}", &zeros[..missing]);
    let (whole, fraction) = digits.split_at(point);
    Some(format!("{whole}.{fraction}"))
}

/// Types that DataFusion knows by a name beside the Arrow type, which all rows of VALUES have to share.
pub(in crate::sql) const NAMED_TYPES: [&str; 6] =
    ["bit", "varbit", "sparsevec", "uuid", "json", "jsonb"];

/// Casts the literals of each column of VALUES to the type of what stands beside them.
pub(super) fn share_types(values: &mut ast::Values) {
    let columns = values.rows.first().map_or(0, |row| row.len());
    if values.rows.len() < 2 {
        return;
    }
    for column in 0..columns {
        let cells = values.rows.iter_mut();
        let mut cells: Vec<&mut Expr> = cells.filter_map(|row| row.get_mut(column)).collect();
        match cells.iter().find_map(|cell| named_type(cell)) {
            Some(name) => share_named_type(&mut cells, name),
            None => share_written_type(&mut cells),
        }
    }
}

/// Casts literals, and what is cast already, to the type of that name.
pub(in crate::sql) fn share_named_type(cells: &mut [&mut Expr], name: &str) {
    for cell in cells {
        if matches!(cell, Expr::Value(_)) || named_type(cell).is_some() {
            let inner = std::mem::replace(*cell, Expr::value(Value::Null));
            **cell = cast_to_quoted(inner, name);
        }
    }
}

/// Casts texts to the type that all other cells are written with, if it is one.
fn share_written_type(cells: &mut [&mut Expr]) {
    let is_text = |cell: &Expr| matches!(cell, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    let is_null =
        |cell: &Expr| matches!(cell, Expr::Value(value) if matches!(value.value, Value::Null));
    if !cells.iter().any(|cell| is_text(cell)) {
        return;
    }
    let others = cells.iter().filter(|cell| !is_text(cell) && !is_null(cell));
    let mut types = others.map(|cell| written_type(cell));
    let Some(Some(first)) = types.next() else {
        return;
    };
    // Arrays of numbers become arrays of one type.
    let is_array = |of: &ast::DataType| matches!(of, ast::DataType::Array(_));
    let fits = |other: &ast::DataType| *other == first || is_array(other) && is_array(&first);
    if !types.all(|other| other.as_ref().is_some_and(fits)) {
        return;
    }
    for cell in cells.iter_mut().filter(|cell| is_text(cell)) {
        let text = std::mem::replace(*cell, Expr::value(Value::Null));
        let text = match &first {
            ast::DataType::Array(_) => array_of_literal(&text).unwrap_or(text),
            _ => text,
        };
        **cell = cast_as(text, first.clone());
    }
}

/// The type that an expression says it has; none that a value may have to be cut for.
fn written_type(expr: &Expr) -> Option<ast::DataType> {
    use ast::DataType;
    match expr {
        Expr::Nested(inner) => written_type(inner),
        Expr::TypedString(ast::TypedString { data_type, .. })
        | Expr::Cast {
            data_type,
            array: false,
            ..
        } => {
            let text = data_type.to_string();
            (!text.contains('(')).then(|| data_type.clone())
        }
        Expr::Interval(_) => Some(DataType::Interval {
            fields: None,
            precision: None,
        }),
        Expr::Array(array) => {
            let element = array.elem.iter().find_map(element_type)?;
            let element = ast::ArrayElemTypeDef::SquareBracket(Box::new(element), None);
            Some(DataType::Array(element))
        }
        _ => None,
    }
}

/// The type that an element of ARRAY[..] has.
fn element_type(element: &Expr) -> Option<ast::DataType> {
    use ast::DataType;
    let Expr::Value(value) = element else {
        return written_type(element);
    };
    match &value.value {
        Value::SingleQuotedString(_) => Some(DataType::Text),
        Value::Boolean(_) => Some(DataType::Boolean),
        Value::Number(digits, _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(match digits.parse::<i32>() {
                Ok(_) => DataType::Integer(None),
                Err(_) => DataType::BigInt(None),
            })
        }
        Value::Number(..) => Some(DataType::DoublePrecision),
        _ => None,
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
        ast::DataType::Uuid => Some("uuid"),
        ast::DataType::JSON => Some("json"),
        ast::DataType::JSONB => Some("jsonb"),
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
    if let Some(Value::SingleQuotedString(text)) = escape.as_ref().map(|e| &e.value)
        && text.is_empty()
        && let Some(text) = constant_text(pattern)
    {
        // Nothing escapes.
        let mended = text.replace('\\', "\\\\");
        *pattern = Expr::value(Value::SingleQuotedString(mended));
        *escape = None;
        return;
    }
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
