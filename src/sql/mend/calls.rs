//! Functions that DataFusion has under another name or in another form.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, UnaryOperator, Value,
};

use super::array_literal::array_of_literal;
use super::build::{argument, arguments, binary, call, call_with, cast_as, nested};
use super::constant::constant_text;
use super::exact::{is_exact, round_exactly};
use super::from::names_columns;
use super::gather::gather;
use crate::catalog::pg::functions::{ARRAY_OR_EMPTY, ARRAY_SUBSCRIPTS};
use crate::sql::functions::{
    BIN_OF_ORIGIN, BIN_STRIDE, DATE_BY_TEMPLATE, DATE_TRUNC, INSTANT_BY_TEMPLATE, ROUND_SECONDS,
};
use crate::sql::parser::fold;
use crate::sql::text_output::OUTPUT_TEXT;

/// The call as DataFusion reads it; `None` for one that it reads as it is.
pub(super) fn mend_call(function: &Function) -> Option<Expr> {
    let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
    match (name.as_str(), &function.args) {
        ("array", FunctionArguments::Subquery(query)) => {
            let mut query = query.clone();
            gather(&mut query)?;
            Some(call(ARRAY_OR_EMPTY, vec![Expr::Subquery(query)]))
        }
        ("coalesce", _) => match arguments(function)?.as_slice() {
            [value, default] if constant_text(default).as_deref() == Some("{}") => {
                Some(call(ARRAY_OR_EMPTY, vec![Expr::clone(value)]))
            }
            _ => None,
        },
        ("localtimestamp" | "localtime", FunctionArguments::None) => local_time(&name),
        ("current_timestamp" | "localtimestamp" | "localtime", FunctionArguments::List(_)) => {
            match arguments(function)?.as_slice() {
                [digits] => rounded_time(&name, digits),
                _ => None,
            }
        }
        ("array_fill", _) => match arguments(function)?.as_slice() {
            [value, Expr::Array(ast::Array { elem, .. })] if !elem.is_empty() => {
                let lengths = elem.iter().rev().cloned();
                let filled = |value, length| call("array_repeat", vec![value, length]);
                Some(lengths.fold(Expr::clone(value), filled))
            }
            _ => None,
        },
        ("mod", _) => match arguments(function)?.as_slice() {
            [dividend, divisor] => {
                let operand = |expr: &Expr| nested(expr.clone());
                let (dividend, divisor) = (operand(dividend), operand(divisor));
                Some(nested(binary(dividend, BinaryOperator::Modulo, divisor)))
            }
            _ => None,
        },
        ("round", _) => with_exact(function, 1),
        ("div" | "scale" | "min_scale", _) => with_exact(function, usize::MAX),
        ("percentile_disc" | "percentile_cont" | "mode", _) => within_group(function, &name),
        ("json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg", _) => {
            gathered_json(function, &name)
        }
        ("vector_avg", _) => match arguments(function)?.as_slice() {
            [state] if is_state(state) => renamed(function, "vector_state_avg"),
            _ => None,
        },
        ("date_bin", _) => stride_checked(function),
        ("array_length", _) => {
            let call = Expr::Function(function.clone());
            // Of an empty array there is none.
            let length = call_nullif(call);
            Some(cast_as(length, ast::DataType::Integer(None)))
        }
        ("format", _) => with_texts(function, 1),
        ("concat", _) => with_texts(function, 0),
        ("concat_ws", _) => with_texts(function, 1),
        ("normalize", _) => match arguments(function)?.as_slice() {
            [value, Expr::Identifier(form)] if form.quote_style.is_none() => {
                let form = Expr::value(Value::SingleQuotedString(form.value.clone()));
                Some(call("normalize", vec![Expr::clone(value), form]))
            }
            _ => None,
        },
        ("sign", _) => renamed(function, "signum"),
        ("json_object" | "jsonb_object", _) => {
            let given = arguments(function)?;
            let array = |text: &&Expr| texts_of_literal(text).unwrap_or_else(|| Expr::clone(text));
            Some(call(&name, given.iter().map(array).collect()))
        }
        ("ceiling", _) => renamed(function, "ceil"),
        ("date_trunc", _) => match arguments(function)?.as_slice() {
            [_, _, _] => renamed(function, DATE_TRUNC),
            [unit, _] if is_own_unit(unit) || names_columns(*unit) => renamed(function, DATE_TRUNC),
            _ => None,
        },
        ("statement_timestamp" | "transaction_timestamp", _) => renamed(function, "now"),
        ("every", _) => renamed(function, "bool_and"),
        ("variance", _) => renamed(function, "var_samp"),
        ("jsonb_contained", _) => match arguments(function)?.as_slice() {
            [inner, outer] => Some(call(
                "jsonb_contains",
                vec![Expr::clone(outer), Expr::clone(inner)],
            )),
            _ => None,
        },
        ("to_date" | "to_timestamp", _) => by_template(function, &name),
        // DataFusion counts without a sign, in which a difference would not fit.
        ("row_number" | "rank" | "dense_rank", _) if function.over.is_some() => {
            Some(counted(function, ast::DataType::BigInt(None)))
        }
        ("ntile", _) if function.over.is_some() => {
            Some(counted(function, ast::DataType::Integer(None)))
        }
        ("cardinality" | "array_position", _) => {
            Some(counted(function, ast::DataType::Integer(None)))
        }
        ("array_positions", _) => {
            let integers =
                ast::ArrayElemTypeDef::SquareBracket(Box::new(ast::DataType::Integer(None)), None);
            Some(counted(function, ast::DataType::Array(integers)))
        }
        ("regr_count", _) => Some(counted(function, ast::DataType::BigInt(None))),
        ("generate_subscripts", _) => {
            let given = arguments(function)?;
            let [array, dimension] = given.as_slice() else {
                return None;
            };
            Some(call("unnest", vec![subscripts(array, dimension)]))
        }
        _ => cast_of(function, &name),
    }
}

/// The function that an operator before its operand is, if it is one.
pub(super) fn called_operator(op: UnaryOperator, operand: &Expr) -> Option<Expr> {
    let operand = operand.clone();
    Some(match op {
        // It is of doubles alone.
        UnaryOperator::PGSquareRoot => {
            let double = cast_as(nested(operand), ast::DataType::DoublePrecision);
            call("sqrt", vec![double])
        }
        UnaryOperator::PGCubeRoot => call("cbrt", vec![operand]),
        UnaryOperator::PGAbs => call("abs", vec![operand]),
        UnaryOperator::BitwiseNot => call("bitnot", vec![operand]),
        _ => return None,
    })
}

/// The array of texts that a literal stands for.
fn texts_of_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Array(mut array) = array_of_literal(expr)? else {
        return None;
    };
    for element in &mut array.elem {
        let number = match &*element {
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => Some(number.clone()),
                _ => None,
            },
            _ => None,
        };
        if let Some(number) = number {
            *element = Expr::value(Value::SingleQuotedString(number));
        }
    }
    Some(Expr::Array(array))
}

/// The places of an array's elements; none of another dimension than the first.
fn subscripts(array: &Expr, dimension: &Expr) -> Expr {
    let one = Expr::value(Value::Number("1".to_string(), false));
    let places = call(ARRAY_SUBSCRIPTS, vec![array.clone()]);
    let is_one =
        |value: &ast::ValueWithSpan| matches!(&value.value, Value::Number(n, _) if n == "1");
    if matches!(dimension, Expr::Value(value) if is_one(value)) {
        return places;
    }
    let is_first = binary(nested(dimension.clone()), BinaryOperator::Eq, one);
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen {
            condition: is_first,
            result: places,
        }],
        else_result: None,
    }
}

/// `date(x)` is `x::date`, where a type has the name and there is no function of it.
fn cast_of(function: &Function, name: &str) -> Option<Expr> {
    use ast::DataType as D;
    let data_type = match name {
        "bool" => D::Boolean,
        "date" => D::Date,
        "float4" => D::Real,
        "float8" => D::DoublePrecision,
        "int2" => D::SmallInt(None),
        "int4" => D::Integer(None),
        "int8" => D::BigInt(None),
        "text" => D::Text,
        "timestamptz" => D::Timestamp(None, ast::TimezoneInfo::Tz),
        "uuid" => D::Uuid,
        _ => return None,
    };
    match arguments(function)?.as_slice() {
        [value] => {
            let mut value = Expr::clone(value);
            if is_exact(&data_type) {
                round_exactly(&mut value);
            }
            Some(cast_as(nested(value), data_type))
        }
        _ => None,
    }
}

/// A call whose first arguments are exact, where they are constants.
fn with_exact(function: &Function, count: usize) -> Option<Expr> {
    let mut exact = function.clone();
    let FunctionArguments::List(list) = &mut exact.args else {
        return None;
    };
    for given in list.args.iter_mut().take(count) {
        if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(number)) = given {
            round_exactly(number);
        }
    }
    Some(Expr::Function(exact))
}

/// `to_date(x, 'YYYY-MM-DD')`; a template with a percent sign is a format of DataFusion's.
fn by_template(function: &Function, name: &str) -> Option<Expr> {
    let given = arguments(function)?;
    let [_, template] = given.as_slice() else {
        return None;
    };
    if constant_text(template).is_some_and(|template| template.contains('%')) {
        return None;
    }
    match name {
        "to_date" => renamed(function, DATE_BY_TEMPLATE),
        _ => renamed(function, INSTANT_BY_TEMPLATE),
    }
}

/// Whether a unit is one that DataFusion does not have, if it is any.
fn is_own_unit(unit: &Expr) -> bool {
    const KNOWN: [&str; 10] = [
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
    ];
    constant_text(unit).is_some_and(|unit| !KNOWN.contains(&unit.to_lowercase().as_str()))
}

/// The time of now without a zone.
fn local_time(name: &str) -> Option<Expr> {
    let data_type = match name {
        "localtimestamp" => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
        "localtime" => ast::DataType::Time(None, ast::TimezoneInfo::None),
        _ => return None,
    };
    Some(cast_as(call("now", Vec::new()), data_type))
}

/// The time of now with so many digits of seconds.
fn rounded_time(name: &str, digits: &Expr) -> Option<Expr> {
    let Expr::Value(value) = digits else {
        return None;
    };
    let Value::Number(number, _) = &value.value else {
        return None;
    };
    let of = |digits| match name {
        "current_timestamp" => ast::DataType::Timestamp(digits, ast::TimezoneInfo::Tz),
        "localtimestamp" => ast::DataType::Timestamp(digits, ast::TimezoneInfo::None),
        _ => ast::DataType::Time(digits, ast::TimezoneInfo::None),
    };
    let rounded = Some(number.parse().ok()?);
    let now = cast_as(call("now", Vec::new()), of(None));
    let now = call(ROUND_SECONDS, vec![now, digits.clone()]);
    Some(cast_as(now, of(rounded)))
}

/// `date_bin(stride, ..)` of a stride that is checked first; a parameter is typed by the call itself.
fn stride_checked(function: &Function) -> Option<Expr> {
    let mut given = arguments(function)?.into_iter().cloned();
    let stride = given.next()?;
    if is_parameter(&stride) {
        return None;
    }
    let stride = call(BIN_STRIDE, vec![stride]);
    let others: Vec<Expr> = given.collect();
    let name = match others.get(1).is_none_or(is_written) {
        true => "date_bin",
        false => BIN_OF_ORIGIN,
    };
    Some(call(name, [stride].into_iter().chain(others).collect()))
}

/// Whether an expression is a literal, or a cast of one.
fn is_written(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_written(inner),
        Expr::Value(_) | Expr::TypedString(_) => true,
        _ => false,
    }
}

/// `nullif(length, 0)`
fn call_nullif(length: Expr) -> Expr {
    let zero = Expr::value(Value::Number("0".to_string(), false));
    call("nullif", vec![length, zero])
}

/// A call whose arguments, but so many, are the texts that PostgreSQL shows of them.
fn with_texts(function: &Function, but: usize) -> Option<Expr> {
    arguments(function)?;
    let mut written = function.clone();
    let FunctionArguments::List(list) = &mut written.args else {
        return None;
    };
    for given in list.args.iter_mut().skip(but) {
        if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) = given
            && constant_text(value).is_none()
        {
            *value = match is_parameter(value) {
                true => cast_as(value.clone(), ast::DataType::Text),
                false => call(OUTPUT_TEXT, vec![value.clone()]),
            };
        }
    }
    Some(Expr::Function(written))
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// Whether it is the state of an average, by the looks of it: the text of an array, or one that is gathered.
fn is_state(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(ObjectNamePart::as_ident);
            last.is_some_and(|name| fold(name) == "array_agg")
        }
        expr => constant_text(expr).is_some(),
    }
}

/// `json_agg(x ORDER BY y)` as `json_agg(array_agg(to_json(x) ORDER BY y))`, where the outer one is no aggregate; the
/// aggregates of objects gather members.
fn gathered_json(function: &Function, name: &str) -> Option<Expr> {
    let element = match (name, arguments(function)?.as_slice()) {
        ("json_agg", [value]) => call("to_json", vec![Expr::clone(value)]),
        ("jsonb_agg", [value]) => call("to_jsonb", vec![Expr::clone(value)]),
        ("json_object_agg" | "jsonb_object_agg", [key, value]) => {
            call("json_member", vec![Expr::clone(key), Expr::clone(value)])
        }
        _ => return None,
    };
    let mut gather = function.clone();
    gather.name = ObjectName::from(vec![Ident::new("array_agg")]);
    if let FunctionArguments::List(list) = &mut gather.args {
        list.args = vec![argument(element)];
    }
    Some(call(name, vec![Expr::Function(gather)]))
}

/// `percentile_disc(f) WITHIN GROUP (ORDER BY x)` as `percentile_disc_of(array_agg(x ORDER BY x), f)`, of the values that
/// are not NULL.
fn within_group(function: &Function, name: &str) -> Option<Expr> {
    let [order] = function.within_group.as_slice() else {
        return None;
    };
    let fractions: Vec<Expr> = arguments(function)?.into_iter().cloned().collect();
    if function.over.is_some() || fractions.len() != usize::from(name != "mode") {
        return None;
    }
    let value = order.expr.clone();
    let order = FunctionArgumentClause::OrderBy(vec![order.clone()]);
    let mut gather = call_with("array_agg", vec![value.clone()], vec![order]);
    let is_there = Expr::IsNotNull(Box::new(nested(value)));
    gather.filter = Some(Box::new(match &function.filter {
        Some(filter) => binary(nested(*filter.clone()), BinaryOperator::And, is_there),
        None => is_there,
    }));
    let gathered = [Expr::Function(gather)].into_iter();
    Some(call(
        &format!("{name}_of"),
        gathered.chain(fractions).collect(),
    ))
}

/// The number that a call gives, as one of a type with a sign.
fn counted(function: &Function, data_type: ast::DataType) -> Expr {
    cast_as(Expr::Function(function.clone()), data_type)
}

/// The same call of a function of another name.
fn renamed(function: &Function, name: &str) -> Option<Expr> {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    Some(Expr::Function(function))
}
