//! The search in a logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, TableReference, plan_err};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, ScalarUDFImpl, UserDefinedLogicalNodeCore,
};
use shelfmark_udfs::{DistanceFunction, Metric};

use super::order::Order;
use super::score::Score;
use crate::error::Error;

/// The relation of the column with the distance: no table of a query has this name.
const RELATION: &str = "shelfmark vector search";
const DISTANCE: &str = "distance";

/// The k rows of a scan whose distances come first, with their distances; in order.
#[derive(Debug, Clone)]
pub struct VectorTopK {
    /// A scan of a collection.
    pub(super) input: Arc<LogicalPlan>,
    /// What rows are sorted by: a [`Score`] over a call of a distance function, whose arguments are a vector column of
    /// the input and a query without columns.
    pub(super) key: Expr,
    /// What rows have to fulfil: each reads scalar columns, or the distance alone.
    pub(super) filters: Vec<Expr>,
    pub(super) order: Order,
    /// How many rows, at least one.
    pub(super) k: usize,
    /// Whether rows as good as the last come too: an operator above chooses among them.
    pub(super) ties: bool,
    /// The columns of the input that come out, before the distance.
    pub(super) columns: Vec<Column>,
    schema: DFSchemaRef,
}

impl VectorTopK {
    /// The search over `input`; see the fields.
    ///
    /// # Errors
    /// When the input does not have the columns.
    pub(super) fn try_new(
        input: LogicalPlan,
        key: Expr,
        filters: Vec<Expr>,
        order: Order,
        k: usize,
        ties: bool,
        columns: Vec<Column>,
    ) -> Result<Self> {
        let below = input.schema();
        let mut fields = Vec::with_capacity(columns.len() + 1);
        for column in &columns {
            let (qualifier, field) = below.qualified_field_from_column(column)?;
            fields.push((qualifier.cloned(), Arc::clone(field)));
        }
        let is_nullable = key.nullable(below)?;
        let field = Field::new(DISTANCE, DataType::Float64, is_nullable);
        fields.push((Self::distance_column().relation, Arc::new(field)));
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        Ok(Self {
            input: Arc::new(input),
            key,
            filters,
            order,
            k,
            ties,
            columns,
            schema: Arc::new(schema),
        })
    }

    /// The column of the output with the key.
    pub(super) fn distance_column() -> Column {
        Column::new(Some(TableReference::bare(RELATION)), DISTANCE)
    }

    fn identity(&self) -> (&Expr, &[Expr], Order, usize, bool, &[Column]) {
        let (filters, columns) = (self.filters.as_slice(), self.columns.as_slice());
        (&self.key, filters, self.order, self.k, self.ties, columns)
    }
}

/// A call of a distance function in parts.
#[derive(Debug)]
pub(super) struct Distance<'a> {
    pub metric: Metric,
    /// The vector column.
    pub column: &'a Column,
    /// What rows are compared with.
    pub query: &'a Expr,
}

impl<'a> Distance<'a> {
    /// The parts of the call that a key is a score of; `None` when it is of something else.
    pub fn of_key(key: &'a Expr) -> Option<Self> {
        Self::of(Score::of(key).1)
    }

    /// The parts of `expr`; `None` when it is no distance of a column from something without columns.
    pub fn of(expr: &'a Expr) -> Option<Self> {
        Self::split(expr, |query| {
            !query.any_column_refs() && !query.is_volatile()
        })
    }

    /// The parts of a call that compares a column with a query.
    pub(super) fn split(expr: &'a Expr, is_query: impl Fn(&Expr) -> bool) -> Option<Self> {
        let Expr::ScalarFunction(call) = expr else {
            return None;
        };
        let metric = DistanceFunction::metric_of(&call.func)?;
        let (column, query) = match call.args.as_slice() {
            [Expr::Column(column), query] if is_query(query) => (column, query),
            [query, Expr::Column(column)] if is_query(query) => (column, query),
            _ => return None,
        };
        Some(Self {
            metric,
            column,
            query,
        })
    }
}

/// The metric as EXPLAIN shows it: by the function that computes it.
pub(super) fn metric_name(metric: Metric) -> String {
    DistanceFunction::new(metric).name().to_string()
}

/// `expr` with the column of the distance in place of `distance`.
///
/// # Errors
/// None; the walk over an expression can fail in general.
pub(super) fn with_distance_column(expr: Expr, distance: &Expr) -> Result<Expr> {
    let replaced = expr.transform_down(|part| {
        Ok(match part == *distance {
            true => Transformed::yes(Expr::Column(VectorTopK::distance_column())),
            false => Transformed::no(part),
        })
    })?;
    Ok(replaced.data)
}

impl PartialEq for VectorTopK {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.input == other.input
    }
}

impl Eq for VectorTopK {}

impl PartialOrd for VectorTopK {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().partial_cmp(&other.identity()) {
            Some(Ordering::Equal) => self.input.partial_cmp(&other.input),
            different => different,
        }
    }
}

impl Hash for VectorTopK {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for VectorTopK {
    fn name(&self) -> &str {
        "VectorTopK"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The key with the query in it, then the filters: parameters are found and bound here.
    fn expressions(&self) -> Vec<Expr> {
        let key = std::iter::once(&self.key);
        key.chain(&self.filters).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "VectorTopK: k={}", self.k)?;
        if self.ties {
            f.write_str(" with ties")?;
        }
        let (score, call) = Score::of(&self.key);
        if let Some(distance) = Distance::of(call) {
            write!(f, ", metric={}", metric_name(distance.metric))?;
            write!(f, ", column={}", distance.column)?;
        }
        if !score.is_distance() {
            write!(f, ", score={score}")?;
        }
        if self.order.descending {
            f.write_str(", descending")?;
        }
        for (i, filter) in self.filters.iter().enumerate() {
            f.write_str(if i == 0 { ", filter=" } else { " AND " })?;
            write!(f, "{filter}")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let (Some(key), Ok([input])) = (exprs.next(), <[_; 1]>::try_from(inputs)) else {
            return plan_err!("VectorTopK has a key and one input");
        };
        if Distance::of_key(&key).is_none() {
            let message = format!("{key} is no distance of a column any more");
            return Err(Error::internal(message).into());
        }
        Ok(Self {
            input: Arc::new(input),
            key,
            filters: exprs.collect(),
            ..self.clone()
        })
    }
}
