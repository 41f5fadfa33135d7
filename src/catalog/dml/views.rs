//! Views by which rows are changed, and WITH CHECK OPTION: what a statement stores by a view must be rows of it.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Filter, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::catalog::checks::shown;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::role::RoleId;

/// A view by which rows are changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewStep {
    /// Its name.
    pub name: QualifiedName,
    /// Whose rights reach what is below it; none for those that reach the view.
    pub owner: Option<RoleId>,
}

/// The views by which a statement changes rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByViews {
    /// The outermost first.
    pub steps: Vec<ViewStep>,
    /// Whether RETURNING reads columns of the view.
    pub returns_columns: bool,
}

/// The rows of `input`, each of which passes the condition of a view; errors show the columns of `row`.
///
/// # Errors
/// When it is read, 44000 for the first that does not.
pub fn check_option(
    view: &str,
    condition: Expr,
    row: Vec<Expr>,
    input: LogicalPlan,
) -> Result<LogicalPlan> {
    let function = ScalarUDF::from(Passes {
        view: view.to_string(),
        signature: Signature::variadic_any(Volatility::Volatile),
    });
    let args: Vec<Expr> = std::iter::once(condition).chain(row).collect();
    let passes = Arc::new(function).call(args);
    Ok(LogicalPlan::Filter(Filter::try_new(
        passes,
        Arc::new(input),
    )?))
}

/// A function of a condition and the row that it is about: true, or an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Passes {
    view: String,
    signature: Signature,
}

impl ScalarUDFImpl for Passes {
    fn name(&self) -> &str {
        "_shelfmark_check_option"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let fields: Vec<_> = args.arg_fields.iter().skip(1).cloned().collect();
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let condition = arrays[0].as_boolean();
        let fails = |row: &usize| condition.is_null(*row) || !condition.value(*row);
        if let Some(row) = (0..condition.len().min(rows)).find(fails) {
            let schema = Arc::new(Schema::new(fields));
            let stored = RecordBatch::try_new(schema, arrays[1..].to_vec())?;
            let view = &self.view;
            let message = format!("new row violates check option for view \"{view}\"");
            let error = Error::invalid(sqlstate::WITH_CHECK_OPTION_VIOLATION, message);
            let detail = format!("Failing row contains {}.", shown(&stored, row));
            return Err(error.with_detail(detail).into());
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(vec![
            true;
            rows
        ]))))
    }
}
