//! `jsonb` in the order that PostgreSQL has of it, as bytes that are compared: values are equal where their keys are.
//!
//! Null comes before texts, then numbers, truth, arrays, and objects; of arrays and objects the shorter one comes first. An
//! empty array that is in no other value comes before all. A key begins with a byte for the kind of value:
//!
//! | value | bytes behind |
//! |---|---|
//! | text | its bytes, 0 |
//! | number | its sign, how many digits are before the point, its digits, 0; of a negative number inverted |
//! | truth | 0 or 1 |
//! | array | how many items, their keys |
//! | object | how many members, for each its key, 0, and the key of its value |

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::read::read;
use super::value::{Value, without_zeros};

/// By what a `jsonb` is compared.
pub(crate) fn key_of(json: Expr) -> Expr {
    ScalarUDF::new_from_impl(KeyFunction {
        signature: Signature::any(1, Volatility::Immutable),
    })
    .call(vec![json])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct KeyFunction {
    signature: Signature,
}

impl ScalarUDFImpl for KeyFunction {
    fn name(&self) -> &str {
        "jsonb_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|arrays| keys(&arrays[0]), Vec::new())(&args.args)
    }
}

fn keys(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let mut keys = BinaryBuilder::new();
    for text in texts.as_string::<i32>() {
        match text {
            Some(text) => keys.append_value(key(&read(text)?)),
            None => keys.append_null(),
        }
    }
    Ok(Arc::new(keys.finish()))
}

/// The key of a value.
fn key(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Array(items) if items.is_empty() => out.push(0),
        value => put(value, &mut out),
    }
    out
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(1),
        Value::String(text) => {
            out.push(2);
            put_text(text, out);
        }
        Value::Number(number) => {
            out.push(3);
            put_number(without_zeros(number), out);
        }
        Value::Bool(truth) => out.extend([4, u8::from(*truth)]),
        Value::Array(items) => {
            out.push(5);
            put_count(items.len(), out);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Object(members) => {
            let members = members.iter();
            out.push(6);
            put_count(members.len(), out);
            for (name, value) in members {
                put_text(name, out);
                put(value, out);
            }
        }
    }
}

/// No text of `jsonb` has the character 0.
fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.as_bytes());
    out.push(0);
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend((count as u64).to_be_bytes());
}

fn put_number(number: &str, out: &mut Vec<u8>) {
    let (is_negative, unsigned) = match number.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, number),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        out.push(1);
        return;
    }
    // Digits before the point, or below nothing as many zeros as follow it.
    let zeros = digits.len() - significant.len();
    let before = whole.len() as i64 - zeros as i64;
    let start = out.len();
    out.push(2);
    out.extend(((before + (1 << 32)) as u64).to_be_bytes());
    out.extend(significant.trim_end_matches('0').as_bytes());
    out.push(0);
    if is_negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        out[start] = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key_of_text(text: &str) -> Vec<u8> {
        key(&read(text).unwrap())
    }

    #[test]
    fn values_are_in_the_order_of_postgres() {
        let ordered = [
            "[]",
            "null",
            r#""""#,
            r#""a""#,
            r#""ab""#,
            r#""b""#,
            "-100",
            "-99.5",
            "-1.5",
            "-1",
            "-0.001",
            "0",
            "0.001",
            "0.01",
            "1",
            "1.5",
            "2.5",
            "10",
            "99.5",
            "100",
            "false",
            "true",
            "[1]",
            "[[]]",
            "[1, 2]",
            "{}",
            r#"{"a": 1}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "b": 2}"#,
        ];
        for pair in ordered.windows(2) {
            assert!(key_of_text(pair[0]) < key_of_text(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn equal_values_have_equal_keys() {
        for (a, b) in [
            ("1", "1.00"),
            ("100", "1e2"),
            ("0", "-0.0"),
            (r#"{"a": 1.0, "b": []}"#, r#"{"b": [], "a": 1}"#),
        ] {
            assert_eq!(key_of_text(a), key_of_text(b), "{a} {b}");
        }
    }
}
