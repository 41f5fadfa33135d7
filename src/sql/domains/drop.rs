//! DROP DOMAIN.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::alter::columns_of;
use super::find;
use crate::error::{ErrorKind, Result};
use crate::sql::alter;
use crate::sql::dependents::{each_view_once, needed, notice_cascade};
use crate::sql::session::Planning;
use crate::sql::statement::AlterAction;
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::domain::Domain;
use crate::storage::schema::Column;

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
    let mut changes = Vec::new();
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
        changes.extend(columns(planning, &domain, cascade).await?);
        changes.push(Change::DropDomain(domain.id));
    }
    each_view_once(&mut changes);
    Ok(changes)
}

/// What drops the columns of the domain.
async fn columns(planning: &Planning<'_>, domain: &Domain, cascade: bool) -> Result<Vec<Change>> {
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
    let mut collections: Vec<&Arc<Collection>> = of_domain.iter().map(|(c, _)| *c).collect();
    collections.dedup_by_key(|collection| collection.id);
    let mut changes = Vec::new();
    for collection in collections {
        let own = of_domain.iter().filter(|(c, _)| c.id == collection.id);
        let drop = |(_, column): &(&Arc<Collection>, &Column)| AlterAction::DropColumn {
            name: Ident::with_quote('"', &column.name),
            if_exists: false,
            cascade,
        };
        let actions: Vec<AlterAction> = own.map(drop).collect();
        changes.extend(alter::changes(planning, collection, &actions).await?);
    }
    Ok(changes)
}
