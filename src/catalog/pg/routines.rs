//! Functions that users made, as `pg_proc`, the information schema and the functions that describe them have them.

use std::sync::Arc;

use datafusion::config::ConfigOptions;

use super::access::{acl, owner};
use super::context::{PgContext, search_path};
use super::definition::{format_type, qualified, quote_ident};
use super::information::{Information, yes};
use super::oid;
use super::rows::{Rows, Value};
use crate::catalog::domains::row_of;
use crate::catalog::pg_type::{enum_array_oid, enum_oid, info, oid as types, type_of};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::function::{
    Body, Function, Mode, Parallel, Parameter, Returns, ValueType, Volatility,
};
use crate::storage::schema::ColumnType;
use crate::storage::snapshot::Snapshot;

/// The languages of functions in `pg_language`.
pub(super) const SQL: (u32, &str) = (14, "sql");
pub(super) const PLPGSQL: (u32, &str) = (13_700, "plpgsql");

fn language(function: &Function) -> (u32, &'static str) {
    match function.body {
        Body::Block(_) => PLPGSQL,
        Body::Text(_) | Body::Return(_) | Body::Atomic(_) => SQL,
    }
}

/// The OID of a type of values.
fn type_oid(of: &ValueType) -> u32 {
    match (of.domain, &of.column_type) {
        (Some(domain), _) => enum_oid(domain),
        (None, ColumnType::Enum(of)) => enum_oid(of.id),
        (None, ColumnType::Array(element)) if element.enum_type().is_some() => {
            element.enum_type().map_or(0, |of| enum_array_oid(of.id))
        }
        (None, column_type) => type_of(row_of(column_type).field(0)).oid,
    }
}

/// The name of a type of values.
fn type_name(snapshot: &Snapshot, of: &ValueType) -> String {
    if let Some(name) = of.domain.and_then(|id| snapshot.type_name(id)) {
        return name.to_string();
    }
    match &of.column_type {
        ColumnType::Enum(of) => of.to_string(),
        ColumnType::Array(element) if element.enum_type().is_some() => format!("{element}[]"),
        _ => format_type(type_oid(of), None),
    }
}

/// The OID of what a function gives.
fn result_oid(function: &Function) -> u32 {
    match &function.returns {
        Returns::Value(of) => type_oid(of),
        Returns::Record => types::RECORD,
        // Tables have no types of their own here: their rows are records.
        Returns::Row(_) => types::RECORD,
    }
}

/// The function of that OID.
pub(super) fn function_of(context: &PgContext, wanted: u32) -> Option<Arc<Function>> {
    let mut all = context.snapshot().functions();
    all.find(|function| oid::user_function(function.id) == wanted)
        .cloned()
}

/// Whether the bare name of a function finds it.
pub(super) fn is_visible(context: &PgContext, config: &ConfigOptions, function: &Function) -> bool {
    let path = search_path(config);
    let here = path
        .iter()
        .position(|schema| *schema == function.name.schema);
    let Some(here) = here else {
        return false;
    };
    let mut moved = function.clone();
    !path[..here].iter().any(|schema| {
        moved.name.schema.clone_from(schema);
        let mut named = context.snapshot().functions_named(&moved.name);
        named.any(|other| other.is_called_as(&moved))
    })
}

/// The OID of the function of that name, and of arguments of these types where they are said.
pub(super) fn find(
    context: &PgContext,
    config: &ConfigOptions,
    schema: Option<&str>,
    name: &str,
    types: Option<&[u32]>,
) -> Option<u32> {
    let path = match schema {
        Some(schema) => vec![schema.to_string()],
        None => search_path(config),
    };
    path.into_iter().find_map(|schema| {
        let name = QualifiedName::new(schema, name);
        let mut named = context.snapshot().functions_named(&name);
        let found = named.find(|function| {
            let own = function.inputs().map(|p| type_oid(&p.value_type));
            types.is_none_or(|types| own.eq(types.iter().copied()))
        });
        found.map(|function| oid::user_function(function.id))
    })
}

/// The name of a function as SQL writes it in the session, and the types of its arguments.
pub(super) fn written(
    context: &PgContext,
    config: &ConfigOptions,
    wanted: u32,
) -> Option<(String, String)> {
    let function = function_of(context, wanted)?;
    let QualifiedName { schema, name } = &function.name;
    let name = match is_visible(context, config, &function) {
        true => quote_ident(name),
        false => qualified(schema, name),
    };
    let types = function.inputs();
    let types = types.map(|p| type_name(context.snapshot(), &p.value_type));
    Some((name, types.collect::<Vec<_>>().join(",")))
}

fn mode_letter(mode: Mode) -> &'static str {
    match mode {
        Mode::In => "i",
        Mode::Out => "o",
        Mode::InOut => "b",
        Mode::Variadic => "v",
        Mode::Table => "t",
    }
}

/// The rows of `pg_proc` for them.
pub(super) fn pg_proc(rows: &mut Rows, context: &PgContext) {
    for function in context.snapshot().functions() {
        rows.push(&cells(context, function));
    }
}

fn cells(context: &PgContext, function: &Function) -> Vec<(&'static str, Value)> {
    let object = Object::Function(function.id);
    let inputs: Vec<_> = function.inputs().collect();
    let defaults = inputs.iter().filter_map(|p| p.default.clone());
    let defaults: Vec<String> = defaults.collect();
    let variadic = inputs.iter().find(|p| p.mode == Mode::Variadic);
    let variadic = variadic.map(|p| type_oid(&p.value_type));
    let element = variadic.and_then(info).map_or(0, |of| of.oid);
    let hints = &function.hints;
    let usual_rows = if function.returns_set { 1000.0 } else { 0.0 };
    let mut cells: Vec<(&'static str, Value)> = vec![
        ("oid", oid::user_function(function.id).into()),
        ("proname", function.name.name.as_str().into()),
        ("pronamespace", oid::schema(&function.name.schema).into()),
        ("proowner", owner(context, Some(&object)).into()),
        ("proacl", acl(context, Some(&object))),
        ("prolang", language(function).0.into()),
        ("procost", hints.cost.unwrap_or(100.0).into()),
        ("prorows", hints.rows.unwrap_or(usual_rows).into()),
        ("provariadic", element.into()),
        ("prokind", "f".into()),
        ("prosecdef", function.is_definer.into()),
        ("proleakproof", hints.leakproof.into()),
        ("proisstrict", function.is_strict.into()),
        ("proretset", function.returns_set.into()),
        ("provolatile", volatility_letter(function.volatility).into()),
        ("proparallel", parallel_letter(hints.parallel).into()),
        ("pronargs", (inputs.len() as i64).into()),
        ("pronargdefaults", (defaults.len() as i64).into()),
        ("prorettype", result_oid(function).into()),
        ("proargtypes", oids(inputs.iter().copied())),
        ("prosrc", source(function).into()),
    ];
    let parameters = &function.parameters;
    if parameters.iter().any(|p| p.mode != Mode::In) {
        let modes = parameters.iter().map(|p| mode_letter(p.mode).into());
        cells.push(("proallargtypes", oids(parameters.iter())));
        cells.push(("proargmodes", Value::List(modes.collect())));
    }
    if parameters.iter().any(|p| p.name.is_some()) {
        let names = parameters.iter();
        let names = names.map(|p| p.name.as_deref().unwrap_or_default().into());
        cells.push(("proargnames", Value::List(names.collect())));
    }
    if !defaults.is_empty() {
        cells.push(("proargdefaults", defaults.join(", ").into()));
    }
    if let Some(path) = own_path(function) {
        let path = format!("search_path={}", quoted_path(path));
        cells.push(("proconfig", Value::List(vec![path.into()])));
    }
    cells
}

fn oids<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> Value {
    let oids = parameters.map(|p| Value::from(type_oid(&p.value_type)));
    Value::List(oids.collect())
}

fn volatility_letter(of: Volatility) -> &'static str {
    match of {
        Volatility::Immutable => "i",
        Volatility::Stable => "s",
        Volatility::Volatile => "v",
    }
}

fn parallel_letter(of: Parallel) -> &'static str {
    match of {
        Parallel::Unsafe => "u",
        Parallel::Restricted => "r",
        Parallel::Safe => "s",
    }
}

/// The text of a body; PostgreSQL keeps those of standard SQL as trees, beside an empty text.
fn source(function: &Function) -> &str {
    match &function.body {
        Body::Text(text) | Body::Block(text) => text,
        Body::Return(_) | Body::Atomic(_) => "",
    }
}

/// SET search_path; what is planned when it is made keeps the path of then as well, which nobody wrote.
fn own_path(function: &Function) -> Option<&Vec<String>> {
    let path = function.search_path.as_ref();
    path.filter(|_| function.body.is_late())
}

fn quoted_path(path: &[String]) -> String {
    let quoted = path.iter().map(|name| match name.is_empty() {
        true => "\"\"".to_string(),
        false => quote_ident(name),
    });
    match path.is_empty() {
        true => "\"\"".to_string(),
        false => quoted.collect::<Vec<_>>().join(", "),
    }
}

/// The parameters as `pg_get_function_arguments` lists them; those that tell functions apart without defaults and columns
/// of TABLE.
pub(super) fn arguments(snapshot: &Snapshot, function: &Function, with_defaults: bool) -> String {
    let listed = function.parameters.iter().filter(|p| p.mode != Mode::Table);
    let texts = listed.map(|parameter| {
        let mode = match parameter.mode {
            Mode::In | Mode::Table => "",
            Mode::Out => "OUT ",
            Mode::InOut => "INOUT ",
            Mode::Variadic => "VARIADIC ",
        };
        let name = parameter.name.as_deref();
        let name = name.map_or(String::new(), |name| format!("{} ", quote_ident(name)));
        let of = type_name(snapshot, &parameter.value_type);
        match parameter.default.as_ref().filter(|_| with_defaults) {
            Some(default) => format!("{mode}{name}{of} DEFAULT {default}"),
            None => format!("{mode}{name}{of}"),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// What the function gives as `pg_get_function_result` says it.
pub(super) fn result(snapshot: &Snapshot, function: &Function) -> Option<String> {
    if function.outputs().any(|p| p.mode == Mode::Table) {
        let columns = function.outputs().map(|p| {
            let name = quote_ident(p.name.as_deref().unwrap_or_default());
            format!("{name} {}", type_name(snapshot, &p.value_type))
        });
        return Some(format!("TABLE({})", columns.collect::<Vec<_>>().join(", ")));
    }
    let of = match &function.returns {
        Returns::Value(of) => type_name(snapshot, of),
        Returns::Record => "record".to_string(),
        Returns::Row(id) => {
            let collection = snapshot.collection_by_id(*id)?;
            collection.name.to_string()
        }
    };
    let set = if function.returns_set { "SETOF " } else { "" };
    Some(format!("{set}{of}"))
}

/// The statement that makes the function.
pub(super) fn definition(snapshot: &Snapshot, function: &Function) -> String {
    let name = format!(
        "{}.{}",
        quote_ident(&function.name.schema),
        quote_ident(&function.name.name)
    );
    let mut text = format!(
        "CREATE OR REPLACE FUNCTION {name}({})\n",
        arguments(snapshot, function, true)
    );
    if let Some(result) = result(snapshot, function) {
        text.push_str(&format!(" RETURNS {result}\n"));
    }
    text.push_str(&format!(" LANGUAGE {}\n", language(function).1));
    let options = options(function);
    if !options.is_empty() {
        text.push_str(&format!(" {}\n", options.join(" ")));
    }
    if let Some(path) = own_path(function) {
        text.push_str(&format!(" SET search_path TO {}\n", quoted_path(path)));
    }
    text.push_str(&body(function));
    text
}

fn options(function: &Function) -> Vec<String> {
    let hints = &function.hints;
    let mut options = Vec::new();
    match function.volatility {
        Volatility::Immutable => options.push("IMMUTABLE".to_string()),
        Volatility::Stable => options.push("STABLE".to_string()),
        Volatility::Volatile => {}
    }
    match hints.parallel {
        Parallel::Safe => options.push("PARALLEL SAFE".to_string()),
        Parallel::Restricted => options.push("PARALLEL RESTRICTED".to_string()),
        Parallel::Unsafe => {}
    }
    if function.is_strict {
        options.push("STRICT".to_string());
    }
    if function.is_definer {
        options.push("SECURITY DEFINER".to_string());
    }
    if hints.leakproof {
        options.push("LEAKPROOF".to_string());
    }
    options.extend(hints.cost.map(|cost| format!("COST {cost}")));
    options.extend(hints.rows.map(|rows| format!("ROWS {rows}")));
    options
}

fn body(function: &Function) -> String {
    match &function.body {
        Body::Return(text) => format!("RETURN {text}\n"),
        Body::Atomic(text) => format!("BEGIN ATOMIC\n {}\nEND\n", text.trim()),
        Body::Text(text) | Body::Block(text) => {
            let mut quotes = "$function$".to_string();
            while text.contains(quotes.trim_end_matches('$')) {
                quotes = format!("{}x$", quotes.trim_end_matches('$'));
            }
            format!("AS {quotes}{text}{quotes}\n")
        }
    }
}

/// Their rows of `information_schema.routines`.
pub(super) fn routines(rows: &mut Rows, information: &Information<'_>) {
    let snapshot = information.context.snapshot();
    for function in snapshot.functions() {
        let database = information.database();
        let QualifiedParts {
            schema,
            name,
            specific,
        } = parts(function);
        let yes_or_no = |is| yes(is);
        let mut cells = vec![
            ("specific_catalog", database.into()),
            ("specific_schema", schema.into()),
            ("specific_name", specific.into()),
            ("routine_catalog", database.into()),
            ("routine_schema", schema.into()),
            ("routine_name", name.into()),
            ("routine_type", "FUNCTION".into()),
            ("routine_body", "EXTERNAL".into()),
            ("routine_definition", source(function).into()),
            (
                "external_language",
                language(function).1.to_uppercase().into(),
            ),
            ("parameter_style", "GENERAL".into()),
            (
                "is_deterministic",
                yes_or_no(function.volatility == Volatility::Immutable),
            ),
            ("sql_data_access", "MODIFIES".into()),
            (
                "security_type",
                if function.is_definer {
                    "DEFINER"
                } else {
                    "INVOKER"
                }
                .into(),
            ),
        ];
        let data_type = match &function.returns {
            Returns::Value(of) => type_name(snapshot, of),
            Returns::Row(_) | Returns::Record => "record".to_string(),
        };
        cells.push(("is_null_call", yes_or_no(function.is_strict)));
        cells.push(("data_type", data_type.into()));
        rows.push(&cells);
    }
}

/// The names of a function in the information schema.
struct QualifiedParts<'a> {
    schema: &'a str,
    name: &'a str,
    specific: String,
}

fn parts(function: &Function) -> QualifiedParts<'_> {
    let name = function.name.name.as_str();
    QualifiedParts {
        schema: &function.name.schema,
        name,
        specific: format!("{name}_{}", oid::user_function(function.id)),
    }
}

/// Their rows of `information_schema.parameters`.
pub(super) fn parameters(rows: &mut Rows, information: &Information<'_>) {
    let snapshot = information.context.snapshot();
    for function in snapshot.functions() {
        let QualifiedParts {
            schema, specific, ..
        } = parts(function);
        for (place, parameter) in function.parameters.iter().enumerate() {
            let mode = match parameter.mode {
                Mode::In | Mode::Variadic => "IN",
                Mode::Out | Mode::Table => "OUT",
                Mode::InOut => "INOUT",
            };
            rows.push(&[
                ("specific_catalog", information.database().into()),
                ("specific_schema", schema.into()),
                ("specific_name", specific.as_str().into()),
                ("ordinal_position", Value::Int(place as i64 + 1)),
                ("parameter_mode", mode.into()),
                ("is_result", yes(false)),
                ("as_locator", yes(false)),
                ("parameter_name", parameter.name.as_deref().into()),
                (
                    "data_type",
                    type_name(snapshot, &parameter.value_type).into(),
                ),
                ("dtd_identifier", (place + 1).to_string().into()),
                ("parameter_default", parameter.default.as_deref().into()),
            ]);
        }
    }
}
