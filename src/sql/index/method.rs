//! Access methods and operator classes: which are known, what they take, which options they have.

use std::ops::RangeInclusive;

use arrow::datatypes::{DataType, Field};

use crate::catalog::pg_type::{PgType, oid, type_of};
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::ColumnType;

/// An access method of Postgres or pgvector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Btree,
    Hash,
    Gin,
    Gist,
    Spgist,
    Brin,
    Hnsw,
    Ivfflat,
}

/// What an option of a method may be.
enum OptionValue {
    Number(RangeInclusive<i64>),
    Flag,
}

/// The type of what is indexed, as far as operator classes tell types apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric,
    Text,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Bytea,
    Uuid,
    Json,
    Array,
    Vector(u32),
    HalfVec(u32),
    Bit(Option<u32>),
    VarBit,
    SparseVec(Option<u32>),
    Other(String),
}

use KeyType as T;

/// A class and the type it takes; which methods have it.
const SCALAR_CLASSES: [(&str, KeyType); 21] = [
    ("bool_ops", T::Boolean),
    ("int2_ops", T::SmallInt),
    ("int4_ops", T::Integer),
    ("int8_ops", T::BigInt),
    ("float4_ops", T::Real),
    ("float8_ops", T::Double),
    ("numeric_ops", T::Numeric),
    ("text_ops", T::Text),
    ("varchar_ops", T::Text),
    ("bpchar_ops", T::Text),
    ("text_pattern_ops", T::Text),
    ("varchar_pattern_ops", T::Text),
    ("bpchar_pattern_ops", T::Text),
    ("date_ops", T::Date),
    ("time_ops", T::Time),
    ("timestamp_ops", T::Timestamp),
    ("timestamptz_ops", T::TimestampTz),
    ("bytea_ops", T::Bytea),
    ("uuid_ops", T::Uuid),
    ("varbit_ops", T::VarBit),
    ("jsonb_ops", T::Json),
];

impl Method {
    /// The method of that name.
    ///
    /// # Errors
    /// 42704 when there is none.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "btree" => Self::Btree,
            "hash" => Self::Hash,
            "gin" => Self::Gin,
            "gist" => Self::Gist,
            "spgist" => Self::Spgist,
            "brin" => Self::Brin,
            "hnsw" => Self::Hnsw,
            "ivfflat" => Self::Ivfflat,
            _ => {
                let message = format!("access method \"{name}\" does not exist");
                return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message));
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Hash => "hash",
            Self::Gin => "gin",
            Self::Gist => "gist",
            Self::Spgist => "spgist",
            Self::Brin => "brin",
            Self::Hnsw => "hnsw",
            Self::Ivfflat => "ivfflat",
        }
    }

    /// Whether it finds the nearest vectors.
    pub fn is_nearest(self) -> bool {
        matches!(self, Self::Hnsw | Self::Ivfflat)
    }

    /// Whether several columns, unique keys, included columns or orders fit the method.
    ///
    /// # Errors
    /// 0A000 in the words of Postgres.
    pub fn check_shape(self, create: &super::CreateIndex) -> Result<()> {
        let many = matches!(self, Self::Btree | Self::Gin | Self::Gist | Self::Brin);
        let includes = matches!(self, Self::Btree | Self::Gist | Self::Spgist);
        let ordered = create.keys.iter().any(|k| k.descending == Some(true));
        let nulls = create.keys.iter().any(|k| k.nulls_first.is_some());
        let unfit = [
            (create.is_unique && self != Self::Btree, "unique indexes"),
            (create.keys.len() > 1 && !many, "multicolumn indexes"),
            (!create.include.is_empty() && !includes, "included columns"),
            (ordered && self != Self::Btree, "ASC/DESC options"),
            (nulls && self != Self::Btree, "NULLS FIRST/LAST options"),
        ];
        match unfit.iter().find(|(is_unfit, _)| *is_unfit) {
            Some((_, what)) => Err(Error::unsupported(format!(
                "access method \"{}\" does not support {what}",
                self.name()
            ))),
            None => Ok(()),
        }
    }

    /// That the method and the operator class, if one is named, take the type.
    ///
    /// # Errors
    /// 42704 for a class that does not exist and for a type without one, 42804 for a class of another type, 0A000 for
    /// bits of varying length, 54000 for vectors too long for the method.
    pub fn check_class(self, class: Option<&str>, key: &KeyType) -> Result<()> {
        let name = self.name();
        let Some(class) = class else {
            if self.has_default_class(key) {
                return self.check_dimensions(key);
            }
            let message = format!(
                "data type {key} has no default operator class for access method \"{name}\""
            );
            let hint = "You must specify an operator class for the index or define a default \
                        operator class for the data type.";
            return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message).with_hint(hint));
        };
        match self.class_takes(class, key) {
            Some(true) => self.check_dimensions(key),
            // Of one class in Postgres, which converts nothing between them; pgvector's methods refuse it then.
            Some(false) if *key == T::VarBit && self.is_nearest() && class.starts_with("bit_") => {
                let message = format!("type not supported for {name} index");
                Err(Error::unsupported(message))
            }
            Some(false) => {
                let message = format!("operator class \"{class}\" does not accept data type {key}");
                Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message))
            }
            None => {
                let message = format!(
                    "operator class \"{class}\" does not exist for access method \"{name}\""
                );
                Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
            }
        }
    }

    fn has_default_class(self, key: &KeyType) -> bool {
        let plain = !matches!(
            key,
            T::Vector(_) | T::HalfVec(_) | T::SparseVec(_) | T::Array | T::Json
        );
        match self {
            Self::Btree => true,
            Self::Hash => !matches!(
                key,
                T::Vector(_) | T::HalfVec(_) | T::SparseVec(_) | T::Bit(_) | T::VarBit
            ),
            Self::Gin => matches!(key, T::Array | T::Json),
            Self::Gist => false,
            Self::Spgist => *key == T::Text,
            Self::Brin => plain && *key != T::Boolean,
            Self::Hnsw => false,
            Self::Ivfflat => matches!(key, T::Vector(_)),
        }
    }

    /// Whether the class takes the type; `None` when the method has no such class.
    fn class_takes(self, class: &str, key: &KeyType) -> Option<bool> {
        if self.is_nearest() {
            let (of, distance) = class.strip_suffix("_ops")?.split_once('_')?;
            let hnsw = self == Self::Hnsw;
            return match (of, distance) {
                ("vector", "l2" | "ip" | "cosine") => Some(matches!(key, T::Vector(_))),
                ("halfvec", "l2" | "ip" | "cosine") => Some(matches!(key, T::HalfVec(_))),
                ("vector", "l1") if hnsw => Some(matches!(key, T::Vector(_))),
                ("halfvec", "l1") if hnsw => Some(matches!(key, T::HalfVec(_))),
                ("sparsevec", "l2" | "ip" | "cosine" | "l1") if hnsw => {
                    Some(matches!(key, T::SparseVec(_)))
                }
                ("bit", "hamming") => Some(matches!(key, T::Bit(_))),
                ("bit", "jaccard") if hnsw => Some(matches!(key, T::Bit(_))),
                _ => None,
            };
        }
        let scalar = SCALAR_CLASSES.iter().find(|(name, _)| *name == class);
        match (self, class) {
            (Self::Btree, "vector_ops") => Some(matches!(key, T::Vector(_))),
            (Self::Btree, "sparsevec_ops") => Some(matches!(key, T::SparseVec(_))),
            (Self::Btree, "bit_ops") => Some(matches!(key, T::Bit(_))),
            (Self::Brin, "bit_minmax_ops") => Some(matches!(key, T::Bit(_))),
            (Self::Btree, "halfvec_ops") => Some(matches!(key, T::HalfVec(_))),
            (Self::Btree | Self::Hash | Self::Gin, "array_ops") => Some(*key == T::Array),
            (Self::Gin, "jsonb_ops" | "jsonb_path_ops") => Some(*key == T::Json),
            (Self::Spgist, "text_ops") => Some(*key == T::Text),
            (Self::Brin, _) => {
                let of = class.strip_suffix("_minmax_ops")?;
                let scalar = SCALAR_CLASSES
                    .iter()
                    .find(|(name, _)| name.strip_suffix("_ops") == Some(of) && *name != "bool_ops");
                scalar.map(|(_, takes)| takes == key)
            }
            (Self::Btree | Self::Hash, _) => scalar.map(|(_, takes)| takes == key),
            _ => None,
        }
    }

    fn check_dimensions(self, key: &KeyType) -> Result<()> {
        let (dimensions, most) = match key {
            T::Vector(n) => (*n, 2_000),
            T::HalfVec(n) => (*n, 4_000),
            T::Bit(Some(n)) => (*n, 64_000),
            _ => return Ok(()),
        };
        if !self.is_nearest() || dimensions <= most {
            return Ok(());
        }
        let name = self.name();
        let message = format!("column cannot have more than {most} dimensions for {name} index");
        Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
    }

    /// What an option may be; `None` when the method has no such option.
    fn option(self, name: &str) -> Option<OptionValue> {
        use OptionValue::{Flag, Number};
        match (self, name) {
            (Self::Hnsw, "m") => Some(Number(2..=100)),
            (Self::Hnsw, "ef_construction") => Some(Number(4..=1_000)),
            (Self::Ivfflat, "lists") => Some(Number(1..=32_768)),
            (Self::Btree | Self::Hash | Self::Gist | Self::Spgist, "fillfactor") => {
                Some(Number(10..=100))
            }
            (Self::Gin, "gin_pending_list_limit") => Some(Number(64..=2_147_483_647)),
            (Self::Brin, "pages_per_range") => Some(Number(1..=131_072)),
            (Self::Btree, "deduplicate_items")
            | (Self::Gin, "fastupdate")
            | (Self::Brin, "autosummarize") => Some(Flag),
            _ => None,
        }
    }

    /// That the options are those of the method, and their values in range.
    ///
    /// # Errors
    /// 22023 in the words of Postgres.
    pub fn check_options(self, options: &[(String, String)]) -> Result<()> {
        let bad = |message| Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
        let number = |name: &str, otherwise| {
            let given = options.iter().find(|(n, _)| n == name);
            given.map_or(Some(otherwise), |(_, v)| v.parse().ok())
        };
        for (name, value) in options {
            let allowed = self.option(name);
            let allowed =
                allowed.ok_or_else(|| bad(format!("unrecognized parameter \"{name}\"")))?;
            let OptionValue::Number(range) = allowed else {
                crate::sql::ddl::on_off(name, value)?;
                continue;
            };
            let number: i64 = value.parse().map_err(|_| {
                bad(format!(
                    "invalid value for integer option \"{name}\": {value}"
                ))
            })?;
            if !range.contains(&number) {
                let (least, most) = range.into_inner();
                let message = format!("value {value} out of bounds for option \"{name}\"");
                let detail = format!("Valid values are between \"{least}\" and \"{most}\".");
                return Err(bad(message).with_detail(detail));
            }
        }
        if self == Self::Hnsw && number("ef_construction", 64) < number("m", 16).map(|m: i64| 2 * m)
        {
            let message = "ef_construction must be greater than or equal to 2 * m";
            return Err(bad(message.to_string()));
        }
        Ok(())
    }
}

impl KeyType {
    /// The type of a column.
    pub fn of_column(column_type: &ColumnType) -> Self {
        use ColumnType as C;
        match column_type {
            C::Boolean => T::Boolean,
            C::TinyInt | C::SmallInt => T::SmallInt,
            C::Integer => T::Integer,
            C::BigInt => T::BigInt,
            C::Real => T::Real,
            C::Double => T::Double,
            C::Numeric(..) => T::Numeric,
            C::Text | C::Varchar(_) | C::Char(_) | C::Named(_) => T::Text,
            C::Date => T::Date,
            C::Time => T::Time,
            C::Timestamp => T::Timestamp,
            C::TimestampTz => T::TimestampTz,
            C::Bytea => T::Bytea,
            C::Uuid => T::Uuid,
            C::Jsonb => T::Json,
            C::Array(_) => T::Array,
            C::Vector(n) => T::Vector(*n),
            C::HalfVec(n) => T::HalfVec(*n),
            C::Bit { varying: true, .. } => T::VarBit,
            C::Bit { length, .. } => T::Bit(*length),
            C::SparseVec(n) => T::SparseVec(*n),
            C::Rounded(of, _) => Self::of_column(of),
            C::Interval | C::Enum(_) | C::Json => T::Other(column_type.to_string()),
        }
    }

    /// The type of an expression.
    pub fn of_expression(field: &Field) -> Self {
        use DataType as D;
        let PgType { oid, typmod, .. } = type_of(field);
        let length = u32::try_from(typmod).ok();
        match oid {
            oid::BIT => return T::Bit(length),
            oid::VARBIT => return T::VarBit,
            oid::SPARSEVEC => return T::SparseVec(length),
            _ => {}
        }
        match field.data_type() {
            D::Boolean => T::Boolean,
            D::Int8 | D::Int16 => T::SmallInt,
            D::Int32 => T::Integer,
            D::Int64 => T::BigInt,
            D::Float32 => T::Real,
            D::Float64 => T::Double,
            D::Decimal128(..) => T::Numeric,
            D::Utf8 | D::LargeUtf8 | D::Utf8View => T::Text,
            D::Date32 => T::Date,
            D::Time64(_) => T::Time,
            D::Timestamp(_, None) => T::Timestamp,
            D::Timestamp(_, Some(_)) => T::TimestampTz,
            D::Binary => T::Bytea,
            D::FixedSizeList(item, n) if item.data_type() == &D::Float32 => T::Vector(*n as u32),
            D::FixedSizeList(item, n) if item.data_type() == &D::Float16 => T::HalfVec(*n as u32),
            D::List(_) => T::Array,
            other => T::Other(other.to_string()),
        }
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            T::Boolean => "boolean",
            T::SmallInt => "smallint",
            T::Integer => "integer",
            T::BigInt => "bigint",
            T::Real => "real",
            T::Double => "double precision",
            T::Numeric => "numeric",
            T::Text => "text",
            T::Date => "date",
            T::Time => "time without time zone",
            T::Timestamp => "timestamp without time zone",
            T::TimestampTz => "timestamp with time zone",
            T::Bytea => "bytea",
            T::Uuid => "uuid",
            T::Json => "jsonb",
            T::Array => "anyarray",
            T::Vector(_) => "vector",
            T::HalfVec(_) => "halfvec",
            T::Bit(_) => "bit",
            T::VarBit => "bit varying",
            T::SparseVec(_) => "sparsevec",
            T::Other(name) => name,
        })
    }
}
