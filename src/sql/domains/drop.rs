//! DROP DOMAIN.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::alter::columns_of;
use super::find;
use crate::error::{ErrorKind, Result};
use crate::sql::alter;
use crate::sql::dependents::{each_view_once, needed, notice_cascade};
use crate::sql::session::Planning;
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::domain::Domain;

/// What DROP DOMAIN changes.
///
/// # Errors
/// 42704 for a domain that is not there, 2BP01 where columns are of it and do not go as well.
pub(super) async fn changes(
    planning: &Planning<'_>,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Vec<Change>> {
    let (mut dropped, mut columns) = (Vec::new(), Vec::new());
    for name in names {
        let domain = match find(planning, name) {
            Ok(domain) => domain,
            Err(error) if if_exists && error.kind() == ErrorKind::NotFound => {
                let notice = format!("{}, skipping", error.message());
                planning.session.notice(notice);
                continue;
            }
            Err(error) => return Err(error),
        };
        let object = Object::Type(domain.id);
        let (schema, name) = (&domain.name.schema, &domain.name.name);
        let session = planning.session;
        session.check_drops(&planning.snapshot, &object, schema, name)?;
        columns.extend(dependents(planning, &domain, cascade)?);
        dropped.push(Change::DropDomain(domain.id));
    }
    let mut changes = alter::drop_columns(planning, columns).await?;
    changes.extend(dropped);
    each_view_once(&mut changes);
    Ok(changes)
}

/// The columns of the domain, which go with it.
fn dependents(
    planning: &Planning<'_>,
    domain: &Domain,
    cascade: bool,
) -> Result<Vec<(Arc<Collection>, String)>> {
    let of_domain: Vec<_> = columns_of(planning, domain).collect();
    let described = of_domain
        .iter()
        .map(|(collection, column)| format!("column {} of table {}", column.name, collection.name));
    let described: Vec<String> = described.collect();
    if !cascade && !described.is_empty() {
        let depends = described
            .iter()
            .map(|what| format!("{what} depends on type {domain}"));
        return Err(needed(&format!("type {domain}"), "it", depends));
    }
    notice_cascade(planning.session, &described);
    let named = of_domain.iter();
    let named = named.map(|(collection, column)| (Arc::clone(collection), column.name.clone()));
    Ok(named.collect())
}
