//! The catalog: schemas, collections and views of the newest version, or of the session's open transaction, as
//! DataFusion looks them up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableType};
use parking_lot::RwLock;

use super::computed::Computed;
use super::pg::{self, SequenceTable, SystemCatalog};
use super::search_path::{self, PathSchema};
use super::system::{SYSTEM_SCHEMA, SystemSchema, SystemSource};
use super::table::CollectionTable;
use super::transaction::CurrentTransaction;
use crate::compaction::scheduler::Scheduler;
use crate::error::Error;
use crate::storage::change::{QualifiedName, View};
use crate::storage::engine::Engine;
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};

/// The name of the catalog with all collections.
pub const CATALOG: &str = "shelfmark";
/// The name of the catalog whose tables have the address of each row too; it has no views and no system tables.
pub const ROWS_CATALOG: &str = "shelfmark_rows";

/// Plans the query of a view; given from above, because the catalog knows no SQL.
#[async_trait]
pub trait ViewPlanner: Send + Sync + 'static {
    /// The plan of the view's query; its output has the view's names of columns.
    async fn plan_view(&self, view: &View) -> Result<LogicalPlan>;

    /// Which of the view's columns statements give values, and whether it is only for reading.
    async fn updatable_columns(&self, view: &View) -> Result<Vec<bool>>;
}

/// All collections and views of a database, looked up in its newest version or in the session's open transaction.
///
/// Names are case-sensitive, as stored. Tables come and go by statements, not by DataFusion's `register_table`.
#[derive(Clone)]
pub struct ShelfmarkCatalog {
    engine: Arc<Engine>,
    scheduler: Option<Scheduler>,
    views: Option<Arc<dyn ViewPlanner>>,
    transaction: Arc<CurrentTransaction>,
    with_row_address: bool,
}

impl fmt::Debug for ShelfmarkCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShelfmarkCatalog")
            .field("with_row_address", &self.with_row_address)
            .finish_non_exhaustive()
    }
}

impl ShelfmarkCatalog {
    /// The catalog of a database, for `SessionContext::register_catalog`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            scheduler: None,
            views: None,
            transaction: Arc::default(),
            with_row_address: false,
        }
    }

    /// The same catalog, whose table of compactions shows how far they are.
    pub fn with_scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = Some(scheduler);
        self
    }

    /// The same catalog with views.
    pub fn with_views(mut self, planner: Arc<dyn ViewPlanner>) -> Self {
        self.views = Some(planner);
        self
    }

    /// The same catalog of a session whose open transaction is kept in `transaction`.
    pub fn with_transaction(mut self, transaction: Arc<CurrentTransaction>) -> Self {
        self.transaction = transaction;
        self
    }

    /// The same collections with the columns `_segment` and `_row`.
    pub fn with_row_address(mut self) -> Self {
        self.with_row_address = true;
        self
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.transaction.snapshot(&self.engine)
    }

    fn has_system_schema(&self) -> bool {
        !self.with_row_address
    }

    /// PostgreSQL's catalogs and the information schema.
    fn system_catalog(&self, name: &str) -> Option<SystemCatalog> {
        let there = self.has_system_schema();
        there.then(|| SystemCatalog::new(name, self.views.clone()))?
    }
}

impl CatalogProvider for ShelfmarkCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.snapshot().schemas().cloned().collect();
        if self.has_system_schema() {
            names.push(SYSTEM_SCHEMA.to_string());
            names.extend(pg::SCHEMAS.map(ToString::to_string));
        }
        names.sort_unstable();
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == SYSTEM_SCHEMA && self.has_system_schema() {
            let source = SystemSource {
                engine: Arc::clone(&self.engine),
                scheduler: self.scheduler.clone(),
            };
            return Some(Arc::new(SystemSchema::new(source)));
        }
        if let Some(mut path) = search_path::split(name) {
            if search_path::finds_temporary(name) {
                path.insert(0, TEMPORARY_SCHEMA.to_string());
            }
            let path = PathSchema::new(&path, |name| self.schema(name));
            return Some(Arc::new(path));
        }
        let name = search_path::own_name(name);
        if let Some(catalog) = self.system_catalog(name) {
            return Some(Arc::new(catalog));
        }
        let schema = || UserSchema {
            catalog: self.clone(),
            name: name.to_string(),
        };
        self.snapshot()
            .has_schema(name)
            .then(|| Arc::new(schema()) as _)
    }

    fn register_schema(
        &self,
        _name: &str,
        _schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Err(by_statement("CREATE SCHEMA"))
    }

    fn deregister_schema(
        &self,
        _name: &str,
        _cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Err(by_statement("DROP SCHEMA"))
    }
}

/// The collections and views of one SQL schema.
#[derive(Debug)]
struct UserSchema {
    catalog: ShelfmarkCatalog,
    name: String,
}

impl UserSchema {
    fn qualified(&self, name: &str) -> QualifiedName {
        QualifiedName::new(self.name.as_str(), name)
    }

    async fn view(&self, view: &View) -> Result<Arc<dyn TableProvider>> {
        let Some(planner) = &self.catalog.views else {
            let message = format!("view \"{}\" cannot be planned by this session", view.name);
            let error = Error::unsupported(message)
                .with_hint("Query it through Session::sql of a shelfmark Database.");
            return Err(error.into());
        };
        let plan = planner.plan_view(view).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
    }
}

#[async_trait]
impl SchemaProvider for UserSchema {
    fn table_names(&self) -> Vec<String> {
        let snapshot = self.catalog.snapshot();
        let own = |name: &QualifiedName| (name.schema == self.name).then(|| name.name.clone());
        let collections = snapshot.collections().filter_map(|c| own(&c.name));
        let views = snapshot.views().filter_map(|v| own(&v.name));
        match self.catalog.with_row_address {
            true => collections.collect(),
            false => collections.chain(views).collect(),
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let snapshot = self.catalog.snapshot();
        let name = self.qualified(name);
        if let Some(collection) = snapshot.collection(&name) {
            let engine = Arc::clone(&self.catalog.engine);
            let table = CollectionTable::new(engine, Arc::clone(collection), snapshot.version());
            let table = match self.catalog.with_row_address {
                true => table.with_row_address(),
                false => table,
            };
            return Ok(Some(Arc::new(table)));
        }
        if let Some(sequence) = snapshot.sequence_named(&name) {
            return Ok(Some(Arc::new(Computed(SequenceTable::new(sequence)))));
        }
        match snapshot.view(&name) {
            Some(view) if !self.catalog.with_row_address => self.view(view).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Without planning a view: one whose query fails by now must not hide the others.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        let snapshot = self.catalog.snapshot();
        let name = self.qualified(name);
        if snapshot.collection(&name).is_some() || snapshot.sequence_named(&name).is_some() {
            return Ok(Some(TableType::Base));
        }
        let view = snapshot
            .view(&name)
            .filter(|_| !self.catalog.with_row_address);
        Ok(view.map(|view| match view.partition {
            Some(_) => TableType::Base,
            None => TableType::View,
        }))
    }

    fn register_table(
        &self,
        _name: String,
        _table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        Err(by_statement("CREATE TABLE"))
    }

    fn deregister_table(&self, _name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Err(by_statement("DROP TABLE"))
    }

    fn table_exist(&self, name: &str) -> bool {
        let snapshot = self.catalog.snapshot();
        let name = self.qualified(name);
        let is_view = !self.catalog.with_row_address && snapshot.view(&name).is_some();
        snapshot.collection(&name).is_some() || snapshot.sequence_named(&name).is_some() || is_view
    }
}

fn by_statement(statement: &str) -> DataFusionError {
    let message = format!("{statement} is not possible through this DataFusion session");
    let hint = format!("Run {statement} with Session::sql of a shelfmark Database.");
    Error::unsupported(message).with_hint(hint).into()
}

/// The catalogs of a session of ours: [`CATALOG`], [`ROWS_CATALOG`], and what else is registered.
pub struct ShelfmarkCatalogList {
    catalogs: RwLock<BTreeMap<String, Arc<dyn CatalogProvider>>>,
}

impl fmt::Debug for ShelfmarkCatalogList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShelfmarkCatalogList")
            .field(&self.catalog_names())
            .finish()
    }
}

impl ShelfmarkCatalogList {
    /// The catalogs of a database, without views.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self::with_catalog(ShelfmarkCatalog::new(engine))
    }

    /// The same for a catalog with views.
    pub fn with_catalog(catalog: ShelfmarkCatalog) -> Self {
        let rows = catalog.clone().with_row_address();
        let catalogs: [(String, Arc<dyn CatalogProvider>); 2] = [
            (CATALOG.to_string(), Arc::new(catalog)),
            (ROWS_CATALOG.to_string(), Arc::new(rows)),
        ];
        Self {
            catalogs: RwLock::new(catalogs.into()),
        }
    }
}

impl CatalogProviderList for ShelfmarkCatalogList {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.catalogs.write().insert(name, catalog)
    }

    /// Without [`ROWS_CATALOG`], which is not for users.
    fn catalog_names(&self) -> Vec<String> {
        let catalogs = self.catalogs.read();
        let names = catalogs.keys().filter(|name| *name != ROWS_CATALOG);
        names.cloned().collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        self.catalogs.read().get(name).cloned()
    }
}
