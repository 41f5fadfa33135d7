//! DROP TYPE, with the columns of the type.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::find;
use crate::error::{ErrorKind, Result};
use crate::sql::alter;
use crate::sql::dependents::{each_view_once, needed, notice_cascade};
use crate::sql::session::Planning;
use crate::sql::statement::AlterAction;
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
    let mut changes = Vec::new();
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
        changes.extend(columns(planning, &of, cascade).await?);
        changes.push(Change::DropType(of.id));
    }
    each_view_once(&mut changes);
    Ok(changes)
}

/// What drops the columns of the type.
async fn columns(planning: &Planning<'_>, of: &EnumType, cascade: bool) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut dependents = Vec::new();
    let collections: Vec<Arc<Collection>> = planning.snapshot.collections().cloned().collect();
    for collection in &collections {
        let names = columns_of(collection, of);
        let described = |name: &&str| format!("column {name} of table {}", collection.name);
        dependents.extend(names.iter().map(described));
        if cascade && !names.is_empty() {
            let drop = |name: &&str| AlterAction::DropColumn {
                name: Ident::with_quote('"', *name),
                if_exists: false,
                cascade,
            };
            let actions: Vec<AlterAction> = names.iter().map(drop).collect();
            changes.extend(alter::changes(planning, collection, &actions).await?);
        }
    }
    if dependents.is_empty() || cascade {
        notice_cascade(planning.session, &dependents);
        return Ok(changes);
    }
    let depends = dependents
        .iter()
        .map(|d| format!("{d} depends on type {of}"));
    Err(needed(&format!("type {of}"), "it", depends))
}

fn columns_of<'a>(collection: &'a Collection, of: &EnumType) -> Vec<&'a str> {
    let columns = collection.schema.columns.iter();
    let typed = columns.filter(|c| c.column_type.is_of_enum(of.id));
    typed.map(|c| c.name.as_str()).collect()
}
