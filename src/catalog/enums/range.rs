//! `enum_first`, `enum_last` and `enum_range`, whose type is that of their arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::catalog::pg::type_name;
use crate::error::{Error, sqlstate};
use crate::storage::enum_type::{EnumLabel, EnumType, unknown_label};
use crate::storage::schema::LIST_ELEMENT;

/// The functions that users call.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let all = [Asked::First, Asked::Last, Asked::Range];
    all.into_iter()
        .map(|asked| ScalarUDF::new_from_impl(EnumRange::new(asked)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    First,
    Last,
    Range,
}

/// A question about the values that a type has. The value of a single argument says nothing, its type everything.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EnumRange {
    asked: Asked,
    signature: Signature,
}

impl EnumRange {
    fn new(asked: Asked) -> Self {
        let one = TypeSignature::Any(1);
        let arities = match asked {
            Asked::Range => vec![one, TypeSignature::Any(2)],
            Asked::First | Asked::Last => vec![one],
        };
        let signature = Signature::one_of(arities, Volatility::Immutable);
        Self { asked, signature }
    }

    fn undefined(&self, fields: &[FieldRef]) -> Error {
        let name = |field: &FieldRef| match field.data_type().is_null() {
            true => "unknown".to_string(),
            false => type_name(field),
        };
        let types: Vec<String> = fields.iter().map(name).collect();
        let message = format!(
            "function {}({}) does not exist",
            self.name(),
            types.join(", ")
        );
        Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    }
}

impl ScalarUDFImpl for EnumRange {
    fn name(&self) -> &str {
        match self.asked {
            Asked::First => "enum_first",
            Asked::Last => "enum_last",
            Asked::Range => "enum_range",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        not_impl_err!("the type of {} is that of its arguments", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let of = args.arg_fields.iter().find_map(|f| EnumType::of_field(f));
        let of = of.ok_or_else(|| self.undefined(args.arg_fields))?;
        Ok(match self.asked {
            Asked::Range => of.list_field(self.name(), true),
            Asked::First | Asked::Last => of.field(self.name(), true),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let field = &args.return_field;
        let of = EnumType::of_field(field).or_else(|| EnumType::of_list(field));
        let Some(of) = of else {
            return exec_err!("{} is of an enum", self.name());
        };
        let label = |label: Option<&EnumLabel>| {
            let name = label.map(|label| label.name.clone());
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name)))
        };
        match (self.asked, args.args.as_slice()) {
            (Asked::First, _) => label(of.labels.first()),
            (Asked::Last, _) => label(of.labels.last()),
            (Asked::Range, [from, to]) => {
                let bounds = [from, to].map(|bound| bound.to_array(args.number_rows));
                let [from, to] = bounds;
                Ok(ColumnarValue::Array(ranges(&of, &from?, &to?)?))
            }
            (Asked::Range, _) => {
                let list = lists(&of, &[(0, of.labels.len())])?;
                Ok(ColumnarValue::Scalar(ScalarValue::List(Arc::new(list))))
            }
        }
    }
}

/// The values from one to another, both included; NULL is the end of the order.
fn ranges(of: &EnumType, from: &ArrayRef, to: &ArrayRef) -> Result<ArrayRef> {
    let (from, to) = (cast(from, &DataType::Utf8)?, cast(to, &DataType::Utf8)?);
    let (from, to) = (from.as_string::<i32>(), to.as_string::<i32>());
    let place = |labels: &StringArray, row: usize| match labels.is_valid(row) {
        false => Ok(None),
        true => match of.position(labels.value(row)) {
            Some(place) => Ok(Some(place)),
            None => Err(unknown_label(of, labels.value(row))),
        },
    };
    let mut rows = Vec::with_capacity(from.len());
    for row in 0..from.len() {
        let first = place(from, row)?.unwrap_or(0);
        let end = place(to, row)?.map_or(of.labels.len(), |last| last + 1);
        rows.push((first.min(end), end));
    }
    Ok(Arc::new(lists(of, &rows)?))
}

/// For each range of places the values there.
fn lists(of: &EnumType, ranges: &[(usize, usize)]) -> Result<ListArray> {
    let lengths = ranges.iter().map(|(from, to)| to - from);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let labels = ranges.iter().flat_map(|(from, to)| &of.labels[*from..*to]);
    let labels: StringArray = labels.map(|label| Some(label.name.as_str())).collect();
    let field = Arc::new(Field::new(LIST_ELEMENT, DataType::Utf8, true));
    Ok(ListArray::try_new(field, offsets, Arc::new(labels), None)?)
}
