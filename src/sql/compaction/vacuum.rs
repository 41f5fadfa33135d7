//! VACUUM: deletes the files that no version within reach has.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use super::has_no_segments;
use crate::error::{Error, Result};
use crate::settings::{ByteSize, duration_text};
use crate::sql::command::CommandNode;
use crate::sql::ddl::{find_maintained, qualify};
use crate::sql::session::{Session, Tag, done};
use crate::sql::statement::Vacuum;
use crate::storage::access::Object;
use crate::storage::schema::CollectionId;
use crate::storage::vacuum::{VacuumOptions, Vacuumed};

/// The plan of VACUUM. It tells by a notice what it deleted; a dry run answers it as a row.
pub(in crate::sql) fn vacuum(session: &Session, vacuum: Vacuum) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    if vacuum.dry_run {
        return dry_run(session, vacuum);
    }
    done("VACUUM", "Vacuum".to_string(), move || {
        let (session, vacuum) = (session.clone(), vacuum.clone());
        async move {
            let done = run(&session, &vacuum).await?;
            session.notice(told(&done, vacuum.retain));
            Ok(())
        }
    })
}

fn dry_run(session: Session, vacuum: Vacuum) -> Result<(Tag, LogicalPlan)> {
    let number = |name| Field::new(name, DataType::Int64, false);
    let fields = ["segments", "filters", "bytes"].map(number);
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let answer = SchemaRef::clone(&schema);
    let action = move || {
        let (session, vacuum) = (session.clone(), vacuum.clone());
        let schema = SchemaRef::clone(&answer);
        async move {
            let done = run(&session, &vacuum).await?;
            let counts = [
                done.segments.len() as i64,
                done.filters.len() as i64,
                done.bytes as i64,
            ];
            let column = |count| Arc::new(Int64Array::from(vec![count])) as ArrayRef;
            Ok(RecordBatch::try_new(schema, counts.map(column).to_vec())?)
        }
        .boxed()
    };
    Ok((
        Tag::Rows,
        CommandNode::plan("Vacuum: dry run", schema, Arc::new(action))?,
    ))
}

async fn run(session: &Session, vacuum: &Vacuum) -> Result<Vacuumed> {
    let options = VacuumOptions {
        collections: collections(session, vacuum)?,
        retention: vacuum.retain,
        dry_run: vacuum.dry_run,
    };
    let engine = Arc::clone(&session.inner.core.engine);
    let vacuum = tokio::task::spawn_blocking(move || engine.vacuum(&options));
    let ended = vacuum.await;
    ended.map_err(|e| Error::internal(format!("the vacuum ended: {e}")))?
}

/// The collections that are named. To clean all, or to shorten the history of all, is for the owner of the database.
fn collections(session: &Session, vacuum: &Vacuum) -> Result<Option<Vec<CollectionId>>> {
    let snapshot = session.newest();
    if vacuum.names.is_empty() || vacuum.retain.is_some() {
        session.check_owner(&snapshot, &Object::Database, &session.identity().database)?;
    }
    if vacuum.names.is_empty() {
        return Ok(None);
    }
    let path = session.search_path();
    let id = |name| {
        let found = qualify(name, &path)?;
        match find_maintained(&snapshot, &found) {
            Ok(collection) => {
                session.check_owns(&snapshot, collection)?;
                Ok(Some(collection.id))
            }
            // There is nothing to delete, as scripts for PostgreSQL may expect.
            Err(_) if has_no_segments(session, name, &found).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let ids = vacuum.names.iter().filter_map(|name| id(name).transpose());
    ids.collect::<Result<Vec<CollectionId>>>().map(Some)
}

fn told(done: &Vacuumed, retain: Option<Duration>) -> String {
    let forgot = match retain {
        Some(retain) => format!(", versions older than {} forgotten", duration_text(retain)),
        None => String::new(),
    };
    format!(
        "{} segments and {} filters deleted, {} freed{forgot}",
        done.segments.len(),
        done.filters.len(),
        ByteSize(done.bytes)
    )
}
