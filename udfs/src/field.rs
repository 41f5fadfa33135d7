//! The field of an expression, found in time linear in its length.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::{ExprSchema, Result};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable};

/// What [`ExprSchemable::to_field`] gives, but for the name of a field that an operator makes.
///
/// DataFusion writes the name of every part of an expression on its way: what asks at every part of a chain of a few hundred
/// operators takes minutes.
///
/// # Errors
/// Those of `to_field`.
pub fn field_of(expr: &Expr, schema: &dyn ExprSchema) -> Result<FieldRef> {
    // Chains lean to the left and may be long.
    let (mut first, mut operators) = (expr, Vec::new());
    while let Expr::BinaryExpr(operator) = first {
        operators.push(operator);
        first = operator.left.as_ref();
    }
    let mut field = first.to_field(schema)?.1;
    for BinaryExpr { op, right, .. } in operators.into_iter().rev() {
        let right = field_of(right, schema)?;
        let coercer = BinaryTypeCoercer::new(field.data_type(), op, right.data_type());
        let nullable = field.is_nullable() || right.is_nullable();
        field = Arc::new(Field::new("", coercer.get_result_type()?, nullable));
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::{DataType, Schema};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    #[test]
    fn an_operator_has_the_field_that_datafusion_says() {
        let fields = vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Float64, false),
        ];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        for expr in [
            col("a"),
            col("b") + lit(1.5),
            (col("a") + lit(1)) * cast(col("a"), DataType::Int64),
            (col("b") - col("b")).gt(lit(0.0)).and(col("a").is_null()),
        ] {
            let (found, expected) = (
                field_of(&expr, &schema).unwrap(),
                expr.to_field(&schema).unwrap().1,
            );
            assert_eq!(found.data_type(), expected.data_type(), "{expr}");
            assert_eq!(found.is_nullable(), expected.is_nullable(), "{expr}");
            assert_eq!(found.metadata(), expected.metadata(), "{expr}");
        }
        assert!(field_of(&(col("c") + lit(1)), &schema).is_err());
    }
}
