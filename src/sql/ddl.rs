//! Definitions as changes: what CREATE, ALTER and DROP do to a snapshot, without doing it.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use shelfmark_udfs::{BitType, Element, SparseType, VectorType};

use super::format::{PgType, oid, type_of};
use super::names::SearchPath;
use super::parser::{fold, name_parts};
use super::session::Session;
use super::statement::{ColumnDefinition, CreateCollection, KeyItem};
use super::type_names::TypeNames;
use crate::catalog::pg_type::{list_element, seconds_digits};
use crate::catalog::provider::CATALOG;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::enum_type::EnumType;
use crate::storage::key_model::{CURVE_COLUMNS_MAX, ComputedKey, KeyFunction};
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId, TextName};
use crate::storage::snapshot::Snapshot;

/// The most columns a collection may have, as in Postgres.
const COLUMNS_MAX: usize = 1_600;
/// Schemas that users cannot write to.
const RESERVED_SCHEMAS: [&str; 3] = ["shelfmark", "information_schema", "pg_catalog"];

/// The relation that `name` stands for.
///
/// # Errors
/// 42601 for a name of more than three parts, 0A000 for one of another catalog.
pub fn qualify(name: &ObjectName, path: &SearchPath) -> Result<QualifiedName> {
    path.qualify(name)
}

/// The schema of a name, if it has one, and the name without it.
///
/// # Errors
/// 42601 for a name of more than three parts, 0A000 for one of another catalog.
pub fn qualified_parts(name: &ObjectName) -> Result<(Option<String>, String)> {
    let mut parts = name_parts(name)?;
    let relation = parts.pop().unwrap_or_default();
    let schema = parts.pop();
    match parts.as_slice() {
        [] => Ok((schema, relation)),
        [catalog] if catalog == CATALOG => Ok((schema, relation)),
        _ => Err(Error::unsupported(format!(
            "cross-database references are not implemented: {name}"
        ))),
    }
}

/// The name of a SQL schema.
///
/// # Errors
/// 42601 for a name of several parts other than our catalog's.
pub fn schema_name(name: &ObjectName) -> Result<String> {
    let mut parts = name_parts(name)?;
    let schema = parts.pop().unwrap_or_default();
    match parts.as_slice() {
        [] => Ok(schema),
        [catalog] if catalog == CATALOG => Ok(schema),
        _ => Err(Error::invalid(
            sqlstate::SYNTAX_ERROR,
            format!("improper schema name {name}"),
        )),
    }
}

/// Whether the SQL schema is the system's.
pub fn is_reserved(schema: &str) -> bool {
    RESERVED_SCHEMAS.contains(&schema)
}

/// That users may make things in the SQL schema.
///
/// # Errors
/// 42939 for a reserved schema.
pub fn check_writable(schema: &str) -> Result<()> {
    if is_reserved(schema) {
        let message = format!("schema \"{schema}\" belongs to the system");
        return Err(Error::invalid("42939", message));
    }
    Ok(())
}

/// The collection of that name.
///
/// # Errors
/// 42P01 when there is none, 42809 for a view.
pub fn find_collection<'a>(
    snapshot: &'a Snapshot,
    name: &QualifiedName,
) -> Result<&'a Arc<Collection>> {
    if let Some(collection) = snapshot.collection(name) {
        return Ok(collection);
    }
    if snapshot.partition(name).is_some() {
        let message = format!("\"{name}\" is a partition, not a table of its own");
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
            .with_hint("Name the partitioned table, which holds the rows of all partitions."));
    }
    if snapshot.view(name).is_some() {
        let message = format!("\"{name}\" is a view, not a collection");
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    Err(no_relation(name))
}

/// The collection that has the rows of a table or partition of that name.
///
/// # Errors
/// Those of [`find_collection`] for another name.
pub(super) fn find_maintained<'a>(
    snapshot: &'a Snapshot,
    name: &QualifiedName,
) -> Result<&'a Arc<Collection>> {
    let partition = snapshot.partition(name);
    let parent = partition.and_then(|(_, of)| snapshot.collection_by_id(of.parent));
    parent.map_or_else(|| find_collection(snapshot, name), Ok)
}

/// The collection of that name, which is no materialized view.
///
/// # Errors
/// Those of [`find_collection`]; 42809 for a materialized view.
pub(super) fn find_table<'a>(
    snapshot: &'a Snapshot,
    name: &QualifiedName,
) -> Result<&'a Arc<Collection>> {
    let found = find_collection(snapshot, name)?;
    if found.materialized.is_some() {
        let message = format!("\"{}\" is not a table", name.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    Ok(found)
}

/// 42P01: there is neither a collection nor a view of the name.
pub(super) fn no_relation(name: &QualifiedName) -> Error {
    let message = format!("relation \"{name}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_TABLE, message)
}

/// The schema of that name.
///
/// # Errors
/// 3F000 where there is none.
pub(super) fn existing_schema(snapshot: &Snapshot, name: &ObjectName) -> Result<String> {
    let name = schema_name(name)?;
    if snapshot.has_schema(&name) {
        return Ok(name);
    }
    Err(no_schema(&name))
}

/// 3F000: there is no schema of the name.
pub(super) fn no_schema(name: &str) -> Error {
    let message = format!("schema \"{name}\" does not exist");
    Error::not_found(sqlstate::INVALID_SCHEMA_NAME, message)
}

/// The database, if its sessions know it by that name.
///
/// # Errors
/// 3D000 for another name.
pub(super) fn existing_database(session: &Session, name: &ObjectName) -> Result<String> {
    let name = schema_name(name)?;
    match name == session.identity().database {
        true => Ok(name),
        false => Err(no_database(&name)),
    }
}

/// 3D000: there is no database of the name.
pub(super) fn no_database(name: &str) -> Error {
    let message = format!("database \"{name}\" does not exist");
    Error::not_found(sqlstate::INVALID_CATALOG_NAME, message)
}

/// The columns and keys that CREATE TABLE defines.
///
/// # Errors
/// A column named twice (42701), a key of a missing column (42703), a key column of a type that has no order (42P16),
/// a type that does not exist.
pub fn define_schema(create: &CreateCollection, types: &TypeNames) -> Result<CollectionSchema> {
    let mut schema = empty_schema();
    for definition in &create.columns {
        add_column(&mut schema, definition, types)?;
    }
    with_keys(create, schema.columns)
}

fn empty_schema() -> CollectionSchema {
    CollectionSchema {
        columns: Vec::new(),
        primary_key: Vec::new(),
        clustering_key: Vec::new(),
        partition_key: None,
        next_field_id: FieldId(1),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    }
}

/// A schema of `columns`, whose ids count from 1, with the keys that the statement names.
///
/// # Errors
/// 42701 for a column named twice, and those of keys as in [`define_schema`].
pub fn with_keys(create: &CreateCollection, columns: Vec<Column>) -> Result<CollectionSchema> {
    let mut names = HashSet::new();
    if let Some(twice) = columns.iter().find(|c| !names.insert(c.name.as_str())) {
        let message = format!("column \"{}\" specified more than once", twice.name);
        return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
    }
    let next_field_id = FieldId(columns.len() as u32 + 1);
    let mut schema = CollectionSchema {
        columns,
        next_field_id,
        ..empty_schema()
    };
    schema.primary_key = primary_key(&schema, &create.primary_key)?;
    schema.primary_key_name = create.primary_key_name.as_ref().map(fold);
    let in_key = schema.primary_key.clone();
    for column in schema.columns.iter_mut().filter(|c| in_key.contains(&c.id)) {
        column.nullable = false;
    }
    set_clustering_key(&mut schema, &create.clustering_key)?;
    if let Some(name) = &create.partition_key {
        schema.partition_key = key_columns(&schema, std::slice::from_ref(name))?.pop();
    }
    Ok(schema)
}

/// The columns of a primary key.
///
/// # Errors
/// 42703 for a missing column, 42P16 for one whose type has no order.
pub fn primary_key(schema: &CollectionSchema, names: &[Ident]) -> Result<Vec<FieldId>> {
    let key = key_columns(schema, names)?;
    let mut columns = key.iter().filter_map(|id| schema.column_by_id(*id));
    match columns.find(|column| !column.column_type.is_scalar()) {
        Some(column) => Err(no_order("primary", column)),
        None => Ok(key),
    }
}

/// That the columns of a schema's keys have an order.
///
/// # Errors
/// 42P16 for one that has none.
pub fn check_orders(schema: &CollectionSchema) -> Result<()> {
    let is_ordered = [ColumnType::is_scalar, ColumnType::is_clusterable];
    let keys = [
        ("primary", &schema.primary_key),
        ("clustering", &schema.clustering_key),
    ];
    for ((kind, key), is_ordered) in keys.into_iter().zip(is_ordered) {
        let mut columns = key.iter().filter_map(|id| schema.column_by_id(*id));
        if let Some(column) = columns.find(|column| !is_ordered(&column.column_type)) {
            return Err(no_order(kind, column));
        }
    }
    Ok(())
}

/// Adds a column with the next field id.
///
/// # Errors
/// 42701 for a name that exists, 54011 for too many columns, or the type's.
pub fn add_column(
    schema: &mut CollectionSchema,
    definition: &ColumnDefinition,
    types: &TypeNames,
) -> Result<()> {
    let name = fold(&definition.name);
    if matches!(name.as_str(), "_segment" | "_row") {
        let message = format!("column name \"{name}\" conflicts with a system column name");
        return Err(Error::invalid(sqlstate::DUPLICATE_COLUMN, message));
    }
    if schema.column(&name).is_some() {
        let message = format!("column \"{name}\" specified more than once");
        return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
    }
    if schema.columns.len() >= COLUMNS_MAX {
        let message = format!("collections can have at most {COLUMNS_MAX} columns");
        return Err(Error::limit("54011", message));
    }
    schema.columns.push(Column {
        id: schema.next_field_id,
        name,
        column_type: types.column_type(&definition.data_type)?,
        nullable: !definition.not_null,
        default: definition.default.as_ref().map(|(_, text)| text.clone()),
        missing: None,
        generated: None,
        domain: types.domain(&definition.data_type).map(|domain| domain.id),
    });
    schema.next_field_id.0 += 1;
    Ok(())
}

/// The columns of a key, which must exist and be named once.
fn key_columns(schema: &CollectionSchema, names: &[Ident]) -> Result<Vec<FieldId>> {
    let mut seen = HashSet::new();
    names
        .iter()
        .map(|ident| {
            let column = key_column(schema, ident)?;
            if !seen.insert(column.id) {
                return Err(named_twice(&column.name));
            }
            Ok(column.id)
        })
        .collect()
}

fn key_column<'a>(schema: &'a CollectionSchema, ident: &Ident) -> Result<&'a Column> {
    let name = fold(ident);
    schema.column(&name).ok_or_else(|| {
        let message = format!("column \"{name}\" named in key does not exist");
        Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
    })
}

fn named_twice(name: &str) -> Error {
    let message = format!("column \"{name}\" appears twice in a key");
    Error::invalid(sqlstate::DUPLICATE_COLUMN, message)
}

/// Gives a schema another clustering key. Items that are computed and were in the key before stay what they are.
///
/// # Errors
/// 42703 for a missing column, 42701 for an item named twice, 42P16 for a column whose type has no order and for HILBERT
/// of one column or of many, 42804 for VECTOR of another type.
pub fn set_clustering_key(schema: &mut CollectionSchema, items: &[KeyItem]) -> Result<()> {
    let mut key: Vec<FieldId> = Vec::new();
    let mut computed: Vec<ComputedKey> = Vec::new();
    for item in items {
        let (function, name) = match item {
            KeyItem::Column(ident) => {
                let column = ordered_column(schema, ident)?;
                if key.contains(&column.id) {
                    return Err(named_twice(&column.name));
                }
                key.push(column.id);
                continue;
            }
            KeyItem::Vector(ident) => {
                let column = key_column(schema, ident)?;
                if !column.column_type.is_vector() {
                    return Err(no_vector(column));
                }
                (KeyFunction::Vector(column.id), fold(ident))
            }
            KeyItem::Hilbert(idents) => {
                let name = idents.first().map(fold).unwrap_or_default();
                (KeyFunction::Hilbert(curve_columns(schema, idents)?), name)
            }
        };
        if computed.iter().any(|key| key.function == function) {
            return Err(named_twice(&name));
        }
        let item = computed_key(schema, function);
        key.push(item.id);
        computed.push(item);
    }
    (schema.clustering_key, schema.computed_keys) = (key, computed);
    Ok(())
}

/// A column that rows can be sorted by.
fn ordered_column<'a>(schema: &'a CollectionSchema, ident: &Ident) -> Result<&'a Column> {
    let column = key_column(schema, ident)?;
    match column.column_type.is_clusterable() {
        true => Ok(column),
        false => Err(no_order("clustering", column)),
    }
}

/// The columns of HILBERT.
fn curve_columns(schema: &CollectionSchema, idents: &[Ident]) -> Result<Vec<FieldId>> {
    let columns = key_columns(schema, idents)?;
    for ident in idents {
        ordered_column(schema, ident)?;
    }
    if !(2..=CURVE_COLUMNS_MAX).contains(&columns.len()) {
        let message = format!("HILBERT takes 2 to {CURVE_COLUMNS_MAX} columns");
        return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    Ok(columns)
}

/// The item that the key has already, or a new one.
fn computed_key(schema: &mut CollectionSchema, function: KeyFunction) -> ComputedKey {
    let mut known = schema.computed_keys.iter();
    if let Some(known) = known.find(|key| key.function == function) {
        return known.clone();
    }
    let id = schema.next_field_id;
    schema.next_field_id.0 += 1;
    ComputedKey { id, function }
}

fn no_vector(column: &Column) -> Error {
    let (name, column_type) = (&column.name, &column.column_type);
    let message =
        format!("VECTOR in a clustering key takes a vector, not \"{name}\" of type {column_type}");
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
}

/// Makes the partition key the clustering key of a collection that has none, if it has an order.
pub fn cluster_by_partition_key(schema: &mut CollectionSchema) {
    let partition_key = schema.partition_key.and_then(|id| schema.column_by_id(id));
    let ordered = partition_key.filter(|c| c.column_type.is_clusterable());
    if let (Some(column), true) = (ordered, schema.clustering_key.is_empty()) {
        schema.clustering_key = vec![column.id];
    }
}

fn no_order(kind: &str, column: &Column) -> Error {
    let (name, column_type) = (&column.name, &column.column_type);
    let message = format!("column \"{name}\" of type {column_type} cannot be in a {kind} key");
    let error = Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message);
    match kind == "clustering" && column_type.is_vector() {
        true => error.with_hint(format!(
            "CLUSTER BY (VECTOR({name})) puts near vectors together."
        )),
        false => error,
    }
}

/// A boolean as Postgres reads its settings.
///
/// # Errors
/// 22023 for anything else.
pub fn on_off(name: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => {
            let message = format!("invalid value \"{value}\" for option \"{name}\"");
            let error = Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
            Err(error.with_hint("It is on or off."))
        }
    }
}

/// A column type that holds the values of an Arrow type, for CREATE TABLE AS.
///
/// # Errors
/// 0A000 where there is none.
pub fn column_type_of(field: &arrow::datatypes::Field) -> Result<ColumnType> {
    use ColumnType as C;
    use arrow::datatypes::DataType as D;
    if let Some(bits) = BitType::of_field(field) {
        return Ok(bits.into());
    }
    if let Some(sparse) = SparseType::of_field(field) {
        return Ok(sparse.into());
    }
    if let Some(of) = EnumType::of_field(field) {
        return Ok(C::Enum(Arc::new(of)));
    }
    if let Some(of) = EnumType::of_list(field) {
        return Ok(C::Array(Box::new(C::Enum(Arc::new(of)))));
    }
    let named = type_of(field);
    let element = named
        .element()
        .filter(|_| list_element(field.data_type()).is_some());
    if let Some(element) = element.and_then(text_type) {
        return Ok(C::Array(Box::new(element)));
    }
    if let Some(text) = text_type(named) {
        return Ok(text);
    }
    let in_seconds = |of: C| match seconds_digits(named) {
        Some(digits) => of.rounded(digits.into()),
        None => of,
    };
    Ok(match field.data_type() {
        D::Boolean => C::Boolean,
        D::Int8 => C::TinyInt,
        D::Int16 | D::UInt8 => C::SmallInt,
        D::Int32 | D::UInt16 => C::Integer,
        D::Int64 | D::UInt32 => C::BigInt,
        D::UInt64 => C::Numeric(20, 0),
        D::Float16 | D::Float32 => C::Real,
        D::Float64 => C::Double,
        D::Decimal128(p, s) if *s >= 0 => C::Numeric(*p, *s),
        D::Utf8 | D::Utf8View | D::LargeUtf8 | D::Null => C::Text,
        D::Binary | D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => C::Bytea,
        D::Date32 | D::Date64 => C::Date,
        D::Time32(_) | D::Time64(_) => in_seconds(C::Time),
        D::Timestamp(_, None) => in_seconds(C::Timestamp),
        D::Timestamp(_, Some(_)) => in_seconds(C::TimestampTz),
        D::Interval(_) | D::Duration(_) => in_seconds(C::Interval),
        D::Dictionary(_, value) => column_type_of(&field.clone().with_data_type(*value.clone()))?,
        D::FixedSizeList(item, n) if item.data_type() == &D::Float32 && *n > 0 => {
            C::Vector(*n as u32)
        }
        D::FixedSizeList(item, n) if item.data_type() == &D::Float16 && *n > 0 => {
            C::HalfVec(*n as u32)
        }
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => {
            let element = match VectorType::of(item.data_type()) {
                Some(VectorType {
                    element,
                    dimension: None,
                }) => match element {
                    Element::Single => C::Vector(0),
                    Element::Half => C::HalfVec(0),
                },
                _ => column_type_of(item)?,
            };
            match element {
                C::Array(_) => return Err(no_column_type(field)),
                element => C::Array(Box::new(element)),
            }
        }
        _ => return Err(no_column_type(field)),
    })
}

/// The column type of texts that have a type of their own.
fn text_type(named: PgType) -> Option<ColumnType> {
    Some(match named.oid {
        oid::UUID => ColumnType::Uuid,
        oid::JSON => ColumnType::Json,
        oid::JSONB => ColumnType::Jsonb,
        oid::VARCHAR => match length(named) {
            Some(length) => ColumnType::Varchar(length),
            None => ColumnType::Named(TextName::Varchar),
        },
        oid::NAME => ColumnType::Named(TextName::Name),
        oid::CHAR => ColumnType::Named(TextName::Char),
        oid::BPCHAR => ColumnType::Char(length(named)),
        _ => return None,
    })
}

/// The `n` of `varchar(n)`, which its modifier has with four more.
fn length(named: PgType) -> Option<u32> {
    u32::try_from(named.typmod.checked_sub(4)?).ok()
}

fn no_column_type(field: &arrow::datatypes::Field) -> Error {
    Error::unsupported(format!(
        "column \"{}\" of type {} cannot be stored",
        field.name(),
        field.data_type()
    ))
}
