//! What DataFusion's configuration is told of variables.

use std::sync::atomic::Ordering;

use datafusion::config::ConfigOptions;

use super::list;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::search_path;
use crate::catalog::system::SYSTEM_SCHEMA;
use crate::database::session_config;
use crate::sql::format::{Style, Zone};
use crate::sql::session::Session;
use crate::storage::transaction::Durability;

impl Session {
    /// Tells DataFusion's configuration of the value of a variable; `None` is its default.
    pub(super) fn apply(&self, name: &str, value: Option<&str>) {
        self.inner.variable_changes.fetch_add(1, Ordering::Relaxed);
        if may_change_plans(name) {
            self.inner.plan_changes.fetch_add(1, Ordering::Relaxed);
        }
        let state = self.inner.context.state_ref();
        let set = |options: &mut dyn FnMut(&mut ConfigOptions)| {
            options(state.write().config_mut().options_mut());
        };
        match name {
            "TimeZone" => {
                let zone = time_zone(&self.raw(name));
                set(&mut |options| options.execution.time_zone = Some(zone.clone()));
            }
            "DateStyle" => {
                let mut style = Style::default();
                // The value was accepted by the same function when it was set.
                drop(style.set(name, &self.raw(name)));
                set(&mut |options| {
                    if let Some(own) = options.extensions.get_mut::<ShelfmarkOptions>() {
                        own.date_order = style.date_order;
                    }
                });
            }
            "synchronous_commit" => {
                let durability = self.durability();
                set(&mut |options| {
                    if let Some(own) = options.extensions.get_mut::<ShelfmarkOptions>() {
                        own.durability = durability;
                    }
                });
            }
            "search_path" | "session_authorization" => {
                let path = self.path_of_catalog();
                set(&mut |options| options.catalog.default_schema = path.clone());
            }
            _ if name.starts_with("shelfmark.") || name.starts_with("datafusion.") => {
                let fresh = session_config(&self.inner.core.engine);
                let value = value.map(str::to_string);
                let value = value
                    .or_else(|| option(fresh.options(), name))
                    .unwrap_or_default();
                // Its value was accepted by the same options when it was set.
                set(&mut |options| drop(options.set(name, &value)));
            }
            _ => {}
        }
    }

    /// When changes of rows are answered.
    pub(in crate::sql) fn durability(&self) -> Durability {
        match self.raw("synchronous_commit").as_str() {
            "off" => Durability::Soon,
            _ => Durability::Synced,
        }
    }

    /// The search path in the spelling of `catalog::search_path`, with the user in place of `$user`. The schema of system
    /// tables is on it only by its own name: the first user has the same.
    fn path_of_catalog(&self) -> String {
        let user = self.raw("session_authorization");
        let names = list::split(&self.raw("search_path")).unwrap_or_default();
        let names = names.into_iter().filter_map(|name| match name.as_str() {
            "$user" => (user != SYSTEM_SCHEMA).then(|| user.clone()),
            _ => Some(name),
        });
        search_path::join(names)
    }
}

/// Whether a plan that was made before a variable changed may not be of use any more. Clients set those that tune an
/// approximate index or PostgreSQL's planner, and time limits, before single queries.
fn may_change_plans(name: &str) -> bool {
    let tunes = ["hnsw.", "ivfflat.", "enable_"];
    let is_limit = name.ends_with("_timeout");
    let of_client = ["application_name", "client_min_messages"];
    !(is_limit || of_client.contains(&name) || tunes.iter().any(|prefix| name.starts_with(prefix)))
}

/// DataFusion's words for on and off.
pub(super) fn switch(text: &str) -> String {
    match text.to_ascii_lowercase().as_str() {
        "on" => "true".to_string(),
        "off" => "false".to_string(),
        _ => text.to_string(),
    }
}

/// A zone as Arrow names it.
fn time_zone(name: &str) -> String {
    Zone::parse(name).unwrap_or_else(Zone::utc).arrow_name()
}

pub(super) fn option(options: &ConfigOptions, name: &str) -> Option<String> {
    let found = options
        .entries()
        .into_iter()
        .find(|entry| entry.key == name);
    found.map(|entry| entry.value.unwrap_or_default())
}
