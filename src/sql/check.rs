//! CHECK TABLE: reads every byte of a collection's files against its checksums.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::{FutureExt, StreamExt, TryFutureExt, stream};

use super::command::{CommandNode, Stream};
use super::ddl::{find_collection, qualify};
use super::session::{Planning, Session, Tag};
use crate::error::{Error, Result};
use crate::storage::collection::{Collection, Segment};
use crate::storage::verify::{CheckedFile, check_segment};

/// CHECK TABLE: one row per file, damaged ones too; growing rows are in memory, and their log was checked when it was
/// read. Other sessions go on meanwhile.
pub(super) fn table(planning: &Planning<'_>, name: &ObjectName) -> Result<(Tag, LogicalPlan)> {
    let session = planning.session.clone();
    let name = qualify(name, &session.search_path())?;
    let label = format!("CheckTable: {name}");
    let action = move || {
        let (session, name) = (session.clone(), name.clone());
        let started = async move {
            let snapshot = session.snapshot();
            let collection = Arc::clone(find_collection(&snapshot, &name)?);
            session.check_owns(&snapshot, &collection)?;
            Ok(rows(session, collection))
        };
        started.try_flatten_stream().boxed()
    };
    let plan = CommandNode::plan_stream(label, schema(), Arc::new(action))?;
    Ok((Tag::Rows, plan))
}

/// One batch per segment: a statement that is cancelled ends after the one that is read.
fn rows(session: Session, collection: Arc<Collection>) -> Stream {
    let segments: Vec<Arc<Segment>> = collection.segments().cloned().collect();
    stream::iter(segments)
        .then(move |segment| {
            let (session, collection) = (session.clone(), Arc::clone(&collection));
            let read = tokio::task::spawn_blocking(move || {
                let root = session.inner.core.engine.store.root();
                batch(&segment, &check_segment(root, &collection, &segment))
            });
            read.map(|read| read.map_err(|e| Error::internal(format!("the check ended: {e}")))?)
        })
        .boxed()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("segment_id", DataType::Int64, false),
        Field::new("file", DataType::Utf8, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("state", DataType::Utf8, false),
        Field::new("problem", DataType::Utf8, true),
    ]))
}

fn batch(segment: &Segment, files: &[CheckedFile]) -> Result<RecordBatch> {
    let problem = |file: &CheckedFile| file.problem.as_ref().map(|e| e.message().to_string());
    let state = |file: &CheckedFile| match file.problem {
        Some(_) => "damaged",
        None => "good",
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![segment.id.0 as i64; files.len()])),
        Arc::new(StringArray::from_iter_values(
            files.iter().map(|file| file.path.display().to_string()),
        )),
        Arc::new(Int64Array::from_iter_values(
            files.iter().map(|file| file.bytes as i64),
        )),
        Arc::new(StringArray::from_iter_values(files.iter().map(state))),
        Arc::new(StringArray::from_iter(files.iter().map(problem))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
