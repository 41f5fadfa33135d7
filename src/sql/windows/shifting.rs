//! `lag` and `lead` by a distance that each row tells itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDFImpl};

/// The value of a row before or behind, of the distance that is the second argument; the third one where there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shifting {
    ahead: bool,
    signature: Signature,
}

impl Shifting {
    pub(super) fn new(ahead: bool) -> Self {
        Self {
            ahead,
            // The arguments are of the right types by now.
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl WindowUDFImpl for Shifting {
    fn name(&self) -> &str {
        match self.ahead {
            true => "lead",
            false => "lag",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = args.input_fields()[0].as_ref().clone();
        Ok(Arc::new(field.with_name(args.name()).with_nullable(true)))
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Shift { ahead: self.ahead }))
    }
}

#[derive(Debug)]
struct Shift {
    ahead: bool,
}

impl PartitionEvaluator for Shift {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let distances = cast(&values[1], &DataType::Int64)?;
        let distances = distances.as_primitive::<Int64Type>();
        let target = |row: usize| {
            let distance = distances.is_valid(row).then(|| distances.value(row))?;
            let row = i64::try_from(row).ok()?;
            let target = match self.ahead {
                true => row.checked_add(distance),
                false => row.checked_sub(distance),
            };
            let target = target.and_then(|target| u64::try_from(target).ok());
            target.filter(|target| *target < num_rows as u64)
        };
        let targets: UInt64Array = (0..num_rows).map(target).collect();
        let found = take(&values[0], &targets, None)?;
        let Some(default) = values.get(2) else {
            return Ok(found);
        };
        let is_outside = |row| targets.is_null(row) && distances.is_valid(row);
        let outside: BooleanArray = (0..num_rows).map(|row| Some(is_outside(row))).collect();
        let default = cast(default, found.data_type())?;
        Ok(zip(&outside, &default, &found)?)
    }
}
