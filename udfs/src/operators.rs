//! pgvector's operators, planned as calls of this crate's functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::arithmetic::{Arithmetic, ArithmeticFunction};
use crate::bit_functions::BitDistanceFunction;
use crate::bit_operators::{BitFunction, BitOperation};
use crate::bit_type::BitType;
use crate::coerce::{cast_to_vector, parameter};
use crate::compare::{Comparison, ComparisonFunction};
use crate::distance::{DistanceFunction, shared_element};
use crate::error::VectorError;
use crate::kernels::{BitMetric, Metric};
use crate::signature::{literal_text, literal_vector};
use crate::sparse::SparseType;
use crate::sparse_functions::{SparseFunction, SparseOperation, ToSparseFunction};
use crate::types::{Element, VectorType, is_float_list, is_number_list, is_text};

/// What an operator means between vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VectorOperator {
    Distance(Metric),
    Arithmetic(Arithmetic),
    Comparison(Comparison),
}

impl VectorOperator {
    fn of(operator: &BinaryOperator) -> Option<Self> {
        use VectorOperator::{Arithmetic as Makes, Comparison as Compares, Distance};
        Some(match operator {
            BinaryOperator::LtDashGt => Distance(Metric::L2),
            BinaryOperator::Spaceship => Distance(Metric::Cosine),
            BinaryOperator::Custom(text) => Distance(metric_of(text)?),
            BinaryOperator::PGCustomBinaryOperator(parts) => Distance(metric_of(parts.last()?)?),
            BinaryOperator::Plus => Makes(Arithmetic::Add),
            BinaryOperator::Minus => Makes(Arithmetic::Subtract),
            BinaryOperator::Multiply => Makes(Arithmetic::Multiply),
            BinaryOperator::StringConcat => Makes(Arithmetic::Concat),
            BinaryOperator::Eq => Compares(Comparison::Equal),
            BinaryOperator::NotEq => Compares(Comparison::NotEqual),
            BinaryOperator::Lt => Compares(Comparison::Less),
            BinaryOperator::LtEq => Compares(Comparison::LessOrEqual),
            BinaryOperator::Gt => Compares(Comparison::Greater),
            BinaryOperator::GtEq => Compares(Comparison::GreaterOrEqual),
            _ => return None,
        })
    }

    fn call(self, left: Expr, right: Expr) -> Expr {
        let function = match self {
            VectorOperator::Distance(metric) => DistanceFunction::udf(metric),
            VectorOperator::Arithmetic(arithmetic) => Arc::new(ScalarUDF::new_from_impl(
                ArithmeticFunction::new(arithmetic),
            )),
            VectorOperator::Comparison(comparison) => Arc::new(ScalarUDF::new_from_impl(
                ComparisonFunction::new(comparison),
            )),
        };
        function.call(vec![left, right])
    }

    /// Whether operands of these kinds make it an operator between vectors, and not DataFusion's.
    fn applies(self, left: &Operand, right: &Operand) -> bool {
        let either = |test: fn(&Operand) -> bool| test(left) || test(right);
        if either(|o| matches!(o, Operand::Other)) {
            return false;
        }
        let vector = either(|o| matches!(o, Operand::Vector(_)));
        match self {
            // Without a vector this is IS NOT DISTINCT FROM, which lists of integers may mean.
            VectorOperator::Distance(Metric::Cosine) => {
                vector || either(|o| matches!(o, Operand::Floats))
            }
            // These have no other meaning, so that two literals will do.
            VectorOperator::Distance(_) => {
                let known = |o: &Operand| !matches!(o, Operand::Parameter | Operand::Null);
                known(left) || known(right)
            }
            VectorOperator::Arithmetic(_) | VectorOperator::Comparison(_) => vector,
        }
    }

    /// Whether both sides must have one dimension.
    fn same_dimension(self) -> bool {
        match self {
            VectorOperator::Distance(_) => true,
            VectorOperator::Arithmetic(arithmetic) => arithmetic != Arithmetic::Concat,
            VectorOperator::Comparison(_) => false,
        }
    }
}

/// The distance of bit strings that an operator means; it has no other meaning.
fn bit_metric(operator: &BinaryOperator) -> Option<BitMetric> {
    let text = match operator {
        BinaryOperator::Custom(text) => text,
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last()?,
        _ => return None,
    };
    BitMetric::ALL
        .into_iter()
        .find(|metric| metric.operator() == text)
}

fn metric_of(operator: &str) -> Option<Metric> {
    Metric::ALL
        .into_iter()
        .find(|metric| metric.operator() == Some(operator))
}

/// What an operand is, as far as it decides about the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Vector(VectorType),
    /// A list of floats that is no vector.
    Floats,
    /// A list of other numbers.
    Numbers,
    /// A string literal, or a parameter that comes as text.
    Text,
    /// A parameter without a type.
    Parameter,
    Null,
    Other,
}

impl Operand {
    /// An expression without a type is of no interest: DataFusion words the error.
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        match expr {
            // No operator of DataFusion's own makes a vector. Asking for the type would walk down a
            // chain of thousands of operators once for each of them.
            Expr::BinaryExpr(_) => return Operand::Other,
            Expr::Placeholder(Placeholder { field: None, .. }) => return Operand::Parameter,
            expr if literal_text(expr).is_some() => return Operand::Text,
            _ => {}
        }
        let Ok(data_type) = expr.get_type(schema) else {
            return Operand::Other;
        };
        match VectorType::of(&data_type) {
            Some(vector) => Operand::Vector(vector),
            None if is_float_list(&data_type) => Operand::Floats,
            None if is_number_list(&data_type) => Operand::Numbers,
            None if data_type.is_null() => Operand::Null,
            None if is_text(&data_type) && matches!(expr, Expr::Placeholder(_)) => Operand::Text,
            None => Operand::Other,
        }
    }

    fn vector(&self) -> Option<VectorType> {
        match self {
            Operand::Vector(vector) => Some(*vector),
            _ => None,
        }
    }
}

/// Plans `<-> <=> <#> <+>`, `<~> <%>` and `& | # || << >>` of bit strings, and `+ - * || = <> < <= > >=` where an operand is a vector.
///
/// The other operand may be a string literal (read at once), a parameter (which gets the vector's
/// type), or an array. Register it before DataFusion's own planners, which take `||` for arrays.
#[derive(Debug, Clone, Copy, Default)]
pub struct VectorExprPlanner;

impl ExprPlanner for VectorExprPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some(metric) = bit_metric(&expr.op) {
            let sides = vec![as_bits(expr.left), as_bits(expr.right)];
            let call = BitDistanceFunction::udf(metric).call(sides);
            return Ok(PlannerResult::Planned(call));
        }
        if let Some(operation) = BitOperation::of_operator(&expr.op)
            && takes_bits(operation, &expr, schema)
        {
            let function = ScalarUDF::new_from_impl(BitFunction::new(operation));
            let right = match operation.is_shift() {
                true => expr.right,
                false => as_bits(expr.right),
            };
            let call = function.call(vec![as_bits(expr.left), right]);
            return Ok(PlannerResult::Planned(call));
        }
        let Some(operator) = VectorOperator::of(&expr.op) else {
            return Ok(PlannerResult::Original(expr));
        };
        if is_sparse(&expr.left, schema) || is_sparse(&expr.right, schema) {
            return Ok(plan_sparse(operator, expr));
        }
        let left = Operand::of(&expr.left, schema);
        let right = Operand::of(&expr.right, schema);
        if !operator.applies(&left, &right) {
            return Ok(PlannerResult::Original(elsewhere(expr)));
        }
        let l = as_vector(expr.left, operator, right.vector())?;
        let r = as_vector(expr.right, operator, left.vector())?;
        if operator.same_dimension() {
            check_dimensions(&l, &r, schema)?;
        }
        Ok(PlannerResult::Planned(operator.call(l, r)))
    }
}

/// Whether an expression is a sparse vector.
pub(crate) fn is_sparse(expr: &Expr, schema: &DFSchema) -> bool {
    named_field(expr, schema).is_some_and(|field| SparseType::of_field(&field).is_some())
}

/// An operator beside a sparse vector. Equal vectors have equal texts, so that `=` stays what pruning and joins know.
fn plan_sparse(operator: VectorOperator, expr: RawBinaryExpr) -> PlannerResult<RawBinaryExpr> {
    let operation = match operator {
        VectorOperator::Comparison(Comparison::Equal | Comparison::NotEqual) => None,
        VectorOperator::Comparison(comparison) => Some(SparseOperation::Comparison(comparison)),
        VectorOperator::Distance(metric) => Some(SparseOperation::Distance(metric)),
        VectorOperator::Arithmetic(_) => return PlannerResult::Original(expr),
    };
    let (left, right) = (as_sparse(expr.left), as_sparse(expr.right));
    match operation {
        Some(operation) => {
            PlannerResult::Planned(SparseFunction::udf(operation).call(vec![left, right]))
        }
        None => PlannerResult::Original(RawBinaryExpr {
            op: expr.op,
            left,
            right,
        }),
    }
}

/// An operand that is a sparse vector: a literal is read, a parameter without a type gets theirs.
pub(crate) fn as_sparse(expr: Expr) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = SparseType::ANY.field("", true);
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
        }
        literal if literal_text(&literal).is_some() => {
            ScalarUDF::new_from_impl(ToSparseFunction::new(SparseType::ANY)).call(vec![literal])
        }
        other => other,
    }
}

/// Whether an operator has a bit string for an operand, and nothing else that could give it another meaning.
fn takes_bits(operation: BitOperation, expr: &RawBinaryExpr, schema: &DFSchema) -> bool {
    let is_open = |e: &Expr| {
        literal_text(e).is_some() || matches!(e, Expr::Placeholder(Placeholder { field: None, .. }))
    };
    let (left, right) = (is_bits(&expr.left, schema), is_bits(&expr.right, schema));
    match operation.is_shift() {
        true => left,
        false => {
            (left || is_open(&expr.left)) && (right || is_open(&expr.right)) && (left || right)
        }
    }
}

fn is_bits(expr: &Expr, schema: &DFSchema) -> bool {
    named_field(expr, schema).is_some_and(|field| BitType::of_field(&field).is_some())
}

/// The field of an expression that may name its type.
fn named_field(expr: &Expr, schema: &DFSchema) -> Option<FieldRef> {
    match expr {
        // As in `Operand::of`: no operator of DataFusion's own makes one.
        Expr::BinaryExpr(_) | Expr::Literal(_, None) => None,
        expr => expr.to_field(schema).ok().map(|(_, field)| field),
    }
}

/// An operand that is a bit string: a parameter without a type gets theirs.
fn as_bits(expr: Expr) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = BitType::BIT.field("", true);
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
        }
        typed => typed,
    }
}

/// An expression that is none between vectors. An engine may read `<=>` as a custom operator, to
/// give it pgvector's precedence; DataFusion knows it only under its own name.
fn elsewhere(expr: RawBinaryExpr) -> RawBinaryExpr {
    let op = match expr.op {
        BinaryOperator::Custom(text) if text == "<=>" => BinaryOperator::Spaceship,
        op => op,
    };
    RawBinaryExpr { op, ..expr }
}

/// An operand with its literal read or its parameter typed, as the other side suggests.
fn as_vector(expr: Expr, operator: VectorOperator, other: Option<VectorType>) -> Result<Expr> {
    let element = other.map_or(Element::Single, |v| v.element);
    let open = VectorType::unsized_of(element);
    match &expr {
        Expr::Literal(..) => match literal_text(&expr) {
            Some(text) => literal_vector(text, open),
            None => Ok(expr),
        },
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let target = other.filter(|_| operator.same_dimension()).unwrap_or(open);
            Ok(parameter(id, target))
        }
        Expr::Cast(Cast { expr: inner, field }) => match VectorType::of_target(field.data_type()) {
            Some(target) => Ok(fold_cast(inner, target, other)?.unwrap_or(expr)),
            None => Ok(expr),
        },
        _ => Ok(expr),
    }
}

/// `'[1,2]'::vector` or `$1::vector` between vectors, with the dimension that `vector` leaves open.
fn fold_cast(inner: &Expr, target: VectorType, other: Option<VectorType>) -> Result<Option<Expr>> {
    match (literal_text(inner), inner) {
        (Some(text), _) => literal_vector(text, target).map(Some),
        (None, Expr::Placeholder(Placeholder { field: None, .. })) => {
            let dimension = target.dimension.or(other.and_then(|v| v.dimension));
            cast_to_vector(
                inner,
                &DataType::Null,
                VectorType {
                    dimension,
                    ..target
                },
            )
        }
        _ => Ok(None),
    }
}

fn check_dimensions(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<(), VectorError> {
    let vector = |expr: &Expr| VectorType::of(&expr.get_type(schema).ok()?);
    let (Some(left), Some(right)) = (vector(left), vector(right)) else {
        return Ok(());
    };
    match (left.dimension, right.dimension) {
        (Some(l), Some(r)) if l != r => {
            let element = shared_element(left.element, right.element);
            Err(VectorError::different_dimensions(element, l, r))
        }
        _ => Ok(()),
    }
}
