//! The text form of vectors, `[1,2.5,-3]`, read and written as pgvector does.

use std::fmt::Write;

use half::f16;

use crate::decimal::read_decimal;
use crate::error::VectorError;
use crate::types::{DIMENSION_MAX, Element, VectorType};

/// Reads a `vector` with the expected number of dimensions, or any number.
///
/// # Errors
/// 22P02 for text that is no vector, 22000 for NaN, an infinite value, no element at all or another
/// dimension than expected, 22003 for a number too large, 54000 for too many dimensions.
pub fn parse_vector(text: &str, dimension: Option<usize>) -> Result<Vec<f32>, VectorError> {
    parse(
        text,
        VectorType {
            element: Element::Single,
            dimension,
        },
    )
}

/// Reads a `halfvec`; numbers round to the nearest 16-bit float.
///
/// # Errors
/// As [`parse_vector`].
pub fn parse_halfvec(text: &str, dimension: Option<usize>) -> Result<Vec<f16>, VectorError> {
    let values = parse(
        text,
        VectorType {
            element: Element::Half,
            dimension,
        },
    )?;
    Ok(values.into_iter().map(f16::from_f32).collect())
}

/// Reads a vector of either element; those of a `halfvec` are rounded, but held in 32 bits.
pub(crate) fn parse(text: &str, target: VectorType) -> Result<Vec<f32>, VectorError> {
    let syntax = || VectorError::syntax(target.element, text);
    let no_start = || syntax().with_detail("Vector contents must start with \"[\".");
    let mut rest = skip_blanks(text).strip_prefix('[').ok_or_else(no_start)?;
    if skip_blanks(rest).starts_with(']') {
        return Err(VectorError::no_dimension(target.element));
    }
    let mut values = Vec::with_capacity(target.dimension.unwrap_or(0).min(DIMENSION_MAX));
    loop {
        if values.len() == DIMENSION_MAX {
            return Err(VectorError::too_many_dimensions(target.element));
        }
        let (value, after) = read_number(skip_blanks(rest), target.element, syntax)?;
        values.push(value);
        let after = skip_blanks(after);
        if let Some(next) = after.strip_prefix(',') {
            rest = next;
        } else if let Some(last) = after.strip_prefix(']') {
            rest = last;
            break;
        } else {
            return Err(syntax());
        }
    }
    if !skip_blanks(rest).is_empty() {
        return Err(syntax().with_detail("Junk after closing right brace."));
    }
    check_dimension(target, values.len())?;
    Ok(values)
}

/// The number at the start of a text, and what follows it.
fn read_number(
    text: &str,
    element: Element,
    syntax: impl Fn() -> VectorError,
) -> Result<(f32, &str), VectorError> {
    let ends = |byte: u8| matches!(byte, b',' | b']') || is_blank(byte);
    if element == Element::Single
        && let Some((value, bytes)) = read_decimal(text.as_bytes())
        && text.as_bytes().get(bytes).copied().is_some_and(ends)
    {
        return Ok((value, &text[bytes..]));
    }
    let end = text.bytes().position(ends).ok_or_else(&syntax)?;
    let (number, after) = text.split_at(end);
    Ok((parse_number(number, element, syntax)?, after))
}

fn parse_number(
    number: &str,
    element: Element,
    syntax: impl Fn() -> VectorError,
) -> Result<f32, VectorError> {
    let mut value: f32 = number.parse().map_err(|_| syntax())?;
    if element == Element::Half {
        value = f16::from_f32(value).to_f32();
    }
    // Only a number written in digits can be too large; "inf" says what it means.
    if value.is_infinite() && number.contains(|c: char| c.is_ascii_digit()) {
        return Err(VectorError::out_of_range(element, number));
    }
    check_finite(value, element)?;
    Ok(value)
}

/// What pgvector calls white space.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

fn skip_blanks(text: &str) -> &str {
    let blanks = text.bytes().take_while(|byte| is_blank(*byte)).count();
    &text[blanks..]
}

/// Refuses what no vector may hold.
pub(crate) fn check_finite(value: f32, element: Element) -> Result<(), VectorError> {
    if value.is_nan() {
        return Err(VectorError::not_a_number(element));
    }
    if value.is_infinite() {
        return Err(VectorError::infinite(element));
    }
    Ok(())
}

/// Refuses a dimension that no vector, or no vector of the type, may have.
pub(crate) fn check_dimension(target: VectorType, actual: usize) -> Result<(), VectorError> {
    match target.dimension {
        _ if actual == 0 => Err(VectorError::no_dimension(target.element)),
        _ if actual > DIMENSION_MAX => Err(VectorError::too_many_dimensions(target.element)),
        Some(expected) if expected != actual => {
            Err(VectorError::unexpected_dimension(expected, actual))
        }
        _ => Ok(()),
    }
}

/// Appends a vector's text; each number is the shortest that reads back the same, as PostgreSQL
/// writes `real`.
pub fn write_vector(values: impl IntoIterator<Item = f32>, out: &mut String) {
    out.push('[');
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_float(value, out);
    }
    out.push(']');
}

/// A vector's text.
pub fn format_vector(values: impl IntoIterator<Item = f32>) -> String {
    let mut out = String::new();
    write_vector(values, &mut out);
    out
}

/// PostgreSQL writes an exponent (of two digits) outside 1e-4 .. 1e6 and names what is no number.
pub(crate) fn write_float(value: f32, out: &mut String) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if size == 0.0 || (1e-4..1e6).contains(&size) {
        // Writing into a string cannot fail.
        let _ = write!(out, "{value}");
    } else {
        write_scientific(value, out);
    }
}

fn write_scientific(value: f32, out: &mut String) {
    let start = out.len();
    let _ = write!(out, "{value:e}");
    let Some(mark) = out[start..].find('e').map(|at| start + at) else {
        return;
    };
    let exponent = out.split_off(mark + 1);
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent.as_str()),
    };
    let _ = write!(out, "{sign}{digits:0>2}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> (String, &'static str) {
        let error = parse_vector(text, None).unwrap_err();
        (error.message, error.sqlstate)
    }

    #[test]
    fn reads_numbers_with_blanks() {
        for text in ["[1,2.5,-3]", " [ 1 , 2.5,\t-3 ] ", "[1.,+2.5,-3e0]\n"] {
            assert_eq!(parse_vector(text, Some(3)).unwrap(), [1.0, 2.5, -3.0]);
        }
        assert_eq!(parse_vector("[1e-46,-0]", None).unwrap(), [0.0, -0.0]);
        assert_eq!(parse_halfvec("[0.1]", None).unwrap(), [f16::from_f32(0.1)]);
    }

    #[test]
    fn refuses_what_is_no_vector() {
        let bad = [
            "", "1,2", "[1,2", "1,2]", "[1,,2]", "[1,2,]", "[,1]", "[1 2]", "[a]", "[1]]", "[",
            "[1,2]x",
        ];
        for text in bad {
            let expected = format!("invalid input syntax for type vector: \"{text}\"");
            assert_eq!(error(text), (expected, "22P02"));
        }
    }

    #[test]
    fn details_say_what_is_wrong_with_a_text() {
        let detail = |text| parse_vector(text, None).unwrap_err().detail;
        let start = Some("Vector contents must start with \"[\".");
        assert_eq!(detail(""), start);
        assert_eq!(detail("1,2]"), start);
        assert_eq!(detail("[1,2]x"), Some("Junk after closing right brace."));
        assert_eq!(detail("[1,2"), None);
        assert_eq!(detail("[a]"), None);
    }

    #[test]
    fn refuses_values_as_pgvector_words_it() {
        assert_eq!(
            error("[]"),
            ("vector must have at least 1 dimension".into(), "22000")
        );
        assert_eq!(error("[ ]").1, "22000");
        assert_eq!(
            error("[NaN,1]"),
            ("NaN not allowed in vector".into(), "22000")
        );
        assert_eq!(
            error("[-inf]"),
            ("infinite value not allowed in vector".into(), "22000")
        );
        assert_eq!(error("[Infinity]").1, "22000");
        assert_eq!(
            error("[4e38,1]"),
            ("\"4e38\" is out of range for type vector".into(), "22003")
        );
        let half = parse_halfvec("[65520]", None).unwrap_err();
        assert_eq!(half.message, "\"65520\" is out of range for type halfvec");
        let dims = parse_vector("[1,2]", Some(3)).unwrap_err();
        assert_eq!(
            (dims.message.as_str(), dims.sqlstate),
            ("expected 3 dimensions, not 2", "22000")
        );
    }

    #[test]
    fn limits_length_of_input_and_of_message() {
        let wide = format!("[{}1]", "1,".repeat(DIMENSION_MAX));
        assert_eq!(
            error(&wide),
            (
                "vector cannot have more than 16000 dimensions".into(),
                "54000"
            )
        );
        let exact = format!("[{}1]", "1,".repeat(DIMENSION_MAX - 1));
        assert_eq!(parse_vector(&exact, None).unwrap().len(), DIMENSION_MAX);
        let (message, _) = error(&format!("[{}", "é".repeat(1_000_000)));
        assert!(message.len() < 300, "{message}");
        assert!(message.ends_with("...\""));
    }

    #[test]
    fn writes_numbers_as_postgresql() {
        let cases: [(f32, &str); 17] = [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1.5e38, "1.5e+38"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (0.00012345, "0.00012345"),
            (100000.0, "100000"),
            (999999.9, "999999.9"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (16777216.0, "1.6777216e+07"),
            (1e-45, "1e-45"),
            (f32::MAX, "3.4028235e+38"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-Infinity"),
            (-2.5, "-2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(format_vector([value]), format!("[{text}]"));
        }
        assert_eq!(format_vector([1.0, 2.5, -3.0]), "[1,2.5,-3]");
    }

    proptest! {
        #[test]
        fn text_reads_back_bit_for_bit(bits in prop::collection::vec(any::<u32>(), 1..20)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let back = parse_vector(&format_vector(values.iter().copied()), None).unwrap();
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&values));
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]0-9eE+., xNa-]{0,24}") {
            let _ = parse_vector(&text, None);
        }
    }
}
