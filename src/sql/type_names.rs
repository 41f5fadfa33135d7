//! What the names of types mean: those of SQL and PostgreSQL, and those that CREATE TYPE made.

use std::sync::{Arc, Weak};

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectName, ObjectNamePart};

use super::correlated::SessionCell;
use super::ddl::qualified_parts;
use super::pg_types::PgTypePlanner;
use super::session::{Planning, Session};
use super::types::column_type;
use crate::catalog::domains::row_of;
use crate::catalog::pg::field_of_type;
use crate::catalog::pg_type::{ENUMS, enum_array_oid, enum_oid, field_of_oid};
use crate::catalog::search_path;
use crate::catalog::transaction::CurrentTransaction;
use crate::error::{Error, Result};
use crate::storage::change::QualifiedName;
use crate::storage::domain::Domain;
use crate::storage::engine::Engine;
use crate::storage::enum_type::EnumType;
use crate::storage::schema::ColumnType;
use crate::storage::snapshot::Snapshot;

/// The types of one version, by the names that a search path gives them.
pub(crate) struct TypeNames {
    snapshot: Arc<Snapshot>,
    path: Vec<String>,
}

impl TypeNames {
    /// The types of that version for those who look names up along `path`.
    pub(crate) fn new(snapshot: Arc<Snapshot>, path: Vec<String>) -> Self {
        Self { snapshot, path }
    }

    /// The types of that version for a session with the options.
    pub(super) fn of_session(snapshot: Arc<Snapshot>, options: &ConfigOptions) -> Self {
        let path = &options.catalog.default_schema;
        let path = search_path::split(path).unwrap_or_else(|| vec![path.clone()]);
        Self::new(snapshot, path)
    }

    /// The column type that a type name stands for.
    ///
    /// # Errors
    /// 42704 for a type that does not exist, and those of [`column_type`].
    pub(super) fn column_type(&self, data_type: &DataType) -> Result<ColumnType> {
        if let Some(domain) = self.domain(data_type) {
            return Ok(domain.base.clone());
        }
        if element(data_type).is_some_and(|inner| self.domain(inner).is_some()) {
            return Err(Error::unsupported("arrays of domains are not supported"));
        }
        if let Some(of) = self.enum_type(data_type) {
            return Ok(ColumnType::Enum(of));
        }
        if let Some(of) = element(data_type).and_then(|inner| self.enum_type(inner)) {
            return Ok(ColumnType::Array(Box::new(ColumnType::Enum(of))));
        }
        column_type(data_type)
    }

    /// The type that CREATE TYPE made under the name.
    pub(super) fn named(&self, name: &ObjectName) -> Option<Arc<EnumType>> {
        self.found(name, |name| self.snapshot.type_named(name).cloned())
    }

    /// The domain of the name.
    pub(super) fn domain_named(&self, name: &ObjectName) -> Option<Arc<Domain>> {
        self.found(name, |name| self.snapshot.domain_named(name).cloned())
    }

    /// The domain that a type name stands for.
    pub(super) fn domain(&self, data_type: &DataType) -> Option<Arc<Domain>> {
        match data_type {
            DataType::Custom(name, modifiers) if modifiers.is_empty() => self.domain_named(name),
            _ => None,
        }
    }

    /// What the name finds along the path, unless it is one of PostgreSQL's.
    fn found<T>(
        &self,
        name: &ObjectName,
        in_schema: impl Fn(&QualifiedName) -> Option<T>,
    ) -> Option<T> {
        let (schema, last) = qualified_parts(name).ok()?;
        let is_quoted = name.0.last().and_then(ObjectNamePart::as_ident);
        let is_quoted = is_quoted.is_some_and(|ident| ident.quote_style.is_some());
        let found = |schema: &str| in_schema(&QualifiedName::new(schema, last.as_str()));
        match schema {
            Some(schema) => found(search_path::own_name(&schema)),
            // PostgreSQL's own are looked for first.
            None if field_of_type(&last, is_quoted).is_some() => None,
            None => self.path.iter().find_map(|schema| found(schema)),
        }
    }

    fn enum_type(&self, data_type: &DataType) -> Option<Arc<EnumType>> {
        match data_type {
            DataType::Custom(name, modifiers) if modifiers.is_empty() => self.named(name),
            _ => None,
        }
    }

    fn field(&self, data_type: &DataType) -> Option<FieldRef> {
        if let Some(of) = self.enum_type(data_type) {
            return Some(of.field("", true));
        }
        if let Some(domain) = self.domain(data_type) {
            let value = Field::clone(row_of(&domain.base).field(0));
            return Some(Arc::new(value.with_name("")));
        }
        let of = self.enum_type(element(data_type)?)?;
        Some(of.list_field("", true))
    }
}

impl Session {
    /// The field of a value of that type, as clients name types of parameters; `None` for a type that has no values here.
    pub fn field_of_oid(&self, name: &str, oid: u32) -> Option<FieldRef> {
        if oid < ENUMS {
            return field_of_oid(name, oid, -1);
        }
        let snapshot = self.snapshot();
        snapshot.types().find_map(|of| match oid {
            oid if oid == enum_oid(of.id) => Some(of.field(name, true)),
            oid if oid == enum_array_oid(of.id) => Some(of.list_field(name, true)),
            _ => None,
        })
    }
}

/// The type of an array's elements.
fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::Parenthesis(inner),
        ) => Some(inner),
        _ => None,
    }
}

impl Planning<'_> {
    /// What the names of types mean in the statement.
    pub(super) fn type_names(&self) -> TypeNames {
        TypeNames::of_session(Arc::clone(&self.snapshot), self.state.config_options())
    }
}

/// Plans the types of one version, and asks another planner about all others.
pub(super) struct NamedTypes {
    pub(super) names: TypeNames,
    pub(super) inner: Arc<dyn TypePlanner>,
}

impl std::fmt::Debug for NamedTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NamedTypes").field(&self.inner).finish()
    }
}

impl TypePlanner for NamedTypes {
    fn plan_type_field(&self, sql_type: &DataType) -> DataFusionResult<Option<FieldRef>> {
        match self.names.field(sql_type) {
            Some(field) => Ok(Some(field)),
            None => self.inner.plan_type_field(sql_type),
        }
    }
}

/// Plans the types that a session sees when it asks, those of its transaction among them.
pub(crate) struct SessionTypes {
    /// The database.
    pub(crate) engine: Arc<Engine>,
    /// The session's transaction.
    pub(crate) transaction: Arc<CurrentTransaction>,
    /// The session, which owns this.
    pub(crate) session: SessionCell,
}

impl std::fmt::Debug for SessionTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionTypes").finish_non_exhaustive()
    }
}

impl SessionTypes {
    fn names(&self) -> Option<TypeNames> {
        let session = self.session.get().and_then(Weak::upgrade)?;
        let snapshot = self.transaction.snapshot(&self.engine);
        let state = session.read();
        Some(TypeNames::of_session(snapshot, state.config_options()))
    }
}

impl TypePlanner for SessionTypes {
    fn plan_type_field(&self, sql_type: &DataType) -> DataFusionResult<Option<FieldRef>> {
        let can_be_ours = matches!(sql_type, DataType::Custom(..) | DataType::Array(_));
        let field = can_be_ours.then(|| self.names()?.field(sql_type)).flatten();
        match field {
            Some(field) => Ok(Some(field)),
            None => PgTypePlanner.plan_type_field(sql_type),
        }
    }
}
