//! ALTER TABLE of columns: they come, go, and change.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::prelude::{Expr, col};
use datafusion::sql::sqlparser::ast::Ident;

use super::Next;
use crate::catalog::assign::assign;
use crate::error::{Error, Result, sqlstate};
use crate::sql::constraint::{self, planned};
use crate::sql::ddl::add_column;
use crate::sql::dml::parse_expr;
use crate::sql::parser::fold;
use crate::sql::partition::check_column;
use crate::sql::session::Planning;
use crate::sql::statement::ColumnDefinition;
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionSchema, Column, FieldId};
use crate::storage::stats::Bound;
use crate::storage::ttl::TTL_COLUMN;

pub(super) fn column_mut<'a>(
    schema: &'a mut CollectionSchema,
    name: &Ident,
) -> Result<&'a mut Column> {
    let name = fold(name);
    schema
        .columns
        .iter_mut()
        .find(|c| c.name == name)
        .ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })
}

/// Rows that exist get the default's value of now, without being rewritten, or one of their own each where it is another at
/// each call.
pub(super) async fn add(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    definition: &ColumnDefinition,
) -> Result<()> {
    add_column(&mut next.schema, definition, &planning.type_names())?;
    let Some(column) = next.schema.columns.last_mut() else {
        return Err(Error::internal("the added column is missing"));
    };
    planning.fix_default(column).await?;
    let default = planning.snapshot.default_of(column).map(str::to_string);
    let each = match &default {
        Some(text) if collection.live_rows() > 0 => of_each_row(planning, collection, text)?,
        _ => None,
    };
    if let Some(value) = each {
        next.values.insert(column.id, value);
        next.is_rewritten = true;
        return Ok(());
    }
    if let Some(text) = &default {
        let value = planning.evaluate(text).await?;
        let array = assign(&value.to_array()?, column, &planning.zone()).map_err(|e| e.error)?;
        let value = ScalarValue::try_from_array(&array, 0)?;
        column.missing = Bound::from_scalar(&value);
        if column.missing.is_none() && !value.is_null() {
            return Err(Error::unsupported(format!(
                "a DEFAULT for the new column \"{}\" of type {} is not supported",
                column.name, column.column_type
            ))
            .with_hint("Add the column without DEFAULT, then ALTER COLUMN .. SET DEFAULT."));
        }
    }
    let is_given = definition.generated.is_some() || definition.sequence.is_some();
    let may_be_null = column.nullable || is_given;
    if !may_be_null && column.missing.is_none() && collection.live_rows() > 0 {
        return Err(holds_nulls(column, collection));
    }
    Ok(())
}

/// A default that is another value at each call, over the rows of a collection.
fn of_each_row(
    planning: &Planning<'_>,
    collection: &Collection,
    default: &str,
) -> Result<Option<Expr>> {
    let row = DFSchema::try_from(collection.schema.arrow_schema())?;
    let (_, value) = planned(planning, &parse_expr(default)?, &row)?;
    Ok(value.is_volatile().then_some(value))
}

fn holds_nulls(column: &Column, collection: &Collection) -> Error {
    let message = format!(
        "column \"{}\" of relation \"{}\" contains null values",
        column.name, collection.name
    );
    Error::invalid(sqlstate::NOT_NULL_VIOLATION, message)
}

pub(super) fn drop(next: &mut Next, relation: &str, name: &Ident) -> Result<()> {
    let schema = &mut next.schema;
    let id = column_mut(schema, name)?.id;
    check_column(schema, relation, &fold(name), "drop")?;
    let computed = schema.computed_keys.iter();
    let computed = computed.flat_map(|key| key.function.columns()).copied();
    let clustering: Vec<FieldId> = schema
        .clustering_key
        .iter()
        .copied()
        .chain(computed)
        .collect();
    let keys: [(&str, &[FieldId]); 3] = [
        ("primary", &schema.primary_key),
        ("clustering", &clustering),
        ("partition", schema.partition_key.as_slice()),
    ];
    let key = keys.iter().find(|(_, key)| key.contains(&id));
    let key = key.map(|(kind, _)| format!("the {kind} key depends"));
    let lives_by = next.options.own_settings.get(TTL_COLUMN);
    let ttl = lives_by.filter(|column| **column == fold(name));
    if let Some(what) = key.or(ttl.map(|_| "the times to live depend".to_string())) {
        let message = format!("cannot drop column \"{}\" because {what} on it", fold(name));
        return Err(Error::invalid(
            sqlstate::DEPENDENT_OBJECTS_STILL_EXIST,
            message,
        ));
    }
    if schema.columns.len() == 1 {
        return Err(Error::unsupported(
            "the last column of a collection cannot be dropped",
        ));
    }
    schema.columns.retain(|c| c.id != id);
    schema.checks.retain(|c| !c.columns.contains(&id));
    schema.foreign_keys.retain(|k| !k.columns.contains(&id));
    Ok(())
}

pub(super) fn rename(schema: &mut CollectionSchema, from: &Ident, to: &Ident) -> Result<()> {
    let to = fold(to);
    if schema.column(&to).is_some() {
        let message = format!("column \"{to}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
    }
    let column = column_mut(schema, from)?;
    let (id, old) = (column.id, std::mem::replace(&mut column.name, to.clone()));
    for check in schema.checks.iter_mut().filter(|c| c.columns.contains(&id)) {
        check.condition = constraint::rename_column(&check.condition, &old, &to)?;
    }
    let generated = schema
        .columns
        .iter_mut()
        .filter_map(|c| c.generated.as_mut());
    for generated in generated.filter(|generated| generated.columns.contains(&id)) {
        generated.expression = constraint::rename_column(&generated.expression, &old, &to)?;
    }
    Ok(())
}

pub(super) async fn set_nullable(
    planning: &Planning<'_>,
    collection: &Collection,
    schema: &mut CollectionSchema,
    name: &Ident,
    nullable: bool,
) -> Result<()> {
    let primary = schema.primary_key.clone();
    let column = column_mut(schema, name)?;
    if nullable && primary.contains(&column.id) {
        let message = format!("column \"{}\" is in a primary key", column.name);
        return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    if !nullable && column.nullable {
        // The name that the rows are read under is the one before this statement.
        if let Some(stored) = collection.schema.column_by_id(column.id) {
            let is_null = col(format!("\"{}\"", stored.name.replace('"', "\"\""))).is_null();
            if planning.count(collection, is_null).await? > 0 {
                return Err(holds_nulls(column, collection));
            }
        }
    }
    column.nullable = nullable;
    Ok(())
}
