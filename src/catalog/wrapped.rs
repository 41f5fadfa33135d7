//! Functions of DataFusion's that do something else, or look at their arguments first.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

/// What differs from DataFusion's function `inner`.
pub(crate) trait Wrapper: Debug + Eq + Hash + Send + Sync + 'static {
    /// Its name, where it is not that of the inner function.
    fn name(&self) -> Option<&str> {
        None
    }

    /// What a call gives.
    ///
    /// # Errors
    /// When there is no such call.
    fn return_field(&self, inner: &ScalarUDF, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        inner.return_field_from_args(args)
    }

    /// The value of a call.
    ///
    /// # Errors
    /// When its arguments have none.
    fn invoke(&self, inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue>;

    /// For which arguments a call has the value of a literal, where that is known.
    ///
    /// # Errors
    /// Those of the function.
    fn preimage(
        &self,
        _inner: &ScalarUDF,
        _args: &[Expr],
        _literal: &Expr,
        _info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        Ok(PreimageResult::None)
    }
}

/// The function with what differs, under the names that it has.
pub(crate) fn wrapped(inner: Arc<ScalarUDF>, wrapper: impl Wrapper) -> ScalarUDF {
    ScalarUDF::new_from_impl(Wrapped { inner, wrapper })
}

/// What arguments have to be.
pub(super) trait Check: Debug + Eq + Hash + Send + Sync + 'static {
    /// Looks at the arguments of a call of the function `name`.
    ///
    /// # Errors
    /// When they are not what they have to be.
    fn check(&self, name: &str, args: &ScalarFunctionArgs) -> Result<()>;
}

/// Puts a check before the session's function of that name, if it has one.
pub(super) fn check_function(context: &SessionContext, name: &str, check: impl Check) {
    let function = context.state().scalar_functions().get(name).cloned();
    if let Some(inner) = function {
        context.register_udf(wrapped(inner, Checked(check)));
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked<C>(C);

impl<C: Check> Wrapper for Checked<C> {
    fn invoke(&self, inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.check(inner.name(), &args)?;
        inner.invoke_with_args(args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Wrapped<W> {
    inner: Arc<ScalarUDF>,
    wrapper: W,
}

impl<W: Wrapper> ScalarUDFImpl for Wrapped<W> {
    fn name(&self) -> &str {
        self.wrapper.name().unwrap_or(self.inner.name())
    }

    fn aliases(&self) -> &[String] {
        match self.wrapper.name() {
            Some(_) => &[],
            None => self.inner.aliases(),
        }
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.wrapper.return_field(&self.inner, args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.wrapper.invoke(&self.inner, args)
    }

    fn preimage(
        &self,
        args: &[Expr],
        lit_expr: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.wrapper.preimage(&self.inner, args, lit_expr, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }
}
