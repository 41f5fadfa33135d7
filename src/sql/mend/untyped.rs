//! Arguments without a type, which PostgreSQL finds by the function that they are given to: `abs('-1.2')` is of a double,
//! `array_remove(NULL, 1)` of an array of numbers.

use datafusion::sql::sqlparser::ast::{self, Expr, Function, FunctionArguments, Value};

use super::build::cast_as;

/// Gives the literals among the arguments of a call their types.
pub(super) fn type_untyped(function: &mut Function, name: &str) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let given = list.args.iter_mut().filter_map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let mut given: Vec<&mut Expr> = given.collect();
    match (name, given.as_mut_slice()) {
        ("abs" | "ceiling" | "round" | "sign", [number]) => type_double(number),
        ("corr" | "covar_pop" | "covar_samp", numbers) => type_doubles(numbers),
        (name, numbers) if name.starts_with("regr_") => type_doubles(numbers),
        ("array_remove" | "array_replace" | "array_positions", [array, element, ..]) => {
            if is_null(array)
                && let Some(element) = element_type(element)
            {
                let array_type = ast::ArrayElemTypeDef::SquareBracket(Box::new(element), None);
                **array = cast_as((**array).clone(), ast::DataType::Array(array_type));
            }
        }
        ("date_bin", [_, moment, origin]) if is_text(moment) && is_text(origin) => {
            for moment in [moment, origin] {
                type_text(
                    moment,
                    ast::DataType::Timestamp(None, ast::TimezoneInfo::Tz),
                );
            }
        }
        _ => {}
    }
}

fn type_doubles(numbers: &mut [&mut Expr]) {
    for number in numbers {
        type_double(number);
    }
}

/// Makes a literal that is a text a double.
pub(super) fn type_double(number: &mut Expr) {
    type_text(number, ast::DataType::DoublePrecision);
}

/// Casts a literal that is a text.
fn type_text(expr: &mut Expr, data_type: ast::DataType) {
    if is_text(expr) {
        *expr = cast_as(expr.clone(), data_type);
    }
}

pub(super) fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

/// The type of a literal that is in an array.
fn element_type(element: &Expr) -> Option<ast::DataType> {
    let Expr::Value(value) = element else {
        return None;
    };
    match &value.value {
        Value::Number(digits, _) if digits.parse::<i32>().is_ok() => {
            Some(ast::DataType::Integer(None))
        }
        Value::SingleQuotedString(_) => Some(ast::DataType::Text),
        _ => None,
    }
}
