//! `VECTOR(n)`, `HALFVEC(n)`, `SPARSEVEC(n)`, `BIT(n)` and `BIT VARYING(n)` as types of SQL.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast;

use crate::bit_type::BitType;
use crate::error::VectorError;
use crate::sparse::SparseType;
use crate::types::{Element, VectorType};

/// Plans vector types, and asks another planner about all others: a session has only one.
#[derive(Debug, Clone, Default)]
pub struct VectorTypePlanner {
    inner: Option<Arc<dyn TypePlanner>>,
}

impl VectorTypePlanner {
    /// A planner in front of `inner`.
    pub fn new(inner: Option<Arc<dyn TypePlanner>>) -> Self {
        Self { inner }
    }
}

impl TypePlanner for VectorTypePlanner {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        if let Some(vector) = vector_type_of_sql(sql_type)? {
            return Ok(Some(Arc::new(Field::new("", vector.arrow(), true))));
        }
        if let Some(bits) = BitType::of_sql(sql_type)? {
            return Ok(Some(bits.field("", true)));
        }
        if let Some(sparse) = SparseType::of_sql(sql_type)? {
            return Ok(Some(sparse.field("", true)));
        }
        match &self.inner {
            Some(inner) => inner.plan_type_field(sql_type),
            None => Ok(None),
        }
    }
}

/// The vector type that a type of SQL names, if it names one; a schema before the name is ignored.
///
/// # Errors
/// 22023 for a dimension that no vector may have, 22P02 for a modifier that is no number.
pub fn vector_type_of_sql(sql_type: &ast::DataType) -> Result<Option<VectorType>, VectorError> {
    let ast::DataType::Custom(name, modifiers) = sql_type else {
        return Ok(None);
    };
    let last = name.0.last().and_then(|part| part.as_ident());
    let Some(element) = last.and_then(|ident| Element::from_sql_name(&ident.value)) else {
        return Ok(None);
    };
    let dimension = match modifiers.as_slice() {
        [] => None,
        [dimension] => Some(parse_dimension(dimension, element)?),
        _ => return Err(VectorError::type_modifier()),
    };
    VectorType::try_new(element, dimension).map(Some)
}

fn parse_dimension(modifier: &str, element: Element) -> Result<usize, VectorError> {
    let dimension: i64 = modifier
        .trim()
        .parse()
        .map_err(|_| VectorError::integer_syntax(modifier))?;
    usize::try_from(dimension).map_err(|_| VectorError::type_without_dimension(element))
}
