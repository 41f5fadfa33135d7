//! The storage of one database as the layers above hold it.

use std::path::Path;
use std::sync::Arc;

use super::collection::{Collection, Segment};
use super::committer::{Committer, CommitterOptions};
use super::disk::Files;
use super::filter_file::FilterCache;
use super::key_index::KeyIndexes;
use super::schema::SegmentId;
use super::segment::{ColumnCache, SegmentCache, SegmentReader};
use super::sequence::Leases;
use super::store::Store;
use super::turns::Turns;
use super::vacuum::{VacuumOptions, Vacuumed};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// The most segments that are kept open: well below the usual limit of 1,024 file descriptors.
const SEGMENTS_OPEN_MAX: usize = 512;
/// The most memory that their footers and page indexes may take; those of a segment of many columns take some MiB.
const SEGMENT_METADATA_BYTES_MAX: usize = 256 << 20;
/// The most memory that the hashes of primary keys may take: 12 bytes a row, so about 22 million rows.
const KEY_INDEX_BYTES_MAX: usize = 256 << 20;
/// The most memory that bloom filters in files of their own may take: about 100 million rows.
const FILTER_BYTES_MAX: usize = 128 << 20;

/// An open database directory.
#[derive(Debug)]
pub struct Engine {
    /// Its files.
    pub store: Arc<Store>,
    /// Its only writer.
    pub committer: Committer,
    /// Its open segments.
    pub segments: SegmentCache,
    /// Columns of its segments that searches were filtered by.
    pub columns: ColumnCache,
    /// Its primary keys, as far as they were asked for.
    pub keys: Arc<KeyIndexes>,
    /// Its bloom filters in files of their own, as far as they were asked for.
    pub filters: FilterCache,
    /// The numbers of sequences that are reserved and not given out.
    pub sequences: Leases,
    /// The turns of statements that are run again after a conflict.
    pub retrying: Turns,
    /// Its settings; a session may have its own copy with changes.
    pub settings: Arc<Settings>,
}

impl Engine {
    /// Opens a database directory, making it where there is none.
    ///
    /// # Errors
    /// Those of [`Store::open`] and [`Committer::open`].
    pub fn open(path: impl AsRef<Path>, settings: Settings) -> Result<Self> {
        Self::open_on(path, settings, Files::default())
    }

    /// As [`Engine::open`], on that disk.
    pub(crate) fn open_on(
        path: impl AsRef<Path>,
        settings: Settings,
        files: Files,
    ) -> Result<Self> {
        let store = Arc::new(Store::open_on(path, files)?);
        let committer = Committer::open(Arc::clone(&store), CommitterOptions::from(&settings))?;
        Ok(Self {
            store,
            committer,
            segments: SegmentCache::new(SEGMENTS_OPEN_MAX, SEGMENT_METADATA_BYTES_MAX),
            columns: ColumnCache::new(settings.column_cache_size.0 as usize),
            keys: Arc::new(KeyIndexes::new(KEY_INDEX_BYTES_MAX)),
            filters: FilterCache::new(FILTER_BYTES_MAX),
            sequences: Leases::default(),
            retrying: Turns::default(),
            settings: Arc::new(settings),
        })
    }

    /// What it counted since it was opened.
    pub fn metrics(&self) -> &Metrics {
        self.committer.metrics()
    }

    /// The file of a sealed segment of the collection, open.
    ///
    /// # Errors
    /// XX001 when it is damaged, 58030 when it cannot be read.
    pub fn open_segment(
        &self,
        collection: &Collection,
        segment: &Segment,
    ) -> Result<Arc<SegmentReader>> {
        if let Some(reader) = self.segments.get(segment.id) {
            return Ok(reader);
        }
        let path = self.store.segment_path(collection.id, segment.id);
        let label = collection.segment_label(segment.id);
        self.segments.open(segment, &path, &label)
    }

    /// Forgets what is known of a segment whose file goes.
    pub fn forget(&self, segment: SegmentId) {
        self.segments.remove(segment);
        self.columns.remove(segment);
        self.keys.remove(segment);
    }

    /// Deletes the files of segments that no version needs which anybody can reach.
    ///
    /// # Errors
    /// 58030 for what the disk says; what is left is tried again next time.
    pub fn vacuum(&self, options: &VacuumOptions) -> Result<Vacuumed> {
        let vacuumed = self.committer.vacuum(options)?;
        if options.dry_run {
            return Ok(vacuumed);
        }
        for segment in &vacuumed.segments {
            self.forget(*segment);
        }
        for filter in &vacuumed.filters {
            self.filters.remove(*filter);
        }
        Ok(vacuumed)
    }
}
