//! DECLARE, FETCH, MOVE and CLOSE.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Query;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};

use super::rows::{Rows, Scroll};
use super::store::{Cursor, CursorRow};
use crate::error::Result;
use crate::sql::access::requirements::Requirements;
use crate::sql::command::{CommandNode, QueryAction, Stream, count_schema};
use crate::sql::output_names::OutputNames;
use crate::sql::session::{Planning, Session, Tag, done};

/// DECLARE.
#[derive(Debug, Clone)]
pub struct Declare {
    /// The cursor's name.
    pub name: String,
    /// BINARY.
    pub binary: bool,
    /// SCROLL or NO SCROLL, where one was said.
    pub scroll: Option<bool>,
    /// WITH HOLD.
    pub hold: bool,
    /// The query.
    pub query: Box<Query>,
    /// The statement as its author wrote it.
    pub text: String,
}

/// Where FETCH and MOVE go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// So many rows forward; `None` is all.
    Forward(Option<u64>),
    /// So many rows back; `None` is all.
    Backward(Option<u64>),
    /// The row of that number, from 1; below zero counted from the last.
    Absolute(i64),
    /// The row so many from here.
    Relative(i64),
}

/// FETCH or MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor's name.
    pub name: String,
    /// Where it goes.
    pub target: Target,
    /// Whether the rows are only counted.
    pub only_moves: bool,
}

/// DECLARE. The query runs when rows are fetched, over the version of now.
pub async fn declare(planning: &Planning<'_>, declare: Declare) -> Result<(Tag, LogicalPlan)> {
    let session = planning.session.clone();
    if !declare.hold {
        session.inner.block.lock().check_inside("DECLARE CURSOR")?;
    }
    let plan = planning.query(declare.query.clone()).await?;
    let state = planning.state.clone();
    let label = format!("Declare: {}", declare.name);
    let tag = "DECLARE CURSOR";
    if !has_parameters(&plan)? {
        return done(tag, label, move || {
            let query = DataFrame::new(state.clone(), plan.clone());
            let declared = session.declare(&declare, query);
            async move { declared }
        });
    }
    let schema = Arc::new(Schema::empty());
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    let declare = Arc::new(declare);
    let action: QueryAction = Arc::new(move |plan| {
        let query = DataFrame::new(state.clone(), plan.clone());
        let (session, declare, empty) = (session.clone(), Arc::clone(&declare), empty.clone());
        Arc::new(move || {
            let declared = session.declare(&declare, query.clone());
            let answer = declared.map(|()| empty.clone());
            stream::once(async { answer }).boxed()
        })
    });
    let plan = CommandNode::plan_query(label, &schema, plan, action)?;
    Ok((Tag::Done(tag), plan))
}

/// Whether values are bound to a query later.
fn has_parameters(plan: &LogicalPlan) -> Result<bool> {
    Ok(!plan.get_parameter_names()?.is_empty())
}

/// FETCH and MOVE.
pub fn fetch(session: &Session, fetch: Fetch) -> Result<(Tag, LogicalPlan)> {
    let cursor = session.inner.cursors.get(&fetch.name)?;
    let (session, target) = (session.clone(), fetch.target);
    if fetch.only_moves {
        let schema = count_schema();
        let label = format!("Move: {}", fetch.name);
        let answered = Arc::clone(&schema);
        let action = move || {
            let (session, name) = (session.clone(), fetch.name.clone());
            let schema = Arc::clone(&answered);
            async move {
                let cursor = session.inner.cursors.get(&name)?;
                let rows = walk(cursor, target).try_fold(0, |count, batch| async move {
                    Ok(count + batch.num_rows() as u64)
                });
                let count: ArrayRef = Arc::new(UInt64Array::from(vec![rows.await?]));
                Ok(RecordBatch::try_new(schema, vec![count])?)
            }
            .boxed()
        };
        let plan = CommandNode::plan(label, schema, Arc::new(action))?;
        return Ok((Tag::Count("MOVE"), plan));
    }
    let binary = cursor.shown.is_binary;
    let label = format!("Fetch: {}", fetch.name);
    let rows = move || -> Stream {
        match session.inner.cursors.get(&fetch.name) {
            Ok(cursor) => walk(cursor, target),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    };
    let plan = CommandNode::plan_stream(label, cursor.schema, Arc::new(rows))?;
    Ok((Tag::Fetched { binary }, plan))
}

/// CLOSE; no name is ALL.
pub fn close(session: &Session, name: Option<String>) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = match name {
        Some(_) => "CLOSE CURSOR",
        None => "CLOSE CURSOR ALL",
    };
    done(tag, "Close".to_string(), move || {
        let closed = match &name {
            Some(name) => session.inner.cursors.close(name),
            None => {
                session.inner.cursors.close_all();
                Ok(())
            }
        };
        async move { closed }
    })
}

impl Session {
    fn declare(&self, declare: &Declare, query: DataFrame) -> Result<()> {
        let cursors = &self.inner.cursors;
        cursors.check_new(&declare.name)?;
        Requirements::of(query.logical_plan())?.check(&self.snapshot(), self.user().current())?;
        let scroll = match declare.scroll {
            Some(true) => Scroll::Always,
            Some(false) => Scroll::Never,
            None => Scroll::Cheaply,
        };
        let pool = Arc::clone(&query.task_ctx().runtime_env().memory_pool);
        let memory = MemoryConsumer::new("cursor").register(&pool);
        let schema = Arc::clone(query.schema().inner());
        let names = OutputNames::of_query(&declare.query);
        let shown = CursorRow {
            name: declare.name.clone(),
            statement: declare.text.clone(),
            is_holdable: declare.hold,
            is_binary: declare.binary,
            is_scrollable: scroll.is_scrollable(),
            created: SystemTime::now(),
        };
        let rows = Rows::new(query, scroll, memory);
        let (is_inside, savepoints) = {
            let block = self.inner.block.lock();
            (block.check_inside("").is_ok(), block.savepoints())
        };
        let cursor = Cursor::new(
            shown,
            (schema, names),
            rows,
            is_inside.then_some(savepoints),
        );
        cursors.insert(&declare.name, cursor);
        Ok(())
    }
}

/// A walk over the rows of a cursor that may still go further.
enum Walk {
    Forward(u64),
    Backward(u64),
    /// One row, whichever it is.
    Found(Option<RecordBatch>),
}

/// The rows between the cursor's place and the target; the cursor goes there as they are read.
fn walk(cursor: Cursor, target: Target) -> Stream {
    let start = async move {
        let mut rows = cursor.rows.lock_owned().await;
        let walk = begin(&mut rows, target).await?;
        Ok(stream::try_unfold(
            (rows, walk),
            |(mut rows, walk)| async move {
                let (batch, walk) = match walk {
                    Walk::Forward(0) | Walk::Backward(0) | Walk::Found(None) => return Ok(None),
                    Walk::Forward(most) => {
                        let batch = rows.forward(most).await?;
                        let left = most - batch.as_ref().map_or(most, |b| b.num_rows() as u64);
                        (batch, Walk::Forward(left))
                    }
                    Walk::Backward(most) => {
                        let batch = rows.backward(most)?;
                        let left = most - batch.as_ref().map_or(most, |b| b.num_rows() as u64);
                        (batch, Walk::Backward(left))
                    }
                    Walk::Found(batch) => (batch, Walk::Found(None)),
                };
                Ok(batch.map(|batch| (batch, (rows, walk))))
            },
        ))
    };
    start.try_flatten_stream().boxed()
}

/// Goes to where the walk begins.
async fn begin(rows: &mut Rows, target: Target) -> Result<Walk> {
    let all = u64::MAX;
    Ok(match target {
        Target::Forward(Some(0)) | Target::Backward(Some(0)) | Target::Relative(0) => {
            Walk::Found(rows.again()?)
        }
        Target::Forward(most) => Walk::Forward(most.unwrap_or(all)),
        Target::Backward(most) => Walk::Backward(most.unwrap_or(all)),
        Target::Absolute(row) => absolute(rows, row).await?,
        Target::Relative(more @ 1..) => {
            rows.seek(rows.place().saturating_add(more.unsigned_abs()))
                .await?;
            Walk::Forward(1)
        }
        Target::Relative(less) => {
            let less = less.unsigned_abs();
            match rows.place().checked_sub(less).filter(|row| *row > 0) {
                Some(row) => absolute(rows, i64::try_from(row).unwrap_or(i64::MAX)).await?,
                None => absolute(rows, 0).await?,
            }
        }
    })
}

/// Goes to before a row, counted from the first or from the last.
async fn absolute(rows: &mut Rows, row: i64) -> Result<Walk> {
    let row = match row {
        0.. => row.unsigned_abs(),
        _ => {
            let count = rows.seek_end().await?;
            (count + 1).saturating_sub(row.unsigned_abs())
        }
    };
    if row == 0 {
        if rows.place() > 0 {
            rows.seek(1).await?;
        }
        return Ok(Walk::Found(None));
    }
    rows.seek(row).await?;
    Ok(Walk::Forward(1))
}
