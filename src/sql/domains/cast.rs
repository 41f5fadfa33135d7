//! Casts to domains: `x::positive` is `x::integer`, and checked.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::sql::sqlparser::ast::{Expr, Value, VisitMut};

use crate::catalog::domains::DomainChecks;
use crate::catalog::options::PinnedSnapshot;
use crate::error::{Error, Result};
use crate::sql::create::data_type_of;
use crate::sql::mend::call;
use crate::sql::type_names::TypeNames;
use crate::sql::walk;
use crate::storage::domain::Domain;

/// Writes casts to domains as casts to the types below, and as calls of functions that check them; where there are some, a
/// state is given back that has these.
///
/// # Errors
/// Whatever is wrong with a condition of a domain by now.
pub(in crate::sql) fn with_checks(
    state: &SessionState,
    node: &mut impl VisitMut,
) -> Result<Option<Box<SessionState>>> {
    let pinned = state.config().get_extension::<PinnedSnapshot>();
    let Some(pinned) = pinned.filter(|pinned| pinned.0.domains().next().is_some()) else {
        return Ok(None);
    };
    let names = TypeNames::of_session(Arc::clone(&pinned.0), state.config_options());
    let mut found: Vec<Arc<Domain>> = Vec::new();
    let mut failed = None;
    walk::change_expressions(node, |expr| {
        let Expr::Cast { data_type, .. } = expr else {
            return;
        };
        let Some(domain) = names.domain(data_type) else {
            return;
        };
        match data_type_of(&domain.base) {
            Ok(base) => *data_type = base,
            Err(error) => failed = Some(error),
        }
        let value = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = call(&function_name(&domain), vec![value]);
        if !found.contains(&domain) {
            found.push(domain);
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let mut with = Box::new(state.clone());
    for domain in found {
        let checks = Arc::new(DomainChecks::of(&domain, state)?);
        let function = ScalarUDF::new_from_impl(DomainCast::new(domain, checks));
        with.register_udf(Arc::new(function))?;
    }
    Ok(Some(with))
}

/// The function that gives back values which are of the domain.
///
/// # Errors
/// Whatever is wrong with a condition of the domain by now.
pub(in crate::sql) fn check_of(
    domain: &Arc<Domain>,
    state: &SessionState,
) -> Result<Arc<ScalarUDF>> {
    let checks = Arc::new(DomainChecks::of(domain, state)?);
    let function = DomainCast::new(Arc::clone(domain), checks);
    Ok(Arc::new(ScalarUDF::new_from_impl(function)))
}

fn function_name(domain: &Domain) -> String {
    format!("domain_{}", domain.id)
}

/// Gives back its value, which is checked.
#[derive(Debug)]
struct DomainCast {
    name: String,
    domain: Arc<Domain>,
    checks: Arc<DomainChecks>,
    signature: Signature,
}

impl DomainCast {
    fn new(domain: Arc<Domain>, checks: Arc<DomainChecks>) -> Self {
        Self {
            name: function_name(&domain),
            domain,
            checks,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl PartialEq for DomainCast {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain
    }
}

impl Eq for DomainCast {}

impl Hash for DomainCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.domain.id.hash(state);
    }
}

impl ScalarUDFImpl for DomainCast {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types.first().cloned().ok_or_else(one_value)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let of = args.arg_fields.first().ok_or_else(one_value)?;
        Ok(Arc::new(Field::clone(of).with_name(&self.name)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let value = args.args.pop().ok_or_else(one_value)?;
        let rows = match &value {
            ColumnarValue::Array(values) => values.len(),
            ColumnarValue::Scalar(_) => 1,
        };
        self.checks.check(&value.to_array(rows)?)?;
        Ok(value)
    }
}

fn one_value() -> datafusion::error::DataFusionError {
    Error::internal("a cast to a domain takes one value").into()
}
