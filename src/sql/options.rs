//! Options of a collection: `WITH (..)`, `ALTER TABLE .. SET (..)` and `RESET (..)`.

use std::collections::HashSet;

use super::session::Session;
use crate::error::{Error, Result, sqlstate};
use crate::settings::{DURATION_MAX, Scope, Settings, duration_text};
use crate::storage::options::{AUTO_COMPACTION, CollectionOptions};
use crate::storage::ttl::{TTL, TTL_COLUMN};

/// The dotted name of a setting that has other names as an option.
fn dotted(name: &str) -> &str {
    match name {
        "segment_max_size" | "segment_bytes_max" => "segment.max_size",
        "segment_max_rows" | "segment_rows_max" => "segment.max_rows",
        "row_group_rows" | "row_group_rows_max" => "segment.row_group_rows",
        "auto_compaction" => AUTO_COMPACTION,
        "ttl_field" => TTL_COLUMN,
        _ => name.strip_prefix("shelfmark.").unwrap_or(name),
    }
}

/// Applies `WITH (..)` or `SET (..)`. What is only for PostgreSQL's tables is left out with a notice.
///
/// # Errors
/// 22023 for an option that does not exist, is of the whole database, comes twice or cannot have its value.
pub fn set(
    session: &Session,
    options: &mut CollectionOptions,
    changes: &[(String, String)],
) -> Result<()> {
    check_once(changes.iter().map(|(name, _)| name.as_str()))?;
    for (name, value) in changes {
        if is_ours(session, name) {
            change(options, name, value)?;
        }
    }
    Ok(())
}

/// Applies `RESET (..)`: the collection has the database's values again.
///
/// # Errors
/// 22023 for an option that does not exist, is of the whole database or comes twice.
pub fn reset(session: &Session, options: &mut CollectionOptions, names: &[String]) -> Result<()> {
    check_once(names.iter().map(String::as_str))?;
    let settings = &session.inner.core.engine.settings;
    let usual = CollectionOptions::from_settings(settings);
    for name in names.iter().filter(|name| is_ours(session, name)) {
        match check(name)? {
            "segment.max_size" => options.segment_bytes_max = usual.segment_bytes_max,
            "segment.max_rows" => options.segment_rows_max = usual.segment_rows_max,
            "segment.row_group_rows" => options.row_group_rows_max = usual.row_group_rows_max,
            name => {
                options.own_settings.remove(name);
            }
        }
    }
    Ok(())
}

/// That no option comes twice, whatever it is called.
fn check_once<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(dotted(name)) {
            return Err(invalid(format!(
                "parameter \"{name}\" specified more than once"
            )));
        }
    }
    Ok(())
}

/// Whether an option means something here; a notice tells what does not.
fn is_ours(session: &Session, name: &str) -> bool {
    let is_ours = !is_tuning(name);
    if !is_ours {
        let text = format!("storage parameter \"{name}\" is PostgreSQL's and changes nothing");
        session.notice(text);
    }
    is_ours
}

/// Whether an option is a storage parameter of PostgreSQL's tables, which have no counterpart.
fn is_tuning(name: &str) -> bool {
    let known = [
        "fillfactor",
        "parallel_workers",
        "toast_tuple_target",
        "user_catalog_table",
    ];
    let prefixes = ["autovacuum_", "toast.", "vacuum_", "log_autovacuum_"];
    known.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn change(options: &mut CollectionOptions, name: &str, value: &str) -> Result<()> {
    let setting = check(name)?;
    if is_of_ttl(setting) {
        let value = match setting {
            TTL => time_to_live(value)?,
            _ => value.to_string(),
        };
        options.own_settings.insert(setting.to_string(), value);
        return Ok(());
    }
    let mut settings = Settings::default();
    settings.set(setting, value).map_err(|error| {
        let wrong = invalid(format!("invalid value for option \"{name}\": \"{value}\""));
        match error.hint() {
            Some(hint) => wrong.with_hint(hint.to_string()),
            None => wrong,
        }
    })?;
    match setting {
        "segment.max_size" => options.segment_bytes_max = settings.segment_max_size.0,
        "segment.max_rows" => options.segment_rows_max = settings.segment_max_rows,
        "segment.row_group_rows" => options.row_group_rows_max = settings.segment_row_group_rows,
        _ => {
            let value = settings.get(setting)?;
            options.own_settings.insert(setting.to_string(), value);
        }
    }
    Ok(())
}

/// Whether an option says when rows expire: a collection alone has such.
fn is_of_ttl(name: &str) -> bool {
    [TTL, TTL_COLUMN].contains(&name)
}

/// The text of a duration, the same for the same time.
fn time_to_live(value: &str) -> Result<String> {
    let duration = humantime::parse_duration(value).ok();
    let duration = duration.filter(|duration| *duration <= DURATION_MAX);
    duration.map(duration_text).ok_or_else(|| {
        let error = invalid(format!("invalid value for option \"{TTL}\": \"{value}\""));
        error.with_hint("It is a duration such as 30 days or 1h 30min, of 100 years at the most.")
    })
}

/// The name of the setting that an option is, of those that a collection can have of its own.
fn check(name: &str) -> Result<&str> {
    let setting = dotted(name);
    if is_of_ttl(setting) {
        return Ok(setting);
    }
    match Settings::scope(setting) {
        Ok(Scope::Collection) => Ok(setting),
        Ok(Scope::Session) => {
            let error = invalid(format!(
                "parameter \"{name}\" is not of a single collection"
            ));
            Err(error.with_hint(format!("SET shelfmark.{setting} sets it for a session.")))
        }
        Ok(Scope::Global) => {
            let error = invalid(format!("parameter \"{name}\" is of the whole database"));
            Err(error.with_hint("It is given when the database is opened."))
        }
        Err(_) => {
            let known = Settings::default().list().into_iter();
            let known = known.filter(|info| info.scope == Scope::Collection);
            let names = known.map(|info| info.name).chain([TTL, TTL_COLUMN]);
            let names: Vec<&str> = names.collect();
            let error = invalid(format!("unrecognized parameter \"{name}\""));
            Err(error.with_hint(format!("Options are {}.", names.join(", "))))
        }
    }
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code(name: &str, value: &str) -> String {
        let mut options = CollectionOptions::default();
        let error = change(&mut options, name, value).unwrap_err();
        assert_eq!(options, CollectionOptions::default());
        error.sqlstate().to_string()
    }

    #[test]
    fn every_setting_of_a_collection_can_be_set() {
        for info in Settings::default().list() {
            let mut options = CollectionOptions::default();
            let changed = change(&mut options, info.name, &info.value);
            assert_eq!(
                changed.is_ok(),
                info.scope == Scope::Collection,
                "{}",
                info.name
            );
            if changed.is_ok() {
                let value = options.list().find(|(name, _)| *name == info.name);
                assert_eq!(value, Some((info.name, info.value)));
            }
        }
    }

    #[test]
    fn short_names_are_the_dotted_ones() {
        let mut options = CollectionOptions::default();
        for (name, value) in [
            ("segment_max_size", "2MB"),
            ("segment_rows_max", "500"),
            ("row_group_rows", "50"),
            ("auto_compaction", "false"),
            ("shelfmark.compaction.clustering.min_interval", "90 min"),
        ] {
            change(&mut options, name, value).unwrap();
        }
        let list: Vec<String> = options.list().map(|(n, v)| format!("{n}={v}")).collect();
        let expected = [
            "compaction.auto=off",
            "compaction.clustering.min_interval=1h 30m",
            "segment.max_rows=500",
            "segment.max_size=2MiB",
            "segment.row_group_rows=50",
        ];
        assert_eq!(list, expected);
    }

    #[test]
    fn a_time_to_live_has_one_text() {
        let mut options = CollectionOptions::default();
        for (value, text) in [("30 days", "30days"), ("90min", "1h 30m"), ("0s", "0s")] {
            change(&mut options, "shelfmark.ttl", value).unwrap();
            assert_eq!(options.own_settings["ttl"], text);
        }
        change(&mut options, "ttl_field", "created").unwrap();
        assert_eq!(options.own_settings["ttl_column"], "created");
    }

    #[test]
    fn wrong_names_and_values_are_refused() {
        for (name, value) in [
            ("ttl", "-1"),
            ("ttl", "soon"),
            ("ttl", "101 years"),
            ("nothing", "1"),
            ("compaction.nothing", "1"),
            ("memory_limit", "1GiB"),
            ("compaction.memory_budget", "1GiB"),
            ("enable_segment_prune", "off"),
            ("segment.max_rows", "0"),
            ("segment.max_rows", "many"),
            ("segment.max_size", "1kB"),
            ("auto_compaction", "maybe"),
            ("compaction.clustering.min_interval", "-1h"),
            ("segment.small_proportion", "1.1"),
        ] {
            assert_eq!(code(name, value), "22023", "{name} = {value}");
        }
    }
}
