//! Numbers in plain decimal digits, of which the texts of vectors consist.

/// The greatest number up to which an `f64` has every whole number.
const WHOLE_MAX: u64 = 1 << 53;
/// The most digits of which a `u64` has every number.
const DIGITS_MAX: usize = 19;
/// All that the fraction of a number of so many digits is divided by; each is exact.
const POWERS_OF_TEN: [f64; DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// The `f32` nearest to the number at the start of a text, as the standard library reads it, and how many bytes the
/// number takes. `None` for one that has to be read otherwise, or none at all. An exponent is not read: it follows.
///
/// This is the fast path of Clinger, "How to read floating point numbers accurately": where all digits and the power
/// of ten are exact in `f64`, their quotient is rounded once. Rounding it again to `f32` gives the nearest one, unless
/// the quotient lies in the middle between two of them, where the digits would have to tell.
pub(crate) fn read_decimal(text: &[u8]) -> Option<(f32, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let (mut number, whole) = read_digits(0, &text[sign..]);
    let mut end = sign + whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        (number, fraction) = read_digits(number, &text[end + 1..]);
        end += 1 + fraction;
    }
    let digits = whole + fraction;
    if digits == 0 || digits > DIGITS_MAX || number > WHOLE_MAX {
        return None;
    }
    let size = number as f64 / POWERS_OF_TEN[fraction];
    let value = if text[0] == b'-' { -size } else { size };
    rounds_alike(size).then_some((value as f32, end))
}

/// The number that goes on with the digits at the start of a text, and how many there are.
fn read_digits(mut number: u64, text: &[u8]) -> (u64, usize) {
    let mut count = 0;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk::<8>()
        && let Some(eight) = eight_digits(u64::from_le_bytes(*eight))
    {
        number = number.wrapping_mul(100_000_000).wrapping_add(eight);
        count += 8;
        rest = after;
    }
    while let Some((byte, after)) = rest.split_first()
        && byte.is_ascii_digit()
    {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        count += 1;
        rest = after;
    }
    (number, count)
}

/// The number of eight digits, the first in the lowest byte: pairs, then fours, then all are added up at once.
fn eight_digits(text: u64) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let digits = text ^ ZEROS;
    // A byte above nine reaches the high half of its byte by adding six, or is there already.
    if (digits | digits.wrapping_add(0x0606_0606_0606_0606)) & 0xF0F0_F0F0_F0F0_F0F0 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF)
}

/// Whether the `f32` nearest to a size is also nearest to every number that rounds to the size.
fn rounds_alike(size: f64) -> bool {
    const HALF: u64 = 1 << 28;
    let normal = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
    let is_middle = size.to_bits() & (2 * HALF - 1) == HALF;
    size == 0.0 || (normal.contains(&size) && !is_middle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let Some((value, bytes)) = read_decimal(text.as_bytes()) else {
            return;
        };
        let expected = text[..bytes].parse::<f32>().map(f32::to_bits);
        assert_eq!(Ok(value.to_bits()), expected, "{text}");
    }

    #[test]
    fn plain_numbers_are_read_here() {
        let cases = [
            ("1", 1.0, 1),
            ("-0,", -0.0, 2),
            ("+2.5]", 2.5, 4),
            (".5", 0.5, 2),
            ("7. ", 7.0, 2),
            ("0.50547131", 0.505_471_3, 10),
            ("-12345678.875x", -12_345_679.0, 13),
            ("3e5", 3.0, 1),
        ];
        for (text, value, bytes) in cases {
            assert_eq!(
                read_decimal(text.as_bytes()),
                Some((value, bytes)),
                "{text}"
            );
            check(text);
        }
        let others = [
            "",
            "-",
            ".",
            "x",
            "e5",
            "NaN",
            "inf",
            "9007199254740993",
            "00000000000000000000",
        ];
        for text in others {
            assert_eq!(read_decimal(text.as_bytes()), None, "{text}");
        }
        // In the middle between two, and beyond it by less than an f64 can tell.
        assert_eq!(read_decimal(b"16777217"), None);
        assert_eq!(read_decimal(b"1.000000059604644775"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn numbers_are_those_of_the_standard_library(text in "[-+]?[0-9]{0,20}[.]?[0-9]{0,20}[,e]?") {
            check(&text);
        }

        #[test]
        fn so_are_texts_of_floats(bits in any::<u32>(), more in any::<u32>()) {
            let value = f32::from_bits(bits);
            let middle = f64::from(value) + f64::from(f32::EPSILON) / 2.0 * f64::from(value);
            let near = f64::from_bits(middle.to_bits().wrapping_add(u64::from(more % 3)));
            check(&value.to_string());
            check(&middle.to_string());
            check(&near.to_string());
        }

        #[test]
        fn eight_digits_are_all_or_none(bytes in any::<[u8; 8]>(), number in 0u64..100_000_000) {
            let expected = std::str::from_utf8(&bytes).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
            let expected = expected.and_then(|text| text.parse().ok());
            prop_assert_eq!(eight_digits(u64::from_le_bytes(bytes)), expected);
            let text: Vec<u8> = format!("{number:08}").into_bytes();
            let eight = text.first_chunk::<8>().copied().unwrap_or_default();
            prop_assert_eq!(eight_digits(u64::from_le_bytes(eight)), Some(number));
        }
    }
}
