//! Arguments by their names: `make_interval(days => 1)`.
//!
//! They are put into the order of the function's parameters; what is left out before them is zero.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Value,
};

use super::build::argument;
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;

/// The parameters of functions that walk a path.
const PATH: &[&str] = &["target", "path", "vars", "silent"];
/// Those of functions that change JSON at a path.
const SET: &[&str] = &["jsonb_in", "path", "replacement", "create_if_missing"];
const INSERT: &[&str] = &["jsonb_in", "path", "replacement", "insert_after"];

/// Functions whose parameters have names, and how many of them must be given.
const NAMED: [(&str, usize, &[&str]); 17] = [
    (
        "make_interval",
        0,
        &["years", "months", "weeks", "days", "hours", "mins", "secs"],
    ),
    ("make_date", 3, &["year", "month", "day"]),
    ("make_time", 3, &["hour", "min", "sec"]),
    (
        "make_timestamp",
        6,
        &["year", "month", "mday", "hour", "min", "sec"],
    ),
    (
        "make_timestamptz",
        6,
        &["year", "month", "mday", "hour", "min", "sec", "timezone"],
    ),
    ("jsonb_path_exists", 2, PATH),
    ("jsonb_path_exists_tz", 2, PATH),
    ("jsonb_path_match", 2, PATH),
    ("jsonb_path_match_tz", 2, PATH),
    ("jsonb_path_query", 2, PATH),
    ("jsonb_path_query_tz", 2, PATH),
    ("jsonb_path_query_array", 2, PATH),
    ("jsonb_path_query_array_tz", 2, PATH),
    ("jsonb_path_query_first", 2, PATH),
    ("jsonb_path_query_first_tz", 2, PATH),
    ("jsonb_set", 3, SET),
    ("jsonb_insert", 3, INSERT),
];

/// Puts the arguments of a call into their order.
///
/// # Errors
/// Those of [`in_order`].
pub(super) fn order_arguments(function: &mut Function) -> Result<()> {
    match &mut function.args {
        FunctionArguments::List(list) => in_order(&function.name, &mut list.args),
        _ => Ok(()),
    }
}

/// Puts arguments of a function into the order of its parameters.
///
/// # Errors
/// 42601 for an argument without a name behind one with a name, or one that comes twice; 42883 where the function has no
/// such parameters.
pub(super) fn in_order(name: &ObjectName, args: &mut Vec<FunctionArg>) -> Result<()> {
    let name = name.0.last().and_then(|part| part.as_ident());
    let name = name.map(fold).unwrap_or_default();
    let Some((_, required, parameters)) = NAMED.iter().find(|(known, ..)| *known == name) else {
        return Ok(());
    };
    if !args.iter().any(|given| named(given).is_some()) {
        return Ok(());
    }
    let values = placed(&name, parameters, args)?;
    if values.iter().take(*required).any(Option::is_none) {
        return Err(unknown(&name));
    }
    let given = values
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |at| at + 1);
    let values = values.into_iter().zip(*parameters).take(given);
    let values = values.map(|(value, name)| argument(value.unwrap_or_else(|| left_out(name))));
    *args = values.collect();
    Ok(())
}

fn unknown(function: &str) -> Error {
    let message = format!("function {function} has no parameters of these names");
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message)
}

/// What the parameters are given, in their order.
fn placed(name: &str, parameters: &[&str], args: &[FunctionArg]) -> Result<Vec<Option<Expr>>> {
    let mut values: Vec<Option<Expr>> = vec![None; parameters.len()];
    let mut is_named = false;
    for (place, given) in args.iter().enumerate() {
        let (place, value) = match (named(given), given) {
            (Some((parameter, value)), _) => {
                is_named = true;
                let mut places = parameters.iter();
                (places.position(|p| *p == parameter), value.clone())
            }
            (None, FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) if !is_named => {
                (Some(place), value.clone())
            }
            _ => {
                let message = "positional argument cannot follow named argument";
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        };
        let place = place
            .filter(|place| *place < parameters.len())
            .ok_or_else(|| unknown(name))?;
        if values[place].replace(value).is_some() {
            let parameter = parameters[place];
            let message = format!("argument name \"{parameter}\" used more than once");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
    }
    Ok(values)
}

/// What a parameter is that is left out before one that is given.
fn left_out(parameter: &str) -> Expr {
    match parameter {
        "vars" => Expr::value(Value::SingleQuotedString("{}".to_string())),
        _ => Expr::value(Value::Number("0".to_string(), false)),
    }
}

/// The name and the value of an argument with a name, `a => 1` or `a := 1`.
fn named(argument: &FunctionArg) -> Option<(String, &Expr)> {
    let (name, value): (&Ident, &Expr) = match argument {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            ..
        } => (name, value),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Assignment,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => (name, right),
            _ => return None,
        },
        _ => return None,
    };
    Some((fold(name), value))
}
