//! DROP TYPE, with the columns of the type.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::find;
use crate::error::{ErrorKind, Result};
use crate::sql::alter;
use crate::sql::dependents::{each_view_once, needed, notice_cascade};
use crate::sql::session::Planning;
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::enum_type::EnumType;

/// What DROP TYPE changes.
///
/// # Errors
/// 42704 for a missing type, 2BP01 for one that columns have, unless they go with it.
pub(super) async fn changes(
    planning: &Planning<'_>,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Vec<Change>> {
    let (mut dropped, mut columns) = (Vec::new(), Vec::new());
    for name in names {
        let of = match find(planning, name) {
            Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
                planning
                    .session
                    .notice(format!("{}, skipping", e.message()));
                continue;
            }
            found => found?,
        };
        let object = Object::Type(of.id);
        let (schema, name) = (&of.name.schema, &of.name.name);
        planning
            .session
            .check_drops(&planning.snapshot, &object, schema, name)?;
        columns.extend(dependents(planning, &of, cascade)?);
        dropped.push(Change::DropType(of.id));
    }
    let mut changes = alter::drop_columns(planning, columns).await?;
    changes.extend(dropped);
    each_view_once(&mut changes);
    Ok(changes)
}

/// The columns of the type, which go with it.
fn dependents(
    planning: &Planning<'_>,
    of: &EnumType,
    cascade: bool,
) -> Result<Vec<(Arc<Collection>, String)>> {
    let mut columns = Vec::new();
    for collection in planning.snapshot.collections() {
        let names = columns_of(collection, of).into_iter();
        columns.extend(names.map(|name| (Arc::clone(collection), name.to_string())));
    }
    let described = columns
        .iter()
        .map(|(collection, name)| format!("column {name} of table {}", collection.name));
    let described: Vec<String> = described.collect();
    if !cascade && !described.is_empty() {
        let depends = described
            .iter()
            .map(|what| format!("{what} depends on type {of}"));
        return Err(needed(&format!("type {of}"), "it", depends));
    }
    notice_cascade(planning.session, &described);
    Ok(columns)
}

fn columns_of<'a>(collection: &'a Collection, of: &EnumType) -> Vec<&'a str> {
    let columns = collection.schema.columns.iter();
    let typed = columns.filter(|c| c.column_type.is_of_enum(of.id));
    typed.map(|c| c.name.as_str()).collect()
}
