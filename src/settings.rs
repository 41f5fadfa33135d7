//! Settings: typed values by dotted name, the same for TOML files, flags and `SET shelfmark.<name>`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, sqlstate};

/// The longest time that anything may be set to, 100 years: more is an error of who wrote it, and would not be a date.
pub const DURATION_MAX: Duration = Duration::from_secs(3_155_760_000);

/// Where a setting can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// By `SET` in any session, for that session.
    Session,
    /// For the whole database, when it is opened.
    Global,
    /// For the whole database, when it is opened, and otherwise for a collection by `ALTER TABLE .. SET`.
    Collection,
}

impl Scope {
    /// The scope as system tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Global => "database",
            Self::Collection => "collection",
        }
    }
}

/// A setting as `SHOW` and `shelfmark.settings` give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingInfo {
    /// The dotted name, without `shelfmark.`.
    pub name: &'static str,
    /// The value as text that [`Settings::set`] reads back.
    pub value: String,
    /// The default as text.
    pub default: String,
    /// Where it can be changed.
    pub scope: Scope,
    /// What it does.
    pub description: &'static str,
}

/// The name of today of a setting that had another.
fn current_name(name: &str) -> &str {
    match name {
        "compaction.small_proportion" => "segment.small_proportion",
        name => name,
    }
}

/// Declares [`Settings`]: one entry per setting, from which the struct, the defaults, the names and the texts come.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty = $default:expr, $scope:ident $key:literal in $range:expr;
    )+) => {
        /// Every setting of a database or session.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(try_from = "Tree", into = "Tree")]
        pub struct Settings {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl Settings {
            /// Sets one value by its dotted name.
            ///
            /// # Errors
            /// 42704 for a name that does not exist, 22023 for a value that it cannot have; nothing changes then.
            pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
                match current_name(name) {
                    $( $key => self.$field = parse::<$type>(&format!("shelfmark.{name}"), value, $range)?, )+
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            /// The value of that dotted name as text.
            ///
            /// # Errors
            /// 42704 for a name that does not exist.
            pub fn get(&self, name: &str) -> Result<String> {
                match current_name(name) {
                    $( $key => Ok(self.$field.to_text()), )+
                    _ => Err(unknown(name)),
                }
            }

            /// Where the setting of that dotted name can be changed.
            ///
            /// # Errors
            /// 42704 for a name that does not exist.
            pub fn scope(name: &str) -> Result<Scope> {
                match current_name(name) {
                    $( $key => Ok(Scope::$scope), )+
                    _ => Err(unknown(name)),
                }
            }

            /// All settings in the order of their declaration.
            pub fn list(&self) -> Vec<SettingInfo> {
                let default = Self::default();
                vec![$( SettingInfo {
                    name: $key,
                    value: self.$field.to_text(),
                    default: default.$field.to_text(),
                    scope: Scope::$scope,
                    description: concat!($($doc),+).trim(),
                }, )+]
            }
        }
    };
}

settings! {
    /// Whether queries skip segments, row groups and pages by their statistics.
    enable_segment_prune: bool = true, Session "enable_segment_prune" in ..;
    /// Whether `ORDER BY <distance> LIMIT k` runs as one vector search.
    enable_vector_search: bool = true, Session "enable_vector_search" in ..;
    /// The most bytes a new collection's segments should have.
    segment_max_size: ByteSize = ByteSize::mib(128), Collection "segment.max_size" in ByteSize::mib(1)..=ByteSize::mib(16_384);
    /// The most rows a new collection's segments may have.
    segment_max_rows: u64 = 1_000_000, Collection "segment.max_rows" in 1..=1_000_000_000;
    /// The most rows a row group of a new collection may have.
    segment_row_group_rows: u64 = 16_384, Collection "segment.row_group_rows" in 1..=10_000_000;
    /// Bytes of growing rows after which they are sealed.
    growing_max_size: ByteSize = ByteSize::mib(16), Collection "growing.max_size" in ByteSize(1)..=ByteSize::mib(1_024);
    /// Age of the oldest growing row after which the rows are sealed.
    growing_max_age: Duration = Duration::from_secs(300), Collection "growing.max_age" in Duration::from_millis(1)..=DURATION_MAX;
    /// Whether compaction may run at all.
    compaction_enable: bool = true, Collection "compaction.enable" in ..;
    /// Whether merges, purges and clusterings may start by themselves; growing rows are sealed in any case.
    compaction_auto: bool = true, Collection "compaction.auto" in ..;
    /// The most memory that one compaction may use, whatever memory_buffer_ratio allows a clustering.
    compaction_memory_budget: ByteSize = ByteSize::mib(1_024), Global "compaction.memory_budget" in ByteSize::mib(1)..;
    /// The most threads that encode, sort and checksum for compactions.
    compaction_worker_pool_size: u64 = 8, Global "compaction.worker_pool_size" in 1..=1_024;
    /// How much lower the priority of compaction's threads is than that of others, as a nice value (Linux).
    compaction_nice: u64 = 5, Global "compaction.nice" in 0..=19;
    /// The bytes that compactions may read and write per second, together and with their temporary files; 0 for no limit.
    compaction_io_limit: ByteSize = ByteSize(0), Global "compaction.io_limit" in ByteSize(0)..;
    /// How long jobs are remembered after their end.
    compaction_history_retention: Duration = Duration::from_secs(604_800), Global "compaction.history_retention" in Duration::from_secs(1)..=DURATION_MAX;
    /// Whether clustering may run at all.
    compaction_clustering_enable: bool = true, Collection "compaction.clustering.enable" in ..;
    /// Whether clustering may start by itself.
    compaction_clustering_auto: bool = false, Collection "compaction.clustering.auto" in ..;
    /// How often it is decided whether clustering starts by itself.
    compaction_clustering_trigger_interval: Duration = Duration::from_secs(600), Collection "compaction.clustering.trigger_interval" in Duration::from_millis(1)..=DURATION_MAX;
    /// The least time between two clusterings of a collection that start by themselves.
    compaction_clustering_min_interval: Duration = Duration::from_secs(3_600), Collection "compaction.clustering.min_interval" in Duration::ZERO..=DURATION_MAX;
    /// The time after which a collection is clustered by itself, however little is new.
    compaction_clustering_max_interval: Duration = Duration::from_secs(259_200), Collection "compaction.clustering.max_interval" in Duration::from_millis(1)..=DURATION_MAX;
    /// Bytes of new rows past which a collection is clustered by itself.
    compaction_clustering_new_data_size_threshold: ByteSize = ByteSize::mib(512), Collection "compaction.clustering.new_data_size_threshold" in ByteSize(1)..;
    /// The time after which a clustering fails; nothing changes then.
    compaction_clustering_timeout: Duration = Duration::from_secs(7_200), Collection "compaction.clustering.timeout" in Duration::from_millis(1)..=DURATION_MAX;
    /// The most clustering runs that may overlap once a collection has been clustered on request or by max_interval.
    compaction_clustering_max_depth: u64 = 4, Collection "compaction.clustering.max_depth" in 1..=1_000;
    /// The part of memory_limit that one clustering may use as memory.
    compaction_clustering_memory_buffer_ratio: f64 = 0.3, Global "compaction.clustering.memory_buffer_ratio" in 0.001..=1.0;
    /// The part of segment.max_size that clustering gives segments, as near as it can.
    compaction_clustering_prefer_segment_size_ratio: f64 = 0.8, Collection "compaction.clustering.prefer_segment_size_ratio" in 0.01..=1.0;
    /// The part of segment.max_size that no segment of a clustering exceeds.
    compaction_clustering_max_segment_size_ratio: f64 = 1.0, Collection "compaction.clustering.max_segment_size_ratio" in 0.01..=1.0;
    /// Whether a new collection that names a partition key and no clustering key is clustered by its partition key.
    use_partition_key_as_clustering_key: bool = false, Session "use_partition_key_as_clustering_key" in ..;
    /// A segment below this part of the segment size is small: compaction puts it together with others.
    segment_small_proportion: f64 = 0.5, Collection "segment.small_proportion" in 0.0..=1.0;
    /// How long earlier versions can be queried, within what memory holds.
    retention_duration: Duration = Duration::from_secs(3_600), Global "retention_duration" in Duration::ZERO..=DURATION_MAX;
    /// Bytes of log after which a checkpoint is written.
    checkpoint_log_size: ByteSize = ByteSize::mib(64), Global "checkpoint.log_size" in ByteSize(1)..;
    /// Commits after which a checkpoint is written.
    checkpoint_commits: u64 = 10_000, Global "checkpoint.commits" in 1..;
    /// The most memory that queries may use together.
    memory_limit: ByteSize = ByteSize::mib(2_048), Global "memory_limit" in ByteSize::mib(16)..;
    /// The most memory that decoded columns may take which searches are filtered by; 0 keeps none.
    column_cache_size: ByteSize = ByteSize::mib(128), Global "column_cache.size" in ByteSize(0)..;
    /// The most disk space that the temporary files of queries may take together.
    temp_limit: ByteSize = ByteSize::mib(65_536), Global "temp_limit" in ByteSize(0)..;
    /// The most bytes of a statement's text.
    statement_max_size: ByteSize = ByteSize::mib(64), Global "statement.max_size" in ByteSize(1_024)..=ByteSize::mib(1_023);
    /// How deep a statement may nest, where operators, joins and set operations in a row count as nested.
    statement_max_depth: u64 = 500, Global "statement.max_depth" in 64..=1_000;
    /// The most terms that AND and OR may connect in one condition.
    statement_max_terms: u64 = 5_000, Global "statement.max_terms" in 64..=20_000;
}

impl Settings {
    /// The settings of a TOML text; what it does not name keeps its default.
    ///
    /// # Errors
    /// 22023 for a text that is not TOML, or the errors of [`Settings::set`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let tree: Tree = toml::from_str(text).map_err(|e| {
            let message = format!("settings are not TOML: {}", e.message());
            Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
        })?;
        Self::try_from(tree)
    }

    /// Gives one setting its default again.
    ///
    /// # Errors
    /// 42704 for a name that does not exist.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        let default = Self::default().get(name)?;
        self.set(name, &default)
    }
}

/// Settings as nested tables, the way TOML writes dotted names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Tree {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Table(BTreeMap<String, Tree>),
}

impl TryFrom<Tree> for Settings {
    type Error = Error;

    fn try_from(tree: Tree) -> Result<Self> {
        let mut settings = Self::default();
        settings.set_tree("", tree)?;
        Ok(settings)
    }
}

impl Settings {
    fn set_tree(&mut self, name: &str, tree: Tree) -> Result<()> {
        let entries = match tree {
            Tree::Bool(v) => return self.set(name, &v.to_string()),
            Tree::Integer(v) => return self.set(name, &v.to_string()),
            Tree::Float(v) => return self.set(name, &v.to_string()),
            Tree::Text(v) => return self.set(name, &v),
            Tree::Table(entries) => entries,
        };
        for (key, value) in entries {
            let inner = match name {
                "" => key,
                _ => format!("{name}.{key}"),
            };
            self.set_tree(&inner, value)?;
        }
        Ok(())
    }
}

impl From<Settings> for Tree {
    fn from(settings: Settings) -> Self {
        let mut root = BTreeMap::new();
        for setting in settings.list() {
            insert(&mut root, setting.name, setting.value);
        }
        Self::Table(root)
    }
}

fn insert(table: &mut BTreeMap<String, Tree>, name: &str, value: String) {
    let Some((first, rest)) = name.split_once('.') else {
        table.insert(name.to_string(), Tree::Text(value));
        return;
    };
    let inner = table
        .entry(first.to_string())
        .or_insert_with(|| Tree::Table(BTreeMap::new()));
    if let Tree::Table(inner) = inner {
        insert(inner, rest, value);
    }
}

/// A value that a setting can have, and its text.
pub(crate) trait Value: Sized + PartialOrd {
    /// What the text should have been, when it is wrong.
    const EXPECTED: &'static str;
    /// The value of a text; none when it has none.
    fn from_text(text: &str) -> Option<Self>;
    /// The text that reads back as this value.
    fn to_text(&self) -> String;
}

impl Value for bool {
    const EXPECTED: &'static str = "on or off";

    fn from_text(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        }
    }

    fn to_text(&self) -> String {
        if *self { "on" } else { "off" }.to_string()
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as 600s, 10 min or 1h 30min";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn to_text(&self) -> String {
        duration_text(*self)
    }
}

/// The text that reads back as this duration.
pub(crate) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as 512MiB, 64kB or 1GiB";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// A number of bytes; its text is `512MiB`, `64kB`, `1GiB` or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
}

/// Units, longest first of equal ends; `kB`, `MB`.. mean powers of 1024, as PostgreSQL has them.
const UNITS: [(&str, u64); 13] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("tb", 1 << 40),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
];

impl FromStr for ByteSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim().to_ascii_lowercase();
        let unit = UNITS.iter().find(|(name, _)| text.ends_with(name));
        let (digits, factor) = match unit {
            Some((name, factor)) => (&text[..text.len() - name.len()], *factor),
            None => (text.as_str(), 1),
        };
        let digits = digits.trim_end();
        if let Ok(whole) = digits.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or(());
        }
        let bytes = digits.parse::<f64>().map_err(|_| ())? * factor as f64;
        if (0.0..u64::MAX as f64).contains(&bytes) {
            Ok(Self(bytes as u64))
        } else {
            Err(())
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "kiB")];
        let whole = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.iter().find(|(shift, _)| whole(*shift)) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// The value of `text` for the parameter of that full name.
///
/// # Errors
/// 22023 for a text without a value, and for a value out of range.
pub(crate) fn parse<T: Value>(name: &str, text: &str, range: impl RangeBounds<T>) -> Result<T> {
    let wrong = |why: String| {
        let message = format!("invalid value for parameter \"{name}\": \"{text}\"");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(why)
    };
    let value = T::from_text(text.trim()).ok_or_else(|| wrong(format!("Give {}.", T::EXPECTED)))?;
    if range.contains(&value) {
        return Ok(value);
    }
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let (least, most) = (range.start_bound(), range.end_bound());
    Err(wrong(match (least, most) {
        (Included(a), Included(b)) => {
            format!("It goes from {} to {}.", a.to_text(), b.to_text())
        }
        (Included(a) | Excluded(a), Unbounded) => format!("The least is {}.", a.to_text()),
        _ => format!("Give {}.", T::EXPECTED),
    }))
}

fn unknown(name: &str) -> Error {
    let message = format!("unrecognized configuration parameter \"shelfmark.{name}\"");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        .with_hint("SELECT * FROM shelfmark.settings shows all.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_setting_reads_back_its_own_text() {
        let mut settings = Settings::default();
        for info in settings.list() {
            settings.set(info.name, &info.value).unwrap();
            assert_eq!(settings.get(info.name).unwrap(), info.default);
            assert!(!info.description.is_empty());
        }
        assert_eq!(settings, Settings::default());
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(Settings::from_toml(&text).unwrap(), settings);
    }

    #[test]
    fn toml_tables_are_dotted_names() {
        let settings = Settings::from_toml(
            "enable_segment_prune = false\n[segment]\nmax_size = '2MB'\nmax_rows = 7\n[growing]\nmax_age = '2min'",
        )
        .unwrap();
        assert!(!settings.enable_segment_prune);
        let old = Settings::from_toml("compaction.small_proportion = 0.5").unwrap();
        assert_eq!(old.segment_small_proportion, 0.5);
        assert_eq!(settings.segment_max_size, ByteSize::mib(2));
        assert_eq!(settings.segment_max_rows, 7);
        assert_eq!(settings.growing_max_age, Duration::from_secs(120));
    }

    #[test]
    fn wrong_names_and_values_are_refused() {
        let code = |text: &str| Settings::from_toml(text).unwrap_err().sqlstate();
        assert_eq!(code("nonsense = 1"), "42704");
        assert_eq!(code("segment = 1"), "42704");
        assert_eq!(code("segment.max_size = 'many'"), "22023");
        assert_eq!(code("segment.max_rows = 0"), "22023");
        assert_eq!(code("segment.small_proportion = 1.5"), "22023");
        assert_eq!(code("segment.small_proportion = 'nan'"), "22023");
        assert_eq!(code("retention_duration = '101 years'"), "22023");
        assert_eq!(code("= 1"), "22023");
    }

    #[test]
    fn durations_are_bounded() {
        let mut settings = Settings::default();
        let durations = settings.list();
        let durations = durations
            .iter()
            .filter(|s| s.value.parse::<f64>().is_err() && Duration::from_text(&s.value).is_some());
        let names: Vec<&str> = durations.map(|s| s.name).collect();
        assert_eq!(names.len(), 7);
        for name in names {
            settings.set(name, "100 years").unwrap();
            let error = settings.set(name, "5000000 years").unwrap_err();
            assert_eq!(error.sqlstate(), "22023");
            let hint = error.hint().unwrap_or_default().to_string();
            assert!(hint.ends_with("to 100years."), "{hint}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17 B", 17),
            ("64kB", 65_536),
            ("1.5 MiB", 1_572_864),
            ("2g", 2 << 30),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "-1", "MiB", "1e40", "99999999999TiB", "nan"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(1536).to_string(), "1536B");
        assert_eq!(ByteSize(2 << 30).to_string(), "2GiB");
    }
}
