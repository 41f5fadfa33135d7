//! Prepared statements: parsed, planned and typed once, executed with values as often as wanted.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;
use parking_lot::Mutex;

use super::complexity::Limits;
use super::format::type_of;
use super::kept::pure::reads_the_past;
use super::kept::{Basis, Kept};
use super::named::Execute;
use super::output_names::OutputNames;
use super::parameters::{Types, bind, coerce, no_parameter};
use super::repeated::{Recall, Repeated};
use super::session::{Outcome, Planning, Session, Tag};
use super::statement::Statement;
use super::versions::parameters as versions;
use super::{CopyInput, copy, parser};
use crate::error::{Error, PLAN_CHANGED, Result, sqlstate};

/// A statement of which everything is known but the values of its parameters.
///
/// It belongs to the session that prepared it.
#[derive(Debug)]
pub struct Prepared {
    tag: Tag,
    parameters: Vec<FieldRef>,
    schema: SchemaRef,
    names: OutputNames,
    statement: Statement,
    /// The plan of the day; it is made again when it would be another.
    kept: Option<Mutex<Arc<Kept>>>,
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

    #[cfg(test)]
    pub(super) fn kept_now(&self) -> Option<Arc<Kept>> {
        Some(Arc::clone(&self.kept.as_ref()?.lock()))
    }

    /// Whether its plan is kept and would be the same if it were made now.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.lock().is_of(&session.basis()))
    }

    /// Whether an execution takes so little that it need not go to a thread of its own, as far as the last one tells.
    pub fn is_quick(&self, session: &Session) -> bool {
        let kept = self.kept.as_ref().map(|kept| Arc::clone(&kept.lock()));
        kept.is_some_and(|kept| kept.is_quick() && kept.is_of(&session.basis()))
    }

    /// The kept plan, made again if what it was made from changed.
    ///
    /// # Errors
    /// 0A000 when its columns would be others, and whatever is wrong with the statement by now.
    async fn kept(&self, session: &Session) -> Result<Option<Arc<Kept>>> {
        let Some(kept) = &self.kept else {
            return Ok(None);
        };
        let basis = session.basis();
        let current = Arc::clone(&kept.lock());
        if current.is_of(&basis) {
            return Ok(Some(current));
        }
        let types = Types::of(&self.parameters);
        let planned = session.plan(self.statement.clone(), types).await?;
        let next = Arc::new(planned.keep(basis, &self.parameters)?);
        if !has_columns(&self.names.apply(next.schema()), &self.schema) {
            return Err(Error::unsupported(PLAN_CHANGED).with_hint("Prepare the statement again."));
        }
        *kept.lock() = Arc::clone(&next);
        Ok(Some(next))
    }
}

fn has_columns(schema: &Schema, expected: &Schema) -> bool {
    let columns = |schema: &Schema| -> Vec<(String, DataType, u32)> {
        let fields = schema.fields().iter();
        let column = |f: &FieldRef| (f.name().clone(), f.data_type().clone(), type_of(f).oid);
        fields.map(column).collect()
    };
    columns(schema) == columns(expected)
}

/// A plan with the types of its parameters.
struct Planned {
    tag: Tag,
    plan: LogicalPlan,
    types: Types,
    names: OutputNames,
    state: SessionState,
}

impl Planned {
    /// The plan, to be executed again and again.
    fn keep(self, basis: Basis, parameters: &[FieldRef]) -> Result<Kept> {
        let analyzed = analyzed(&self.state, self.plan.clone())?;
        Kept::new(
            basis,
            self.tag,
            &self.state,
            &self.plan,
            analyzed,
            parameters.to_vec(),
        )
    }
}

impl Session {
    /// The names of the columns of a statement; of FETCH and EXECUTE those of the query behind.
    fn output_names(&self, statement: &Statement) -> OutputNames {
        let behind = match statement {
            Statement::Fetch(fetch) => {
                let cursor = self.inner.cursors.get(&fetch.name).ok();
                cursor.filter(|_| !fetch.only_moves).map(|c| c.names)
            }
            Statement::Execute(execute) => Some(self.names_of_execute(execute)),
            other => Some(OutputNames::of(other)),
        };
        behind.unwrap_or_default()
    }

    /// The names of the columns that a prepared statement answers with.
    pub(super) fn names_of_execute(&self, execute: &Execute) -> OutputNames {
        let named = self.named_statement(&execute.name).ok();
        let prepared = named.and_then(|named| named.prepared);
        prepared.map_or_else(OutputNames::default, |prepared| prepared.names.clone())
    }

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
        self.run_again(text, self.recall(text)).await
    }

    /// [`Session::run`] of a text that [`Session::recall`] said this of.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub async fn run_again(&self, text: &str, recall: Recall) -> Result<Outcome> {
        let started = async {
            let outcome = match self.repeated(recall).await {
                Some(Repeated { prepared, values }) => {
                    self.execute_admitted(&prepared, values).await
                }
                None => return self.run_anew(text).await,
            };
            match outcome {
                // Definitions have changed since the plan was found to be of today.
                Err(e) if e.sqlstate() == sqlstate::FEATURE_NOT_SUPPORTED => {
                    self.run_anew(text).await
                }
                outcome => outcome,
            }
        };
        started.await.inspect_err(|_| self.statement_failed())
    }

    async fn run_anew(&self, text: &str) -> Result<Outcome> {
        let planned = self.admitted(text).await?;
        if let Some(first) = planned.types.first_mentioned() {
            return Err(no_parameter(&format!("${}", first + 1)));
        }
        let outcome = self.start(planned.tag, planned.plan, planned.state).await?;
        Ok(Outcome {
            schema: planned.names.apply(&outcome.schema),
            ..outcome
        })
    }

    /// Parses and plans one statement and infers the types of its parameters, without acting. `types` says what the
    /// client declared: the first is the type of `$1`, and `None` leaves it to the statement.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, with its SQLSTATE; 42P18 for a parameter whose type nothing tells.
    pub async fn prepare(&self, text: &str, types: &[Option<FieldRef>]) -> Result<Arc<Prepared>> {
        if let Some(prepared) = self.prepared_before(text, types) {
            return Ok(prepared);
        }
        let prepared = async { self.prepare_statement(self.parse(text)?, types).await };
        let prepared = prepared.await;
        let prepared = prepared.inspect_err(|_| self.statement_failed())?;
        self.remember_text(text, types, &prepared);
        Ok(prepared)
    }

    /// [`Session::prepare`] of a statement that is parsed; a failure is not noted.
    pub(super) async fn prepare_statement(
        &self,
        statement: Statement,
        types: &[Option<FieldRef>],
    ) -> Result<Arc<Prepared>> {
        self.check_plannable(&statement)?;
        let basis = self.basis();
        let planned = self.plan(statement.clone(), Types::declared(types)).await?;
        let parameters = planned.types.all()?;
        let (tag, names) = (planned.tag.clone(), planned.names.clone());
        let keeps = is_kept(&statement) && !reads_the_past(&planned.plan)?;
        let (schema, kept) = match keeps {
            true => {
                let kept = planned.keep(basis, &parameters)?;
                (Arc::clone(kept.schema()), Some(Mutex::new(Arc::new(kept))))
            }
            false => {
                let plan = analyzed(&planned.state, planned.plan)?;
                (Arc::clone(plan.schema().inner()), None)
            }
        };
        Ok(Arc::new(Prepared {
            tag,
            parameters,
            schema: names.apply(&schema),
            names,
            statement,
            kept,
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
        let values = coerce(&prepared.parameters, parameters, &self.style().zone)?;
        if let Some(kept) = prepared.kept(self).await? {
            let rows = kept.start(self, values).await?;
            return Ok(Outcome {
                schema: Arc::clone(&prepared.schema),
                ..self.outcome(kept.tag().clone(), rows, None)
            });
        }
        let (planned, plan) = self.bound_anew(prepared, &values).await?;
        self.start(planned.tag, plan, planned.state).await
    }

    /// Plans a prepared statement that keeps no plan with the values of its parameters.
    async fn bound_anew(
        &self,
        prepared: &Prepared,
        values: &[ScalarValue],
    ) -> Result<(Planned, LogicalPlan)> {
        let (statement, names_versions) =
            versions::with_values(prepared.statement.clone(), values)?;
        let types = Types::of(&prepared.parameters);
        let planned = self.plan(statement, types).await?;
        let plan = bind(planned.plan.clone(), values)?;
        if names_versions {
            let analyzed = analyzed(&planned.state, plan.clone())?;
            if !has_columns(
                &planned.names.apply(analyzed.schema().inner()),
                &prepared.schema,
            ) {
                let message = "the version has other columns than the statement was prepared for";
                return Err(Error::unsupported(message).with_hint(
                    "Write the version into the statement, or name columns that both have.",
                ));
            }
        }
        Ok((planned, plan))
    }

    pub(super) fn parse(&self, text: &str) -> Result<Statement> {
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
        let versions = versions::parameters(&statement)?;
        planning.types.expect(&versions);
        let planned = match versions.is_empty() {
            true => statement.clone(),
            false => {
                let newest = self.inner.core.engine.committer.snapshot().version();
                versions::as_of_newest(statement.clone(), newest)?
            }
        };
        loop {
            let (tag, plan) = planning.statement(planned.clone()).boxed().await?;
            if planning.types.learn(&plan)? {
                continue;
            }
            let names = self.output_names(&statement);
            let names = match tag {
                Tag::Rows if matches!(statement, Statement::DataFusion(_)) => {
                    names.with_origins(&plan)
                }
                _ => names,
            };
            return Ok(Planned {
                plan,
                types: planning.types.clone(),
                names,
                state: planning.state_for(&tag),
                tag,
            });
        }
    }

    async fn start(&self, tag: Tag, plan: LogicalPlan, mut state: SessionState) -> Result<Outcome> {
        let input = match tag {
            Tag::CopyIn(_) => Some(copy::open_input(&mut state)),
            _ => None,
        };
        let frame = DataFrame::new(state, plan);
        let rows = frame.execute_stream().await?;
        Ok(self.outcome(tag, rows, input))
    }

    fn outcome(
        &self,
        tag: Tag,
        rows: SendableRecordBatchStream,
        input: Option<CopyInput>,
    ) -> Outcome {
        let stream = self.watch(rows);
        Outcome {
            tag,
            schema: stream.schema(),
            stream,
            input,
        }
    }
}

impl Planning<'_> {
    /// The plan of EXECUTE: that of the prepared statement with values in place of its parameters.
    pub(super) async fn bound(
        &self,
        prepared: &Prepared,
        values: Vec<ScalarValue>,
    ) -> Result<(Tag, LogicalPlan)> {
        let values = coerce(&prepared.parameters, values, &self.zone())?;
        if let Some(kept) = prepared.kept(self.session).await? {
            return Ok((kept.tag().clone(), kept.bound(&values)?));
        }
        let (planned, plan) = self.session.bound_anew(prepared, &values).await?;
        Ok((planned.tag, plan))
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
            | Statement::Merge(_)
    )
}

/// The plan with the types that its execution will have.
pub(super) fn analyzed(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzer = state.analyzer();
    Ok(analyzer.execute_and_check(plan, state.config_options(), |_, _| {})?)
}
