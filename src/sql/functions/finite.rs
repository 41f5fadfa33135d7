//! Functions of DataFusion's that cannot take infinite times, and give infinite ones for them here.

use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::catalog::infinity::finite_argument;
use crate::catalog::wrapped::{Wrapper, wrapped};
use crate::error::{Error, sqlstate};

/// Each of them, and which of its arguments is the time that the result is near to.
const OF_TIMES: [(&str, usize); 2] = [("date_trunc", 1), ("date_bin", 1)];
/// Those that have no answer to an infinite argument.
const OF_FINITE_TIMES: [&str; 2] = ["generate_series", "range"];

/// Puts them in place of the session's functions.
pub(super) fn keep_infinities(context: &SessionContext) {
    let state = context.state();
    let known = |name: &str| state.scalar_functions().get(name).cloned();
    for (name, time) in OF_TIMES {
        if let Some(inner) = known(name) {
            context.register_udf(wrapped(inner, Keeping { time }));
        }
    }
    for name in OF_FINITE_TIMES {
        if let Some(inner) = known(name) {
            context.register_udf(wrapped(inner, Refusing));
        }
    }
}

/// Gives infinite times for infinite ones.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Keeping {
    time: usize,
}

impl Wrapper for Keeping {
    fn invoke(&self, inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.time >= args.args.len() {
            return inner.invoke_with_args(args);
        }
        let (rest, infinities) = finite_argument(&args.args[self.time])?;
        args.args[self.time] = rest;
        for (place, argument) in args.args.iter().enumerate() {
            let is_other = place != self.time;
            if is_other && !finite_argument(argument)?.1.is_empty() {
                return Err(out_of_range("origin").into());
            }
        }
        infinities.put_back_result(inner.invoke_with_args(args)?)
    }
}

/// Refuses infinite times.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Refusing;

impl Wrapper for Refusing {
    fn invoke(&self, inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for argument in &args.args {
            if !finite_argument(argument)?.1.is_empty() {
                return Err(out_of_range("timestamp").into());
            }
        }
        inner.invoke_with_args(args)
    }
}

/// 22008 for a time of which nothing can be computed.
pub(super) fn out_of_range(what: &str) -> Error {
    let message = format!("{what} out of range");
    Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}
