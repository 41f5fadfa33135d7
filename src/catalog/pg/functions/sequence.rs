//! Functions of sequences. `nextval` gives each row a number of its own, also where its argument is one for all rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{Call, Definition, Gives, Value};
use crate::catalog::pg::context::PgContext;
use crate::catalog::pg::objects::{Relation, Source, quoted_name};
use crate::catalog::pg::oid;
use crate::error::{Error, sqlstate};
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::schema::SequenceId;
use crate::storage::sequence::Sequence;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("currval", 1..=1, Gives::Int8, current).volatile(),
    Definition::new("lastval", 0..=0, Gives::Int8, last).volatile(),
    Definition::new("setval", 2..=3, Gives::Int8, set).volatile(),
    Definition::new("pg_get_serial_sequence", 2..=2, Gives::Text, serial),
    Definition::new("pg_sequence_last_value", 1..=1, Gives::Int8, last_value).volatile(),
];

/// The functions that are no [`Definition`].
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    [ScalarUDF::new_from_impl(NextValue::new())].into_iter()
}

/// The sequence that an argument names or has the OID of.
///
/// # Errors
/// 42P01 where there is none, 42809 for another relation.
fn sequence(call: &Call<'_>, place: usize) -> Result<Arc<Sequence>> {
    if let Some(oid) = call.oid(place) {
        // Of defaults: all names of the database need not be looked at for them.
        let mut all = call.context.snapshot().sequences();
        if let Some(found) = all.find(|s| oid::sequence(s.id) == oid) {
            return Ok(Arc::clone(found));
        }
    }
    match call.relation(place)? {
        Some(Relation {
            source: Source::Sequence(sequence),
            ..
        }) => Ok(Arc::clone(sequence)),
        Some(relation) => {
            let message = format!("\"{}\" is not a sequence", relation.name);
            Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message).into())
        }
        None => {
            let name = call.text(place).unwrap_or_default();
            let message = format!("could not open relation with OID {name}");
            Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message).into())
        }
    }
}

/// That the user has one of the privileges on the sequence, or may insert into the collection that it belongs to.
///
/// # Errors
/// 42501.
fn check(context: &PgContext, sequence: &Sequence, privileges: &[Privilege]) -> Result<()> {
    let rights = Rights::new(context.snapshot(), context.user.current());
    let object = Object::Sequence(sequence.id);
    let inserts = sequence.owner.is_some_and(|owner| {
        let collection = Object::Collection(owner.collection);
        rights.may(&collection, Privilege::Insert)
    });
    if inserts || privileges.iter().any(|p| rights.may(&object, *p)) {
        return Ok(());
    }
    let name = &sequence.name.name;
    Err(Error::denied(format!("permission denied for sequence {name}")).into())
}

fn current(call: &Call<'_>) -> Result<Value> {
    let sequence = sequence(call, 0)?;
    check(
        call.context,
        &sequence,
        &[Privilege::Select, Privilege::Usage],
    )?;
    let given = call.context.sequences.given_by(sequence.id);
    let given = given.ok_or_else(|| {
        let name = &sequence.name.name;
        let message = format!("currval of sequence \"{name}\" is not yet defined in this session");
        Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    })?;
    Ok(given.into())
}

fn last(call: &Call<'_>) -> Result<Value> {
    let given = call.context.sequences.last_given();
    let given = given.ok_or_else(|| {
        let message = "lastval is not yet defined in this session";
        Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    })?;
    Ok(given.into())
}

fn set(call: &Call<'_>) -> Result<Value> {
    let sequence = sequence(call, 0)?;
    check(call.context, &sequence, &[Privilege::Update])?;
    let Some(number) = call.int(1) else {
        let message = "setval takes a whole number";
        return Err(Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message).into());
    };
    let is_called = call.len() < 3 || call.bool(2) == Some(true);
    call.context.sequences.set(sequence.id, number, is_called)?;
    Ok(number.into())
}

fn serial(call: &Call<'_>) -> Result<Value> {
    let Some(relation) = call.relation(0)? else {
        return Ok(Value::Null);
    };
    let name = call.text(1).unwrap_or_default();
    let collection = relation.collection();
    let Some((collection, column)) = collection.and_then(|c| Some((c, c.schema.column(&name)?)))
    else {
        let message = format!(
            "column \"{name}\" of relation \"{}\" does not exist",
            relation.name
        );
        return Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message).into());
    };
    let snapshot = call.context.snapshot();
    let sequence = snapshot.owned_sequence(collection.id, column.id);
    let qualified = sequence.map(|s| match quoted_name(&s.name) {
        name if name.contains('.') => name,
        name => format!("{}.{name}", s.name.schema),
    });
    Ok(qualified.into())
}

fn last_value(call: &Call<'_>) -> Result<Value> {
    let sequence = sequence(call, 0)?;
    let position = call.context.sequences.position(&sequence);
    Ok(position.is_called.then_some(position.last).into())
}

/// `nextval`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextValue {
    signature: Signature,
}

impl NextValue {
    fn new() -> Self {
        let signature = Signature::any(1, Volatility::Volatile);
        Self { signature }
    }

    /// As [`ScalarUDFImpl::invoke_with_args`], in a statement that knows its session by `context`.
    ///
    /// # Errors
    /// 42P01 where there is no such sequence, 42501 for who may not, 2200H when it has no more numbers.
    pub fn invoke_in(
        &self,
        context: &PgContext,
        args: &ScalarFunctionArgs,
    ) -> Result<ColumnarValue> {
        let sequences = &context.sequences;
        let numbers: ArrayRef = match &args.args[0] {
            ColumnarValue::Scalar(one) => match Self::sequence_of(args, context, one.clone())? {
                Some(id) => {
                    let numbers = sequences.next(id, args.number_rows)?;
                    Arc::new(Int64Array::from(numbers))
                }
                None => return Ok(ColumnarValue::Scalar(ScalarValue::Int64(None))),
            },
            ColumnarValue::Array(rows) => {
                let number = |row| -> Result<Option<i64>> {
                    let argument = ScalarValue::try_from_array(rows, row)?;
                    let id = Self::sequence_of(args, context, argument)?;
                    let Some(id) = id else { return Ok(None) };
                    Ok(sequences.next(id, 1)?.first().copied())
                };
                let numbers = (0..args.number_rows).map(number);
                Arc::new(numbers.collect::<Result<Int64Array>>()?)
            }
        };
        Ok(ColumnarValue::Array(numbers))
    }

    fn sequence_of(
        args: &ScalarFunctionArgs,
        context: &PgContext,
        argument: ScalarValue,
    ) -> Result<Option<SequenceId>> {
        if argument.is_null() {
            return Ok(None);
        }
        let call = Call {
            context,
            config: &args.config_options,
            arguments: &[argument],
            fields: &args.arg_fields,
        };
        let sequence = sequence(&call, 0)?;
        check(context, &sequence, &[Privilege::Usage, Privilege::Update])?;
        Ok(Some(sequence.id))
    }
}

impl ScalarUDFImpl for NextValue {
    fn name(&self) -> &str {
        "nextval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let config = Arc::clone(&args.config_options);
        self.invoke_in(PgContext::of(&config)?, &args)
    }
}
