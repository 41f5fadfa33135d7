//! Whether a bloom filter may have a value.

use datafusion::common::ScalarValue;
use parquet::bloom_filter::Sbbf;

/// Whether the row group of `filter` may hold `value`. `value` must be of the column's Arrow type; NULL and types
/// without a filter are always possible.
pub fn bloom_may_contain(filter: &Sbbf, value: &ScalarValue) -> bool {
    use ScalarValue as S;
    match value {
        S::Int8(Some(v)) => filter.check(&i32::from(*v)),
        S::Int16(Some(v)) => filter.check(&i32::from(*v)),
        S::Int32(Some(v)) | S::Date32(Some(v)) => filter.check(v),
        S::Int64(Some(v)) | S::Time64Microsecond(Some(v)) | S::TimestampMicrosecond(Some(v), _) => {
            filter.check(v)
        }
        // Parquet keeps a decimal in the least integer that holds its precision.
        S::Decimal128(Some(v), 1..=9, _) => i32::try_from(*v).is_ok_and(|v| filter.check(&v)),
        S::Decimal128(Some(v), 10..=18, _) => i64::try_from(*v).is_ok_and(|v| filter.check(&v)),
        S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => filter.check(v.as_str()),
        S::Binary(Some(v)) | S::LargeBinary(Some(v)) | S::BinaryView(Some(v)) => {
            filter.check(v.as_slice())
        }
        _ => true,
    }
}
