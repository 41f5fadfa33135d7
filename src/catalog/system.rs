//! The system tables `shelfmark.*`: what the newest version (or the pinned one) holds, as rows.

mod columns;
mod compactions;
mod rows;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;

pub(crate) use rows::bound_text;

use super::computed::{Computed, ComputedRows};
use super::options::{PinnedSnapshot, ShelfmarkOptions};
use super::user::CurrentUser;
use crate::compaction::scheduler::Scheduler;
use crate::settings::Settings;
use crate::storage::change::JobRecord;
use crate::storage::engine::Engine;
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

/// The SQL schema of the system tables.
pub const SYSTEM_SCHEMA: &str = "shelfmark";

/// The system tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SystemTable {
    Collections,
    Segments,
    PartitionStats,
    Compactions,
    CompactionRounds,
    Versions,
    Settings,
    Indexes,
}

impl SystemTable {
    const ALL: [Self; 8] = [
        Self::Collections,
        Self::Segments,
        Self::PartitionStats,
        Self::Compactions,
        Self::CompactionRounds,
        Self::Versions,
        Self::Settings,
        Self::Indexes,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Collections => "collections",
            Self::Segments => "segments",
            Self::PartitionStats => "partition_stats",
            Self::Compactions => "compactions",
            Self::CompactionRounds => "compaction_rounds",
            Self::Versions => "versions",
            Self::Settings => "settings",
            Self::Indexes => "indexes",
        }
    }

    /// The rows; without a source, those of an empty database.
    fn rows(
        self,
        source: Option<&SystemSource>,
        snapshot: &Snapshot,
        settings: &Settings,
        user: Option<RoleId>,
    ) -> Result<RecordBatch> {
        let columns = match self {
            Self::Collections => rows::collections(snapshot),
            Self::Segments => rows::segments(snapshot, source.map(|s| s.engine.store.as_ref())),
            Self::PartitionStats => rows::partition_stats(snapshot, user),
            Self::Compactions => {
                let jobs = snapshot.jobs().map(|job| &**job);
                compactions::compactions(jobs, source.and_then(|s| s.scheduler.as_ref()))
            }
            Self::CompactionRounds => {
                let scheduler = source.and_then(|s| s.scheduler.as_ref());
                compactions::compaction_rounds(
                    &scheduler.map(Scheduler::rounds).unwrap_or_default(),
                )
            }
            Self::Versions => {
                let versions = source.map(|s| s.engine.committer.versions());
                rows::versions(&versions.unwrap_or_default())
            }
            Self::Settings => rows::settings(settings),
            Self::Indexes => rows::indexes(snapshot),
        };
        columns.into_batch()
    }
}

/// The rows that `shelfmark.compactions` has for these jobs.
///
/// # Errors
/// None in practice: the columns are its own.
pub(crate) fn compaction_rows<'a>(
    jobs: impl Iterator<Item = &'a JobRecord>,
    scheduler: Option<&Scheduler>,
) -> Result<RecordBatch> {
    compactions::compactions(jobs, scheduler).into_batch()
}

/// The names of the system tables, with their columns.
pub(super) fn system_tables() -> impl Iterator<Item = (&'static str, SchemaRef)> {
    static SCHEMAS: LazyLock<Vec<(&'static str, SchemaRef)>> = LazyLock::new(|| {
        let none = (Snapshot::empty(), Settings::default());
        let schema = |t: SystemTable| t.rows(None, &none.0, &none.1, None).ok();
        let tables = SystemTable::ALL.into_iter();
        tables
            .filter_map(|t| Some((t.name(), schema(t)?.schema())))
            .collect()
    });
    SCHEMAS
        .iter()
        .map(|(name, schema)| (*name, Arc::clone(schema)))
}

/// What the system tables are computed from.
#[derive(Debug, Clone)]
pub struct SystemSource {
    /// The database.
    pub engine: Arc<Engine>,
    /// Its background jobs, for the progress of those that run.
    pub scheduler: Option<Scheduler>,
}

/// The SQL schema of the system tables.
#[derive(Debug)]
pub struct SystemSchema {
    source: SystemSource,
}

impl SystemSchema {
    /// The system tables of a database.
    pub fn new(source: SystemSource) -> Self {
        Self { source }
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        let names = SystemTable::ALL.iter().map(|t| t.name().to_string());
        names.collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(table) = SystemTable::ALL.into_iter().find(|t| t.name() == name) else {
            return Ok(None);
        };
        let none = table.rows(None, &Snapshot::empty(), &Settings::default(), None)?;
        Ok(Some(Arc::new(Computed(SystemTableProvider {
            source: self.source.clone(),
            table,
            schema: none.schema(),
        }))))
    }

    fn table_exist(&self, name: &str) -> bool {
        SystemTable::ALL.iter().any(|t| t.name() == name)
    }
}

/// A system table, computed when it is scanned.
#[derive(Debug)]
pub(super) struct SystemTableProvider {
    source: SystemSource,
    table: SystemTable,
    schema: SchemaRef,
}

#[async_trait]
impl ComputedRows for SystemTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        let snapshot = PinnedSnapshot::or_newest(state.config(), &self.source.engine);
        let settings = ShelfmarkOptions::settings_of(state.config_options());
        let user = state.config().get_extension::<CurrentUser>();
        let user = user.map(|user| user.current());
        self.table
            .rows(Some(&self.source), &snapshot, &settings, user)
    }
}
