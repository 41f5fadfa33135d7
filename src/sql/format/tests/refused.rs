//! What no value is, and the SQLSTATE it gets.

use super::*;

fn code(oid: u32, typmod: i32, format: Format, bytes: &[u8]) -> &'static str {
    let field = field_of(oid, typmod, 1);
    match decode_parameter(&field, format, Some(bytes), &Zone::utc()) {
        Ok(value) => panic!("{bytes:?} as {oid} is {value:?}"),
        Err(error) => error.sqlstate(),
    }
}

#[test]
fn text_that_is_no_value() {
    for (oid, typmod, text, expected) in [
        (oid::INT4, -1, "abc", "22P02"),
        (oid::INT4, -1, "2147483648", "22003"),
        (oid::INT2, -1, "99999", "22003"),
        (oid::BOOL, -1, "maybe", "22P02"),
        (oid::FLOAT8, -1, "1e999", "22003"),
        (oid::NUMERIC, 655_366, "123456789", "22003"),
        (oid::NUMERIC, -1, "1e60", "22003"),
        (oid::NUMERIC, -1, "NaN", "22003"),
        (oid::DATE, -1, "2024-02-30", "22008"),
        (oid::TIMESTAMP, -1, "yesterday?", "22007"),
        (oid::INTERVAL, -1, "1 parsec", "22007"),
        (oid::INTERVAL, -1, "", "22007"),
        (oid::INTERVAL, -1, "999999999999 years", "22015"),
        (oid::UUID, -1, "zzz", "22P02"),
        (oid::JSON, -1, "{a}", "22P02"),
        (oid::BYTEA, -1, "\\xa", "22P02"),
        (oid::BIT, 3, "12", "22P02"),
        (oid::BIT, 3, "1011", "22026"),
        (oid::VARBIT, 3, "1011", "22001"),
        (oid::VARCHAR, 7, "abcd", "22001"),
        (oid::INT4_ARRAY, -1, "1,2", "22P02"),
        (oid::INT4_ARRAY, -1, "{1,x}", "22P02"),
        (oid::VECTOR, 3, "[1,2]", "22000"),
        (oid::VECTOR, -1, "[1,", "22P02"),
        (oid::VECTOR, -1, "[NaN]", "22000"),
        (oid::SPARSEVEC, -1, "{1:1}", "22P02"),
        (oid::SPARSEVEC, -1, "{3:1}/2", "22000"),
        (oid::TEXT, -1, "a\0b", "22021"),
        (oid::INT4, -1, "1\0", "22021"),
    ] {
        assert_eq!(
            code(oid, typmod, Format::Text, text.as_bytes()),
            expected,
            "{text:?}"
        );
    }
    assert_eq!(code(oid::TEXT, -1, Format::Text, b"a\xff"), "22021");
    assert_eq!(code(oid::TEXT, -1, Format::Binary, b"\xc3"), "22021");
    assert_eq!(code(oid::TEXT, -1, Format::Binary, b"\0"), "22021");
}

#[test]
fn bytes_that_are_no_value() {
    for (oid, bytes, expected) in [
        (oid::INT4, "000000", "22P03"),
        (oid::INT8, "000000000000000000", "22P03"),
        (oid::BOOL, "", "22P03"),
        (oid::FLOAT8, "00", "22P03"),
        (oid::UUID, "0011", "22P03"),
        (oid::DATE, "7ffffffe", "22008"),
        (oid::TIMESTAMP, "7ffffffffffffffe", "22008"),
        (oid::TIME, "ffffffffffffffff", "22008"),
        (oid::INTERVAL, "00", "22P03"),
        (oid::INTERVAL, "7fffffffffffffff0000000000000000", "22008"),
        (oid::JSONB, "027b7d", "22P03"),
        (oid::JSONB, "", "22P03"),
        (oid::JSON, "7b", "22P02"),
        (oid::NUMERIC, "0001", "22P03"),
        (oid::NUMERIC, "0001000000000000", "22P03"),
        (oid::NUMERIC, "00010000000000002710", "22P03"),
        (oid::NUMERIC, "00000000c0000000", "22003"),
        (oid::NUMERIC, "0001000f000000000001", "22003"),
        (oid::NUMERIC, "00010000123400000001", "22P03"),
        (oid::BIT, "00000009ff", "22P03"),
        (oid::VECTOR, "0002000000000000", "22P03"),
        (oid::VECTOR, "00010001 00000000", "22000"),
        (oid::VECTOR, "00000000", "22000"),
        (oid::VECTOR, "000100007fc00000", "22000"),
        (oid::VECTOR, "7fff0000", "54000"),
        (oid::HALFVEC, "000100007c00", "22000"),
        (
            oid::SPARSEVEC,
            "0000000200000001000000000000000500000000",
            "22000",
        ),
        (oid::INT4_ARRAY, "00000007000000000000001700000000", "22P03"),
        (oid::INT4_ARRAY, "000000010000000000000017", "22P03"),
        (
            oid::INT4_ARRAY,
            "0000000100000000000000177fffffff00000001",
            "22P03",
        ),
        (oid::INT4_ARRAY, "00000001000000020000001700000000", "22P03"),
        (
            oid::INT4_ARRAY,
            "0000000200000000000000170000000100000001000000010000000100000004 00000001",
            "2202E",
        ),
    ] {
        let bytes = unhex(&bytes.replace(' ', ""));
        assert_eq!(
            code(oid, -1, Format::Binary, &bytes),
            expected,
            "{oid} {bytes:?}"
        );
    }
}

#[test]
fn formats_must_fit_the_columns() {
    let schema = Schema::new(vec![Field::new(
        "c",
        arrow::datatypes::DataType::Int32,
        true,
    )]);
    let formats = [Format::Text, Format::Binary];
    let refused = RowEncoder::try_new(&schema, &formats, &Style::default());
    assert_eq!(refused.err().unwrap().sqlstate(), "08P01");
    assert_eq!(Format::from_code(2).unwrap_err().sqlstate(), "22023");
    assert_eq!(
        Format::from_code(Format::Binary.code()).unwrap(),
        Format::Binary
    );
}

#[test]
fn other_types_convert_as_assignments_do() {
    let sent = |declared: u32, text: &str| {
        let field = field_of(declared, -1, 1);
        let value =
            decode_parameter(&field, Format::Text, Some(text.as_bytes()), &Zone::utc()).unwrap();
        let array = value.to_array().unwrap();
        let mut rows = encode(&array, &field, Format::Binary, &Style::default()).unwrap();
        rows.remove(0)
    };
    for (declared, text, wanted, typmod, expected) in [
        (oid::INT4, "7", oid::INT8, -1, Ok("7")),
        (oid::INT8, "7", oid::INT4, -1, Ok("7")),
        (oid::INT8, "5000000000", oid::INT4, -1, Err("22003")),
        (oid::NUMERIC, "2.5", oid::INT4, -1, Ok("3")),
        (oid::NUMERIC, "2.5", oid::FLOAT8, -1, Ok("2.5")),
        (oid::FLOAT8, "2.5", oid::INT4, -1, Ok("2")),
        (oid::FLOAT8, "0.1", oid::NUMERIC, 1_310_730, Ok("0.100000")),
        (oid::TEXT, "7", oid::INT4, -1, Ok("7")),
        (oid::VARCHAR, "2024-01-01", oid::DATE, -1, Ok("2024-01-01")),
        (oid::TEXT, "[1,2]", oid::VECTOR, 2, Ok("[1,2]")),
        (oid::TEXT, "{1,2}", oid::INT4_ARRAY, -1, Ok("{1,2}")),
        (oid::INT4, "7", oid::TEXT, -1, Ok("7")),
        (
            oid::DATE,
            "2024-01-01",
            oid::TIMESTAMP,
            -1,
            Ok("2024-01-01 00:00:00"),
        ),
        (oid::BOOL, "t", oid::INT4, -1, Err("42846")),
        (oid::INT4, "7", oid::BOOL, -1, Err("42846")),
        (oid::INT4_ARRAY, "{1}", oid::INT4, -1, Err("42846")),
        (oid::INTERVAL, "1 day", oid::INT4, -1, Err("42846")),
    ] {
        let field = field_of(wanted, typmod, 1);
        let bytes = sent(declared, text);
        let value = decode_parameter_of(
            declared,
            &field,
            Format::Binary,
            bytes.as_deref(),
            &Zone::utc(),
        );
        let written = value.map(|value| {
            let array = value.to_array().unwrap();
            let rows = encode(&array, &field, Format::Text, &Style::default()).unwrap();
            String::from_utf8(rows[0].clone().unwrap()).unwrap()
        });
        let written = written.as_deref().map_err(Error::sqlstate);
        assert_eq!(written, expected, "{declared} {text} as {wanted}");
    }
}
