//! `sum` and `avg` of exact numbers, with results of PostgreSQL's types: the sum of BIGINTs is NUMERIC, and so is every
//! average.
//!
//! SMALLINTs and INTEGERs are added as 64 bits, others as 128: no sum of theirs overflows. Numbers of other types are
//! DataFusion's matter.

mod distinct;
mod groups;
mod input;
mod rows;

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::Result;
use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};
use shelfmark_udfs::coerced_types;

use self::distinct::DistinctTotal;
use self::groups::TotalGroups;
use self::input::Input;
use self::rows::RowTotal;
use crate::catalog::quotient::{Shown, quotient_type, shown_field};
use crate::error::Error;

/// What is made of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Total {
    Sum,
    Average,
}

/// An aggregate of exact numbers under the name of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ExactTotal {
    total: Total,
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

/// `sum` and `avg`, DataFusion's below.
pub(in crate::sql) fn functions() -> [AggregateUDF; 2] {
    let totals = [(Total::Sum, sum_udaf()), (Total::Average, avg_udaf())];
    totals.map(|(total, inner)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(ExactTotal {
            total,
            inner,
            signature,
        })
    })
}

/// Makes an accumulator for the type of what is added.
macro_rules! of_input {
    ($data_type:expr, $make:ident, $($arg:expr),*) => {
        match $data_type {
            DataType::Int16 => $make::<Int16Type>($($arg),*),
            DataType::Int32 => $make::<Int32Type>($($arg),*),
            DataType::Int64 => $make::<Int64Type>($($arg),*),
            _ => $make::<Decimal128Type>($($arg),*),
        }
    };
}

impl ExactTotal {
    /// Whether numbers of the type are added here: DataFusion's sum of decimals is one already.
    fn takes(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
            DataType::Decimal128(..) => self.total == Total::Average,
            _ => false,
        }
    }

    fn takes_fields(&self, fields: &[FieldRef]) -> bool {
        matches!(fields, [field] if self.takes(field.data_type()))
    }

    /// The type of the result of what is taken.
    fn result_type(&self, data_type: &DataType) -> DataType {
        match (self.total, data_type) {
            (Total::Average, DataType::Decimal128(precision, scale)) => {
                quotient_type(*precision, *scale, 0)
            }
            (Total::Average, DataType::Int64) => quotient_type(19, 0, 0),
            (Total::Average, _) => quotient_type(10, 0, 0),
            (Total::Sum, DataType::Int64) => DataType::Decimal128(38, 0),
            (Total::Sum, _) => DataType::Int64,
        }
    }
}

/// The type of a sum that numbers of the type are added to.
fn sum_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int64 => DataType::Decimal128(38, 0),
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        _ => DataType::Int64,
    }
}

/// What an accumulator is made for.
#[derive(Debug, Clone)]
struct Task {
    total: Total,
    /// The type of the sum.
    sum: DataType,
    /// The type of the result.
    result: DataType,
}

fn of_rows<I: Input>(task: Task) -> Box<dyn Accumulator> {
    Box::new(RowTotal::<I>::new(task))
}

fn of_distinct<I: Input>(task: Task) -> Box<dyn Accumulator> {
    Box::new(DistinctTotal::<I>::new(task))
}

fn of_groups<I: Input>(task: Task) -> Box<dyn GroupsAccumulator> {
    Box::new(TotalGroups::<I>::new(task))
}

impl ExactTotal {
    /// What there is to do for a call whose numbers are taken.
    fn task(&self, args: &AccumulatorArgs) -> Task {
        Task {
            total: self.total,
            sum: sum_type(args.expr_fields[0].data_type()),
            result: args.return_field.data_type().clone(),
        }
    }
}

impl AggregateUDFImpl for ExactTotal {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] if self.takes(of) => Ok(types.to_vec()),
            types => coerced_types(&self.inner, types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] if self.takes(of) => Ok(self.result_type(of)),
            types => self.inner.return_type(types),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        if !self.takes_fields(fields) {
            return self.inner.return_field(fields);
        }
        let of = fields[0].data_type();
        let result = self.result_type(of);
        Ok(match (self.total, of) {
            (Total::Sum, _) => Arc::new(Field::new(self.name(), result, true)),
            (Total::Average, DataType::Decimal128(_, scale)) => {
                shown_field(self.name(), result, Shown::quotient(*scale))
            }
            (Total::Average, _) => shown_field(self.name(), result, Shown::quotient(0)),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !self.takes_fields(args.input_fields) {
            return self.inner.state_fields(args);
        }
        let sum = sum_type(args.input_fields[0].data_type());
        let name = format_state_name(args.name, "sum");
        if args.is_distinct {
            let element = Field::new_list_field(sum, true);
            return Ok(vec![Arc::new(Field::new_list(name, element, true))]);
        }
        let mut fields = vec![Arc::new(Field::new(name, sum, true))];
        if self.total == Total::Average {
            let count = format_state_name(args.name, "count");
            fields.push(Arc::new(Field::new(count, DataType::Int64, true)));
        }
        Ok(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !self.takes_fields(args.expr_fields) {
            return self.inner.accumulator(args);
        }
        let task = self.task(&args);
        let of = args.expr_fields[0].data_type();
        Ok(match args.is_distinct {
            true => of_input!(of, of_distinct, task),
            false => of_input!(of, of_rows, task),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !self.takes_fields(args.expr_fields) {
            return self.inner.create_sliding_accumulator(args);
        }
        if args.is_distinct {
            let message = "DISTINCT is not implemented for window functions";
            return Err(Error::unsupported(message).into());
        }
        self.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.takes_fields(args.expr_fields) {
            true => !args.is_distinct,
            false => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if !self.takes_fields(args.expr_fields) {
            return self.inner.create_groups_accumulator(args);
        }
        let task = self.task(&args);
        let of = args.expr_fields[0].data_type();
        Ok(of_input!(of, of_groups, task))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
