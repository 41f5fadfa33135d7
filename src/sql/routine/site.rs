//! Which function a call means, and the values that its parameters get.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use parking_lot::Mutex;

use super::body::Planned;
use super::calls::CallSite;
use super::find::{element_of, name_of_oid};
use super::resolve::{Candidate, Meaning, Slot, best, fit};
use crate::catalog::pg::coercion::UNKNOWN;
use crate::catalog::pg_type::type_of;
use crate::error::{Error, Result, sqlstate};
use crate::sql::access::requirements::require;
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::schema::FunctionId;

tokio::task_local! {
    /// The functions that are called in what is planned.
    static CALLED: Arc<Mutex<HashSet<FunctionId>>>;
}

/// What a future gives, and the functions that are called in what it plans.
pub(in crate::sql) async fn noting_calls<F: Future>(
    planning: F,
) -> (F::Output, HashSet<FunctionId>) {
    let called = Arc::new(Mutex::new(HashSet::new()));
    let planned = CALLED.scope(Arc::clone(&called), planning).await;
    let called = std::mem::take(&mut *called.lock());
    (planned, called)
}

/// The value as one of the field's type. NUMERICs keep their digits: those of parameters and results have any.
pub(super) fn coerced(value: Expr, wanted: &FieldRef, schema: &DFSchema) -> DataFusionResult<Expr> {
    let (_, field) = value.to_field(schema)?;
    let is_decimal = |of: &DataType| matches!(of, DataType::Decimal128(..));
    if is_decimal(wanted.data_type()) {
        let digits = match field.data_type() {
            DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Decimal128(10, 0),
            DataType::Int64 => DataType::Decimal128(19, 0),
            of if is_decimal(of) => return Ok(value),
            _ => wanted.data_type().clone(),
        };
        return Ok(Expr::Cast(Cast::new(Box::new(value), digits)));
    }
    let is_same = field.data_type() == wanted.data_type() && type_of(&field) == type_of(wanted);
    if is_same {
        return Ok(value);
    }
    if let Expr::Literal(literal, _) = &value
        && field.data_type().is_integer()
        && wanted.data_type().is_integer()
        && let Ok(literal) = literal.cast_to(wanted.data_type())
    {
        return Ok(Expr::Literal(literal, None));
    }
    let of = Field::clone(wanted).with_name("").with_nullable(true);
    Ok(Expr::Cast(Cast::new_from_field(
        Box::new(value),
        Arc::new(of),
    )))
}

/// Whether values of the field, which a literal or a parameter has, have no type of their own.
fn is_unknown(field: &Field) -> bool {
    field.metadata().is_empty() && (field.data_type().is_null() || field.data_type().is_string())
}

impl CallSite {
    /// What is called with arguments of these types, and what each of its parameters is given.
    ///
    /// # Errors
    /// 42883 for none, 42725 for several.
    pub(super) fn chosen(&self, oids: &[u32]) -> Result<(&Planned, Vec<Slot>)> {
        let mut fitting = Vec::new();
        for planned in &self.candidates {
            if let Some(slots) = fit(&planned.function, &self.names) {
                fitting.push((planned, slots));
            }
        }
        let candidates = fitting
            .iter()
            .map(|(planned, slots)| candidate(planned, slots, oids.len()));
        let candidates: Vec<Candidate> = candidates.collect();
        let chosen = match best(&candidates, oids) {
            Meaning::One(at) => fitting.swap_remove(at),
            Meaning::None => return Err(self.missing(oids)),
            Meaning::Several => {
                let message = format!("function {} is not unique", self.described(oids));
                let hint = "Could not choose a best candidate function. You might need to add explicit type casts.";
                return Err(Error::invalid(sqlstate::AMBIGUOUS_FUNCTION, message).with_hint(hint));
            }
        };
        self.check_execute(chosen.0)?;
        // Nobody need note it.
        let _ = CALLED.try_with(|called| called.lock().insert(chosen.0.function.id));
        Ok(chosen)
    }

    fn check_execute(&self, planned: &Planned) -> Result<()> {
        let Some(user) = self.user else {
            return Ok(());
        };
        let rights = Rights::new(&self.snapshot, user);
        let function = &planned.function;
        let object = Object::Function(function.id);
        require(&rights, &object, Privilege::Execute, &function.name.name)
    }

    fn missing(&self, oids: &[u32]) -> Error {
        let message = format!("function {} does not exist", self.described(oids));
        let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
        Error::not_found(sqlstate::UNDEFINED_FUNCTION, message).with_hint(hint)
    }

    fn described(&self, oids: &[u32]) -> String {
        let types = self.names.iter().zip(oids).map(|(name, oid)| {
            let of = name_of_oid(&self.snapshot, *oid);
            match name {
                Some(name) => format!("{name} => {of}"),
                None => of,
            }
        });
        format!("{}({})", self.name, types.collect::<Vec<_>>().join(", "))
    }

    /// The call with the values of its parameters.
    pub(super) fn call(&self, arguments: &[Expr], schema: &DFSchema) -> Result<Call<'_>> {
        let oids = arguments
            .iter()
            .map(|argument| oid_of_argument(argument, schema));
        let oids: Vec<u32> = oids.collect::<Result<_>>()?;
        let (planned, slots) = self.chosen(&oids)?;
        let mut values = Vec::with_capacity(slots.len());
        for (place, slot) in slots.iter().enumerate() {
            let field = &planned.parameters[place];
            let value = match slot {
                Slot::Given(at) => coerced(arguments[*at].clone(), field, schema)?,
                Slot::Default => planned.defaults[place].clone().ok_or_else(no_default)?,
                Slot::Rest(from) => array_of(&arguments[*from..], field, schema)?,
            };
            values.push(match &planned.checks[place] {
                Some(check) => check.call(vec![value]),
                None => value,
            });
        }
        Ok(Call { planned, values })
    }
}

fn no_default() -> Error {
    Error::internal("a parameter without a default is left out")
}

/// The arguments that are left as the array that the last parameter is.
fn array_of(arguments: &[Expr], field: &FieldRef, schema: &DFSchema) -> Result<Expr> {
    let DataType::List(element) = field.data_type() else {
        return Err(Error::internal("a variadic parameter is no array"));
    };
    let element = Arc::new(Field::new("", element.data_type().clone(), true));
    let elements = arguments.iter();
    let elements = elements.map(|argument| coerced(argument.clone(), &element, schema));
    let elements: Vec<Expr> = elements.collect::<DataFusionResult<_>>()?;
    let array = make_array(elements);
    let of = Field::clone(field).with_name("");
    Ok(Expr::Cast(Cast::new_from_field(
        Box::new(array),
        Arc::new(of),
    )))
}

fn candidate(planned: &Planned, slots: &[Slot], arguments: usize) -> Candidate {
    let mut types = vec![UNKNOWN; arguments];
    for (slot, oid) in slots.iter().zip(&planned.oids) {
        match slot {
            Slot::Given(at) => types[*at] = *oid,
            Slot::Rest(from) => types[*from..].fill(element_of(*oid).unwrap_or(*oid)),
            Slot::Default => {}
        }
    }
    Candidate {
        types,
        defaults: slots.iter().filter(|slot| **slot == Slot::Default).count(),
        is_variadic: slots.iter().any(|slot| matches!(slot, Slot::Rest(_))),
    }
}

/// The OID of an argument's type; that of literals and parameters without one is open.
fn oid_of_argument(argument: &Expr, schema: &DFSchema) -> Result<u32> {
    if let Expr::Placeholder(parameter) = argument
        && parameter.field.is_none()
    {
        return Ok(UNKNOWN);
    }
    let (_, field) = argument.to_field(schema)?;
    let is_literal = matches!(argument, Expr::Literal(..));
    Ok(oid_of_field(&field, is_literal))
}

/// The OID of the type of a field, which may be that of a literal.
pub(super) fn oid_of_field(field: &Field, is_literal: bool) -> u32 {
    match field.data_type().is_null() || is_literal && is_unknown(field) {
        true => UNKNOWN,
        false => type_of(field).oid,
    }
}

/// A call with the values of its function's parameters.
pub(super) struct Call<'a> {
    /// The function.
    pub planned: &'a Planned,
    /// The values, in the order of the parameters.
    pub values: Vec<Expr>,
}
