//! pgvector's types, operators and functions for any DataFusion session.
//!
//! - Types: `VECTOR(n)` and `HALFVEC(n)`, see [`VectorType`]; `BIT(n)` and `BIT VARYING(n)`, see
//!   [`BitType`]; `SPARSEVEC(n)`, see [`SparseType`].
//! - Operators: `<->` (Euclidean), `<=>` (cosine), `<#>` (negative inner product), `<+>` (taxicab),
//!   `+ - * ||` and comparisons; `<~>` (Hamming), `<%>` (Jaccard) and `& | # || << >>` of bit strings; see
//!   [`VectorExprPlanner`].
//! - Functions: distances, `vector_dims`, `vector_norm`, `l2_normalize`, `subvector`, `vector_cmp`,
//!   `binary_quantize`, `hamming_distance`, `jaccard_distance`, `bit_count`, `get_bit`, `set_bit`, `bitnot`,
//!   `avg`, `sum`; names, texts of errors and SQLSTATEs are pgvector's. They take any list of
//!   numbers, and text in pgvector's format.
//! - Kernels: the distances on plain slices and on the bytes of a page, in [`kernels`].
//!
//! [`register_all`] adds everything to a session, [`with_vector_support`] to one being built.
//! Left out: indexes. DataFusion compares the types of an
//! INSERT or UPDATE before any hook sees it, so that a plain session wants `'[1,2]'::vector` there; an
//! engine that plans these statements itself calls [`coerce_to_vector`].

mod aggregate;
mod arithmetic;
mod bit_cast;
mod bit_functions;
mod bit_operators;
mod bit_type;
mod cast;
mod coerce;
mod compare;
mod decimal;
mod distance;
mod error;
mod field;
mod functions;
mod input;
pub mod kernels;
mod operators;
mod output;
mod overload;
mod rule;
mod session;
mod signature;
mod sparse;
mod sparse_functions;
mod state;
mod text;
mod type_planner;
mod types;

pub use aggregate::{Total, VectorAggregate};
pub use arithmetic::{Arithmetic, ArithmeticFunction};
pub use bit_functions::{BinaryQuantizeFunction, BitDistanceFunction};
pub use bit_type::{BIT_LENGTH_MAX, BitType, SQL_TYPE_KEY, parse_bits};
pub use cast::{
    ToArrayFunction, ToTextFunction, ToVectorFunction, cast_array_to_vector, vector_of_scalar,
    vectors_of_array,
};
pub use coerce::coerce_to_vector;
pub use compare::{Comparison, ComparisonFunction, compare_vectors};
pub use distance::DistanceFunction;
pub use error::VectorError;
pub use field::field_of;
pub use functions::{MeasureFunction, NormalizeFunction, SubvectorFunction};
pub use kernels::{BitMetric, BitQuery, Metric, Query, Rows, distances_many};
pub use operators::VectorExprPlanner;
pub use overload::{OverloadedAggregate, coerced_types};
pub use rule::VectorCastRule;
pub use session::{
    aggregate_functions, register_all, register_functions, scalar_functions, with_vector_support,
};
pub use sparse::{SPARSE_DIMENSION_MAX, SPARSE_ELEMENTS_MAX, SparseType, SparseVector};
pub use sparse_functions::to_sparse;
pub use text::{format_vector, parse_halfvec, parse_vector, write_vector};
pub use type_planner::{VectorTypePlanner, vector_type_of_sql};
pub use types::{DIMENSION_MAX, Element, VectorType};
