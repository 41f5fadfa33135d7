//! Functions of DataFusion's whose arguments are looked at before they are called.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

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
        context.register_udf(ScalarUDF::from(CheckedFunction { inner, check }));
    }
}

/// A function behind its check.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction<C> {
    inner: Arc<ScalarUDF>,
    check: C,
}

impl<C: Check> ScalarUDFImpl for CheckedFunction<C> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check.check(self.name(), &args)?;
        self.inner.invoke_with_args(args)
    }
}
