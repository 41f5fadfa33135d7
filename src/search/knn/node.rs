//! A join of queries with their nearest rows in a logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, Result, ScalarValue, TableReference, plan_err,
};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::error::{Error, sqlstate};
use crate::search::node::{Distance, VectorTopK, metric_name};
use crate::search::order::Order;
use crate::search::score::Score;

/// The relation of the queries' columns: no table of a query has this name.
const QUERIES: &str = "shelfmark queries";

/// Each row of the queries with the `k` rows of a scan whose distances from it come first, in order.
#[derive(Debug, Clone)]
pub struct KnnJoin {
    /// The queries, with columns as [`KnnJoin::query_column`] names them.
    pub(super) queries: Arc<LogicalPlan>,
    /// A scan of a collection.
    pub(super) scan: Arc<LogicalPlan>,
    /// What rows are sorted by: a [`Score`] over a call of a distance function, whose arguments are a vector column of
    /// the scan and something made of columns of the queries.
    pub(super) key: Expr,
    /// What rows have to fulfil: each reads scalar columns of the scan, or the distance alone.
    pub(super) filters: Vec<Expr>,
    pub(super) order: Order,
    /// How many of the first rows of each query are left out.
    pub(super) skip: usize,
    /// How many rows of each query come after them: a number, or a parameter of which it comes.
    pub(super) k: Expr,
    /// Whether a query without rows comes out once, with NULLs for them.
    pub(super) keep_all: bool,
    /// The columns of the scan that come out, between those of the queries and the key.
    pub(super) columns: Vec<Column>,
    pub(super) schema: DFSchemaRef,
}

/// What a join is beside its inputs.
type Identity<'a> = (
    &'a Expr,
    &'a [Expr],
    Order,
    (usize, &'a Expr),
    bool,
    &'a [Column],
);

impl KnnJoin {
    /// The column of the queries at a place.
    pub(super) fn query_column(place: usize) -> Column {
        Column::new(Some(TableReference::bare(QUERIES)), format!("c{place}"))
    }

    /// The column of the output with the key.
    pub(super) fn key_column() -> Column {
        VectorTopK::distance_column()
    }

    /// The same join with other columns of the scan in its output.
    ///
    /// # Errors
    /// When the scan does not have them.
    pub(super) fn with_columns(mut self, columns: Vec<Column>) -> Result<Self> {
        let queries = self.queries.schema().iter();
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            queries.map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for column in &columns {
            let (qualifier, field) = self.scan.schema().qualified_field_from_column(column)?;
            let nullable = self.keep_all || field.is_nullable();
            let field = Field::clone(field).with_nullable(nullable);
            fields.push((qualifier.cloned(), Arc::new(field)));
        }
        let key = Self::key_column();
        fields.push((
            key.relation,
            Arc::new(Field::new(key.name, DataType::Float64, true)),
        ));
        self.schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        self.columns = columns;
        Ok(self)
    }

    /// How many rows of each query come out.
    pub fn k(&self) -> &Expr {
        &self.k
    }

    /// How many rows of each query come out, as a number.
    ///
    /// # Errors
    /// 22023 when it is NULL or less than one, XX000 while it is not known.
    pub(super) fn rows(&self) -> Result<usize> {
        rows_of(&self.k)
    }

    /// For each column of the queries the field that its values are like, if they are compared with the vectors.
    pub fn fields_of_queries(&self) -> Vec<Option<FieldRef>> {
        let distance = Distance::of_queries(&self.key);
        let compared = distance.and_then(|distance| {
            let vectors = self
                .scan
                .schema()
                .qualified_field_from_column(distance.column);
            Some((distance.query.column_refs(), Arc::clone(vectors.ok()?.1)))
        });
        let places = 0..self.queries.schema().fields().len();
        let field = |place| {
            let (columns, vectors) = compared.as_ref()?;
            let is_compared = columns.contains(&Self::query_column(place));
            is_compared.then(|| Arc::clone(vectors))
        };
        places.map(field).collect()
    }

    fn identity(&self) -> Identity<'_> {
        (
            &self.key,
            &self.filters,
            self.order,
            (self.skip, &self.k),
            self.keep_all,
            &self.columns,
        )
    }
}

/// The number of rows that an expression asks for.
///
/// # Errors
/// 22023 when it is NULL or less than one, XX000 when it is no constant.
pub(super) fn rows_of(k: &Expr) -> Result<usize> {
    let Expr::Literal(value, _) = k else {
        let message = format!("{k} rows of each query is no number");
        return Err(Error::internal(message).into());
    };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(k))) if k > 0 => Ok(k as usize),
        _ => {
            let message = "vector_search finds one row or more of each query";
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into())
        }
    }
}

impl<'a> Distance<'a> {
    /// The parts of the call that a key is a score of, with columns of queries in its query.
    pub(super) fn of_queries(key: &'a Expr) -> Option<Self> {
        let is_query = |column: &Column| {
            let relation = column.relation.as_ref();
            relation.is_some_and(|r| r.schema().is_none() && r.table() == QUERIES)
        };
        Self::split(Score::of(key).1, |expr| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.into_iter().all(is_query) && !expr.is_volatile()
        })
    }
}

impl PartialEq for KnnJoin {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.queries == other.queries
            && self.scan == other.scan
    }
}

impl Eq for KnnJoin {}

impl PartialOrd for KnnJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().partial_cmp(&other.identity()) {
            Some(Ordering::Equal) => {
                let inputs = (&self.queries, &self.scan);
                inputs.partial_cmp(&(&other.queries, &other.scan))
            }
            different => different,
        }
    }
}

impl Hash for KnnJoin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.queries.hash(state);
        self.scan.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for KnnJoin {
    fn name(&self) -> &str {
        "KnnJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.queries, &self.scan]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The key, the number of rows, then the filters.
    fn expressions(&self) -> Vec<Expr> {
        let first = [&self.key, &self.k];
        first.into_iter().chain(&self.filters).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match rows_of(&self.k) {
            Ok(k) => write!(f, "KnnJoin: k={k}")?,
            Err(_) => write!(f, "KnnJoin: k={}", self.k)?,
        }
        if self.skip > 0 {
            write!(f, ", skip={}", self.skip)?;
        }
        if let Some(distance) = Distance::of_queries(&self.key) {
            write!(f, ", metric={}", metric_name(distance.metric))?;
            write!(f, ", column={}", distance.column)?;
        }
        for (i, filter) in self.filters.iter().enumerate() {
            f.write_str(if i == 0 { ", filter=" } else { " AND " })?;
            write!(f, "{filter}")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        // Rules that coerce types keep the names that expressions had, which say nothing here.
        let mut exprs = exprs.into_iter().map(|expr| expr.unalias_nested().data);
        let (Some(key), Some(k), Ok([queries, scan])) =
            (exprs.next(), exprs.next(), <[_; 2]>::try_from(inputs))
        else {
            return plan_err!("KnnJoin has a key, a number of rows and two inputs");
        };
        if Distance::of_queries(&key).is_none() {
            let message = format!("{key} is no distance of a column from a query any more");
            return Err(Error::internal(message).into());
        }
        let join = Self {
            queries: Arc::new(queries),
            scan: Arc::new(scan),
            key,
            k,
            filters: exprs.collect(),
            ..self.clone()
        };
        let columns = join.columns.clone();
        join.with_columns(columns)
    }
}
