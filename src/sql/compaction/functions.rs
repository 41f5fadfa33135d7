//! `compact()` and `compaction_state()`: COMPACT and its state for drivers that only speak SELECT.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result as DataFusionResult, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::{submit, unknown_job};
use crate::catalog::clustering::qualified;
use crate::compaction::policy::{JobOptions, Request};
use crate::error::{Error, Result};
use crate::sql::session::{Inner, Session};
use crate::sql::statement::Compact;
use crate::storage::change::JobKind;
use crate::storage::schema::JobId;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Compact,
    State,
}

impl Kind {
    /// The names and types of the arguments; all but the first may be left out.
    fn parameters(self) -> &'static [(&'static str, DataType)] {
        match self {
            Self::Compact => &[
                ("collection", DataType::Utf8),
                ("clustering", DataType::Boolean),
                ("full", DataType::Boolean),
            ],
            Self::State => &[("compaction_id", DataType::Int64)],
        }
    }
}

/// A function about the compactions of one session's database.
#[derive(Debug)]
struct CompactionFunction {
    kind: Kind,
    /// The session owns the context that owns this.
    session: Weak<Inner>,
    signature: Signature,
}

/// The functions of a session: `compact(collection [, clustering [, full]])` answers the id of a job that it starts,
/// `compaction_state(id)` the state of one. Arguments can be named.
pub(in crate::sql) fn functions(session: &Weak<Inner>) -> [ScalarUDF; 2] {
    [Kind::Compact, Kind::State].map(|kind| {
        let names: Vec<&str> = kind.parameters().iter().map(|(name, _)| *name).collect();
        let signature = Signature::user_defined(Volatility::Volatile);
        ScalarUDF::from(CompactionFunction {
            kind,
            session: Weak::clone(session),
            signature: signature
                .with_parameter_names(names)
                .expect("invariant: the names of parameters differ"),
        })
    })
}

impl PartialEq for CompactionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.session.ptr_eq(&other.session)
    }
}

impl Eq for CompactionFunction {}

impl Hash for CompactionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for CompactionFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Compact => "compact",
            Kind::State => "compaction_state",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let parameters = self.kind.parameters();
        if given.is_empty() || given.len() > parameters.len() {
            return plan_err!("{} takes 1 to {} arguments", self.name(), parameters.len());
        }
        for ((name, wanted), given) in parameters.iter().zip(given) {
            if !is_taken(wanted, given) {
                return plan_err!("{name} of {} is no {given}", self.name());
            }
        }
        let types = parameters.iter().map(|(_, data_type)| data_type.clone());
        Ok(types.take(given.len()).collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.kind {
            Kind::Compact => DataType::Int64,
            Kind::State => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let session = self.session.upgrade();
        let inner = session.ok_or_else(|| Error::internal("the session is closed"))?;
        let session = Session { inner };
        let scalars = args.args.iter();
        let constant = scalars
            .clone()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = scalars.map(|a| a.to_array(rows));
        let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
        let values: ArrayRef = match self.kind {
            Kind::Compact => {
                let ids = (0..rows).map(|row| compact(&session, &columns, row));
                Arc::new(Int64Array::from(ids.collect::<Result<Vec<_>>>()?))
            }
            Kind::State => {
                let states = (0..rows).map(|row| state(&session, &columns, row));
                Arc::new(StringArray::from(states.collect::<Result<Vec<_>>>()?))
            }
        };
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
            false => ColumnarValue::Array(values),
        })
    }
}

/// Whether PostgreSQL takes an argument of that type without a cast: texts are how untyped literals come.
fn is_taken(wanted: &DataType, given: &DataType) -> bool {
    match given {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Boolean => *wanted == DataType::Boolean,
        given => *wanted == DataType::Int64 && given.is_integer(),
    }
}

/// Starts a job for the row; NULL where an argument is.
fn compact(session: &Session, columns: &[ArrayRef], row: usize) -> Result<Option<i64>> {
    let Some(name) = text(columns, row).filter(|_| columns.iter().all(|c| c.is_valid(row))) else {
        return Ok(None);
    };
    let is_on = |place: usize| {
        let column = columns.get(place).map(|c| c.as_boolean());
        column.is_some_and(|c| c.value(row))
    };
    let (clustering, full) = (is_on(1), is_on(2));
    let compact = Compact {
        name: Some(object_name(name)),
        clustering: clustering || full,
        full,
        ..Compact::default()
    };
    let request = Request {
        kind: match compact.clustering {
            true => JobKind::Cluster,
            false => JobKind::Merge,
        },
        options: JobOptions {
            full,
            ..JobOptions::default()
        },
    };
    let session = session.clone();
    // The answer waits for the log, as a commit does; a thread of its own does not care where we are called.
    let submitting = std::thread::spawn(move || {
        futures::executor::block_on(submit(&session, &compact, &request))
    });
    let ended = submitting.join();
    let jobs = ended.map_err(|_| Error::internal("the request for a compaction panicked"))??;
    Ok(jobs.first().map(|(id, _)| id.0 as i64))
}

/// The name as it was given, so that it is looked up along the search path if it has no schema.
fn object_name(text: &str) -> ObjectName {
    let quoted = |part: String| Ident::with_quote('"', part);
    let name = qualified(text);
    match text.contains('.') {
        true => ObjectName::from(vec![quoted(name.schema), quoted(name.name)]),
        false => ObjectName::from(vec![quoted(name.name)]),
    }
}

fn text(columns: &[ArrayRef], row: usize) -> Option<&str> {
    let column = columns.first()?.as_string::<i32>();
    column.is_valid(row).then(|| column.value(row))
}

fn state(session: &Session, columns: &[ArrayRef], row: usize) -> Result<Option<&'static str>> {
    let ids = columns.first().map(|c| c.as_primitive::<Int64Type>());
    let Some(ids) = ids.filter(|ids| ids.is_valid(row)) else {
        return Ok(None);
    };
    let id = JobId(u64::try_from(ids.value(row)).unwrap_or(u64::MAX));
    let snapshot = session.newest();
    let job = snapshot.job(id).ok_or_else(|| unknown_job(id))?;
    Ok(Some(job.state.as_str()))
}
