//! Casts to text write values as PostgreSQL does: `ARRAY[1, 2]::text` is `{1,2}`, a timestamp has a blank before its time.
//!
//! `output_text(x)` is the text that a client sees of a value, as `concat` and `format` write it: that of a boolean is `t`
//! there, and `true` in a cast.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use bytes::BytesMut;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use shelfmark_udfs::VectorType;

use super::format::{Format, RowEncoder, Style, Zone};
use crate::catalog::expressions::rewrite_expressions;
use crate::catalog::quotient::Shown;
use crate::error::Error;

/// Makes a function of each cast to text that Arrow would carry out in other words. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct TextOutputRule;

impl AnalyzerRule for TextOutputRule {
    fn name(&self) -> &str {
        "text_output"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = Zone::of(config);
        rewrite_expressions(plan, is_cast_to_text, |expr, schema| {
            rewrite(expr, schema, &zone)
        })
    }
}

/// Whether it is a cast to plain text; until the rule has run, DataFusion says of it that it is still what was cast.
pub(super) fn is_cast_to_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if is_plain_text(&cast.field))
}

/// A type of text with a name of its own, as JSON, is read by its rules.
fn is_plain_text(field: &Field) -> bool {
    field.data_type().is_string() && field.metadata().is_empty()
}

fn rewrite(expr: Expr, schema: &DFSchema, zone: &Zone) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Transformed::no(expr);
    };
    if !is_plain_text(field) {
        return Transformed::no(expr);
    }
    let from = inner.to_field(schema);
    let differs = |from: &Field| differs(from.data_type()) || Shown::where_written(from).is_some();
    if !from.is_ok_and(|(_, from)| differs(from.as_ref())) {
        return Transformed::no(expr);
    }
    let function = ScalarUDF::new_from_impl(TextOutput::new(Some(zone)));
    let text = function.call(vec![inner.as_ref().clone()]);
    Transformed::yes(match field.data_type() {
        DataType::Utf8 => text,
        other => Expr::Cast(Cast::new(Box::new(text), other.clone())),
    })
}

/// Whether Arrow writes values of the type in another way than PostgreSQL.
fn differs(data_type: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Duration, Float16, Float32, Float64, Interval, Time64, Timestamp,
    };
    match data_type {
        Timestamp(..) | Interval(_) | Duration(_) | Float16 | Float32 | Float64 => true,
        Binary | Date32 | Time64(_) => true,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            VectorType::of(data_type).is_none()
        }
        _ => false,
    }
}

/// The name of [`output_text`].
pub(crate) const OUTPUT_TEXT: &str = "output_text";

/// The text of any value that a client sees.
pub(crate) fn output_text() -> ScalarUDF {
    ScalarUDF::new_from_impl(TextOutput::new(None))
}

/// The value's text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOutput {
    /// Whose clock tells times: the session's of when the plan is made, or else of when it is called.
    zone: Option<Zone>,
    signature: Signature,
}

impl TextOutput {
    fn new(zone: Option<&Zone>) -> Self {
        Self {
            zone: zone.cloned(),
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TextOutput {
    fn name(&self) -> &str {
        match self.zone {
            Some(_) => "text_output",
            None => OUTPUT_TEXT,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return Err(Error::internal("text_output takes one value").into());
        };
        let field = &args.arg_fields[0];
        if field.data_type().is_null() {
            return Ok(ScalarValue::Utf8(None).into());
        }
        if *field.data_type() == DataType::Utf8 && field.metadata().is_empty() {
            return Ok(value.clone());
        }
        let zone = self.zone.clone();
        let style = Style {
            zone: zone.unwrap_or_else(|| Zone::of(&args.config_options)),
            ..Style::default()
        };
        match value {
            ColumnarValue::Scalar(scalar) => {
                let texts = texts(&scalar.to_array()?, field, &style)?;
                Ok(ScalarValue::try_from_array(&texts, 0)?.into())
            }
            ColumnarValue::Array(array) => Ok(texts(array, field, &style)?.into()),
        }
    }
}

/// The texts of values as a client sees them by the clock of the zone.
///
/// # Errors
/// For a value that has no text.
pub(in crate::sql) fn texts_of(values: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let style = Style {
        zone,
        ..Style::default()
    };
    texts(values, &field, &style)
}

fn texts(values: &ArrayRef, field: &FieldRef, style: &Style) -> Result<ArrayRef> {
    let field = field.as_ref().clone().with_nullable(true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut encoder = RowEncoder::try_new(&schema, &[Format::Text], style)?;
    encoder.start(&RecordBatch::try_new(schema, vec![Arc::clone(values)])?)?;
    let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 8);
    let mut text = BytesMut::new();
    for row in 0..values.len() {
        text.clear();
        match encoder.put_value(0, row, &mut text)? {
            true => {
                let text = std::str::from_utf8(&text);
                texts.append_value(text.map_err(|_| Error::internal("a text that is not UTF-8"))?);
            }
            false => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}
