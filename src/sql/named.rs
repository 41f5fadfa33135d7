//! Prepared statements by name: PREPARE, EXECUTE and DEALLOCATE, and those that clients name by the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::sql::sqlparser::ast::{DataType, Expr};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::create::renamed;
use super::pg_types::PgTypePlanner;
use super::prepared::Prepared;
use super::session::{Planning, Session, Tag, done};
use super::statement::Statement;
use super::type_names::TypeNames;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::SQL_TYPE_KEY;

/// The most prepared statements of a session.
const STATEMENTS_MAX: usize = 10_000;

/// PREPARE.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// The name.
    pub name: String,
    /// The types of the first parameters.
    pub types: Vec<DataType>,
    /// The statement.
    pub statement: Statement,
    /// PREPARE as its author wrote it.
    pub text: String,
}

/// EXECUTE.
#[derive(Debug, Clone)]
pub struct Execute {
    /// The name.
    pub name: String,
    /// The values of the parameters.
    pub values: Vec<Expr>,
}

/// A prepared statement with a name.
#[derive(Debug, Clone)]
pub struct Named {
    /// The statement; `None` is the empty one, which clients may prepare.
    pub prepared: Option<Arc<Prepared>>,
    /// As its author wrote it.
    pub text: Arc<str>,
    /// When it was prepared.
    pub created: SystemTime,
    /// Whether PREPARE made it, rather than the protocol.
    pub from_sql: bool,
}

/// The named statements of a session.
#[derive(Debug, Default)]
pub(super) struct NamedStatements {
    by_name: Mutex<BTreeMap<String, Named>>,
}

impl Session {
    /// Gives a prepared statement a name.
    ///
    /// # Errors
    /// 42P05 when the name is taken, 54000 when there are too many.
    pub fn name_statement(&self, name: &str, statement: Named) -> Result<()> {
        let mut by_name = self.inner.statements.by_name.lock();
        if by_name.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::exists(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                message,
            ));
        }
        if by_name.len() >= STATEMENTS_MAX {
            let message =
                format!("a session can have at most {STATEMENTS_MAX} prepared statements");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        by_name.insert(name.to_string(), statement);
        Ok(())
    }

    /// The prepared statement of that name.
    ///
    /// # Errors
    /// 26000 when there is none.
    pub fn named_statement(&self, name: &str) -> Result<Named> {
        let found = self.inner.statements.by_name.lock().get(name).cloned();
        found.ok_or_else(|| unknown(name))
    }

    /// How many there are.
    pub fn count_statements(&self) -> usize {
        self.inner.statements.by_name.lock().len()
    }

    /// Forgets a prepared statement; whether there was one.
    pub fn forget_statement(&self, name: &str) -> bool {
        self.inner.statements.by_name.lock().remove(name).is_some()
    }

    /// Forgets all prepared statements.
    pub(super) fn forget_statements(&self) {
        self.inner.statements.by_name.lock().clear();
    }

    /// The prepared statements by name, for `pg_prepared_statements`.
    pub fn named_statements(&self) -> Vec<(String, Named)> {
        let by_name = self.inner.statements.by_name.lock();
        by_name
            .iter()
            .map(|(name, named)| (name.clone(), named.clone()))
            .collect()
    }

    async fn prepare_named(&self, prepare: &Prepare) -> Result<()> {
        let names = Planning::new(self).type_names();
        let types = prepare
            .types
            .iter()
            .map(|declared| declared_type(declared, &names))
            .collect::<Result<Vec<_>>>()?;
        let prepared = self
            .prepare_statement(prepare.statement.clone(), &types)
            .await?;
        let named = Named {
            prepared: Some(prepared),
            text: prepare.text.as_str().into(),
            created: SystemTime::now(),
            from_sql: true,
        };
        self.name_statement(&prepare.name, named)
    }
}

fn unknown(name: &str) -> Error {
    let message = format!("prepared statement \"{name}\" does not exist");
    Error::not_found(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
}

/// The type that PREPARE gives a parameter; `unknown` leaves it to the statement.
fn declared_type(data_type: &DataType, names: &TypeNames) -> Result<Option<FieldRef>> {
    if data_type.to_string().eq_ignore_ascii_case("unknown") {
        return Ok(None);
    }
    let column_type = match names.column_type(data_type) {
        Ok(column_type) => column_type,
        // No column has it, but values do: `oid`, `regclass`.
        Err(error) => {
            let field = PgTypePlanner.plan_type_field(data_type)?;
            return field.map_or(Err(error), |field| Ok(Some(field)));
        }
    };
    let metadata = [(SQL_TYPE_KEY.to_string(), column_type.sql_type())];
    let field = Field::new("", column_type.arrow_type(), true).with_metadata(metadata.into());
    Ok(Some(Arc::new(field)))
}

/// PREPARE.
pub(super) fn prepare(session: &Session, prepare: Prepare) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let label = format!("Prepare: {}", prepare.name);
    let prepare = Arc::new(prepare);
    done("PREPARE", label, move || {
        let (session, prepare) = (session.clone(), Arc::clone(&prepare));
        async move { session.prepare_named(&prepare).await }
    })
}

/// EXECUTE: the plan of the prepared statement with its values.
pub(super) fn execute<'a>(
    planning: &'a Planning<'_>,
    execute: &'a Execute,
) -> BoxFuture<'a, Result<(Tag, LogicalPlan)>> {
    async move {
        let named = planning.session.named_statement(&execute.name)?;
        let Some(prepared) = &named.prepared else {
            return Ok(nothing());
        };
        let expected = prepared.parameters().len();
        let given = execute.values.len();
        if given != expected {
            let name = &execute.name;
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
                .with_detail(format!("Expected {expected} parameters but got {given}.")));
        }
        let mut values = Vec::with_capacity(given);
        for value in &execute.values {
            values.push(planning.evaluate_expr(value.clone()).await?);
        }
        planning.bound(prepared, values).await
    }
    .boxed()
}

/// The rows of EXECUTE for CREATE TABLE AS, under the names that clients see.
///
/// # Errors
/// Those of [`execute`], 42809 for a statement that is no query.
pub(super) async fn table_of_execute(
    planning: &Planning<'_>,
    execute: &Execute,
) -> Result<LogicalPlan> {
    let names = planning.session.names_of_execute(execute);
    let (tag, plan) = self::execute(planning, execute).await?;
    if tag != Tag::Rows {
        let message = "prepared statement is not a SELECT";
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let named = names.apply(plan.schema().inner());
    let named: Vec<String> = named.fields().iter().map(|f| f.name().clone()).collect();
    renamed(plan, &named)
}

/// The plan of the empty statement.
fn nothing() -> (Tag, LogicalPlan) {
    let empty = EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(DFSchema::empty()),
    };
    (Tag::Done(""), LogicalPlan::EmptyRelation(empty))
}

/// DEALLOCATE; no name is ALL.
pub(super) fn deallocate(session: &Session, name: Option<String>) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = match name {
        Some(_) => "DEALLOCATE",
        None => "DEALLOCATE ALL",
    };
    done(tag, "Deallocate".to_string(), move || {
        let done = match &name {
            None => {
                session.forget_statements();
                Ok(())
            }
            Some(name) if session.forget_statement(name) => Ok(()),
            Some(name) => Err(unknown(name)),
        };
        async move { done }
    })
}
