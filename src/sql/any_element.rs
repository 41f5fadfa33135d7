//! `x = ANY (array)` where the array is not written out: a NULL in it decides where nothing else does.
//!
//! DataFusion's `array_has` knows a NULL element for one that differs. Here a value that is not among the others is then
//! unknown, and no value is in an empty array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::datatypes::DataType;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_nested::array_has::array_has_udf;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, lit,
};

/// Whether an array has a value: `x = ANY (array)`.
pub(super) const ARRAY_HAS: &str = "array_has";

/// The function.
pub(crate) fn functions() -> [ScalarUDF; 1] {
    [ScalarUDF::new_from_impl(ArrayHas {
        inner: array_has_udf(),
    })]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayHas {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ArrayHas {
    fn name(&self) -> &str {
        ARRAY_HAS
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

    /// A constant array becomes a list of IN, which statistics and indexes know.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [Expr::Literal(ScalarValue::List(list), metadata), needle] = args.as_slice() else {
            return self.inner.simplify(args, info);
        };
        if list.is_null(0) || list.value(0).null_count() == 0 {
            return self.inner.simplify(args, info);
        }
        let known = ScalarValue::List(Arc::new(without_nulls(list)?));
        let known = vec![Expr::Literal(known, metadata.clone()), needle.clone()];
        let among = match self.inner.simplify(known, info)? {
            ExprSimplifyResult::Simplified(among) => among,
            ExprSimplifyResult::Original(args) => self.inner.call(args),
        };
        let unknown = lit(ScalarValue::Boolean(None));
        Ok(ExprSimplifyResult::Simplified(among.or(unknown)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = args.args.clone();
        let [array, needle] = take_function_args(ARRAY_HAS, &given)?;
        let is_constant = matches!(
            (array, needle),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if is_constant { 1 } else { args.number_rows };
        let found = self.inner.invoke_with_args(args)?;
        let (arrays, needles) = (array.to_array(rows)?, needle.to_array(rows)?);
        let Some(arrays) = arrays.as_list_opt::<i32>() else {
            return Ok(found);
        };
        let found = found.to_array(rows)?;
        let answer = |row: usize| {
            if arrays.is_null(row) {
                return None;
            }
            let is_found = found.is_valid(row) && found.as_boolean().value(row);
            let is_unknown = needles.is_null(row) && arrays.value_length(row) > 0;
            (is_found || !(is_unknown || has_null(arrays, row))).then_some(is_found)
        };
        answered((0..rows).map(answer).collect(), is_constant)
    }
}

fn answered(answers: BooleanArray, is_constant: bool) -> Result<ColumnarValue> {
    let answers: ArrayRef = Arc::new(answers);
    Ok(match is_constant {
        true => ScalarValue::try_from_array(&answers, 0)?.into(),
        false => answers.into(),
    })
}

/// Whether an element of the array in that row is NULL.
fn has_null(arrays: &ListArray, row: usize) -> bool {
    arrays.values().null_count() > 0 && arrays.value(row).null_count() > 0
}

/// The first array of the list without its NULLs.
fn without_nulls(list: &ListArray) -> Result<ListArray> {
    let elements = list.value(0);
    let known = arrow::compute::is_not_null(&elements)?;
    let known = arrow::compute::filter(&elements, &known)?;
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([known.len()]);
    let field = match list.data_type() {
        DataType::List(field) => Arc::clone(field),
        _ => Arc::new(arrow::datatypes::Field::new_list_field(
            known.data_type().clone(),
            true,
        )),
    };
    Ok(ListArray::try_new(field, offsets, known, None)?)
}
