//! Prepared statements: parsed, planned and typed once, executed with values as often as wanted.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use super::complexity::Limits;
use super::parameters::{Types, bind, coerce, no_parameter};
use super::session::{Outcome, Planning, Session, Tag};
use super::statement::Statement;
use super::{copy, parser};
use crate::error::Result;

/// A statement of which everything is known but the values of its parameters.
///
/// It belongs to the session that prepared it.
#[derive(Debug)]
pub struct Prepared {
    tag: Tag,
    parameters: Vec<FieldRef>,
    schema: SchemaRef,
    statement: Statement,
    plan: Option<LogicalPlan>,
}

impl Prepared {
    /// What kind of answer it gives.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The types of its parameters; the first is `$1`.
    pub fn parameters(&self) -> &[FieldRef] {
        &self.parameters
    }

    /// The columns of its rows; none where it answers with a tag alone.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What was prepared.
    pub(super) fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// A plan with the types of its parameters.
struct Planned {
    tag: Tag,
    plan: LogicalPlan,
    types: Types,
    state: SessionState,
}

impl Session {
    /// Plans one statement. It acts when the rows are collected, not before.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, with its SQLSTATE.
    pub async fn sql(&self, text: &str) -> Result<DataFrame> {
        let planned = self.admitted(text).await;
        let planned = planned.inspect_err(|_| self.statement_failed())?;
        Ok(DataFrame::new(planned.state, planned.plan))
    }

    /// Plans one statement without parameters and starts it.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, with its SQLSTATE; 42P02 when it has a parameter.
    pub async fn run(&self, text: &str) -> Result<Outcome> {
        let started = async {
            let planned = self.admitted(text).await?;
            match planned.types.first_mentioned() {
                Some(first) => Err(no_parameter(&format!("${}", first + 1))),
                None => self.start(planned.tag, planned.plan, planned.state).await,
            }
        };
        started.await.inspect_err(|_| self.statement_failed())
    }

    /// Parses and plans one statement and infers the types of its parameters, without acting. `types` says what the
    /// client declared: the first is the type of `$1`, and `None` leaves it to the statement.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, with its SQLSTATE; 42P18 for a parameter whose type nothing tells.
    pub async fn prepare(&self, text: &str, types: &[Option<FieldRef>]) -> Result<Arc<Prepared>> {
        let prepared = async { self.prepare_statement(self.parse(text)?, types).await };
        prepared.await.inspect_err(|_| self.statement_failed())
    }

    /// [`Session::prepare`] of a statement that is parsed; a failure is not noted.
    pub(super) async fn prepare_statement(
        &self,
        statement: Statement,
        types: &[Option<FieldRef>],
    ) -> Result<Arc<Prepared>> {
        self.check_plannable(&statement)?;
        let planned = self.plan(statement.clone(), Types::declared(types)).await?;
        let parameters = planned.types.all()?;
        let plan = analyzed(&planned.state, planned.plan)?;
        Ok(Arc::new(Prepared {
            tag: planned.tag,
            parameters,
            schema: Arc::clone(plan.schema().inner()),
            plan: is_kept(&statement).then_some(plan),
            statement,
        }))
    }

    /// Starts a prepared statement with the values of its parameters.
    ///
    /// # Errors
    /// 08P01 for another number of values; whatever is wrong with the values or the statement.
    pub async fn execute(
        &self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        let started = self.execute_admitted(prepared, parameters).await;
        started.inspect_err(|_| self.statement_failed())
    }

    async fn execute_admitted(
        &self,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        self.admit(&prepared.statement)?;
        let values = coerce(&prepared.parameters, parameters)?;
        let (tag, plan, state) = match &prepared.plan {
            Some(plan) => (
                prepared.tag.clone(),
                plan.clone(),
                Planning::new(self).state,
            ),
            None => {
                let types = Types::of(&prepared.parameters);
                let planned = self.plan(prepared.statement.clone(), types).await?;
                (planned.tag, planned.plan, planned.state)
            }
        };
        self.start(tag, bind(plan, &values)?, state).await
    }

    fn parse(&self, text: &str) -> Result<Statement> {
        let limits = Limits::of(&self.inner.core.engine.settings);
        parser::parse_within(text, &limits)
    }

    async fn admitted(&self, text: &str) -> Result<Planned> {
        let statement = self.parse(text)?;
        self.admit(&statement)?;
        self.plan(statement, Types::default()).await
    }

    /// Plans until the types of the parameters are what their places say.
    async fn plan(&self, statement: Statement, types: Types) -> Result<Planned> {
        let mut planning = Planning::new(self).with_types(types);
        loop {
            let (tag, plan) = planning.statement(statement.clone()).boxed().await?;
            if planning.types.learn(&plan)? {
                continue;
            }
            return Ok(Planned {
                tag,
                plan,
                types: planning.types,
                state: planning.state,
            });
        }
    }

    async fn start(&self, tag: Tag, plan: LogicalPlan, mut state: SessionState) -> Result<Outcome> {
        let input = match tag {
            Tag::CopyIn(_) => Some(copy::open_input(&mut state)),
            _ => None,
        };
        let frame = DataFrame::new(state, plan);
        let stream = self.watch(frame.execute_stream().await?);
        Ok(Outcome {
            tag,
            schema: stream.schema(),
            stream,
            input,
        })
    }
}

impl Planning<'_> {
    /// The plan of EXECUTE: that of the prepared statement with values in place of its parameters.
    pub(super) async fn bound(
        &self,
        prepared: &Prepared,
        values: Vec<ScalarValue>,
    ) -> Result<(Tag, LogicalPlan)> {
        let values = coerce(&prepared.parameters, values)?;
        let (tag, plan) = match &prepared.plan {
            Some(plan) => (prepared.tag.clone(), plan.clone()),
            None => {
                let types = Types::of(&prepared.parameters);
                let statement = prepared.statement.clone();
                let planned = self.session.plan(statement, types).await?;
                (planned.tag, planned.plan)
            }
        };
        Ok((tag, bind(plan, &values)?))
    }
}

/// Whether the plan of a statement may be used again: queries and changes of rows. Commands look at the definitions
/// when they are planned.
fn is_kept(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::DataFusion(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
    )
}

/// The plan with the types that its execution will have.
fn analyzed(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzer = state.analyzer();
    Ok(analyzer.execute_and_check(plan, state.config_options(), |_, _| {})?)
}
