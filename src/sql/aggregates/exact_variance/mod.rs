//! `variance`, `stddev` and their like of exact numbers are NUMERIC, with PostgreSQL's digits.
//!
//! Sums of numbers and of their squares are exact. The variance of BIGINTs stays a double: the squares of large ones have no
//! room for digits behind the point.

mod accumulators;
mod moments;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};
use shelfmark_udfs::coerced_types;

use self::accumulators::{Distinct, Groups, Rows};
use self::moments::Task;
use super::variance::Measure;
use crate::catalog::quotient::{QUOTIENT_SCALE, Shown, quotient_type, shown_field};
use crate::error::Error;

/// The function over that of doubles, whose names it has.
pub(super) fn over((inner, measure): (AggregateUDF, Measure)) -> AggregateUDF {
    AggregateUDF::from(ExactVariance {
        inner: Arc::new(inner),
        measure,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ExactVariance {
    /// That of doubles.
    inner: Arc<AggregateUDF>,
    measure: Measure,
    signature: Signature,
}

/// Digits and digits behind the point of a type of exact numbers.
fn digits_of(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => return None,
    })
}

impl ExactVariance {
    /// Digits of numbers of the type, where they are taken.
    fn taken(&self, data_type: &DataType) -> Option<(u8, i8)> {
        let is_long = *data_type == DataType::Int64 && !self.measure.is_root;
        digits_of(data_type).filter(|_| !is_long)
    }

    fn taken_fields(&self, fields: &[FieldRef]) -> Option<(u8, i8)> {
        match fields {
            [field] => self.taken(field.data_type()),
            _ => None,
        }
    }

    fn result_type(&self, (precision, scale): (u8, i8)) -> DataType {
        if precision == 38 {
            let scale = if self.measure.is_root {
                QUOTIENT_SCALE
            } else {
                10
            };
            return DataType::Decimal128(38, scale);
        }
        let whole = precision.saturating_sub(scale.unsigned_abs());
        let whole = if self.measure.is_root {
            whole
        } else {
            2 * whole
        };
        quotient_type(whole.clamp(1, 37), 0, least_digits(precision, scale))
    }

    fn task(&self, args: &AccumulatorArgs, (_, scale): (u8, i8)) -> Task {
        let result = match args.return_field.data_type() {
            DataType::Decimal128(_, scale) => *scale,
            _ => QUOTIENT_SCALE,
        };
        let measure = self.measure;
        Task {
            measure,
            scale,
            result,
        }
    }
}

/// The digits behind the point that squares have by their type, where it says so.
fn least_digits(precision: u8, scale: i8) -> i8 {
    if precision == 38 {
        0
    } else {
        scale.saturating_mul(2).min(38)
    }
}

impl AggregateUDFImpl for ExactVariance {
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
            [of] if self.taken(of).is_some() => Ok(types.to_vec()),
            types => coerced_types(&self.inner, types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let taken = types.first().and_then(|of| self.taken(of));
        match taken {
            Some(digits) => Ok(self.result_type(digits)),
            None => self.inner.return_type(types),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let Some((precision, scale)) = self.taken_fields(fields) else {
            return self.inner.return_field(fields);
        };
        let shown = Shown::variance(self.measure.is_root, least_digits(precision, scale));
        Ok(shown_field(
            self.name(),
            self.result_type((precision, scale)),
            shown,
        ))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some((_, scale)) = self.taken_fields(args.input_fields) else {
            return self.inner.state_fields(args);
        };
        let field = |part: &str, data_type| {
            Arc::new(Field::new(
                format_state_name(args.name, part),
                data_type,
                true,
            ))
        };
        let numbers = DataType::Decimal128(38, scale);
        if args.is_distinct {
            return Ok(vec![field("numbers", DataType::new_list(numbers, true))]);
        }
        Ok(vec![
            field("count", DataType::Int64),
            field("sum", numbers),
            field("squares", DataType::Decimal256(76, 0)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some(digits) = self.taken_fields(args.expr_fields) else {
            return self.inner.accumulator(args);
        };
        let task = self.task(&args, digits);
        Ok(match args.is_distinct {
            true => Box::new(Distinct::new(task)),
            false => Box::new(Rows::new(task)),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if self.taken_fields(args.expr_fields).is_none() {
            return self.inner.create_sliding_accumulator(args);
        }
        if args.is_distinct {
            let message = "DISTINCT is not implemented for window functions";
            return Err(Error::unsupported(message).into());
        }
        self.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.taken_fields(args.expr_fields) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.taken_fields(args.expr_fields) {
            Some(digits) => Ok(Box::new(Groups::new(self.task(&args, digits)))),
            None => self.inner.create_groups_accumulator(args),
        }
    }
}
