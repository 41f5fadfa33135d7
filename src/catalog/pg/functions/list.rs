//! Functions over arrays of any type.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int32Builder, ListArray, ListBuilder, StringArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The function that makes an empty array of a NULL, for `ARRAY(SELECT ..)` over no rows.
pub const ARRAY_OR_EMPTY: &str = "array_or_empty";
/// The function that gives the places of an array's elements, for `generate_subscripts` and `WITH ORDINALITY`.
pub const ARRAY_SUBSCRIPTS: &str = "array_subscripts";

/// The function that gives the elements of an array with their places, for `_pg_expandarray` in a SELECT list.
pub const ARRAY_PLACES: &str = "array_places";

/// `array_or_empty(array)`; of a text that is NULL, `{}`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OrEmpty {
    signature: Signature,
}

impl OrEmpty {
    pub fn new() -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { signature }
    }
}

impl ScalarUDFImpl for OrEmpty {
    fn name(&self) -> &str {
        ARRAY_OR_EMPTY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::clone(&args.arg_fields[0]);
        Ok(Arc::new(
            field.with_name(ARRAY_OR_EMPTY).with_nullable(false),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        if !matches!(array.data_type(), DataType::List(_)) {
            let text = cast(&array, &DataType::Utf8)?;
            let filled = text
                .as_string::<i32>()
                .iter()
                .map(|t| Some(t.unwrap_or("{}")));
            let filled: ArrayRef = Arc::new(filled.collect::<StringArray>());
            return Ok(ColumnarValue::Array(cast(&filled, array.data_type())?));
        }
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("{ARRAY_OR_EMPTY} takes an array");
        };
        let DataType::List(element) = lists.data_type() else {
            return exec_err!("{ARRAY_OR_EMPTY} takes an array");
        };
        let lengths = (0..lists.len()).map(|i| match lists.is_null(i) {
            true => 0,
            false => lists.value_length(i) as usize,
        });
        let lengths: Vec<usize> = lengths.collect();
        let places = (0..lists.len())
            .filter(|i| lists.is_valid(*i))
            .flat_map(|i| {
                let from = lists.value_offsets()[i] as u32;
                from..from + lengths[i] as u32
            });
        let values = take(lists.values(), &UInt32Array::from_iter_values(places), None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let filled = ListArray::try_new(Arc::clone(element), offsets, values, None)?;
        Ok(ColumnarValue::Array(Arc::new(filled)))
    }
}

/// `array_subscripts(array)`: 1, 2, .. to the array's length.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Subscripts {
    signature: Signature,
}

impl Subscripts {
    pub fn new() -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { signature }
    }
}

impl ScalarUDFImpl for Subscripts {
    fn name(&self) -> &str {
        ARRAY_SUBSCRIPTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Int32, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let length = |i: usize| -> Option<i32> {
            if array.is_null(i) {
                return None;
            }
            match array.data_type() {
                DataType::List(_) => Some(array.as_list::<i32>().value_length(i)),
                DataType::LargeList(_) => {
                    i32::try_from(array.as_list::<i64>().value_length(i)).ok()
                }
                DataType::FixedSizeList(_, n) => Some(*n),
                _ => None,
            }
        };
        let mut builder = ListBuilder::new(Int32Builder::new());
        for i in 0..array.len() {
            builder.append_option(length(i).map(|n| (1..=n).map(Some)));
        }
        let subscripts: ArrayRef = Arc::new(builder.finish());
        Ok(ColumnarValue::Array(subscripts))
    }
}

/// `array_places(array)`: records `(x, n)` of each element and its place.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Places {
    signature: Signature,
}

impl Places {
    pub fn new() -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { signature }
    }
}

/// The fields of the records for elements of the type.
fn record_of(element: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("x", element.clone(), true),
        Field::new("n", DataType::Int32, true),
    ])
}

impl ScalarUDFImpl for Places {
    fn name(&self) -> &str {
        ARRAY_PLACES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::List(element) => Ok(DataType::new_list(
                DataType::Struct(record_of(element.data_type())),
                true,
            )),
            other => plan_err!("{ARRAY_PLACES} takes an array, not {other}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("{ARRAY_PLACES} takes an array");
        };
        let lengths = lists.offsets().lengths();
        let places: Int32Array = lengths.flat_map(|n| 1..=n as i32).collect();
        let first = lists.value_offsets()[0] as usize;
        let values = lists.values().slice(first, places.len());
        let fields = record_of(values.data_type());
        let records = StructArray::try_new(fields, vec![values, Arc::new(places)], None)?;
        let element = Arc::new(Field::new_list_field(records.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lists.offsets().lengths());
        let nulls = lists.nulls().cloned();
        let list = ListArray::try_new(element, offsets, Arc::new(records), nulls)?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}
