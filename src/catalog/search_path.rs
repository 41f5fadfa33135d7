//! The search path: the schemas in which names without one are looked up, in order.
//!
//! It is what `datafusion.catalog.default_schema` holds: each name followed by a comma, in quotes where it has a comma
//! or quotes itself. DataFusion asks the catalog for a schema of that name, and gets one that looks into all of them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;

use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// The schema of PostgreSQL's own catalog, looked into first unless the path has it elsewhere.
pub const PG_CATALOG: &str = "pg_catalog";

/// A search path of these schemas, for `datafusion.catalog.default_schema`.
pub fn join(names: impl IntoIterator<Item = String>) -> String {
    let quoted = |name: String| match name.contains([',', '"', ' ']) {
        true => format!("\"{}\",", name.replace('"', "\"\"")),
        false => format!("{name},"),
    };
    let path: String = names.into_iter().map(quoted).collect();
    match path.is_empty() {
        true => ",".to_string(),
        false => path,
    }
}

/// The schema of temporary tables by the name that every session may use.
const TEMPORARY_ALIAS: &str = "pg_temp";

/// The same path, in which no temporary tables are found: views mean what they meant when they were made.
pub fn without_temporary(path: String) -> String {
    format!(",{path}")
}

/// Whether names are looked up among temporary tables before they are in the schemas of the path.
pub fn finds_temporary(path: &str) -> bool {
    path == "," || !path.starts_with(',')
}

/// The name of a schema, whose alias may be given.
pub fn own_name(schema: &str) -> &str {
    match schema {
        TEMPORARY_ALIAS => TEMPORARY_SCHEMA,
        schema => schema,
    }
}

/// The schemas of a search path; `None` for the name of one schema.
pub fn split(path: &str) -> Option<Vec<String>> {
    if !path.ends_with(',') {
        return None;
    }
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let name = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = end_of_quoted(quoted)?;
                rest = &quoted[end + 1..];
                quoted[..end].replace("\"\"", "\"")
            }
            None => {
                let end = rest.find(',')?;
                let name = rest[..end].to_string();
                rest = &rest[end..];
                name
            }
        };
        rest = rest.strip_prefix(',')?;
        if !name.is_empty() {
            names.push(name);
        }
    }
    Some(names)
}

/// Where the quote is that ends a name.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        if !text[quote + 1..].starts_with('"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}

/// All schemas of a search path as one: a name means the first table of that name.
pub struct PathSchema {
    schemas: Vec<Arc<dyn SchemaProvider>>,
}

impl std::fmt::Debug for PathSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.schemas).finish()
    }
}

impl PathSchema {
    /// The schemas of the path that `schema` knows, with [`PG_CATALOG`] first where the path does not name it.
    pub fn new(path: &[String], schema: impl Fn(&str) -> Option<Arc<dyn SchemaProvider>>) -> Self {
        let implicit = (!path.iter().any(|name| name == PG_CATALOG)).then_some(PG_CATALOG);
        let names = implicit.into_iter().chain(path.iter().map(String::as_str));
        Self {
            schemas: names.filter_map(schema).collect(),
        }
    }
}

#[async_trait]
impl SchemaProvider for PathSchema {
    fn table_names(&self) -> Vec<String> {
        self.schemas
            .iter()
            .flat_map(|schema| schema.table_names())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.schemas.iter().find(|schema| schema.table_exist(name)) {
            Some(schema) => schema.table(name).await,
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        match self.schemas.iter().find(|schema| schema.table_exist(name)) {
            Some(schema) => schema.table_type(name).await,
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.schemas.iter().any(|schema| schema.table_exist(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back() {
        for names in [&["public"][..], &["a", "b c", "d,\"e\""], &[]] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(split(&join(names.clone())), Some(names));
        }
        assert_eq!(split("public"), None);
        assert_eq!(split("\"a,"), None);
    }
}
