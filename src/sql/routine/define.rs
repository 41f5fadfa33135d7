//! CREATE FUNCTION and CREATE PROCEDURE.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::DataType;

use super::body::{self, Around, Environment};
use super::find::{element_of, oid_of, signature, type_name};
use super::{CreateRoutine, ParameterDefinition};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::sql::ddl::{check_writable, qualify};
use crate::sql::parser::fold;
use crate::sql::prepared::analyzed;
use crate::sql::session::Planning;
use crate::storage::access::Object;
use crate::storage::change::Change;
use crate::storage::function::{Body, Function, Mode, Parameter, Returns, ValueType};
use crate::storage::schema::{ColumnType, FunctionId, TextName};
use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// What CREATE FUNCTION changes.
///
/// # Errors
/// 42P13 for a definition that contradicts itself, 42723 for a function that exists, whatever is wrong with the body.
pub(super) async fn create(planning: &Planning<'_>, create: &CreateRoutine) -> Result<Vec<Change>> {
    if create.is_procedure {
        return Err(Error::unsupported("procedures are not supported")
            .with_hint("A function is one query: SELECT, VALUES or WITH."));
    }
    let session = planning.session;
    let name = session.search_path().qualify_new(&create.name)?;
    check_writable(&name.schema)?;
    if name.schema == TEMPORARY_SCHEMA {
        return Err(Error::unsupported("temporary functions are not supported"));
    }
    session.check_creates(&planning.snapshot, &name.schema)?;
    let parameters = parameters(planning, &create.parameters)?;
    let (returns, returns_set) = returns(planning, create, &parameters)?;
    let own_path = || session.search_path().into_schemas();
    let mut function = Function {
        id: FunctionId(session.inner.core.engine.committer.allocate_id()),
        name,
        parameters,
        returns,
        returns_set,
        body: create.body.clone(),
        volatility: create.volatility,
        is_strict: create.is_strict,
        is_definer: create.is_definer,
        hints: create.hints.clone(),
        // The names of a text are looked up when it is called.
        search_path: create
            .search_path
            .clone()
            .or_else(|| (!create.body.is_late()).then(own_path)),
    };
    let before = {
        let mut others = planning.snapshot.functions_named(&function.name);
        others.find(|other| other.is_called_as(&function)).cloned()
    };
    if let Some(before) = &before {
        if !create.or_replace {
            return Err(exists(&function));
        }
        check_replaces(planning, before, &function)?;
        function.id = before.id;
    }
    check_body(planning, &function).await?;
    let id = function.id;
    let function = Box::new(function);
    Ok(match before {
        Some(_) => vec![Change::AlterFunction(function)],
        None => {
            let mut changes = vec![Change::CreateFunction(function)];
            changes.extend(session.ownership(Object::Function(id)));
            changes
        }
    })
}

/// That no other function is called as this one.
pub(super) fn check_free(planning: &Planning<'_>, function: &Function) -> Result<()> {
    let mut others = planning.snapshot.functions_named(&function.name);
    match others.any(|other| other.id != function.id && other.is_called_as(function)) {
        true => Err(exists(function)),
        false => Ok(()),
    }
}

fn exists(function: &Function) -> Error {
    let name = &function.name.name;
    let message = format!("function \"{name}\" already exists with same argument types");
    Error::exists(sqlstate::DUPLICATE_FUNCTION, message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_FUNCTION_DEFINITION, message)
}

/// The type that a name stands for, without what modifies it: functions take values of any length.
///
/// # Errors
/// 42704 for a type that does not exist.
pub(super) fn value_type(planning: &Planning<'_>, data_type: &DataType) -> Result<ValueType> {
    let names = planning.type_names();
    let domain = names.domain(data_type).map(|domain| domain.id);
    let column_type = match open_vector(data_type) {
        Some(vector) => vector,
        None => names
            .column_type(data_type)
            .map_err(|e| missing(data_type, e))?,
    };
    Ok(ValueType {
        column_type: without_length(column_type),
        domain,
    })
}

/// A vector of any dimension.
fn open_vector(data_type: &DataType) -> Option<ColumnType> {
    let DataType::Custom(name, modifiers) = data_type else {
        return None;
    };
    let last = name.0.last().and_then(|part| part.as_ident()).map(fold)?;
    match last.as_str() {
        "vector" if modifiers.is_empty() => Some(ColumnType::Vector(0)),
        "halfvec" if modifiers.is_empty() => Some(ColumnType::HalfVec(0)),
        _ => None,
    }
}

/// What is wrong with the name of a type: one of PostgreSQL's that is not supported, or one that nobody made.
fn missing(data_type: &DataType, error: Error) -> Error {
    let DataType::Custom(name, _) = data_type else {
        return error;
    };
    let text = name.to_string();
    if error.kind() != ErrorKind::Unsupported {
        return error;
    }
    if text.to_lowercase().starts_with("any") {
        let message = format!("polymorphic functions are not supported: {text}");
        return Error::unsupported(message).with_hint("Make one function for each type.");
    }
    let message = format!("type \"{text}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
}

fn without_length(of: ColumnType) -> ColumnType {
    match of {
        ColumnType::Varchar(_) => ColumnType::Named(TextName::Varchar),
        ColumnType::Char(_) => ColumnType::Char(None),
        ColumnType::Rounded(of, _) => *of,
        ColumnType::Bit { varying, .. } => ColumnType::Bit {
            varying,
            length: None,
        },
        ColumnType::Array(element) => ColumnType::Array(Box::new(without_length(*element))),
        other => other,
    }
}

fn parameters(
    planning: &Planning<'_>,
    definitions: &[ParameterDefinition],
) -> Result<Vec<Parameter>> {
    let (mut inputs, mut outputs) = (HashSet::new(), HashSet::new());
    let mut parameters: Vec<Parameter> = Vec::with_capacity(definitions.len());
    for definition in definitions {
        let name = definition.name.as_ref().map(fold);
        let parameter = Parameter {
            value_type: value_type(planning, &definition.data_type)?,
            mode: definition.mode,
            default: definition.default.as_ref().map(|(_, text)| text.clone()),
            name: name.clone(),
        };
        if let Some(name) = name {
            let is_new = (!parameter.is_input() || inputs.insert(name.clone()))
                && (!parameter.is_output() || outputs.insert(name.clone()));
            // A column of TABLE has a name that no argument has.
            let is_apart = parameter.mode != Mode::Table || !inputs.contains(&name);
            if !(is_new && is_apart) {
                let message = format!("parameter name \"{name}\" used more than once");
                return Err(invalid(message));
            }
        }
        check_parameter(&parameter, parameters.iter().rfind(|p| p.is_input()))?;
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn check_parameter(parameter: &Parameter, before: Option<&Parameter>) -> Result<()> {
    if !parameter.is_input() {
        return match parameter.default {
            Some(_) => Err(invalid("only input parameters can have default values")),
            None => Ok(()),
        };
    }
    if before.is_some_and(|before| before.mode == Mode::Variadic) {
        return Err(invalid(
            "VARIADIC parameter must be the last input parameter",
        ));
    }
    if parameter.mode == Mode::Variadic {
        if element_of(oid_of(&parameter.value_type)).is_none() {
            return Err(invalid("VARIADIC parameter must be an array"));
        }
        if parameter.default.is_some() {
            let message = "a VARIADIC parameter with a default is not supported";
            return Err(Error::unsupported(message));
        }
    }
    let follows = before.is_some_and(|before| before.default.is_some());
    if follows && parameter.default.is_none() && parameter.mode != Mode::Variadic {
        let message = "input parameters after one with a default value must also have defaults";
        return Err(invalid(message));
    }
    Ok(())
}

/// What the function gives, and whether that is any number of rows.
fn returns(
    planning: &Planning<'_>,
    create: &CreateRoutine,
    parameters: &[Parameter],
) -> Result<(Returns, bool)> {
    let outputs: Vec<&Parameter> = parameters.iter().filter(|p| p.is_output()).collect();
    let of_outputs = match outputs.as_slice() {
        [] => None,
        [one] => Some(Returns::Value(one.value_type.clone())),
        _ => Some(Returns::Record),
    };
    let Some(returns) = &create.returns else {
        let missing = || invalid("function result type must be specified");
        return Ok((of_outputs.ok_or_else(missing)?, false));
    };
    if returns.is_table {
        if outputs.iter().any(|p| p.mode != Mode::Table) {
            return Err(invalid(
                "OUT and INOUT arguments aren't allowed in TABLE functions",
            ));
        }
        let columns = of_outputs.ok_or_else(|| invalid("TABLE has no columns"))?;
        return Ok((columns, true));
    }
    let data_type = returns.data_type.as_ref();
    let data_type = data_type.ok_or_else(|| Error::internal("RETURNS says no type"))?;
    let said = returned(planning, data_type)?;
    match (of_outputs, said) {
        (None, Returns::Record) => Err(Error::unsupported(
            "functions that return records without names and types are not supported",
        )
        .with_hint("Use RETURNS TABLE (name type, ..), or OUT parameters.")),
        (None, said) => Ok((said, returns.is_set)),
        (Some(of_outputs), said) if of_outputs == said => Ok((said, returns.is_set)),
        (Some(of_outputs), _) => {
            let wanted = match &of_outputs {
                Returns::Value(of) => type_name(&planning.snapshot, of),
                _ => "record".to_string(),
            };
            let message =
                format!("function result type must be {wanted} because of OUT parameters");
            Err(invalid(message))
        }
    }
}

fn returned(planning: &Planning<'_>, data_type: &DataType) -> Result<Returns> {
    let DataType::Custom(name, _) = data_type else {
        return Ok(Returns::Value(value_type(planning, data_type)?));
    };
    match name.to_string().to_lowercase().as_str() {
        "void" => {
            let message = "functions that return void are not supported";
            return Err(Error::unsupported(message)
                .with_hint("A function is one query: SELECT, VALUES or WITH."));
        }
        "record" => return Ok(Returns::Record),
        "trigger" | "event_trigger" => {
            return Err(Error::unsupported(
                "functions of triggers are not supported",
            ));
        }
        _ => {}
    }
    let error = match value_type(planning, data_type) {
        Ok(of) => return Ok(Returns::Value(of)),
        Err(error) => error,
    };
    let relation = qualify(name, &planning.session.search_path())?;
    match planning.snapshot.collection(&relation) {
        Some(collection) => Ok(Returns::Row(collection.id)),
        None if planning.snapshot.view(&relation).is_some() => {
            let message = "functions that return rows of a view are not supported";
            Err(Error::unsupported(message).with_hint("Use RETURNS TABLE (name type, ..)."))
        }
        None => Err(error),
    }
}

/// That a function may take the place of another.
///
/// # Errors
/// 42P13 for another result, other names or a default less; 42501 for who does not own it.
fn check_replaces(planning: &Planning<'_>, before: &Function, next: &Function) -> Result<()> {
    let object = Object::Function(before.id);
    let session = planning.session;
    session.check_owner(&planning.snapshot, &object, &before.name.name)?;
    let described = signature(&planning.snapshot, before);
    let hint = format!("Use DROP FUNCTION {described} first.");
    let outputs = |of: &Function| -> Vec<Parameter> { of.outputs().cloned().collect() };
    if (&before.returns, before.returns_set) != (&next.returns, next.returns_set) {
        let message = "cannot change return type of existing function";
        return Err(invalid(message).with_hint(hint));
    }
    if outputs(before) != outputs(next) {
        let message = "cannot change return type of existing function";
        let detail = "Row type defined by OUT parameters is different.";
        return Err(invalid(message).with_detail(detail).with_hint(hint));
    }
    for (old, new) in before.inputs().zip(next.inputs()) {
        if let Some(name) = old.name.as_ref().filter(|_| old.name != new.name) {
            let message = format!("cannot change name of input parameter \"{name}\"");
            return Err(invalid(message).with_hint(hint));
        }
        if old.default.is_some() && new.default.is_none() {
            let message = "cannot remove parameter defaults from existing function";
            return Err(invalid(message).with_hint(hint));
        }
    }
    Ok(())
}

/// That the body is one, as far as can be told without arguments; names in a block may be made later.
async fn check_body(planning: &Planning<'_>, function: &Function) -> Result<()> {
    if matches!(function.body, Body::Block(_)) {
        return body::statement_of(function).map(|_| ());
    }
    let plan = plan_of(planning, &Arc::new(function.clone())).await?;
    analyzed(&planning.state, plan).map(|_| ())
}

/// What a function does, as a plan with its parameters.
///
/// # Errors
/// Whatever is wrong with its body.
pub(in crate::sql) async fn plan_of(
    planning: &Planning<'_>,
    function: &Arc<Function>,
) -> Result<LogicalPlan> {
    let types = Arc::clone(&planning.session.inner.type_planner);
    let mut state = planning.state.clone();
    let pinned = crate::catalog::options::PinnedSnapshot(Arc::clone(&planning.snapshot));
    state.config_mut().set_extension(Arc::new(pinned));
    let environment = Environment {
        state: &state,
        types: &types,
        snapshot: &planning.snapshot,
    };
    let planned = body::plan(&environment, &Around::default(), function, None).await?;
    planned.plan()
}
