//! A collection as a table of DataFusion.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints, DFSchema, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, conjunction_opt};
use datafusion::physical_plan::ExecutionPlan;

use super::dml::insert_exec;
use super::options::{PinnedSnapshot, ShelfmarkOptions};
pub use super::scan::SEGMENT_COLUMN;
use super::scan::{CollectionScanExec, OutputColumn, ScanRequest, ScanSource, no_collection};
use super::ttl::living_rows;
use crate::error::Error;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, Version, field_id};
pub use crate::storage::segment::ROW_COLUMN;
use crate::storage::snapshot::Snapshot;
use crate::storage::ttl::Ttl;

/// A collection as a table: its columns as they were when it was looked up, its rows as of the scan.
///
/// The scan reads the version that the session has pinned (see [`PinnedSnapshot`]), else the newest; a table made by
/// [`CollectionTable::at`] always reads its own.
///
/// Where rows have a time to live, the table means a plan: those that have not expired.
///
/// It changes nothing itself: rows are deleted and updated by statements, because the hooks that DataFusion offers for
/// it lose the filters of subqueries.
#[derive(Clone)]
pub struct CollectionTable {
    source: Arc<ScanSource>,
    columns: Vec<OutputColumn>,
    schema: SchemaRef,
    constraints: Constraints,
    defaults: HashMap<String, Expr>,
    /// When rows expire that are left out.
    ttl: Option<Ttl>,
}

impl fmt::Debug for CollectionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionTable")
            .field("collection", &self.source.collection.name)
            .field("version", &self.source.version)
            .finish_non_exhaustive()
    }
}

impl CollectionTable {
    /// The collection, at whatever version it is scanned; `version` is the one it was looked up in.
    pub fn new(engine: Arc<Engine>, collection: Arc<Collection>, version: Version) -> Self {
        let constraints = constraints(&collection);
        let ttl = Ttl::of(&collection);
        let source = Arc::new(ScanSource {
            engine,
            collection,
            version,
            held: None,
        });
        Self {
            columns: source.columns(false),
            schema: source.collection.schema.arrow_schema(),
            constraints,
            defaults: HashMap::new(),
            ttl,
            source,
        }
    }

    /// The collection as `snapshot` has it, also when a session pins another; the snapshot is held as long as the table.
    ///
    /// # Errors
    /// 42P01 when it does not have it.
    pub fn at(
        engine: Arc<Engine>,
        snapshot: Arc<Snapshot>,
        id: CollectionId,
    ) -> crate::error::Result<Self> {
        let collection = snapshot
            .collection_by_id(id)
            .ok_or_else(|| no_collection(id, snapshot.version()))?;
        let mut table = Self::new(engine, Arc::clone(collection), snapshot.version());
        table.source = Arc::new(ScanSource {
            engine: Arc::clone(table.engine()),
            collection: Arc::clone(collection),
            version: snapshot.version(),
            held: Some(snapshot),
        });
        Ok(table)
    }

    /// Whether it reads its own version, whatever a session pins.
    pub fn is_fixed(&self) -> bool {
        self.source.held.is_some()
    }

    /// The same table with the address of each row in two more columns at the end: `_segment` UInt64, `_row` UInt32.
    pub fn with_row_address(mut self) -> Self {
        self.columns = self.source.columns(true);
        self.schema = self.source.arrow_schema(&self.columns);
        self
    }

    /// The same table with rows that have expired too.
    pub fn stored(mut self) -> Self {
        self.ttl = None;
        self
    }

    /// The same table with the given values for columns that an INSERT does not name.
    pub fn with_defaults(mut self, defaults: HashMap<String, Expr>) -> Self {
        self.defaults = defaults;
        self
    }

    /// The collection as it was looked up.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.source.collection
    }

    /// The version it was looked up in.
    pub fn version(&self) -> Version {
        self.source.version
    }

    /// Where its files are.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.source.engine
    }

    /// The scan of some columns (places in the schema) of rows that the filters accept, and maybe of others.
    ///
    /// # Errors
    /// 42P01 when the collection was dropped since it was looked up, 0A000 when its columns are others now, XX000 for a
    /// table that is scanned without the plan which it means.
    pub fn plan_scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<CollectionScanExec> {
        if self.ttl.is_some() {
            let name = &self.collection().name;
            return Err(Error::internal(format!("a scan of expired rows of \"{name}\"")).into());
        }
        let columns = match projection {
            Some(places) => places.iter().map(|i| self.columns[*i]).collect(),
            None => self.columns.clone(),
        };
        let request = ScanRequest {
            columns,
            table: Arc::clone(&self.schema),
            predicate: self.predicate(state, filters)?,
            limit: limit.filter(|_| filters.is_empty()),
            prune: ShelfmarkOptions::prunes(state.config_options()),
            partitions: state.config().target_partitions(),
        };
        Ok(CollectionScanExec::new(self.source_of(state)?, request))
    }

    /// The collection at the version that the session reads.
    fn source_of(&self, state: &dyn Session) -> crate::error::Result<Arc<ScanSource>> {
        if self.is_fixed() {
            return Ok(Arc::clone(&self.source));
        }
        let snapshot = PinnedSnapshot::or_newest(state.config(), &self.source.engine);
        self.source.at(&snapshot)
    }

    /// The filters that read scalar columns of the collection alone, as one expression. The others cannot prune.
    fn predicate(
        &self,
        state: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let physical = filters
            .iter()
            .filter_map(|filter| state.create_physical_expr(filter.clone(), &schema).ok());
        Ok(conjunction_opt(physical.filter(|p| self.is_scalar(p))))
    }

    fn is_scalar(&self, predicate: &Arc<dyn PhysicalExpr>) -> bool {
        let schema = &self.source.collection.schema;
        let columns = collect_columns(predicate);
        columns.iter().all(|c| {
            let field = self.schema.fields().get(c.index());
            let id = field.and_then(|f| field_id(f));
            let column = id.and_then(|id| schema.column_by_id(id));
            column.is_some_and(|c| c.column_type.is_scalar())
        })
    }
}

fn constraints(collection: &Collection) -> Constraints {
    let key = collection.schema.primary_indices();
    if key.is_empty() {
        return Constraints::default();
    }
    Constraints::new_unverified(vec![Constraint::PrimaryKey(key)])
}

fn use_the_statement(statement: &str) -> datafusion::error::DataFusionError {
    let message = format!("{statement} is not possible through this DataFusion session");
    let hint = format!("Run the {statement} statement with Session::sql of a shelfmark Database.");
    Error::unsupported(message).with_hint(hint).into()
}

#[async_trait]
impl TableProvider for CollectionTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The rows that have not expired. Should it not come about, the scan fails: it never gives rows that have.
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        let stored = Arc::new(self.clone().stored());
        let plan = living_rows(self.ttl.as_ref()?, &self.collection().name.name, stored);
        plan.ok().map(Cow::Owned)
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.plan_scan(state, projection, filters, limit)?;
        Ok(Arc::new(scan))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Pruning leaves rows that do not match: the filter stays above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    /// Adds the rows of `input`, whose columns match those of the collection by place. Their types need only be
    /// assignable.
    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if operation != InsertOp::Append {
            let message = format!("{operation} is not supported, only appending");
            return Err(Error::unsupported(message).into());
        }
        let (engine, collection) = (self.engine(), self.collection());
        let insert = insert_exec(Arc::clone(engine), Arc::clone(collection), input, state)?;
        Ok(Arc::new(insert))
    }

    async fn delete_from(
        &self,
        _state: &dyn Session,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(use_the_statement("DELETE"))
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(use_the_statement("UPDATE"))
    }

    async fn truncate(&self, _state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Err(use_the_statement("TRUNCATE"))
    }
}
