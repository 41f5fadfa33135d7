//! Names without a schema: where the search path finds them, and where it makes them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::ddl::qualified_parts;
use super::session::Session;
use crate::catalog::search_path;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};

/// The schemas of a session's search path that exist in one version.
pub(super) struct SearchPath {
    schemas: Vec<String>,
    snapshot: Arc<Snapshot>,
}

impl SearchPath {
    /// The relation that `name` means: without a schema, the first of that name on the path. It may not exist.
    ///
    /// # Errors
    /// 42601 for a name of more than three parts, 0A000 for one of another catalog, 42P01 when no schema of the path
    /// exists.
    pub(super) fn qualify(&self, name: &ObjectName) -> Result<QualifiedName> {
        let (schema, relation) = qualified_parts(name)?;
        if let Some(schema) = schema {
            return Ok(QualifiedName::new(search_path::own_name(&schema), relation));
        }
        let on_path = |schema: &String| QualifiedName::new(schema.as_str(), relation.as_str());
        let exists = |name: &QualifiedName| self.snapshot.has_relation(name);
        let temporary = QualifiedName::new(TEMPORARY_SCHEMA, relation.as_str());
        let mut candidates = std::iter::once(temporary).chain(self.schemas.iter().map(on_path));
        let found = candidates.find(exists);
        found
            .or_else(|| self.schemas.first().map(on_path))
            .ok_or_else(|| {
                let message = format!("relation \"{relation}\" does not exist");
                Error::not_found(sqlstate::UNDEFINED_TABLE, message)
            })
    }

    /// What a new temporary relation of that name is called.
    ///
    /// # Errors
    /// As [`SearchPath::qualify`]; 42P16 for a name with another schema.
    pub(super) fn qualify_temporary(&self, name: &ObjectName) -> Result<QualifiedName> {
        let (schema, relation) = qualified_parts(name)?;
        if schema.is_some_and(|schema| search_path::own_name(&schema) != TEMPORARY_SCHEMA) {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        Ok(QualifiedName::new(TEMPORARY_SCHEMA, relation))
    }

    /// The schemas, in order.
    pub(super) fn into_schemas(self) -> Vec<String> {
        self.schemas
    }

    /// What a new relation of that name is called: without a schema, it is made in the first of the path.
    ///
    /// # Errors
    /// As [`SearchPath::qualify`]; 3F000 when no schema of the path exists.
    pub(super) fn qualify_new(&self, name: &ObjectName) -> Result<QualifiedName> {
        let (schema, relation) = qualified_parts(name)?;
        if let Some(schema) = schema {
            return Ok(QualifiedName::new(search_path::own_name(&schema), relation));
        }
        let Some(first) = self.schemas.first() else {
            let message = "no schema has been selected to create in";
            return Err(Error::not_found(sqlstate::INVALID_SCHEMA_NAME, message));
        };
        Ok(QualifiedName::new(first.as_str(), relation))
    }
}

impl Session {
    /// The search path over the newest version.
    pub(super) fn search_path(&self) -> SearchPath {
        let snapshot = self.snapshot();
        let state = self.inner.context.state_ref();
        let path = state.read().config_options().catalog.default_schema.clone();
        let names = search_path::split(&path).unwrap_or_else(|| vec![path]);
        let schemas = names.into_iter().filter(|name| snapshot.has_schema(name));
        SearchPath {
            schemas: schemas.collect(),
            snapshot,
        }
    }
}
