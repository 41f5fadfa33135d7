//! Values at random: what is written is read back, and no bytes make anything panic.

use arrow::array::StringArray;
use datafusion::common::ScalarValue;
use proptest::prelude::*;

use super::*;

/// Every type that parameters have, with a modifier where values need one.
const TYPES: [(u32, i32); 30] = [
    (oid::BOOL, -1),
    (oid::INT2, -1),
    (oid::INT4, -1),
    (oid::INT8, -1),
    (oid::OID, -1),
    (oid::FLOAT4, -1),
    (oid::FLOAT8, -1),
    (oid::NUMERIC, -1),
    (oid::NUMERIC, 1_310_730),
    (oid::TEXT, -1),
    (oid::VARCHAR, 24),
    (oid::DATE, -1),
    (oid::TIME, -1),
    (oid::TIMESTAMP, -1),
    (oid::TIMESTAMPTZ, -1),
    (oid::INTERVAL, -1),
    (oid::BYTEA, -1),
    (oid::UUID, -1),
    (oid::JSON, -1),
    (oid::JSONB, -1),
    (oid::BIT, 9),
    (oid::VARBIT, -1),
    (oid::VECTOR, -1),
    (oid::VECTOR, 3),
    (oid::HALFVEC, 2),
    (oid::SPARSEVEC, -1),
    (oid::INT4_ARRAY, -1),
    (oid::TEXT_ARRAY, -1),
    (oid::NUMERIC_ARRAY, -1),
    (oid::VECTOR_ARRAY, 2),
];

/// Writes a value in the format and reads it.
fn round(field: &Field, value: &ScalarValue, format: Format) -> Result<ScalarValue> {
    let array = value.to_array()?;
    let rows = encode(&array, field, format, &Style::default())?;
    decode_parameter(field, format, rows[0].as_deref(), &Zone::utc())
}

/// Reads a value from text or PostgreSQL's binary format, and back from both.
fn check(oid: u32, typmod: i32, format: Format, bytes: &[u8]) {
    let field = field_of(oid, typmod, 1);
    let value = decode_parameter(&field, format, Some(bytes), &Zone::utc()).unwrap();
    for format in [Format::Text, Format::Binary] {
        assert_eq!(
            round(&field, &value, format).unwrap(),
            value,
            "{oid} {format:?}"
        );
    }
}

fn array_text(elements: &[Option<String>]) -> String {
    let elements: Vec<String> = elements
        .iter()
        .map(|element| match element {
            None => "NULL".to_string(),
            Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        })
        .collect();
    format!("{{{}}}", elements.join(","))
}

/// A text that databases take: anything but the character 0.
fn any_text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

proptest! {
    #[test]
    fn words_come_back(bits in any::<[u8; 8]>()) {
        check(oid::INT8, -1, Format::Binary, &bits);
        check(oid::INT4, -1, Format::Binary, &bits[..4]);
        check(oid::INT2, -1, Format::Binary, &bits[..2]);
        check(oid::OID, -1, Format::Binary, &bits[..4]);
        if !f64::from_be_bytes(bits).is_nan() {
            check(oid::FLOAT8, -1, Format::Binary, &bits);
        }
        let narrow = f32::from_be_bytes([bits[0], bits[1], bits[2], bits[3]]);
        if !narrow.is_nan() {
            check(oid::FLOAT4, -1, Format::Binary, &bits[..4]);
        }
    }

    #[test]
    fn moments_come_back(
        days in -2_400_000i32..90_000_000,
        micros in -200_000_000_000_000_000i64..8_200_000_000_000_000_000,
        time in 0i64..=86_400_000_000,
    ) {
        check(oid::DATE, -1, Format::Binary, &days.to_be_bytes());
        check(oid::TIME, -1, Format::Binary, &time.to_be_bytes());
        check(oid::TIMESTAMP, -1, Format::Binary, &micros.to_be_bytes());
        check(oid::TIMESTAMPTZ, -1, Format::Binary, &micros.to_be_bytes());
    }

    #[test]
    fn intervals_come_back(
        // Seconds that a double holds to the microsecond.
        micros in -4_000_000_000_000_000i64..4_000_000_000_000_000,
        days: i32,
        months: i32,
    ) {
        let mut bytes = micros.to_be_bytes().to_vec();
        bytes.extend(days.to_be_bytes());
        bytes.extend(months.to_be_bytes());
        check(oid::INTERVAL, -1, Format::Binary, &bytes);
    }

    #[test]
    fn decimals_come_back(whole in 0u64..10_000_000_000_000, fraction in 0u32..1_000_000, negative: bool) {
        let sign = if negative { "-" } else { "" };
        let text = format!("{sign}{whole}.{fraction:06}");
        check(oid::NUMERIC, 1_310_730, Format::Text, text.as_bytes());
        check(oid::NUMERIC, -1, Format::Text, text.as_bytes());
    }

    #[test]
    fn texts_come_back(text in any_text(), bytes: Vec<u8>) {
        check(oid::TEXT, -1, Format::Text, text.as_bytes());
        check(oid::TEXT, -1, Format::Binary, text.as_bytes());
        check(oid::BYTEA, -1, Format::Binary, &bytes);
        let json = serde_json::to_string(&text).unwrap();
        check(oid::JSON, -1, Format::Text, json.as_bytes());
        check(oid::JSONB, -1, Format::Text, json.as_bytes());
    }

    #[test]
    fn other_texts_come_back(uuid: [u8; 16], bits in "[01]{0,40}", nine in "[01]{9}") {
        check(oid::UUID, -1, Format::Binary, &uuid);
        check(oid::VARBIT, -1, Format::Text, bits.as_bytes());
        check(oid::BIT, 9, Format::Text, nine.as_bytes());
    }

    #[test]
    fn arrays_come_back(
        texts in prop::collection::vec(prop::option::of(any_text()), 0..6),
        numbers in prop::collection::vec(prop::option::of(any::<i32>()), 0..6),
    ) {
        check(oid::TEXT_ARRAY, -1, Format::Text, array_text(&texts).as_bytes());
        let numbers: Vec<_> = numbers.iter().map(|n| n.map(|n| n.to_string())).collect();
        check(oid::INT4_ARRAY, -1, Format::Text, array_text(&numbers).as_bytes());
        check(oid::NUMERIC_ARRAY, -1, Format::Text, array_text(&numbers).as_bytes());
    }

    #[test]
    fn vectors_come_back(values in prop::collection::vec(-1e30f32..1e30, 1..40)) {
        let text = shelfmark_udfs::format_vector(values.iter().copied());
        check(oid::VECTOR, -1, Format::Text, text.as_bytes());
        check(oid::VECTOR, values.len() as i32, Format::Text, text.as_bytes());
        let halves = shelfmark_udfs::format_vector(values.iter().map(|v| v / 1e26));
        check(oid::HALFVEC, values.len() as i32, Format::Text, halves.as_bytes());
        let sparse: Vec<_> = values.iter().enumerate().map(|(i, v)| format!("{}:{v}", 2 * i + 1)).collect();
        let sparse = format!("{{{}}}/100", sparse.join(","));
        check(oid::SPARSEVEC, -1, Format::Text, sparse.as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in any::<String>()) {
        for (oid, typmod) in TYPES {
            let field = field_of(oid, typmod, 1);
            for format in [Format::Text, Format::Binary] {
                for bytes in [&bytes[..], text.as_bytes()] {
                    if let Ok(value) = decode_parameter(&field, format, Some(bytes), &Zone::utc()) {
                        // What was read can be written, if only as text.
                        round(&field, &value, Format::Text).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_of_an_array_panic(
        head in prop::collection::vec(0u8..4, 12),
        dimensions in prop::collection::vec(0u8..3, 8..24),
        cells: Vec<u8>,
    ) {
        // Words that are small numbers get further than bytes at random.
        let mut bytes: Vec<u8> = Vec::new();
        for word in [head[0], head[1] & 1, 23].into_iter().chain(dimensions) {
            bytes.extend([0, 0, 0, word]);
        }
        bytes.extend(cells);
        for oid in [oid::INT4_ARRAY, oid::TEXT_ARRAY, oid::TEXT] {
            let field = field_of(oid, -1, 1);
            let _ = decode_parameter_of(oid::INT4_ARRAY, &field, Format::Binary, Some(&bytes), &Zone::utc());
        }
    }
}

#[test]
fn infinite_moments_come_back() {
    for infinity in [i32::MIN, i32::MAX] {
        check(oid::DATE, -1, Format::Binary, &infinity.to_be_bytes());
    }
    for oid in [oid::TIMESTAMP, oid::TIMESTAMPTZ] {
        for infinity in [i64::MIN, i64::MAX] {
            check(oid, -1, Format::Binary, &infinity.to_be_bytes());
        }
        let beyond = (i64::MAX - 1).to_be_bytes();
        let field = field_of(oid, -1, 1);
        let error = decode_parameter(&field, Format::Binary, Some(&beyond), &Zone::utc());
        assert_eq!(error.unwrap_err().sqlstate(), "22008");
    }
}

#[test]
fn nulls_of_every_type_come_back() {
    for (oid, typmod) in TYPES {
        let field = field_of(oid, typmod, 1);
        for format in [Format::Text, Format::Binary] {
            let null = decode_parameter(&field, format, None, &Zone::utc()).unwrap();
            assert!(null.is_null(), "{oid}");
            assert_eq!(null.data_type(), *field.data_type());
            assert_eq!(round(&field, &null, format).unwrap(), null);
        }
    }
}

#[test]
fn columns_keep_the_place_of_a_bad_value() {
    let field = field_of(oid::INT4, -1, 1);
    let cells = [Some(&b"1"[..]), None, Some(&b"x"[..])];
    let error = decode_column(0, &field, Format::Text, &cells, &Zone::utc()).unwrap_err();
    assert_eq!(error.row, Some(2));
    let good = decode_column(0, &field, Format::Text, &cells[..2], &Zone::utc()).unwrap();
    assert_eq!(good.len(), 2);
    assert!(good.is_null(1));
    let lists = field_of(oid::INT4_ARRAY, -1, 1);
    let cells = [Some(&b"{1,2}"[..]), Some(&b"{3,x}"[..])];
    let error = decode_column(0, &lists, Format::Text, &cells, &Zone::utc()).unwrap_err();
    assert_eq!(error.row, Some(1));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let plain = Field::new("c", texts.data_type().clone(), true);
    assert_eq!(
        convert(&ScalarValue::from("a"), &plain, &Zone::utc()).unwrap(),
        ScalarValue::try_from_array(&texts, 0).unwrap()
    );
}
