//! Numbers: integers, floats with the fewest digits that read back the same, and `numeric`.

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};

use crate::catalog::quotient::Shown;
use crate::error::{Error, Result, sqlstate};

/// Where the text of a float changes to an exponent: decimal exponents from here on.
const FLOAT8_EXPONENT_MIN: i32 = 15;
const FLOAT4_EXPONENT_MIN: i32 = 6;
/// From here on floats are whole numbers more than 1 apart.
const FLOAT8_WHOLE_MIN: f64 = 18_014_398_509_481_984.0;
const FLOAT4_WHOLE_MIN: f32 = 33_554_432.0;
/// The most digits that tell a float from its neighbours.
const SIGNIFICANT_DIGITS_MAX: usize = 17;
/// Decimal digits that every float of the type keeps.
const FLOAT8_DIGITS: i32 = 15;
const FLOAT4_DIGITS: i32 = 6;

/// The signs of `numeric`'s binary format.
const NUMERIC_POSITIVE: u16 = 0x0000;
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// Digits to the base of 10,000 that the 77 decimal digits of 256 bits take at most, wherever the point is.
const GROUPS_MAX: usize = 21;
const POWERS_OF_TEN: [u16; 4] = [1, 10, 100, 1000];

/// An integer in decimal.
pub(super) fn put_integer(value: impl itoa::Integer, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A `float8` as `float8out` writes it.
pub(super) fn put_float8(value: f64, extra_digits: i32, out: &mut BytesMut) {
    if put_special(value.is_nan(), value.is_infinite(), value < 0.0, out) {
        return;
    }
    if extra_digits <= 0 {
        let digits = (FLOAT8_DIGITS + extra_digits).max(1) as usize;
        return put_rounded(&format!("{value:.*e}", digits - 1), digits as i32, out);
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let size = value.abs();
    if size == 0.0 || (1e-4..1e15).contains(&size) {
        return put_fixed(text, out);
    }
    let mut digits = Digits::of(text);
    if size >= FLOAT8_WHOLE_MIN {
        let bits = size.to_bits();
        let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
        let exponent = (bits >> 52) as i32 - 1075;
        digits = digits.off_halfway(mantissa, exponent, |n| format!("{value:.n$e}"));
    }
    put_digits(&digits, FLOAT8_EXPONENT_MIN, out);
}

/// A `float4` as `float4out` writes it.
pub(super) fn put_float4(value: f32, extra_digits: i32, out: &mut BytesMut) {
    if put_special(value.is_nan(), value.is_infinite(), value < 0.0, out) {
        return;
    }
    if extra_digits <= 0 {
        let digits = (FLOAT4_DIGITS + extra_digits).max(1) as usize;
        return put_rounded(&format!("{value:.*e}", digits - 1), digits as i32, out);
    }
    put_float4_shortest(value, out);
}

/// A finite `float4` with the fewest digits that read back the same.
fn put_float4_shortest(value: f32, out: &mut BytesMut) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        return put_fixed(text, out);
    }
    let mut digits = Digits::of(text);
    if size >= FLOAT4_WHOLE_MIN {
        let bits = size.to_bits();
        let mantissa = u64::from((bits & ((1 << 23) - 1)) | 1 << 23);
        let exponent = (bits >> 23) as i32 - 150;
        digits = digits.off_halfway(mantissa, exponent, |n| format!("{value:.n$e}"));
    }
    put_digits(&digits, FLOAT4_EXPONENT_MIN, out);
}

fn put_special(nan: bool, infinite: bool, negative: bool, out: &mut BytesMut) -> bool {
    let text = match (nan, infinite, negative) {
        (true, _, _) => "NaN",
        (_, true, false) => "Infinity",
        (_, true, true) => "-Infinity",
        _ => return false,
    };
    out.put_slice(text.as_bytes());
    true
}

/// A text without exponent, where it has one: without the `.0` of whole numbers.
fn put_fixed(text: &str, out: &mut BytesMut) {
    if text.contains('e') {
        return put_digits(&Digits::of(text), FLOAT8_EXPONENT_MIN, out);
    }
    out.put_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}

/// `%.{digits}g` of the C library, from a text with exponent.
fn put_rounded(text: &str, digits: i32, out: &mut BytesMut) {
    put_digits(&Digits::of(text), digits, out);
}

/// The significant digits of a number, and where its point is.
struct Digits {
    negative: bool,
    /// ASCII, without zeros at either end; empty for 0.
    digits: Vec<u8>,
    /// The power of ten of the first digit.
    exponent: i32,
}

impl Digits {
    /// Of a decimal text with or without point and exponent, as Rust's formatters write it.
    fn of(text: &str) -> Self {
        let negative = text.starts_with('-');
        let text = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|d| **d == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let exponent: i32 = exponent.parse().unwrap_or(0);
        Self {
            negative,
            digits,
            exponent: exponent + whole.len() as i32 - 1 - zeros as i32,
        }
    }

    /// The digits, or more of them where these are halfway to the next float `mantissa * 2^exponent`: such a text
    /// reads back only by the rule of rounding to even, which PostgreSQL does not rely on. `with` writes the float
    /// with so many digits behind the first.
    fn off_halfway(self, mantissa: u64, exponent: i32, with: impl Fn(usize) -> String) -> Self {
        let mut digits = self;
        for count in digits.digits.len()..SIGNIFICANT_DIGITS_MAX {
            if !digits.is_halfway(mantissa, exponent) {
                break;
            }
            digits = Self::of(&with(count));
        }
        digits
    }

    /// Whether this is exactly between the float and one of its neighbours.
    fn is_halfway(&self, mantissa: u64, exponent: i32) -> bool {
        let power = self.exponent - (self.digits.len() as i32 - 1);
        let fives = u32::try_from(power).ok().filter(|p| *p <= 27);
        let (Some(fives), true) = (fives, self.digits.len() <= SIGNIFICANT_DIGITS_MAX) else {
            // No midpoint of floats is a multiple of a larger power of 5.
            return false;
        };
        let digits = self
            .digits
            .iter()
            .fold(0u128, |sum, d| sum * 10 + u128::from(d - b'0'));
        let whole = digits * 5u128.pow(fives);
        // Both as an odd number times a power of two.
        let twos = whole.trailing_zeros();
        let (odd, twos) = (whole >> twos, twos as i32 + power);
        let twice = 2 * u128::from(mantissa);
        // Below a power of two floats are half as far apart.
        let below = if mantissa.is_power_of_two() {
            (2 * twice - 1, exponent - 2)
        } else {
            (twice - 1, exponent - 1)
        };
        (odd, twos) == (twice + 1, exponent - 1) || (odd, twos) == below
    }
}

/// The digits with a point, or with an exponent when it is below -4 or at least `exponent_min`.
fn put_digits(number: &Digits, exponent_min: i32, out: &mut BytesMut) {
    if number.negative {
        out.put_u8(b'-');
    }
    let (digits, exponent) = (number.digits.as_slice(), number.exponent);
    if digits.is_empty() {
        out.put_u8(b'0');
    } else if !(-4..exponent_min).contains(&exponent) {
        out.put_u8(digits[0]);
        put_fraction(&digits[1..], out);
        out.put_u8(b'e');
        out.put_u8(if exponent < 0 { b'-' } else { b'+' });
        if exponent.abs() < 10 {
            out.put_u8(b'0');
        }
        put_integer(exponent.abs(), out);
    } else if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        out.put_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        let (before, after) = digits.split_at(whole.min(digits.len()));
        out.put_slice(before);
        out.put_bytes(b'0', whole - before.len());
        put_fraction(after, out);
    }
}

fn put_fraction(digits: &[u8], out: &mut BytesMut) {
    if !digits.is_empty() {
        out.put_u8(b'.');
        out.put_slice(digits);
    }
}

/// A decimal: its unscaled value's digits, sign and scale.
pub(super) struct Decimal<'a> {
    negative: bool,
    /// ASCII, without zeros before; "0" for 0.
    digits: &'a str,
    scale: i8,
}

impl<'a> Decimal<'a> {
    /// From the unscaled value in decimal.
    pub(super) fn new(unscaled: &'a str, scale: i8) -> Self {
        let negative = unscaled.starts_with('-');
        Self {
            negative,
            digits: unscaled.strip_prefix('-').unwrap_or(unscaled),
            scale,
        }
    }

    /// The same without zeros at the end that are not shown.
    pub(super) fn shown(unscaled: &'a str, scale: i8, shown: Option<Shown>) -> Self {
        let all = Self::new(unscaled, scale);
        let Some(shown) = shown else {
            return all;
        };
        let first = (all.digits != "0").then_some(all.digits.len() as i32 - 1 - i32::from(scale));
        let hidden = i32::from(scale) - shown.digits(first).max(0);
        let hidden = usize::try_from(hidden).unwrap_or_default();
        let zeros = all
            .digits
            .bytes()
            .rev()
            .take_while(|digit| *digit == b'0')
            .count();
        let hidden = match first {
            None => {
                return Self {
                    scale: scale - hidden as i8,
                    ..all
                };
            }
            Some(_) => hidden.min(zeros),
        };
        Self {
            digits: &all.digits[..all.digits.len() - hidden],
            scale: scale - hidden as i8,
            ..all
        }
    }

    /// `-12.50`: as many digits behind the point as the scale says.
    pub(super) fn put_text(&self, out: &mut BytesMut) {
        if self.negative {
            out.put_u8(b'-');
        }
        let digits = self.digits.as_bytes();
        let Ok(scale) = usize::try_from(self.scale) else {
            out.put_slice(digits);
            if digits != b"0" {
                out.put_bytes(b'0', usize::from(self.scale.unsigned_abs()));
            }
            return;
        };
        let whole = digits.len().saturating_sub(scale);
        if whole == 0 {
            out.put_u8(b'0');
        }
        out.put_slice(&digits[..whole]);
        if scale > 0 {
            out.put_u8(b'.');
            out.put_bytes(b'0', scale - (digits.len() - whole));
            out.put_slice(&digits[whole..]);
        }
    }

    /// Count, weight, sign and scale, then digits to the base of 10,000.
    pub(super) fn put_binary(&self, out: &mut BytesMut) {
        let digits = self.digits.as_bytes();
        // The decimal place of the digit at `at`, counted from the point to the left.
        let scale = i32::from(self.scale);
        let highest = digits.len() as i32 - 1 - scale;
        let weight = highest.div_euclid(4);
        let mut groups = [0u16; GROUPS_MAX];
        let mut count = 0;
        for (at, digit) in digits.iter().enumerate() {
            let place = highest - at as i32;
            let group = (weight - place.div_euclid(4)) as usize;
            groups[group] += u16::from(digit - b'0') * POWERS_OF_TEN[place.rem_euclid(4) as usize];
            // Zeros at the end are left out.
            if groups[group] != 0 {
                count = group + 1;
            }
        }
        let zero = count == 0;
        let sign = if self.negative && !zero {
            NUMERIC_NEGATIVE
        } else {
            NUMERIC_POSITIVE
        };
        out.put_i16(count as i16);
        out.put_i16(if zero { 0 } else { weight as i16 });
        out.put_u16(sign);
        out.put_i16(i16::from(self.scale.max(0)));
        groups[..count].iter().for_each(|group| out.put_u16(*group));
    }
}

/// Reads the binary format of `numeric` as a plain decimal text.
///
/// # Errors
/// 22P03 for bytes that are no `numeric`.
pub(super) fn numeric_text(bytes: &[u8]) -> Result<String> {
    let word = |at: usize| {
        let pair = bytes.get(at * 2..at * 2 + 2)?;
        Some(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let (Some(count), Some(weight), Some(sign), Some(scale)) = (word(0), word(1), word(2), word(3))
    else {
        return Err(invalid("insufficient data left in message"));
    };
    match sign {
        NUMERIC_POSITIVE | NUMERIC_NEGATIVE => {}
        0xC000 => return Ok("NaN".to_string()),
        0xD000 => return Ok("Infinity".to_string()),
        0xF000 => return Ok("-Infinity".to_string()),
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    }
    if scale > 0x3FFF {
        return Err(invalid("invalid scale in external \"numeric\" value"));
    }
    if bytes.len() != 8 + 2 * usize::from(count) {
        return Err(invalid("incorrect binary data format"));
    }
    let group = |place: i32| -> Result<u16> {
        let at = i32::from(weight as i16) - place;
        if at < 0 || at >= i32::from(count) {
            return Ok(0);
        }
        match word(4 + at as usize) {
            Some(digit) if digit < 10_000 => Ok(digit),
            _ => Err(invalid("invalid digit in external \"numeric\" value")),
        }
    };
    let mut text = String::new();
    if sign == NUMERIC_NEGATIVE {
        text.push('-');
    }
    text.push('0');
    for place in (0..=i32::from(weight as i16)).rev() {
        text.push_str(&format!("{:04}", group(place)?));
    }
    // Digits that the scale does not reach are cut off.
    let start = text.len();
    for place in 1..=i32::from(scale.div_ceil(4)) {
        text.push_str(&format!("{:04}", group(-place)?));
    }
    text.truncate(start + usize::from(scale));
    if scale > 0 {
        text.insert(start, '.');
    }
    Ok(text)
}

/// 22003: a number that the type cannot hold.
pub(super) fn integer_out_of_range(type_name: &str) -> Error {
    Error::invalid(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("{type_name} out of range"),
    )
}

/// 22P03: bytes that are no value of the type.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_BINARY_REPRESENTATION, message)
}

/// The decimal digits of an unscaled value.
pub(super) trait Unscaled: Copy {
    /// Calls `act` with the digits.
    fn with_digits<R>(self, act: impl FnOnce(&str) -> R) -> R;
}

macro_rules! unscaled {
    ($($native:ty),*) => {
        $(impl Unscaled for $native {
            fn with_digits<R>(self, act: impl FnOnce(&str) -> R) -> R {
                act(itoa::Buffer::new().format(self))
            }
        })*
    };
}

unscaled!(i32, i64, i128, u64);

impl Unscaled for i256 {
    fn with_digits<R>(self, act: impl FnOnce(&str) -> R) -> R {
        match self.to_i128() {
            Some(small) => small.with_digits(act),
            None => act(&self.to_string()),
        }
    }
}
