//! The schema of a collection: column types, field ids, keys and options.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use shelfmark_udfs::{BitType, SparseType};

use super::enum_type::EnumType;
use super::foreign_key::ForeignKey;
use super::key_model::ComputedKey;
pub use super::options::CollectionOptions;
use super::partition::Partitioning;
use super::stats::Bound;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(/// A collection for its whole life, whatever its name.
    CollectionId(u64));
id!(/// A segment, growing or sealed; never used again. Names the file on disk.
    SegmentId(u64));
id!(/// A column for its whole life, whatever its name; the Parquet `field_id`.
    FieldId(u32));
id!(/// A version of the database: 1 is the first commit, 0 the empty database.
    Version(u64));
id!(/// A sequence for its whole life, whatever its name.
    SequenceId(u64));
id!(/// A function for its whole life, whatever its name.
    FunctionId(u64));
id!(/// A compaction job.
    JobId(u64));
id!(/// An index for its whole life, whatever its name.
    IndexId(u64));
id!(/// A type that CREATE TYPE made, for its whole life, whatever its name.
    TypeId(u64));
id!(/// A file with the bloom filters of one column of one segment; never used again. Names the file on disk.
    FilterId(u64));

/// Metadata key of the Parquet field id on an Arrow field.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";
/// Metadata key of the SQL type (`varchar(20)`, `uuid`, `vector(768)`) on an Arrow field.
pub use shelfmark_udfs::SQL_TYPE_KEY;
/// The name of a list's child field, as the Parquet specification has it.
pub const LIST_ELEMENT: &str = "element";
/// The most dimensions a vector may have, as in pgvector.
pub const VECTOR_DIMENSIONS_MAX: u32 = 16_000;

/// The type of a column as SQL knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// BOOLEAN
    Boolean,
    /// TINYINT, 8 bits
    TinyInt,
    /// SMALLINT, 16 bits
    SmallInt,
    /// INTEGER, 32 bits
    Integer,
    /// BIGINT, 64 bits
    BigInt,
    /// REAL
    Real,
    /// DOUBLE PRECISION
    Double,
    /// NUMERIC(precision, scale), precision 1 to 38
    Numeric(u8, i8),
    /// TEXT
    Text,
    /// VARCHAR(n): at most n characters
    Varchar(u32),
    /// CHARACTER(n), shown with blanks behind up to n characters, and BPCHAR, of any length; kept without those blanks,
    /// which say nothing where values are compared
    Char(Option<u32>),
    /// VARCHAR without a length, NAME, "char": texts that only have a type of another name
    Named(TextName),
    /// DATE
    Date,
    /// TIME, microseconds
    Time,
    /// TIMESTAMP without time zone, microseconds
    Timestamp,
    /// TIMESTAMP WITH TIME ZONE, microseconds of UTC
    TimestampTz,
    /// INTERVAL: months, days and a time
    Interval,
    /// TIME(p), TIMESTAMP(p), TIMESTAMPTZ(p), INTERVAL(p): seconds have at most p digits behind the point, 0 to 6
    Rounded(Box<ColumnType>, u8),
    /// BYTEA
    Bytea,
    /// UUID, kept as its canonical text
    Uuid,
    /// JSON, kept as its text
    Json,
    /// JSONB, kept as its one spelling
    Jsonb,
    /// VECTOR(n): n 32-bit floats; in an array, 0 is any number
    Vector(u32),
    /// HALFVEC(n): n 16-bit floats; in an array, 0 is any number
    HalfVec(u32),
    /// BIT(n) and BIT VARYING(n), kept as text of `0` and `1`
    Bit {
        /// Whether it is BIT VARYING.
        varying: bool,
        /// The bits that it has, or the most of them; `None` for any.
        length: Option<u32>,
    },
    /// SPARSEVEC(n), kept as pgvector's text with places in order and no zeros; `None` for any dimension
    SparseVec(Option<u32>),
    /// A type that CREATE TYPE made, kept as the label; the definition is that of the snapshot
    Enum(Arc<EnumType>),
    /// An array of another type
    Array(Box<ColumnType>),
}

/// The name of a type whose values are plain texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextName {
    /// VARCHAR of any length
    Varchar,
    /// NAME: the first 63 bytes of a text
    Name,
    /// "char": the first byte of a text
    Char,
}

impl TextName {
    /// The name in `pg_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Varchar => "varchar",
            Self::Name => "name",
            Self::Char => "\"char\"",
        }
    }

    /// The most bytes that a value has.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Varchar => usize::MAX,
            Self::Name => 63,
            Self::Char => 1,
        }
    }
}

impl From<BitType> for ColumnType {
    fn from(BitType { varying, length }: BitType) -> Self {
        Self::Bit { varying, length }
    }
}

impl From<SparseType> for ColumnType {
    fn from(SparseType { dimension }: SparseType) -> Self {
        Self::SparseVec(dimension)
    }
}

/// The most digits that seconds have behind the point.
const SECONDS_DIGITS_MAX: u64 = 6;

impl ColumnType {
    /// The type with seconds of at most so many digits behind the point; as in PostgreSQL, more than there are means all.
    pub fn rounded(self, digits: u64) -> Self {
        Self::Rounded(Box::new(self), digits.min(SECONDS_DIGITS_MAX) as u8)
    }

    /// What kind of values it has, without what limits them: `timestamp` of `timestamp(3)`.
    pub fn base(&self) -> &Self {
        match self {
            Self::Rounded(of, _) => of.base(),
            other => other,
        }
    }

    /// The Arrow type of the column in memory and in segments.
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::Rounded(of, _) => of.arrow_type(),
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Numeric(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Text | Self::Varchar(_) | Self::Char(_) | Self::Uuid => DataType::Utf8,
            Self::Json | Self::Jsonb | Self::Named(_) => DataType::Utf8,
            Self::Bit { .. } | Self::SparseVec(_) | Self::Enum(_) => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Bytea => DataType::Binary,
            Self::Vector(n) => list_of(DataType::Float32, *n),
            Self::HalfVec(n) => list_of(DataType::Float16, *n),
            Self::Array(inner) => {
                DataType::List(Arc::new(Field::new(LIST_ELEMENT, inner.arrow_type(), true)))
            }
        }
    }

    /// The type as the metadata of Arrow fields has it: its name, and the whole definition of an enum.
    pub fn sql_type(&self) -> String {
        match self {
            Self::Enum(of) => of.sql_type(),
            Self::Char(Some(n)) => format!("bpchar({n})"),
            Self::Array(inner) => format!("{}[]", inner.sql_type()),
            other => other.to_string(),
        }
    }

    /// The enum type that it is, or that its elements are of.
    pub fn enum_type(&self) -> Option<&Arc<EnumType>> {
        match self {
            Self::Enum(of) => Some(of),
            Self::Array(inner) => inner.enum_type(),
            _ => None,
        }
    }

    /// Whether it is that enum type, or its elements are of it.
    pub fn is_of_enum(&self, id: TypeId) -> bool {
        self.enum_type().is_some_and(|of| of.id == id)
    }

    /// The same type with another definition of its enum.
    pub fn with_enum(&self, of: &Arc<EnumType>) -> Self {
        match self {
            Self::Enum(_) => Self::Enum(Arc::clone(of)),
            Self::Array(inner) => Self::Array(Box::new(inner.with_enum(of))),
            other => other.clone(),
        }
    }

    /// Whether values are ordered as Arrow orders them, so that segments keep their least and greatest. Intervals are not:
    /// a month and thirty days are equal.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.base(), Self::Interval | Self::Array(_)) && !self.is_vector()
    }

    /// Whether the column is read from raw pages and gathered, never sorted.
    pub fn is_vector(&self) -> bool {
        matches!(self, Self::Vector(_) | Self::HalfVec(_))
    }

    /// Whether a collection can be clustered by the column.
    pub fn is_clusterable(&self) -> bool {
        self.is_scalar()
            && !matches!(
                self.base(),
                Self::Json | Self::Jsonb | Self::Bytea | Self::SparseVec(_)
            )
    }
}

/// A list of so many elements, or of any number where that is 0.
fn list_of(element: DataType, dimensions: u32) -> DataType {
    let field = Arc::new(Field::new(LIST_ELEMENT, element, false));
    match dimensions {
        0 => DataType::List(field),
        n => DataType::FixedSizeList(field, n as i32),
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Double => f.write_str("double precision"),
            Self::Numeric(p, s) => write!(f, "numeric({p},{s})"),
            Self::Text => f.write_str("text"),
            Self::Varchar(n) => write!(f, "varchar({n})"),
            Self::Char(Some(n)) => write!(f, "character({n})"),
            Self::Char(None) => f.write_str("bpchar"),
            Self::Named(name) => f.write_str(name.name()),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Interval => f.write_str("interval"),
            Self::Rounded(of, digits) => write!(f, "{of}({digits})"),
            Self::Bytea => f.write_str("bytea"),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Vector(0) => f.write_str("vector"),
            Self::HalfVec(0) => f.write_str("halfvec"),
            Self::Vector(n) => write!(f, "vector({n})"),
            Self::HalfVec(n) => write!(f, "halfvec({n})"),
            Self::Bit { varying, length } => {
                let (varying, length) = (*varying, *length);
                BitType { varying, length }.fmt(f)
            }
            Self::SparseVec(dimension) => {
                let dimension = *dimension;
                SparseType { dimension }.fmt(f)
            }
            Self::Enum(of) => of.fmt(f),
            Self::Array(inner) => write!(f, "{inner}[]"),
        }
    }
}

/// A column of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The column's identity; a rename keeps it.
    pub id: FieldId,
    /// The name as SQL sees it.
    pub name: String,
    /// The type.
    pub column_type: ColumnType,
    /// Whether NULL may be stored.
    pub nullable: bool,
    /// The DEFAULT expression as its author wrote it, for new rows.
    pub default: Option<String>,
    /// The value that rows have which were written before the column was added; `None` is NULL.
    pub missing: Option<Bound>,
    /// What its values are computed by, of a generated column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// The domain that its values are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<TypeId>,
}

/// GENERATED ALWAYS AS (..) STORED.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The expression as SQL over the columns of the row.
    pub expression: String,
    /// The columns that it reads, none of which is generated.
    pub columns: Vec<FieldId>,
}

impl Column {
    /// The Arrow field, with the field id and the SQL type as metadata.
    pub fn arrow_field(&self) -> Field {
        let metadata = [
            (FIELD_ID_KEY.to_string(), self.id.to_string()),
            (SQL_TYPE_KEY.to_string(), self.column_type.sql_type()),
        ];
        Field::new(&self.name, self.column_type.arrow_type(), self.nullable)
            .with_metadata(metadata.into())
    }
}

/// The field id that an Arrow field carries, if any.
pub fn field_id(field: &Field) -> Option<FieldId> {
    field
        .metadata()
        .get(FIELD_ID_KEY)?
        .parse()
        .ok()
        .map(FieldId)
}

/// The columns and keys of a collection.
///
/// Invariants: ids of columns and computed keys are unique and below `next_field_id`; names are unique; keys and checks
/// name existing columns, the clustering key computed keys too, and it names each of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionSchema {
    /// Columns in the order of `SELECT *`.
    pub columns: Vec<Column>,
    /// The primary key's columns; empty for none.
    pub primary_key: Vec<FieldId>,
    /// The clustering key's columns and computed keys, most significant first; empty for none.
    pub clustering_key: Vec<FieldId>,
    /// The partition key's column.
    pub partition_key: Option<FieldId>,
    /// The id of the next column to be added.
    pub next_field_id: FieldId,
    /// What every row must fulfil, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The items of the clustering key that are no columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computed_keys: Vec<ComputedKey>,
    /// To which rows of which collections rows must refer, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_keys: Vec<ForeignKey>,
    /// The name of the primary key; `None` is that of the collection with `_pkey` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key_name: Option<String>,
    /// How its rows are divided, of a partitioned collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<Partitioning>,
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, of which its collection has one.
    pub name: String,
    /// The condition as SQL over the columns: no row may make it false.
    pub condition: String,
    /// The columns that it reads.
    pub columns: Vec<FieldId>,
}

impl CollectionSchema {
    /// The schema of the columns among `fields`, without keys and constraints.
    pub fn of_columns(&self, fields: &[FieldId]) -> Self {
        let columns = self.columns.iter().filter(|c| fields.contains(&c.id));
        Self {
            columns: columns.cloned().collect(),
            primary_key: Vec::new(),
            clustering_key: Vec::new(),
            partition_key: None,
            next_field_id: self.next_field_id,
            checks: Vec::new(),
            computed_keys: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
        }
    }

    /// The Arrow schema of the columns.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self
            .columns
            .iter()
            .map(|c| Arc::new(c.arrow_field()))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The column of that id.
    pub fn column_by_id(&self, id: FieldId) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }

    /// The place of the column of that id.
    pub fn index_of(&self, id: FieldId) -> Option<usize> {
        self.columns.iter().position(|c| c.id == id)
    }

    /// The computed item of the clustering key of that id.
    pub fn computed_key(&self, id: FieldId) -> Option<&ComputedKey> {
        self.computed_keys.iter().find(|k| k.id == id)
    }

    /// The columns that the clustering key begins with: an item that is computed ends them.
    pub fn stored_key(&self) -> &[FieldId] {
        let is_stored = |id: &&FieldId| self.computed_key(**id).is_none();
        let stored = self.clustering_key.iter().take_while(is_stored).count();
        &self.clustering_key[..stored]
    }

    /// Places of the columns of [`CollectionSchema::stored_key`], most significant first.
    pub fn clustering_indices(&self) -> Vec<usize> {
        self.stored_key()
            .iter()
            .filter_map(|id| self.index_of(*id))
            .collect()
    }

    /// Whether another schema has the same clustering key; what its computed items were trained to does not count.
    pub fn has_key_of(&self, other: &Self) -> bool {
        let item = |schema: &Self, id: &FieldId| match schema.computed_key(*id) {
            Some(computed) => Err(computed.function.clone()),
            None => Ok(*id),
        };
        let items = |schema: &Self| -> Vec<_> {
            let key = schema.clustering_key.iter();
            key.map(|id| item(schema, id)).collect()
        };
        items(self) == items(other)
    }

    /// Columns, and items of the clustering key, as SQL has them: `tenant, VECTOR(embedding)`.
    pub fn names_of(&self, fields: &[FieldId]) -> String {
        let names: Vec<String> = fields.iter().filter_map(|id| self.name_of(*id)).collect();
        names.join(", ")
    }

    fn name_of(&self, id: FieldId) -> Option<String> {
        if let Some(column) = self.column_by_id(id) {
            return Some(column.name.clone());
        }
        let function = &self.computed_key(id)?.function;
        Some(format!(
            "{}({})",
            function.name(),
            self.names_of(function.columns())
        ))
    }

    /// The name of the primary key of a collection which is called so.
    pub fn key_name(&self, collection: &str) -> String {
        let own = self.primary_key_name.clone();
        own.unwrap_or_else(|| format!("{collection}_pkey"))
    }

    /// Places of the primary key's columns.
    pub fn primary_indices(&self) -> Vec<usize> {
        self.primary_key
            .iter()
            .filter_map(|id| self.index_of(*id))
            .collect()
    }
}
