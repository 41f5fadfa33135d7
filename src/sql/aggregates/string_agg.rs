//! `string_agg` of bytes, of texts whose separators differ from row to row, and of several in different orders.
//!
//! DataFusion joins texts by one separator alone. It finds an aggregate by its name, so the name holds a function that takes
//! the others as well; [`with_results`](super::with_results) puts DataFusion's back where it will do, and joins what `array_agg`
//! gathers elsewhere.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::lit;
use shelfmark_udfs::coerced_types;

use crate::error::Error;

/// The function.
pub(super) fn function() -> AggregateUDF {
    StringAgg {
        inner: string_agg_udaf(),
        signature: Signature::user_defined(Volatility::Immutable),
    }
    .into()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StringAgg {
    /// DataFusion's.
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl StringAgg {
    /// The function below, where there is one.
    pub(super) fn inner_of(function: &AggregateUDF) -> Option<&Arc<AggregateUDF>> {
        let agg = function.inner().downcast_ref::<Self>();
        agg.map(|agg| &agg.inner)
    }
}

impl AggregateUDFImpl for StringAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value, _] if value.is_binary() => Ok(vec![DataType::Binary; 2]),
            types => coerced_types(&self.inner, types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, _] if value.is_binary() => Ok(DataType::Binary),
            types => self.inner.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Err(Error::internal("string_agg was not made another function").into())
    }
}

/// A value and its separator as one record.
pub(super) fn record(value: Expr, separator: Expr) -> Expr {
    named_struct(vec![lit("value"), value, lit("separator"), separator])
}

/// `joined(array)`: the fields `value` of an array of records, with the field `separator` before all but the first;
/// `joined(array, separator)`: the elements of an array.
pub(super) fn joined() -> ScalarUDF {
    ScalarUDF::new_from_impl(Joined {
        signature: Signature::variadic_any(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

/// What an array is of; of records, what their values are.
fn value_type(array: &DataType) -> DataType {
    let DataType::List(element) = array else {
        return DataType::Utf8;
    };
    let of = match element.data_type() {
        DataType::Struct(fields) => fields[0].data_type(),
        other => other,
    };
    match of.is_binary() {
        true => DataType::Binary,
        false => DataType::Utf8,
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().map_or(DataType::Utf8, value_type))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args.args[0].to_array(args.number_rows)?;
        let separator = match args.args.get(1) {
            Some(separator) => Some(separator.to_array(args.number_rows)?),
            None => None,
        };
        let of = args.return_field.data_type();
        let row = |row: usize| match arrays.as_list_opt::<i32>() {
            Some(lists) if lists.is_valid(row) => {
                let separator = separator.as_ref().map(|s| s.slice(row, 1));
                join(&lists.value(row), separator.as_ref(), of)
            }
            _ => ScalarValue::try_from(of),
        };
        let values: Vec<ScalarValue> = (0..args.number_rows).map(row).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(match values.is_empty() {
            true => arrow::array::new_empty_array(of),
            false => ScalarValue::iter_to_array(values)?,
        }))
    }
}

/// The values that are there, joined; NULL where none is.
fn join(elements: &ArrayRef, separator: Option<&ArrayRef>, of: &DataType) -> Result<ScalarValue> {
    let (values, separators) = match elements.as_struct_opt() {
        Some(records) => (records.column(0), Some(records.column(1))),
        None => (elements, separator),
    };
    let values = cast(values, &DataType::Binary)?;
    let separators = separators.map(|s| cast(s, &DataType::Binary)).transpose()?;
    let mut bytes: Option<Vec<u8>> = None;
    for (row, value) in values.as_binary::<i32>().iter().enumerate() {
        let Some(value) = value else { continue };
        let joined = match &mut bytes {
            None => bytes.insert(Vec::new()),
            Some(joined) => {
                if let Some(separators) = &separators {
                    let place = if separators.len() == 1 { 0 } else { row };
                    let separators = separators.as_binary::<i32>();
                    if separators.is_valid(place) {
                        joined.extend(separators.value(place));
                    }
                }
                joined
            }
        };
        joined.extend(value);
    }
    Ok(match of {
        DataType::Binary => ScalarValue::Binary(bytes),
        _ => {
            let text = bytes.map(String::from_utf8).transpose();
            ScalarValue::Utf8(text.map_err(|_| Error::internal("a text that is not UTF-8"))?)
        }
    })
}
