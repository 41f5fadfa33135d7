//! Builds the bloom filters that indexes want of segments which were written without them.
//!
//! One segment at a time, each with a commit of its own: what is done stays done, whatever happens next. A segment
//! that a compaction replaces meanwhile needs none any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::collection::{Collection, Segment};
use crate::storage::engine::Engine;
use crate::storage::filter_file;
use crate::storage::index::SegmentFilter;
use crate::storage::schema::{CollectionId, FieldId, FilterId};
use crate::storage::transaction::Transaction;

/// How long nothing is built by itself after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Builds missing filters, those of one segment at a time.
#[derive(Debug, Default)]
pub(super) struct FilterBuilder {
    turn: tokio::sync::Mutex<()>,
    closing: AtomicBool,
    failed: Mutex<Option<Instant>>,
}

/// A segment, and the indexed columns of which it has no filters.
type Missing = (Arc<Segment>, Vec<FieldId>);

fn next_missing(collection: &Collection) -> Option<Missing> {
    let wanted = collection.filter_fields();
    if wanted.is_empty() {
        return None;
    }
    collection.segments().find_map(|segment| {
        let fields = wanted.iter().filter(|f| segment.filter(**f).is_none());
        let fields: Vec<FieldId> = fields.copied().collect();
        (!fields.is_empty()).then(|| (Arc::clone(segment), fields))
    })
}

impl FilterBuilder {
    /// Builds until the collection lacks none.
    ///
    /// # Errors
    /// XX001 for a damaged segment, 58030 or 53100 for what the disk says, 57014 when the database is closed.
    pub async fn build(&self, engine: &Arc<Engine>, id: CollectionId) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            let snapshot = engine.committer.snapshot();
            let collection = snapshot.collection_by_id(id);
            let Some((collection, missing)) = collection.and_then(|c| Some((c, next_missing(c)?)))
            else {
                return Ok(());
            };
            if self.closing.load(Ordering::Relaxed) {
                let message = "the database is being closed";
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    sqlstate::QUERY_CANCELED,
                    message,
                ));
            }
            build_one(engine, collection, missing).await?;
        }
    }

    /// Starts on what is missing anywhere, unless it is being built already.
    pub fn start_due(self: &Arc<Self>, engine: &Arc<Engine>, handle: &tokio::runtime::Handle) {
        let rests = |at: Instant| at.elapsed() < RETRY_AFTER;
        if self.turn.try_lock().is_err() || self.failed.lock().is_some_and(rests) {
            return;
        }
        let snapshot = engine.committer.snapshot();
        let due = snapshot.collections().find(|c| next_missing(c).is_some());
        let Some(id) = due.map(|c| c.id) else {
            return;
        };
        let (builder, engine) = (Arc::clone(self), Arc::clone(engine));
        handle.spawn(async move {
            let built = builder.build(&engine, id).await;
            *builder.failed.lock() = built.is_err().then(Instant::now);
            if let Err(error) = built {
                tracing::warn!(%error, collection = id.0, "bloom filters could not be built");
            }
        });
    }

    /// Builds no more.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

async fn build_one(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
    (segment, fields): Missing,
) -> Result<()> {
    let files = Files {
        engine: Arc::clone(engine),
        collection: collection.id,
        filters: Vec::new(),
    };
    let (read, collection) = (engine.committer.snapshot(), Arc::clone(collection));
    let id = segment.id;
    let writing = tokio::task::spawn_blocking(move || files.write(&collection, &segment, &fields));
    let files = writing
        .await
        .map_err(|e| Error::internal(format!("the writer of bloom filters ended early: {e}")))??;
    let change = Change::AddFilters(files.collection, id, files.filters.clone());
    let transaction = Transaction::new(read.version(), vec![change]);
    match engine.committer.commit(transaction).await {
        Ok(_) => {
            files.keep();
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            // The commit may be in the log nevertheless; what nothing names goes when the database is opened.
            files.keep();
            Err(error)
        }
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

/// Filters that no commit names yet. Their files are removed when they are dropped without having been kept.
struct Files {
    engine: Arc<Engine>,
    collection: CollectionId,
    filters: Vec<SegmentFilter>,
}

impl Files {
    fn write(
        mut self,
        collection: &Collection,
        segment: &Segment,
        fields: &[FieldId],
    ) -> Result<Self> {
        let engine = Arc::clone(&self.engine);
        let reader = engine.open_segment(collection, segment)?;
        for field in fields {
            let id = FilterId(engine.committer.allocate_id());
            let schema = &collection.schema;
            let filter =
                filter_file::write(&engine.store, collection.id, id, &reader, schema, *field)?;
            self.filters.push(filter);
        }
        Ok(self)
    }

    fn keep(mut self) {
        self.filters.clear();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in self.filters.iter().filter_map(|f| f.file()) {
            if let Err(error) = self.engine.store.remove_filter(self.collection, file) {
                tracing::warn!(%error, file = file.0, "a file of bloom filters stays");
            }
        }
    }
}
