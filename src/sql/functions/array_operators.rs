//! Operators of arrays that DataFusion does not have, or that answer otherwise there.
//!
//! - `a @> b`, `a <@ b` and `a && b`: a NULL among the elements is in no array.
//! - `a < b` and its like: a NULL comes behind all other elements.
//! - `a || b` puts together what it is given: arrays, elements, NULL.
//! - `indoption[0]` is the first element: the vectors of the catalogs are numbered from 0. So is a name, whose elements are
//!   its characters: `typname[0] = '_'`.
//! - A text that is written beside an array is one: `a || '{1,2}'`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::unicode::expr_fn::substring;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use shelfmark_udfs::VectorType;

use super::array_relation::{ARRAY_CAT, CAT_BEFORE, COMPARE, CONTAINS, OVERLAP};
use super::function;
use crate::storage::enum_type::EnumType;
use crate::storage::schema::{LIST_ELEMENT, SQL_TYPE_KEY};

/// Plans the operators of arrays.
#[derive(Debug, Default)]
pub(crate) struct ArrayPlanner;

impl ExprPlanner for ArrayPlanner {
    fn plan_field_access(
        &self,
        mut access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &mut access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        let field = access.expr.to_field(schema).map(|(_, field)| field);
        let name = field
            .as_ref()
            .ok()
            .and_then(|f| f.metadata().get(SQL_TYPE_KEY));
        match name.map(String::as_str) {
            Some("int2vector" | "oidvector") => {
                let place = std::mem::take(key.as_mut());
                **key = place + lit(1_i64);
                Ok(PlannerResult::Original(access))
            }
            Some("name") => {
                let place = std::mem::take(key.as_mut()) + lit(1_i64);
                let character = substring(access.expr, place, lit(1_i64));
                Ok(PlannerResult::Planned(character))
            }
            _ => Ok(PlannerResult::Original(access)),
        }
    }

    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as B;
        // Asking for the types of a long chain of AND would take long.
        if !concerns(&expr.op) {
            return Ok(PlannerResult::Original(expr));
        }
        let sides = [Side::of(&expr.left, schema), Side::of(&expr.right, schema)];
        if !sides.iter().any(|side| matches!(side, Side::Array(_))) {
            return Ok(PlannerResult::Original(expr));
        }
        let is_of_enum = |expr: &Expr| {
            let field = expr.to_field(schema);
            field.is_ok_and(|(_, field)| EnumType::of_list(&field).is_some())
        };
        let is_equality = matches!(expr.op, B::Eq | B::NotEq);
        // Labels beside enums are looked at elsewhere.
        let expr = match is_equality && (is_of_enum(&expr.left) || is_of_enum(&expr.right)) {
            true => expr,
            false => with_literals_read(expr, &sides),
        };
        let sides = [Side::of(&expr.left, schema), Side::of(&expr.right, schema)];
        let RawBinaryExpr { op, left, right } = expr;
        let planned = match (&op, &sides) {
            (B::StringConcat, _) => joined(&left, &right, &sides),
            (_, [Side::Array(of_left), Side::Array(of_right)]) => {
                related(&op, [&left, &right], [of_left, of_right])
            }
            _ => None,
        };
        Ok(match planned {
            Some(expr) => PlannerResult::Planned(expr),
            None => PlannerResult::Original(RawBinaryExpr { op, left, right }),
        })
    }
}

/// Whether arrays have the operator.
fn concerns(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(
        op,
        B::StringConcat
            | B::AtArrow
            | B::ArrowAt
            | B::PGOverlap
            | B::Eq
            | B::NotEq
            | B::Lt
            | B::LtEq
            | B::Gt
            | B::GtEq
    )
}

/// What stands on a side of an operator.
#[derive(Debug)]
enum Side {
    Array(DataType),
    Element(DataType),
    /// A text as it is written, which has no type of its own.
    Literal,
    Null,
    /// A parameter that has no type yet, or what has none.
    Open,
}

impl Side {
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        match (expr, expr.get_type(schema)) {
            (Expr::Placeholder(Placeholder { field: None, .. }), _) | (_, Err(_)) => Self::Open,
            (Expr::Literal(ScalarValue::Utf8(Some(_)), metadata), _) if metadata.is_none() => {
                Self::Literal
            }
            (_, Ok(DataType::Null)) => Self::Null,
            (_, Ok(data_type)) if is_array(&data_type) => Self::Array(data_type),
            (_, Ok(data_type)) => Self::Element(data_type),
        }
    }
}

fn is_array(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::FixedSizeList(..))
        && VectorType::of(data_type).is_none()
}

/// The type of an array's elements.
fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field) | DataType::FixedSizeList(field, _) if is_array(data_type) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

fn dimensions(data_type: &DataType) -> usize {
    element(data_type).map_or(0, |element| 1 + dimensions(element))
}

/// Reads a text beside an array as one of its type.
fn with_literals_read(mut expr: RawBinaryExpr, sides: &[Side; 2]) -> RawBinaryExpr {
    match sides {
        [Side::Array(of), Side::Literal] => expr.right = cast(expr.right, plain(of)),
        [Side::Literal, Side::Array(of)] => expr.left = cast(expr.left, plain(of)),
        _ => {}
    }
    expr
}

/// The array type as casts make it.
fn plain(of: &DataType) -> DataType {
    match element(of) {
        Some(inner) => list_of(plain(inner)),
        None => of.clone(),
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new(LIST_ELEMENT, element, true)))
}

/// `a || b`
fn joined(left: &Expr, right: &Expr, sides: &[Side; 2]) -> Option<Expr> {
    match sides {
        [Side::Array(_), Side::Null] => Some(left.clone()),
        [Side::Null, Side::Array(_)] => Some(right.clone()),
        [Side::Array(of_left), Side::Array(of_right)] => {
            match dimensions(of_left).cmp(&dimensions(of_right)) {
                std::cmp::Ordering::Equal => {
                    let [left, right] = alike([left, right], [of_left, of_right])?;
                    Some(function(ARRAY_CAT).call(vec![left, right]))
                }
                std::cmp::Ordering::Greater => {
                    with_element(ARRAY_CAT, left, of_left, right, of_right)
                }
                std::cmp::Ordering::Less => {
                    with_element(CAT_BEFORE, right, of_right, left, of_left)
                }
            }
        }
        [Side::Array(of_left), Side::Element(of_right)] => {
            with_element(ARRAY_CAT, left, of_left, right, of_right)
        }
        [Side::Element(of_left), Side::Array(of_right)] => {
            with_element(CAT_BEFORE, right, of_right, left, of_left)
        }
        _ => None,
    }
}

/// The array with one more element, before or behind it as the function has it.
fn with_element(
    name: &'static str,
    array: &Expr,
    of_array: &DataType,
    more: &Expr,
    of_more: &DataType,
) -> Option<Expr> {
    if dimensions(of_array) != dimensions(of_more) + 1 {
        return None;
    }
    let more = make_array(vec![more.clone()]);
    let of_more = list_of(of_more.clone());
    let [array, more] = alike([array, &more], [of_array, &of_more])?;
    Some(function(name).call(vec![array, more]))
}

/// Both arrays with elements of one type; those of the first, where none is known for both.
fn alike(arrays: [&Expr; 2], types: [&DataType; 2]) -> Option<[Expr; 2]> {
    let [of_left, of_right] = types;
    let (bottom_left, bottom_right) = (bottom(of_left), bottom(of_right));
    let common = match bottom_left == bottom_right || bottom_right.is_null() {
        true => bottom_left.clone(),
        false if bottom_left.is_null() => bottom_right.clone(),
        false if VectorType::of(bottom_left).is_some() => bottom_left.clone(),
        false => comparison_coercion(bottom_left, bottom_right)?,
    };
    let as_common = |array: &Expr, of: &DataType| match bottom(of) == &common {
        true => array.clone(),
        false => cast(array.clone(), with_bottom(of, &common)),
    };
    Some([
        as_common(arrays[0], of_left),
        as_common(arrays[1], of_right),
    ])
}

fn bottom(of: &DataType) -> &DataType {
    element(of).map_or(of, bottom)
}

fn with_bottom(of: &DataType, bottom: &DataType) -> DataType {
    match element(of) {
        Some(inner) => list_of(with_bottom(inner, bottom)),
        None => bottom.clone(),
    }
}

/// Operators between arrays that give truths.
fn related(op: &BinaryOperator, sides: [&Expr; 2], types: [&DataType; 2]) -> Option<Expr> {
    use BinaryOperator as B;
    let (name, [left, right]) = match op {
        B::AtArrow => (CONTAINS, alike(sides, types)?),
        B::ArrowAt => {
            let [left, right] = alike(sides, types)?;
            (CONTAINS, [right, left])
        }
        B::PGOverlap => (OVERLAP, alike(sides, types)?),
        B::Lt | B::LtEq | B::Gt | B::GtEq => (COMPARE, alike(sides, types)?),
        _ => return None,
    };
    // What is written without NULL is compared many rows at a time.
    if name == CONTAINS && is_whole(&right) {
        return Some(datafusion::functions_nested::expr_fn::array_has_all(
            left, right,
        ));
    }
    if name == OVERLAP && (is_whole(&left) || is_whole(&right)) {
        return Some(datafusion::functions_nested::expr_fn::array_has_any(
            left, right,
        ));
    }
    let call = function(name).call(vec![left, right]);
    let zero = lit(0_i32);
    Some(match op {
        B::Lt => call.lt(zero),
        B::LtEq => call.lt_eq(zero),
        B::Gt => call.gt(zero),
        B::GtEq => call.gt_eq(zero),
        _ => call,
    })
}

/// Whether it is an array of literals without NULL, of one dimension.
fn is_whole(array: &Expr) -> bool {
    match array {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let is_value = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if !value.is_null());
            func.name() == "make_array" && !args.is_empty() && args.iter().all(is_value)
        }
        _ => false,
    }
}
