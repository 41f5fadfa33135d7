//! JSON made of values: `to_jsonb`, `jsonb_build_object`, `jsonb_build_array`, and what the aggregates end with.
//!
//! `jsonb_agg(x ORDER BY y)` is `jsonb_agg(array_agg(to_jsonb(x) ORDER BY y))`, as the parser rewrites it: the aggregate
//! is DataFusion's, the function here puts brackets around its array. `jsonb_object_agg(k, v)` gathers members in the same way.
//!
//! Functions of `json` keep the order of keys and PostgreSQL's blanks; those of `jsonb` write what `jsonb` would keep.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use shelfmark_udfs::VectorType;

use super::json_field;
use super::read::read;
use super::value::{put_string, write};
use crate::catalog::assign::text_of;
use crate::catalog::infinity::Infinity;
use crate::catalog::quotient::Shown;
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};
use crate::storage::schema::SQL_TYPE_KEY;

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Made {
    /// A value, of whatever type it is.
    Value,
    /// An object of alternating keys and values.
    Object,
    /// An object of a row, without blanks.
    Row,
    /// An array of the arguments.
    Array,
    /// A member of an object: a key and a value.
    Member,
    /// An array of the JSON values in a list.
    Gathered,
    /// An object of the members in a list.
    GatheredObject,
}

/// A function that makes JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct BuildFunction {
    name: &'static str,
    made: Made,
    /// Whether it is written as `jsonb` would keep it.
    binary: bool,
    signature: Signature,
}

impl BuildFunction {
    /// Every function.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        use Made::{Array, Gathered, GatheredObject, Member, Object, Row, Value};
        let named = [
            ("to_json", Value, false),
            ("to_jsonb", Value, true),
            ("array_to_json", Value, false),
            ("row_to_json", Value, false),
            ("json_build_object", Object, false),
            ("jsonb_build_object", Object, true),
            ("json_row", Row, false),
            ("json_build_array", Array, false),
            ("jsonb_build_array", Array, true),
            ("json_member", Member, false),
            ("json_agg", Gathered, false),
            ("jsonb_agg", Gathered, true),
            ("json_object_agg", GatheredObject, false),
            ("jsonb_object_agg", GatheredObject, true),
        ];
        named
            .into_iter()
            .map(|(name, made, binary)| Self::new(name, made, binary))
    }

    fn new(name: &'static str, made: Made, binary: bool) -> Self {
        let arguments = match made {
            Made::Object | Made::Row | Made::Array => {
                vec![TypeSignature::Nullary, TypeSignature::VariadicAny]
            }
            Made::Member => vec![TypeSignature::Any(2)],
            _ => vec![TypeSignature::Any(1)],
        };
        Self {
            name,
            made,
            binary,
            signature: Signature::one_of(arguments, Volatility::Immutable),
        }
    }

    /// Writes the JSON of a row; answers whether there is one.
    fn put(&self, arguments: &[Argument], row: usize, out: &mut String) -> Result<bool, Error> {
        match self.made {
            Made::Value => {
                let [value] = arguments else {
                    return Err(Error::internal("one value becomes JSON"));
                };
                if value.is_null(row) {
                    return Ok(false);
                }
                value.put(row, out)?;
            }
            Made::Object => {
                let mut pairs = arguments.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    let message = "argument list must have even number of elements";
                    let hint = format!(
                        "The arguments of {}() must consist of alternating keys and values.",
                        self.name
                    );
                    return Err(
                        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint)
                    );
                }
                out.push('{');
                for (place, pair) in pairs.by_ref().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    put_member(&pair[0], &pair[1], row, out)?;
                }
                out.push('}');
            }
            Made::Row => {
                out.push('{');
                for (place, pair) in arguments.chunks_exact(2).enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    put_string(text_of(&pair[0].array.slice(row, 1))?.value(0), out);
                    out.push(':');
                    pair[1].put(row, out)?;
                }
                out.push('}');
            }
            Made::Array => {
                out.push('[');
                for (place, value) in arguments.iter().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    value.put(row, out)?;
                }
                out.push(']');
            }
            Made::Member => {
                let [key, value] = arguments else {
                    return Err(Error::internal("a key and a value make a member"));
                };
                put_member(key, value, row, out)?;
            }
            Made::Gathered => return put_gathered(arguments, row, ["[", "]"], out),
            Made::GatheredObject => return put_gathered(arguments, row, ["{ ", " }"], out),
        }
        Ok(true)
    }
}

impl ScalarUDFImpl for BuildFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(match self.made {
            Made::Member => Field::new(self.name, DataType::Utf8, true),
            _ => json_field(self.name, self.binary),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let zone = Zone::of(&args.config_options);
        let arguments = args.args.iter().zip(&args.arg_fields);
        let arguments = arguments
            .map(|(value, field)| Ok(Argument::new(value.to_array(rows)?, field, &zone)?))
            .collect::<Result<Vec<_>>>()?;
        let mut made = StringBuilder::new();
        let mut text = String::new();
        for row in 0..rows {
            text.clear();
            match self.put(&arguments, row, &mut text)? {
                true if self.binary => made.append_value(write(&read(&text)?)),
                true => made.append_value(&text),
                false => made.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(made.finish())))
    }
}

/// `"key" : value`.
fn put_member(key: &Argument, value: &Argument, row: usize, out: &mut String) -> Result<(), Error> {
    if key.is_null(row) {
        let message = "null value not allowed for object key";
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    put_string(text_of(&key.array.slice(row, 1))?.value(0), out);
    out.push_str(" : ");
    value.put(row, out)
}

/// The texts of a list, which are JSON or members of an object, between brackets; `false` where there is no list.
fn put_gathered(
    arguments: &[Argument],
    row: usize,
    [open, close]: [&str; 2],
    out: &mut String,
) -> Result<bool, Error> {
    let [gathered] = arguments else {
        return Err(Error::internal("one list is gathered"));
    };
    let Some(lists) = gathered.array.as_list_opt::<i32>() else {
        let message = "json_agg and its like are aggregates, written without OVER or in SELECT";
        return match gathered.is_null(row) {
            true => Ok(false),
            false => Err(Error::unsupported(message)),
        };
    };
    if lists.is_null(row) {
        return Ok(false);
    }
    out.push_str(open);
    for (place, text) in text_of(&lists.value(row))?.iter().enumerate() {
        out.push_str(if place > 0 { ", " } else { "" });
        out.push_str(text.unwrap_or("null"));
    }
    out.push_str(close);
    Ok(true)
}

/// How values of a type are written.
enum Form {
    /// As they are: JSON, integers, decimals, and truth.
    Plain,
    /// As they are, without the zeros that end them: NUMERICs without a precision.
    Trimmed,
    /// As numbers, those that JSON has none for as strings.
    Float,
    /// As strings of their texts.
    String,
    /// As strings with a `T` between date and time.
    Moment,
    /// Element by element.
    List,
    /// Field by field.
    Struct(Vec<Argument>),
}

/// The values of an argument.
struct Argument {
    name: String,
    array: ArrayRef,
    form: Form,
    zone: Zone,
    /// The texts of values that are written by them.
    texts: Option<StringArray>,
}

impl Argument {
    fn new(array: ArrayRef, field: &Field, zone: &Zone) -> Result<Self, Error> {
        let named = field.metadata().get(SQL_TYPE_KEY);
        let is_json = named.is_some_and(|name| matches!(name.as_str(), "json" | "jsonb"));
        let form = match array.data_type() {
            _ if is_json => Form::Plain,
            data_type if VectorType::of(data_type).is_some() => Form::String,
            DataType::Decimal128(..) if Shown::where_written(field) == Some(Shown::TRIMMED) => {
                Form::Trimmed
            }
            DataType::Boolean | DataType::Decimal128(..) | DataType::Decimal256(..) => Form::Plain,
            data_type if data_type.is_integer() => Form::Plain,
            data_type if data_type.is_floating() => Form::Float,
            DataType::Timestamp(..) => Form::Moment,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Form::List,
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns().iter().zip(fields);
                let parts =
                    columns.map(|(column, field)| Self::new(Arc::clone(column), field, zone));
                Form::Struct(parts.collect::<Result<_, Error>>()?)
            }
            _ => Form::String,
        };
        let texts = match form {
            Form::Moment => Some(text_of_moments(&array, zone)?),
            Form::Plain | Form::Trimmed | Form::String => Some(text_of(&array)?),
            _ => None,
        };
        Ok(Self {
            name: field.name().clone(),
            array,
            form,
            zone: zone.clone(),
            texts,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.data_type().is_null() || self.array.is_null(row)
    }

    fn put(&self, row: usize, out: &mut String) -> Result<(), Error> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        let text = self.texts.as_ref().map_or("", |texts| texts.value(row));
        match &self.form {
            Form::Plain => out.push_str(text),
            Form::Trimmed if !text.contains('.') => out.push_str(text),
            Form::Trimmed => out.push_str(text.trim_end_matches('0').trim_end_matches('.')),
            Form::String => put_string(text, out),
            Form::Moment => put_string(&text.replacen(' ', "T", 1), out),
            Form::Float => put_float(&self.array, row, out)?,
            Form::List => {
                let elements = match self.array.data_type() {
                    DataType::FixedSizeList(..) => self.array.as_fixed_size_list().value(row),
                    DataType::LargeList(_) => self.array.as_list::<i64>().value(row),
                    _ => self.array.as_list::<i32>().value(row),
                };
                let field = Field::new("", elements.data_type().clone(), true);
                let elements = Self::new(elements, &field, &self.zone)?;
                out.push('[');
                for place in 0..elements.array.len() {
                    out.push_str(if place > 0 { "," } else { "" });
                    elements.put(place, out)?;
                }
                out.push(']');
            }
            Form::Struct(parts) => {
                out.push('{');
                for (place, part) in parts.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    put_string(&part.name, out);
                    out.push(':');
                    part.put(row, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

/// The texts of moments; those of instants are by the clock of the zone.
fn text_of_moments(array: &ArrayRef, zone: &Zone) -> Result<StringArray, Error> {
    let texts = text_of(array)?;
    if zone.is_utc() || !matches!(array.data_type(), DataType::Timestamp(_, Some(_))) {
        return Ok(texts);
    }
    let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let clocks: TimestampMicrosecondArray = micros.unary(|at| match Infinity::of(at) {
        Some(_) => at,
        None => zone.clock_at(at),
    });
    let clocks = text_of(&(Arc::new(clocks) as ArrayRef))?;
    let instants = clocks.iter().zip(micros).zip(&texts);
    let told = instants.map(|((clock, at), text)| match (clock, at) {
        (Some(clock), Some(at)) if Infinity::of(at).is_none() => {
            let minutes = zone.seconds_at(at) / 60;
            let sign = if minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
            Some(format!("{clock}{sign}{hours:02}:{minutes:02}"))
        }
        _ => text.map(str::to_string),
    });
    Ok(told.collect())
}

fn put_float(array: &ArrayRef, row: usize, out: &mut String) -> Result<(), Error> {
    let number = cast(&array.slice(row, 1), &DataType::Float64)?;
    let number = number.as_primitive::<Float64Type>().value(0);
    if !number.is_finite() {
        let text = match number {
            number if number.is_nan() => "NaN",
            number if number > 0.0 => "Infinity",
            _ => "-Infinity",
        };
        put_string(text, out);
        return Ok(());
    }
    // The shortest text of a narrow number is not that of the wide one.
    let _ = match array.data_type() {
        DataType::Float32 | DataType::Float16 => write!(out, "{}", number as f32),
        _ => write!(out, "{number}"),
    };
    Ok(())
}
