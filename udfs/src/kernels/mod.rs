//! Distances over plain slices: no Arrow, no allocation, one function for each job.
//!
//! The functions of [`single`] and [`mod@half`] are the seam for explicit SIMD: whatever replaces
//! them has to keep the order of additions, because a distance must come out the same whether it is
//! computed for one pair of rows or for a whole matrix.

pub mod half;
pub mod single;

mod query;

pub use query::{Metric, Query};
