//! Parameters of statements: their types, inferred as Postgres does, and their values, put into plans.

mod array;
mod infer;
mod values;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use shelfmark_udfs::{VectorType, coerce_to_vector};

use crate::catalog::pg::reg_type_of;
use crate::catalog::pg_type::type_of;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::convert;
use crate::storage::schema::{FIELD_ID_KEY, SQL_TYPE_KEY};

pub(super) use self::array::ArrayElements;
pub(super) use self::values::share_parameter_types;

/// The most parameters of a statement: the wire protocol counts them in 16 bits.
pub(super) const PARAMETERS_MAX: usize = u16::MAX as usize;

/// What is known of the types of a statement's parameters; the first is `$1`.
#[derive(Debug, Clone, Default)]
pub(super) struct Types {
    /// By place, whether the statement has the parameter or the client spoke of it: below the last there may be gaps.
    mentioned: Vec<bool>,
    fields: Vec<Option<FieldRef>>,
}

impl Types {
    /// What the client said; NULL's type says nothing.
    pub(super) fn declared(types: &[Option<FieldRef>]) -> Self {
        let mut known = Self::default();
        for (at, field) in types.iter().enumerate() {
            known.mention(at);
            if let Some(field) = field.as_ref().filter(|f| !f.data_type().is_null()) {
                known.set(at, field);
            }
        }
        known
    }

    /// Types that are all known.
    pub(super) fn of(fields: &[FieldRef]) -> Self {
        Self {
            mentioned: vec![true; fields.len()],
            fields: fields.iter().cloned().map(Some).collect(),
        }
    }

    /// The first parameter that the statement or the client spoke of.
    pub(super) fn first_mentioned(&self) -> Option<usize> {
        self.mentioned.iter().position(|m| *m)
    }

    /// The fields, for DataFusion's planner.
    pub(super) fn fields(&self) -> Vec<Option<FieldRef>> {
        self.fields.clone()
    }

    fn get(&self, at: usize) -> Option<&FieldRef> {
        self.fields.get(at)?.as_ref()
    }

    fn mention(&mut self, at: usize) {
        if self.fields.len() <= at {
            self.fields.resize(at + 1, None);
            self.mentioned.resize(at + 1, false);
        }
        self.mentioned[at] = true;
    }

    fn set(&mut self, at: usize, field: &Field) {
        self.mention(at);
        self.fields[at] = Some(parameter_field(at, field));
    }

    /// Takes over what the places of parameters in a plan say about their types. Whether something was new: the plan
    /// must be made again then, because it was made without.
    ///
    /// # Errors
    /// 42P02 for `$0`, 54023 for too many parameters.
    pub(super) fn learn(&mut self, plan: &LogicalPlan) -> Result<bool> {
        let found = infer::infer(plan, self)?;
        let mut any = false;
        for (at, field) in found.mentioned {
            self.mention(at);
            if let (None, Some(field)) = (self.get(at), &field) {
                self.set(at, field);
                any = true;
            }
        }
        if any {
            return Ok(true);
        }
        // What is only shown is text, once nothing else is known.
        for at in found.shown {
            if self.get(at).is_none() {
                self.set(at, &Field::new("", DataType::Utf8, true));
                any = true;
            }
        }
        Ok(any)
    }

    /// Takes over what is known of parameters that no plan has, where the client has not said other.
    pub(super) fn expect(&mut self, found: &[(usize, FieldRef)]) {
        for (at, field) in found {
            self.mention(*at);
            if self.get(*at).is_none() {
                self.set(*at, field);
            }
        }
    }

    /// All types.
    ///
    /// # Errors
    /// 42P18 when one could not be inferred.
    pub(super) fn all(&self) -> Result<Vec<FieldRef>> {
        let known = self.fields.iter().enumerate().map(|(at, field)| {
            field.clone().ok_or_else(|| {
                let message = format!("could not determine data type of parameter ${}", at + 1);
                Error::invalid(sqlstate::INDETERMINATE_DATATYPE, message)
            })
        });
        known.collect()
    }
}

/// Takes the length of `varchar(20)` or the digits of `timestamp(3)` from the name of a type: a parameter beside such a
/// value may be any, and what is stored is cut or refused by the column.
fn without_limit(name: &mut String) {
    const LIMITED: [&str; 8] = [
        "bit(",
        "varbit(",
        "varchar(",
        "bpchar(",
        "time(",
        "timestamp(",
        "timestamptz(",
        "interval(",
    ];
    if LIMITED.iter().any(|limited| name.starts_with(limited))
        && let (Some(start), Some(end)) = (name.find('('), name.find(')'))
    {
        name.replace_range(start..=end, "");
    }
}

/// A parameter of the type of `like`, which may be a column.
fn parameter_field(at: usize, like: &Field) -> FieldRef {
    let mut metadata = like.metadata().clone();
    metadata.remove(FIELD_ID_KEY);
    if let Some(name) = metadata.get_mut(SQL_TYPE_KEY) {
        without_limit(name);
    }
    let name = format!("${}", at + 1);
    let data_type = match like.data_type() {
        // Clients send names, which are looked up when the statement runs.
        _ if reg_type_of(like).is_some() => DataType::Utf8,
        // Functions like other texts best; ours are of one kind.
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other.clone(),
    };
    let field = Field::new(name, data_type, true);
    // A name that says no more than the Arrow type would tell the parameter from literals beside it.
    let named = field.clone().with_metadata(metadata.clone());
    if type_of(&named) == type_of(&field) {
        metadata.remove(SQL_TYPE_KEY);
    }
    Arc::new(field.with_metadata(metadata))
}

/// The place of a parameter by its name, `$1` at 0.
///
/// # Errors
/// 42P02 for `$0`, 54023 for a number too large, 42601 for a name that is no number.
pub(super) fn place_of(id: &str) -> Result<usize> {
    let digits = id.trim_start_matches('$');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!("syntax error at or near \"{id}\"");
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    match digits.parse::<usize>() {
        Ok(0) => Err(Error::not_found(
            sqlstate::UNDEFINED_PARAMETER,
            "there is no parameter $0",
        )),
        Ok(n) if n <= PARAMETERS_MAX => Ok(n - 1),
        _ => {
            let message = format!("number of parameters must be between 0 and {PARAMETERS_MAX}");
            Err(Error::limit(sqlstate::TOO_MANY_ARGUMENTS, message))
        }
    }
}

/// The values as the types of their parameters; texts are read, times without a zone on the zone's clock.
///
/// # Errors
/// 08P01 for another number of values, and whatever the casts refuse.
pub(super) fn coerce(
    fields: &[FieldRef],
    values: Vec<ScalarValue>,
    zone: &Zone,
) -> Result<Vec<ScalarValue>> {
    if fields.len() != values.len() {
        let message = format!(
            "bind message supplies {} parameters, but the prepared statement requires {}",
            values.len(),
            fields.len()
        );
        return Err(Error::invalid(sqlstate::PROTOCOL_VIOLATION, message));
    }
    let values = fields.iter().zip(values);
    values
        .map(|(field, value)| cast(field, value, zone))
        .collect()
}

fn cast(field: &Field, value: ScalarValue, zone: &Zone) -> Result<ScalarValue> {
    let target = field.data_type();
    if value.data_type() == *target {
        return Ok(value);
    }
    if value.is_null() {
        return Ok(ScalarValue::try_from(target)?);
    }
    let text = value.try_as_str().flatten();
    match (VectorType::of(target), text) {
        (Some(vector), Some(text)) => {
            match coerce_to_vector(lit(text), vector, &DFSchema::empty())? {
                Expr::Literal(value, _) => Ok(value),
                _ => Err(Error::internal("the text of a vector is no constant")),
            }
        }
        (None, Some(_)) => convert(&value, field, zone),
        _ if value.data_type().is_temporal() && target.is_temporal() => {
            convert(&value, field, zone)
        }
        // Arrow's cast makes no vectors of the elements.
        (None, _) if target.is_list() => convert(&value, field, zone),
        _ => Ok(value.cast_to(target)?),
    }
}

/// Puts the values in the places of the parameters. The types of the plan stay: the values have those of the
/// parameters.
///
/// # Errors
/// 42P02 for a parameter without a value.
pub(super) fn bind(plan: LogicalPlan, values: &[ScalarValue]) -> Result<LogicalPlan> {
    let is_parameter = |expr: &Expr| matches!(expr, Expr::Placeholder(_));
    Ok(replace(plan, &is_parameter, &|expr| {
        bind_one(expr, values)
    })?)
}

/// Replaces what `is_open` in all expressions of a plan, whose columns keep their names.
pub(super) fn replace(
    plan: LogicalPlan,
    is_open: &dyn Fn(&Expr) -> bool,
    with: &dyn Fn(Expr) -> DataFusionResult<Transformed<Expr>>,
) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|plan| {
        // The columns of other nodes do not have the names of expressions, and these must stay what they are.
        let names = match &plan {
            LogicalPlan::Extension(_) => None,
            plan => Some(NamePreserver::new(plan)),
        };
        plan.map_expressions(|expr| {
            if !expr.exists(|e| Ok(is_open(e)))? {
                return Ok(Transformed::no(expr));
            }
            let name = names.as_ref().map(|names| names.save(&expr));
            let replaced = expr.transform_up(with)?;
            Ok(match name {
                Some(name) => replaced.update_data(|expr| name.restore(expr)),
                None => replaced,
            })
        })
    })?;
    Ok(replaced.data)
}

/// Whether an expression has a parameter outside of its subqueries.
pub(super) fn has_parameter(expr: &Expr) -> DataFusionResult<bool> {
    expr.exists(|e| Ok(matches!(e, Expr::Placeholder(_))))
}

fn bind_one(expr: Expr, values: &[ScalarValue]) -> DataFusionResult<Transformed<Expr>> {
    if let Some(literal) = whole_number(&expr) {
        return Ok(Transformed::yes(literal));
    }
    let Expr::Placeholder(Placeholder { id, .. }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    match values.get(place_of(id)?) {
        Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
        None => Err(no_parameter(id).into()),
    }
}

/// The value of a cast between integers: LIMIT takes a literal once its parameter is known, as in `LIMIT $1::int`.
fn whole_number(expr: &Expr) -> Option<Expr> {
    let Expr::Cast(cast) = expr else {
        return None;
    };
    let Expr::Literal(value, _) = cast.expr.as_ref() else {
        return None;
    };
    let to = cast.field.data_type();
    let is_plain = cast.field.metadata().is_empty();
    let whole = is_plain && to.is_integer() && value.data_type().is_integer();
    let value = whole.then(|| value.cast_to(to).ok()).flatten()?;
    Some(Expr::Literal(value, None))
}

/// 42P02.
pub(super) fn no_parameter(id: &str) -> Error {
    let message = format!("there is no parameter {id}");
    Error::not_found(sqlstate::UNDEFINED_PARAMETER, message)
}
