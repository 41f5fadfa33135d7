//! What the pruner understands of a predicate.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, sort};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::utils::normalize_float_zero_scalar;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr,
    IsNullExpr, LikeExpr, Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::catalog::infinity::MomentCast;
use crate::storage::schema::{FieldId, field_id};

/// A predicate as far as statistics can decide it.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// Nothing is known of it: true for some rows, false for others.
    Unknown,
    /// The same for every row; `None` is NULL.
    Constant(Option<bool>),
    /// `NOT a`
    Not(Box<Condition>),
    /// `a AND b`
    And(Box<Condition>, Box<Condition>),
    /// `a OR b`
    Or(Box<Condition>, Box<Condition>),
    /// One of these, one does not know which for which row (the branches of a CASE).
    Either(Vec<Condition>),
    /// `a IS TRUE` (or `a IS FALSE`)
    Is(Box<Condition>, bool),
    /// `key < literal` and the like.
    Compare(Operand, Comparison, ScalarValue),
    /// `key IS NOT DISTINCT FROM literal`
    Same(Operand, ScalarValue),
    /// `key IS NULL`
    IsNull(Operand),
    /// `key IN (..)`
    In(Operand, ValueList),
    /// `key LIKE 'prefix..'`
    Prefix(Operand, Prefix),
}

/// The comparisons that are not the negation of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Lt,
    LtEq,
}

/// A column, maybe under casts that keep the order of its values.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub field: FieldId,
    /// The casts, innermost first.
    pub casts: Vec<DataType>,
    /// Whether one of the casts can make NULL of a value.
    pub casts_to_null: bool,
    data_type: DataType,
}

/// The values of an IN list.
#[derive(Debug, Clone)]
pub(super) struct ValueList {
    /// In ascending order (NaN last), without NULL, zeros without sign.
    pub sorted: ArrayRef,
    pub has_null: bool,
    pub has_nan: bool,
}

/// What a LIKE pattern says about the beginning of a text.
#[derive(Debug, Clone)]
pub(super) struct Prefix {
    /// Every match is at least this.
    pub from: ScalarValue,
    /// Every match is below this; `None` when there is no such text.
    pub below: Option<ScalarValue>,
    /// Whether every text between the two is a match.
    pub is_all: bool,
}

impl Condition {
    /// What is understood of `expr`, whose columns are those of `schema`.
    pub fn new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Self {
        Self::try_new(expr, schema).unwrap_or(Self::Unknown)
    }

    fn try_new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        if let Some(constant) = constant(expr) {
            return Some(Self::Constant(constant));
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return Self::from_binary(binary, schema);
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Some(Self::new(not.arg(), schema).not());
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
            return Operand::new(is_null.arg(), schema).map(Self::IsNull);
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>() {
            let operand = Operand::new(is_not_null.arg(), schema)?;
            return Some(Self::IsNull(operand).not());
        }
        if let Some(in_list) = expr.downcast_ref::<InListExpr>() {
            return Self::from_in_list(in_list, schema);
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            return Self::from_like(like, schema);
        }
        if let Some(dynamic) = expr.downcast_ref::<DynamicFilterPhysicalExpr>() {
            return Some(Self::new(&dynamic.current().ok()?, schema));
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return Some(Self::from_case(case, schema));
        }
        if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return Self::from_function(function, schema);
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return Self::from_literal(literal.value());
        }
        let operand = Operand::new(expr, schema)?;
        (operand.data_type == DataType::Boolean)
            .then(|| Self::Compare(operand, Comparison::Eq, ScalarValue::Boolean(Some(true))))
    }

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether some part of it asks for single values of a column, which bloom filters know.
    pub fn looks_up(&self) -> bool {
        match self {
            Self::Compare(operand, Comparison::Eq, _)
            | Self::Same(operand, _)
            | Self::In(operand, _) => operand.casts.is_empty(),
            Self::And(a, b) | Self::Or(a, b) => a.looks_up() || b.looks_up(),
            Self::Not(a) | Self::Is(a, _) => a.looks_up(),
            Self::Either(branches) => branches.iter().any(Self::looks_up),
            _ => false,
        }
    }

    fn from_literal(value: &ScalarValue) -> Option<Self> {
        match value {
            ScalarValue::Boolean(value) => Some(Self::Constant(*value)),
            ScalarValue::Null => Some(Self::Constant(None)),
            _ => None,
        }
    }

    fn from_binary(binary: &BinaryExpr, schema: &Schema) -> Option<Self> {
        let both = || {
            let left = Box::new(Self::new(binary.left(), schema));
            (left, Box::new(Self::new(binary.right(), schema)))
        };
        match binary.op() {
            Operator::And => {
                let (left, right) = both();
                Some(Self::And(left, right))
            }
            Operator::Or => {
                let (left, right) = both();
                Some(Self::Or(left, right))
            }
            op => Self::from_comparison(binary, *op, schema),
        }
    }

    fn from_comparison(binary: &BinaryExpr, op: Operator, schema: &Schema) -> Option<Self> {
        let (key, op, literal) = match (literal(binary.left()), literal(binary.right())) {
            (None, Some(value)) => (binary.left(), op, value),
            (Some(value), None) => (binary.right(), op.swap()?, value),
            _ => return None,
        };
        if let Some(is) = Self::from_boolean_is(key, op, &literal, schema) {
            return Some(is);
        }
        if literal.is_null() && !is_distinct_operator(op) {
            return Some(Self::Constant(None));
        }
        let operand = Operand::new(key, schema)?;
        let value = operand.align(&literal)?;
        let compare = |comparison| Self::Compare(operand.clone(), comparison, value.clone());
        Some(match op {
            Operator::Eq => compare(Comparison::Eq),
            Operator::NotEq => compare(Comparison::Eq).not(),
            Operator::Lt => compare(Comparison::Lt),
            Operator::LtEq => compare(Comparison::LtEq),
            Operator::Gt => compare(Comparison::LtEq).not(),
            Operator::GtEq => compare(Comparison::Lt).not(),
            Operator::IsNotDistinctFrom if value.is_null() => Self::IsNull(operand),
            Operator::IsDistinctFrom if value.is_null() => Self::IsNull(operand).not(),
            Operator::IsNotDistinctFrom => Self::Same(operand, value),
            Operator::IsDistinctFrom => Self::Same(operand, value).not(),
            _ => return None,
        })
    }

    /// `a IS TRUE` and its kin, where `a` is itself a predicate: they come as `a IS [NOT] DISTINCT FROM true`.
    fn from_boolean_is(
        key: &Arc<dyn PhysicalExpr>,
        op: Operator,
        literal: &ScalarValue,
        schema: &Schema,
    ) -> Option<Self> {
        let ScalarValue::Boolean(Some(wanted)) = literal else {
            return None;
        };
        if Operand::new(key, schema).is_some() {
            return None;
        }
        let inner = Box::new(Self::new(key, schema));
        match op {
            Operator::IsNotDistinctFrom => Some(Self::Is(inner, *wanted)),
            Operator::IsDistinctFrom => Some(Self::Is(inner, *wanted).not()),
            _ => None,
        }
    }

    fn from_in_list(in_list: &InListExpr, schema: &Schema) -> Option<Self> {
        let operand = Operand::new(in_list.expr(), schema)?;
        let literals: Option<Vec<ScalarValue>> = in_list.list().iter().map(literal).collect();
        let condition = Self::In(operand.clone(), ValueList::new(&operand, &literals?)?);
        Some(if in_list.negated() {
            condition.not()
        } else {
            condition
        })
    }

    fn from_like(like: &LikeExpr, schema: &Schema) -> Option<Self> {
        if like.case_insensitive() {
            return None;
        }
        let pattern = literal(like.pattern())?;
        if pattern.is_null() {
            return Some(Self::Constant(None));
        }
        let pattern = pattern.try_as_str()??;
        let end = pattern.find(['%', '_', '\\']).unwrap_or(pattern.len());
        let rest = &pattern[end..];
        let operand = Operand::new(like.expr(), schema)?;
        let condition = if rest.is_empty() {
            let value = operand.align(&ScalarValue::from(pattern))?;
            Self::Compare(operand, Comparison::Eq, value)
        } else {
            let is_all = rest.bytes().all(|b| b == b'%');
            let prefix = Prefix::new(&operand, &pattern[..end], is_all)?;
            Self::Prefix(operand, prefix)
        };
        Some(if like.negated() {
            condition.not()
        } else {
            condition
        })
    }

    fn from_function(function: &ScalarFunctionExpr, schema: &Schema) -> Option<Self> {
        let [text, prefix] = function.args() else {
            return None;
        };
        if function.name() != "starts_with" {
            return None;
        }
        let prefix = literal(prefix)?;
        if prefix.is_null() {
            return Some(Self::Constant(None));
        }
        let operand = Operand::new(text, schema)?;
        let prefix = Prefix::new(&operand, prefix.try_as_str()??, true)?;
        Some(Self::Prefix(operand, prefix))
    }

    /// A CASE is one of its branches; without an ELSE it may be NULL too, which is neither true nor false.
    fn from_case(case: &CaseExpr, schema: &Schema) -> Self {
        let branches = case.when_then_expr().iter().map(|(_, then)| then);
        let all = branches.chain(case.else_expr());
        Self::Either(all.map(|branch| Self::new(branch, schema)).collect())
    }
}

fn is_distinct_operator(op: Operator) -> bool {
    matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// The value of a test of literals alone: nobody folds one whose literals were parameters.
fn constant(expr: &Arc<dyn PhysicalExpr>) -> Option<Option<bool>> {
    let is_test = expr.is::<BinaryExpr>() || expr.is::<IsNullExpr>() || expr.is::<IsNotNullExpr>();
    if !is_test
        || !expr
            .children()
            .into_iter()
            .all(|child| literal(child).is_some())
    {
        return None;
    }
    let no_row = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match expr.evaluate(&no_row).ok()? {
        ColumnarValue::Scalar(ScalarValue::Boolean(value)) => Some(value),
        _ => None,
    }
}

/// The value of a literal, also of what is computed of literals alone: nobody folds what had parameters.
fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Some(literal.value().clone());
    }
    let computes = expr.is::<CastExpr>()
        || expr.is::<TryCastExpr>()
        || expr.is::<BinaryExpr>()
        || expr.is::<NegativeExpr>()
        || expr.is::<ScalarFunctionExpr>();
    let operands = expr.children();
    if !computes || expr.is_volatile_node() || operands.is_empty() {
        return None;
    }
    let are_known = operands
        .into_iter()
        .all(|operand| literal(operand).is_some());
    let no_row = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match are_known.then(|| expr.evaluate(&no_row))?.ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}

impl Operand {
    fn new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            let field = schema.fields().get(column.index())?;
            return Some(Self {
                field: field_id(field)?,
                casts: Vec::new(),
                casts_to_null: false,
                data_type: field.data_type().clone(),
            });
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            let safe = cast.cast_options().safe;
            return Self::new(cast.expr(), schema)?.cast(cast.cast_type(), safe);
        }
        if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
            let cast = function.fun().inner().downcast_ref::<MomentCast>()?;
            return Self::new(function.args().first()?, schema)?.cast(cast.to(), false);
        }
        let cast = expr.downcast_ref::<TryCastExpr>()?;
        Self::new(cast.expr(), schema)?.cast(cast.cast_type(), true)
    }

    fn cast(mut self, to: &DataType, to_null: bool) -> Option<Self> {
        if !keeps_order(&self.data_type, to) {
            return None;
        }
        self.casts.push(to.clone());
        self.casts_to_null |= to_null;
        self.data_type = to.clone();
        Some(self)
    }

    /// The literal as a value of the operand's type, where that changes nothing of its order; else `None`.
    fn align(&self, value: &ScalarValue) -> Option<ScalarValue> {
        use ScalarValue as S;
        let value = match value {
            S::Dictionary(_, inner) => inner,
            value => value,
        };
        let aligned = match (value, &self.data_type) {
            (value, to) if value.data_type() == *to => value.clone(),
            (S::Null, to) => ScalarValue::try_from(to).ok()?,
            (S::Utf8(v) | S::LargeUtf8(v) | S::Utf8View(v), DataType::Utf8) => S::Utf8(v.clone()),
            (S::Utf8(v) | S::LargeUtf8(v) | S::Utf8View(v), DataType::LargeUtf8) => {
                S::LargeUtf8(v.clone())
            }
            (S::Utf8(v) | S::LargeUtf8(v) | S::Utf8View(v), DataType::Utf8View) => {
                S::Utf8View(v.clone())
            }
            (S::Binary(v) | S::LargeBinary(v) | S::BinaryView(v), DataType::Binary) => {
                S::Binary(v.clone())
            }
            (S::Binary(v) | S::LargeBinary(v) | S::BinaryView(v), DataType::BinaryView) => {
                S::BinaryView(v.clone())
            }
            (S::Decimal128(v, _, scale), DataType::Decimal128(precision, to)) if scale == to => {
                S::Decimal128(*v, *precision, *to)
            }
            (S::TimestampMicrosecond(v, Some(_)), DataType::Timestamp(unit, Some(zone)))
                if *unit == TimeUnit::Microsecond =>
            {
                S::TimestampMicrosecond(*v, Some(Arc::clone(zone)))
            }
            (S::TimestampNanosecond(v, Some(_)), DataType::Timestamp(unit, Some(zone)))
                if *unit == TimeUnit::Nanosecond =>
            {
                S::TimestampNanosecond(*v, Some(Arc::clone(zone)))
            }
            _ => return None,
        };
        (!is_odd_nan(&aligned)).then(|| normalize_float_zero_scalar(aligned))
    }
}

/// Whether casting never turns the order of two values round (values may become equal, NaN stays NaN).
fn keeps_order(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let text = |t: &T| matches!(t, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |t: &T| matches!(t, T::Binary | T::LargeBinary | T::BinaryView);
    let is_utc = |zone: &str| matches!(zone, "UTC" | "+00:00");
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if text(from) && text(to) => true,
        (from, to) if bytes(from) && bytes(to) => true,
        (from, to) if from.is_signed_integer() => {
            to.is_signed_integer()
                || matches!(to, T::Float32 | T::Float64)
                || matches!(to, T::Decimal128(_, scale) if *scale >= 0)
        }
        (T::Float32, T::Float64) => true,
        (T::Decimal128(_, a), T::Decimal128(_, b)) => b >= a,
        (T::Decimal128(..), T::Float64) => true,
        (T::Date32, T::Date64 | T::Timestamp(_, None)) => true,
        (T::Timestamp(_, a), T::Timestamp(_, b)) => a.is_some() == b.is_some(),
        (T::Timestamp(_, None), T::Date32) => true,
        (T::Timestamp(_, Some(zone)), T::Date32) => is_utc(zone),
        _ => false,
    }
}

/// A NaN other than the canonical one that we store: the total order tells them apart.
fn is_odd_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan() && v.to_bits() != f32::NAN.to_bits(),
        ScalarValue::Float64(Some(v)) => v.is_nan() && v.to_bits() != f64::NAN.to_bits(),
        _ => false,
    }
}

pub(super) fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _ => false,
    }
}

impl ValueList {
    fn new(operand: &Operand, literals: &[ScalarValue]) -> Option<Self> {
        let values: Option<Vec<ScalarValue>> = literals
            .iter()
            .filter(|v| !v.is_null())
            .map(|v| operand.align(v))
            .collect();
        let values = values?;
        let has_null = values.len() < literals.len();
        let has_nan = values.iter().any(is_nan);
        let array = if values.is_empty() {
            arrow::array::new_empty_array(&operand.data_type)
        } else {
            ScalarValue::iter_to_array(values).ok()?
        };
        let ascending = SortOptions::default();
        let sorted = sort(array.as_ref(), Some(ascending)).ok()?;
        debug_assert_eq!(sorted.null_count(), 0, "NULLs were taken out");
        Some(Self {
            sorted,
            has_null,
            has_nan,
        })
    }
}

impl Prefix {
    fn new(operand: &Operand, prefix: &str, is_all: bool) -> Option<Self> {
        let below = match next_text(prefix) {
            Some(next) => Some(operand.align(&ScalarValue::from(next))?),
            None => None,
        };
        Some(Self {
            from: operand.align(&ScalarValue::from(prefix))?,
            below,
            is_all,
        })
    }
}

/// The least text above every text that begins with `prefix`; `None` when there is none.
pub(super) fn next_text(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            char::MAX => continue,
            // The surrogates between these two are no characters.
            '\u{d7ff}' => '\u{e000}',
            last => char::from_u32(last as u32 + 1)?,
        };
        chars.push(next);
        return Some(chars.into_iter().collect());
    }
    None
}
