#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use proptest::prelude::*;

use super::decoder::Decoder;
use super::rows::{Intake, Rows};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result};
use crate::sql::copy::dialect::Dialect;
use crate::sql::copy::options::{CopyOptions, Direction};
use crate::sql::statement::CopyValue;
use crate::storage::change::{NewCollection, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, Version,
};

/// `CREATE TABLE b (id INT, key INT NOT NULL, s TEXT)`
fn collection() -> Collection {
    let column = |id, name: &str, column_type, nullable| Column {
        id: FieldId(id),
        name: name.into(),
        column_type,
        nullable,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    let schema = CollectionSchema {
        columns: vec![
            column(1, "id", ColumnType::Integer, true),
            column(2, "key", ColumnType::Integer, false),
            column(3, "s", ColumnType::Text, true),
        ],
        primary_key: Vec::new(),
        clustering_key: Vec::new(),
        partition_key: None,
        next_field_id: FieldId(4),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let new = NewCollection {
        id: CollectionId(1),
        name: QualifiedName::new("public", "b"),
        schema,
        options: CollectionOptions::default(),
    };
    Collection::new(&new, Version(1))
}

/// Options as `name` or `name=value`, separated by semicolons.
fn dialect(options: &str) -> Result<Dialect> {
    let option = |text: &str| match text.split_once('=') {
        Some((name, value)) => (name.to_string(), CopyValue::Text(value.to_string())),
        None => (text.to_string(), CopyValue::None),
    };
    let options: Vec<_> = options
        .split(';')
        .filter(|o| !o.is_empty())
        .map(option)
        .collect();
    CopyOptions::parse(&options, Direction::From)?.stream_dialect(Direction::From)
}

fn intake(dialect: &Dialect) -> Arc<Intake> {
    Arc::new(Intake::new(
        &collection(),
        &[0, 1, 2],
        dialect.lines().cloned(),
        true,
        Zone::utc(),
    ))
}

type Row = (Option<i32>, i32, Option<String>);

/// The rows of bytes that come in pieces of `size`, or the first error.
fn decode(options: &str, bytes: &[u8], size: usize) -> Result<Vec<Row>> {
    let dialect = dialect(options)?;
    let intake = intake(&dialect);
    let mut decoder = Decoder::try_new(Arc::clone(&intake), dialect)?;
    let mut all = Vec::new();
    let mut done = Ok(());
    for piece in bytes.chunks(size) {
        done = done.and_then(|()| decoder.push(piece, &mut all));
    }
    done = done.and_then(|()| decoder.finish(&mut all));
    let mut rows = Vec::new();
    for part in &all {
        rows.extend(values(&intake, part)?);
    }
    done.map(|()| rows)
}

fn values(intake: &Intake, rows: &Rows) -> Result<Vec<Row>> {
    let batch = intake.convert(rows)?;
    let ids = batch
        .column(0)
        .as_primitive::<arrow::datatypes::Int32Type>();
    let keys = batch
        .column(1)
        .as_primitive::<arrow::datatypes::Int32Type>();
    let texts = batch.column(2).as_string::<i32>();
    let row = |at| {
        let text = texts.is_valid(at).then(|| texts.value(at).to_string());
        (
            ids.is_valid(at).then(|| ids.value(at)),
            keys.value(at),
            text,
        )
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// Rows as `id|key|s`, or an error as `code message / hint / context`.
fn shown(result: Result<Vec<Row>>) -> String {
    let row = |(id, key, text): Row| {
        let id = id.map_or("NULL".to_string(), |id| id.to_string());
        let text = text.map_or("NULL".to_string(), |text| format!("'{text}'"));
        format!("{id}|{key}|{text}")
    };
    match result {
        Ok(rows) => rows.into_iter().map(row).collect::<Vec<_>>().join(" "),
        Err(e) => shown_error(&e),
    }
}

fn shown_error(error: &Error) -> String {
    let mut text = format!("{} {}", error.sqlstate(), error.message());
    for more in [error.detail(), error.hint(), error.context_lines()]
        .into_iter()
        .flatten()
    {
        text.push_str(" / ");
        text.push_str(more);
    }
    text
}

/// What PostgreSQL 15 answers to each of these.
#[test]
fn lines_are_read_as_postgres_reads_them() {
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "",
            b"1\t2\ta\n\\.",
            "22P04 end-of-copy marker corrupt / COPY b, line 2",
        ),
        ("", b"1\t2\ta\n\\.\n3\t4\tb\n", "1|2|'a'"),
        (
            "",
            b"1\t2\ta\n\\.x\n",
            "22P04 end-of-copy marker corrupt / COPY b, line 2",
        ),
        (
            "",
            b"1\t2\ta\r\n\\.\n",
            "22P04 end-of-copy marker does not match previous newline style / COPY b, line 2",
        ),
        ("", b"\\.\r\n1\t2\ta\r\n", ""),
        (
            "",
            b"1\t2\ta\r\n\\.\r",
            "22P04 end-of-copy marker corrupt / COPY b, line 2",
        ),
        (
            "",
            b"1\t2\ta\r\n\\.\rx",
            "22P04 end-of-copy marker corrupt / COPY b, line 2",
        ),
        (
            "",
            b"1\t2\ta\r\n\\.\r\r",
            "22P04 end-of-copy marker does not match previous newline style / COPY b, line 2",
        ),
        ("", b"1\t2\ta\\", "1|2|'a'"),
        ("", b"1\t2\ta\\\nb\n", "1|2|'a\nb'"),
        ("", b"1\t2\t\\101\\x42\\b\\z\n", "1|2|'AB\u{8}z'"),
        (
            "",
            b"1\t2\tok\n2\t3\t\\xff\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY b, line 2: \"2\t3\t\\xff\"",
        ),
        (
            "",
            b"1\t2\tok\n2\t3\ta\xff\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY b, line 2",
        ),
        (
            "",
            b"1\t2\ta\\0b\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0x00 / COPY b, line 1: \"1\t2\ta\\0b\"",
        ),
        (
            "",
            b"1\t2\ta\0b\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0x00 / COPY b, line 1",
        ),
        (
            "",
            b"1\t2\ta\n2\n",
            "22P04 missing data for column \"key\" / COPY b, line 2: \"2\"",
        ),
        (
            "",
            b"1\t2\ta\nx\n",
            "22P02 invalid input syntax for type integer: \"x\" / COPY b, line 2, column id: \"x\"",
        ),
        (
            "",
            b"1\t2\ta\tq\n",
            "22P04 extra data after last expected column / COPY b, line 1: \"1\t2\ta\tq\"",
        ),
        (
            "",
            b"\n",
            "22P02 invalid input syntax for type integer: \"\" / COPY b, line 1, column id: \"\"",
        ),
        (
            "",
            b"1\t2\ta\n2\tabc\tb\n3\n",
            "22P02 invalid input syntax for type integer: \"abc\" / COPY b, line 2, column key: \"abc\"",
        ),
        (
            "",
            b"1\t\\N\ta\n",
            "23502 null value in column \"key\" of relation \"b\" violates not-null constraint / \
             Failing row contains (1, null, a). / COPY b, line 1: \"1\t\\N\ta\"",
        ),
        (
            "",
            b"1\t2\ta\n1\t2\tb\r\n",
            "22P04 literal carriage return found in data / \
             Use \"\\r\" to represent carriage return. / COPY b, line 2",
        ),
        ("", b"1\t2\ta\r1\t2\tb\r", "1|2|'a' 1|2|'b'"),
        (
            "",
            b"1\t2\ta\r1\t2\tb\n",
            "22P04 literal newline found in data / Use \"\\n\" to represent newline. / COPY b, line 2",
        ),
        (
            "",
            b"1\t2\ta\r\n1\t2\tb\r3\t",
            "22P04 literal carriage return found in data / \
             Use \"\\r\" to represent carriage return. / COPY b, line 2",
        ),
        ("", b"1\t2\ta\r\n1\t2\tb", "1|2|'a' 1|2|'b'"),
        (
            "format=csv",
            b"1,2,\"a\"\"b\"\n2,3,x\"y,z\"w\n3,4,\n4,5,\"\"\n",
            "1|2|'a\"b' 2|3|'xy,zw' 3|4|NULL 4|5|''",
        ),
        // The first line's end is not known inside its quotes, so that it does not count.
        (
            "format=csv",
            b"1,2,\"a\nb\"\nx,3,q\n",
            "22P02 invalid input syntax for type integer: \"x\" / COPY b, line 2, column id: \"x\"",
        ),
        (
            "format=csv",
            b"1,2,a\n1,2,\"a\nb\"\nx,3,q\n",
            "22P02 invalid input syntax for type integer: \"x\" / COPY b, line 4, column id: \"x\"",
        ),
        (
            "format=csv",
            b"1,2,\"a\nb\n",
            "22P04 unterminated CSV quoted field / COPY b, line 1: \"1,2,\"a\nb\n\"",
        ),
        ("format=csv", b"1,2,a\n\\.\n3,4,b\n", "1|2|'a'"),
        (
            "format=csv",
            b"1,2,a\n\\.x\n",
            "22P02 invalid input syntax for type integer: \"\\.x\" / COPY b, line 2, column id: \"\\.x\"",
        ),
        (
            "format=csv",
            b"1,2,a\n\\.",
            "22P02 invalid input syntax for type integer: \"\\.\" / COPY b, line 2, column id: \"\\.\"",
        ),
        (
            "format=csv",
            b"1,2,a\n\\.\r",
            "22P04 end-of-copy marker does not match previous newline style / COPY b, line 2",
        ),
        (
            "format=csv",
            b"1,2,a\r\n\\.\n",
            "22P04 unquoted newline found in data / \
             Use quoted CSV field to represent newline. / COPY b, line 2",
        ),
        ("format=csv", b"1,2,a\r\n\\.\r\n3,3,3\r\n", "1|2|'a'"),
        (
            "format=csv",
            b"1,2,a\r\n\\.\r",
            "22P04 unquoted carriage return found in data / \
             Use quoted CSV field to represent carriage return. / COPY b, line 2",
        ),
        ("format=csv;header", b"id,,s\n1,2,x\n", "1|2|'x'"),
        ("format=csv;header", b"", ""),
        ("header=match", b"id\tkey\ts\n1\t2\t3\n", "1|2|'3'"),
        (
            "header=match",
            b"id\t\\N\ts\n1\t2\t3\n",
            "22P04 column name mismatch in header line field 2: got null value (\"\\N\"), \
             expected \"key\" / COPY b, line 1: \"id\t\\N\ts\"",
        ),
        (
            "format=csv;header=match",
            b"id,key,x\n",
            "22P04 column name mismatch in header line field 3: got \"x\", expected \"s\" / \
             COPY b, line 1: \"id,key,x\"",
        ),
        (
            "format=csv;header=match",
            b"id,key\n",
            "22P04 wrong number of fields in header line: got 2, expected 3 / \
             COPY b, line 1: \"id,key\"",
        ),
        (
            "format=csv;null=NULL;quote='",
            b"1,2,'NULL'\n1,2,NULL\n",
            "1|2|'NULL' 1|2|NULL",
        ),
        (
            "format=csv;null=NULL;quote='",
            b"1,NULL,NULL\n",
            "23502 null value in column \"key\" of relation \"b\" violates not-null constraint / \
             Failing row contains (1, null, null). / COPY b, line 1: \"1,NULL,NULL\"",
        ),
        (
            "format=csv;escape=\\",
            b"1,2,\"a\\\"b\\\\\"\n1,2,\"\\c\"\n",
            "1|2|'a\"b\\' 1|2|'\\c'",
        ),
    ];
    for (options, bytes, expected) in cases {
        for size in [1, 2, 3, 7, 1_000] {
            let text = String::from_utf8_lossy(bytes);
            let got = shown(decode(options, bytes, size));
            assert_eq!(got, *expected, "{options} {text:?} in pieces of {size}");
        }
    }
}

fn binary(parts: &[&[u8]]) -> Vec<u8> {
    let header: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    [&[header], parts].concat().concat()
}

#[test]
fn tuples_are_read_as_postgres_reads_them() {
    let row: &[u8] = b"\0\x03\0\0\0\x04\0\0\0\x07\0\0\0\x04\xff\xff\xff\xff\xff\xff\xff\xff";
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (binary(&[row, row, b"\xff\xff"]), "7|-1|NULL 7|-1|NULL"),
        (binary(&[row]), "7|-1|NULL"),
        (binary(&[row, b"\0"]), "7|-1|NULL"),
        (
            b"PGCOPY\n\xff\r\n".to_vec(),
            "22P04 COPY file signature not recognized",
        ),
        (
            b"1\t2\ta\n".to_vec(),
            "22P04 COPY file signature not recognized",
        ),
        (
            b"PGCOPY\n\xff\r\n\0\0\0".to_vec(),
            "22P04 invalid COPY file header (missing flags)",
        ),
        (
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0".to_vec(),
            "22P04 invalid COPY file header (missing length)",
        ),
        (
            b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0".to_vec(),
            "22P04 invalid COPY file header (WITH OIDS)",
        ),
        (
            b"PGCOPY\n\xff\r\n\0\0\x02\0\0\0\0\0\0".to_vec(),
            "22P04 unrecognized critical flags in COPY file header",
        ),
        (
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02x".to_vec(),
            "22P04 invalid COPY file header (wrong length)",
        ),
        (
            [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02xy", row].concat(),
            "7|-1|NULL",
        ),
        (
            binary(&[row, b"\0\x02"]),
            "22P04 row field count is 2, expected 3 / COPY b, line 2",
        ),
        (
            binary(&[row, b"\xff\xff", b"x"]),
            "22P04 received copy data after EOF marker / COPY b, line 2",
        ),
        (
            binary(&[row, &row[..8]]),
            "22P04 unexpected EOF in COPY data / COPY b, line 2, column id",
        ),
        (
            binary(&[row, &row[..12]]),
            "22P04 unexpected EOF in COPY data / COPY b, line 2, column key",
        ),
        (
            binary(&[b"\0\x03\x7f\xff\xff\xff"]),
            "22P04 invalid field size / COPY b, line 1, column id",
        ),
        (
            binary(&[b"\0\x03\xff\xff\xff\xfe"]),
            "22P04 invalid field size / COPY b, line 1, column id",
        ),
        (
            binary(&[
                row,
                b"\0\x03\0\0\0\x02\0\x07\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff",
            ]),
            "22P03 incorrect binary data format: 2 bytes where the type has 4 / \
             COPY b, line 2, column id",
        ),
        (
            binary(&[b"\0\x03\0\0\0\x04\0\0\0\x07\0\0\0\x05\0\0\0\x01\x02\xff\xff\xff\xff"]),
            "22P03 incorrect binary data format: 5 bytes where the type has 4 / \
             COPY b, line 1, column key",
        ),
        (
            binary(&[b"\0\x03\0\0\0\x04\0\0\0\x07\0\0\0\x04\0\0\0\x01\0\0\0\x01\xff"]),
            "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY b, line 1, column s",
        ),
        (
            binary(&[b"\0\x03\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff"]),
            "23502 null value in column \"key\" of relation \"b\" violates not-null constraint / \
             COPY b, line 1",
        ),
    ];
    for (bytes, expected) in cases {
        for size in [1, 3, 1_000] {
            let got = shown(decode("format=binary", &bytes, size));
            assert_eq!(got, expected, "{bytes:?} in pieces of {size}");
        }
    }
}

const OPTIONS: [&str; 6] = [
    "",
    "delimiter=|;null=x",
    "format=csv",
    "format=csv;header;quote='",
    "format=csv;escape=\\;null=N",
    "format=binary",
];

/// Bytes that are nearly right, so that much of them is understood.
fn nearly(binary: bool) -> BoxedStrategy<Vec<u8>> {
    if !binary {
        let marks = "[0-9\t|,\"'\\\\\n\r.Nxäb\0]{0,60}";
        return marks.prop_map(String::into_bytes).boxed();
    }
    let field = prop_oneof![
        Just(b"\0\0\0\x04\0\0\0\x07".to_vec()),
        Just(b"\xff\xff\xff\xff".to_vec()),
        Just(b"\0\0\0\x02ab".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let tuple =
        prop::collection::vec(field, 3).prop_map(|f| [b"\0\x03".to_vec(), f.concat()].concat());
    prop::collection::vec(tuple, 0..4)
        .prop_map(|tuples| binary_of(&tuples.concat()))
        .boxed()
}

fn binary_of(tuples: &[u8]) -> Vec<u8> {
    binary(&[tuples])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn pieces_do_not_matter_and_nothing_panics(
        (options, bytes) in prop::sample::select(&OPTIONS[..])
            .prop_flat_map(|o| (Just(o), nearly(o == "format=binary"))),
        size in 1usize..20,
    ) {
        let whole = shown(decode(options, &bytes, bytes.len().max(1)));
        prop_assert_eq!(shown(decode(options, &bytes, size)), whole);
    }

    #[test]
    fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        for options in OPTIONS {
            let whole = shown(decode(options, &bytes, bytes.len().max(1)));
            prop_assert_eq!(shown(decode(options, &bytes, size)), whole);
        }
    }
}
