//! Vector functions for DataFusion.

mod error;

pub use error::VectorError;
