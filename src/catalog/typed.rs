//! Values of types that Arrow does not tell: a uuid or a JSON is a text to it, and the metadata of the field says more.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use super::json::rule as json;
use super::{blank_padded, enums};
use crate::error::Error;
use crate::storage::schema::SQL_TYPE_KEY;

/// The expression over rows of that schema with the meaning that it has for such types, where no plan holds it.
///
/// # Errors
/// 22P02 for a literal that is no value of the type beside it, 42883 and 42846 for types that do not go together.
pub(crate) fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let expr = enums::in_expression(expr, schema)?;
    let expr = json::in_expression(expr, schema)?;
    blank_padded::in_expression(expr, schema)
}

/// The expression of a text over rows of that schema, ready to be evaluated.
///
/// # Errors
/// Those of [`in_expression`], and whatever is wrong with the text by now: a function it calls may be gone.
pub(crate) fn compiled(
    text: &str,
    schema: &DFSchema,
    state: &SessionState,
) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = state.create_logical_expr(text, schema)?;
    state.create_physical_expr(in_expression(expr, schema)?, schema)
}

/// The value as it is, of the type that the field says.
pub(crate) fn typed(expr: Expr, of: &Field) -> Expr {
    let name = of.metadata().get(SQL_TYPE_KEY).cloned();
    Typed::new(name.unwrap_or_default()).call(expr)
}

/// What is kept as a text, as a text.
pub(crate) fn as_text(expr: Expr) -> Expr {
    Typed::new(String::new()).call(expr)
}

/// A value as it is, of a type that its field did not tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Typed {
    /// The name of the type; none where Arrow's says all.
    name: String,
    signature: Signature,
}

impl Typed {
    fn new(name: String) -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { name, signature }
    }

    fn call(self, expr: Expr) -> Expr {
        ScalarUDF::new_from_impl(self).call(vec![expr])
    }
}

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        "typed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [of] = types else {
            return Err(one_value());
        };
        Ok(of.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [of] = args.arg_fields else {
            return Err(one_value());
        };
        let field = Field::new(self.name(), of.data_type().clone(), of.is_nullable());
        let name = (!self.name.is_empty()).then(|| (SQL_TYPE_KEY.to_string(), self.name.clone()));
        let metadata: HashMap<String, String> = name.into_iter().collect();
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.pop().ok_or_else(one_value)
    }
}

fn one_value() -> datafusion::error::DataFusionError {
    Error::internal("typed takes one value").into()
}
