//! A rule of authentication as the configuration writes it.

use std::fmt;

use super::suggest::nearest;
use crate::error::{Error, Result, sqlstate};

/// What a rule matches when it does not say.
const ALL: &str = "all";

/// One `[[auth]]` table: who may connect from where, and how they show who they are. The first rule that matches a
/// connection decides. The texts are not checked here beyond being there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthEntry {
    /// Its line in the file.
    pub line: usize,
    /// `local`, `host`, `hostssl` or `hostnossl`, as in PostgreSQL's `pg_hba.conf`.
    pub kind: String,
    /// Names of databases separated by commas, or `all`.
    pub database: String,
    /// Names of roles separated by commas, or `all`.
    pub user: String,
    /// Networks separated by commas, or `all`.
    pub address: String,
    /// How a client shows who it is.
    pub method: String,
}

impl fmt::Display for AuthEntry {
    /// The line of `pg_hba.conf` that says the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of a list are separated by commas alone there.
        let list = |names: &str| {
            names
                .split(',')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(",")
        };
        write!(f, "{} ", self.kind)?;
        write!(f, "{} {} ", list(&self.database), list(&self.user))?;
        if self.kind != "local" {
            write!(f, "{} ", self.address)?;
        }
        f.write_str(&self.method)
    }
}

impl AuthEntry {
    const KEYS: [&str; 5] = ["type", "database", "user", "address", "method"];

    pub(super) fn at(line: usize) -> Self {
        Self {
            line,
            kind: String::new(),
            database: ALL.to_string(),
            user: ALL.to_string(),
            address: ALL.to_string(),
            method: String::new(),
        }
    }

    pub(super) fn set(&mut self, key: &str, text: String) -> Result<()> {
        match key {
            "type" => self.kind = text,
            "database" => self.database = text,
            "user" => self.user = text,
            "address" => self.address = text,
            "method" => self.method = text,
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// The entry, if it says what has no default.
    pub(super) fn complete(self) -> Result<Self> {
        let missing = match (self.kind.is_empty(), self.method.is_empty()) {
            (true, _) => "type",
            (_, true) => "method",
            _ => return Ok(self),
        };
        let message = format!("a rule of [[auth]] has no \"{missing}\"");
        Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message))
    }
}

fn unknown(key: &str) -> Error {
    let message = format!("unrecognized configuration parameter \"auth.{key}\"");
    let error = Error::not_found(sqlstate::UNDEFINED_OBJECT, message);
    error.with_hint(match nearest(key, AuthEntry::KEYS.into_iter()) {
        Some(near) => format!("Did you mean \"{near}\"?"),
        None => format!("A rule has {}.", AuthEntry::KEYS.join(", ")),
    })
}
