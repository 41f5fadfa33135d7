//! `current_setting()` and `set_config()`.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::name::Variable;
use super::statement::SetValue;
use crate::error::{Error, Result, sqlstate};
use crate::sql::session::{Inner, Session};

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    CurrentSetting,
    SetConfig,
}

/// A function of the variables of one session.
#[derive(Debug)]
struct VariableFunction {
    kind: Kind,
    /// The session owns the context that owns this.
    session: Weak<Inner>,
    signature: Signature,
}

/// The functions of a session.
pub fn functions(session: &Weak<Inner>) -> [ScalarUDF; 2] {
    let text = DataType::Utf8;
    let current = TypeSignature::OneOf(vec![
        TypeSignature::Exact(vec![text.clone()]),
        TypeSignature::Exact(vec![text.clone(), DataType::Boolean]),
    ]);
    let set = TypeSignature::Exact(vec![text.clone(), text, DataType::Boolean]);
    let function = |kind, signature| VariableFunction {
        kind,
        session: Weak::clone(session),
        // A kept plan reads the value of its time.
        signature: Signature::new(signature, Volatility::Volatile),
    };
    [
        function(Kind::CurrentSetting, current).into(),
        function(Kind::SetConfig, set).into(),
    ]
}

impl PartialEq for VariableFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.session.ptr_eq(&other.session)
    }
}

impl Eq for VariableFunction {}

impl Hash for VariableFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for VariableFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::CurrentSetting => "current_setting",
            Kind::SetConfig => "set_config",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let session = self.session.upgrade();
        let inner = session.ok_or_else(|| Error::internal("the session is closed"))?;
        let session = Session { inner };
        let scalars = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { args.number_rows };
        let arguments = Arguments::new(&args.args, rows)?;
        let evaluate = |row| match self.kind {
            Kind::CurrentSetting => current_setting(&session, &arguments, row),
            Kind::SetConfig => set_config(&session, &arguments, row),
        };
        let values = (0..rows).map(evaluate).collect::<Result<Vec<_>>>()?;
        match <[_; 1]>::try_from(values) {
            Ok([value]) if scalars => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(value))),
            Ok(values) => Ok(ColumnarValue::Array(Arc::new(StringArray::from(
                values.to_vec(),
            )))),
            Err(values) => Ok(ColumnarValue::Array(Arc::new(StringArray::from(values)))),
        }
    }
}

/// The arguments of all rows as texts.
struct Arguments {
    columns: Vec<StringArray>,
}

impl Arguments {
    fn new(arguments: &[ColumnarValue], rows: usize) -> DataFusionResult<Self> {
        let text = |argument: &ColumnarValue| {
            let array = argument.to_array(rows)?;
            Ok(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let columns = arguments
            .iter()
            .map(text)
            .collect::<DataFusionResult<_>>()?;
        Ok(Self { columns })
    }

    fn text(&self, place: usize, row: usize) -> Option<&str> {
        let column = self.columns.get(place)?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn is_true(&self, place: usize, row: usize) -> bool {
        self.text(place, row) == Some("true")
    }
}

fn current_setting(session: &Session, arguments: &Arguments, row: usize) -> Result<Option<String>> {
    let Some(name) = arguments.text(0, row) else {
        return Ok(None);
    };
    let value = Variable::find(name).and_then(|variable| session.shown(&variable));
    match value {
        Ok(value) => Ok(Some(value)),
        Err(_) if arguments.is_true(1, row) => Ok(None),
        Err(error) => Err(error),
    }
}

fn set_config(session: &Session, arguments: &Arguments, row: usize) -> Result<Option<String>> {
    let name = arguments.text(0, row).ok_or_else(|| {
        Error::invalid(
            sqlstate::NULL_VALUE_NOT_ALLOWED,
            "SET requires parameter name",
        )
    })?;
    let variable = Variable::find(name)?;
    let value = match arguments.text(1, row) {
        Some(value) => SetValue::Text(value.to_string()),
        None => SetValue::Default,
    };
    session.set_variable(name, &value, arguments.is_true(2, row))?;
    session.shown(&variable).map(Some)
}
