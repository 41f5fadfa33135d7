//! `pg_sleep` and its like: functions that take their time, and nothing else.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, FieldRef, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::Kind;
use crate::error::Error;

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    [Sleep::seconds(), Sleep::interval()]
        .into_iter()
        .map(|sleep| AsyncScalarUDF::new(Arc::new(sleep)).into_scalar_udf())
}

/// A function that sleeps for the time that each row says.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    name: &'static str,
    signature: Signature,
}

impl Sleep {
    /// `pg_sleep(seconds)`.
    fn seconds() -> Self {
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
        let name = "pg_sleep";
        Self { name, signature }
    }

    /// `pg_sleep_for(interval)`.
    fn interval() -> Self {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let signature = Signature::exact(vec![interval], Volatility::Volatile);
        let name = "pg_sleep_for";
        Self { name, signature }
    }

    fn kind() -> Kind {
        Kind::Text("void")
    }
}

/// Seconds of a span; a month has 30 days.
fn seconds_of(span: IntervalMonthDayNano) -> f64 {
    let days = f64::from(span.months) * 30.0 + f64::from(span.days);
    days * 86_400.0 + span.nanoseconds as f64 / 1e9
}

/// How long each row sleeps, one after the other; a row with NULL does not, nor one of a time that is over.
fn durations(array: &dyn Array) -> Result<Vec<Option<Duration>>> {
    let seconds: Vec<Option<f64>> = match array.data_type() {
        DataType::Interval(_) => {
            let spans = array.as_primitive::<IntervalMonthDayNanoType>();
            spans.iter().map(|span| span.map(seconds_of)).collect()
        }
        _ => {
            let numbers = cast(array, &DataType::Float64)?;
            numbers.as_primitive::<Float64Type>().iter().collect()
        }
    };
    let duration = |seconds: f64| {
        let most = Duration::MAX;
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(most)
    };
    Ok(seconds.into_iter().map(|s| s.map(duration)).collect())
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(Self::kind().data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Self::kind().field(self.name)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::unsupported(format!("{} cannot be called here", self.name)).into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(args.number_rows)?;
        let durations = durations(&times)?;
        for duration in durations.iter().flatten() {
            tokio::time::sleep(*duration).await;
        }
        let answers = durations.iter().map(|d| d.map(|_| ""));
        Ok(ColumnarValue::Array(Arc::new(
            answers.collect::<StringArray>(),
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::Float64Array;

    #[test]
    fn times_are_read_whatever_they_are() {
        let seconds = [Some(0.25), Some(-1.0), None, Some(f64::NAN), Some(1e300)];
        let found = durations(&Float64Array::from(seconds.to_vec())).unwrap();
        assert_eq!(found[0], Some(Duration::from_millis(250)));
        assert_eq!(found[1], Some(Duration::ZERO));
        assert_eq!(found[2], None);
        assert_eq!(found[3], Some(Duration::ZERO));
        assert_eq!(found[4], Some(Duration::MAX));
    }
}
