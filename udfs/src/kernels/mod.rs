//! Distances over plain slices and over the bytes of a page: no Arrow, no allocation.
//!
//! [`Query`] measures one vector against others, [`distances_many`] many against many, [`BitQuery`]
//! bit strings. The code is written once, over [`register::Register`], and compiled for each
//! [instruction set](InstructionSet); the best one of the processor is chosen once, at first use.
//!
//! # One order of additions
//!
//! The distance of a pair is the same, bit for bit, whichever function computes it: one pair, a row
//! of a matrix, unaligned bytes, one of many queries; rows of `f16` give what the same rows of `f32`
//! give. For this all functions add in one order:
//!
//! - element `i` is added to lane `i mod 32`, in the order of `i`, in `f32`; where the processor can,
//!   by fused multiply-add;
//! - lanes `j` and `j + 16` are added in `f32`, and the 16 sums in `f64`, halving: `j` and `j + 8`,
//!   `j + 4`, `j + 2`, `j + 1`.
//!
//! AVX-512, AVX2 with FMA, and NEON therefore give the same bits too. Portable code on a processor
//! without fused multiply-add rounds each product, so that its distances may differ in the last
//! bits from those of another machine, but never from each other.
//!
//! # Error
//!
//! A sum of `n` terms of the size `s` (the sum of their absolute values) is off by at most
//! `(n / 32 + 4) * 2^-23 * s`, as long as no term is subnormal.

#[cfg(target_endian = "big")]
compile_error!("rows are read as they lie in a Parquet page, which is little-endian");

mod bits;
mod many;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod query;
mod register;
mod rows;
mod set;
mod sums;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bits::{BitMetric, BitQuery};
pub use many::distances_many;
pub use query::{Metric, Query};
pub use rows::Rows;
pub use set::InstructionSet;
