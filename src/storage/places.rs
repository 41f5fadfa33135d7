//! Where the rows of a segment went that was replaced, in as few bits as tell it.
//!
//! A place counts rows through all outputs, one after the other. Each row of the input has as many bits as the last place
//! needs, and one more place that says nowhere: for a million rows 20 bits, where two numbers would have 64.

/// For each row of an input its place among the rows of the outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    rows: u64,
    /// The bits of a row.
    bits: u32,
    /// The rows' numbers, the first in the lowest bits: 0 for nowhere, else one more than the place.
    words: Vec<u64>,
}

impl Places {
    /// Rows that went nowhere; none will have a place from `most` on.
    pub fn new(rows: u64, most: u64) -> Self {
        let bits = bits(most);
        Self {
            rows,
            bits,
            words: vec![0; words(rows, bits) as usize],
        }
    }

    /// The bytes of so many rows.
    pub fn bytes(rows: u64, most: u64) -> u64 {
        8 * words(rows, bits(most))
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.words.as_slice())
    }

    /// Gives a row a place, once.
    ///
    /// # Panics
    /// For a row that does not exist, or a place past those that were announced.
    pub fn set(&mut self, row: u32, place: u64) {
        let number = place + 1;
        assert!(u64::from(row) < self.rows && bits(number) <= self.bits);
        let (word, shift) = self.at(row);
        self.words[word] |= number << shift;
        if shift + self.bits > u64::BITS {
            self.words[word + 1] |= number >> (u64::BITS - shift);
        }
    }

    /// The place of a row; `None` where it went nowhere, or does not exist.
    pub fn get(&self, row: u32) -> Option<u64> {
        if u64::from(row) >= self.rows {
            return None;
        }
        let (word, shift) = self.at(row);
        let mut number = self.words[word] >> shift;
        if shift + self.bits > u64::BITS {
            number |= self.words[word + 1] << (u64::BITS - shift);
        }
        (number & (u64::MAX >> (u64::BITS - self.bits))).checked_sub(1)
    }

    /// The places of all rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        (0..self.rows as u32).map(|row| self.get(row))
    }

    fn at(&self, row: u32) -> (usize, u32) {
        let bit = u64::from(row) * u64::from(self.bits);
        let word = bit / u64::from(u64::BITS);
        (word as usize, (bit % u64::from(u64::BITS)) as u32)
    }
}

/// The bits of the numbers up to `most`.
fn bits(most: u64) -> u32 {
    (u64::BITS - most.leading_zeros()).max(1)
}

fn words(rows: u64, bits: u32) -> u64 {
    (rows * u64::from(bits)).div_ceil(u64::from(u64::BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_have_few_bits() {
        assert_eq!(Places::bytes(1_000_000, 1_000_000), 2_500_000);
        assert_eq!(Places::new(0, 0).iter().count(), 0);
        let one = Places::new(1, 0);
        assert_eq!((one.get(0), one.get(1)), (None, None));
    }

    proptest! {
        #[test]
        fn places_are_as_they_were_set(
            most in prop_oneof![1_u64..70, 1_000_u64..5_000, Just(u64::from(u32::MAX)), Just(u64::MAX)],
            wanted in prop::collection::vec(prop::option::of(any::<u64>()), 0..300),
            order in any::<u64>(),
        ) {
            let wanted: Vec<Option<u64>> = wanted.iter().map(|p| p.map(|p| p % most)).collect();
            let mut places = Places::new(wanted.len() as u64, most);
            let mut rows: Vec<usize> = (0..wanted.len()).collect();
            rows.sort_by_key(|row| (*row as u64).wrapping_mul(order | 1));
            for row in rows {
                if let Some(place) = wanted[row] {
                    places.set(row as u32, place);
                }
            }
            prop_assert_eq!(places.iter().collect::<Vec<_>>(), wanted);
            prop_assert_eq!(places.memory_bytes() as u64, Places::bytes(places.rows(), most));
        }
    }
}
