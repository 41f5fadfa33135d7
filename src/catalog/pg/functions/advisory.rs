//! `pg_advisory_lock` and its like.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type, Int64Type};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::Kind;
use crate::catalog::advisory::{Key, Mode};
use crate::catalog::pg::context::PgContext;
use crate::error::Error;

/// What a function does with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Lock,
    TryLock,
    Unlock,
    UnlockAll,
}

/// Until when a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    Session,
    Transaction,
}

const FUNCTIONS: [(&str, Action, Scope, Mode); 11] = {
    use Action::{Lock, TryLock, Unlock, UnlockAll};
    use Mode::{Exclusive, Shared};
    use Scope::{Session, Transaction};
    [
        ("pg_advisory_lock", Lock, Session, Exclusive),
        ("pg_advisory_lock_shared", Lock, Session, Shared),
        ("pg_advisory_xact_lock", Lock, Transaction, Exclusive),
        ("pg_advisory_xact_lock_shared", Lock, Transaction, Shared),
        ("pg_try_advisory_lock", TryLock, Session, Exclusive),
        ("pg_try_advisory_lock_shared", TryLock, Session, Shared),
        ("pg_try_advisory_xact_lock", TryLock, Transaction, Exclusive),
        (
            "pg_try_advisory_xact_lock_shared",
            TryLock,
            Transaction,
            Shared,
        ),
        ("pg_advisory_unlock", Unlock, Session, Exclusive),
        ("pg_advisory_unlock_shared", Unlock, Session, Shared),
        ("pg_advisory_unlock_all", UnlockAll, Session, Exclusive),
    ]
};

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    FUNCTIONS.into_iter().map(|(name, action, scope, mode)| {
        let signatures = match action {
            Action::UnlockAll => vec![TypeSignature::Nullary],
            _ => vec![TypeSignature::Any(1), TypeSignature::Any(2)],
        };
        let function = Advisory {
            name,
            action,
            scope,
            mode,
            signature: Signature::one_of(signatures, Volatility::Volatile),
        };
        AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf()
    })
}

/// A function that locks or unlocks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Advisory {
    name: &'static str,
    action: Action,
    scope: Scope,
    mode: Mode,
    signature: Signature,
}

impl Advisory {
    fn kind(&self) -> Kind {
        match self.action {
            Action::TryLock | Action::Unlock => Kind::Bool,
            Action::Lock | Action::UnlockAll => Kind::Text("void"),
        }
    }

    /// Does it for one key; whether it could be done.
    async fn act(&self, context: &PgContext, key: Key) -> bool {
        let (locks, mode) = (&context.locks, self.mode);
        let held = match (self.action, self.scope) {
            (Action::Lock, Scope::Session) => {
                locks.lock(key, mode).await;
                return true;
            }
            (Action::TryLock, Scope::Session) => return locks.try_lock(key, mode),
            (Action::Unlock | Action::UnlockAll, _) => return locks.unlock(key, mode),
            (Action::Lock, Scope::Transaction) => Some(locks.hold(key, mode).await),
            (Action::TryLock, Scope::Transaction) => locks.try_hold(key, mode),
        };
        let taken = held.is_some();
        // Without a transaction the statement is one, and ends.
        if let (Some(held), Some(transaction)) = (held, context.sequences.transaction()) {
            transaction.hold(held);
        }
        taken
    }
}

/// The key of each row; none where an argument is NULL.
fn keys(arguments: &[ArrayRef]) -> Result<Vec<Option<Key>>> {
    match arguments {
        [one] => {
            let numbers = cast(one, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>().iter();
            Ok(numbers.map(|n| n.map(Key::One)).collect())
        }
        [first, second] => {
            let int = |array: &ArrayRef| Ok::<_, Error>(cast(array, &DataType::Int32)?);
            let (first, second) = (int(first)?, int(second)?);
            let pairs = first
                .as_primitive::<Int32Type>()
                .iter()
                .zip(second.as_primitive::<Int32Type>());
            Ok(pairs.map(|(a, b)| Some(Key::Two(a?, b?))).collect())
        }
        _ => Ok(Vec::new()),
    }
}

impl ScalarUDFImpl for Advisory {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.kind().data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(self.kind().field(self.name)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::unsupported(format!("{} cannot be called here", self.name)).into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Advisory {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let context = PgContext::of(&args.config_options)?;
        let arguments = args.args.iter().map(|a| a.to_array(args.number_rows));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        if self.action == Action::UnlockAll {
            context.locks.unlock_all();
            let answers = vec![""; args.number_rows];
            return Ok(ColumnarValue::Array(Arc::new(StringArray::from(answers))));
        }
        let mut done: Vec<Option<bool>> = Vec::with_capacity(args.number_rows);
        for key in keys(&arguments)? {
            done.push(match key {
                Some(key) => Some(self.act(context, key).await),
                None => None,
            });
        }
        let answers: Arc<dyn Array> = match self.kind() {
            Kind::Bool => Arc::new(BooleanArray::from(done)),
            _ => {
                let answers = done.into_iter().map(|d| d.map(|_| ""));
                Arc::new(answers.collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(answers))
    }
}
