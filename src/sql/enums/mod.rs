//! CREATE, ALTER and DROP TYPE: types that are lists of labels.

mod grammar;
mod rename_value;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

pub(super) use self::grammar::parse;
use super::ddl::check_writable;
use super::domains;
use super::drop_types::{self, Going};
use super::parser::fold;
use super::session::{Planning, Session, Tag, done};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::enum_type::{EnumLabel, EnumType, LABEL_BYTES_MAX};
use crate::storage::schema::{Column, TypeId};
use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// A statement about types.
#[derive(Debug, Clone)]
pub enum TypeStatement {
    /// CREATE TYPE .. AS ENUM.
    Create {
        /// Its name.
        name: ObjectName,
        /// Its values in order.
        labels: Vec<String>,
    },
    /// ALTER TYPE.
    Alter {
        /// Which.
        name: ObjectName,
        /// What changes.
        change: TypeChange,
    },
    /// DROP TYPE.
    Drop {
        /// Which.
        names: Vec<ObjectName>,
        /// Whether missing ones are fine.
        if_exists: bool,
        /// Whether the columns of the type go as well.
        cascade: bool,
    },
}

/// What ALTER TYPE changes.
#[derive(Debug, Clone)]
pub enum TypeChange {
    /// ADD VALUE.
    AddValue {
        /// The value.
        label: String,
        /// Whether an existing one is fine.
        if_not_exists: bool,
        /// Where it goes; at the end without.
        place: Option<Neighbour>,
    },
    /// RENAME VALUE a TO b.
    RenameValue(String, String),
    /// RENAME TO.
    Rename(Ident),
    /// SET SCHEMA.
    SetSchema(Ident),
}

/// BEFORE or AFTER a value.
#[derive(Debug, Clone)]
pub enum Neighbour {
    /// BEFORE.
    Before(String),
    /// AFTER.
    After(String),
}

impl TypeStatement {
    /// The tag of the statement.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE TYPE",
            Self::Alter { .. } => "ALTER TYPE",
            Self::Drop { .. } => "DROP TYPE",
        }
    }
}

/// CREATE, ALTER and DROP TYPE.
pub(super) fn plan(session: &Session, statement: TypeStatement) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = statement.tag();
    let statement = Arc::new(statement);
    done(tag, format!("Type: {tag}"), move || {
        let (session, statement) = (session.clone(), Arc::clone(&statement));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let planning = Planning::new(&session);
            let changes = match &*statement {
                TypeStatement::Create { name, labels } => create(&planning, name, labels)?,
                TypeStatement::Alter { name, change } => {
                    let of = find(&planning, name)?;
                    let object = Object::Type(of.id);
                    session.check_owner(&planning.snapshot, &object, &of.name.name)?;
                    if let TypeChange::RenameValue(from, to) = change {
                        return rename_value::run(&session, &of, from, to).await;
                    }
                    alter(&planning, &of, change)?
                }
                TypeStatement::Drop {
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

/// A type that is to be dropped.
fn going(planning: &Planning<'_>, name: &ObjectName) -> Result<Going> {
    let of = match find(planning, name) {
        // Domains are types too.
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            return domains::going(planning, name).map_err(|_| missing);
        }
        found => found?,
    };
    let is_of = |column: &Column| column.column_type.is_of_enum(of.id);
    let change = Change::DropType(of.id);
    Ok(Going::new(planning, of.id, &of.name, change, is_of))
}

fn create(planning: &Planning<'_>, name: &ObjectName, labels: &[String]) -> Result<Vec<Change>> {
    let session = planning.session;
    let name = session.search_path().qualify_new(name)?;
    check_writable(&name.schema)?;
    if name.schema == TEMPORARY_SCHEMA {
        return Err(Error::unsupported("temporary types are not supported"));
    }
    session.check_creates(&planning.snapshot, &name.schema)?;
    let mut of = EnumType {
        id: TypeId(allocate_id(session)),
        name,
        labels: Vec::with_capacity(labels.len()),
    };
    for label in labels {
        check_label(label)?;
        if of.position(label).is_some() {
            let message =
                "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"";
            return Err(Error::invalid(sqlstate::UNIQUE_VIOLATION, message));
        }
        of.labels.push(new_label(session, label));
    }
    let id = of.id;
    let mut changes = vec![Change::CreateType(of)];
    changes.extend(session.ownership(Object::Type(id)));
    Ok(changes)
}

fn alter(planning: &Planning<'_>, of: &EnumType, change: &TypeChange) -> Result<Vec<Change>> {
    let mut next = of.clone();
    match change {
        TypeChange::AddValue {
            label,
            if_not_exists,
            place,
        } => {
            check_label(label)?;
            if of.position(label).is_some() {
                let message = format!("enum label \"{label}\" already exists");
                if *if_not_exists {
                    planning.session.notice(format!("{message}, skipping"));
                    return Ok(Vec::new());
                }
                return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
            }
            let place = match place {
                None => of.labels.len(),
                Some(Neighbour::Before(other)) => existing(of, other)?,
                Some(Neighbour::After(other)) => existing(of, other)? + 1,
            };
            next.labels
                .insert(place, new_label(planning.session, label));
        }
        TypeChange::Rename(to) => next.name.name = fold(to),
        TypeChange::SetSchema(to) => {
            next.name.schema = fold(to);
            check_writable(&next.name.schema)?;
            let session = planning.session;
            session.check_creates(&planning.snapshot, &next.name.schema)?;
        }
        TypeChange::RenameValue(..) => {
            return Err(Error::internal("a value is renamed with its rows"));
        }
    }
    Ok(vec![Change::AlterType(next)])
}

fn allocate_id(session: &Session) -> u64 {
    session.inner.core.engine.committer.allocate_id()
}

fn new_label(session: &Session, name: &str) -> EnumLabel {
    EnumLabel {
        id: allocate_id(session),
        name: name.to_string(),
    }
}

/// # Errors
/// 42602 for a label that is too long.
fn check_label(label: &str) -> Result<()> {
    if label.len() <= LABEL_BYTES_MAX {
        return Ok(());
    }
    let message = format!("invalid enum label \"{label}\"");
    Err(Error::invalid(sqlstate::INVALID_NAME, message)
        .with_detail(format!("Labels must be {LABEL_BYTES_MAX} bytes or less.")))
}

/// The place of a value that must be there.
fn existing(of: &EnumType, label: &str) -> Result<usize> {
    of.position(label).ok_or_else(|| {
        let message = format!("\"{label}\" is not an existing enum label");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// The type of that name.
///
/// # Errors
/// 42704 where there is none.
pub(super) fn find(planning: &Planning<'_>, name: &ObjectName) -> Result<Arc<EnumType>> {
    planning.type_names().named(name).ok_or_else(|| {
        let message = format!("type \"{name}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
    })
}
