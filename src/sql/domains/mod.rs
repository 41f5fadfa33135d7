//! CREATE, ALTER and DROP DOMAIN, and casts to domains.

mod alter;
mod cast;
mod grammar;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};

pub(super) use self::cast::{check_of, with_checks};
pub(super) use self::grammar::parse;
use super::constraint::condition_over;
use super::ddl::check_writable;
use super::default_name::first_free;
use super::drop_types::{self, Going};
use super::parser::fold;
use super::session::{Planning, Session, Tag, done};
use super::statement::CheckDefinition;
use crate::catalog::assign::cast_to;
use crate::catalog::domains::row_of;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::domain::{Domain, DomainCheck};
use crate::storage::schema::{Column, TypeId};
use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// A statement about domains.
#[derive(Debug, Clone)]
pub enum DomainStatement {
    /// CREATE DOMAIN.
    Create {
        /// Its name.
        name: ObjectName,
        /// What it is.
        definition: DomainDefinition,
    },
    /// ALTER DOMAIN.
    Alter {
        /// Which.
        name: ObjectName,
        /// What changes.
        change: DomainChange,
    },
    /// DROP DOMAIN.
    Drop {
        /// Which.
        names: Vec<ObjectName>,
        /// Whether missing ones are fine.
        if_exists: bool,
        /// Whether the columns of the domain go as well.
        cascade: bool,
    },
}

/// What CREATE DOMAIN says of a domain.
#[derive(Debug, Clone)]
pub struct DomainDefinition {
    /// The type of its values.
    pub data_type: DataType,
    /// NULL or NOT NULL, if either is said.
    pub nullable: Option<bool>,
    /// DEFAULT, as an expression and as its author wrote it.
    pub default: Option<(Expr, String)>,
    /// CHECK (..).
    pub checks: Vec<CheckDefinition>,
}

/// What ALTER DOMAIN changes.
#[derive(Debug, Clone)]
pub enum DomainChange {
    /// SET DEFAULT and DROP DEFAULT.
    Default(Option<(Expr, String)>),
    /// DROP NOT NULL and SET NOT NULL.
    Nullable(bool),
    /// ADD CHECK.
    AddCheck {
        /// The constraint.
        check: CheckDefinition,
        /// Whether the values that exist may break it.
        not_valid: bool,
    },
    /// DROP CONSTRAINT.
    DropCheck {
        /// The constraint.
        name: Ident,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// VALIDATE CONSTRAINT.
    Validate(Ident),
    /// RENAME CONSTRAINT a TO b.
    RenameCheck(Ident, Ident),
    /// RENAME TO.
    Rename(Ident),
    /// SET SCHEMA.
    SetSchema(Ident),
}

impl DomainStatement {
    /// The tag of the statement.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE DOMAIN",
            Self::Alter { .. } => "ALTER DOMAIN",
            Self::Drop { .. } => "DROP DOMAIN",
        }
    }
}

/// CREATE, ALTER and DROP DOMAIN.
pub(super) fn plan(session: &Session, statement: DomainStatement) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = statement.tag();
    let statement = Arc::new(statement);
    done(tag, format!("Domain: {tag}"), move || {
        let (session, statement) = (session.clone(), Arc::clone(&statement));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let planning = Planning::new(&session);
            let changes = match &*statement {
                DomainStatement::Create { name, definition } => {
                    create(&planning, name, definition).await?
                }
                DomainStatement::Alter { name, change } => {
                    let domain = find(&planning, name)?;
                    let object = Object::Type(domain.id);
                    session.check_owner(&planning.snapshot, &object, &domain.name.name)?;
                    alter::changes(&planning, &domain, change).await?
                }
                DomainStatement::Drop {
                    names,
                    if_exists,
                    cascade,
                } => {
                    let find = |name: &ObjectName| going(&planning, name);
                    drop_types::changes(&planning, names, *if_exists, *cascade, find).await?
                }
            };
            match changes.is_empty() {
                true => Ok(()),
                false => session.commit(&planning.snapshot, changes).await,
            }
        }
    })
}

async fn create(
    planning: &Planning<'_>,
    name: &ObjectName,
    definition: &DomainDefinition,
) -> Result<Vec<Change>> {
    let session = planning.session;
    let name = session.search_path().qualify_new(name)?;
    check_writable(&name.schema)?;
    if name.schema == TEMPORARY_SCHEMA {
        return Err(Error::unsupported("temporary domains are not supported"));
    }
    session.check_creates(&planning.snapshot, &name.schema)?;
    let types = planning.type_names();
    if types.domain(&definition.data_type).is_some() {
        let message = "a domain over another domain is not supported";
        return Err(Error::unsupported(message));
    }
    let mut domain = Domain {
        id: TypeId(allocate_id(session)),
        name,
        base: types.column_type(&definition.data_type)?,
        nullable: definition.nullable.unwrap_or(true),
        default: None,
        checks: Vec::new(),
    };
    if let Some((_, text)) = &definition.default {
        set_default(planning, &mut domain, text).await?;
    }
    for check in &definition.checks {
        add_check(planning, &mut domain, check, true)?;
    }
    let id = domain.id;
    let mut changes = vec![Change::CreateDomain(domain)];
    changes.extend(session.ownership(Object::Type(id)));
    Ok(changes)
}

/// A domain that is to be dropped.
pub(super) fn going(planning: &Planning<'_>, name: &ObjectName) -> Result<Going> {
    let domain = find(planning, name)?;
    let is_of = |column: &Column| column.domain == Some(domain.id);
    let change = Change::DropDomain(domain.id);
    Ok(Going::new(planning, domain.id, &domain.name, change, is_of))
}

fn allocate_id(session: &Session) -> u64 {
    session.inner.core.engine.committer.allocate_id()
}

/// Gives a domain a default, which must be of the type below.
async fn set_default(planning: &Planning<'_>, domain: &mut Domain, text: &str) -> Result<()> {
    planning.constant(text)?;
    let value = planning.evaluate(text).await?;
    let value = cast_to(&value.to_array()?, &domain.base, &planning.zone());
    value.map_err(|e| e.error)?;
    domain.default = Some(text.to_string());
    Ok(())
}

/// Adds a check to a domain.
///
/// # Errors
/// 42710 for a name that exists, 42703 for anything but VALUE, 42804 for a condition that is none, 0A000 or 42803 for one
/// that reads more than the value.
fn add_check(
    planning: &Planning<'_>,
    domain: &mut Domain,
    definition: &CheckDefinition,
    is_validated: bool,
) -> Result<()> {
    let row = DFSchema::try_from(row_of(&domain.base))?;
    let (written, _) = condition_over(planning, &definition.condition, &row)?;
    let is_free = |name: &String| domain.checks.iter().all(|check| check.name != *name);
    let base = &domain.name.name;
    let name = match &definition.name {
        Some(name) => fold(name),
        None => first_free(|number| format!("{base}_check{number}"), is_free),
    };
    if !is_free(&name) {
        let message = format!("constraint \"{name}\" for domain \"{base}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    domain.checks.push(DomainCheck {
        id: allocate_id(planning.session),
        name,
        condition: written.to_string(),
        is_validated,
    });
    domain.checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// The domain of that name.
///
/// # Errors
/// 42704 where there is none, 42809 for another type.
pub(super) fn find(planning: &Planning<'_>, name: &ObjectName) -> Result<Arc<Domain>> {
    let names = planning.type_names();
    if let Some(domain) = names.domain_named(name) {
        return Ok(domain);
    }
    if names.named(name).is_some() {
        let message = format!("\"{name}\" is not a domain");
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let message = format!("type \"{name}\" does not exist");
    Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
}
