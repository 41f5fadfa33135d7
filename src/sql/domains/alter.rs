//! ALTER DOMAIN.

use std::sync::Arc;

use datafusion::prelude::{Expr, ident};
use datafusion::sql::sqlparser::ast::Ident;
use futures::StreamExt;

use super::{DomainChange, add_check, set_default};
use crate::catalog::domains::DomainChecks;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::check_writable;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::domain::{Domain, DomainCheck};
use crate::storage::schema::Column;

pub(super) async fn changes(
    planning: &Planning<'_>,
    domain: &Arc<Domain>,
    change: &DomainChange,
) -> Result<Vec<Change>> {
    let mut next = Domain::clone(domain);
    match change {
        DomainChange::Default(None) => next.default = None,
        DomainChange::Default(Some((_, text))) => set_default(planning, &mut next, text).await?,
        DomainChange::Nullable(nullable) => {
            next.nullable = *nullable;
            if !nullable {
                check_no_nulls(planning, domain).await?;
            }
        }
        DomainChange::AddCheck { check, not_valid } => {
            add_check(planning, &mut next, check, !not_valid)?;
            let is_new = |check: &&DomainCheck| !domain.checks.contains(check);
            if let Some(added) = next.checks.iter().find(is_new).filter(|_| !not_valid) {
                check_values(planning, domain, added).await?;
            }
        }
        DomainChange::DropCheck { name, if_exists } => match place(&next, name) {
            Ok(at) => {
                next.checks.remove(at);
            }
            Err(error) if *if_exists => {
                let notice = format!("{}, skipping", error.message());
                planning.session.notice(notice);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        },
        DomainChange::Validate(name) => {
            let at = place(&next, name)?;
            check_values(planning, domain, &next.checks[at]).await?;
            next.checks[at].is_validated = true;
        }
        DomainChange::RenameCheck(from, to) => {
            let at = place(&next, from)?;
            if place(&next, to).is_ok() {
                let (to, name) = (fold(to), &domain.name.name);
                let message = format!("constraint \"{to}\" for domain \"{name}\" already exists");
                return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
            }
            next.checks[at].name = fold(to);
            next.checks.sort_by(|a, b| a.name.cmp(&b.name));
        }
        DomainChange::Rename(to) => next.name.name = fold(to),
        DomainChange::SetSchema(to) => {
            next.name.schema = fold(to);
            check_writable(&next.name.schema)?;
            let session = planning.session;
            session.check_creates(&planning.snapshot, &next.name.schema)?;
        }
    }
    Ok(vec![Change::AlterDomain(next)])
}

/// The place of the check of that name.
fn place(domain: &Domain, name: &Ident) -> Result<usize> {
    let name = fold(name);
    let found = domain.checks.iter().position(|check| check.name == name);
    found.ok_or_else(|| {
        let of = &domain.name.name;
        let message = format!("constraint \"{name}\" of domain \"{of}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
    })
}

/// The columns of a domain.
fn columns_of<'a>(
    planning: &'a Planning<'_>,
    domain: &'a Domain,
) -> impl Iterator<Item = (&'a Arc<Collection>, &'a Column)> {
    planning.snapshot.collections().flat_map(|collection| {
        let columns = collection.schema.columns.iter();
        let columns = columns.filter(|column| column.domain == Some(domain.id));
        columns.map(move |column| (collection, column))
    })
}

async fn check_no_nulls(planning: &Planning<'_>, domain: &Domain) -> Result<()> {
    for (collection, column) in columns_of(planning, domain) {
        let is_null: Expr = ident(&column.name).is_null();
        if planning.count(collection, is_null).await? > 0 {
            let (name, table) = (&column.name, &collection.name);
            let message = format!("column \"{name}\" of table \"{table}\" contains null values");
            return Err(Error::invalid(sqlstate::NOT_NULL_VIOLATION, message));
        }
    }
    Ok(())
}

/// That the values which exist fulfil a check.
async fn check_values(planning: &Planning<'_>, domain: &Domain, check: &DomainCheck) -> Result<()> {
    let alone = Domain {
        nullable: true,
        checks: vec![check.clone()],
        ..domain.clone()
    };
    let checks = DomainChecks::of(&Arc::new(alone), &planning.state)?;
    for (collection, column) in columns_of(planning, domain) {
        let rows = planning.rows_of(collection).await?;
        let values = rows.select(vec![ident(&column.name)])?;
        let mut values = values.execute_stream().await?;
        while let Some(batch) = values.next().await.transpose()? {
            checks
                .check(batch.column(0))
                .map_err(|error| match error.sqlstate() {
                    sqlstate::CHECK_VIOLATION => breaks(collection, column),
                    _ => error,
                })?;
        }
    }
    Ok(())
}

fn breaks(collection: &Collection, column: &Column) -> Error {
    let (name, table) = (&column.name, &collection.name);
    let message = format!(
        "column \"{name}\" of table \"{table}\" contains values that violate the new constraint"
    );
    Error::invalid(sqlstate::CHECK_VIOLATION, message)
}
