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

use crate::catalog::pg::PgContext;
use crate::catalog::pg::functions::NextValue;
use crate::error::Error;
use crate::sql::parameters::{no_parameter, place_of, replace};

/// What the execution that has the plan now differs in from others.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// Of its parameters; the first is `$1`.
    values: RwLock<Vec<ScalarValue>>,
    /// What functions know its session by; only where some do.
    session: RwLock<Option<PgContext>>,
}

impl Bindings {
    /// Those of another execution.
    pub fn set(&self, values: Vec<ScalarValue>, session: Option<PgContext>) {
        *self.values.write() = values;
        *self.session.write() = session;
    }

    /// Those of no execution: what has ended holds no version of the database.
    pub fn clear(&self) {
        self.set(Vec::new(), None);
    }

    fn get(&self, place: usize) -> Result<ScalarValue> {
        let value = self.values.read().get(place).cloned();
        value.ok_or_else(|| Error::internal("a parameter is read before it has a value").into())
    }

    fn session(&self) -> Result<PgContext> {
        let session = self.session.read().clone();
        session.ok_or_else(|| Error::internal("a function is called outside a session").into())
    }
}

/// `nextval`, told of the statement that executes it instead of the one that planned it. The function finds that in the
/// configuration, and to make one for each execution takes longer than the rest of it.
#[derive(Debug)]
struct BoundNextValue {
    inner: NextValue,
    bindings: Arc<Bindings>,
}

impl PartialEq for BoundNextValue {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && Arc::ptr_eq(&self.bindings, &other.bindings)
    }
}

impl Eq for BoundNextValue {}

impl Hash for BoundNextValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        Arc::as_ptr(&self.bindings).hash(state);
    }
}

impl ScalarUDFImpl for BoundNextValue {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_in(&self.bindings.session()?, &args)
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

/// The plan with functions in place of its parameters, which have the types of `fields`, and with functions that know
/// the session by the bindings.
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
    let is_open = |expr: &Expr| matches!(expr, Expr::Placeholder(_)) || reads_session(expr);
    replace(plan, &is_open, &|expr| match expr {
        Expr::Placeholder(placeholder) => match functions.get(place_of(&placeholder.id)?) {
            Some(function) => Ok(Transformed::yes(function.call(Vec::new()))),
            None => Err(no_parameter(&placeholder.id).into()),
        },
        Expr::ScalarFunction(call) => match next_value(&call.func) {
            Some(inner) => {
                let function = BoundNextValue {
                    inner: inner.clone(),
                    bindings: Arc::clone(bindings),
                };
                let function = ScalarUDF::from(function);
                Ok(Transformed::yes(function.call(call.args)))
            }
            None => Ok(Transformed::no(Expr::ScalarFunction(call))),
        },
        other => Ok(Transformed::no(other)),
    })
}

/// Whether the expression is a call that must be told of the session which executes it.
pub(super) fn reads_session(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if next_value(&call.func).is_some())
}

/// The one function that gives other values in other sessions and is not evaluated before a plan is executed.
fn next_value(function: &ScalarUDF) -> Option<&NextValue> {
    function.inner().downcast_ref::<NextValue>()
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
