//! Options of a collection: the sizes of its segments, and the settings that it has of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::{ByteSize, Settings};

/// Options of a collection, set by `WITH (..)` and `ALTER TABLE .. SET (..)`.
///
/// The sizes are those of the database when the collection was created, so that segments stay alike; all other
/// settings follow the database unless the collection has its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredOptions")]
pub struct CollectionOptions {
    /// The most bytes a segment should have (uncompressed Arrow size of its rows).
    pub segment_bytes_max: u64,
    /// The most rows a segment may have.
    pub segment_rows_max: u64,
    /// The most rows a row group may have.
    pub row_group_rows_max: u64,
    /// Settings that the collection has of its own: texts by dotted name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub own_settings: BTreeMap<String, String>,
}

/// Options as they are, or as they were when `auto_compaction` was the only setting of a collection.
#[derive(Deserialize)]
struct StoredOptions {
    segment_bytes_max: Option<u64>,
    segment_rows_max: Option<u64>,
    row_group_rows_max: Option<u64>,
    #[serde(default)]
    own_settings: BTreeMap<String, String>,
    auto_compaction: Option<bool>,
}

impl From<StoredOptions> for CollectionOptions {
    fn from(stored: StoredOptions) -> Self {
        let usual = Self::default();
        let mut own_settings = stored.own_settings;
        if stored.auto_compaction == Some(false) {
            own_settings.insert(AUTO_COMPACTION.to_string(), "off".to_string());
        }
        Self {
            segment_bytes_max: stored.segment_bytes_max.unwrap_or(usual.segment_bytes_max),
            segment_rows_max: stored.segment_rows_max.unwrap_or(usual.segment_rows_max),
            row_group_rows_max: stored
                .row_group_rows_max
                .unwrap_or(usual.row_group_rows_max),
            own_settings,
        }
    }
}

/// The setting that `auto_compaction` is short for.
pub const AUTO_COMPACTION: &str = "compaction.auto";

impl Default for CollectionOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 128 << 20,
            segment_rows_max: 1_000_000,
            row_group_rows_max: 16_384,
            own_settings: BTreeMap::new(),
        }
    }
}

impl CollectionOptions {
    /// The options of a new collection that names none.
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            segment_bytes_max: settings.segment_max_size.0,
            segment_rows_max: settings.segment_max_rows,
            row_group_rows_max: settings.segment_row_group_rows,
            ..Self::default()
        }
    }

    /// The settings that hold for the collection in a database with `settings`. Compaction that the database has
    /// turned off stays off.
    pub fn settings(&self, settings: &Settings) -> Settings {
        let mut all = settings.clone();
        for (name, value) in &self.own_settings {
            // They were checked when they were set; one that this version no longer has is as if it was not set.
            let _ = all.set(name, value);
        }
        all.compaction_enable &= settings.compaction_enable;
        all.compaction_clustering_enable &= settings.compaction_clustering_enable;
        all
    }

    /// All options in the order of their names, as texts that `SET (..)` reads back.
    pub fn list(&self) -> impl Iterator<Item = (&str, String)> {
        let sizes = [
            ("segment.max_rows", self.segment_rows_max.to_string()),
            (
                "segment.max_size",
                ByteSize(self.segment_bytes_max).to_string(),
            ),
            (
                "segment.row_group_rows",
                self.row_group_rows_max.to_string(),
            ),
        ];
        let own = self.own_settings.iter();
        let mut all: Vec<_> = own
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        all.extend(sizes);
        all.sort_unstable();
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn own_settings_win_over_those_of_the_database() {
        let mut options = CollectionOptions::default();
        let database = Settings {
            compaction_auto: false,
            ..Settings::default()
        };
        assert_eq!(options.settings(&database), database);
        let own = &mut options.own_settings;
        own.insert("compaction.auto".into(), "on".into());
        own.insert("compaction.clustering.min_interval".into(), "2h".into());
        own.insert("of.another.version".into(), "1".into());
        let settings = options.settings(&database);
        assert!(settings.compaction_auto);
        assert_eq!(settings.compaction_clustering_min_interval.as_secs(), 7_200);
        let expected = Settings {
            compaction_auto: true,
            compaction_clustering_min_interval: settings.compaction_clustering_min_interval,
            ..database
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_the_database_turned_off_stays_off() {
        let mut options = CollectionOptions::default();
        for name in ["compaction.enable", "compaction.clustering.enable"] {
            options.own_settings.insert(name.into(), "on".into());
        }
        let off = Settings {
            compaction_enable: false,
            compaction_clustering_enable: false,
            ..Settings::default()
        };
        let settings = options.settings(&off);
        assert!(!settings.compaction_enable && !settings.compaction_clustering_enable);
        for value in options.own_settings.values_mut() {
            *value = "off".into();
        }
        let settings = options.settings(&Settings::default());
        assert!(!settings.compaction_enable && !settings.compaction_clustering_enable);
    }

    #[test]
    fn options_of_before_are_read() {
        let old = r#"{"segment_bytes_max":1048576,"segment_rows_max":7,"row_group_rows_max":3,"auto_compaction":false}"#;
        let read: CollectionOptions = serde_json::from_str(old).unwrap();
        assert_eq!(
            (read.segment_bytes_max, read.segment_rows_max),
            (1 << 20, 7)
        );
        assert!(!read.settings(&Settings::default()).compaction_auto);
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!(
            serde_json::from_str::<CollectionOptions>(&again).unwrap(),
            read
        );
        let on = old.replace("false", "true");
        let read: CollectionOptions = serde_json::from_str(&on).unwrap();
        assert!(read.own_settings.is_empty());
        let empty: CollectionOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, CollectionOptions::default());
    }

    #[test]
    fn the_list_has_sizes_and_own_settings() {
        let mut options = CollectionOptions::default();
        options
            .own_settings
            .insert(AUTO_COMPACTION.into(), "off".into());
        let list: Vec<String> = options.list().map(|(n, v)| format!("{n}={v}")).collect();
        let expected = [
            "compaction.auto=off",
            "segment.max_rows=1000000",
            "segment.max_size=128MiB",
            "segment.row_group_rows=16384",
        ];
        assert_eq!(list, expected);
    }
}
