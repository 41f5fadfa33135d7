#![allow(clippy::unwrap_used)]
//! What values become, and the SQLSTATE of those that cannot be stored.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array,
    Float64Array, Int32Array, Int64Array, LargeListArray, LargeStringArray, ListArray, NullArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
};
use half::f16;

use super::*;
use crate::catalog::zone::Zone;
use crate::storage::change::{NewCollection, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, Version,
};

fn column(column_type: ColumnType) -> Column {
    Column {
        id: FieldId(1),
        name: "c".to_string(),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    }
}

fn to(source: impl Array + 'static, target: ColumnType) -> Result<ArrayRef, RowError> {
    let source: ArrayRef = Arc::new(source);
    let stored = assign(&source, &column(target.clone()), &Zone::utc())?;
    assert_eq!(stored.data_type(), &target.arrow_type());
    assert_eq!(stored.len(), source.len());
    stored.to_data().validate_full().unwrap();
    Ok(stored)
}

/// What comes out, as text.
fn stored(source: impl Array + 'static, target: ColumnType) -> Vec<Option<String>> {
    let array = to(source, target).unwrap();
    let texts = text_of(&array).unwrap();
    texts.iter().map(|t| t.map(str::to_string)).collect()
}

fn texts(values: &[&str]) -> StringArray {
    StringArray::from(values.to_vec())
}

/// The row, SQLSTATE and message of the first value that does not fit.
fn refused(source: impl Array + 'static, target: ColumnType) -> (Option<usize>, String, String) {
    let e = to(source, target).unwrap_err();
    let message = e.error.message().to_string();
    (e.row, e.error.sqlstate().to_string(), message)
}

#[test]
fn text_is_read_by_the_type_of_the_column() {
    use ColumnType as C;
    let cases: &[(C, &str, &str)] = &[
        (C::Boolean, " YES ", "true"),
        (C::TinyInt, "-128", "-128"),
        (C::SmallInt, "32767", "32767"),
        (C::Integer, " 7 ", "7"),
        (C::BigInt, "-9223372036854775808", "-9223372036854775808"),
        (C::Real, "1.5", "1.5"),
        (C::Double, "-Infinity", "-inf"),
        (C::Numeric(10, 2), "1.005", "1.01"),
        (C::Text, " a ", " a "),
        (C::Varchar(3), "äöü", "äöü"),
        (C::Date, "2024-02-29", "2024-02-29"),
        (C::Time, "12:34:56.5", "12:34:56.500"),
        (C::Timestamp, "2024-01-02T03:04:05Z", "2024-01-02 03:04:05"),
        (
            C::TimestampTz,
            "2024-01-02 03:04:05+02",
            "2024-01-02 01:04:05+00:00",
        ),
        (C::Bytea, "\\x00ff", "\\x00ff"),
        (
            C::Uuid,
            "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        (C::Json, "{\"a\": [1, 2]}", "{\"a\": [1, 2]}"),
        (C::Vector(3), "[1, 2.5,-3]", "[1,2.5,-3]"),
        (C::HalfVec(2), "[0.1,2]", "[0.099975586,2]"),
        (C::Array(Box::new(C::Integer)), "{1,NULL,3}", "{1,NULL,3}"),
        (
            C::Array(Box::new(C::Text)),
            "[\"a\",null,\"b c\"]",
            "{a,NULL,\"b c\"}",
        ),
        (
            C::Array(Box::new(C::Array(Box::new(C::Integer)))),
            "{{1,2},{}}",
            "{{1,2},{}}",
        ),
    ];
    for (target, text, expected) in cases {
        let expected = vec![Some(expected.to_string()), None];
        let source = || vec![Some(*text), None];
        assert_eq!(
            stored(StringArray::from(source()), target.clone()),
            expected,
            "{target}"
        );
        assert_eq!(
            stored(StringViewArray::from(source()), target.clone()),
            expected,
            "{target}"
        );
        assert_eq!(
            stored(LargeStringArray::from(source()), target.clone()),
            expected,
            "{target}"
        );
        let nothing = stored(NullArray::new(2), target.clone());
        assert_eq!(nothing, vec![None, None], "{target}");
        // What was stored can be stored again, and reads back from its own text.
        let array = to(StringArray::from(source()), target.clone()).unwrap();
        let again = assign(&array, &column(target.clone()), &Zone::utc()).unwrap();
        assert_eq!(&again, &array, "{target}");
        let read = to(text_of(&array).unwrap(), target.clone()).unwrap();
        assert_eq!(&read, &array, "{target}");
    }
}

#[test]
fn bad_text_has_the_code_of_postgres() {
    use ColumnType as C;
    let cases: &[(C, &str, &str)] = &[
        (C::Boolean, "maybe", "22P02"),
        (C::Integer, "0x10", "22P02"),
        (C::Integer, "1.5", "22P02"),
        (C::Integer, "", "22P02"),
        (C::Integer, "2147483648", "22003"),
        (C::TinyInt, "128", "22003"),
        (C::Real, "1e39", "22003"),
        (C::Double, "1_000", "22P02"),
        (C::Numeric(4, 2), "100", "22003"),
        (C::Numeric(4, 2), "x", "22P02"),
        (C::Text, "a\0b", "22021"),
        (C::Varchar(2), "abc", "22001"),
        (C::Date, "2023-02-29", "22008"),
        (C::Date, "yesterdays", "22007"),
        (C::Time, "25:00", "22008"),
        (C::Timestamp, "2024-01-01 00:61", "22008"),
        (C::TimestampTz, "x", "22007"),
        (C::Bytea, "\\x0", "22P02"),
        (C::Uuid, "a0ee", "22P02"),
        (C::Json, "{", "22P02"),
        (C::Vector(3), "[1,2]", "22000"),
        (C::Vector(3), "[1,,2]", "22P02"),
        (C::Vector(1), "[nan]", "22000"),
        (C::Vector(1), "[1e39]", "22003"),
        (C::HalfVec(1), "[1e6]", "22003"),
        (C::Array(Box::new(C::Integer)), "1,2", "22P02"),
        (C::Array(Box::new(C::Integer)), "{1,}", "22P02"),
        (C::Array(Box::new(C::Integer)), "{1,{2}}", "22P02"),
        (C::Array(Box::new(C::Integer)), "{1,x}", "22P02"),
    ];
    for (target, text, code) in cases {
        let source = StringArray::from(vec![None, Some(*text)]);
        let (row, found, message) = refused(source, target.clone());
        assert_eq!(found, *code, "{target} {text}: {message}");
        assert_eq!(row, Some(1), "{target} {text}");
        assert!(message.ends_with("(column \"c\")"), "{message}");
    }
    let (_, _, message) = refused(texts(&["abc"]), C::Integer);
    let expected = "invalid input syntax for type integer: \"abc\" (column \"c\")";
    assert_eq!(message, expected);
    let (_, _, message) = refused(texts(&["abc"]), C::Varchar(2));
    assert!(message.starts_with("value too long for type character varying(2)"));
}

#[test]
fn numbers_are_rounded_and_checked() {
    use ColumnType as C;
    let floats = || Float64Array::from(vec![0.5, 1.5, 2.5, -0.5]);
    let some = |v: &[&str]| v.iter().map(|t| Some(t.to_string())).collect::<Vec<_>>();
    assert_eq!(stored(floats(), C::Integer), some(&["0", "2", "2", "0"]));
    let decimals = Decimal128Array::from(vec![150, 250, -250]).with_precision_and_scale(9, 2);
    assert_eq!(
        stored(decimals.unwrap(), C::BigInt),
        some(&["2", "3", "-3"])
    );
    assert_eq!(
        stored(Float64Array::from(vec![0.1, 2.675]), C::Numeric(5, 2)),
        some(&["0.10", "2.68"])
    );
    let code = |result: (Option<usize>, String, String)| (result.0, result.1);
    let range = |row| (Some(row), "22003".to_string());
    assert_eq!(
        code(refused(Int64Array::from(vec![1, 1 << 40]), C::Integer)),
        range(1)
    );
    assert_eq!(
        code(refused(UInt64Array::from(vec![u64::MAX]), C::BigInt)),
        range(0)
    );
    assert_eq!(
        code(refused(Float64Array::from(vec![f64::NAN]), C::Integer)),
        range(0)
    );
    assert_eq!(
        code(refused(Float64Array::from(vec![1e300]), C::Real)),
        range(0)
    );
    assert_eq!(
        code(refused(Float64Array::from(vec![1e-300]), C::Real)),
        range(0)
    );
    assert_eq!(
        code(refused(Int32Array::from(vec![99, 100]), C::Numeric(4, 2))),
        range(1)
    );
    assert_eq!(
        code(refused(
            Float64Array::from(vec![f64::INFINITY]),
            C::Numeric(4, 2)
        )),
        range(0)
    );
    let infinite = stored(Float64Array::from(vec![f64::INFINITY]), C::Real);
    assert_eq!(infinite, some(&["inf"]));
    let wide = Decimal128Array::from(vec![10i128.pow(20)]).with_precision_and_scale(38, 0);
    assert_eq!(code(refused(wide.unwrap(), C::Numeric(20, 0))), range(0));
}

#[test]
fn nan_has_one_form() {
    let odd = f64::from_bits(0xfff8_0000_0000_0001);
    let array = to(Float64Array::from(vec![odd, -0.0]), ColumnType::Double).unwrap();
    let values = array.as_primitive::<Float64Type>().values();
    assert_eq!(values[0].to_bits(), f64::NAN.to_bits());
    assert_eq!(values[1].to_bits(), (-0.0f64).to_bits());
    let array = to(Float64Array::from(vec![odd]), ColumnType::Real).unwrap();
    let value = array.as_primitive::<Float32Type>().value(0);
    assert_eq!(value.to_bits(), f32::NAN.to_bits());
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(odd)])]);
    let array = to(list, ColumnType::Array(Box::new(ColumnType::Double))).unwrap();
    let inner = array.as_list::<i32>().value(0);
    let bits = inner.as_primitive::<Float64Type>().value(0).to_bits();
    assert_eq!(bits, f64::NAN.to_bits());
}

#[test]
fn types_that_do_not_go_together_are_refused() {
    use ColumnType as C;
    let int: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let boolean: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let cases: &[(&ArrayRef, C)] = &[
        (&int, C::Boolean),
        (&int, C::Date),
        (&int, C::Bytea),
        (&int, C::Json),
        (&int, C::Vector(1)),
        (&boolean, C::Integer),
        (&float, C::Timestamp),
        (&float, C::Array(Box::new(C::Double))),
    ];
    for (source, target) in cases {
        let e = assign(source, &column(target.clone()), &Zone::utc()).unwrap_err();
        assert_eq!(e.error.sqlstate(), "42804", "{target}");
    }
    assert_eq!(
        stored(Int32Array::from(vec![12]), C::Text),
        [Some("12".to_string())]
    );
    let long = refused(Int32Array::from(vec![123]), C::Varchar(2));
    assert_eq!(long.1, "22001");
}

#[test]
fn moments_become_one_another() {
    use ColumnType as C;
    let some = |v: &str| vec![Some(v.to_string())];
    let nanos = || TimestampNanosecondArray::from(vec![-1]);
    let before = "1969-12-31 23:59:59.999999";
    assert_eq!(stored(nanos(), C::Timestamp), some(before));
    assert_eq!(stored(nanos(), C::Date), some("1969-12-31"));
    let berlin = TimestampMillisecondArray::from(vec![0]).with_timezone("Europe/Berlin");
    assert_eq!(
        stored(berlin.clone(), C::Timestamp),
        some("1970-01-01 00:00:00")
    );
    assert_eq!(
        stored(berlin, C::TimestampTz),
        some("1970-01-01 00:00:00+00:00")
    );
    assert_eq!(
        stored(Date32Array::from(vec![1]), C::Timestamp),
        some("1970-01-02 00:00:00")
    );
    let far = |days| refused(Date32Array::from(vec![0, days]), C::Timestamp);
    assert_eq!(far(i32::MAX - 1).1, "22008");
    assert_eq!(far(i32::MIN + 1).0, Some(1));
    let far = TimestampMillisecondArray::from(vec![i64::MAX - 1]);
    assert_eq!(refused(far, C::Timestamp).1, "22008");
}

#[test]
fn lists_of_any_width_become_vectors() {
    use ColumnType as C;
    let data = || {
        vec![
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![Some(3.0), Some(4.5)]),
        ]
    };
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>(data());
    let expected = vec![Some("[1,2]".to_string()), None, Some("[3,4.5]".to_string())];
    let item = |t: DataType| Arc::new(Field::new("item", t, true));
    for element in [DataType::Float16, DataType::Float32, DataType::Float64] {
        for target in [
            DataType::List(item(element.clone())),
            DataType::LargeList(item(element.clone())),
            DataType::FixedSizeList(item(element.clone()), 2),
            DataType::ListView(item(element.clone())),
        ] {
            let source = cast(&list, &target).unwrap();
            for vector in [C::Vector(2), C::HalfVec(2)] {
                let got = assign(&source, &column(vector.clone()), &Zone::utc()).unwrap();
                assert_eq!(got.data_type(), &vector.arrow_type(), "{target}");
                got.to_data().validate_full().unwrap();
                let texts = text_of(&got).unwrap();
                let texts: Vec<_> = texts.iter().map(|t| t.map(str::to_string)).collect();
                assert_eq!(texts, expected, "{target}");
                // A part of the rows is those rows.
                let part = assign(&source.slice(1, 2), &column(vector), &Zone::utc()).unwrap();
                assert_eq!(&part, &got.slice(1, 2), "{target}");
            }
        }
    }
    let ints = LargeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)])]);
    assert_eq!(stored(ints, C::Vector(2)), [Some("[1,2]".to_string())]);
}

#[test]
fn vectors_share_their_numbers_with_the_source() {
    let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(1.0), Some(2.0)]), Some([Some(3.0), Some(4.0)])],
        2,
    );
    let before = list
        .values()
        .as_primitive::<Float32Type>()
        .values()
        .as_ptr();
    let vectors = to(list, ColumnType::Vector(2)).unwrap();
    let values = vectors.as_fixed_size_list().values();
    assert_eq!(
        values.as_primitive::<Float32Type>().values().as_ptr(),
        before
    );
}

#[test]
fn bad_vectors_are_refused_with_their_row() {
    use ColumnType as C;
    let list = |rows: Vec<Option<Vec<Option<f32>>>>| {
        ListArray::from_iter_primitive::<Float32Type, _, _>(rows)
    };
    let good = || Some(vec![Some(1.0), Some(2.0)]);
    let cases = [
        (vec![Some(1.0)], "22000", "expected 2 dimensions, not 1"),
        (vec![], "22000", "vector must have at least 1 dimension"),
        (
            vec![Some(f32::NAN), Some(1.0)],
            "22000",
            "NaN not allowed in vector",
        ),
        (
            vec![Some(1.0), Some(f32::INFINITY)],
            "22000",
            "infinite value not allowed in vector",
        ),
        (
            vec![Some(1.0), None],
            "22004",
            "array must not contain nulls",
        ),
    ];
    for (bad, code, message) in cases {
        let (row, found, text) = refused(list(vec![good(), None, Some(bad)]), C::Vector(2));
        assert_eq!((row, found.as_str()), (Some(2), code), "{text}");
        assert!(text.starts_with(message), "{text}");
    }
    // What lies below NULL rows is nobody's business.
    let inner = Float32Array::from(vec![Some(1.0), Some(2.0), None, Some(f32::NAN)]);
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
    let fixed = FixedSizeListArray::new(field, 2, Arc::new(inner), Some(nulls));
    let kept = stored(fixed, C::Vector(2));
    assert_eq!(kept, [Some("[1,2]".to_string()), None]);
    let large = Float64Array::from(vec![1e39]);
    let field = Arc::new(Field::new("item", DataType::Float64, true));
    let fixed = FixedSizeListArray::new(field, 1, Arc::new(large), None);
    assert_eq!(refused(fixed, C::Vector(1)).1, "22000");
    let half = Float16Array::from(vec![f16::from_f32(0.5)]);
    let field = Arc::new(Field::new("x", DataType::Float16, false));
    let fixed = FixedSizeListArray::new(field, 1, Arc::new(half), None);
    assert_eq!(stored(fixed, C::HalfVec(1)), [Some("[0.5]".to_string())]);
}

#[test]
fn errors_in_arrays_name_the_row() {
    let rows = [
        Some(vec![Some(1)]),
        Some(vec![]),
        Some(vec![Some(2), Some(70_000)]),
    ];
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(rows);
    let (row, code, _) = refused(list, ColumnType::Array(Box::new(ColumnType::SmallInt)));
    assert_eq!((row, code.as_str()), (Some(2), "22003"));
    let words = texts(&["{}", "{1,2}", "{3,x}"]);
    let (row, ..) = refused(words, ColumnType::Array(Box::new(ColumnType::Integer)));
    assert_eq!(row, Some(2));
}

#[test]
fn dictionaries_bytes_and_structures() {
    use ColumnType as C;
    let words: DictionaryArray<Int32Type> = ["7", "8", "7"].into_iter().collect();
    let some = |v: &[&str]| v.iter().map(|t| Some(t.to_string())).collect::<Vec<_>>();
    assert_eq!(stored(words, C::Integer), some(&["7", "8", "7"]));
    let id = [0xa0u8; 16];
    let ids = FixedSizeBinaryArray::try_from_iter([id].into_iter()).unwrap();
    assert_eq!(
        stored(ids, C::Uuid),
        some(&["a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"])
    );
    let short = BinaryArray::from(vec![b"abc".as_slice()]);
    assert_eq!(refused(short, C::Uuid).1, "22P02");
    let field = Arc::new(Field::new("a", DataType::Int32, true));
    let value: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let structure = StructArray::from(vec![(field, value)]);
    assert_eq!(stored(structure, C::Json), some(&["{\"a\":1}", "{}"]));
}

#[test]
fn batches_match_by_place_and_keep_not_null() {
    let mut columns = vec![column(ColumnType::BigInt), column(ColumnType::Text)];
    columns[0].name = "id".to_string();
    columns[1].id = FieldId(2);
    let schema = CollectionSchema {
        columns,
        primary_key: vec![FieldId(1)],
        clustering_key: vec![],
        partition_key: None,
        next_field_id: FieldId(3),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
    };
    let new = NewCollection {
        id: CollectionId(1),
        name: QualifiedName::new("public", "book"),
        schema,
        options: CollectionOptions::default(),
    };
    let collection = Collection::new(&new, Version(1));
    let assignment = Assignment::new(&collection, None, Zone::utc());
    let rows = |ids: Vec<Option<i32>>| {
        let texts = vec!["x"; ids.len()];
        RecordBatch::try_from_iter([
            ("a", Arc::new(Int32Array::from(ids)) as ArrayRef),
            ("b", Arc::new(StringArray::from(texts)) as ArrayRef),
        ])
        .unwrap()
    };
    let good = rows(vec![Some(1)]);
    assignment.check(&good.schema()).unwrap();
    let out = assignment.batch(&good).unwrap();
    assert_eq!(out.schema(), collection.schema.arrow_schema());
    let e = assignment.batch(&rows(vec![Some(1), None])).unwrap_err();
    assert_eq!((e.row, e.error.sqlstate()), (Some(1), "23502"));
    let message = "null value in column \"id\" of relation \"book\" violates not-null constraint";
    assert_eq!(e.error.message(), message);
    let one = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
    assert_eq!(assignment.check(&one).unwrap_err().sqlstate(), "42601");
    let moment = DataType::Timestamp(TimeUnit::Second, None);
    let wrong = Schema::new(vec![
        Field::new("a", moment, true),
        Field::new("b", DataType::Utf8, true),
    ]);
    assert_eq!(assignment.check(&wrong).unwrap_err().sqlstate(), "42804");
}
