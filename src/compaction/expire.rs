//! Rows that have expired are deleted before their segments are rewritten, as a statement would delete them: what follows
//! from deletes holds for them too.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use roaring::RoaringBitmap;

use super::input::{Input, SealedInput};
use super::jobs::Task;
use super::policy::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::adapt::adapt_batch;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::growing::{GrowingSegment, batch_bytes};
use crate::storage::schema::SegmentId;
use crate::storage::segment::ReadRequest;
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Transaction;
use crate::storage::ttl::Ttl;

/// Deletes what has expired at `now_ms` (milliseconds since 1970 UTC) of the inputs of `work`. Answers the newest version.
///
/// # Errors
/// 40001 when an input is gone, XX001 or 58030 when one cannot be read or the log cannot be written, 57014 when the task is
/// cancelled.
pub(super) async fn delete_expired(
    engine: &Arc<Engine>,
    snapshot: Arc<Snapshot>,
    collection: &Arc<Collection>,
    work: &Work,
    now_ms: i64,
    task: &Task,
) -> Result<Arc<Snapshot>> {
    let Some(expired) = Expired::of(collection, now_ms) else {
        return Ok(snapshot);
    };
    for id in work.inputs() {
        task.check()?;
        let input = Input::find(engine, collection, id)?;
        let (expired, of, task) = (expired.clone(), Arc::clone(collection), task.clone());
        let find = move || expired.rows_of(&of, &input, |bytes| task.moved(bytes));
        let finding = tokio::task::spawn_blocking(find);
        let rows = finding
            .await
            .map_err(|e| Error::internal(format!("expired rows were not found: {e}")))??;
        if rows.is_empty() {
            continue;
        }
        let delete = Change::Delete(collection.id, id, rows);
        let transaction = Transaction::new(snapshot.version(), vec![delete]);
        match engine.committer.commit(transaction).await {
            // Somebody else deletes of them at this moment; the others are left to the next job.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => drop(done?),
        }
    }
    Ok(engine.committer.snapshot())
}

/// The live rows of a collection that have expired at `now_ms`, by segment; `None` where rows do not expire. Reads files.
///
/// # Errors
/// XX001 or 58030 for segments that cannot be read.
pub fn expired_rows(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
    now_ms: i64,
) -> Result<Option<HashMap<SegmentId, RoaringBitmap>>> {
    let Some(expired) = Expired::of(collection, now_ms) else {
        return Ok(None);
    };
    let sealed = collection.segments().map(|segment| segment.id);
    let growing = collection.growing().iter().map(|growing| growing.id);
    let mut found = HashMap::new();
    for id in sealed.chain(growing) {
        let input = Input::find(engine, collection, id)?;
        let rows = expired.rows_of(collection, &input, |_| Ok(()))?;
        if !rows.is_empty() {
            found.insert(id, rows);
        }
    }
    Ok(Some(found))
}

/// What has expired.
#[derive(Clone)]
struct Expired {
    ttl: Ttl,
    now_ms: i64,
    /// The greatest time that has expired.
    last: i64,
}

impl Expired {
    fn of(collection: &Collection, now_ms: i64) -> Option<Self> {
        let ttl = Ttl::of(collection)?;
        Some(Self {
            last: ttl.last_expired(now_ms),
            now_ms,
            ttl,
        })
    }

    /// The live rows of an input that have expired. Reads their times where statistics leave it open, and tells `moved`
    /// of the bytes.
    fn rows_of(
        &self,
        collection: &Arc<Collection>,
        input: &Input,
        moved: impl Fn(u64) -> Result<()>,
    ) -> Result<RoaringBitmap> {
        let rows = match input {
            Input::Growing(growing) => self.in_growing(collection, growing)?,
            Input::Sealed(sealed) => self.in_sealed(collection, sealed, moved)?,
        };
        Ok(rows - input.deletes())
    }

    fn in_sealed(
        &self,
        collection: &Arc<Collection>,
        sealed: &SealedInput,
        moved: impl Fn(u64) -> Result<()>,
    ) -> Result<RoaringBitmap> {
        let segment = &sealed.segment;
        let stats = segment.stats.of_column(&self.ttl.column, segment.rows);
        let part = self.ttl.expired_part(&stats, self.now_ms);
        let mut rows = RoaringBitmap::new();
        if part == 1.0 {
            rows.insert_range(0..segment.rows as u32);
        } else if part > 0.0 {
            let reader = sealed.reader()?;
            let schema = Arc::clone(&collection.schema);
            let request = ReadRequest::all(&reader, schema, vec![self.ttl.column.id]);
            let mut first = 0;
            for batch in reader.read(request)? {
                let batch = batch?;
                moved(batch_bytes(&batch))?;
                first = self.add(batch.column(0), first, &mut rows)?;
            }
        }
        Ok(rows)
    }

    fn in_growing(
        &self,
        collection: &Arc<Collection>,
        growing: &GrowingSegment,
    ) -> Result<RoaringBitmap> {
        let mut rows = RoaringBitmap::new();
        let mut first = 0;
        for batch in growing.batches() {
            let times = adapt_batch(batch, &collection.schema, &[self.ttl.column.id])?;
            first = self.add(times.column(0), first, &mut rows)?;
        }
        Ok(rows)
    }

    /// Adds the places of rows that have expired, the first being `first`; answers the place behind them.
    fn add(&self, times: &ArrayRef, first: u32, rows: &mut RoaringBitmap) -> Result<u32> {
        match times.data_type() {
            DataType::Date32 => {
                let times = times.as_primitive::<Date32Type>();
                self.add_all(times.iter().map(|t| t.map(i64::from)), first, rows);
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = times.as_primitive::<TimestampMicrosecondType>();
                self.add_all(times.iter(), first, rows);
            }
            other => return Err(Error::internal(format!("rows cannot expire by {other}"))),
        }
        Ok(first + times.len() as u32)
    }

    fn add_all(
        &self,
        times: impl Iterator<Item = Option<i64>>,
        first: u32,
        rows: &mut RoaringBitmap,
    ) {
        let expired = |time: &Option<i64>| time.is_some_and(|time| time <= self.last);
        let places = (first..).zip(times).filter(|(_, time)| expired(time));
        rows.extend(places.map(|(place, _)| place));
    }
}
