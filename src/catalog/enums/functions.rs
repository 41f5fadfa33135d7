//! The functions that the rule puts in place of casts and comparisons.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::catalog::assign::cast_to;
use crate::catalog::zone::Zone;
use crate::storage::enum_type::{EnumType, unknown_label};
use crate::storage::schema::ColumnType;

/// What an [`EnumFunction`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// Texts, or lists of them, become values.
    Input,
    /// Values become plain texts.
    Text,
    /// Values become places in the order.
    Position,
    /// Places become values.
    Label,
}

/// A function of values of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EnumFunction {
    operation: Operation,
    /// An enum, or an array of one for input.
    of: ColumnType,
    signature: Signature,
}

impl EnumFunction {
    pub(super) fn new(operation: Operation, of: ColumnType) -> Self {
        Self {
            operation,
            of,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    pub(super) fn call(self, expr: Expr) -> Expr {
        Arc::new(ScalarUDF::new_from_impl(self)).call(vec![expr])
    }

    fn field(&self) -> FieldRef {
        match (self.operation, &self.of) {
            (Operation::Text, _) => Arc::new(Field::new(self.name(), DataType::Utf8, true)),
            (Operation::Position, _) => Arc::new(Field::new(self.name(), DataType::Int32, true)),
            (_, ColumnType::Enum(of)) => of.field(self.name(), true),
            (_, list) => match list.enum_type() {
                Some(of) => of.list_field(self.name(), true),
                None => Arc::new(Field::new(self.name(), list.arrow_type(), true)),
            },
        }
    }

    fn rows(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let Some(of) = self.of.enum_type() else {
            return exec_err!("{} is of an enum", self.name());
        };
        match self.operation {
            Operation::Input => Ok(cast_to(values, &self.of, &Zone::utc()).map_err(|e| e.error)?),
            Operation::Text => Ok(cast(values, &DataType::Utf8)?),
            Operation::Position => Ok(Arc::new(positions(values, of)?)),
            Operation::Label => Ok(Arc::new(labels(values, of))),
        }
    }
}

/// The places of values in the order.
fn positions(values: &ArrayRef, of: &EnumType) -> Result<Int32Array> {
    let values = cast(values, &DataType::Utf8)?;
    let position = |label: &str| match of.position(label) {
        Some(place) => Ok(place as i32),
        None => Err(unknown_label(of, label)),
    };
    let values = values.as_string::<i32>().iter();
    let places = values.map(|label| label.map(position).transpose());
    Ok(places.collect::<Result<Int32Array, _>>()?)
}

/// The values at places in the order.
fn labels(places: &ArrayRef, of: &EnumType) -> StringArray {
    let label = |place: i32| of.labels.get(usize::try_from(place).ok()?);
    let places = places.as_primitive::<Int32Type>().iter();
    let labels = places.map(|place| label(place?).map(|label| label.name.as_str()));
    labels.collect()
}

impl ScalarUDFImpl for EnumFunction {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Input => "enum_in",
            Operation::Text => "enum_out",
            Operation::Position => "enum_position",
            Operation::Label => "enum_label",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.field().data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.field())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|arrays| self.rows(&arrays[0]), Vec::new())(&args.args)
    }
}
