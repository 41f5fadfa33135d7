//! What comments are on.

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::schema::{CollectionId, FieldId, FunctionId, IndexId, SequenceId, TypeId};

/// An object that can have a comment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Commented {
    /// The database.
    Database,
    /// A SQL schema.
    Schema(String),
    /// A collection.
    Collection(CollectionId),
    /// A column of a collection.
    Column(CollectionId, FieldId),
    /// The index of a collection's primary key.
    PrimaryKey(CollectionId),
    /// An index that CREATE INDEX or UNIQUE made.
    Index(CollectionId, IndexId),
    /// A constraint of a collection, by its name.
    Constraint(CollectionId, String),
    /// A view.
    View(QualifiedName),
    /// A column of a view, counted from 1.
    ViewColumn(QualifiedName, u32),
    /// A sequence.
    Sequence(SequenceId),
    /// A type.
    Type(TypeId),
    /// A function.
    Function(FunctionId),
}

impl Commented {
    /// The collection that it is, or is a part of.
    pub fn collection(&self) -> Option<CollectionId> {
        match self {
            Self::Collection(id)
            | Self::Column(id, _)
            | Self::PrimaryKey(id)
            | Self::Index(id, _)
            | Self::Constraint(id, _) => Some(*id),
            _ => None,
        }
    }
}
