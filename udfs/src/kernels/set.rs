//! The kernels of each instruction set, and the choice among them.

use std::fmt;
use std::sync::OnceLock;

use super::bits;
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::portable::Portable;
use super::query::{self, Metric};
use super::rows::Rows;
use super::sums::{
    self, CosineParts, Element, InnerProduct, L1, Measure, Norm, QUERIES, SquaredL2, Sums,
};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};

type OneQuery = unsafe fn(&[f32], *const u8, &mut [Sums]);
type QueryGroup = unsafe fn([&[f32]; QUERIES], *const u8, usize, &mut [&mut [f64]; QUERIES]);
type Finish = unsafe fn(Metric, f64, &mut [f64], &[f64]);
type CountBits = unsafe fn(&[u8], &[u8], &mut [bits::Counts]);

/// What is added up; the places of [`Kernels::one_query`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Sum {
    SquaredL2,
    InnerProduct,
    L1,
    CosineParts,
    Norm,
}

/// The functions compiled for an instruction set, by [`Sum`] and [`super::rows::Width`].
struct Kernels {
    name: &'static str,
    one_query: [[OneQuery; 2]; 5],
    /// Of the sums that do not come in pairs.
    query_group: [[QueryGroup; 2]; 3],
    finish: Finish,
    hamming: CountBits,
    jaccard: CountBits,
}

/// An instruction set that the processor has, with the kernels compiled for it.
#[derive(Clone, Copy)]
pub struct InstructionSet(&'static Kernels);

impl InstructionSet {
    /// All that the processor has, the fastest first; portable code is the last.
    pub fn available() -> Vec<Self> {
        available().into_iter().map(Self).collect()
    }

    /// The fastest, found out once.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self(available()[0]))
    }

    /// Its name: `AVX-512`, `AVX2`, `NEON`, `portable`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The sums of a query and `sums.len()` rows.
    ///
    /// # Panics
    /// When these are not as many rows of the query's dimension.
    pub(super) fn one_query(self, sum: Sum, query: &[f32], rows: Rows, sums: &mut [Sums]) {
        rows.assert_shape(query.len(), sums.len());
        let kernel = self.0.one_query[sum as usize][rows.width() as usize];
        // SAFETY: the processor has the instruction set, and the bytes are so many rows.
        unsafe { kernel(query, rows.bytes().as_ptr(), sums) }
    }

    /// The sums of some queries and `results[0].len()` rows; not for [`Sum::CosineParts`] and
    /// [`Sum::Norm`].
    ///
    /// # Panics
    /// When these are not as many rows of the queries' dimension.
    pub(super) fn query_group(
        self,
        sum: Sum,
        queries: [&[f32]; QUERIES],
        rows: Rows,
        results: &mut [&mut [f64]; QUERIES],
    ) {
        let (dimension, count) = (queries[0].len(), results[0].len());
        rows.assert_shape(dimension, count);
        assert!(
            queries.iter().all(|query| query.len() == dimension)
                && results.iter().all(|results| results.len() == count),
            "queries or results of different lengths"
        );
        let kernel = self.0.query_group[sum as usize][rows.width() as usize];
        // SAFETY: the processor has the instruction set; all lengths are checked.
        unsafe { kernel(queries, rows.bytes().as_ptr(), count, results) }
    }

    /// Makes distances of sums, as [`query::finish`] does.
    pub(super) fn finish(
        self,
        metric: Metric,
        norm_squared: f64,
        sums: &mut [f64],
        row_norms: &[f64],
    ) {
        // SAFETY: the processor has the instruction set.
        unsafe { (self.0.finish)(metric, norm_squared, sums, row_norms) }
    }

    /// Counts the bits of `query XOR row` of rows as long as the query.
    pub(super) fn hamming(self, query: &[u8], rows: &[u8], counts: &mut [bits::Counts]) {
        // SAFETY: the processor has the instruction set.
        unsafe { (self.0.hamming)(query, rows, counts) }
    }

    /// Counts the bits of `query AND row` and `query OR row` of rows as long as the query.
    pub(super) fn jaccard(self, query: &[u8], rows: &[u8], counts: &mut [bits::Counts]) {
        // SAFETY: the processor has the instruction set.
        unsafe { (self.0.jaccard)(query, rows, counts) }
    }
}

impl fmt::Debug for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn available() -> Vec<&'static Kernels> {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    let popcount = avx512 && is_x86_feature_detected!("avx512vpopcntdq");
    let sets = [
        (popcount, &avx512_popcount_set::KERNELS),
        (avx512, &avx512_set::KERNELS),
        (avx2, &avx2_set::KERNELS),
        (true, &portable_set::KERNELS),
    ];
    let present = sets.into_iter().filter(|(present, _)| *present);
    present.map(|(_, kernels)| kernels).collect()
}

#[cfg(target_arch = "aarch64")]
fn available() -> Vec<&'static Kernels> {
    vec![&neon_set::KERNELS, &portable_set::KERNELS]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn available() -> Vec<&'static Kernels> {
    vec![&portable_set::KERNELS]
}

/// Compiles the loops for an instruction set: `$register` makes up the lanes of a sum in `$groups`
/// pieces; a group of queries meets `$tile_rows` rows at a time.
macro_rules! kernels {
    (
        $(#[$features:meta])* mod $module:ident: $label:literal, $register:ty,
        groups $groups:literal, tile rows $tile_rows:literal
    ) => {
        mod $module {
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels {
                name: $label,
                one_query: [
                    [one_query::<SquaredL2, f32>, one_query::<SquaredL2, u16>],
                    [one_query::<InnerProduct, f32>, one_query::<InnerProduct, u16>],
                    [one_query::<L1, f32>, one_query::<L1, u16>],
                    [one_query::<CosineParts, f32>, one_query::<CosineParts, u16>],
                    [one_query::<Norm, f32>, one_query::<Norm, u16>],
                ],
                query_group: [
                    [query_group::<SquaredL2, f32>, query_group::<SquaredL2, u16>],
                    [query_group::<InnerProduct, f32>, query_group::<InnerProduct, u16>],
                    [query_group::<L1, f32>, query_group::<L1, u16>],
                ],
                finish,
                hamming: count_bits::<false>,
                jaccard: count_bits::<true>,
            };

            /// # Safety
            /// As `sums::one_query`, on a processor with the features.
            $(#[$features])*
            unsafe fn one_query<M: Measure, E: Element>(
                query: &[f32],
                rows: *const u8,
                results: &mut [Sums],
            ) {
                // SAFETY: the features of the register are enabled here; the rest is the caller's.
                unsafe {
                    sums::one_query::<$register, M, E, $groups>(
                        query,
                        rows.cast(),
                        results,
                    )
                }
            }

            /// # Safety
            /// As `sums::query_group`, on a processor with the features.
            $(#[$features])*
            unsafe fn query_group<M: Measure, E: Element>(
                queries: [&[f32]; QUERIES],
                rows: *const u8,
                count: usize,
                results: &mut [&mut [f64]; QUERIES],
            ) {
                // SAFETY: the features of the register are enabled here; the rest is the caller's.
                unsafe {
                    sums::query_group::<$register, M, E, $groups, $tile_rows>(
                        queries,
                        rows.cast(),
                        count,
                        results,
                    )
                }
            }

            /// # Safety
            /// Only on a processor with the features.
            $(#[$features])*
            unsafe fn finish(
                metric: Metric,
                norm_squared: f64,
                sums: &mut [f64],
                row_norms: &[f64],
            ) {
                query::finish(metric, norm_squared, sums, row_norms);
            }

            /// # Safety
            /// Only on a processor with the features.
            $(#[$features])*
            unsafe fn count_bits<const JACCARD: bool>(
                query: &[u8],
                rows: &[u8],
                counts: &mut [bits::Counts],
            ) {
                bits::count::<JACCARD>(query, rows, counts);
            }
        }
    };
}

kernels! {
    mod portable_set: "portable", Portable, groups 2, tile rows 1
}

#[cfg(target_arch = "aarch64")]
kernels! {
    mod neon_set: "NEON", Neon, groups 8, tile rows 4
}

#[cfg(target_arch = "x86_64")]
kernels! {
    #[target_feature(enable = "avx2,fma,f16c,popcnt")]
    mod avx2_set: "AVX2", Avx2, groups 4, tile rows 2
}

#[cfg(target_arch = "x86_64")]
kernels! {
    #[target_feature(enable = "avx2,fma,f16c,popcnt,avx512f,avx512bw,avx512vl")]
    mod avx512_set: "AVX-512", Avx512, groups 2, tile rows 4
}

#[cfg(target_arch = "x86_64")]
kernels! {
    #[target_feature(enable = "avx2,fma,f16c,popcnt,avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
    mod avx512_popcount_set: "AVX-512 with VPOPCNTDQ", Avx512, groups 2, tile rows 4
}
