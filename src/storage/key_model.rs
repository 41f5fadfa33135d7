//! What the items of a clustering key that are computed from columns were trained to: rows to integers.
//!
//! `VECTOR (embedding)` and `HILBERT (a, b)` are items of a key like columns: rows are sorted and cut by the integer
//! that such an item has for each row, and segments keep its least and greatest. A model says which integer that is. It is
//! trained from a sample when a collection is clustered first, and it is part of the collection from then on. An item
//! has a field id as columns have; a model that takes the place of another comes with a new one, so segments
//! that were sorted by the old one are, by their `sorted_by`, not sorted by the key of now.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::schema::FieldId;
use crate::error::{Error, Result};

mod codebook;
mod hilbert;

pub use codebook::{Codebook, nearest, values_of};
pub use hilbert::{CURVE_COLUMNS_MAX, Quantiles, RANKS};

/// What an item of a clustering key is computed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFunction {
    /// `VECTOR (column)`: the place of the centroid that is nearest to a vector.
    Vector(FieldId),
    /// `HILBERT (column, ..)`: the place of a row on a Hilbert curve through the ranks of its columns.
    Hilbert(Vec<FieldId>),
}

impl KeyFunction {
    /// The columns that it reads.
    pub fn columns(&self) -> &[FieldId] {
        match self {
            Self::Vector(column) => std::slice::from_ref(column),
            Self::Hilbert(columns) => columns,
        }
    }

    /// Its name in SQL.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vector(_) => "VECTOR",
            Self::Hilbert(_) => "HILBERT",
        }
    }
}

/// An item of a clustering key that is computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ComputedKey {
    /// The id under which the key, `sorted_by` of segments and their statistics have it; no column has the same.
    pub id: FieldId,
    /// What computes it.
    pub function: KeyFunction,
}

/// What a computed item of a clustering key was trained to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyModel {
    /// The item.
    pub id: FieldId,
    /// What was learned.
    pub learned: Learned,
}

/// What was learned from a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learned {
    /// Of [`KeyFunction::Vector`].
    Codebook(Codebook),
    /// Of [`KeyFunction::Hilbert`].
    Quantiles(Quantiles),
}

impl KeyModel {
    /// The keys of rows, of type [`KEY_TYPE`], given the columns that its function reads.
    ///
    /// # Errors
    /// XX000 for columns of other types than it was trained with.
    pub fn keys(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let wrong = || Error::internal("a computed key was asked for other columns");
        match (&self.learned, columns) {
            (Learned::Codebook(codebook), [vectors]) => codebook.keys(vectors),
            (Learned::Quantiles(quantiles), columns) if columns.len() == quantiles.columns() => {
                quantiles.keys(columns)
            }
            _ => Err(wrong()),
        }
    }

    /// The codebook, if it is one.
    pub fn codebook(&self) -> Option<&Codebook> {
        match &self.learned {
            Learned::Codebook(codebook) => Some(codebook),
            Learned::Quantiles(_) => None,
        }
    }

    /// What JSON does not have of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.learned {
            Learned::Codebook(codebook) => codebook.bytes(),
            Learned::Quantiles(_) => Vec::new(),
        }
    }

    /// Takes back what [`KeyModel::bytes`] gave.
    ///
    /// # Errors
    /// XX001 for the bytes of another model.
    pub(super) fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.learned {
            Learned::Codebook(codebook) => codebook.set_bytes(bytes),
            Learned::Quantiles(_) => Ok(()),
        }
    }
}

/// The type of computed keys.
pub const KEY_TYPE: DataType = DataType::Int64;
