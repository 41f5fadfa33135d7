//! The system relations as tables of DataFusion: their rows are made when they are scanned.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::TableType;

use super::context::PgContext;
use super::global::function_names;
use super::information::Information;
use super::live::LiveRelation;
use super::objects::{Objects, Source, ViewColumns};
use super::relation::{self, SystemRelation};
use super::rows::Rows;
use super::{
    class, comments, extensions, fixed, global, oid, partitions, references, roles, routines,
    types, views,
};
use crate::catalog::computed::{Computed, ComputedRows};
use crate::catalog::provider::ViewPlanner;

/// `pg_catalog` or `information_schema`.
pub(crate) struct SystemCatalog {
    schema: &'static str,
    views: Option<Arc<dyn ViewPlanner>>,
}

impl std::fmt::Debug for SystemCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SystemCatalog").field(&self.schema).finish()
    }
}

impl SystemCatalog {
    /// The schema of that name, if it is one of the two.
    pub fn new(name: &str, views: Option<Arc<dyn ViewPlanner>>) -> Option<Self> {
        let schema = super::SCHEMAS.into_iter().find(|schema| *schema == name)?;
        Some(Self { schema, views })
    }
}

#[async_trait]
impl SchemaProvider for SystemCatalog {
    fn table_names(&self) -> Vec<String> {
        let own = relation::all().iter().filter(|r| r.schema == self.schema);
        own.map(|r| r.name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let found = relation::find(self.schema, name);
        Ok(found.map(|relation| {
            let views = self.views.clone();
            Arc::new(Computed(SystemCatalogTable { relation, views })) as _
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        relation::find(self.schema, name).is_some()
    }
}

/// A relation of a [`SystemCatalog`].
pub(crate) struct SystemCatalogTable {
    relation: &'static SystemRelation,
    views: Option<Arc<dyn ViewPlanner>>,
}

impl std::fmt::Debug for SystemCatalogTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SystemCatalogTable")
            .field(&self.relation.name)
            .finish()
    }
}

impl SystemCatalogTable {
    /// The objects of the version, with the columns of views where the relation shows them.
    async fn objects(&self, context: &PgContext) -> Arc<Objects> {
        let objects = context.objects();
        let shows_columns = matches!(
            self.relation.name,
            "pg_attribute"
                | "pg_attrdef"
                | "pg_class"
                | "columns"
                | "column_privileges"
                | "role_column_grants"
                | "tables"
                | "views"
        );
        let Some(planner) = self.views.as_ref().filter(|_| shows_columns) else {
            return Arc::clone(objects);
        };
        let mut columns: HashMap<u32, ViewColumns> = HashMap::new();
        for relation in &objects.relations {
            if let Source::View(view) = &relation.source
                && view.partition.is_none()
                // One whose query fails by now has no columns, and hides no other relation.
                && let Ok(plan) = planner.plan_view(view).await
            {
                let updatable = match self.relation.schema {
                    "information_schema" => planner.updatable_columns(view).await,
                    _ => Ok(Vec::new()),
                };
                let schema = Arc::clone(plan.schema().inner());
                columns.insert(relation.oid, (schema, updatable.unwrap_or_default()));
            }
        }
        if columns.is_empty() {
            return Arc::clone(objects);
        }
        Arc::new(Objects::clone(objects).with_view_columns(&columns))
    }
}

#[async_trait]
impl ComputedRows for SystemCatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.arrow)
    }

    fn table_type(&self) -> TableType {
        match self.relation.kind {
            "r" => TableType::Base,
            _ => TableType::View,
        }
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        let context = PgContext::of(state.config_options())?;
        let objects = self.objects(context).await;
        let mut rows = Rows::new(self.relation);
        fill(&mut rows, state, context, &objects);
        rows.into_batch()
    }
}

/// Makes the rows of the relation; those that are not named here have none.
fn fill(rows: &mut Rows, state: &dyn Session, context: &PgContext, objects: &Objects) {
    match rows.relation().schema {
        "pg_catalog" => fill_catalog(rows, state, context, objects),
        _ => fill_information(rows, state, &Information { context, objects }),
    }
}

fn fill_catalog(rows: &mut Rows, state: &dyn Session, context: &PgContext, objects: &Objects) {
    match rows.relation().name {
        "pg_class" => class::pg_class(rows, context, objects),
        "pg_attribute" => class::pg_attribute(rows, objects),
        "pg_attrdef" => class::pg_attrdef(rows, objects),
        "pg_index" => class::pg_index(rows, objects),
        "pg_constraint" => {
            class::pg_constraint(rows, objects);
            references::pg_constraint(rows, objects);
        }
        "pg_sequence" => class::pg_sequence(rows, objects),
        "pg_sequences" => views::pg_sequences(rows, context, objects),
        "pg_rewrite" => class::pg_rewrite(rows, objects),
        "pg_depend" => class::pg_depend(rows, objects),
        "pg_inherits" => partitions::pg_inherits(rows, objects),
        "pg_partitioned_table" => partitions::pg_partitioned_table(rows, objects),
        "pg_namespace" => global::pg_namespace(rows, context, objects),
        "pg_database" => global::pg_database(rows, context),
        "pg_tablespace" => global::pg_tablespace(rows),
        "pg_extension" => extensions::pg_extension(rows),
        "pg_available_extensions" | "pg_available_extension_versions" => {
            extensions::pg_available_extensions(rows);
        }
        "pg_am" => global::pg_am(rows),
        "pg_opclass" => global::pg_opclass(rows),
        "pg_collation" => global::pg_collation(rows),
        "pg_language" => global::pg_language(rows),
        "pg_type" => {
            global::pg_type(rows);
            types::pg_type(rows, context, objects);
        }
        "pg_enum" => types::pg_enum(rows, objects),
        "pg_range" => global::pg_range(rows),
        "pg_operator" => global::pg_operator(rows),
        "pg_cast" => global::pg_cast(rows),
        "pg_description" => {
            global::pg_description(rows, objects);
            comments::pg_description(rows, objects);
        }
        "pg_shdescription" => comments::pg_shdescription(rows, objects),
        "pg_proc" => {
            global::pg_proc(rows, state);
            routines::pg_proc(rows, context);
        }
        "pg_roles" | "pg_authid" => roles::pg_roles(rows, context),
        "pg_user" | "pg_shadow" => roles::pg_user(rows, context),
        "pg_auth_members" => roles::pg_auth_members(rows, context),
        "pg_tables" => views::pg_tables(rows, context, objects),
        "pg_views" => views::pg_views(rows, context, objects),
        "pg_matviews" => views::pg_matviews(rows, context, objects),
        "pg_indexes" => views::pg_indexes(rows, objects),
        "pg_stats" => views::pg_stats(rows, objects),
        "pg_stat_user_tables" | "pg_stat_all_tables" => views::pg_stat_user_tables(rows, objects),
        "pg_statio_user_tables" | "pg_statio_all_tables" => {
            views::pg_statio_user_tables(rows, objects);
        }
        "pg_stat_user_indexes" | "pg_stat_all_indexes" => {
            views::pg_stat_user_indexes(rows, objects);
        }
        name => {
            let live = LiveRelation::of_name(name).map(|relation| context.live.rows(relation));
            live.iter().flatten().for_each(|row| rows.push(row));
        }
    }
}

fn fill_information(rows: &mut Rows, state: &dyn Session, information: &Information<'_>) {
    match rows.relation().name {
        "information_schema_catalog_name" => information.catalog_name(rows),
        "schemata" => information.schemata(rows),
        "tables" => information.tables(rows),
        "views" => information.views(rows),
        "columns" => information.columns(rows),
        "check_constraints" => information.check_constraints(rows),
        "domains" => information.domains(rows),
        "domain_constraints" => information.domain_constraints(rows),
        "column_domain_usage" => information.column_domain_usage(rows),
        "table_constraints" => information.table_constraints(rows),
        "constraint_table_usage" => information.constraint_table_usage(rows),
        "key_column_usage" => information.key_column_usage(rows),
        "constraint_column_usage" => information.constraint_column_usage(rows),
        "referential_constraints" => information.referential_constraints(rows),
        "sequences" => information.sequences(rows),
        "table_privileges" => information.table_privileges(rows, true),
        "role_table_grants" => information.table_privileges(rows, false),
        "column_privileges" => information.column_privileges(rows, true),
        "role_column_grants" => information.column_privileges(rows, false),
        "character_sets" => information.character_sets(rows),
        "collations" => information.collations(rows),
        "enabled_roles" => information.enabled_roles(rows),
        "routines" => {
            information.routines(rows, &functions(state));
            routines::routines(rows, information);
        }
        "parameters" => {
            information.parameters(rows, &functions(state));
            routines::parameters(rows, information);
        }
        _ => {}
    }
}

/// The session's functions, each signature that PostgreSQL has of one by itself.
fn functions(state: &dyn Session) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    for (name, _) in function_names(state) {
        let known = fixed::functions_of_name(&name);
        match known.is_empty() {
            true => all.push((name.clone(), oid::function(&name))),
            false => all.extend(known.iter().map(|f| (name.clone(), f.oid))),
        }
    }
    all
}
