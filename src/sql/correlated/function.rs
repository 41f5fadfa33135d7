//! A subquery as an asynchronous function of outer columns and of parameters.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::async_udf::AsyncScalarUDFImpl;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDFImpl, Signature,
};
use datafusion::physical_plan::collect;

use super::references::{Reference, Values, put_parameters, substitute};
use super::{SessionCell, inner_name};
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::pg::PgContext;
use crate::error::{Error, sqlstate};

/// What a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// The value of the only row and column; NULL where there is no row.
    Value,
    /// Whether there is a row.
    Exists,
    /// A list of all rows, as structs.
    Rows,
    /// Whether the last argument is among the rows; NULL where a NULL among them leaves that open.
    Among,
}

/// A subquery as a function of the outer columns that it reads.
#[derive(Debug)]
pub(super) struct SubqueryFunction {
    pub plan: Arc<LogicalPlan>,
    pub references: Vec<Reference>,
    /// The parameters in the plan: their values are arguments behind those of the columns.
    pub parameters: Vec<Placeholder>,
    pub answer: Answer,
    pub signature: Signature,
    pub session: SessionCell,
}

impl PartialEq for SubqueryFunction {
    fn eq(&self, other: &Self) -> bool {
        self.answer == other.answer && self.plan == other.plan
    }
}

impl Eq for SubqueryFunction {}

impl Hash for SubqueryFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.answer.hash(state);
        self.plan.hash(state);
    }
}

impl SubqueryFunction {
    /// The rows of a LATERAL relation as one struct type.
    fn row_schema(&self) -> SchemaRef {
        let fields = self.plan.schema().fields().iter().enumerate();
        let field = |(i, f): (usize, &FieldRef)| {
            Field::clone(f).with_name(inner_name(i)).with_nullable(true)
        };
        Arc::new(Schema::new(fields.map(field).collect::<Vec<_>>()))
    }

    fn return_field(&self) -> FieldRef {
        let data_type = match self.answer {
            Answer::Value => {
                let field = Field::clone(self.plan.schema().field(0));
                return Arc::new(field.with_nullable(true));
            }
            Answer::Exists | Answer::Among => DataType::Boolean,
            Answer::Rows => {
                let row = DataType::Struct(self.row_schema().fields().clone());
                DataType::new_list(row, true)
            }
        };
        Arc::new(Field::new(self.name(), data_type, true))
    }

    /// The session's state, reading the version that the statement reads.
    fn state(&self, config: &Arc<ConfigOptions>) -> Result<SessionState> {
        let session = self.session.get().and_then(Weak::upgrade);
        let session = session.ok_or_else(|| Error::internal("the session is closed"))?;
        let mut state = session.read().clone();
        *state.config_mut().options_mut() = ConfigOptions::clone(config);
        if let Some(snapshot) = PgContext::snapshot_of(config) {
            state
                .config_mut()
                .set_extension(Arc::new(PinnedSnapshot(snapshot)));
        }
        state.mark_start_execution();
        Ok(state)
    }

    /// The subquery's rows for some outer values.
    async fn run(&self, state: &SessionState, values: &[ScalarValue]) -> Result<RecordBatch> {
        let (outer, given) = values.split_at(self.references.len().min(values.len()));
        let names = self.parameters.iter().map(|p| p.id.as_str());
        let given = names.zip(given.iter().cloned()).collect();
        let plan = put_parameters(LogicalPlan::clone(&self.plan), &given)?;
        let columns = self.references.iter().map(|(_, column)| column.clone());
        let outer: Values = columns.zip(outer.iter().cloned()).collect();
        let plan = substitute(plan, &outer)?;
        let plan = match self.answer {
            Answer::Exists => LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?,
            // One more than there may be, to notice that there are too many.
            Answer::Value => LogicalPlanBuilder::from(plan).limit(0, Some(2))?.build()?,
            Answer::Rows | Answer::Among => plan,
        };
        let physical = state.create_physical_plan(&plan).await?;
        let schema = physical.schema();
        let batches = collect(physical, state.task_ctx()).await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    async fn value(&self, state: &SessionState, values: &[ScalarValue]) -> Result<ScalarValue> {
        let rows = self.run(state, values).await?;
        let field = self.return_field();
        match (self.answer, rows.num_rows()) {
            (Answer::Exists, n) => Ok(ScalarValue::Boolean(Some(n > 0))),
            (Answer::Among, 0) => Ok(ScalarValue::Boolean(Some(false))),
            (Answer::Among, _) => among(values.last(), rows.column(0)),
            (Answer::Value, 0) => ScalarValue::try_from(field.data_type()),
            (Answer::Value, 1) => {
                ScalarValue::try_from_array(rows.column(0), 0)?.cast_to(field.data_type())
            }
            (Answer::Value, _) => {
                let message = "more than one row returned by a subquery used as an expression";
                Err(Error::invalid(sqlstate::CARDINALITY_VIOLATION, message).into())
            }
            (Answer::Rows, n) => {
                let schema = self.row_schema();
                let fields = schema.fields().iter();
                let columns = rows.columns().iter().zip(fields);
                let columns = columns.map(|(c, f)| cast(c, f.data_type()));
                let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
                let row =
                    StructArray::try_new_with_length(schema.fields().clone(), columns, None, n)?;
                let element = Arc::new(Field::new_list_field(
                    DataType::Struct(schema.fields().clone()),
                    true,
                ));
                let offsets = OffsetBuffer::from_lengths([n]);
                // A row of a LEFT JOIN LATERAL without partners has one of NULLs.
                let nulls = (n == 0).then(|| vec![false].into());
                let list = ListArray::try_new(element, offsets, Arc::new(row), nulls)?;
                Ok(ScalarValue::List(Arc::new(list)))
            }
        }
    }
}

/// Whether the value is one of the column's, of which there is one at least.
fn among(value: Option<&ScalarValue>, column: &ArrayRef) -> Result<ScalarValue> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(ScalarValue::Boolean(None));
    };
    let value = value.cast_to(column.data_type())?;
    let equal = eq(column, &value.to_scalar()?)?;
    Ok(ScalarValue::Boolean(match equal.true_count() {
        0 => (column.null_count() == 0).then_some(false),
        _ => Some(true),
    }))
}

impl ScalarUDFImpl for SubqueryFunction {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.return_field().data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.return_field())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::internal("a subquery was called where it cannot wait").into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for SubqueryFunction {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let state = self.state(&args.config_options)?;
        let arrays = args.args.iter().map(|a| a.to_array(args.number_rows));
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut answers = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let values = arrays.iter().map(|a| ScalarValue::try_from_array(a, row));
            let values: Vec<ScalarValue> = values.collect::<Result<_>>()?;
            let answer = match known.get(&values) {
                Some(answer) => answer.clone(),
                None => {
                    let answer = self.value(&state, &values).await?;
                    known.insert(values, answer.clone());
                    answer
                }
            };
            answers.push(answer);
        }
        let answers = match answers.is_empty() {
            true => arrow::array::new_empty_array(self.return_field().data_type()),
            false => ScalarValue::iter_to_array(answers)?,
        };
        Ok(ColumnarValue::Array(answers))
    }
}
