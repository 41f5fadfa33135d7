//! What the name of a variable stands for.

use super::parameter::Parameter;
use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;

/// Prefixes of DataFusion's options that a session may change; the others reach files or shared memory.
const ALLOWED: [&str; 4] = [
    "datafusion.execution.",
    "datafusion.optimizer.",
    "datafusion.explain.",
    "datafusion.format.",
];
/// Prefixes of parameters that an extension of PostgreSQL has reserved, and so do we.
const RESERVED: [&str; 2] = ["hnsw", "ivfflat"];
/// What a name stands for.
pub(super) enum Variable {
    /// A parameter of PostgreSQL's.
    Parameter(&'static Parameter),
    /// An option of DataFusion's configuration, ours among them.
    Option(String),
    /// A name that an application made up.
    Custom(String),
}

impl Variable {
    /// The variable of that name, in any case.
    ///
    /// # Errors
    /// 42704 for a name that means nothing, 42602 for one that cannot be made up.
    pub(super) fn find(name: &str) -> Result<Self> {
        if let Some(parameter) = Parameter::find(name) {
            return Ok(Self::Parameter(parameter));
        }
        let lower = name.to_ascii_lowercase();
        if let Some(own) = lower.strip_prefix("shelfmark.") {
            Settings::scope(own)?;
            return Ok(Self::Option(lower));
        }
        if lower == "datafusion.execution.time_zone" {
            return Self::find("TimeZone");
        }
        if lower.starts_with("datafusion.") {
            return match ALLOWED.iter().any(|prefix| lower.starts_with(prefix)) {
                true => Ok(Self::Option(lower)),
                false => Err(unknown(name)),
            };
        }
        let Some((prefix, _)) = lower.split_once('.') else {
            return Err(unknown(name));
        };
        let message = format!("invalid configuration parameter name \"{name}\"");
        let error = Error::invalid(sqlstate::INVALID_NAME, message);
        if RESERVED.contains(&prefix) {
            return Err(error.with_detail(format!("\"{prefix}\" is a reserved prefix.")));
        }
        if !lower.split('.').all(is_simple) {
            let detail =
                "Custom parameter names must be two or more simple identifiers separated by dots.";
            return Err(error.with_detail(detail));
        }
        Ok(Self::Custom(lower))
    }

    /// Its name as SHOW has it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Parameter(parameter) => parameter.name,
            Self::Option(name) | Self::Custom(name) => name,
        }
    }
}

fn is_simple(part: &str) -> bool {
    let begins = |c: char| c.is_alphabetic() || c == '_';
    part.starts_with(begins)
        && part
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

pub(super) fn unknown(name: &str) -> Error {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
}
