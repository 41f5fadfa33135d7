//! Distances of bit strings.

use super::set::InstructionSet;

/// Two counts of set bits: of `query XOR row` and 0, or of `query AND row` and `query OR row`.
pub(super) type Counts = [u64; 2];

/// Rows measured at once, which bounds the memory for their counts.
const BLOCK: usize = 64;

/// A way to measure two bit strings of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BitMetric {
    /// The number of bits that differ, `<~>`.
    Hamming,
    /// 1 minus the share of the bits set in both among the bits set in either, `<%>`; 1 where none is
    /// set in both.
    Jaccard,
}

impl BitMetric {
    /// Every metric.
    pub const ALL: [BitMetric; 2] = [BitMetric::Hamming, BitMetric::Jaccard];

    /// The operator of pgvector that computes it.
    pub fn operator(self) -> &'static str {
        match self {
            BitMetric::Hamming => "<~>",
            BitMetric::Jaccard => "<%>",
        }
    }
}

/// A bit string to be compared with others, in bytes; bits beyond its length are zeros.
#[derive(Debug, Clone, Copy)]
pub struct BitQuery<'a> {
    metric: BitMetric,
    bits: &'a [u8],
    kernels: InstructionSet,
}

impl<'a> BitQuery<'a> {
    /// Prepares a query.
    pub fn new(metric: BitMetric, bits: &'a [u8]) -> Self {
        Self::with_instruction_set(metric, bits, InstructionSet::best())
    }

    /// [`BitQuery::new`] with the kernels of an instruction set other than the best.
    pub fn with_instruction_set(
        metric: BitMetric,
        bits: &'a [u8],
        kernels: InstructionSet,
    ) -> Self {
        Self {
            metric,
            bits,
            kernels,
        }
    }

    /// The distance of a row.
    ///
    /// # Panics
    /// When the row has another length than the query.
    pub fn distance(&self, row: &[u8]) -> f64 {
        let mut out = [0.0];
        self.distances(row, &mut out);
        out[0]
    }

    /// The distances of rows as long as the query, stored one after the other; `out` has one slot for
    /// each.
    ///
    /// # Panics
    /// When these are not `out.len()` rows of the query's length.
    pub fn distances(&self, rows: &[u8], out: &mut [f64]) {
        let row_bytes = self.bits.len();
        assert_eq!(
            Some(rows.len()),
            row_bytes.checked_mul(out.len()),
            "bit strings of different length"
        );
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let first = block * BLOCK * row_bytes;
            let rows = &rows[first..first + out.len() * row_bytes];
            let mut counts = [[0; 2]; BLOCK];
            let counts = &mut counts[..out.len()];
            match self.metric {
                BitMetric::Hamming => self.kernels.hamming(self.bits, rows, counts),
                BitMetric::Jaccard => self.kernels.jaccard(self.bits, rows, counts),
            }
            for (slot, counts) in out.iter_mut().zip(counts) {
                *slot = self.finish(*counts);
            }
        }
    }

    fn finish(&self, [first, second]: Counts) -> f64 {
        match self.metric {
            BitMetric::Hamming => first as f64,
            BitMetric::Jaccard if first == 0 => 1.0,
            BitMetric::Jaccard => 1.0 - first as f64 / second as f64,
        }
    }
}

/// The counts of rows as long as the query. Compiled for each instruction set, whose population
/// count the compiler knows to use.
#[inline(always)]
pub(super) fn count<const JACCARD: bool>(query: &[u8], rows: &[u8], counts: &mut [Counts]) {
    if query.is_empty() {
        return counts.fill([0; 2]);
    }
    for (row, counts) in rows.chunks_exact(query.len()).zip(counts) {
        *counts = count_row::<JACCARD>(query, row);
    }
}

#[inline(always)]
fn count_row<const JACCARD: bool>(query: &[u8], row: &[u8]) -> Counts {
    let (query_words, query_rest) = query.as_chunks::<8>();
    let (row_words, row_rest) = row.as_chunks::<8>();
    let words = query_words.iter().zip(row_words);
    let words = words.map(|(q, r)| (u64::from_le_bytes(*q), u64::from_le_bytes(*r)));
    let rest = query_rest.iter().zip(row_rest);
    let rest = rest.map(|(q, r)| (u64::from(*q), u64::from(*r)));
    let mut counts = [0_u64; 2];
    let mut add = |(q, r): (u64, u64)| {
        if JACCARD {
            counts[0] += u64::from((q & r).count_ones());
            counts[1] += u64::from((q | r).count_ones());
        } else {
            counts[0] += u64::from((q ^ r).count_ones());
        }
    };
    words.for_each(&mut add);
    rest.for_each(&mut add);
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit.
    fn plain(metric: BitMetric, a: &[u8], b: &[u8]) -> f64 {
        let bits = |x: &[u8]| -> Vec<bool> {
            let bit = |i: usize| x[i / 8] >> (i % 8) & 1 == 1;
            (0..x.len() * 8).map(bit).collect()
        };
        let pairs: Vec<(bool, bool)> = bits(a).into_iter().zip(bits(b)).collect();
        let count = |f: fn(&(bool, bool)) -> bool| pairs.iter().filter(|p| f(p)).count() as f64;
        match metric {
            BitMetric::Hamming => count(|(x, y)| x != y),
            BitMetric::Jaccard => match count(|(x, y)| *x && *y) {
                0.0 => 1.0,
                both => 1.0 - both / count(|(x, y)| *x || *y),
            },
        }
    }

    proptest! {
        #[test]
        fn bits_are_counted(
            (length, bytes) in (0_usize..150)
                .prop_flat_map(|n| (Just(n), prop::collection::vec(any::<u8>(), n * 3)))
        ) {
            for set in InstructionSet::available() {
                for metric in BitMetric::ALL {
                    let query = BitQuery::with_instruction_set(metric, &bytes[..length], set);
                    let mut out = [0.0; 3];
                    query.distances(&bytes, &mut out);
                    for (row, d) in out.iter().enumerate() {
                        let row = &bytes[row * length..(row + 1) * length];
                        prop_assert_eq!(*d, plain(metric, &bytes[..length], row), "{:?}", set);
                        prop_assert_eq!(*d, query.distance(row));
                    }
                }
            }
        }
    }
}
