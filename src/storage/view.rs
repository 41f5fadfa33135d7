//! Views: queries that stand for relations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::partition::Partition;
use super::snapshot::DEFAULT_SCHEMA;

/// A view: a query kept as its author wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: QualifiedName,
    /// The names of its columns; empty for those of the query.
    pub columns: Vec<String>,
    /// The text of the query.
    pub query: String,
    /// Where the names in it are looked up that have no SQL schema.
    #[serde(default = "default_path")]
    pub search_path: Vec<String>,
    /// Its options as they were written, in the order in which they were set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, String)>,
    /// The defaults of its columns, for rows that are inserted by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, String>,
    /// What makes it a partition, whose query is made of its bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Box<Partition>>,
}

pub(super) fn default_path() -> Vec<String> {
    vec![DEFAULT_SCHEMA.to_string()]
}

/// Which conditions new rows of a view must pass: WITH CHECK OPTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOption {
    /// Its own.
    Local,
    /// Those of the views below it too.
    Cascaded,
}

/// The name of the option for WITH CHECK OPTION.
pub const CHECK_OPTION: &str = "check_option";
/// The name of the option by which the rights are those of who asks.
pub const SECURITY_INVOKER: &str = "security_invoker";

impl View {
    fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(option, _)| option == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What new rows must pass.
    pub fn check_option(&self) -> Option<CheckOption> {
        self.option(CHECK_OPTION).map(|value| match value {
            "local" => CheckOption::Local,
            _ => CheckOption::Cascaded,
        })
    }

    /// Whether its query has the rights of who asks, not those of its owner.
    pub fn is_invoker(&self) -> bool {
        self.option(SECURITY_INVOKER).and_then(boolean) == Some(true)
    }
}

/// A boolean as options have it: `true`, `on`, `yes`, `1` and their like, and beginnings of them.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |words: &[(&str, usize)]| {
        let mut words = words.iter();
        words.any(|(word, least)| text.len() >= *least && word.starts_with(&text))
    };
    if text == "1" || begins(&[("true", 1), ("yes", 1), ("on", 2)]) {
        return Some(true);
    }
    let is_off = text == "0" || begins(&[("false", 1), ("no", 1), ("off", 2)]);
    is_off.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::boolean;

    #[test]
    fn booleans_may_be_cut_where_they_stay_clear() {
        for on in ["true", "T", "on", "yes", "1"] {
            assert_eq!(boolean(on), Some(true), "{on}");
        }
        for off in ["false", "of", "n", "0"] {
            assert_eq!(boolean(off), Some(false), "{off}");
        }
        for neither in ["o", "", "truest", "2"] {
            assert_eq!(boolean(neither), None, "{neither}");
        }
    }
}
