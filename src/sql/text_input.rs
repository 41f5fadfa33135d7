//! Casts from text read values as PostgreSQL does: `'Feb 29, 2000'::date`, `'\xdeadbeef'::bytea`, `'1h30m'::interval`.
//!
//! Arrow reads numbers and ISO dates alone, takes the bytes of a text for those of a `bytea`, makes infinities of numbers
//! that are too large, and calls any text JSON. Text typed beside a value of another type becomes a cast as well when
//! types are coerced.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use shelfmark_udfs::VectorType;

use super::format::{oid, read_values, type_of};
use crate::catalog::expressions::rewrite_expressions;
use crate::catalog::zone::Zone;

/// The function that reads texts as values of other types.
pub(super) const TEXT_INPUT: &str = "text_input";

/// Makes a function of each cast from text that Arrow would carry out otherwise. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct TextInputRule;

impl AnalyzerRule for TextInputRule {
    fn name(&self) -> &str {
        "text_input"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = Zone::of(config);
        rewrite_expressions(plan, is_cast, |expr, schema| rewrite(expr, schema, &zone))
    }
}

fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if is_read(&cast.field))
}

fn rewrite(expr: Expr, schema: &DFSchema, zone: &Zone) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field })
            if is_read(&field)
                && expr
                    .get_type(schema)
                    .is_ok_and(|t| is_texts(&t, field.data_type())) =>
        {
            let input = ScalarUDF::from(TextInput::new(field, &expr, zone));
            Transformed::yes(Arc::new(input).call(vec![*expr]))
        }
        other => Transformed::no(other),
    }
}

/// Whether texts become values of the field's type by PostgreSQL's rules; those of vectors and bits have their own.
fn is_read(field: &Field) -> bool {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, Float32, Float64, Int16, Int32, Int64, Interval, List,
        Time64, Timestamp,
    };
    match field.data_type() {
        Boolean | Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..) => true,
        Date32 | Time64(_) | Timestamp(..) | Interval(_) | Binary => true,
        List(element) => {
            let is_of_texts = matches!(type_of(field).oid, oid::TEXT_ARRAY | oid::VARCHAR_ARRAY);
            VectorType::of(field.data_type()).is_none() && (is_of_texts || is_plain(element))
        }
        DataType::Utf8 => matches!(
            type_of(field).oid,
            oid::JSON | oid::JSONB | oid::UUID | oid::BPCHAR
        ),
        _ => false,
    }
}

/// Whether there are texts to read: for arrays, arrays of them too.
fn is_texts(data_type: &DataType, wanted: &DataType) -> bool {
    match (data_type, wanted) {
        (DataType::List(element), DataType::List(wanted)) => {
            element.data_type() == &DataType::Utf8 && !wanted.data_type().is_string()
        }
        (of, _) => of.is_string(),
    }
}

/// Whether an element's type says all; that of others is in the metadata of the list, as for `name[]`.
fn is_plain(element: &Field) -> bool {
    !element.data_type().is_string() && is_read(element)
}

/// Whether the value follows the time of now (`'today'::date`). A text that is not written in the statement is no such
/// word.
fn is_stable(field: &Field, text: &Expr) -> bool {
    let Expr::Literal(text, _) = text else {
        return false;
    };
    let text = text.try_as_str().flatten().unwrap_or_default();
    let text = text.to_ascii_lowercase();
    let words = ["now", "today", "tomorrow", "yesterday"];
    is_moment(field.data_type()) && words.iter().any(|word| text.contains(word))
}

fn is_moment(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => true,
        DataType::List(element) => is_moment(element.data_type()),
        _ => false,
    }
}

/// `text_input(text)`: the value of a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TextInput {
    field: FieldRef,
    /// Whose clock tells times without a zone. It is the session's of when the plan is made: a plan with another is
    /// another, and this one says the same at any time.
    zone: Zone,
    signature: Signature,
}

impl TextInput {
    fn new(field: FieldRef, text: &Expr, zone: &Zone) -> Self {
        let volatility = match is_stable(&field, text) {
            true => Volatility::Stable,
            false => Volatility::Immutable,
        };
        Self {
            field,
            zone: zone.clone(),
            signature: Signature::any(1, volatility),
        }
    }
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &str {
        TEXT_INPUT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::clone(&self.field);
        Ok(Arc::new(field.with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let read = |texts: &ArrayRef| -> Result<ArrayRef> {
            let texts = match texts.data_type() {
                DataType::List(_) => Arc::clone(texts),
                _ => cast(texts, &DataType::Utf8)?,
            };
            let values = read_values(&texts, &self.field, &self.zone);
            Ok(values.map_err(|e| e.error)?)
        };
        make_scalar_function(|arrays| read(&arrays[0]), Vec::new())(&args.args)
    }
}
