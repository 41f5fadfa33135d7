//! Casts from text read values as PostgreSQL does: `'Feb 29, 2000'::date`, `'\xdeadbeef'::bytea`, `'1h30m'::interval`.
//!
//! Arrow reads numbers and ISO dates alone, takes the bytes of a text for those of a `bytea`, makes infinities of numbers
//! that are too large, and calls any text JSON. Text typed beside a value of another type becomes a cast as well when
//! types are coerced.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use shelfmark_udfs::VectorType;

use super::format::{oid, read_texts, type_of};
use crate::catalog::expressions::rewrite_expressions;
use crate::catalog::zone::Zone;

/// Makes a function of each cast from text that Arrow would carry out otherwise. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct TextInputRule;

impl AnalyzerRule for TextInputRule {
    fn name(&self) -> &str {
        "text_input"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, is_cast, rewrite)
    }
}

fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if is_read(&cast.field))
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field })
            if is_read(&field) && expr.get_type(schema).is_ok_and(|t| is_text(&t)) =>
        {
            let input = ScalarUDF::from(TextInput::new(field, &expr));
            Transformed::yes(Arc::new(input).call(vec![*expr]))
        }
        other => Transformed::no(other),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
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
        List(element) => VectorType::of(field.data_type()).is_none() && is_plain(element),
        DataType::Utf8 => matches!(type_of(field).oid, oid::JSON | oid::JSONB | oid::UUID),
        _ => false,
    }
}

/// Whether an element's type says all; that of others is in the metadata of the list, as for `name[]`.
fn is_plain(element: &Field) -> bool {
    !is_text(element.data_type()) && is_read(element)
}

/// Whether the value follows the session's time zone, or the time of now (`'today'::date`). A text that is not written
/// in the statement is no such word.
fn is_stable(data_type: &DataType, text: &Expr) -> bool {
    let literal = match text {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    match (data_type, literal) {
        (DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(_, None), Some(text)) => {
            let words = ["now", "today", "tomorrow", "yesterday"];
            words
                .iter()
                .any(|word| text.trim().eq_ignore_ascii_case(word))
        }
        (DataType::Timestamp(_, Some(_)), Some(text)) => {
            let on = |zone: Zone| {
                let texts = StringArray::from(vec![text]);
                let field = Field::new("", data_type.clone(), true);
                Some(read_texts(&texts, &field, &zone).ok()?.to_data())
            };
            on(Zone::utc()) != on(Zone::fixed(3600))
        }
        (DataType::Timestamp(_, Some(_)), None) => true,
        (DataType::List(element), _) => is_stable(element.data_type(), text),
        _ => false,
    }
}

/// `text_input(text)`: the value of a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TextInput {
    field: FieldRef,
    signature: Signature,
}

impl TextInput {
    fn new(field: FieldRef, text: &Expr) -> Self {
        let volatility = match is_stable(field.data_type(), text) {
            true => Volatility::Stable,
            false => Volatility::Immutable,
        };
        Self {
            field,
            signature: Signature::any(1, volatility),
        }
    }
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &str {
        "text_input"
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
        let zone = args.config_options.execution.time_zone.as_deref();
        let zone = zone.and_then(Zone::parse).unwrap_or_else(Zone::utc);
        let read = |texts: &ArrayRef| -> Result<ArrayRef> {
            let texts = cast(texts, &DataType::Utf8)?;
            let values = read_texts(texts.as_string::<i32>(), &self.field, &zone);
            Ok(values.map_err(|e| e.error)?)
        };
        Ok(match &args.args[0] {
            ColumnarValue::Scalar(text) => {
                let value = read(&text.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?)
            }
            ColumnarValue::Array(texts) => ColumnarValue::Array(read(texts)?),
        })
    }
}
