//! SET, RESET and SHOW.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use super::command::CommandNode;
use super::session::{Session, Tag, done, text_row};
use crate::database::session_config;
use crate::error::{Error, Result, sqlstate};
use crate::settings::{Scope, Settings};

/// Prefixes of DataFusion's options that a session may change; the others reach files or shared memory.
const ALLOWED: [&str; 4] = [
    "datafusion.execution.",
    "datafusion.optimizer.",
    "datafusion.explain.",
    "datafusion.format.",
];

/// Names of Postgres that are DataFusion's under another name.
fn alias(name: &str) -> Option<&'static str> {
    match name {
        "timezone" => Some("datafusion.execution.time_zone"),
        "search_path" => Some("datafusion.catalog.default_schema"),
        _ => None,
    }
}

fn unknown(name: &str) -> Error {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        .with_hint("SELECT * FROM shelfmark.settings lists the settings.")
}

/// The option of the session's configuration that `name` sets.
///
/// # Errors
/// 42704 for a name that is not allowed, 55P02 for a setting of the whole database.
fn option_of(name: &str) -> Result<String> {
    if let Some(name) = alias(name) {
        return Ok(name.to_string());
    }
    if let Some(own) = name.strip_prefix("shelfmark.") {
        return match Settings::scope(own)? {
            Scope::Session => Ok(name.to_string()),
            Scope::Global => Err(Error::invalid(
                "55P02",
                format!("parameter \"{name}\" cannot be changed in a session"),
            )
            .with_hint("It is given when the database is opened.")),
        };
    }
    if ALLOWED.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(name.to_string());
    }
    Err(unknown(name))
}

/// SET and RESET.
pub(super) fn set(
    session: &Session,
    name: String,
    value: Option<String>,
) -> Result<(Tag, LogicalPlan)> {
    let option = option_of(&name)?;
    let session = session.clone();
    let tag = if value.is_some() { "SET" } else { "RESET" };
    done(tag, format!("Set: {name}"), move || {
        let (session, option, value) = (session.clone(), option.clone(), value.clone());
        async move {
            let value = match value {
                Some(value) => value,
                None => default_of(&session, &option)?,
            };
            set_option(&session, &option, &value)
        }
    })
}

/// The value an option has in a new session.
fn default_of(session: &Session, option: &str) -> Result<String> {
    let fresh = session_config(&session.inner.core.engine);
    current(fresh.options(), option).ok_or_else(|| unknown(option))
}

fn set_option(session: &Session, option: &str, value: &str) -> Result<()> {
    let value = match option {
        "datafusion.catalog.default_schema" => first_schema(session, value)?,
        _ => value.to_string(),
    };
    let value = match value.to_lowercase().as_str() {
        "on" => "true".to_string(),
        "off" => "false".to_string(),
        _ => value,
    };
    let state = session.inner.context.state_ref();
    let mut state = state.write();
    state
        .config_mut()
        .options_mut()
        .set(option, &value)
        .map_err(|e| {
            let message = format!("invalid value \"{value}\" for parameter \"{option}\"");
            Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).with_source(e)
        })
}

/// The first schema of a search path that exists.
fn first_schema(session: &Session, path: &str) -> Result<String> {
    let snapshot = session.snapshot();
    let mut names = path.split(',').map(|name| name.trim().trim_matches('"'));
    let found = names.find(|name| snapshot.has_schema(name) || *name == "shelfmark");
    found.map(ToString::to_string).ok_or_else(|| {
        let message = format!("no schema of the search path \"{path}\" exists");
        Error::not_found(sqlstate::INVALID_SCHEMA_NAME, message)
    })
}

fn current(options: &ConfigOptions, name: &str) -> Option<String> {
    options
        .entries()
        .into_iter()
        .find(|e| e.key == name)
        .map(|e| e.value.unwrap_or_default())
}

/// SHOW name, SHOW ALL.
pub(super) fn show(session: &Session, name: &str) -> Result<(Tag, LogicalPlan)> {
    if name == "all" {
        return Ok((Tag::Shown("SHOW"), show_all(session)?));
    }
    let value = match name {
        "server_version" => env!("CARGO_PKG_VERSION").to_string(),
        _ => value_of(session, name)?,
    };
    Ok((
        Tag::Shown("SHOW"),
        text_row(format!("Show: {name}"), name, value)?,
    ))
}

fn value_of(session: &Session, name: &str) -> Result<String> {
    let state = session.inner.context.state();
    let option = alias(name).unwrap_or(name);
    if let Some(value) = current(state.config_options(), option) {
        return Ok(value);
    }
    match name.strip_prefix("shelfmark.") {
        Some(own) => session.inner.core.engine.settings.get(own),
        None => Err(unknown(name)),
    }
}

fn show_all(session: &Session) -> Result<LogicalPlan> {
    let listed = session.inner.core.engine.settings.list();
    let mut rows: Vec<(String, String, &str)> = Vec::new();
    for setting in &listed {
        let name = format!("shelfmark.{}", setting.name);
        let value = value_of(session, &name)?;
        rows.push((name, value, setting.description));
    }
    for name in ["search_path", "timezone"] {
        rows.push((name.to_string(), value_of(session, name)?, ""));
    }
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![
        text("name"),
        text("setting"),
        text("description"),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.1))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let action = move || {
        let batch = batch.clone();
        async move { Ok(batch) }.boxed()
    };
    CommandNode::plan("Show: all", schema, Arc::new(action))
}
