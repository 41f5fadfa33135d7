//! Parquet's levels: small numbers in runs and bit-packed groups of eight.

/// Calls `run` with each level of `bits` (1, 2, 4 or 8) and how often it repeats, `levels` in all; `None` when the
/// bytes end early or `run` says so.
pub(super) fn for_each_run(
    mut bytes: &[u8],
    bits: u32,
    levels: u64,
    mut run: impl FnMut(u8, u64) -> Option<()>,
) -> Option<()> {
    let mut left = levels;
    while left > 0 {
        let head = varint(&mut bytes)?;
        if head & 1 == 0 {
            let (level, rest) = bytes.split_first()?;
            bytes = rest;
            let count = (head >> 1).min(left);
            if count == 0 {
                return None;
            }
            run(*level, count)?;
            left -= count;
            continue;
        }
        let packed = usize::try_from((head >> 1).checked_mul(u64::from(bits))?).ok()?;
        let (packed, rest) = bytes.split_at_checked(packed)?;
        bytes = rest;
        if packed.is_empty() {
            return None;
        }
        for byte in packed {
            for place in (0..8).step_by(bits as usize).take(left.min(8) as usize) {
                run((byte >> place) & ((1 << bits) - 1), 1)?;
                left -= 1;
            }
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn levels(bytes: &[u8], bits: u32, levels: u64) -> Option<Vec<(u8, u64)>> {
        let mut runs = Vec::new();
        for_each_run(bytes, bits, levels, |level, count| {
            runs.push((level, count));
            Some(())
        })?;
        Some(runs)
    }

    #[test]
    fn runs_and_packed_groups_are_read() {
        // 300 times 2, then a group of eight of which the first three count.
        let bytes = [0xd8, 0x04, 0x02, 0x03, 0b00_10_00_10, 0xff];
        assert_eq!(
            levels(&bytes, 2, 303).unwrap(),
            [(2, 300), (2, 1), (0, 1), (2, 1)]
        );
        assert_eq!(
            levels(&[0x03, 0b101], 1, 3).unwrap(),
            [(1, 1), (0, 1), (1, 1)]
        );
        // A run longer than what is asked for ends with it.
        assert_eq!(levels(&bytes, 2, 7).unwrap(), [(2, 7)]);
    }

    #[test]
    fn bytes_that_end_early_are_none() {
        assert_eq!(levels(&[0xd8, 0x04], 2, 1), None);
        assert_eq!(levels(&[0x05, 0xff, 0xff, 0xff], 2, 9), None);
        assert_eq!(levels(&[0x00, 0x02], 2, 1), None);
        assert_eq!(levels(&[0x01], 2, 1), None);
        assert_eq!(levels(&[0xff; 12], 2, 1), None);
    }
}
