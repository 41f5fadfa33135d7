//! Parameters of the commonest types, read without a column around them: a prepared statement of ten parameters has ten
//! at each execution.

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

use crate::sql::format::{Format, oid};
use crate::storage::schema::SQL_TYPE_KEY;

/// The value of a parameter, where it is one as it is most often written; `None` for everything else, wrong or not.
pub(super) fn value(
    declared: u32,
    field: &Field,
    format: Format,
    bytes: &[u8],
) -> Option<ScalarValue> {
    if !matches!(declared, 0 | oid::UNKNOWN) {
        return None;
    }
    let data_type = field.data_type();
    let name = match data_type {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double precision",
        DataType::Utf8 => "text",
        _ => return None,
    };
    let told = field.metadata().get(SQL_TYPE_KEY);
    if told.is_some_and(|told| told != name) {
        return None;
    }
    match format {
        Format::Text => read_text(data_type, std::str::from_utf8(bytes).ok()?),
        Format::Binary => read_bytes(data_type, bytes),
    }
}

fn read_text(data_type: &DataType, text: &str) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int16 => text.parse::<i16>().ok()?.into(),
        DataType::Int32 => text.parse::<i32>().ok()?.into(),
        DataType::Int64 => text.parse::<i64>().ok()?.into(),
        DataType::Utf8 if !text.contains('\0') => text.into(),
        // Texts of floats have limits and names of their own.
        _ => return None,
    })
}

fn read_bytes(data_type: &DataType, bytes: &[u8]) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int16 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        DataType::Int32 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        DataType::Int64 => i64::from_be_bytes(bytes.try_into().ok()?).into(),
        DataType::Float64 => f64::from_be_bytes(bytes.try_into().ok()?).into(),
        _ => read_text(data_type, std::str::from_utf8(bytes).ok()?)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::zone::Zone;
    use crate::sql::format::decode::decode_column;

    fn types() -> impl Strategy<Value = Field> {
        let plain = [
            (DataType::Int16, "smallint"),
            (DataType::Int32, "integer"),
            (DataType::Int64, "bigint"),
            (DataType::Float64, "double precision"),
            (DataType::Utf8, "text"),
        ];
        let others = [
            (DataType::Int64, "oid"),
            (DataType::Utf8, "uuid"),
            (DataType::Utf8, "varchar(3)"),
            (DataType::Boolean, "boolean"),
        ];
        let all = plain.into_iter().chain(others).collect::<Vec<_>>();
        (prop::sample::select(all), any::<bool>()).prop_map(|((data_type, name), named)| {
            let field = Field::new("$1", data_type, true);
            match named {
                true => field.with_metadata([(SQL_TYPE_KEY.to_string(), name.to_string())].into()),
                false => field,
            }
        })
    }

    fn cells() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-40_000..40_000_i32).prop_map(|n| n.to_string().into_bytes()),
            "[ +-]{0,2}[0-9]{0,20}[ .e_]?[0-9]{0,3}".prop_map(String::into_bytes),
            prop::sample::select(vec!["", "NaN", "inf", "-0", "\0", "a\0", "1e400", "\u{e9}"])
                .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..10),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_a_column_would_have(
            field in types(),
            bytes in cells(),
            is_text in any::<bool>(),
        ) {
            let format = if is_text { Format::Text } else { Format::Binary };
            if let Some(value) = value(0, &field, format, &bytes) {
                let column = decode_column(0, &field, format, &[Some(&bytes)], &Zone::utc());
                let column = column.map_err(|e| e.error).unwrap();
                prop_assert_eq!(ScalarValue::try_from_array(&column, 0).unwrap(), value);
            }
        }
    }
}
