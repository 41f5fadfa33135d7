//! Arguments by their names: `make_interval(days => 1)`.
//!
//! They are put into the order of the function's parameters; what is left out before them is zero.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value,
};

use super::build::argument;
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;

/// Functions whose parameters have names, and how many of them must be given.
const NAMED: [(&str, usize, &[&str]); 5] = [
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
];

/// Puts the arguments of a call into their order.
///
/// # Errors
/// 42601 for an argument without a name behind one with a name, or one that comes twice; 42883 where the function has no such parameters.
pub(super) fn order_arguments(function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    let name = function.name.0.last().and_then(|part| part.as_ident());
    let name = name.map(fold).unwrap_or_default();
    let Some((_, required, parameters)) = NAMED.iter().find(|(known, ..)| *known == name) else {
        return Ok(());
    };
    if !list.args.iter().any(|given| named(given).is_some()) {
        return Ok(());
    }
    let unknown = || {
        let message = format!("function {name} has no parameters of these names");
        Error::invalid(sqlstate::UNDEFINED_FUNCTION, message)
    };
    let mut values: Vec<Option<Expr>> = Vec::new();
    values.resize(parameters.len(), None);
    let mut is_named = false;
    for (place, given) in list.args.iter().enumerate() {
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
            .ok_or_else(unknown)?;
        if values[place].replace(value).is_some() {
            let parameter = parameters[place];
            let message = format!("argument name \"{parameter}\" used more than once");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
    }
    if values.iter().take(*required).any(Option::is_none) {
        return Err(unknown());
    }
    let given = values
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |at| at + 1);
    let zero = || Expr::value(Value::Number("0".to_string(), false));
    let values = values.into_iter().take(given);
    let values = values.map(|value| argument(value.unwrap_or_else(zero)));
    list.args = values.collect();
    Ok(())
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
