//! COMPACT and the statements about compaction jobs.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::FutureExt;

use super::command::CommandNode;
use super::ddl::{find_collection, qualify};
use super::session::{Planning, Session, Tag, done};
use super::statement::Compact;
use crate::compaction::policy::JobOptions;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{JobKind, JobRecord, JobState};
use crate::storage::schema::JobId;

mod vacuum;

pub(super) use vacuum::vacuum;

/// COMPACT: starts a job, and answers with its id at once or with its state when it has ended.
pub(super) fn compact(session: &Session, compact: &Compact) -> Result<(Tag, LogicalPlan)> {
    let name = qualify(&compact.name, &session.search_path())?;
    let kind = if compact.clustering {
        JobKind::Cluster
    } else {
        JobKind::Merge
    };
    let options = JobOptions {
        full: compact.full,
        ..JobOptions::default()
    };
    let waits = compact.wait;
    let schema = if waits { state_schema() } else { id_schema() };
    let (session, answer) = (session.clone(), Arc::clone(&schema));
    let label = format!(
        "Compact: {name}{}",
        if compact.clustering {
            ", clustering"
        } else {
            ""
        }
    );
    let action = move || {
        let (session, name, schema) = (session.clone(), name.clone(), Arc::clone(&answer));
        let options = options.clone();
        async move {
            let snapshot = session.newest();
            let collection = find_collection(&snapshot, &name)?;
            session.check_owns(&snapshot, collection)?;
            let scheduler = &session.inner.core.scheduler;
            let id = scheduler.submit(collection.id, kind, options).await?;
            if waits {
                return ended(scheduler.wait(id, None).await?);
            }
            let ids: ArrayRef = Arc::new(Int64Array::from(vec![id.0 as i64]));
            Ok(RecordBatch::try_new(schema, vec![ids])?)
        }
        .boxed()
    };
    Ok((
        Tag::Rows,
        CommandNode::plan(label, schema, Arc::new(action))?,
    ))
}

fn id_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "compaction_id",
        DataType::Int64,
        false,
    )]))
}

fn state_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let number = |name| Field::new(name, DataType::Int64, false);
    let real = |name| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        number("compaction_id"),
        text("collection"),
        text("kind"),
        text("state"),
        number("segments_in"),
        number("segments_out"),
        number("rows_in"),
        number("rows_out"),
        number("bytes_in"),
        number("bytes_out"),
        real("depth_before"),
        real("depth_after"),
        text("reason"),
    ]))
}

fn state_row(job: &JobRecord) -> Result<RecordBatch> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_string()])) as ArrayRef;
    let number = |value: u64| Arc::new(Int64Array::from(vec![value as i64])) as ArrayRef;
    let real = |value: Option<f64>| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let columns = vec![
        number(job.id.0),
        text(&job.collection_name),
        text(job.kind.as_str()),
        text(job.state.as_str()),
        number(job.segments_in),
        number(job.segments_out),
        number(job.rows_in),
        number(job.rows_out),
        number(job.bytes_in),
        number(job.bytes_out),
        real(job.depth_before),
        real(job.depth_after),
        text(&job.reason),
    ];
    Ok(RecordBatch::try_new(state_schema(), columns)?)
}

/// The row of a job that was waited for.
///
/// A failure is never reported as success: it is an error, and so is a cancellation.
fn ended(job: JobRecord) -> Result<RecordBatch> {
    match job.state {
        JobState::Failed => {
            let message = format!("compaction {} failed: {}", job.id, job.reason);
            Err(Error::internal(message))
        }
        JobState::Cancelled => {
            let message = format!("compaction {} was cancelled", job.id);
            Err(Error::new(
                crate::error::ErrorKind::Cancelled,
                sqlstate::QUERY_CANCELED,
                message,
            ))
        }
        _ => state_row(&job),
    }
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
            state_row(snapshot.job(id).ok_or_else(|| unknown_job(id))?)
        }
        .boxed()
    };
    let label = format!("ShowCompaction: {id}");
    Ok((
        Tag::Rows,
        CommandNode::plan(label, state_schema(), Arc::new(action))?,
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
            ended(session.inner.core.scheduler.wait(id, timeout).await?)
        }
        .boxed()
    };
    let label = format!("WaitForCompaction: {id}");
    Ok((
        Tag::Rows,
        CommandNode::plan(label, state_schema(), Arc::new(action))?,
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
