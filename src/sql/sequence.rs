//! CREATE, ALTER and DROP SEQUENCE, and the sequences of SERIAL and identity columns.

mod column;
mod grammar;
mod options;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

pub(super) use self::column::{ColumnSequence, column_changes, generator_ast, restarts};
pub(super) use self::grammar::{
    create as parse_create, generated, parse, sequence_options, serial,
};
pub(super) use self::options::SequenceOptions;
use super::ddl::{check_writable, find_collection, qualify};
use super::dml::no_column;
use super::parser::{fold, name_parts};
use super::session::{Session, Tag, done};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::schema::SequenceId;
use crate::storage::sequence::{Generates, Owner, Sequence};
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};

/// A statement about sequences.
#[derive(Debug, Clone)]
pub enum SequenceStatement {
    /// CREATE SEQUENCE.
    Create {
        /// Its name.
        name: ObjectName,
        /// Whether it is the session's own.
        temporary: bool,
        /// Whether an existing one is fine.
        if_not_exists: bool,
        /// Its options.
        options: SequenceOptions,
    },
    /// ALTER SEQUENCE.
    Alter {
        /// Which.
        name: ObjectName,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// What changes.
        change: SequenceChange,
    },
    /// DROP SEQUENCE.
    Drop {
        /// Which.
        names: Vec<ObjectName>,
        /// Whether missing ones are fine.
        if_exists: bool,
        /// Whether the default of a column that needs it goes as well.
        cascade: bool,
    },
}

/// What ALTER SEQUENCE changes.
#[derive(Debug, Clone)]
pub enum SequenceChange {
    /// Its options.
    Options(SequenceOptions),
    /// RENAME TO.
    Rename(Ident),
    /// SET SCHEMA.
    SetSchema(Ident),
}

impl SequenceStatement {
    /// The tag of the statement.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE SEQUENCE",
            Self::Alter { .. } => "ALTER SEQUENCE",
            Self::Drop { .. } => "DROP SEQUENCE",
        }
    }
}

/// CREATE, ALTER and DROP SEQUENCE.
pub(super) fn plan(session: &Session, statement: SequenceStatement) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = statement.tag();
    let statement = Arc::new(statement);
    done(tag, format!("Sequence: {tag}"), move || {
        let (session, statement) = (session.clone(), Arc::clone(&statement));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let snapshot = session.snapshot();
            let changes = match &*statement {
                SequenceStatement::Create {
                    name,
                    temporary,
                    if_not_exists,
                    options,
                } => {
                    let name = new_name(&session, name, *temporary)?;
                    create(&session, name, *if_not_exists, options)?
                }
                SequenceStatement::Alter {
                    name,
                    if_exists,
                    change,
                } => alter(&session, &snapshot, name, *if_exists, change)?,
                SequenceStatement::Drop {
                    names,
                    if_exists,
                    cascade,
                } => drop(&session, &snapshot, names, *if_exists, *cascade)?,
            };
            match changes.is_empty() {
                true => Ok(()),
                false => session.commit(&snapshot, changes).await,
            }
        }
    })
}

/// What a new sequence is called; the session gets its schema of temporary relations when it is one.
fn new_name(session: &Session, name: &ObjectName, temporary: bool) -> Result<QualifiedName> {
    let path = session.search_path();
    let name = match temporary {
        true => path.qualify_temporary(name)?,
        false => path.qualify_new(name)?,
    };
    check_writable(&name.schema)?;
    if name.schema == TEMPORARY_SCHEMA {
        session.begin_temporary()?;
    }
    Ok(name)
}

fn create(
    session: &Session,
    name: QualifiedName,
    if_not_exists: bool,
    options: &SequenceOptions,
) -> Result<Vec<Change>> {
    let snapshot = &session.snapshot();
    let is_taken = snapshot.sequence_named(&name).is_some()
        || snapshot.collection(&name).is_some()
        || snapshot.view(&name).is_some();
    if if_not_exists && is_taken {
        session.notice(format!("relation \"{name}\" already exists, skipping"));
        return Ok(Vec::new());
    }
    session.check_creates(snapshot, &name.schema)?;
    let id = SequenceId(session.inner.core.engine.committer.allocate_id());
    let mut sequence = options.create(id, name)?;
    if let Some(owned_by) = &options.owned_by {
        sequence.owner = owner(session, snapshot, &sequence, owned_by.as_ref())?;
    }
    let mut changes = vec![Change::CreateSequence(sequence)];
    changes.extend(session.ownership(Object::Sequence(id)));
    Ok(changes)
}

fn alter(
    session: &Session,
    snapshot: &Snapshot,
    name: &ObjectName,
    if_exists: bool,
    change: &SequenceChange,
) -> Result<Vec<Change>> {
    let sequence = match find(session, snapshot, name) {
        Ok(sequence) => sequence,
        Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
            session.notice(format!("{}, skipping", e.message()));
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    session.check_owner(
        snapshot,
        &Object::Sequence(sequence.id),
        &sequence.name.name,
    )?;
    let mut next = Sequence::clone(sequence);
    match change {
        SequenceChange::Rename(to) => next.name.name = fold(to),
        SequenceChange::SetSchema(to) => {
            if sequence.owner.is_some() {
                let message = "cannot move an owned sequence into another schema";
                return Err(Error::unsupported(message));
            }
            next.name.schema = fold(to);
            check_writable(&next.name.schema)?;
            session.check_creates(snapshot, &next.name.schema)?;
        }
        SequenceChange::Options(options) => {
            let generation = session.inner.core.engine.committer.allocate_id();
            let given = session.inner.core.engine.sequences.given(sequence);
            next = options.alter(&next, given, generation)?;
            if let Some(owned_by) = &options.owned_by {
                next.owner = owner(session, snapshot, &next, owned_by.as_ref())?;
            }
        }
    }
    Ok(vec![Change::AlterSequence(next)])
}

fn drop(
    session: &Session,
    snapshot: &Snapshot,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for name in names {
        let sequence = match find(session, snapshot, name) {
            Ok(sequence) => sequence,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let message = format!("sequence \"{name}\" does not exist");
                if !if_exists {
                    return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
                }
                session.notice(format!("{message}, skipping"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let QualifiedName { schema, name } = &sequence.name;
        let object = Object::Sequence(sequence.id);
        session.check_drops(snapshot, &object, schema, name)?;
        check_needless(snapshot, sequence, cascade)?;
        changes.push(Change::DropSequence(sequence.id));
    }
    Ok(changes)
}

/// That no column gets its values from the sequence, or may lose its default.
fn check_needless(snapshot: &Snapshot, sequence: &Sequence, cascade: bool) -> Result<()> {
    let Some((owner, generates)) = sequence.owner.and_then(|o| Some((o, o.generates?))) else {
        return Ok(());
    };
    let name = &sequence.name.name;
    if generates == Generates::Default {
        if cascade {
            return Ok(());
        }
        let message = format!("cannot drop sequence {name} because other objects depend on it");
        let error = Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message);
        return Err(error.with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let collection = snapshot.collection_by_id(owner.collection);
    let column = collection.and_then(|c| Some((c, c.schema.column_by_id(owner.field)?)));
    let Some((collection, column)) = column else {
        return Ok(());
    };
    let message = format!(
        "cannot drop sequence {name} because column {} of table {} requires it",
        column.name, collection.name
    );
    let error = Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message);
    Err(error.with_hint("ALTER TABLE .. ALTER COLUMN .. DROP IDENTITY drops it."))
}

/// The sequence of that name.
///
/// # Errors
/// 42P01 where there is none, 42809 for another relation.
pub(super) fn find<'a>(
    session: &Session,
    snapshot: &'a Snapshot,
    name: &ObjectName,
) -> Result<&'a Arc<Sequence>> {
    let name = qualify(name, &session.search_path())?;
    if let Some(sequence) = snapshot.sequence_named(&name) {
        return Ok(sequence);
    }
    if snapshot.collection(&name).is_some() || snapshot.view(&name).is_some() {
        let message = format!("\"{name}\" is not a sequence");
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let message = format!("relation \"{name}\" does not exist");
    Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message))
}

/// The column that OWNED BY names; `None` is NONE.
fn owner(
    session: &Session,
    snapshot: &Snapshot,
    sequence: &Sequence,
    column: Option<&ObjectName>,
) -> Result<Option<Owner>> {
    if sequence
        .owner
        .and_then(|o| o.generates)
        .is_some_and(|g| g != Generates::Default)
    {
        let message = "cannot change ownership of identity sequence";
        return Err(Error::unsupported(message));
    }
    let Some(column) = column else {
        return Ok(None);
    };
    let mut table = column.clone();
    let last = table.0.pop();
    if last.is_none() || table.0.is_empty() {
        let message = "invalid OWNED BY option";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
    }
    let name = name_parts(column)?.pop().unwrap_or_default();
    let collection = find_collection(snapshot, &qualify(&table, &session.search_path())?)?;
    session.check_owns(snapshot, collection)?;
    let found = collection.schema.column(&name);
    let found = found.ok_or_else(|| no_column(&name, &collection.name))?;
    if collection.name.schema != sequence.name.schema {
        let message = "sequence must be in same schema as table it is linked to";
        return Err(Error::invalid(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
        ));
    }
    let generates = sequence
        .owner
        .filter(|o| (o.collection, o.field) == (collection.id, found.id))
        .and_then(|o| o.generates);
    Ok(Some(Owner {
        collection: collection.id,
        field: found.id,
        generates,
    }))
}
