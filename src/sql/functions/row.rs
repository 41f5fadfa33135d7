//! Functions that are evaluated row by row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use shelfmark_udfs::VectorType;

use super::INTERVAL;
use super::pattern::Patterns;
use crate::catalog::json::json_field;
use crate::catalog::zone::Zone;
use crate::error::Error;
use crate::storage::schema::{LIST_ELEMENT, SQL_TYPE_KEY};

/// The type of an argument or of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int4,
    Int8,
    Float8,
    /// NUMERIC, of whatever precision and scale; numbers in general, as arguments.
    Numeric,
    /// As a result, NUMERIC without precision.
    Number,
    /// As a result, NUMERIC without digits behind the point.
    Whole,
    Text,
    Bytes,
    Texts,
    Json,
    Jsons,
    /// As a result, a path of SQL/JSON.
    JsonPath,
    /// Records of a key and a value of `jsonb`.
    JsonMembers,
    /// Records of a key and a value of `json`.
    JsonMembersAsWritten,
    /// Records of a key and a text.
    TextMembers,
    /// Arrays of texts.
    TextRows,
    Interval,
    Timestamp,
    Timestamptz,
    Date,
    Time,
    /// Anything; as a result, the type of the first argument.
    Any,
    /// An array of anything.
    Array,
    /// As a result, an array of integers.
    Int4s,
    /// An array of doubles.
    Floats,
    /// An array of intervals.
    Intervals,
    /// An array of instants.
    Instants,
    /// As a result, what the array of the first argument is of.
    Element,
    /// As a result, the elements of all dimensions of the first argument in one.
    Innermost,
}

/// Precision and scale of NUMERIC without any.
pub(super) const NUMBER: (u8, i8) = (38, 10);

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new(LIST_ELEMENT, element, true)))
}

fn members(value: Field) -> DataType {
    let key = Field::new("key", DataType::Utf8, true);
    list(DataType::Struct(Fields::from(vec![key, value])))
}

impl Kind {
    /// The Arrow type; `None` where the argument says it.
    fn data_type(self) -> Option<DataType> {
        Some(match self {
            Self::Bool => DataType::Boolean,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float8 => DataType::Float64,
            Self::Number => DataType::Decimal128(NUMBER.0, NUMBER.1),
            Self::Whole => DataType::Decimal128(NUMBER.0, 0),
            Self::Text | Self::Json | Self::JsonPath => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Texts | Self::Jsons => list(DataType::Utf8),
            Self::Int4s => list(DataType::Int32),
            Self::Floats => list(DataType::Float64),
            Self::Intervals => list(INTERVAL),
            Self::Instants => list(DataType::Timestamp(
                TimeUnit::Microsecond,
                Some("UTC".into()),
            )),
            Self::TextRows => list(list(DataType::Utf8)),
            Self::JsonMembers => members(json_field("value", true)),
            Self::JsonMembersAsWritten => members(json_field("value", false)),
            Self::TextMembers => members(Field::new("value", DataType::Utf8, true)),
            Self::Interval => INTERVAL,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Numeric | Self::Any | Self::Array | Self::Element | Self::Innermost => {
                return None;
            }
        })
    }

    /// How well an argument of the type fits: 0 for not at all, 3 for just so.
    fn fit(self, given: &DataType) -> u8 {
        use DataType as D;
        let is_text = matches!(given, D::Utf8 | D::LargeUtf8 | D::Utf8View);
        if given.is_null() {
            return 2;
        }
        match self {
            Self::Any => 2,
            Self::Floats => match given {
                D::List(_) | D::FixedSizeList(..) => 3,
                _ => u8::from(is_text),
            },
            Self::Intervals => match given {
                D::List(element) => 3 * u8::from(matches!(element.data_type(), D::Interval(_))),
                _ => 0,
            },
            Self::Array => 3 * u8::from(matches!(given, D::List(_) | D::FixedSizeList(..))),
            Self::Texts | Self::Jsons => match given {
                D::List(element) => 3 * u8::from(!element.data_type().is_nested()),
                _ => u8::from(is_text),
            },
            Self::TextRows => match given {
                D::List(row) => 3 * u8::from(matches!(row.data_type(), D::List(_))),
                _ => 0,
            },
            Self::Text => 3 * u8::from(is_text),
            Self::Bytes => 3 * u8::from(given.is_binary()) + u8::from(is_text),
            Self::Json => 2 * u8::from(is_text),
            Self::Bool => 3 * u8::from(*given == D::Boolean) + u8::from(is_text),
            Self::Int4 | Self::Int8 => {
                let exact = given.is_integer();
                if exact { 3 } else { u8::from(is_text) }
            }
            Self::Numeric if given.is_integer() => 2,
            Self::Numeric => 3 * u8::from(matches!(given, D::Decimal128(..))),
            Self::Float8 => match given {
                D::Float16 | D::Float32 | D::Float64 => 3,
                given if given.is_numeric() => 1,
                _ => u8::from(is_text),
            },
            Self::Interval => match given {
                D::Interval(_) | D::Duration(_) => 3,
                _ => u8::from(is_text),
            },
            Self::Timestamp => match given {
                D::Timestamp(_, None) => 3,
                D::Date32 | D::Date64 => 1,
                _ => u8::from(is_text),
            },
            Self::Timestamptz => match given {
                D::Timestamp(_, Some(_)) => 3,
                D::Timestamp(_, None) | D::Date32 | D::Date64 => 1,
                _ => u8::from(is_text),
            },
            Self::Date => match given {
                D::Date32 => 3,
                _ => u8::from(is_text),
            },
            Self::Time => match given {
                D::Time32(_) | D::Time64(_) => 3,
                _ => u8::from(is_text),
            },
            Self::Number
            | Self::Int4s
            | Self::Element
            | Self::Innermost
            | Self::Instants
            | Self::Whole
            | Self::JsonPath
            | Self::JsonMembers
            | Self::JsonMembersAsWritten
            | Self::TextMembers => 0,
        }
    }

    /// The type that the argument becomes.
    fn coerced(self, given: &DataType) -> DataType {
        match (self, self.data_type()) {
            (_, Some(data_type)) => data_type,
            (Self::Numeric, None) if given.is_integer() => DataType::Decimal128(20, 0),
            (Self::Array, None) => match given {
                DataType::FixedSizeList(element, _) => DataType::List(Arc::clone(element)),
                other => other.clone(),
            },
            (_, None) => given.clone(),
        }
    }
}

/// The field of arrays of such elements, whose type Arrow does not tell.
fn array_of(element: &Field, list: DataType) -> Field {
    let name = element.metadata().get(SQL_TYPE_KEY);
    let name = format!("{}[]", name.map_or("", String::as_str));
    let metadata = [(SQL_TYPE_KEY.to_string(), name)];
    Field::new(element.name(), list, true).with_metadata(metadata.into())
}

/// The array type of the elements at the bottom of an array.
fn innermost(of: &DataType) -> &DataType {
    match of {
        DataType::List(element)
            if matches!(element.data_type(), DataType::List(_))
                && VectorType::of(element.data_type()).is_none() =>
        {
            innermost(element.data_type())
        }
        other => other,
    }
}

/// One signature of a function, and what it does.
#[derive(Debug)]
pub(super) struct Overload {
    arguments: &'static [Kind],
    /// How many of the last arguments may be left out.
    optional: usize,
    /// Whether the last argument may come again and again.
    variadic: bool,
    gives: Kind,
    strict: bool,
    volatility: Volatility,
    evaluate: fn(&Call<'_>) -> Result<ScalarValue>,
}

impl Overload {
    /// A strict function that depends on its arguments alone.
    pub(super) const fn new(
        arguments: &'static [Kind],
        gives: Kind,
        evaluate: fn(&Call<'_>) -> Result<ScalarValue>,
    ) -> Self {
        Self {
            arguments,
            optional: 0,
            variadic: false,
            gives,
            strict: true,
            volatility: Volatility::Immutable,
            evaluate,
        }
    }

    /// The same function, without some of its last arguments.
    pub(super) const fn optional(self, optional: usize) -> Self {
        Self { optional, ..self }
    }

    /// The same function, with more arguments of the kind of the last.
    pub(super) const fn variadic(self) -> Self {
        Self {
            variadic: true,
            ..self
        }
    }

    /// The same function, called with NULLs too.
    pub(super) const fn with_nulls(self) -> Self {
        Self {
            strict: false,
            ..self
        }
    }

    /// The same function, which follows the settings of the session or the time of the statement.
    pub(super) const fn stable(self) -> Self {
        Self {
            volatility: Volatility::Stable,
            ..self
        }
    }

    /// The same function, evaluated each time anew.
    pub(super) const fn volatile(self) -> Self {
        Self {
            volatility: Volatility::Volatile,
            ..self
        }
    }

    fn argument(&self, place: usize) -> Option<Kind> {
        match self.arguments.get(place) {
            None if self.variadic => self.arguments.last().copied(),
            kind => kind.copied(),
        }
    }

    /// How well arguments of the types fit; `None` for not at all.
    fn fit(&self, given: &[DataType]) -> Option<u32> {
        if given.len() + self.optional < self.arguments.len() {
            return None;
        }
        let mut total = 0;
        for (place, given) in given.iter().enumerate() {
            match self.argument(place)?.fit(given) {
                0 => return None,
                fit => total += u32::from(fit),
            }
        }
        Some(total)
    }
}

/// A call for one row.
pub(super) struct Call<'a> {
    pub values: &'a [ScalarValue],
    pub config: &'a ConfigOptions,
    pub patterns: &'a Patterns,
    /// The type of the result.
    pub gives: &'a DataType,
}

impl Call<'_> {
    /// The text of an argument; empty where there is none.
    pub(super) fn text(&self, place: usize) -> &str {
        let value = self.values.get(place);
        value.and_then(|v| v.try_as_str().flatten()).unwrap_or("")
    }

    /// The bytes of an argument; none where it is none.
    pub(super) fn bytes(&self, place: usize) -> &[u8] {
        match self.values.get(place) {
            Some(ScalarValue::Binary(Some(bytes))) => bytes,
            _ => &[],
        }
    }

    /// The whole number of an argument, where there is one.
    pub(super) fn int(&self, place: usize) -> Option<i64> {
        match self.values.get(place)? {
            ScalarValue::Int32(value) => value.map(i64::from),
            ScalarValue::Int64(value) => *value,
            _ => None,
        }
    }

    pub(super) fn float(&self, place: usize) -> Option<f64> {
        match self.values.get(place)? {
            ScalarValue::Float64(value) => *value,
            _ => None,
        }
    }

    /// The unscaled digits of a decimal, and how many of them stand behind the point.
    pub(super) fn decimal(&self, place: usize) -> Option<(i128, i8)> {
        match self.values.get(place)? {
            ScalarValue::Decimal128(value, _, scale) => Some(((*value)?, *scale)),
            _ => None,
        }
    }

    pub(super) fn interval(&self, place: usize) -> Option<IntervalMonthDayNano> {
        match self.values.get(place)? {
            ScalarValue::IntervalMonthDayNano(value) => *value,
            _ => None,
        }
    }

    /// Days since 1970, or microseconds, those of a time since midnight.
    pub(super) fn moment(&self, place: usize) -> Option<i64> {
        match self.values.get(place)? {
            ScalarValue::Date32(days) => days.map(i64::from),
            ScalarValue::TimestampMicrosecond(micros, _) => *micros,
            ScalarValue::Time64Microsecond(micros) => *micros,
            _ => None,
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self, place: usize) -> Option<ArrayRef> {
        match self.values.get(place)? {
            ScalarValue::List(list) if list.is_valid(0) => Some(list.value(0)),
            _ => None,
        }
    }

    /// The session's time zone.
    pub(super) fn zone(&self) -> Zone {
        Zone::of(self.config)
    }

    /// NULL of the result's type.
    pub(super) fn null(&self) -> Result<ScalarValue> {
        ScalarValue::try_from(self.gives)
    }
}

/// Overloads of one name as a function of DataFusion.
#[derive(Debug)]
pub(super) struct RowFunction {
    name: &'static str,
    overloads: Vec<&'static Overload>,
    signature: Signature,
}

impl RowFunction {
    pub(super) fn new(name: &'static str, overloads: Vec<&'static Overload>) -> Self {
        let volatility = overloads.iter().map(|o| o.volatility).max();
        Self {
            name,
            signature: Signature::user_defined(volatility.unwrap_or(Volatility::Immutable)),
            overloads,
        }
    }

    fn overload(&self, given: &[DataType]) -> Result<&'static Overload> {
        let fits = self
            .overloads
            .iter()
            .filter_map(|o| Some((o.fit(given)?, *o)));
        // Of equals, the first.
        let best = fits.reduce(|best, next| if next.0 > best.0 { next } else { best });
        match best {
            Some((_, overload)) => Ok(overload),
            None => {
                let types: Vec<String> = given.iter().map(DataType::to_string).collect();
                plan_err!("No function matches {}({})", self.name, types.join(", "))
            }
        }
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let overload = self.overload(given)?;
        let kinds = given.iter().enumerate();
        let coerced = kinds.map(|(place, given)| match overload.argument(place) {
            Some(kind) => kind.coerced(given),
            None => given.clone(),
        });
        Ok(coerced.collect())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let gives = self.overload(given)?.gives;
        match gives.data_type() {
            Some(data_type) => Ok(data_type),
            None => match given.first() {
                Some(DataType::List(element)) if gives == Kind::Element => {
                    Ok(element.data_type().clone())
                }
                Some(first) if gives == Kind::Innermost => Ok(innermost(first).clone()),
                Some(first) => Ok(first.clone()),
                None => Err(Error::internal("a result without a type").into()),
            },
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let given = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let given: Vec<DataType> = given.collect();
        let field = match self.overload(&given)?.gives {
            Kind::Json => json_field(self.name, self.name.starts_with("jsonb")),
            Kind::Jsons => {
                let element = json_field(self.name, self.name.starts_with("jsonb"));
                array_of(&element, self.return_type(&given)?)
            }
            Kind::JsonPath => {
                let metadata = [(SQL_TYPE_KEY.to_string(), "jsonpath".to_string())];
                Field::new(self.name, DataType::Utf8, true).with_metadata(metadata.into())
            }
            Kind::Any | Kind::Array => match args.arg_fields.first() {
                Some(first) => Field::clone(first).with_name(self.name),
                None => Field::new(self.name, DataType::Null, true),
            },
            Kind::Innermost => match args.arg_fields.first() {
                // An array of one dimension stays what it is by name.
                Some(first) if innermost(first.data_type()) == first.data_type() => {
                    Field::clone(first).with_name(self.name)
                }
                _ => Field::new(self.name, self.return_type(&given)?, true),
            },
            Kind::Element => match given.first() {
                Some(DataType::List(element)) => Field::clone(element).with_name(self.name),
                _ => Field::new(self.name, DataType::Null, true),
            },
            _ => Field::new(self.name, self.return_type(&given)?, true),
        };
        Ok(Arc::new(field.with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let overload = self.overload(&given.collect::<Vec<_>>())?;
        let patterns = Patterns::default();
        let gives = args.return_field.data_type().clone();
        let evaluate = |values: &[ScalarValue]| -> Result<ScalarValue> {
            if overload.strict && values.iter().any(ScalarValue::is_null) {
                return ScalarValue::try_from(&gives);
            }
            (overload.evaluate)(&Call {
                values,
                config: &args.config_options,
                patterns: &patterns,
                gives: &gives,
            })
        };
        let constants = args.args.iter().map(|arg| match arg {
            ColumnarValue::Scalar(value) => Some(value.clone()),
            ColumnarValue::Array(_) => None,
        });
        if overload.volatility != Volatility::Volatile
            && let Some(constants) = constants.collect::<Option<Vec<_>>>()
        {
            return Ok(ColumnarValue::Scalar(evaluate(&constants)?));
        }
        let rows = args.number_rows;
        let row = |row: usize| {
            let values = args.args.iter().map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(values) => ScalarValue::try_from_array(values, row),
            });
            evaluate(&values.collect::<Result<Vec<_>>>()?)
        };
        let values: Vec<ScalarValue> = (0..rows).map(row).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(match values.is_empty() {
            true => new_empty_array(&gives),
            false => ScalarValue::iter_to_array(values)?,
        }))
    }
}

/// A text as a value.
pub(super) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

/// An array of texts as a value.
pub(super) fn texts<T: Into<Option<String>>>(values: impl IntoIterator<Item = T>) -> ScalarValue {
    let values: arrow::array::StringArray = values.into_iter().map(Into::into).collect();
    list_of(Arc::new(values))
}

/// The array of such elements.
pub(super) fn list_of(elements: ArrayRef) -> ScalarValue {
    use arrow::array::ListArray;
    use arrow::buffer::OffsetBuffer;
    let field = Arc::new(Field::new(LIST_ELEMENT, elements.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([elements.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, elements, None)))
}
