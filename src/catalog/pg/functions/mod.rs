//! The functions that clients call to read the catalogs.
//!
//! Each is a plain function of a row's arguments and the statement's context; [`CatalogFunction`] makes a scalar
//! function of DataFusion of it. Catalogs are small, so rows are evaluated one by one.

mod advisory;
mod array;
mod describe;
mod explode;
mod format;
mod list;
mod name;
mod partition;
mod rights;
mod sequence;
mod session;
mod size;
mod sleep;
mod table;
mod text;
mod visible;

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::context::PgContext;
use super::objects::Relation;
use super::relation::Kind;
use super::rows::{Value, array as column};
pub(crate) use explode::RECORD_SETS;
pub use list::{ARRAY_OR_EMPTY, ARRAY_PLACES, ARRAY_SUBSCRIPTS};
pub use name::{RegType, reg_type_of};
pub(crate) use partition::OfRelation;
pub use partition::{ANCESTORS, PartitionTree};
pub use sequence::NextValue;
pub use table::Keywords;

/// Every function of the catalogs.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let groups = [
        array::FUNCTIONS,
        describe::FUNCTIONS,
        format::FUNCTIONS,
        name::FUNCTIONS,
        partition::FUNCTIONS,
        rights::FUNCTIONS,
        sequence::FUNCTIONS,
        session::FUNCTIONS,
        size::FUNCTIONS,
        text::FUNCTIONS,
        visible::FUNCTIONS,
    ];
    let definitions = groups.into_iter().flatten();
    let functions = definitions.map(|d| ScalarUDF::new_from_impl(CatalogFunction::new(d)));
    let lists = [
        ScalarUDF::new_from_impl(list::OrEmpty::new()),
        ScalarUDF::new_from_impl(list::Subscripts::new()),
        ScalarUDF::new_from_impl(list::Places::new()),
        ScalarUDF::new_from_impl(partition::SatisfiesHash::new()),
    ];
    let all = functions
        .chain(name::conversions())
        .chain(lists)
        .chain(explode::Explode::all().map(ScalarUDF::new_from_impl))
        .chain(advisory::functions())
        .chain(sequence::functions())
        .chain(sleep::functions());
    all.map(Arc::new).collect()
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    Bool,
    Int4,
    Int8,
    Instant,
    Text,
    Name,
    Names,
    Int4s,
    Oid(&'static str),
    Oids(&'static str),
    Named(&'static str),
    AclItems,
}

impl Gives {
    fn kind(self) -> Kind {
        match self {
            Self::Bool => Kind::Bool,
            Self::Int4 => Kind::Int4,
            Self::Int8 => Kind::Int8,
            Self::Instant => Kind::Instant,
            Self::Text => Kind::Text("text"),
            Self::Name => Kind::Text("name"),
            Self::Names => Kind::List(Box::new(Kind::Text("name")), None),
            Self::Int4s => Kind::List(Box::new(Kind::Int4), None),
            Self::Oid(name) => Kind::Oid(name),
            Self::Oids(name) => Kind::List(Box::new(Kind::Oid(name)), None),
            Self::Named(name) => Kind::Text(name),
            Self::AclItems => Kind::List(Box::new(Kind::Text("aclitem")), None),
        }
    }
}

/// A function of the catalogs.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    /// How many arguments it takes.
    arguments: RangeInclusive<usize>,
    gives: Gives,
    /// Whether a NULL among the arguments makes it NULL.
    strict: bool,
    volatility: Volatility,
    evaluate: fn(&Call<'_>) -> Result<Value>,
}

impl Definition {
    /// A strict function whose value is one for the whole statement.
    const fn new(
        name: &'static str,
        arguments: RangeInclusive<usize>,
        gives: Gives,
        evaluate: fn(&Call<'_>) -> Result<Value>,
    ) -> Self {
        Self {
            name,
            arguments,
            gives,
            strict: true,
            volatility: Volatility::Stable,
            evaluate,
        }
    }

    /// The same function, called with NULLs too.
    const fn with_nulls(self) -> Self {
        Self {
            strict: false,
            ..self
        }
    }

    /// The same function, evaluated each time anew, also by a plan that is kept.
    const fn volatile(self) -> Self {
        Self {
            volatility: Volatility::Volatile,
            ..self
        }
    }
}

/// A call for one row.
struct Call<'a> {
    context: &'a PgContext,
    config: &'a ConfigOptions,
    arguments: &'a [ScalarValue],
    fields: &'a [FieldRef],
}

impl Call<'_> {
    fn len(&self) -> usize {
        self.arguments.len()
    }

    /// The argument as text, whatever its type.
    fn text(&self, place: usize) -> Option<String> {
        let value = self.arguments.get(place)?;
        match value {
            value if value.is_null() => None,
            ScalarValue::Utf8(text)
            | ScalarValue::LargeUtf8(text)
            | ScalarValue::Utf8View(text) => text.clone(),
            value => Some(value.to_string()),
        }
    }

    fn int(&self, place: usize) -> Option<i64> {
        self.text(place)?.trim().parse().ok()
    }

    fn bool(&self, place: usize) -> Option<bool> {
        match self.arguments.get(place)? {
            ScalarValue::Boolean(value) => *value,
            _ => None,
        }
    }

    /// The argument as an OID: a number, or text with one.
    fn oid(&self, place: usize) -> Option<u32> {
        self.text(place)?.trim().parse().ok()
    }

    /// The relation that an argument means: by OID, or by name as a cast to `regclass` reads it.
    ///
    /// # Errors
    /// 42P01 for a name that there is none of.
    fn relation(&self, place: usize) -> Result<Option<&Relation>> {
        let objects = self.context.objects();
        if let Some(oid) = self.oid(place) {
            return Ok(objects.relation(oid));
        }
        let Some(text) = self.text(place) else {
            return Ok(None);
        };
        let oid = RegType::Class.read(self.context, self.config, &text)?;
        Ok(objects.relation(oid))
    }
}

/// A [`Definition`] as a function of DataFusion.
#[derive(Debug)]
struct CatalogFunction {
    definition: &'static Definition,
    signature: Signature,
}

impl CatalogFunction {
    fn new(definition: &'static Definition) -> Self {
        let arity = |n| match n {
            0 => TypeSignature::Nullary,
            n => TypeSignature::Any(n),
        };
        let arities = definition.arguments.clone().map(arity).collect();
        let signature = Signature::one_of(arities, definition.volatility);
        Self {
            definition,
            signature,
        }
    }

    fn row(&self, args: &ScalarFunctionArgs, values: &[ScalarValue]) -> Result<Value> {
        if self.definition.strict && values.iter().any(ScalarValue::is_null) {
            return Ok(Value::Null);
        }
        (self.definition.evaluate)(&Call {
            context: PgContext::of(&args.config_options)?,
            config: &args.config_options,
            arguments: values,
            fields: &args.arg_fields,
        })
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.definition.gives.kind().data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kind = self.definition.gives.kind();
        Ok(Arc::new(kind.field(self.definition.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_row(&args, &self.definition.gives.kind(), |row| {
            self.row(&args, row)
        })
    }
}

/// Evaluates a function row by row; once where all arguments are constants.
fn by_row(
    args: &ScalarFunctionArgs,
    kind: &Kind,
    evaluate: impl Fn(&[ScalarValue]) -> Result<Value>,
) -> Result<ColumnarValue> {
    let constants = args.args.iter().map(|arg| match arg {
        ColumnarValue::Scalar(value) => Some(value.clone()),
        ColumnarValue::Array(_) => None,
    });
    if let Some(constants) = constants.collect::<Option<Vec<_>>>()
        && !(args.args.is_empty() && args.number_rows == 0)
    {
        let value = column(kind, &[evaluate(&constants)?])?;
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &value, 0,
        )?));
    }
    let arrays = args.args.iter().map(|a| a.to_array(args.number_rows));
    let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
    let mut values = Vec::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        let row = arrays.iter().map(|a| ScalarValue::try_from_array(a, row));
        values.push(evaluate(&row.collect::<Result<Vec<_>>>()?)?);
    }
    let values = column(kind, &values)?;
    debug_assert_eq!(values.len(), args.number_rows);
    Ok(ColumnarValue::Array(values))
}
