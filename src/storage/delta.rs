//! The metadata of a Delta table of one version: the first file of its `_delta_log`, as a pure function of what it names.
//!
//! After the Delta transaction protocol (<https://github.com/delta-io/delta/blob/master/PROTOCOL.md>): one JSON object a
//! line: who wrote it, the protocol, the schema as Spark writes it, and one `add` a file.

use serde_json::{Value, json};
use uuid::Uuid;

use super::schema::{CollectionSchema, Column, ColumnType};
use crate::error::{Error, Result};

/// Where the metadata of the first version are below a table's directory.
pub(super) const FIRST_VERSION: &str = "_delta_log/00000000000000000000.json";

/// A data file of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataFile {
    /// Its name in the table's directory.
    pub(super) name: String,
    /// Its rows.
    pub(super) rows: u64,
    /// Its bytes.
    pub(super) bytes: u64,
}

/// The first version of a table of these files. `now_ms` is the time of writing, in milliseconds since 1970.
///
/// # Errors
/// 0A000 for a column of a type that Delta does not have.
pub(super) fn first_version(
    name: &str,
    schema: &CollectionSchema,
    files: &[DataFile],
    now_ms: i64,
) -> Result<String> {
    let engine = concat!("shelfmark ", env!("CARGO_PKG_VERSION"));
    let mut actions = vec![
        json!({"commitInfo": {"timestamp": now_ms, "operation": "EXPORT", "engineInfo": engine}}),
        json!({"protocol": protocol(schema)}),
        json!({"metaData": {
            "id": Uuid::new_v4().to_string(),
            "name": name,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": fields(schema)?.to_string(),
            "partitionColumns": [],
            "configuration": {},
            "createdTime": now_ms,
        }}),
    ];
    actions.extend(files.iter().map(|file| {
        json!({"add": {
            "path": file.name,
            "partitionValues": {},
            "size": file.bytes,
            "modificationTime": now_ms,
            "dataChange": true,
            "stats": json!({"numRecords": file.rows}).to_string(),
        }})
    }));
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    Ok(lines.join("\n") + "\n")
}

/// Timestamps without time zone are a feature that readers must know; without them any reader will do.
fn protocol(schema: &CollectionSchema) -> Value {
    let mut types = schema.columns.iter().map(|c| &c.column_type);
    if types.any(has_local_time) {
        let features = ["timestampNtz"];
        return json!({
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features,
        });
    }
    json!({"minReaderVersion": 1, "minWriterVersion": 2})
}

fn has_local_time(column_type: &ColumnType) -> bool {
    match column_type.base() {
        ColumnType::Timestamp => true,
        ColumnType::Array(inner) => has_local_time(inner),
        _ => false,
    }
}

fn fields(schema: &CollectionSchema) -> Result<Value> {
    let field = |column: &Column| {
        let data_type = data_type(&column.column_type).ok_or_else(|| {
            let (name, column_type) = (&column.name, &column.column_type);
            let message = format!("Delta has no type for column \"{name}\" of type {column_type}");
            Error::unsupported(message).with_hint("EXPORT .. (FORMAT parquet) writes it.")
        })?;
        let nullable = column.nullable;
        Ok(json!({"name": column.name, "type": data_type, "nullable": nullable, "metadata": {}}))
    };
    let fields: Result<Vec<Value>> = schema.columns.iter().map(field).collect();
    Ok(json!({"type": "struct", "fields": fields?}))
}

/// The type as Delta names it; none where it has none.
fn data_type(column_type: &ColumnType) -> Option<Value> {
    let array = |element: Value, contains_null: bool| json!({"type": "array", "elementType": element, "containsNull": contains_null});
    Some(match column_type.base() {
        ColumnType::Boolean => json!("boolean"),
        ColumnType::TinyInt => json!("byte"),
        ColumnType::SmallInt => json!("short"),
        ColumnType::Integer => json!("integer"),
        ColumnType::BigInt => json!("long"),
        ColumnType::Real => json!("float"),
        ColumnType::Double => json!("double"),
        ColumnType::Numeric(precision, scale @ 0..) => {
            json!(format!("decimal({precision},{scale})"))
        }
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json => {
            json!("string")
        }
        ColumnType::Bit { .. } | ColumnType::SparseVec(_) | ColumnType::Enum(_) => json!("string"),
        ColumnType::Char(_) | ColumnType::Jsonb | ColumnType::Named(_) => json!("string"),
        ColumnType::Date => json!("date"),
        ColumnType::Timestamp => json!("timestamp_ntz"),
        ColumnType::TimestampTz => json!("timestamp"),
        ColumnType::Bytea => json!("binary"),
        ColumnType::Vector(_) => array(json!("float"), false),
        ColumnType::Array(inner) => array(data_type(inner)?, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::testing::schema;

    fn of_types(types: &[ColumnType]) -> CollectionSchema {
        let mut schema = schema();
        let first = schema.columns[0].clone();
        let column = |(n, column_type): (usize, &ColumnType)| Column {
            name: format!("c{n}"),
            column_type: column_type.clone(),
            ..first.clone()
        };
        schema.columns = types.iter().enumerate().map(column).collect();
        schema
    }

    #[test]
    fn each_line_is_an_action() {
        let files = [DataFile {
            name: "2.parquet".into(),
            rows: 5,
            bytes: 700,
        }];
        let types = [ColumnType::BigInt, ColumnType::Vector(3)];
        let text = first_version("book", &of_types(&types), &files, 7).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1]["protocol"]["minReaderVersion"], 1);
        let schema: Value =
            serde_json::from_str(lines[2]["metaData"]["schemaString"].as_str().unwrap()).unwrap();
        assert_eq!(schema["fields"][0]["type"], "long");
        assert_eq!(schema["fields"][1]["type"]["elementType"], "float");
        assert_eq!(lines[3]["add"]["path"], "2.parquet");
        assert_eq!(lines[3]["add"]["stats"], "{\"numRecords\":5}");
    }

    #[test]
    fn what_delta_does_not_have_is_named_and_what_is_a_feature_is_declared() {
        for column_type in [ColumnType::Time, ColumnType::HalfVec(4)] {
            let error = first_version("t", &of_types(&[column_type]), &[], 0).unwrap_err();
            assert_eq!(error.sqlstate(), "0A000");
            assert!(error.message().contains("\"c0\""), "{error}");
        }
        let local = ColumnType::Array(Box::new(ColumnType::Timestamp));
        let text = first_version("t", &of_types(&[local]), &[], 0).unwrap();
        assert!(
            text.contains("\"readerFeatures\":[\"timestampNtz\"]"),
            "{text}"
        );
    }
}
