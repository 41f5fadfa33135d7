//! The types of values that only the server's configuration has.

use std::fmt;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use crate::catalog::provider::CATALOG;
use crate::settings::Value;

/// Where the server listens: `127.0.0.1:5433`, `localhost:5433`, `[::1]:5433`; port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddress {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What clients call the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseName(pub String);

impl Default for DatabaseName {
    fn default() -> Self {
        Self(CATALOG.to_string())
    }
}

impl Value for DatabaseName {
    const EXPECTED: &'static str = "a name of 1 to 63 bytes";

    fn from_text(text: &str) -> Option<Self> {
        let is_name = (1..=63).contains(&text.len()) && !text.contains('\0');
        is_name.then(|| Self(text.to_string()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

impl Value for ListenAddress {
    const EXPECTED: &'static str = "HOST:PORT such as 127.0.0.1:5433 or [::1]:5433";

    fn from_text(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "._-:%*".contains(c);
        let host = if host == "*" { "0.0.0.0" } else { host };
        (!host.is_empty() && host.chars().all(is_host)).then_some(())?;
        Some(Self {
            host: host.to_string(),
            port: port.parse().ok()?,
        })
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// What separates the items of a list in an environment variable or a flag.
const SEPARATOR: char = ',';

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        let items = text.split(SEPARATOR).map(str::trim);
        items.filter(|i| !i.is_empty()).map(T::from_text).collect()
    }

    fn to_text(&self) -> String {
        let items: Vec<String> = self.iter().map(T::to_text).collect();
        items.join(", ")
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.contains('\0')).then(|| Self::from(text))
    }

    fn to_text(&self) -> String {
        self.display().to_string()
    }
}

/// An empty text means none.
impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = PathBuf::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "" => Some(None),
            _ => PathBuf::from_text(text).map(Some),
        }
    }

    fn to_text(&self) -> String {
        self.as_ref().map(Value::to_text).unwrap_or_default()
    }
}

/// Which events are logged: a level, and levels of single modules behind it (`info,shelfmark::compaction=debug`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogLevel(pub String);

impl Value for LogLevel {
    const EXPECTED: &'static str =
        "error, warn, info, debug or trace, with levels of modules behind it";

    fn from_text(text: &str) -> Option<Self> {
        // An empty filter, or a word that is no level, would silently be the name of a module.
        let mut directives = text.split(SEPARATOR).map(str::trim);
        let is_level = |d: &str| d.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        let is_directive = |d: &str| is_level(d) || d.contains('=');
        let sound = !text.is_empty() && directives.all(is_directive);
        (sound && EnvFilter::try_new(text).is_ok()).then(|| Self(text.to_string()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

/// Declares an enum whose variants are words of the configuration.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal, )+ }
        expected $expected:literal;
    )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $( $(#[doc = $variant_doc])+ $variant, )+ }

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                match text.to_ascii_lowercase().as_str() {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }

            fn to_text(&self) -> String {
                match self { $( Self::$variant => $word, )+ }.to_string()
            }
        }
    )+ };
}

words! {
    /// How a line of the log is written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object.
        Json = "json",
    } expected "text or json";
    /// Which statements are logged.
    LogStatements {
        /// None.
        None = "none",
        /// Those that take longer than a limit.
        Slow = "slow",
        /// All.
        All = "all",
    } expected "none, slow or all";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in [
            "127.0.0.1:5433",
            "localhost:0",
            "[::1]:65535",
            "db-1.lan:80",
        ] {
            let address = ListenAddress::from_text(text).unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(ListenAddress::from_text("*:1").unwrap().host, "0.0.0.0");
        for text in [
            "",
            "5433",
            "localhost",
            ":5433",
            "::1:5433",
            "a:65536",
            "a b:1",
            "[::1:2",
        ] {
            assert!(ListenAddress::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let list = Vec::<ListenAddress>::from_text("a:1, [::1]:2,").unwrap();
        assert_eq!(list.to_text(), "a:1, [::1]:2");
        assert!(Vec::<ListenAddress>::from_text("").unwrap().is_empty());
        assert!(Vec::<ListenAddress>::from_text("a:1,b").is_none());
    }

    #[test]
    fn levels_are_words_that_exist() {
        for text in ["info", "warn,shelfmark::server=debug", "OFF"] {
            assert!(LogLevel::from_text(text).is_some(), "{text}");
        }
        for text in ["", "inof", "info,shelfmark", "shelfmark=loud"] {
            assert!(LogLevel::from_text(text).is_none(), "{text}");
        }
    }
}
