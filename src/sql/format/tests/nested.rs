//! Vectors, records, and Arrow types that PostgreSQL has under another name.

use arrow::array::{
    DictionaryArray, DurationSecondArray, FixedSizeListArray, Float16Array, Int8Array, Int32Array,
    ListArray, MapBuilder, NullArray, RunArray, StringArray, StringBuilder, StringViewArray,
    StructArray, Time32SecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::array::{Int32Builder, LargeListArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int32Type, Int64Type, TimeUnit};
use half::f16;

use super::*;

fn oid_of(data_type: DataType) -> u32 {
    type_of(&Field::new("c", data_type, true)).oid
}

#[test]
fn vectors_are_those_of_pgvector() {
    let vector = |values: Vec<f32>| {
        let length = values.len() as i32;
        let row = Some(values.into_iter().map(Some).collect::<Vec<_>>());
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([row], length)
    };
    assert_eq!(text(vector(vec![1.0, 2.5, -3.0])), "[1,2.5,-3]");
    assert_eq!(
        text(vector(vec![1e20, -0.0, 1e-5, 0.1])),
        "[1e+20,-0,1e-05,0.1]"
    );
    assert_eq!(
        binary(vector(vec![1.0, 2.5, -3.0])),
        "000300003f80000040200000c0400000"
    );
    let halves = [Some(vec![Some(f16::ONE), Some(f16::from_f32(0.1))])];
    let halves = FixedSizeListArray::from_iter_primitive::<Float16Type, _, _>(halves, 2);
    assert_eq!(text(halves.clone()), "[1,0.099975586]");
    assert_eq!(binary(halves.clone()), "000200003c002e66");
    let field = Field::new("c", halves.data_type().clone(), true);
    let told = type_of(&field);
    assert_eq!((told.oid, told.typmod), (oid::HALFVEC, 2));
}

#[test]
fn vectors_are_read_from_all_that_clients_send() {
    let three = field_of(oid::VECTOR, 3, 1);
    let any = field_of(oid::VECTOR, -1, 1);
    let bytes = unhex("000300003f80000040200000c0400000");
    for field in [&three, &any] {
        let from_binary =
            decode_parameter(field, Format::Binary, Some(&bytes), &Zone::utc()).unwrap();
        let from_text =
            decode_parameter(field, Format::Text, Some(b" [1, 2.5,-3]"), &Zone::utc()).unwrap();
        assert_eq!(from_binary, from_text);
        for (element, values) in [
            (oid::FLOAT8_ARRAY, "{1,2.5,-3}"),
            (oid::FLOAT4_ARRAY, "{1,2.5,-3}"),
            (oid::NUMERIC_ARRAY, "{1,2.5,-3}"),
        ] {
            let list = field_of(element, -1, 1);
            let list_value =
                decode_parameter(&list, Format::Text, Some(values.as_bytes()), &Zone::utc())
                    .unwrap();
            assert_eq!(
                convert(&list_value, field, &Zone::utc()).unwrap(),
                from_text
            );
            let array = list_value.to_array().unwrap();
            let sent = encode(&array, &list, Format::Binary, &Style::default()).unwrap();
            let received = decode_parameter_of(
                element,
                field,
                Format::Binary,
                sent[0].as_deref(),
                &Zone::utc(),
            )
            .unwrap();
            assert_eq!(received, from_text);
        }
    }
}

#[test]
fn arrays_of_vectors_quote_them() {
    let field = field_of(oid::VECTOR_ARRAY, 2, 1);
    let value = decode_parameter(
        &field,
        Format::Text,
        Some(b"{\"[1,2]\",NULL}"),
        &Zone::utc(),
    )
    .unwrap();
    let array = value.to_array().unwrap();
    let style = Style::default();
    let written = encode(&array, &field, Format::Text, &style).unwrap();
    assert_eq!(written[0].as_deref().unwrap(), b"{\"[1,2]\",NULL}");
    let sent = encode(&array, &field, Format::Binary, &style).unwrap();
    let received =
        decode_parameter(&field, Format::Binary, sent[0].as_deref(), &Zone::utc()).unwrap();
    assert_eq!(received, value);
}

#[test]
fn records_quote_as_postgres_does() {
    // SELECT ROW(1, 'a b', NULL::text, '', E'q"\\')
    let column = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    let record = StructArray::from(vec![
        (
            field("a", DataType::Int32),
            Arc::new(Int32Array::from(vec![1])) as ArrayRef,
        ),
        (field("b", DataType::Utf8), column(Some("a b"))),
        (field("c", DataType::Utf8), column(None)),
        (field("d", DataType::Utf8), column(Some(""))),
        (field("e", DataType::Utf8), column(Some("q\"\\"))),
    ]);
    assert_eq!(oid_of(record.data_type().clone()), oid::RECORD);
    assert_eq!(text(record.clone()), r#"(1,"a b",,"","q""\\")"#);
    let expected = "00000005\
                    000000170000000400000001\
                    0000001900000003612062\
                    00000019ffffffff\
                    0000001900000000\
                    000000190000000371225c";
    assert_eq!(binary(record), expected);
}

#[test]
fn lists_of_every_kind_are_arrays() {
    let rows = || vec![Some(vec![Some(1), None]), Some(vec![Some(3), Some(4)])];
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(rows());
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows());
    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(rows(), 2);
    let bytes = "000000010000000100000014000000020000000100000008\
                 0000000000000001ffffffff";
    let view = arrow::compute::cast(
        &(Arc::new(list.clone()) as ArrayRef),
        &DataType::ListView(Arc::new(Field::new_list_field(DataType::Int64, true))),
    );
    for array in [
        Arc::new(list.clone()) as ArrayRef,
        Arc::new(large),
        Arc::new(fixed),
        view.unwrap(),
    ] {
        assert_eq!(oid_of(array.data_type().clone()), oid::INT8_ARRAY);
        assert_eq!(text(Arc::clone(&array)), "{1,NULL}");
        assert_eq!(binary(Arc::clone(&array)), bytes);
        assert_eq!(text(array.slice(1, 1)), "{3,4}");
    }
}

#[test]
fn ragged_lists_are_text_only() {
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        Some(vec![Some(2), Some(3)]),
    ]);
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
    let field = Arc::new(Field::new("element", inner.data_type().clone(), true));
    let array: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(inner), None));
    assert_eq!(text(Arc::clone(&array)), "{{1},{2,3}}");
    let field = Field::new("c", array.data_type().clone(), true);
    let refused = encode(&array, &field, Format::Binary, &Style::default());
    assert_eq!(refused.unwrap_err().sqlstate(), "2202E");
}

#[test]
fn other_arrow_types_have_a_type_of_postgres() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    assert_eq!(oid_of(dictionary.data_type().clone()), oid::TEXT);
    assert_eq!(text(dictionary), "a");
    let runs: RunArray<Int32Type> = ["x", "x"].into_iter().collect();
    assert_eq!(oid_of(runs.data_type().clone()), oid::TEXT);
    assert_eq!(text(runs), "x");
    assert_eq!(text(StringViewArray::from(vec!["view"])), "view");
    let big = UInt64Array::from(vec![u64::MAX]);
    assert_eq!(oid_of(DataType::UInt64), oid::NUMERIC);
    assert_eq!(text(big.clone()), "18446744073709551615");
    assert_eq!(binary(big), "000500040000000007341a5802e103bb064f");
    assert_eq!(binary(Int8Array::from(vec![-1])), "ffff");
    assert_eq!(text(Float16Array::from(vec![f16::from_f32(0.5)])), "0.5");
    assert_eq!(text(Time32SecondArray::from(vec![3661])), "01:01:01");
    assert_eq!(
        text(DurationSecondArray::from(vec![-90_061])),
        "-1 days -01:01:01"
    );
    assert_eq!(oid_of(DataType::Duration(TimeUnit::Second)), oid::INTERVAL);
    assert_eq!(
        text(TimestampNanosecondArray::from(vec![-1])),
        "1969-12-31 23:59:59.999999"
    );
    assert_eq!(oid_of(DataType::Null), oid::TEXT);
    let nulls: ArrayRef = Arc::new(NullArray::new(1));
    let field = Field::new("c", DataType::Null, true);
    let rows = encode(&nulls, &field, Format::Binary, &Style::default()).unwrap();
    assert_eq!(rows, [None]);
}

#[test]
fn maps_are_json() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    builder.keys().append_value("a");
    builder.values().append_value(1);
    builder.append(true).unwrap();
    let map = builder.finish();
    assert_eq!(oid_of(map.data_type().clone()), oid::JSON);
    assert_eq!(text(map), r#"{"a":1}"#);
}

#[test]
fn names_of_types_count_where_they_fit() {
    let named = |name: &str, data_type: DataType| {
        let metadata = [("shelfmark.type".to_string(), name.to_string())];
        let told = type_of(&Field::new("c", data_type, true).with_metadata(metadata.into()));
        (told.oid, told.typmod)
    };
    assert_eq!(named("varchar(20)", DataType::Utf8), (oid::VARCHAR, 24));
    assert_eq!(named("uuid", DataType::Utf8View), (oid::UUID, -1));
    assert_eq!(named("uuid", DataType::Int32), (oid::INT4, -1));
    assert_eq!(named("numeric(10,2)", DataType::Utf8), (oid::TEXT, -1));
    assert_eq!(named("oid", DataType::Int64), (oid::OID, -1));
    assert_eq!(named("regclass", DataType::UInt32), (oid::REGCLASS, -1));
    assert_eq!(named("\"char\"", DataType::Utf8), (oid::CHAR, -1));
    let list = DataType::new_list(DataType::Utf8, true);
    assert_eq!(named("json[]", list.clone()), (oid::JSON_ARRAY, -1));
    assert_eq!(named("varchar(5)[]", list), (oid::VARCHAR_ARRAY, 9));
    let numbers = DataType::new_list(DataType::Int16, true);
    assert_eq!(named("int2vector", numbers), (oid::INT2VECTOR, -1));
}
