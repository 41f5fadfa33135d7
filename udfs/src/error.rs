//! The error of a vector function, with pgvector's text and SQLSTATE.

use std::fmt;

use datafusion::error::DataFusionError;

/// An error with the SQLSTATE and the message that pgvector gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorError {
    /// The five characters of the SQLSTATE.
    pub sqlstate: &'static str,
    /// The message, as pgvector words it.
    pub message: String,
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for VectorError {}

impl From<VectorError> for DataFusionError {
    fn from(error: VectorError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
