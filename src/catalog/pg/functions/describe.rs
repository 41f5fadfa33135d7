//! Functions that describe an object of the catalogs in words or SQL.

use super::{Call, Definition, Gives, Value};
use crate::catalog::pg::definition::{
    function_arguments, function_result, index_definition, index_of_constraint, index_part,
    key_definition,
};
use crate::catalog::pg::extensions;
use crate::catalog::pg::fixed::{self, lines, named_function};
use crate::catalog::pg::oid;
use crate::catalog::pg::references::references;
use crate::catalog::pg::routines::{self, function_of};
use crate::catalog::pg::types;
use crate::catalog::pg::views::definition;
use crate::storage::function::Function;
use datafusion::common::Result;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("format_type", 2..=2, Gives::Text, type_name).with_nulls(),
    Definition::new("pg_get_expr", 2..=3, Gives::Text, |c| Ok(c.text(0).into())),
    Definition::new("pg_get_indexdef", 1..=3, Gives::Text, index),
    Definition::new("pg_get_constraintdef", 1..=2, Gives::Text, constraint),
    Definition::new("pg_get_viewdef", 1..=2, Gives::Text, view),
    Definition::new("pg_get_ruledef", 1..=2, Gives::Text, nothing),
    Definition::new("pg_get_triggerdef", 1..=2, Gives::Text, nothing),
    Definition::new("pg_get_statisticsobjdef", 1..=1, Gives::Text, nothing),
    Definition::new(
        "pg_get_statisticsobjdef_columns",
        1..=1,
        Gives::Text,
        nothing,
    ),
    Definition::new("pg_get_function_sqlbody", 1..=1, Gives::Text, nothing),
    Definition::new("pg_get_function_arg_default", 2..=2, Gives::Text, nothing),
    Definition::new("pg_get_functiondef", 1..=1, Gives::Text, |c| {
        let function = c.oid(0).and_then(|oid| function_of(c.context, oid));
        let definition =
            |function: Arc<Function>| routines::definition(c.context.snapshot(), &function);
        Ok(function.map(definition).into())
    }),
    Definition::new("pg_get_function_arguments", 1..=1, Gives::Text, arguments),
    Definition::new(
        "pg_get_function_identity_arguments",
        1..=1,
        Gives::Text,
        identity_arguments,
    ),
    Definition::new("pg_get_function_result", 1..=1, Gives::Text, |c| {
        if let Some(function) = c.oid(0).and_then(|oid| function_of(c.context, oid)) {
            return Ok(routines::result(c.context.snapshot(), &function).into());
        }
        Ok(c.oid(0).and_then(function_result).into())
    }),
    Definition::new("pg_describe_object", 3..=3, Gives::Text, object),
    Definition::new("obj_description", 1..=2, Gives::Text, description),
    Definition::new("shobj_description", 2..=2, Gives::Text, shared_description),
    Definition::new("col_description", 2..=2, Gives::Text, column_description),
    // Of what is not counted.
    Definition::new("pg_stat_get_numscans", 1..=1, Gives::Int8, |_| {
        Ok(Value::Int(0))
    }),
    Definition::new("pg_indexam_has_property", 2..=2, Gives::Bool, |c| {
        let ordered = c.oid(0) == Some(oid::AM_BTREE);
        let orders = c.text(1).is_some_and(|p| p == "can_order");
        Ok((ordered && orders).into())
    }),
];

/// Of objects that collections do not have.
fn nothing(_: &Call<'_>) -> Result<Value> {
    Ok(Value::Null)
}

fn type_name(call: &Call<'_>) -> Result<Value> {
    let typmod = call.int(1).and_then(|m| i32::try_from(m).ok());
    let name = |oid| types::type_name(call.context, call.config, oid, typmod);
    Ok(call.oid(0).map(name).into())
}

/// The definition of an index, or of its nth column.
fn index(call: &Call<'_>) -> Result<Value> {
    let Some(index) = call.relation(0)?.filter(|r| r.kind() == "i") else {
        return Ok(Value::Null);
    };
    let part = call
        .int(1)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0);
    Ok(match part {
        None => index_definition(index).into(),
        Some(n) => index_part(index, n).unwrap_or_default().into(),
    })
}

fn constraint(call: &Call<'_>) -> Result<Value> {
    let objects = call.context.objects();
    let Some(wanted) = call.oid(0) else {
        return Ok(Value::Null);
    };
    if let Some(index) = index_of_constraint(objects, wanted) {
        return Ok(key_definition(index).into());
    }
    if let Some(found) = references(objects).find(|reference| reference.oid() == wanted) {
        return Ok(found.definition().into());
    }
    let domains = call.context.snapshot().domains();
    let mut checks = domains.flat_map(|domain| &domain.checks);
    if let Some(check) = checks.find(|check| oid::domain_check(check.id) == wanted) {
        return Ok(format!("CHECK (({}))", check.condition).into());
    }
    let collections = call.context.snapshot().collections();
    let mut checks = collections.flat_map(|c| c.schema.checks.iter().map(|check| (c.id, check)));
    let check = checks.find(|(id, check)| oid::check(*id, &check.name) == wanted);
    Ok(check
        .map(|(_, check)| format!("CHECK (({}))", check.condition))
        .into())
}

fn view(call: &Call<'_>) -> Result<Value> {
    Ok(call.relation(0)?.and_then(definition).into())
}

fn arguments(call: &Call<'_>) -> Result<Value> {
    listed(call, true)
}

fn identity_arguments(call: &Call<'_>) -> Result<Value> {
    listed(call, false)
}

fn listed(call: &Call<'_>, with_defaults: bool) -> Result<Value> {
    let Some(oid) = call.oid(0) else {
        return Ok(Value::Null);
    };
    if let Some(function) = function_of(call.context, oid) {
        let snapshot = call.context.snapshot();
        return Ok(routines::arguments(snapshot, &function, with_defaults).into());
    }
    // Functions that PostgreSQL does not have take what DataFusion lets them.
    Ok(function_arguments(oid)
        .unwrap_or_else(|| "VARIADIC \"any\"".to_string())
        .into())
}

/// `type vector`, `function l2_norm(vector)`, `table book`: an object in words.
fn object(call: &Call<'_>) -> Result<Value> {
    let (class, object) = (call.oid(0).unwrap_or(0), call.oid(1).unwrap_or(0));
    let objects = call.context.objects();
    Ok(match class {
        oid::PG_TYPE => {
            let name = types::type_name(call.context, call.config, object, None);
            Value::from(format!("type {name}"))
        }
        oid::PG_PROC => named_function(object)
            .map(|f| {
                let arguments = function_arguments(object).unwrap_or_default();
                format!("function {}({})", f.name, arguments.replace(", ", ","))
            })
            .into(),
        oid::PG_CLASS => objects
            .relation(object)
            .map(|r| match r.kind() {
                "v" => format!("view {}", r.name),
                "m" => format!("materialized view {}", r.name),
                "i" => format!("index {}", r.name),
                _ => format!("table {}", r.name),
            })
            .into(),
        oid::PG_NAMESPACE => objects
            .namespace(object)
            .map(|name| format!("schema {name}"))
            .into(),
        _ => Value::Null,
    })
}

/// The comment that users gave to an object of a catalog.
fn comment(call: &Call<'_>, class: u32, column: i16) -> Option<String> {
    let place = (class, call.oid(0)?, column);
    let text = call.context.objects().comments.get(&place)?;
    Some(text.to_string())
}

/// The comment of a column.
fn column_description(call: &Call<'_>) -> Result<Value> {
    let column = call.int(1).and_then(|n| i16::try_from(n).ok());
    let text = column
        .filter(|n| *n > 0)
        .and_then(|n| comment(call, oid::PG_CLASS, n));
    Ok(text.into())
}

/// The comment of an object: what users gave it, else that of a type, operator, function, schema or extension.
fn description(call: &Call<'_>) -> Result<Value> {
    let classes = match call.text(1).as_deref() {
        Some("pg_class") => vec![oid::PG_CLASS],
        Some("pg_type") => vec![oid::PG_TYPE],
        Some("pg_namespace") => vec![oid::PG_NAMESPACE],
        Some("pg_constraint") => vec![oid::PG_CONSTRAINT],
        Some(_) => Vec::new(),
        None => vec![
            oid::PG_CLASS,
            oid::PG_TYPE,
            oid::PG_NAMESPACE,
            oid::PG_CONSTRAINT,
        ],
    };
    let mut texts = classes.into_iter().map(|class| comment(call, class, 0));
    match texts.find_map(|text| text) {
        Some(text) => Ok(text.into()),
        None => fixed_description(call),
    }
}

fn fixed_description(call: &Call<'_>) -> Result<Value> {
    let class = match call.text(1).as_deref() {
        Some("pg_type") => oid::PG_TYPE.to_string(),
        Some("pg_operator") => "2617".to_string(),
        Some("pg_proc") => oid::PG_PROC.to_string(),
        Some("pg_namespace") => return Ok(namespace_description(call.oid(0)).into()),
        Some("pg_extension") => return Ok(extensions::comment(call.oid(0)).into()),
        Some(_) => return Ok(Value::Null),
        None => String::new(),
    };
    let object = call.text(0).unwrap_or_default();
    let mut found = lines(fixed::DESCRIPTIONS)
        .filter(|l| l[0] == object && (class.is_empty() || l[1] == class));
    let known = found.next().map(|l| l[3]);
    let operator = call.oid(0).and_then(named_function).is_some();
    Ok(known.filter(|_| !class.is_empty() || operator).into())
}

fn namespace_description(namespace: Option<u32>) -> Option<&'static str> {
    match namespace? {
        oid::NAMESPACE_PG_CATALOG => Some("system catalog schema"),
        oid::NAMESPACE_PUBLIC => Some("standard public schema"),
        _ => None,
    }
}

fn shared_description(call: &Call<'_>) -> Result<Value> {
    Ok(match call.text(1).as_deref() {
        Some("pg_database") => comment(call, oid::PG_DATABASE, 0).into(),
        _ => Value::Null,
    })
}
