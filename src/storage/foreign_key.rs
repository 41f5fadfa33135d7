//! Foreign keys: rows of one collection, the child, refer to rows of another, the parent, by a unique key of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::schema::{CollectionId, CollectionSchema, FieldId};
use super::unique::KeyId;

/// A FOREIGN KEY constraint of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name, of which its collection has one constraint.
    pub name: String,
    /// The columns that refer, in the order in which they were named.
    pub columns: Vec<FieldId>,
    /// The collection that they refer to; it may be their own.
    pub parent: CollectionId,
    /// The unique key of the parent by which they do.
    pub key: KeyId,
    /// The columns of that key, in the order of `columns`.
    pub referred: Vec<FieldId>,
    /// MATCH FULL: columns are all NULL, or none of them is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub match_full: bool,
    /// What happens to rows whose parent is deleted.
    pub on_delete: ReferentialAction,
    /// What happens to rows whose parent gets another key.
    pub on_update: ReferentialAction,
    /// The columns that ON DELETE SET sets; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_on_delete: Vec<FieldId>,
    /// When it is checked.
    pub timing: Timing,
    /// Whether all rows are known to keep it: not if it was added NOT VALID.
    pub is_validated: bool,
}

/// When a constraint is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// NOT DEFERRABLE: by each statement.
    Immediate,
    /// DEFERRABLE INITIALLY IMMEDIATE: by each statement, unless SET CONSTRAINTS says otherwise.
    Deferrable,
    /// DEFERRABLE INITIALLY DEFERRED: by COMMIT, unless SET CONSTRAINTS says otherwise.
    Deferred,
}

/// What happens to rows that refer to a row which goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferentialAction {
    /// The statement, or COMMIT, fails.
    NoAction,
    /// The statement fails.
    Restrict,
    /// They go too, or get the new key.
    Cascade,
    /// They refer to none.
    SetNull,
    /// They refer to the row of their columns' defaults.
    SetDefault,
}

impl ForeignKey {
    /// Whether it does something about rows whose parent goes, or may.
    pub fn acts(&self) -> bool {
        !(self.on_delete.refuses() && self.on_update.refuses())
    }
}

impl ReferentialAction {
    /// Whether rows that refer keep the other from going.
    pub fn refuses(self) -> bool {
        matches!(self, Self::NoAction | Self::Restrict)
    }

    /// The letter of `pg_constraint`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::NoAction => "a",
            Self::Restrict => "r",
            Self::Cascade => "c",
            Self::SetNull => "n",
            Self::SetDefault => "d",
        }
    }
}

impl fmt::Display for ReferentialAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        })
    }
}

impl CollectionSchema {
    /// The foreign key of that name.
    pub fn foreign_key(&self, name: &str) -> Option<&ForeignKey> {
        self.foreign_keys.iter().find(|key| key.name == name)
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
