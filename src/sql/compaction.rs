//! COMPACT and the statements about compaction jobs.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::FutureExt;

use super::command::CommandNode;
use super::ddl::{find_collection, is_reserved, qualify};
use super::session::{Planning, Session, Tag, done};
use super::statement::Compact;
use crate::catalog::pg::system_relation;
use crate::catalog::system::compaction_rows;
use crate::compaction::policy::Request;
use crate::compaction::scheduler::disables_itself;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::{JobKind, JobRecord, JobState, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::JobId;
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};

mod explain;
mod functions;
mod request;
mod vacuum;

pub(super) use explain::explain;
pub(super) use functions::functions;
pub(super) use vacuum::vacuum;

/// COMPACT: starts jobs, and answers with their ids at once or with their states when they have ended.
pub(super) fn compact(planning: &Planning<'_>, compact: Compact) -> Result<(Tag, LogicalPlan)> {
    let request = request::request(planning, &compact)?;
    let schema = match compact.wait {
        true => state_schema()?,
        false => id_schema(compact.name.is_none()),
    };
    let label = label(&compact);
    let (session, answer) = (planning.session.clone(), Arc::clone(&schema));
    let action = move || {
        let (session, compact) = (session.clone(), compact.clone());
        let (request, schema) = (request.clone(), Arc::clone(&answer));
        async move {
            let jobs = submit(&session, &compact, &request).await?;
            if !compact.wait {
                return id_rows(&jobs, schema);
            }
            let scheduler = &session.inner.core.scheduler;
            let mut ended = Vec::with_capacity(jobs.len());
            for (id, _) in jobs {
                ended.push(scheduler.wait(id, None).await?);
            }
            ended.iter().try_for_each(check_ended)?;
            state_rows(&session, &ended)
        }
        .boxed()
    };
    Ok((
        Tag::Rows,
        CommandNode::plan(label, schema, Arc::new(action))?,
    ))
}

fn label(compact: &Compact) -> String {
    let name = compact.name.as_ref().map(ToString::to_string);
    let name = name.as_deref().unwrap_or("all collections");
    let clustering = match compact.clustering {
        true => ", clustering",
        false => "",
    };
    format!("Compact: {name}{clustering}")
}

/// Starts a job for each collection that is meant; their ids and the names of the collections.
async fn submit(
    session: &Session,
    compact: &Compact,
    request: &Request,
) -> Result<Vec<(JobId, String)>> {
    let snapshot = session.newest();
    let scheduler = &session.inner.core.scheduler;
    let mut jobs = Vec::new();
    for collection in targets(session, &snapshot, compact, request.kind)? {
        let options = request.options.clone();
        match scheduler.submit(collection.id, request.kind, options).await {
            Ok(id) => {
                if let Some(other) = scheduler.waits_for(id) {
                    let name = &collection.name;
                    let text =
                        format!("compaction {id} of \"{name}\" waits for compaction {other}");
                    session.notice(text);
                }
                jobs.push((id, collection.name.to_string()));
            }
            // One of many that was dropped meanwhile is none of them.
            Err(error) if compact.name.is_none() && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(jobs)
}

/// The collections that are meant: the one with the name, or all that the user owns and that can be compacted so.
fn targets<'a>(
    session: &Session,
    snapshot: &'a Snapshot,
    compact: &Compact,
    kind: JobKind,
) -> Result<Vec<&'a Collection>> {
    if let Some(name) = &compact.name {
        let collection = find(session, snapshot, name)?;
        session.check_owns(snapshot, collection)?;
        return Ok(vec![collection]);
    }
    let all = snapshot.collections().map(|c| &**c);
    let settings = &session.inner.core.engine.settings;
    let is_meant = |c: &&Collection| {
        let keyless = compact.clustering && c.schema.clustering_key.is_empty();
        !keyless && !disables_itself(kind, c, settings) && session.check_owns(snapshot, c).is_ok()
    };
    Ok(all.filter(is_meant).collect())
}

/// The collection of that name, which has segments: not one of the system, and not one of a session alone.
fn find<'a>(
    session: &Session,
    snapshot: &'a Snapshot,
    name: &ObjectName,
) -> Result<&'a Arc<Collection>> {
    let found = qualify(name, &session.search_path())?;
    let collection = find_collection(snapshot, &found);
    collection.map_err(|error| has_no_segments(session, name, &found).unwrap_or(error))
}

/// The error for a relation, called `name`, that is temporary or the system's: it has no segments.
fn has_no_segments(session: &Session, name: &ObjectName, found: &QualifiedName) -> Option<Error> {
    if found.schema == TEMPORARY_SCHEMA && session.snapshot().collection(found).is_some() {
        let message = format!("temporary table \"{found}\" has no segments");
        return Some(Error::unsupported(message));
    }
    let of_catalog = name.0.len() == 1 && system_relation(&found.name).is_some();
    if !of_catalog && !is_reserved(&found.schema) {
        return None;
    }
    let message = format!("\"{name}\" is a system relation, not a collection");
    Some(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message))
}

fn id_schema(named: bool) -> SchemaRef {
    let mut fields = vec![Field::new("compaction_id", DataType::Int64, false)];
    if named {
        fields.push(Field::new("collection", DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

fn id_rows(jobs: &[(JobId, String)], schema: SchemaRef) -> Result<RecordBatch> {
    let ids = jobs.iter().map(|(id, _)| id.0 as i64);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(jobs.iter().map(|(_, n)| n)));
    let mut columns = vec![ids, names];
    columns.truncate(schema.fields().len());
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The columns of `shelfmark.compactions`.
fn state_schema() -> Result<SchemaRef> {
    Ok(compaction_rows(std::iter::empty(), None)?.schema())
}

/// The jobs as `shelfmark.compactions` has them.
fn state_rows(session: &Session, jobs: &[JobRecord]) -> Result<RecordBatch> {
    let scheduler = &session.inner.core.scheduler;
    Ok(compaction_rows(jobs.iter(), Some(scheduler))?)
}

/// That a job that was waited for has not failed.
///
/// A failure is never reported as success: it is an error, and so is a cancellation.
fn check_ended(job: &JobRecord) -> Result<()> {
    match job.state {
        JobState::Failed => {
            let message = format!("compaction {} failed: {}", job.id, job.reason);
            let (kind, code) = failure(job.sqlstate.as_deref().unwrap_or_default());
            Err(Error::new(kind, code, message))
        }
        JobState::Cancelled => {
            let message = format!("compaction {} was cancelled", job.id);
            Err(Error::new(
                ErrorKind::Cancelled,
                sqlstate::QUERY_CANCELED,
                message,
            ))
        }
        _ => Ok(()),
    }
}

/// What a caller does about a failure with that SQLSTATE: that of the failure itself where a job can have it.
fn failure(code: &str) -> (ErrorKind, &'static str) {
    let known = [
        (ErrorKind::LimitExceeded, sqlstate::DISK_FULL),
        (ErrorKind::LimitExceeded, sqlstate::OUT_OF_MEMORY),
        (ErrorKind::LimitExceeded, sqlstate::INSUFFICIENT_RESOURCES),
        (ErrorKind::LimitExceeded, sqlstate::QUERY_CANCELED),
        (ErrorKind::Conflict, sqlstate::SERIALIZATION_FAILURE),
        (ErrorKind::Unavailable, sqlstate::IO_ERROR),
        (ErrorKind::Unavailable, sqlstate::ADMIN_SHUTDOWN),
        (ErrorKind::Corrupted, sqlstate::DATA_CORRUPTED),
    ];
    let found = known.into_iter().find(|(_, known)| *known == code);
    found.unwrap_or((ErrorKind::Internal, sqlstate::INTERNAL_ERROR))
}

fn unknown_job(id: JobId) -> Error {
    Error::not_found(
        sqlstate::UNDEFINED_OBJECT,
        format!("compaction {id} does not exist"),
    )
    .with_hint("SHOW COMPACTIONS lists those that do.")
}

/// SHOW COMPACTION STATE n.
pub(super) fn show(session: &Session, id: JobId) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let action = move || {
        let session = session.clone();
        async move {
            let snapshot = session.newest();
            let job = snapshot.job(id).ok_or_else(|| unknown_job(id))?;
            state_rows(&session, std::slice::from_ref(&**job))
        }
        .boxed()
    };
    let label = format!("ShowCompaction: {id}");
    Ok((
        Tag::Rows,
        CommandNode::plan(label, state_schema()?, Arc::new(action))?,
    ))
}

/// SHOW COMPACTIONS: the system table, newest first.
pub(super) async fn list(
    planning: &Planning<'_>,
    name: Option<ObjectName>,
) -> Result<(Tag, LogicalPlan)> {
    let filter = match name {
        Some(name) => {
            let name = qualify(&name, &planning.session.search_path())?;
            let collection = find_collection(&planning.snapshot, &name)?;
            format!(" WHERE collection_id = {}", collection.id)
        }
        None => String::new(),
    };
    let text = format!("SELECT * FROM shelfmark.compactions{filter} ORDER BY compaction_id DESC");
    let super::statement::Statement::DataFusion(statement) = super::parser::parse(&text)? else {
        return Err(Error::internal("SELECT is no query"));
    };
    Ok((
        Tag::Rows,
        planning.state.statement_to_plan(*statement).await?,
    ))
}

/// WAIT FOR COMPACTION n.
pub(super) fn wait(
    session: &Session,
    id: JobId,
    timeout: Option<Duration>,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let action = move || {
        let session = session.clone();
        async move {
            if session.newest().job(id).is_none() {
                return Err(unknown_job(id));
            }
            let job = session.inner.core.scheduler.wait(id, timeout).await?;
            check_ended(&job)?;
            state_rows(&session, &[job])
        }
        .boxed()
    };
    let label = format!("WaitForCompaction: {id}");
    Ok((
        Tag::Rows,
        CommandNode::plan(label, state_schema()?, Arc::new(action))?,
    ))
}

/// CANCEL COMPACTION n.
pub(super) fn cancel(session: &Session, id: JobId) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    done(
        "CANCEL COMPACTION",
        format!("CancelCompaction: {id}"),
        move || {
            let session = session.clone();
            async move {
                let snapshot = session.newest();
                let job = snapshot.job(id).ok_or_else(|| unknown_job(id))?;
                if let Some(collection) = snapshot.collection_by_id(job.collection) {
                    session.check_owns(&snapshot, collection)?;
                }
                session.inner.core.scheduler.cancel(id)
            }
        },
    )
}
