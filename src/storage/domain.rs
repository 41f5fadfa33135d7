//! Domains: types of their own whose values are those of another type, as far as they fulfil conditions.
//!
//! Values are kept as those of the type below, and columns say which domain they are of. Whoever stores or casts values
//! asks the domain.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::schema::{ColumnType, TypeId};

/// A domain.
///
/// Invariant: names of checks are unique.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its identity; a rename keeps it.
    pub id: TypeId,
    /// Its name.
    pub name: QualifiedName,
    /// The type of its values.
    pub base: ColumnType,
    /// Whether NULL is a value.
    pub nullable: bool,
    /// The DEFAULT of its columns as its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What values must fulfil, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<DomainCheck>,
}

/// A CHECK constraint of a domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainCheck {
    /// Its identity.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The condition as SQL over `VALUE`: no value may make it false.
    pub condition: String,
    /// Whether values that existed before it fulfil it.
    pub is_validated: bool,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
