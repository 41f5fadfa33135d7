//! The settings of a session, carried by DataFusion's configuration so that plain DataFusion sessions have them too.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::execution::context::SessionConfig;

use super::zone::DateOrder;
use crate::error::Error;
use crate::settings::{Scope, SettingInfo, Settings};
use crate::storage::engine::Engine;
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// The SQLSTATE of a parameter that cannot be set now.
const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";

/// Settings under the prefix `shelfmark`, for `SessionConfig::with_option_extension`.
///
/// A session without this extension has the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShelfmarkOptions {
    /// The settings as the session sees them.
    pub settings: Settings,
    /// When changes of rows are answered: `synchronous_commit` of our own sessions.
    pub durability: Durability,
    /// The order in which dates in text are read: the second part of `DateStyle`.
    pub date_order: DateOrder,
}

/// The version that a statement or transaction reads, put into the session's configuration with
/// `SessionConfig::set_extension`; without it a scan reads the newest.
#[derive(Debug, Clone)]
pub struct PinnedSnapshot(pub Arc<Snapshot>);

impl PinnedSnapshot {
    /// What statements of the session read: the version that is pinned, or the newest.
    pub fn or_newest(config: &SessionConfig, engine: &Engine) -> Arc<Snapshot> {
        match config.get_extension::<Self>() {
            Some(pinned) => Arc::clone(&pinned.0),
            None => engine.committer.snapshot(),
        }
    }
}

impl ShelfmarkOptions {
    /// The settings that a session of a database begins with.
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            durability: Durability::default(),
            date_order: DateOrder::default(),
        }
    }

    /// The settings of a session, or the defaults.
    pub fn settings_of(config: &ConfigOptions) -> Settings {
        let own = config.extensions.get::<Self>();
        own.map(|own| own.settings.clone()).unwrap_or_default()
    }

    /// When the session wants changes of rows to be answered.
    pub fn durability_of(config: &ConfigOptions) -> Durability {
        let own = config.extensions.get::<Self>();
        own.map(|own| own.durability).unwrap_or_default()
    }

    /// The order in which the session reads dates.
    pub fn date_order_of(config: &ConfigOptions) -> DateOrder {
        let own = config.extensions.get::<Self>();
        own.map(|own| own.date_order).unwrap_or_default()
    }

    /// Whether the session wants segments, row groups and pages to be pruned.
    pub fn prunes(config: &ConfigOptions) -> bool {
        let own = config.extensions.get::<Self>();
        own.is_none_or(|own| own.settings.enable_segment_prune)
    }
}

impl ConfigExtension for ShelfmarkOptions {
    const PREFIX: &'static str = "shelfmark";
}

impl ExtensionOptions for ShelfmarkOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    /// Sets a session setting; those of the whole database are refused (55P02).
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if Settings::scope(key)? != Scope::Session && self.settings.get(key)? != value {
            let message = format!("parameter \"shelfmark.{key}\" cannot be changed now");
            let error = Error::invalid(CANT_CHANGE_RUNTIME_PARAM, message)
                .with_hint("It is given when the database is opened.");
            return Err(error.into());
        }
        Ok(self.settings.set(key, value)?)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |info: SettingInfo| ConfigEntry {
            key: format!("{}.{}", Self::PREFIX, info.name),
            value: Some(info.value),
            description: info.description,
        };
        self.settings.list().into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    #[tokio::test]
    async fn a_plain_session_sets_and_shows_them() {
        let config = SessionConfig::new()
            .with_information_schema(true)
            .with_option_extension(ShelfmarkOptions::default());
        let context = SessionContext::new_with_config(config);
        assert!(ShelfmarkOptions::prunes(context.state().config_options()));
        let set = "SET shelfmark.enable_segment_prune = off";
        context.sql(set).await.unwrap().collect().await.unwrap();
        assert!(!ShelfmarkOptions::prunes(context.state().config_options()));
        let shown = context.sql("SHOW shelfmark.enable_segment_prune").await;
        let shown = shown.unwrap().to_string().await.unwrap();
        assert!(shown.contains("off"), "{shown}");
    }

    #[tokio::test]
    async fn wrong_names_values_and_times_are_refused() {
        let config = SessionConfig::new().with_option_extension(ShelfmarkOptions::default());
        let context = SessionContext::new_with_config(config);
        for (set, code) in [
            ("SET shelfmark.nonsense = 1", "42704"),
            ("SET shelfmark.enable_segment_prune = maybe", "22023"),
            ("SET shelfmark.memory_limit = '64MiB'", "55P02"),
        ] {
            let error = match context.sql(set).await {
                Ok(frame) => frame.collect().await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(Error::from(error).sqlstate(), code, "{set}");
        }
    }
}
