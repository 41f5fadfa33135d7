//! Casts of dates and timestamps to one another, which keep infinities.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::finite;
use crate::error::{Error, sqlstate};

/// The times as ones of another type; an infinite one has no time of day.
///
/// # Errors
/// 22008 for what the type does not reach.
pub fn cast_moments(times: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if let (DataType::List(_), DataType::List(element)) = (times.data_type(), to) {
        let lists = times.as_list::<i32>();
        let values = cast_moments(lists.values(), element.data_type())?;
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        let lists = ListArray::try_new(Arc::clone(element), offsets, values, nulls)?;
        return Ok(Arc::new(lists));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let (rest, infinities) = finite(times)?;
    let cast = cast_with_options(&rest, to, &options).map_err(|_| out_of_range(to))?;
    infinities.put_back(cast)
}

fn out_of_range(to: &DataType) -> ArrowError {
    let name = match to {
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        _ => "timestamp",
    };
    let message = format!("{name} out of range");
    let error = Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message);
    ArrowError::from_external_error(Box::new(error))
}

/// The cast as a function: DataFusion's own would take infinities for times.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MomentCast {
    to: FieldRef,
    signature: Signature,
}

impl MomentCast {
    /// The cast of a value of a type to another; `None` where DataFusion's does.
    pub fn call(value: &Expr, from: &DataType, to: &FieldRef) -> Option<Expr> {
        if from == to.data_type() || !(can_be_infinite(from) && is_moment(to.data_type())) {
            return None;
        }
        let function = Self {
            to: Arc::clone(to),
            signature: Signature::any(1, Volatility::Immutable),
        };
        Some(ScalarUDF::from(function).call(vec![value.clone()]))
    }

    /// Whether casts to the type may be of infinities.
    pub fn is_target(to: &DataType) -> bool {
        is_moment(to)
    }

    /// What is cast, where an expression is a call of such a function.
    pub fn inner(expr: &Expr) -> Option<&Expr> {
        let Expr::ScalarFunction(call) = expr else {
            return None;
        };
        call.func.inner().downcast_ref::<Self>()?;
        call.args.first()
    }

    /// The type that values are cast to.
    pub fn to(&self) -> &DataType {
        self.to.data_type()
    }
}

fn can_be_infinite(of: &DataType) -> bool {
    match of {
        DataType::Date32 | DataType::Timestamp(..) => true,
        DataType::List(element) => can_be_infinite(element.data_type()),
        _ => false,
    }
}

fn is_moment(of: &DataType) -> bool {
    match of {
        DataType::Time64(_) => true,
        DataType::List(element) => is_moment(element.data_type()),
        of => can_be_infinite(of),
    }
}

impl ScalarUDFImpl for MomentCast {
    fn name(&self) -> &str {
        "moment_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // An infinite time has no time of day.
        let loses = matches!(self.to(), DataType::Time64(_) | DataType::List(_));
        let nullable = loses || args.arg_fields.iter().any(|field| field.is_nullable());
        let field = Field::new(self.name(), self.to().clone(), nullable);
        // What DataFusion's cast says of the value: all that is known of the source where only a type was asked for.
        let to = self.to.as_ref();
        let is_type_only = to.name().is_empty() && to.is_nullable() && to.metadata().is_empty();
        let source = args.arg_fields.first().filter(|_| is_type_only);
        let metadata = source.map_or(to.metadata(), |source| source.metadata());
        Ok(Arc::new(field.with_metadata(metadata.clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let cast = |times: &[ArrayRef]| Ok(cast_moments(&times[0], self.to())?);
        make_scalar_function(cast, Vec::new())(&args.args)
    }
}
