//! Functions of bit strings, which are text of `0` and `1`: `hamming_distance`, `jaccard_distance` and `binary_quantize`.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Builder, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::bit_type::{BitType, parse_bits};
use crate::error::VectorError;
use crate::input::{Operand, all_constant, result_rows};
use crate::kernels::{BitMetric, BitQuery};
use crate::output::columnar;
use crate::signature::{accept_vectors, immutable, result_field};
use crate::types::is_text;

/// A distance between two bit strings as a scalar function; the result is `Float64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BitDistanceFunction {
    metric: BitMetric,
    signature: Signature,
}

impl BitDistanceFunction {
    /// The function that computes a metric.
    pub fn new(metric: BitMetric) -> Self {
        Self {
            metric,
            signature: immutable(),
        }
    }

    /// The function, ready to be registered or called.
    pub fn udf(metric: BitMetric) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self::new(metric)))
    }
}

impl ScalarUDFImpl for BitDistanceFunction {
    fn name(&self) -> &str {
        match self.metric {
            BitMetric::Hamming => "hamming_distance",
            BitMetric::Jaccard => "jaccard_distance",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), DataType::Float64, &args))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [left, right] if [left, right].iter().all(|t| is_text(t) || t.is_null()) => {
                Ok(vec![DataType::Utf8; 2])
            }
            _ => plan_err!("{} takes two bit strings, not {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let side = |value: &ColumnarValue| cast(&value.to_array(rows)?, &DataType::Utf8);
        let (left, right) = (side(&args.args[0])?, side(&args.args[1])?);
        let pairs = left.as_string::<i32>().iter().zip(right.as_string::<i32>());
        let (mut row, mut query) = (BitString::default(), BitString::default());
        let mut distances = Float64Builder::with_capacity(rows);
        for pair in pairs {
            let (Some(left), Some(right)) = pair else {
                distances.append_null();
                continue;
            };
            row.read(left)?;
            query.read(right)?;
            if row.length != query.length {
                return Err(VectorError::different_bit_lengths(row.length, query.length).into());
            }
            let distance = BitQuery::new(self.metric, &query.bytes).distance(&row.bytes);
            distances.append_value(distance);
        }
        columnar(Arc::new(distances.finish()), all_constant(&args.args))
    }
}

/// A bit string in bytes, the first bit highest, zeros behind the last. Reading the same text again,
/// as a query is for every row, costs a comparison.
#[derive(Debug, Default)]
struct BitString {
    text: String,
    bytes: Vec<u8>,
    length: usize,
}

impl BitString {
    /// Reads a bit string.
    ///
    /// # Errors
    /// Those of [`parse_bits`].
    fn read(&mut self, text: &str) -> Result<(), VectorError> {
        if self.text == text && !text.is_empty() {
            return Ok(());
        }
        self.bytes.clear();
        self.length = 0;
        // A text that fails must not be taken for read.
        self.text.clear();
        for bit in parse_bits(text)?.bytes() {
            self.push(bit == b'1');
        }
        self.text.push_str(text);
        Ok(())
    }

    fn push(&mut self, bit: bool) {
        if self.length.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.length % 8);
        }
        self.length += 1;
    }
}

/// `binary_quantize(vector)`: a bit for each element, set where it is above zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BinaryQuantizeFunction {
    signature: Signature,
}

impl BinaryQuantizeFunction {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: immutable(),
        }
    }
}

impl Default for BinaryQuantizeFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for BinaryQuantizeFunction {
    fn name(&self) -> &str {
        "binary_quantize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = result_field("", DataType::Utf8, &args).is_nullable();
        Ok(BitType::BIT.field(self.name(), nullable))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let mut bits = StringBuilder::new();
        for row in 0..operand.vectors.len() {
            let quantized = |vector: &[f32]| -> String {
                let bit = |x: &f32| if *x > 0.0 { '1' } else { '0' };
                vector.iter().map(bit).collect()
            };
            bits.append_option(operand.vectors.get(row).map(quantized));
        }
        columnar(Arc::new(bits.finish()), operand.constant)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bits_are_packed_from_the_highest() {
        let mut bits = BitString::default();
        for (text, bytes, length) in [
            ("", vec![], 0),
            ("1", vec![0x80], 1),
            ("0110", vec![0x60], 4),
            ("x60", vec![0x60], 8),
            ("B111111111", vec![0xff, 0x80], 9),
        ] {
            bits.read(text).unwrap();
            assert_eq!((&bits.bytes, bits.length), (&bytes, length), "{text}");
        }
        assert!(bits.read("102").is_err());
        assert!(bits.read("102").is_err());
    }
}
