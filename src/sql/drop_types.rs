//! DROP TYPE and DROP DOMAIN: types go, and with CASCADE the columns that are of them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::alter;
use super::dependents::{each_view_once, needed, notice_cascade};
use super::session::Planning;
use crate::error::{ErrorKind, Result};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::{Column, TypeId};

/// A type that is to go.
pub(super) struct Going {
    id: TypeId,
    name: QualifiedName,
    change: Change,
    /// The columns that are of it.
    columns: Vec<(Arc<Collection>, String)>,
}

impl Going {
    /// A type that `change` drops; `is_of` tells its columns.
    pub fn new(
        planning: &Planning<'_>,
        id: TypeId,
        name: &QualifiedName,
        change: Change,
        is_of: impl Fn(&Column) -> bool,
    ) -> Self {
        let mut columns = Vec::new();
        for collection in planning.snapshot.collections() {
            let own = collection.schema.columns.iter().filter(|c| is_of(c));
            columns.extend(own.map(|c| (Arc::clone(collection), c.name.clone())));
        }
        Self {
            id,
            name: name.clone(),
            change,
            columns,
        }
    }
}

/// What the statement changes; `find` gives the type of a name.
///
/// # Errors
/// Those of `find`, and 2BP01 where columns are of a type and do not go as well.
pub(super) async fn changes(
    planning: &Planning<'_>,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    find: impl Fn(&ObjectName) -> Result<Going>,
) -> Result<Vec<Change>> {
    let session = planning.session;
    let (mut dropped, mut columns) = (Vec::new(), Vec::new());
    for name in names {
        let of = match find(name) {
            Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
                session.notice(format!("{}, skipping", e.message()));
                continue;
            }
            found => found?,
        };
        let object = Object::Type(of.id);
        let QualifiedName { schema, name } = &of.name;
        session.check_drops(&planning.snapshot, &object, schema, name)?;
        check_dependents(planning, &of, cascade)?;
        columns.extend(of.columns);
        dropped.push(of.change);
    }
    let mut changes = alter::drop_columns(planning, columns).await?;
    changes.extend(dropped);
    each_view_once(&mut changes);
    Ok(changes)
}

/// That the columns of a type may go with it.
fn check_dependents(planning: &Planning<'_>, of: &Going, cascade: bool) -> Result<()> {
    let columns = of.columns.iter();
    let described: Vec<String> = columns
        .map(|(collection, name)| format!("column {name} of table {}", collection.name))
        .collect();
    let name = &of.name;
    if !cascade && !described.is_empty() {
        let depends = described
            .iter()
            .map(|what| format!("{what} depends on type {name}"));
        return Err(needed(&format!("type {name}"), "it", depends));
    }
    notice_cascade(planning.session, &described);
    Ok(())
}
