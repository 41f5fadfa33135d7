//! The PostgreSQL types that clients are told of: OIDs, names, lengths, and which one an Arrow field has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use shelfmark_udfs::{Element, VectorType};

use crate::storage::enum_type::EnumType;
use crate::storage::schema::{SQL_TYPE_KEY, TypeId};

/// How many objects of a kind have OIDs of their own; see `pg::oid`.
pub const OID_RANGE: u32 = 1 << 27;
/// Where the OIDs of enum types begin. Those of their arrays are in the range behind, each as far in.
pub const ENUMS: u32 = 13 * OID_RANGE;
const ENUM_ARRAYS: u32 = ENUMS + OID_RANGE;

/// The OID of an enum type.
pub fn enum_oid(id: TypeId) -> u32 {
    ENUMS + (id.0 % u64::from(OID_RANGE)) as u32
}

/// The OID of the array of an enum type.
pub fn enum_array_oid(id: TypeId) -> u32 {
    enum_oid(id) + OID_RANGE
}

/// Whether the OID can be that of an enum type.
pub fn is_enum_oid(oid: u32) -> bool {
    (ENUMS..ENUM_ARRAYS).contains(&oid)
}

fn is_enum_array(oid: u32) -> bool {
    (ENUM_ARRAYS..ENUM_ARRAYS + OID_RANGE).contains(&oid)
}

/// What a client learns of a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PgType {
    /// The type's OID in `pg_type`.
    pub oid: u32,
    /// The type's modifier, such as the 20 of `varchar(20)` plus 4; -1 for none.
    pub typmod: i32,
    /// Bytes that a value takes in PostgreSQL's memory; -1 when it varies.
    pub length: i16,
}

impl PgType {
    /// The type of that OID without a modifier.
    pub fn of_oid(oid: u32) -> Self {
        let known = info(oid).map_or(-1, |t| if t.oid == oid { t.length } else { -1 });
        let length = if is_enum_oid(oid) { 4 } else { known };
        Self {
            oid,
            typmod: -1,
            length,
        }
    }

    fn with_typmod(self, typmod: i32) -> Self {
        Self { typmod, ..self }
    }

    /// The array type of this type; `text[]` for a type that has none.
    fn array(self) -> Self {
        if is_enum_oid(self.oid) {
            return Self::of_oid(self.oid + OID_RANGE);
        }
        let oid = info(self.oid).map_or(oid::TEXT_ARRAY, |t| {
            // An array of arrays is one array of several dimensions.
            if t.array_oid == 0 {
                oid::TEXT_ARRAY
            } else {
                t.array_oid
            }
        });
        Self {
            oid,
            length: -1,
            ..self
        }
    }

    /// The type of this array type's elements.
    pub fn element(self) -> Option<Self> {
        if is_enum_array(self.oid) {
            return Some(Self::of_oid(self.oid - OID_RANGE));
        }
        let element = info(self.oid).filter(|t| t.array_oid == self.oid)?;
        Some(Self::of_oid(element.oid).with_typmod(self.typmod))
    }
}

/// A type as `pg_type` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeInfo {
    /// The type's OID.
    pub oid: u32,
    /// The OID of its array type, named with a `_` before; 0 when it has none.
    pub array_oid: u32,
    /// Its name in `pg_type`.
    pub name: &'static str,
    /// Bytes that a value takes; -1 when it varies.
    pub length: i16,
}

macro_rules! types {
    ($($constant:ident, $array_constant:ident: $oid:literal, $array:literal, $name:literal, $length:literal;)*) => {
        /// OIDs: those of PostgreSQL 15, and fixed ones for the types that pgvector adds.
        pub mod oid {
            #![allow(missing_docs)]
            $(
                pub const $constant: u32 = $oid;
                pub const $array_constant: u32 = $array;
            )*
        }

        /// Every type that columns, parameters and system catalogs have.
        pub const TYPES: &[TypeInfo] = &[
            $(TypeInfo { oid: $oid, array_oid: $array, name: $name, length: $length },)*
        ];
    };
}

types! {
    BOOL, BOOL_ARRAY: 16, 1000, "bool", 1;
    BYTEA, BYTEA_ARRAY: 17, 1001, "bytea", -1;
    CHAR, CHAR_ARRAY: 18, 1002, "char", 1;
    NAME, NAME_ARRAY: 19, 1003, "name", 64;
    INT8, INT8_ARRAY: 20, 1016, "int8", 8;
    INT2, INT2_ARRAY: 21, 1005, "int2", 2;
    INT2VECTOR, INT2VECTOR_ARRAY: 22, 1006, "int2vector", -1;
    INT4, INT4_ARRAY: 23, 1007, "int4", 4;
    REGPROC, REGPROC_ARRAY: 24, 1008, "regproc", 4;
    TEXT, TEXT_ARRAY: 25, 1009, "text", -1;
    OID, OID_ARRAY: 26, 1028, "oid", 4;
    TID, TID_ARRAY: 27, 1010, "tid", 6;
    XID, XID_ARRAY: 28, 1011, "xid", 4;
    CID, CID_ARRAY: 29, 1012, "cid", 4;
    OIDVECTOR, OIDVECTOR_ARRAY: 30, 1013, "oidvector", -1;
    JSON, JSON_ARRAY: 114, 199, "json", -1;
    XML, XML_ARRAY: 142, 143, "xml", -1;
    PG_NODE_TREE, PG_NODE_TREE_ARRAY: 194, 0, "pg_node_tree", -1;
    CIDR, CIDR_ARRAY: 650, 651, "cidr", -1;
    FLOAT4, FLOAT4_ARRAY: 700, 1021, "float4", 4;
    FLOAT8, FLOAT8_ARRAY: 701, 1022, "float8", 8;
    UNKNOWN, UNKNOWN_ARRAY: 705, 0, "unknown", -2;
    INET, INET_ARRAY: 869, 1041, "inet", -1;
    ACLITEM, ACLITEM_ARRAY: 1033, 1034, "aclitem", 12;
    BPCHAR, BPCHAR_ARRAY: 1042, 1014, "bpchar", -1;
    VARCHAR, VARCHAR_ARRAY: 1043, 1015, "varchar", -1;
    DATE, DATE_ARRAY: 1082, 1182, "date", 4;
    TIME, TIME_ARRAY: 1083, 1183, "time", 8;
    TIMESTAMP, TIMESTAMP_ARRAY: 1114, 1115, "timestamp", 8;
    TIMESTAMPTZ, TIMESTAMPTZ_ARRAY: 1184, 1185, "timestamptz", 8;
    INTERVAL, INTERVAL_ARRAY: 1186, 1187, "interval", 16;
    BIT, BIT_ARRAY: 1560, 1561, "bit", -1;
    VARBIT, VARBIT_ARRAY: 1562, 1563, "varbit", -1;
    NUMERIC, NUMERIC_ARRAY: 1700, 1231, "numeric", -1;
    REFCURSOR, REFCURSOR_ARRAY: 1790, 2201, "refcursor", -1;
    REGPROCEDURE, REGPROCEDURE_ARRAY: 2202, 2207, "regprocedure", 4;
    REGOPER, REGOPER_ARRAY: 2203, 2208, "regoper", 4;
    REGOPERATOR, REGOPERATOR_ARRAY: 2204, 2209, "regoperator", 4;
    REGCLASS, REGCLASS_ARRAY: 2205, 2210, "regclass", 4;
    REGTYPE, REGTYPE_ARRAY: 2206, 2211, "regtype", 4;
    RECORD, RECORD_ARRAY: 2249, 2287, "record", -1;
    CSTRING, CSTRING_ARRAY: 2275, 1263, "cstring", -2;
    ANYARRAY, ANYARRAY_ARRAY: 2277, 0, "anyarray", -1;
    VOID, VOID_ARRAY: 2278, 0, "void", 4;
    UUID, UUID_ARRAY: 2950, 2951, "uuid", 16;
    PG_LSN, PG_LSN_ARRAY: 3220, 3221, "pg_lsn", 8;
    JSONB, JSONB_ARRAY: 3802, 3807, "jsonb", -1;
    JSONPATH, JSONPATH_ARRAY: 4072, 4073, "jsonpath", -1;
    REGNAMESPACE, REGNAMESPACE_ARRAY: 4089, 4090, "regnamespace", 4;
    REGROLE, REGROLE_ARRAY: 4096, 4097, "regrole", 4;
    REGCOLLATION, REGCOLLATION_ARRAY: 4191, 4192, "regcollation", 4;
    XID8, XID8_ARRAY: 5069, 271, "xid8", 8;
    VECTOR, VECTOR_ARRAY: 16385, 16386, "vector", -1;
    HALFVEC, HALFVEC_ARRAY: 16387, 16388, "halfvec", -1;
    SPARSEVEC, SPARSEVEC_ARRAY: 16389, 16390, "sparsevec", -1;
}

/// The type that has the OID, or whose array type has it.
pub fn info(oid: u32) -> Option<&'static TypeInfo> {
    if oid == 0 {
        return None;
    }
    TYPES.iter().find(|t| t.oid == oid || t.array_oid == oid)
}

/// The type of a result's column or of a parameter.
///
/// Text, bytes and numbers that stand for another type carry its name in the field's metadata
/// ([`SQL_TYPE_KEY`]); a name that does not go with the Arrow type, as after a cast, is ignored.
pub fn type_of(field: &Field) -> PgType {
    let named = field.metadata().get(SQL_TYPE_KEY);
    named
        .and_then(|name| named_type(name, field.data_type()))
        .unwrap_or_else(|| arrow_type(field.data_type()))
}

/// `varchar(20)`, `uuid`, `oid[]`: the type of the name when values of the Arrow type can stand for it.
fn named_type(name: &str, data_type: &DataType) -> Option<PgType> {
    if let Some(of) = name.strip_suffix("[]") {
        let element = list_element(data_type)?.data_type();
        // The elements of arrays of several dimensions are lists, too.
        let array = named_type(of, element).map(PgType::array);
        return array.or_else(|| named_type(name, element));
    }
    let data_type = without_encoding(data_type);
    if let Some(of) = EnumType::of_sql_type(name) {
        return data_type
            .is_string()
            .then(|| PgType::of_oid(enum_oid(of.id)));
    }
    let (name, argument) = match name.split_once('(') {
        Some((name, rest)) => (name.trim_end(), rest.strip_suffix(')')?.parse::<i32>().ok()),
        None => (name, None),
    };
    let found = TYPES.iter().find(|t| t.name == name.trim_matches('"'))?;
    let pg_type = PgType::of_oid(found.oid);
    let text = data_type.is_string();
    let fits = match found.oid {
        oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::UUID | oid::JSON | oid::JSONB => {
            text
        }
        oid::XML | oid::CIDR | oid::INET | oid::ACLITEM | oid::PG_NODE_TREE | oid::PG_LSN => text,
        oid::REFCURSOR | oid::UNKNOWN | oid::TID | oid::VOID | oid::ANYARRAY => text,
        oid::BIT | oid::VARBIT | oid::SPARSEVEC | oid::JSONPATH => text,
        oid::TIME => matches!(data_type, DataType::Time64(_)),
        oid::TIMESTAMP => matches!(data_type, DataType::Timestamp(_, None)),
        oid::TIMESTAMPTZ => matches!(data_type, DataType::Timestamp(_, Some(_))),
        oid::INTERVAL => matches!(data_type, DataType::Interval(_)),
        oid::OID | oid::XID | oid::CID | oid::XID8 => data_type.is_integer(),
        oid::INT2VECTOR | oid::OIDVECTOR => {
            text || list_element(data_type).is_some_and(|e| e.data_type().is_integer())
        }
        _ => found.name.starts_with("reg") && (text || data_type.is_integer()),
    };
    let typmod = match (found.oid, argument) {
        (oid::VARCHAR | oid::BPCHAR, Some(n)) => n.saturating_add(4),
        (oid::BIT | oid::VARBIT | oid::SPARSEVEC, Some(n)) => n,
        (oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ, Some(digits)) => digits,
        (oid::INTERVAL, Some(digits)) => INTERVAL_WHOLE | digits,
        _ => -1,
    };
    fits.then(|| pg_type.with_typmod(typmod))
}

/// The type of an Arrow type that says all there is to say.
fn arrow_type(data_type: &DataType) -> PgType {
    if let Some(vector) = VectorType::of(data_type) {
        let oid = match vector.element {
            Element::Single => oid::VECTOR,
            Element::Half => oid::HALFVEC,
        };
        let dimension = vector.dimension.and_then(|n| i32::try_from(n).ok());
        return PgType::of_oid(oid).with_typmod(dimension.unwrap_or(-1));
    }
    if let Some(element) = list_element(data_type) {
        let inner = type_of(element);
        // Lists in lists are one array of several dimensions, unless the inner one is a vector.
        let is_array = inner.element().is_some();
        return if is_array { inner } else { inner.array() };
    }
    let (oid, typmod) = match without_encoding(data_type) {
        DataType::Boolean => (oid::BOOL, -1),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => (oid::INT2, -1),
        DataType::UInt16 | DataType::Int32 => (oid::INT4, -1),
        DataType::Int64 => (oid::INT8, -1),
        // Numbers without a sign are kept for OIDs alone, whose name expressions such as CASE forget.
        DataType::UInt32 => (oid::OID, -1),
        DataType::UInt64 => (oid::NUMERIC, -1),
        DataType::Float16 | DataType::Float32 => (oid::FLOAT4, -1),
        DataType::Float64 => (oid::FLOAT8, -1),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (oid::NUMERIC, numeric_typmod(*p, *s)),
        DataType::Date32 => (oid::DATE, -1),
        DataType::Time32(_) | DataType::Time64(_) => (oid::TIME, -1),
        DataType::Timestamp(_, None) | DataType::Date64 => (oid::TIMESTAMP, -1),
        DataType::Timestamp(_, Some(_)) => (oid::TIMESTAMPTZ, -1),
        DataType::Interval(_) | DataType::Duration(_) => (oid::INTERVAL, -1),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => (oid::BYTEA, -1),
        DataType::Struct(_) => (oid::RECORD, -1),
        DataType::Map(..) => (oid::JSON, -1),
        _ => (oid::TEXT, -1),
    };
    PgType::of_oid(oid).with_typmod(typmod)
}

/// The modifier of `numeric(precision, scale)`.
fn numeric_typmod(precision: u8, scale: i8) -> i32 {
    ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
}

/// The part of a modifier of `interval` which says that it has all fields; the digits of its seconds are the other part.
const INTERVAL_WHOLE: i32 = 0x7fff << 16;

/// The digits of seconds behind the point, of a modifier of `timestamp(3)` and its like; `None` without a modifier.
pub fn seconds_digits(pg_type: PgType) -> Option<u8> {
    let digits = match pg_type.oid {
        oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ => pg_type.typmod,
        oid::INTERVAL if pg_type.typmod >= 0 => pg_type.typmod & 0xffff,
        _ => return None,
    };
    u8::try_from(digits).ok()
}

/// The length of `varchar(n)` and `character(n)`; `None` for one without.
pub fn characters(pg_type: PgType) -> Option<usize> {
    usize::try_from(pg_type.typmod.checked_sub(4)?).ok()
}

/// Precision and scale of a modifier of `numeric`.
pub fn numeric_precision_and_scale(typmod: i32) -> Option<(i32, i32)> {
    let bits = typmod.checked_sub(4).filter(|bits| *bits >= 0)?;
    // The scale is a signed number of eleven bits.
    Some(((bits >> 16) & 0xffff, ((bits & 0x7ff) ^ 1024) - 1024))
}

/// The value type of a dictionary or of runs.
fn without_encoding(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => without_encoding(values),
        DataType::RunEndEncoded(_, values) => without_encoding(values.data_type()),
        other => other,
    }
}

/// The field of a list's elements.
pub fn list_element(data_type: &DataType) -> Option<&Field> {
    match without_encoding(data_type) {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field),
        _ => None,
    }
}

/// The field of a value of that type, as clients name types of parameters; `None` for a type that has no values here,
/// `unknown` among them.
pub fn field_of_oid(name: &str, oid: u32, typmod: i32) -> Option<FieldRef> {
    field_of(name, oid, typmod).map(Arc::new)
}

fn field_of(name: &str, oid: u32, typmod: i32) -> Option<Field> {
    let pg_type = PgType::of_oid(oid).with_typmod(typmod);
    if let Some(element) = pg_type.element() {
        let element = field_of(crate::storage::schema::LIST_ELEMENT, element.oid, typmod)?;
        let named = element
            .metadata()
            .get(SQL_TYPE_KEY)
            .map(|t| format!("{t}[]"));
        // Values of DataFusion keep no metadata inside a list.
        let element = element.with_metadata(HashMap::new());
        let list = Field::new_list(name, element, true);
        return Some(with_sql_type(list, named));
    }
    let vector = |element| {
        let dimension = usize::try_from(typmod).ok();
        let vector = VectorType::try_new(element, dimension).ok()?;
        Some(vector.arrow())
    };
    let sized = |name: &str, extra: i32| match typmod - extra {
        n if n > 0 => format!("{name}({n})"),
        _ => name.to_string(),
    };
    let plain = |data_type| Some((data_type, None));
    let named = |data_type, name: String| Some((data_type, Some(name)));
    let (data_type, sql_type) = match oid {
        oid::BOOL => plain(DataType::Boolean),
        oid::INT2 => plain(DataType::Int16),
        oid::INT4 => plain(DataType::Int32),
        oid::INT8 => plain(DataType::Int64),
        oid::FLOAT4 => plain(DataType::Float32),
        oid::FLOAT8 => plain(DataType::Float64),
        oid::NUMERIC => plain(decimal(typmod)),
        oid::TEXT => plain(DataType::Utf8),
        oid::VARCHAR | oid::BPCHAR => named(DataType::Utf8, sized(info(oid)?.name, 4)),
        oid::UUID | oid::JSON | oid::JSONB | oid::NAME | oid::CHAR | oid::XML => {
            named(DataType::Utf8, info(oid)?.name.to_string())
        }
        oid::BIT | oid::VARBIT | oid::SPARSEVEC => named(DataType::Utf8, sized(info(oid)?.name, 0)),
        oid::OID | oid::XID | oid::CID => named(DataType::UInt32, info(oid)?.name.to_string()),
        oid::REGCLASS | oid::REGTYPE | oid::REGPROC | oid::REGNAMESPACE | oid::REGROLE => {
            named(DataType::UInt32, info(oid)?.name.to_string())
        }
        oid::DATE => plain(DataType::Date32),
        oid::TIME => plain(DataType::Time64(TimeUnit::Microsecond)),
        oid::TIMESTAMP => plain(DataType::Timestamp(TimeUnit::Microsecond, None)),
        oid::TIMESTAMPTZ => plain(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into()),
        )),
        oid::INTERVAL => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        oid::BYTEA => plain(DataType::Binary),
        oid::VECTOR => plain(vector(Element::Single)?),
        oid::HALFVEC => plain(vector(Element::Half)?),
        _ => None,
    }?;
    Some(with_sql_type(Field::new(name, data_type, true), sql_type))
}

fn with_sql_type(field: Field, sql_type: Option<String>) -> Field {
    match sql_type {
        Some(name) => field.with_metadata([(SQL_TYPE_KEY.to_string(), name)].into()),
        None => field,
    }
}

/// NUMERIC without a modifier is what a cast to it makes.
fn decimal(typmod: i32) -> DataType {
    let sized = numeric_precision_and_scale(typmod).and_then(|(precision, scale)| {
        let precision = u8::try_from(precision)
            .ok()
            .filter(|p| (1..=38).contains(p))?;
        Some(DataType::Decimal128(precision, i8::try_from(scale).ok()?))
    });
    sized.unwrap_or(DataType::Decimal128(38, 10))
}
