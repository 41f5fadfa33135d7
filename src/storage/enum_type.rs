//! Enum types: named lists of labels.
//!
//! A value is kept as its label, a text, in memory and in segments, which everybody reads. The order of the values is that
//! of their declaration, which the texts do not tell: whoever compares asks the type. So the Arrow field of such a value
//! carries the whole type: see [`EnumType::sql_type`].

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::schema::{LIST_ELEMENT, SQL_TYPE_KEY, TypeId};
use crate::error::{Error, sqlstate};

/// The most bytes that a label may have, as in PostgreSQL.
pub const LABEL_BYTES_MAX: usize = 63;
/// What the SQL type of a field begins with where it is an enum; its definition as JSON follows.
const PREFIX: &str = "enum {";

/// An enum type.
///
/// Invariants: labels are unique, and so are their ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumType {
    /// Its identity; a rename keeps it.
    pub id: TypeId,
    /// Its name.
    pub name: QualifiedName,
    /// The values in their order.
    pub labels: Vec<EnumLabel>,
}

/// A value of an enum type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumLabel {
    /// Its identity.
    pub id: u64,
    /// The value.
    pub name: String,
}

impl EnumType {
    /// The place of a value in the order, from 0.
    pub fn position(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|l| l.name == label)
    }

    /// The type as fields name it: all of it, so that whoever has the field can order its values.
    pub fn sql_type(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("enum {json}")
    }

    /// The type that the metadata of a field names, if it is one.
    pub fn of_sql_type(name: &str) -> Option<Self> {
        let json = name.starts_with(PREFIX).then(|| &name["enum ".len()..])?;
        serde_json::from_str(json).ok()
    }

    /// The type of an Arrow field: text that says it is one.
    pub fn of_field(field: &Field) -> Option<Self> {
        let name = field.metadata().get(SQL_TYPE_KEY)?;
        field
            .data_type()
            .is_string()
            .then(|| Self::of_sql_type(name))
            .flatten()
    }

    /// The type of the elements of an Arrow field: a list that says it is one of these.
    pub fn of_list(field: &Field) -> Option<Self> {
        let name = field.metadata().get(SQL_TYPE_KEY)?.strip_suffix("[]")?;
        let is_list = matches!(field.data_type(), DataType::List(_));
        is_list.then(|| Self::of_sql_type(name)).flatten()
    }

    /// A field of the type.
    pub fn field(&self, name: &str, nullable: bool) -> FieldRef {
        let metadata = [(SQL_TYPE_KEY.to_string(), self.sql_type())];
        Arc::new(Field::new(name, DataType::Utf8, nullable).with_metadata(metadata.into()))
    }

    /// A field of arrays of the type.
    pub fn list_field(&self, name: &str, nullable: bool) -> FieldRef {
        let metadata = [(SQL_TYPE_KEY.to_string(), format!("{}[]", self.sql_type()))];
        let element = Field::new(LIST_ELEMENT, DataType::Utf8, true);
        Arc::new(Field::new_list(name, element, nullable).with_metadata(metadata.into()))
    }
}

impl fmt::Display for EnumType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// Whether an Arrow field is of an enum, or of arrays of one.
pub fn is_enum(field: &Field) -> bool {
    let name = field.metadata().get(SQL_TYPE_KEY);
    name.is_some_and(|name| name.starts_with(PREFIX))
}

/// 22P02: the type has no such value.
pub fn unknown_label(of: &EnumType, label: &str) -> Error {
    let message = format!("invalid input value for enum {of}: \"{label}\"");
    Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_field_carries_the_whole_type() {
        let label = |id, name: &str| EnumLabel {
            id,
            name: name.to_string(),
        };
        let mood = EnumType {
            id: TypeId(4),
            name: QualifiedName::new("public", "mo[]od"),
            labels: vec![label(5, "it's \"sad\""), label(6, "ok[]")],
        };
        assert_eq!(EnumType::of_field(&mood.field("m", true)).unwrap(), mood);
        assert_eq!(
            EnumType::of_list(&mood.list_field("m", true)).unwrap(),
            mood
        );
        assert_eq!(EnumType::of_field(&mood.list_field("m", true)), None);
        assert_eq!(EnumType::of_list(&mood.field("m", true)), None);
        assert_eq!(mood.position("ok[]"), Some(1));
        assert_eq!(mood.position("happy"), None);
    }
}
