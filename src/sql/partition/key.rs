//! The key of a partitioned table.

use datafusion::sql::sqlparser::ast::Ident;

use super::PartitionBy;
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;
use crate::storage::change::Change;
use crate::storage::partition::{Partitioning, Strategy};
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId};

/// The most columns of a key, as in PostgreSQL.
const COLUMNS_MAX: usize = 32;

/// Divides a table that is to be made; rows are clustered by the key where the statement names nothing else to cluster by.
///
/// # Errors
/// 22023 for another strategy, 42703 for a missing column, 42P17 for a generated one and for a list of several, 42704 for a
/// type without an order, 54011 for too many columns.
pub(in crate::sql) fn divide(schema: &mut CollectionSchema, by: &PartitionBy) -> Result<()> {
    let strategy = match fold(&by.strategy).as_str() {
        "list" => Strategy::List,
        "range" => Strategy::Range,
        "hash" => Strategy::Hash,
        other => {
            let message = format!("unrecognized partitioning strategy \"{other}\"");
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    if strategy == Strategy::List && by.columns.len() > 1 {
        return Err(invalid(
            "cannot use \"list\" partition strategy with more than one column".to_string(),
        ));
    }
    if by.columns.len() > COLUMNS_MAX {
        let message = format!("cannot partition using more than {COLUMNS_MAX} columns");
        return Err(Error::limit("54011", message));
    }
    let columns = by.columns.iter();
    let columns = columns.map(|name| Ok(key_column(schema, name, strategy)?.id));
    let columns: Vec<FieldId> = columns.collect::<Result<_>>()?;
    if schema.clustering_key.is_empty() && strategy != Strategy::Hash {
        let mut key = columns.clone();
        let mut seen = std::collections::HashSet::new();
        key.retain(|id| seen.insert(*id));
        schema.clustering_key = key;
    }
    schema.partitioning = Some(Partitioning { strategy, columns });
    Ok(())
}

fn key_column<'a>(
    schema: &'a CollectionSchema,
    name: &Ident,
    strategy: Strategy,
) -> Result<&'a Column> {
    let name = fold(name);
    let column = schema.column(&name).ok_or_else(|| {
        let message = format!("column \"{name}\" named in partition key does not exist");
        Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
    })?;
    if column.generated.is_some() {
        let detail = format!("Column \"{name}\" is a generated column.");
        let message = "cannot use generated column in partition key".to_string();
        return Err(invalid(message).with_detail(detail));
    }
    let of = &column.column_type;
    if !of.is_clusterable() {
        let method = if strategy == Strategy::Hash {
            "hash"
        } else {
            "btree"
        };
        let message =
            format!("data type {of} has no default operator class for access method \"{method}\"");
        let hint = format!(
            "You must specify a {method} operator class or define a default {method} operator \
             class for the data type."
        );
        return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message).with_hint(hint));
    }
    if strategy == Strategy::Range && matches!(of.base(), ColumnType::Enum(_)) {
        let message = "ranges of a partition key of an enum type are not supported";
        return Err(Error::unsupported(message)
            .with_hint("PARTITION BY LIST names the values of each partition."));
    }
    Ok(column)
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message)
}

/// That a column is not one of the partition key.
///
/// # Errors
/// 42P16.
pub(in crate::sql) fn check_column(
    schema: &CollectionSchema,
    relation: &str,
    name: &str,
    verb: &str,
) -> Result<()> {
    let id = schema.column(name).map(|column| column.id);
    let key = schema.partitioning.as_ref().map(|of| &of.columns);
    if !key.is_some_and(|key| id.is_some_and(|id| key.contains(&id))) {
        return Ok(());
    }
    let message = format!(
        "cannot {verb} column \"{name}\" because it is part of the partition key of relation \
         \"{relation}\""
    );
    Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message))
}

/// That the unique keys of a table have the columns of its partition key, as PostgreSQL wants them to.
///
/// # Errors
/// 0A000.
pub(in crate::sql) fn check_keys(
    schema: &CollectionSchema,
    relation: &str,
    changes: &[Change],
) -> Result<()> {
    if schema.partitioning.is_none() {
        return Ok(());
    }
    if !schema.primary_key.is_empty() {
        check_key(schema, relation, "PRIMARY KEY", &schema.primary_key)?;
    }
    for change in changes {
        if let Change::CreateIndex(_, index) = change
            && index.is_unique
        {
            check_key(schema, relation, "UNIQUE", &index.columns)?;
        }
    }
    Ok(())
}

fn check_key(schema: &CollectionSchema, relation: &str, kind: &str, key: &[FieldId]) -> Result<()> {
    let columns = schema.partitioning.iter().flat_map(|of| &of.columns);
    let mut lacking = columns.filter(|id| !key.contains(id));
    let Some(column) = lacking.find_map(|id| schema.column_by_id(*id)) else {
        return Ok(());
    };
    let message = "unique constraint on partitioned table must include all partitioning columns";
    let detail = format!(
        "{kind} constraint on table \"{relation}\" lacks column \"{}\" which is part of the \
         partition key.",
        column.name
    );
    Err(Error::unsupported(message).with_detail(detail))
}
