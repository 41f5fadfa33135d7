//! `f(VARIADIC x)`: the elements of `x` are the arguments.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::build::{argument, binary, call, cast_as, nested};
use super::last_part;
use crate::error::{Error, Result};
use crate::sql::parser::fold;
use crate::sql::tokens::VARIADIC;

/// The call with the elements of an array that is written, or what else gives the same; `None` for a call without such an
/// argument.
///
/// # Errors
/// 0A000 for a function whose arguments are computed.
pub(super) fn spread_variadic(function: &mut Function) -> Result<Option<Expr>> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(None);
    };
    let is_variadic = |given: &FunctionArg| matches!(given, FunctionArg::Named { name, .. } if name.value == VARIADIC);
    let Some(FunctionArg::Named {
        arg: FunctionArgExpr::Expr(array),
        ..
    }) = list.args.pop_if(|last| is_variadic(last))
    else {
        return Ok(None);
    };
    if let Some(elements) = elements_of(&array) {
        list.args.extend(elements.into_iter().map(argument));
        return Ok(None);
    }
    let name = last_part(&function.name).map(fold).unwrap_or_default();
    let first = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(first))] => Some(first.clone()),
        _ => None,
    };
    let path = |op, first| {
        let path = cast_as(nested(array.clone()), texts());
        nested(binary(nested(first), op, path))
    };
    let joined = |separator| call("array_to_string", vec![array.clone(), separator]);
    Ok(Some(match (name.as_str(), first) {
        ("concat", None) if list.args.is_empty() => {
            joined(Expr::value(Value::SingleQuotedString(String::new())))
        }
        ("concat_ws", Some(separator)) => joined(separator),
        ("jsonb_extract_path" | "json_extract_path", Some(json)) => {
            path(BinaryOperator::HashArrow, json)
        }
        ("jsonb_extract_path_text" | "json_extract_path_text", Some(json)) => {
            path(BinaryOperator::HashLongArrow, json)
        }
        _ => {
            let message = format!("VARIADIC of a computed array is not supported for {name}");
            return Err(Error::unsupported(message));
        }
    }))
}

fn texts() -> ast::DataType {
    let text = Box::new(ast::DataType::Text);
    ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(text, None))
}

/// The elements of an array that is written.
fn elements_of(array: &Expr) -> Option<Vec<Expr>> {
    match array {
        Expr::Nested(inner) => elements_of(inner),
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Cast {
            expr,
            data_type: ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(of, _)),
            ..
        } => {
            let elements = elements_of(expr)?.into_iter();
            let cast = |element| cast_as(element, of.as_ref().clone());
            Some(elements.map(cast).collect())
        }
        _ => None,
    }
}
