//! UUIDs at random.

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions::string::uuid;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use crate::catalog::pg_type::{field_of_oid, oid};
use crate::catalog::wrapped::{Wrapper, wrapped};

/// `gen_random_uuid`: DataFusion's `uuid`, of the type of that name.
pub(crate) fn random_uuid() -> ScalarUDF {
    wrapped(uuid(), Typed).with_aliases(["gen_random_uuid", "uuid_generate_v4"])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed;

impl Wrapper for Typed {
    fn return_field(&self, inner: &ScalarUDF, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = inner.return_field_from_args(args)?;
        Ok(match field_of_oid(field.name(), oid::UUID, -1) {
            Some(typed) => {
                let typed = Field::clone(&typed).with_data_type(field.data_type().clone());
                typed.with_nullable(field.is_nullable()).into()
            }
            None => field,
        })
    }

    fn invoke(&self, inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        inner.invoke_with_args(args)
    }
}
