//! Functions and procedures in SQL: CREATE, ALTER, DROP, and what calls of them mean.
//!
//! A call is *inlined*: the query of the function stands in its place before anything is optimised, with the arguments
//! where its parameters were, so that searches, pruning and prepared statements see through it.
//! 1. [`calls`] finds the calls in a statement by their names and plans the functions that they may mean ([`body`]): each
//!    is a plan with parameters, as a prepared statement has.
//! 2. While DataFusion plans the statement, [`inline`] tells it of each call which function is meant ([`site`], [`resolve`]),
//!    by the types of the arguments.
//! 3. In FROM the function is a table whose plan is the function's; elsewhere a marker stands for the call until the
//!    statement is planned, and [`inline`] then puts the value or the query of the function there.

mod apart;
mod block;
mod body;
mod calls;
mod define;
mod find;
mod grammar;
mod inline;
mod put;
mod resolve;
mod site;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};

pub(super) use self::calls::{Calls, find_calls};
pub(super) use self::define::plan_of;
pub(super) use self::find::{find, signature};
pub(super) use self::grammar::{parse, parse_signature};
pub(super) use self::inline::{inline_calls, plan_call};
pub(super) use self::site::noting_calls;
use super::ddl::check_writable;
use super::dependents::{Dropped, drop_dependents, each_view_once};
use super::notice::Notice;
use super::parser::fold;
use super::session::{Planning, Session, Tag, done};
use crate::error::{ErrorKind, Result};
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::function::{Body, Function, Hints, Mode, Volatility};

/// A function as a statement names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Its name.
    pub name: ObjectName,
    /// The types of its arguments; `None` for the only one of the name.
    pub arguments: Option<Vec<DataType>>,
}

/// Which kinds a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutineKind {
    /// FUNCTION.
    Function,
    /// PROCEDURE.
    Procedure,
    /// ROUTINE: either.
    Any,
}

impl RoutineKind {
    /// The kind that a keyword names.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "FUNCTION" => Self::Function,
            "PROCEDURE" => Self::Procedure,
            "ROUTINE" => Self::Any,
            _ => return None,
        })
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Any => "routine",
        }
    }

    /// Whether there are some of the kind: procedures cannot be made.
    pub fn is_made(self) -> bool {
        self != Self::Procedure
    }
}

/// A parameter as CREATE FUNCTION has it.
#[derive(Debug, Clone)]
pub struct ParameterDefinition {
    /// Which way its values go.
    pub mode: Mode,
    /// Its name.
    pub name: Option<Ident>,
    /// Its type.
    pub data_type: DataType,
    /// DEFAULT, as an expression and as its author wrote it.
    pub default: Option<(Expr, String)>,
}

/// RETURNS.
#[derive(Debug, Clone, Default)]
pub struct ReturnsDefinition {
    /// Whether it is SETOF.
    pub is_set: bool,
    /// The type; `None` where columns say it.
    pub data_type: Option<DataType>,
    /// The columns of TABLE.
    pub is_table: bool,
}

/// CREATE FUNCTION.
#[derive(Debug, Clone)]
pub struct CreateRoutine {
    /// Its name.
    pub name: ObjectName,
    /// Whether it takes the place of one that exists.
    pub or_replace: bool,
    /// Whether it is a procedure.
    pub is_procedure: bool,
    /// Its parameters, those of TABLE among them.
    pub parameters: Vec<ParameterDefinition>,
    /// RETURNS.
    pub returns: Option<ReturnsDefinition>,
    /// What it does.
    pub body: Body,
    /// IMMUTABLE and its like.
    pub volatility: Volatility,
    /// STRICT.
    pub is_strict: bool,
    /// SECURITY DEFINER.
    pub is_definer: bool,
    /// COST and its like.
    pub hints: Hints,
    /// SET search_path.
    pub search_path: Option<Vec<String>>,
}

/// What ALTER FUNCTION changes.
#[derive(Debug, Clone)]
pub enum RoutineChange {
    /// RENAME TO.
    Rename(Ident),
    /// SET SCHEMA.
    SetSchema(Ident),
}

/// A statement about functions or procedures.
#[derive(Debug, Clone)]
pub enum RoutineStatement {
    /// CREATE.
    Create(Box<CreateRoutine>),
    /// ALTER.
    Alter {
        /// Of which kind.
        kind: RoutineKind,
        /// Which.
        signature: Signature,
        /// What changes.
        change: RoutineChange,
    },
    /// DROP.
    Drop {
        /// Of which kind.
        kind: RoutineKind,
        /// Which.
        signatures: Vec<Signature>,
        /// Whether missing ones are fine.
        if_exists: bool,
        /// Whether what calls them goes as well.
        cascade: bool,
    },
}

impl RoutineStatement {
    /// The tag of the statement.
    pub fn tag(&self) -> &'static str {
        use RoutineKind::{Any, Function, Procedure};
        match self {
            Self::Create(create) if create.is_procedure => "CREATE PROCEDURE",
            Self::Create(_) => "CREATE FUNCTION",
            Self::Alter { kind, .. } => match kind {
                Function => "ALTER FUNCTION",
                Procedure => "ALTER PROCEDURE",
                Any => "ALTER ROUTINE",
            },
            Self::Drop { kind, .. } => match kind {
                Function => "DROP FUNCTION",
                Procedure => "DROP PROCEDURE",
                Any => "DROP ROUTINE",
            },
        }
    }
}

/// CREATE, ALTER and DROP FUNCTION.
pub(super) fn plan(session: &Session, statement: RoutineStatement) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = statement.tag();
    let statement = Arc::new(statement);
    done(tag, format!("Routine: {tag}"), move || {
        let (session, statement) = (session.clone(), Arc::clone(&statement));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let planning = Planning::new(&session);
            let changes = match &*statement {
                RoutineStatement::Create(create) => define::create(&planning, create).await?,
                RoutineStatement::Alter {
                    kind,
                    signature,
                    change,
                } => alter(&planning, *kind, signature, change)?,
                RoutineStatement::Drop {
                    kind,
                    signatures,
                    if_exists,
                    cascade,
                } => {
                    let dropped = drop(&planning, *kind, signatures, *if_exists)?;
                    let named = dropped.iter();
                    let named = named.map(|f| Dropped::function(&planning.snapshot, f));
                    let named: Vec<Dropped> = named.collect();
                    let mut changes = drop_dependents(&planning, &named, *cascade).await?;
                    let functions = dropped.iter().map(|f| Change::DropFunction(f.id));
                    changes.extend(functions);
                    each_view_once(&mut changes);
                    changes
                }
            };
            match changes.is_empty() {
                true => Ok(()),
                false => session.commit(&planning.snapshot, changes).await,
            }
        }
    })
}

fn alter(
    planning: &Planning<'_>,
    kind: RoutineKind,
    named: &Signature,
    change: &RoutineChange,
) -> Result<Vec<Change>> {
    let function = find(planning, kind, named)?;
    let session = planning.session;
    let object = Object::Function(function.id);
    session.check_owner(&planning.snapshot, &object, &function.name.name)?;
    let mut next = Function::clone(&function);
    match change {
        RoutineChange::Rename(to) => next.name.name = fold(to),
        RoutineChange::SetSchema(to) => {
            next.name.schema = fold(to);
            check_writable(&next.name.schema)?;
            session.check_creates(&planning.snapshot, &next.name.schema)?;
        }
    }
    define::check_free(planning, &next)?;
    Ok(vec![Change::AlterFunction(Box::new(next))])
}

fn drop(
    planning: &Planning<'_>,
    kind: RoutineKind,
    signatures: &[Signature],
    if_exists: bool,
) -> Result<Vec<Arc<Function>>> {
    let session = planning.session;
    let mut dropped: Vec<Arc<Function>> = Vec::new();
    for named in signatures {
        let function = match find(planning, kind, named) {
            Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
                session.notice(Notice::from(format!("{}, skipping", e.message())));
                continue;
            }
            found => found?,
        };
        let object = Object::Function(function.id);
        let (schema, name) = (&function.name.schema, &function.name.name);
        session.check_drops(&planning.snapshot, &object, schema, name)?;
        if dropped.iter().all(|known| known.id != function.id) {
            dropped.push(function);
        }
    }
    Ok(dropped)
}
