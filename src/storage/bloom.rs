//! Split-block bloom filters as Parquet has them: which values a row group surely does not hold.
//!
//! All bits of a value lie in one block of 32 bytes, so that asking for a value reads one block, wherever the filter
//! is: behind the data of a Parquet file, or in a file of its own (`filter_file`).

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use twox_hash::XxHash64;

use super::schema::ColumnType;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 32;
/// Bits that a value needs so that the filter says "maybe" to one in a hundred values that are not there.
const BITS_PER_VALUE: f64 = 9.7;
/// The odd numbers of the Parquet specification, one per word of a block.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Whether columns of the type can have filters. A boolean has two values, which bounds tell already.
pub fn has_filter(column_type: &ColumnType) -> bool {
    column_type.is_scalar() && !matches!(column_type, ColumnType::Boolean)
}

/// The place of a value's block among `blocks`.
pub(super) fn block_of(hash: u64, blocks: u32) -> u32 {
    (((hash >> 32) * u64::from(blocks)) >> 32) as u32
}

fn word_bits(hash: u64) -> [u32; 8] {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// Whether the block may hold the value of `hash`.
pub(super) fn block_may_contain(block: &[u8; BLOCK_BYTES], hash: u64) -> bool {
    let words = block.chunks_exact(4).zip(word_bits(hash));
    words.into_iter().all(|(word, bit)| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word & bit != 0
    })
}

/// The filter of these hashes, as large as so many different values need.
pub(super) fn build(hashes: &mut Vec<u64>) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.dedup();
    let bits = hashes.len() as f64 * BITS_PER_VALUE;
    let blocks = (bits / (BLOCK_BYTES * 8) as f64).ceil().max(1.0) as u32;
    let mut filter = vec![0; blocks as usize * BLOCK_BYTES];
    for hash in hashes {
        let from = block_of(*hash, blocks) as usize * BLOCK_BYTES;
        let words = filter[from..from + BLOCK_BYTES].chunks_exact_mut(4);
        for (word, bit) in words.zip(word_bits(*hash)) {
            for (byte, bits) in word.iter_mut().zip(bit.to_le_bytes()) {
                *byte |= bits;
            }
        }
    }
    filter
}

/// The hashes of all values of a column that are not NULL; `None` for types without filters.
pub fn hashes(column: &dyn Array) -> Option<Vec<u64>> {
    use DataType as D;
    let small = |v: i64| hash(&(v as i32).to_le_bytes());
    Some(match column.data_type() {
        D::Int8 => of_values(column.as_primitive::<Int8Type>(), |v| small(v.into())),
        D::Int16 => of_values(column.as_primitive::<Int16Type>(), |v| small(v.into())),
        D::Int32 => of_values(column.as_primitive::<Int32Type>(), |v| small(v.into())),
        D::Date32 => of_values(column.as_primitive::<Date32Type>(), |v| small(v.into())),
        D::Int64 => of_values(column.as_primitive::<Int64Type>(), long),
        D::Time64(TimeUnit::Microsecond) => {
            of_values(column.as_primitive::<Time64MicrosecondType>(), long)
        }
        D::Timestamp(TimeUnit::Microsecond, _) => {
            of_values(column.as_primitive::<TimestampMicrosecondType>(), long)
        }
        D::Float32 => of_values(column.as_primitive::<Float32Type>(), |v| {
            hash(&v.to_le_bytes())
        }),
        D::Float64 => of_values(column.as_primitive::<Float64Type>(), |v| {
            hash(&v.to_le_bytes())
        }),
        D::Decimal128(precision, _) => of_values(column.as_primitive::<Decimal128Type>(), |v| {
            decimal(v, *precision)
        }),
        D::Utf8 => {
            let values = column.as_string::<i32>().iter().flatten();
            values.map(|v| hash(v.as_bytes())).collect()
        }
        D::Binary => {
            let values = column.as_binary::<i32>().iter().flatten();
            values.map(hash).collect()
        }
        _ => return None,
    })
}

fn of_values<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    hash: impl Fn(T::Native) -> u64,
) -> Vec<u64> {
    column.iter().flatten().map(hash).collect()
}

/// The hashes under which a value may have been kept; `None` when a filter cannot tell: NULL, NaN, types without
/// filters. `value` must be of the column's Arrow type.
pub fn hashes_of(value: &ScalarValue) -> Option<Vec<u64>> {
    use ScalarValue as S;
    let small = |v: i32| hash(&v.to_le_bytes());
    Some(match value {
        S::Int8(Some(v)) => vec![small(i32::from(*v))],
        S::Int16(Some(v)) => vec![small(i32::from(*v))],
        S::Int32(Some(v)) | S::Date32(Some(v)) => vec![small(*v)],
        S::Int64(Some(v)) | S::Time64Microsecond(Some(v)) | S::TimestampMicrosecond(Some(v), _) => {
            vec![long(*v)]
        }
        // Equal zeros have different bytes.
        S::Float32(Some(0.0)) => vec![
            hash(&0.0_f32.to_le_bytes()),
            hash(&(-0.0_f32).to_le_bytes()),
        ],
        S::Float64(Some(0.0)) => vec![
            hash(&0.0_f64.to_le_bytes()),
            hash(&(-0.0_f64).to_le_bytes()),
        ],
        S::Float32(Some(v)) if !v.is_nan() => vec![hash(&v.to_le_bytes())],
        S::Float64(Some(v)) if !v.is_nan() => vec![hash(&v.to_le_bytes())],
        S::Decimal128(Some(v), precision, _) => vec![decimal(*v, *precision)],
        S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => vec![hash(v.as_bytes())],
        S::Binary(Some(v)) | S::LargeBinary(Some(v)) | S::BinaryView(Some(v)) => vec![hash(v)],
        _ => return None,
    })
}

fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

fn long(value: i64) -> u64 {
    hash(&value.to_le_bytes())
}

/// Parquet keeps a decimal in the least integer that holds its precision, else in as few big-endian bytes as do.
fn decimal(value: i128, precision: u8) -> u64 {
    match precision {
        0..=9 => hash(&(value as i32).to_le_bytes()),
        10..=18 => long(value as i64),
        _ => {
            let bits = f64::from(precision) * std::f64::consts::LOG2_10 + 1.0;
            let bytes = (bits / 8.0).ceil() as usize;
            hash(&value.to_be_bytes()[16 - bytes.min(16)..])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn may_contain(filter: &[u8], value: &ScalarValue) -> bool {
        let blocks = (filter.len() / BLOCK_BYTES) as u32;
        hashes_of(value).unwrap().into_iter().any(|hash| {
            let from = block_of(hash, blocks) as usize * BLOCK_BYTES;
            block_may_contain(filter[from..from + BLOCK_BYTES].try_into().unwrap(), hash)
        })
    }

    #[test]
    fn no_value_is_denied_and_few_others_are_taken() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20_000));
        let filter = build(&mut hashes(&column).unwrap());
        assert!(filter.len() < 20_000 * 10 / 8);
        let maybe = |v: &i64| may_contain(&filter, &ScalarValue::from(*v));
        assert!((0..20_000).all(|v| maybe(&v)));
        let wrong = (20_000..120_000).filter(maybe).count();
        assert!(wrong < 1_800, "{wrong} of 100000");
    }

    #[test]
    fn values_that_are_equal_are_found_whatever_their_bytes() {
        let columns: [ArrayRef; 3] = [
            Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::NAN)])),
            Arc::new(StringArray::from(vec!["", "long ".repeat(1_000).as_str()])),
            Arc::new(
                Decimal128Array::from(vec![-1, 10_i128.pow(37)])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ];
        for column in columns {
            let filter = build(&mut hashes(&column).unwrap());
            for row in 0..column.len() {
                let value = ScalarValue::try_from_array(&column, row).unwrap();
                let known = hashes_of(&value).is_some();
                assert!(!known || may_contain(&filter, &value), "{value:?}");
            }
        }
        let zero = build(&mut vec![hash(&(-0.0_f64).to_le_bytes())]);
        assert!(may_contain(&zero, &ScalarValue::from(0.0)));
        assert!(!may_contain(&zero, &ScalarValue::from(1.0)));
        assert_eq!(hashes_of(&ScalarValue::from(f64::NAN)), None);
        assert_eq!(hashes_of(&ScalarValue::Int64(None)), None);
    }

    #[test]
    fn no_values_need_one_empty_block() {
        let filter = build(&mut Vec::new());
        assert_eq!(filter, [0; BLOCK_BYTES]);
        assert!(!may_contain(&filter, &ScalarValue::from(1_i64)));
    }
}
