//! Functions over JSON, row by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::change::{concat, inserted, pretty, strip_nulls, with, without, without_path};
use super::json_field;
use super::raw;
use super::read::read;
use super::value::{Step, Value, contains, get, has_key, kind, plain, walk, write};
use crate::catalog::assign::text_of;
use crate::error::{Error, sqlstate};

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Get,
    GetText,
    Path,
    PathText,
    Contains,
    HasKey,
    HasAny,
    HasAll,
    TypeOf,
    ArrayLength,
    Concat,
    Delete,
    DeletePath,
    Set,
    Insert,
    StripNulls,
    Pretty,
}

impl Kind {
    /// Every function with its names; the first is that of an operator's function.
    pub(super) const ALL: [(Self, &'static [&'static str]); 17] = [
        (Self::Get, &["jsonb_object_field", "json_object_field"]),
        (
            Self::GetText,
            &["jsonb_object_field_text", "json_object_field_text"],
        ),
        (Self::Path, &["jsonb_extract_path", "json_extract_path"]),
        (
            Self::PathText,
            &["jsonb_extract_path_text", "json_extract_path_text"],
        ),
        (Self::Contains, &["jsonb_contains"]),
        (Self::HasKey, &["jsonb_exists"]),
        (Self::HasAny, &["jsonb_exists_any"]),
        (Self::HasAll, &["jsonb_exists_all"]),
        (Self::TypeOf, &["jsonb_typeof", "json_typeof"]),
        (
            Self::ArrayLength,
            &["jsonb_array_length", "json_array_length"],
        ),
        (Self::Concat, &["jsonb_concat"]),
        (Self::Delete, &["jsonb_delete"]),
        (Self::DeletePath, &["jsonb_delete_path"]),
        (Self::Set, &["jsonb_set"]),
        (Self::Insert, &["jsonb_insert"]),
        (Self::StripNulls, &["jsonb_strip_nulls", "json_strip_nulls"]),
        (Self::Pretty, &["jsonb_pretty"]),
    ];

    fn gives(self) -> DataType {
        match self {
            Self::Contains | Self::HasKey | Self::HasAny | Self::HasAll => DataType::Boolean,
            Self::ArrayLength => DataType::Int32,
            _ => DataType::Utf8,
        }
    }

    fn gives_json(self) -> bool {
        use Kind::{Concat, Delete, DeletePath, Get, Insert, Path, Set, StripNulls};
        matches!(
            self,
            Get | Path | Concat | Delete | DeletePath | Set | Insert | StripNulls
        )
    }

    fn signature(self) -> Signature {
        let one_of = |signature| Signature::one_of(signature, Volatility::Immutable);
        use datafusion::logical_expr::TypeSignature::{Any, VariadicAny};
        match self {
            Self::TypeOf | Self::ArrayLength | Self::StripNulls | Self::Pretty => {
                one_of(vec![Any(1)])
            }
            Self::Set | Self::Insert => one_of(vec![Any(3), Any(4)]),
            Self::Path | Self::PathText => one_of(vec![VariadicAny]),
            _ => one_of(vec![Any(2)]),
        }
    }
}

/// A function over JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonFunction {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl JsonFunction {
    pub(super) fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            signature: kind.signature(),
        }
    }

    /// The function of an operator, of `json` if it has one and `is_json`.
    pub(super) fn of(kind: Kind, is_json: bool) -> Self {
        let names = Kind::ALL.into_iter().find(|(known, _)| *known == kind);
        let names = names.map_or(["jsonb"].as_slice(), |(_, names)| names);
        let name = match is_json {
            true => names.last(),
            false => names.first(),
        };
        Self::new(name.unwrap_or(&"jsonb"), kind)
    }

    /// Whether it is of `jsonb`, not of `json`.
    fn is_binary(&self) -> bool {
        self.name.starts_with("jsonb")
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.kind.gives())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(match self.kind.gives_json() {
            true => json_field(self.name, self.is_binary()),
            false => Field::new(self.name, self.kind.gives(), true),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|a| a.to_array(rows));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let call = Call {
            arrays: &arrays,
            rows,
        };
        Ok(ColumnarValue::Array(match self.is_binary() {
            true => call.evaluate(self.kind)?,
            false => call.evaluate_as_written(self.kind)?,
        }))
    }
}

/// A call with the arguments of all rows.
struct Call<'a> {
    arrays: &'a [ArrayRef],
    rows: usize,
}

impl Call<'_> {
    fn evaluate(&self, kind: Kind) -> Result<ArrayRef> {
        Ok(match kind {
            Kind::Get | Kind::GetText => {
                let steps = self.steps()?;
                self.texts(|row, value| {
                    let found = get(value, steps[row].as_ref()?)?;
                    written(kind == Kind::GetText, found)
                })?
            }
            Kind::Path | Kind::PathText => {
                let paths = self.paths()?;
                self.texts(|row, value| {
                    let found = walk(value, paths[row].as_ref()?)?;
                    written(kind == Kind::PathText, found)
                })?
            }
            Kind::Contains => {
                let inner = self.values_of(1)?;
                self.flags(|row, value| Some(contains(value, inner[row].as_ref()?)))?
            }
            Kind::HasKey => {
                let keys = text_of(&self.arrays[1])?;
                self.flags(|row, value| {
                    keys.is_valid(row).then(|| has_key(value, keys.value(row)))
                })?
            }
            Kind::HasAny | Kind::HasAll => {
                let keys = self.paths()?;
                self.flags(|row, value| {
                    let mut keys = keys[row].as_ref()?.iter();
                    Some(match kind {
                        Kind::HasAny => keys.any(|key| has_key(value, key)),
                        _ => keys.all(|key| has_key(value, key)),
                    })
                })?
            }
            Kind::TypeOf => self.texts(|_, value| Some(self::kind(value).to_string()))?,
            Kind::ArrayLength => self.lengths()?,
            Kind::Concat => {
                let right = self.values_of(1)?;
                self.texts(|row, value| Some(write(&concat(value.clone(), right[row].clone()?))))?
            }
            Kind::Delete if is_list(&self.arrays[1]) => {
                let keys = self.paths()?;
                self.texts(|row, value| {
                    let keys = keys[row].as_ref()?.iter().cloned().map(Step::Key);
                    let left = keys.fold(value.clone(), |value, key| without(value, &key));
                    Some(write(&left))
                })?
            }
            Kind::Delete => {
                let parts = self.steps()?;
                self.texts(|row, value| Some(write(&without(value.clone(), parts[row].as_ref()?))))?
            }
            Kind::DeletePath => {
                let paths = self.paths()?;
                self.texts(|row, value| {
                    Some(write(&without_path(value.clone(), paths[row].as_ref()?)))
                })?
            }
            Kind::Set => {
                let paths = Call {
                    arrays: &self.arrays[..2],
                    rows: self.rows,
                };
                let (paths, new) = (paths.paths()?, self.values_of(2)?);
                let creates = self.arrays.get(3).map(|flags| flags.as_boolean());
                self.texts(|row, value| {
                    let creates = match creates {
                        Some(flags) => flags.is_valid(row).then(|| flags.value(row))?,
                        None => true,
                    };
                    let (path, new) = (paths[row].as_ref()?, new[row].clone()?);
                    Some(write(&with(value.clone(), path, new, creates)))
                })?
            }
            Kind::Insert => {
                let paths = Call {
                    arrays: &self.arrays[..2],
                    rows: self.rows,
                };
                let (paths, new) = (paths.paths()?, self.values_of(2)?);
                let after = self.arrays.get(3).map(|flags| flags.as_boolean());
                self.changed(|row, value| {
                    let after = match after {
                        Some(flags) if flags.is_null(row) => return Ok(None),
                        Some(flags) => flags.value(row),
                        None => false,
                    };
                    match (&paths[row], new[row].clone()) {
                        (Some(path), Some(new)) => {
                            inserted(value.clone(), path, new, after).map(Some)
                        }
                        _ => Ok(None),
                    }
                })?
            }
            Kind::StripNulls => self.texts(|_, value| Some(write(&strip_nulls(value.clone()))))?,
            Kind::Pretty => self.texts(|_, value| Some(pretty(value)))?,
        })
    }

    /// What functions of `json` give: parts as they are written.
    fn evaluate_as_written(&self, kind: Kind) -> Result<ArrayRef> {
        match kind {
            Kind::Get | Kind::GetText => {
                let steps = self.steps()?;
                self.parts(kind == Kind::GetText, |row, text| match &steps[row] {
                    Some(step) => raw::get(text, step),
                    None => Ok(None),
                })
            }
            Kind::Path | Kind::PathText => {
                let paths = self.paths()?;
                self.parts(kind == Kind::PathText, |row, text| match &paths[row] {
                    Some(path) => raw::walk(text, path),
                    None => Ok(None),
                })
            }
            Kind::StripNulls => {
                let texts = text_of(&self.arrays[0])?;
                let stripped = texts
                    .iter()
                    .map(|text| text.map(raw::strip_nulls).transpose());
                let stripped: StringArray = stripped.collect::<Result<_, Error>>()?;
                Ok(Arc::new(stripped))
            }
            _ => self.evaluate(kind),
        }
    }

    /// A part of each text, `as_text` without quotes.
    fn parts(
        &self,
        as_text: bool,
        part: impl for<'t> Fn(usize, &'t str) -> Result<Option<&'t str>, Error>,
    ) -> Result<ArrayRef> {
        let texts = text_of(&self.arrays[0])?;
        let mut found: Vec<Option<String>> = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            let part = match texts.is_valid(row) {
                true => part(row, texts.value(row))?,
                false => None,
            };
            found.push(match part {
                Some(part) if as_text => raw::text(part)?,
                part => part.map(str::to_string),
            });
        }
        Ok(Arc::new(StringArray::from(found)))
    }

    /// What becomes of each value.
    fn changed(
        &self,
        of: impl Fn(usize, &Value) -> Result<Option<Value>, Error>,
    ) -> Result<ArrayRef> {
        let mut found: Vec<Option<String>> = Vec::with_capacity(self.rows);
        self.values(|row, value| {
            let changed = match value {
                Some(value) => of(row, value)?,
                None => None,
            };
            found.push(changed.as_ref().map(write));
            Ok(())
        })?;
        Ok(Arc::new(StringArray::from(found)))
    }

    /// The JSON of an argument.
    fn values_of(&self, argument: usize) -> Result<Vec<Option<Value>>> {
        let texts = text_of(&self.arrays[argument])?;
        let values = texts.iter().map(|text| text.map(read).transpose());
        Ok(values.collect::<Result<_, Error>>()?)
    }

    /// Calls `each` with the value of every row that has one.
    fn values(&self, mut each: impl FnMut(usize, Option<&Value>) -> Result<()>) -> Result<()> {
        let texts = text_of(&self.arrays[0])?;
        for row in 0..self.rows {
            match texts.is_valid(row) {
                true => each(row, Some(&read(texts.value(row))?))?,
                false => each(row, None)?,
            }
        }
        Ok(())
    }

    fn texts(&self, of: impl Fn(usize, &Value) -> Option<String>) -> Result<ArrayRef> {
        let mut found: Vec<Option<String>> = Vec::with_capacity(self.rows);
        self.values(|row, value| {
            found.push(value.and_then(|value| of(row, value)));
            Ok(())
        })?;
        Ok(Arc::new(StringArray::from(found)))
    }

    fn flags(&self, of: impl Fn(usize, &Value) -> Option<bool>) -> Result<ArrayRef> {
        let mut found: Vec<Option<bool>> = Vec::with_capacity(self.rows);
        self.values(|row, value| {
            found.push(value.and_then(|value| of(row, value)));
            Ok(())
        })?;
        Ok(Arc::new(BooleanArray::from(found)))
    }

    fn lengths(&self) -> Result<ArrayRef> {
        let mut found: Vec<Option<i32>> = Vec::with_capacity(self.rows);
        self.values(|_, value| {
            found.push(match value {
                None => None,
                Some(Value::Array(items)) => i32::try_from(items.len()).ok(),
                Some(other) => {
                    let what = match other {
                        Value::Object(_) => "an object",
                        _ => "a scalar",
                    };
                    let message = format!("cannot get array length of {what}");
                    return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into());
                }
            });
            Ok(())
        })?;
        Ok(Arc::new(Int32Array::from(found)))
    }

    /// The key or the place that each row asks for.
    fn steps(&self) -> Result<Vec<Option<Step>>> {
        let array = &self.arrays[1];
        if array.data_type().is_integer() {
            let places = arrow::compute::cast(array, &DataType::Int64)?;
            let places = places.as_primitive::<Int64Type>().iter();
            return Ok(places.map(|p| p.map(Step::Place)).collect());
        }
        let keys = text_of(array)?;
        Ok(keys
            .iter()
            .map(|k| k.map(|k| Step::Key(k.to_string())))
            .collect())
    }

    /// The path of each row: an array, the text of one, or the further arguments.
    fn paths(&self) -> Result<Vec<Option<Vec<String>>>> {
        let given = &self.arrays[1..];
        if let [only] = given
            && is_list(only)
        {
            let items = |row: usize| -> Result<Option<Vec<String>>> {
                if only.is_null(row) {
                    return Ok(None);
                }
                let items = match only.as_list_opt::<i32>() {
                    Some(lists) => lists.value(row),
                    None => only.as_fixed_size_list().value(row),
                };
                let items = text_of(&items)?;
                Ok(items.iter().map(|i| i.map(str::to_string)).collect())
            };
            return (0..self.rows).map(items).collect();
        }
        let texts: Vec<StringArray> = given.iter().map(text_of).collect::<Result<_, Error>>()?;
        let steps = |row: usize| -> Option<Vec<String>> {
            let steps = texts.iter();
            let steps: Option<Vec<&str>> = steps
                .map(|t| t.is_valid(row).then(|| t.value(row)))
                .collect();
            match steps?.as_slice() {
                [literal] if literal.starts_with('{') && literal.ends_with('}') => {
                    let inner = &literal[1..literal.len() - 1];
                    let items = inner
                        .split(',')
                        .map(|i| i.trim().trim_matches('"').to_string());
                    Some(items.filter(|_| !inner.is_empty()).collect())
                }
                steps => Some(steps.iter().map(|s| (*s).to_string()).collect()),
            }
        };
        Ok((0..self.rows).map(steps).collect())
    }
}

fn is_list(array: &ArrayRef) -> bool {
    matches!(
        array.data_type(),
        DataType::List(_) | DataType::FixedSizeList(..)
    )
}

fn written(as_text: bool, found: &Value) -> Option<String> {
    match as_text {
        true => plain(found),
        false => Some(write(found)),
    }
}
