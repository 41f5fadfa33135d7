//! What a function does, as a plan with its parameters.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;

use super::apart::Apart;
use super::block;
use super::find::{oid_of, type_name};
use super::put::{PARAMETER, number_parameters};
use super::site::coerced;
use crate::catalog::domains::row_of;
use crate::catalog::pg::coercion::{UNKNOWN, is_assignable};
use crate::catalog::pg_type::type_of;
use crate::catalog::search_path;
use crate::error::{Error, Result, sqlstate};
use crate::sql::access::view::ViewNode;
use crate::sql::complexity::too_complex;
use crate::sql::context::{body_to_plan, type_planner_of};
use crate::sql::create::is_in_view;
use crate::sql::domains::check_of;
use crate::sql::parameters::Types;
use crate::sql::parser::{fold, parse};
use crate::sql::stack::with_room;
use crate::sql::statement::Statement;
use crate::sql::tokens::split;
use crate::sql::type_names::{NamedTypes, TypeNames};
use crate::sql::walk;
use crate::storage::access::Object;
use crate::storage::function::{Body, Function, Returns, ValueType};
use crate::storage::role::RoleId;
use crate::storage::schema::FunctionId;
use crate::storage::snapshot::Snapshot;

/// How many functions may call each other.
const NESTING_MAX: usize = 32;

/// What the names in a function mean.
pub(super) struct Environment<'a> {
    /// The session's state, with the search path of who calls.
    pub state: &'a SessionState,
    /// What gives types their names.
    pub types: &'a Arc<dyn TypePlanner>,
    /// The version.
    pub snapshot: &'a Arc<Snapshot>,
}

/// The functions that are around the one that is planned.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    functions: Vec<FunctionId>,
    /// Whose rights what is planned has: those of the owner of a function that is SECURITY DEFINER.
    pub rights: Option<RoleId>,
}

tokio::task_local! {
    static AROUND: Around;
}

impl Around {
    /// Those of now.
    pub fn current() -> Self {
        AROUND.try_with(Self::clone).unwrap_or_default()
    }
}

/// A function, planned.
#[derive(Debug)]
pub(super) struct Planned {
    /// The function.
    pub function: Arc<Function>,
    /// The fields of the parameters that calls give values.
    pub parameters: Vec<FieldRef>,
    /// The OIDs of their types.
    pub oids: Vec<u32>,
    /// What checks the values of those that are of domains.
    pub checks: Vec<Option<Arc<ScalarUDF>>>,
    /// The defaults of those that have one.
    pub defaults: Vec<Option<Expr>>,
    /// The columns of the result.
    pub columns: Vec<FieldRef>,
    /// What is done.
    pub does: Does,
}

impl Planned {
    /// What it does, as a plan.
    pub fn plan(self) -> Result<LogicalPlan> {
        match self.does {
            Does::Value(value) => {
                let plan = LogicalPlanBuilder::empty(true).project([value])?;
                Ok(plan.build()?)
            }
            Does::Query(plan) => Ok(plan),
        }
    }
}

/// What a function does.
#[derive(Debug)]
pub(super) enum Does {
    /// It computes a value of its parameters alone.
    Value(Expr),
    /// It asks a query.
    Query(LogicalPlan),
}

/// Plans a function. Its relations are called apart from those of other calls where `apart` is a number: then its arguments
/// may be columns, which are told from its own by their names.
///
/// # Errors
/// Whatever is wrong with its body; 42P13 where that does not give what the function does; 54001 where it calls itself.
pub(super) async fn plan(
    environment: &Environment<'_>,
    around: &Around,
    function: &Arc<Function>,
    apart: Option<usize>,
) -> Result<Planned> {
    if around.functions.contains(&function.id) {
        let message = format!("function {} calls itself", function.name);
        return Err(Error::limit(sqlstate::STATEMENT_TOO_COMPLEX, message)
            .with_hint("WITH RECURSIVE repeats a query."));
    }
    if around.functions.len() == NESTING_MAX {
        return Err(too_complex("functions nest too deeply"));
    }
    let mut inside = around.clone();
    inside.functions.push(function.id);
    if function.is_definer {
        let object = Object::Function(function.id);
        inside.rights = Some(environment.snapshot.access(&object).owner);
    }
    let planner = Planner {
        environment,
        function,
        apart,
        rights: inside.rights,
    };
    with_room(AROUND.scope(inside, planner.plan())).await
}

/// The field of a value of the type.
pub(super) fn field_of(of: &ValueType, name: &str) -> FieldRef {
    let row = row_of(&of.column_type);
    Arc::new(Field::clone(row.field(0)).with_name(name))
}

struct Planner<'a> {
    environment: &'a Environment<'a>,
    function: &'a Arc<Function>,
    apart: Option<usize>,
    rights: Option<RoleId>,
}

impl Planner<'_> {
    async fn plan(&self) -> Result<Planned> {
        let function = self.function;
        let inputs = function.inputs();
        let parameters = inputs.map(|p| field_of(&p.value_type, p.name.as_deref().unwrap_or("")));
        let parameters: Vec<FieldRef> = parameters.collect();
        let mut defaults = Vec::with_capacity(parameters.len());
        for (parameter, field) in function.inputs().zip(&parameters) {
            defaults.push(match &parameter.default {
                Some(text) => Some(self.default(text, field).await?),
                None => None,
            });
        }
        let mut checks = Vec::with_capacity(parameters.len());
        for parameter in function.inputs() {
            checks.push(self.check_of(&parameter.value_type)?);
        }
        let columns = self.columns()?;
        let does = self.does(&parameters, &columns).await?;
        Ok(Planned {
            oids: function.inputs().map(|p| oid_of(&p.value_type)).collect(),
            function: Arc::clone(function),
            parameters,
            checks,
            defaults,
            columns,
            does,
        })
    }

    /// What checks values of the type, if it is a domain.
    fn check_of(&self, of: &ValueType) -> Result<Option<Arc<ScalarUDF>>> {
        let domain = of
            .domain
            .and_then(|id| self.environment.snapshot.domain_by_id(id));
        let check = domain.map(|domain| check_of(domain, self.environment.state));
        check.transpose()
    }

    /// The default of a parameter, which has no columns.
    async fn default(&self, text: &str, field: &FieldRef) -> Result<Expr> {
        let statement = query(&format!("SELECT {text}"))?;
        let statement = statement.ok_or_else(|| Error::internal("a default is no expression"))?;
        let plan = self.planned(statement, &[]).await?;
        match value_of(&plan) {
            Some(value) => Ok(coerced(value, field, &DFSchema::empty())?),
            None => Err(Error::unsupported(
                "a default of a parameter takes no query",
            )),
        }
    }

    /// The columns of the result.
    fn columns(&self) -> Result<Vec<FieldRef>> {
        let function = self.function;
        let mut outputs = function.outputs();
        Ok(match &function.returns {
            Returns::Value(of) => {
                let named = outputs.next().and_then(|p| p.name.as_deref());
                vec![field_of(of, named.unwrap_or(&function.name.name))]
            }
            Returns::Row(id) => {
                let collection = self.environment.snapshot.collection_by_id(*id);
                let collection = collection.ok_or_else(|| {
                    let message = "the table whose rows the function gives does not exist";
                    Error::not_found(sqlstate::UNDEFINED_TABLE, message)
                })?;
                let columns = collection.schema.columns.iter();
                let field = |column: &crate::storage::schema::Column| {
                    let row = row_of(&column.column_type);
                    Arc::new(Field::clone(row.field(0)).with_name(&column.name))
                };
                columns.map(field).collect()
            }
            Returns::Record => {
                let named = outputs.enumerate().map(|(place, parameter)| {
                    let unnamed = format!("column{}", place + 1);
                    let name = parameter.name.as_deref().unwrap_or(&unnamed);
                    field_of(&parameter.value_type, name)
                });
                named.collect()
            }
        })
    }

    async fn does(&self, parameters: &[FieldRef], columns: &[FieldRef]) -> Result<Does> {
        let function = self.function;
        let mut statement = statement_of(function)?;
        if let Some(place) = self.apart {
            let suffix = format!("__{}_{place}", function.id);
            let mut apart = Apart::of(&mut statement, suffix)?;
            walk::change(&mut statement, &mut apart)?;
        }
        let plan = self.planned(statement, parameters).await?;
        let given = self.given(plan, columns)?;
        let value = match function.returns_set {
            true => None,
            false => value_of(&given),
        };
        Ok(match value {
            Some(value) => Does::Value(value),
            None => Does::Query(self.with_rights(given)),
        })
    }

    /// The plan of a query of the function, with parameters as `$1` and so on.
    async fn planned(
        &self,
        mut statement: ast::Statement,
        parameters: &[FieldRef],
    ) -> Result<LogicalPlan> {
        number_counts(&mut statement, parameters)?;
        let Environment {
            state,
            types,
            snapshot,
        } = self.environment;
        let own = self.function.search_path.as_ref().map(|path| {
            let mut state = Box::new(SessionState::clone(state));
            let joined = search_path::join(path.iter().cloned());
            state.config_mut().options_mut().catalog.default_schema = joined;
            let types: Arc<dyn TypePlanner> = Arc::new(NamedTypes {
                names: TypeNames::new(Arc::clone(snapshot), path.clone()),
                inner: type_planner_of(&state),
            });
            (state, types)
        });
        let (state, types) = match &own {
            Some((state, types)) => (state.as_ref(), types),
            None => (*state, *types),
        };
        let outer = self.names_of(parameters)?;
        let known = Types::of(parameters);
        let plan = body_to_plan(state, types, statement, &known, outer).await?;
        Ok(number_parameters(plan)?)
    }

    /// The parameters as columns from further out.
    fn names_of(&self, parameters: &[FieldRef]) -> Result<DFSchemaRef> {
        let table = TableReference::bare(self.function.name.name.as_str());
        let named = parameters.iter().enumerate();
        let named = named.filter(|(_, field)| !field.name().is_empty());
        let fields = named.map(|(place, field)| {
            let mut metadata = field.metadata().clone();
            metadata.insert(PARAMETER.to_string(), (place + 1).to_string());
            let field = Field::clone(field).with_metadata(metadata);
            (Some(table.clone()), Arc::new(field))
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), HashMap::new())?;
        Ok(Arc::new(schema))
    }

    /// The plan with the columns that the function gives.
    ///
    /// # Errors
    /// 42P13 for others.
    fn given(&self, plan: LogicalPlan, columns: &[FieldRef]) -> Result<LogicalPlan> {
        let given = plan.schema().fields().len();
        if given != columns.len() {
            let wanted = columns.len();
            let detail = match (wanted, given < wanted) {
                _ if self.is_block() => format!(
                    "Number of returned columns ({given}) does not match expected column count ({wanted})."
                ),
                (1, _) => "Final statement must return exactly one column.".to_string(),
                (_, true) => "Final statement returns too few columns.".to_string(),
                (_, false) => "Final statement returns too many columns.".to_string(),
            };
            return Err(self.mismatch().with_detail(detail));
        }
        let mut outputs = Vec::with_capacity(given);
        let names = plan
            .schema()
            .columns()
            .into_iter()
            .zip(plan.schema().fields());
        for (place, ((column, field), wanted)) in names.zip(columns).enumerate() {
            let (from, to) = (type_of(field).oid, type_of(wanted).oid);
            let is_open = field.data_type().is_null();
            if !is_assignable(if is_open { UNKNOWN } else { from }, to) {
                let snapshot = self.environment.snapshot;
                let name = |oid| super::find::name_of_oid(snapshot, oid);
                let (from, to, place) = (name(from), name(to), place + 1);
                let detail = match self.is_block() {
                    true => format!(
                        "Returned type {from} does not match expected type {to} in column {place}."
                    ),
                    false => {
                        format!("Final statement returns {from} instead of {to} at column {place}.")
                    }
                };
                return Err(self.mismatch().with_detail(detail));
            }
            outputs.push((Expr::Column(column), wanted));
        }
        let check = match &self.function.returns {
            Returns::Value(of) => self.check_of(of)?,
            _ => None,
        };
        let checked = |value: Expr| match &check {
            Some(check) => check.call(vec![value]),
            None => value,
        };
        // A value that is computed of parameters alone stays one.
        if let (Some(value), [(_, wanted)]) = (value_of(&plan), outputs.as_slice()) {
            let value = checked(coerced(value, wanted, &DFSchema::empty())?);
            let plan = LogicalPlanBuilder::empty(true).project([value.alias(wanted.name())])?;
            return Ok(plan.build()?);
        }
        let schema = Arc::clone(plan.schema());
        let outputs = outputs.into_iter().map(|(column, wanted)| {
            let value = checked(coerced(column, wanted, &schema)?);
            Ok(value.alias(wanted.name()))
        });
        let outputs: Vec<Expr> = outputs.collect::<Result<_>>()?;
        Ok(LogicalPlanBuilder::from(plan).project(outputs)?.build()?)
    }

    fn is_block(&self) -> bool {
        matches!(self.function.body, Body::Block(_))
    }

    fn mismatch(&self) -> Error {
        if self.is_block() {
            let message = "structure of query does not match function result type";
            return Error::invalid(sqlstate::DATATYPE_MISMATCH, message);
        }
        let snapshot = self.environment.snapshot;
        let returns = match &self.function.returns {
            Returns::Value(of) => type_name(snapshot, of),
            Returns::Record => "record".to_string(),
            Returns::Row(id) => {
                let collection = snapshot.collection_by_id(*id);
                collection.map_or_else(String::new, |c| c.name.to_string())
            }
        };
        let message = format!("return type mismatch in function declared to return {returns}");
        Error::invalid(sqlstate::INVALID_FUNCTION_DEFINITION, message)
    }

    /// The query with the rights that the function has: a view around it does not lend it those of its owner.
    fn with_rights(&self, plan: LogicalPlan) -> LogicalPlan {
        match self.rights.is_some() || is_in_view() {
            true => ViewNode::call(self.function.name.clone(), self.rights, plan),
            false => plan,
        }
    }
}

/// Writes the parameters in LIMIT and OFFSET, where no column can be, by their numbers.
fn number_counts(statement: &mut ast::Statement, parameters: &[FieldRef]) -> Result<()> {
    struct Counts<'a>(&'a [FieldRef]);
    impl Counts<'_> {
        fn number(&self, count: &mut ast::Expr) {
            walk::change_expressions(count, |expr| {
                let name = match &*expr {
                    ast::Expr::Identifier(name) => Some(name),
                    ast::Expr::CompoundIdentifier(names) => names.last(),
                    _ => None,
                };
                let name = name.map(fold);
                let place = self.0.iter().position(|p| Some(p.name()) == name.as_ref());
                if let Some(place) = place {
                    let number = format!("${}", place + 1);
                    *expr = ast::Expr::value(ast::Value::Placeholder(number));
                }
            });
        }
    }
    impl ast::VisitorMut for Counts<'_> {
        type Break = Error;

        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
            if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) =
                &mut query.limit_clause
            {
                let offset = offset.as_mut().map(|offset| &mut offset.value);
                limit
                    .iter_mut()
                    .chain(offset)
                    .for_each(|count| self.number(count));
            }
            ControlFlow::Continue(())
        }
    }
    walk::change(statement, &mut Counts(parameters))
}

/// The query of a function.
///
/// # Errors
/// 0A000 for a body that is more or other than a query.
pub(super) fn statement_of(function: &Function) -> Result<ast::Statement> {
    let texts = match &function.body {
        Body::Return(text) => vec![format!("SELECT {text}")],
        Body::Block(text) => vec![block::query_of(text, function.returns_set)?],
        Body::Text(text) | Body::Atomic(text) => {
            let pieces = split(text);
            let all = pieces.complete.into_iter().chain(pieces.rest);
            all.map(|piece| piece.text).collect()
        }
    };
    let only = match texts.as_slice() {
        [only] => query(only)?,
        _ => None,
    };
    only.ok_or_else(|| {
        let message =
            "functions of several statements, and those that change rows, are not supported";
        Error::unsupported(message).with_hint("A function is one query: SELECT, VALUES or WITH.")
    })
}

/// The query that a text is; `None` for another statement.
fn query(text: &str) -> Result<Option<ast::Statement>> {
    let Statement::DataFusion(statement) = parse(text)? else {
        return Ok(None);
    };
    let DataFusionStatement::Statement(statement) = *statement else {
        return Ok(None);
    };
    Ok(match *statement {
        query @ ast::Statement::Query(_) => Some(query),
        _ => None,
    })
}

/// The only value of a query without relations.
fn value_of(plan: &LogicalPlan) -> Option<Expr> {
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    match (projection.input.as_ref(), projection.expr.as_slice()) {
        (LogicalPlan::EmptyRelation(empty), [value]) if empty.produce_one_row => {
            Some(value.clone().unalias())
        }
        _ => None,
    }
}
