//! Parameters in plans of operators: calls of functions without arguments that read the values of one execution.
//!
//! DataFusion plans no placeholders physically. As a function that is not constant a parameter can be planned, and the
//! plan be executed again with other values.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use parking_lot::RwLock;

use crate::error::Error;
use crate::sql::parameters::{no_parameter, place_of, replace};

/// The values of the parameters of the execution that has the plan now; the first is `$1`.
#[derive(Debug, Default)]
pub(super) struct Bindings(RwLock<Vec<ScalarValue>>);

impl Bindings {
    /// The values of another execution.
    pub fn set(&self, values: Vec<ScalarValue>) {
        *self.0.write() = values;
    }

    fn get(&self, place: usize) -> Result<ScalarValue> {
        let value = self.0.read().get(place).cloned();
        value.ok_or_else(|| Error::internal("a parameter is read before it has a value").into())
    }
}

/// A parameter as a function.
#[derive(Debug)]
struct Parameter {
    name: String,
    place: usize,
    field: FieldRef,
    bindings: Arc<Bindings>,
    signature: Signature,
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && Arc::ptr_eq(&self.bindings, &other.bindings)
    }
}

impl Eq for Parameter {}

impl Hash for Parameter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
        Arc::as_ptr(&self.bindings).hash(state);
    }
}

impl ScalarUDFImpl for Parameter {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.bindings.get(self.place).map(ColumnarValue::Scalar)
    }
}

/// The plan with functions in place of its parameters, which have the types of `fields`.
///
/// # Errors
/// 42P02 for a parameter that has none.
pub(super) fn with_functions(
    plan: LogicalPlan,
    fields: &[FieldRef],
    bindings: &Arc<Bindings>,
) -> Result<LogicalPlan> {
    let functions: Vec<Arc<ScalarUDF>> = fields
        .iter()
        .enumerate()
        .map(|(place, field)| {
            let parameter = Parameter {
                name: format!("${}", place + 1),
                place,
                field: Arc::clone(field),
                bindings: Arc::clone(bindings),
                signature: Signature::nullary(Volatility::Stable),
            };
            Arc::new(ScalarUDF::from(parameter))
        })
        .collect();
    replace(plan, &|expr| {
        let Expr::Placeholder(placeholder) = &expr else {
            return Ok(Transformed::no(expr));
        };
        match functions.get(place_of(&placeholder.id)?) {
            Some(function) => Ok(Transformed::yes(function.call(Vec::new()))),
            None => Err(no_parameter(&placeholder.id).into()),
        }
    })
}

/// The expression with the values that its parameters have now.
///
/// # Errors
/// XX000 for a parameter without a value.
pub(super) fn bound(expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let bound = Arc::clone(expr).transform_up(|expr| {
        let function = expr.downcast_ref::<ScalarFunctionExpr>();
        let parameter = function.and_then(|f| f.fun().inner().downcast_ref::<Parameter>());
        match parameter {
            Some(parameter) => {
                let value = parameter.bindings.get(parameter.place)?;
                let field = Arc::clone(&parameter.field);
                let literal = Literal::new_with_metadata(value, Some(field.metadata().into()));
                Ok(Transformed::yes(Arc::new(literal) as Arc<dyn PhysicalExpr>))
            }
            None => Ok(Transformed::no(expr)),
        }
    })?;
    Ok(bound.data)
}
