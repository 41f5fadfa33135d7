//! Rows of a system relation, put together by the names of its columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;

use super::relation::{Kind, SystemRelation};
use crate::storage::schema::LIST_ELEMENT;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number, an OID, or microseconds since 1970 UTC.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text, a name, or what is written like one.
    Text(String),
    /// An array.
    List(Vec<Value>),
}

macro_rules! from_integers {
    ($($type:ty),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::Int(i64::from(value))
            }
        })*
    };
}

from_integers!(i16, i32, i64, u32);

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Value {
    fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

/// The values that some columns of a row have.
pub(super) type Cells<'a> = [(&'a str, Value)];

/// Rows of one relation.
#[derive(Debug)]
pub(super) struct Rows {
    relation: &'static SystemRelation,
    columns: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet.
    pub fn new(relation: &'static SystemRelation) -> Self {
        let columns = vec![Vec::new(); relation.columns.len()];
        Self { relation, columns }
    }

    /// The relation.
    pub fn relation(&self) -> &'static SystemRelation {
        self.relation
    }

    /// Adds a row. A column without a value is NULL, or zero, false or empty where PostgreSQL has no NULL: in columns
    /// of fixed size of tables. A value for a column that the relation does not have is dropped.
    pub fn push(&mut self, cells: &Cells<'_>) {
        let is_table = self.relation.kind == "r";
        for (column, values) in self.relation.columns.iter().zip(&mut self.columns) {
            let given = cells.iter().find(|(name, _)| *name == column.name);
            let value = match given {
                Some((_, value)) => value.clone(),
                None if is_table => zero(&column.kind),
                None => Value::Null,
            };
            values.push(value);
        }
    }

    /// The rows as a batch.
    pub fn into_batch(self) -> Result<RecordBatch> {
        let columns = self.relation.columns.iter().zip(&self.columns);
        let arrays = columns.map(|(column, values)| array(&column.kind, values));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(
            Arc::clone(&self.relation.arrow),
            arrays,
        )?)
    }
}

/// What a column of a table holds where nothing else is known.
fn zero(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => Value::Bool(false),
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid(_) => Value::Int(0),
        Kind::Float4 | Kind::Float8 => Value::Float(0.0),
        Kind::Text("char") => Value::Text(String::new()),
        Kind::List(_, Some(_)) => Value::List(Vec::new()),
        Kind::Text(_) | Kind::List(..) | Kind::Instant | Kind::Other(_) => Value::Null,
    }
}

/// A column of the values.
pub(super) fn array(kind: &Kind, values: &[Value]) -> Result<ArrayRef> {
    fn ints<T: TryFrom<i64>>(values: &[Value]) -> impl Iterator<Item = Option<T>> {
        values.iter().map(|v| T::try_from(v.as_int()?).ok())
    }
    Ok(match kind {
        Kind::Bool => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        Kind::Int2 => Arc::new(ints(values).collect::<Int16Array>()),
        Kind::Int4 => Arc::new(ints(values).collect::<Int32Array>()),
        Kind::Int8 => Arc::new(ints(values).collect::<Int64Array>()),
        Kind::Oid(_) => Arc::new(ints(values).collect::<UInt32Array>()),
        Kind::Float4 => {
            let floats = values.iter().map(|v| v.as_float().map(|f| f as f32));
            Arc::new(floats.collect::<Float32Array>())
        }
        Kind::Float8 => Arc::new(values.iter().map(Value::as_float).collect::<Float64Array>()),
        Kind::Text(_) => Arc::new(values.iter().map(Value::as_text).collect::<StringArray>()),
        Kind::Instant => {
            let instants = ints::<i64>(values).collect::<TimestampMicrosecondArray>();
            Arc::new(instants.with_timezone("UTC"))
        }
        Kind::Other(data_type) => new_null_array(data_type, values.len()),
        Kind::List(element, _) => Arc::new(list(element, values)?),
    })
}

fn list(element: &Kind, values: &[Value]) -> Result<ListArray> {
    let items = |value: &Value| match value {
        Value::List(items) => items.clone(),
        _ => Vec::new(),
    };
    let lists: Vec<Vec<Value>> = values.iter().map(items).collect();
    let lengths = lists.iter().map(Vec::len);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls: NullBuffer = values.iter().map(|v| matches!(v, Value::List(_))).collect();
    let flat: Vec<Value> = lists.into_iter().flatten().collect();
    let flat = array(element, &flat)?;
    debug_assert_eq!(flat.data_type(), &element.data_type());
    let field = Arc::new(Field::new(LIST_ELEMENT, element.data_type(), true));
    Ok(ListArray::try_new(field, offsets, flat, Some(nulls))?)
}
