//! `vector_search('book', 'embedding', queries, k [, metric])`: a join of numbered queries with their nearest rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, Result, TableReference, UnnestOptions};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, col,
};
use shelfmark_udfs::{DistanceFunction, Metric, VectorType};

use super::lateral::renamed;
use super::node::{KnnJoin, rows_of};
use crate::catalog::table::CollectionTable;
use crate::error::{Error, sqlstate};
use crate::search::order::Order;
use crate::search::pattern::Pattern;

/// The column with the number of the query, from 1 on.
const QUERY: &str = "query";
/// The column with the distance from it.
const DISTANCE: &str = "distance";

/// A call of the function.
#[allow(missing_debug_implementations, reason = "a source of a table has none")]
pub struct VectorSearch {
    /// The collection as it was named, and what the name means.
    pub collection: (TableReference, Arc<dyn TableSource>),
    /// The vector column.
    pub column: String,
    /// An array of vectors, or of their texts.
    pub queries: Expr,
    /// How many rows of each query: a number of one or more, or a parameter.
    pub k: Expr,
    /// How vectors are compared; the smallest results come first.
    pub metric: Metric,
    /// The function that gives the places of an array's elements, from 1 on.
    pub subscripts: Arc<ScalarUDF>,
}

impl VectorSearch {
    /// The plan of the call: the number of the query, the columns of the collection, the distance.
    ///
    /// # Errors
    /// 42703 for a column that does not exist, 42804 for one that has no vectors of one dimension and for queries that
    /// are no array, 22023 for less than one row, 42701 when a column
    /// of the collection has the name of one of the function's, 0A000 for a table that is no collection.
    pub fn plan(self) -> Result<LogicalPlan> {
        if matches!(self.k, Expr::Literal(..)) {
            rows_of(&self.k)?;
        }
        let (name, source) = self.collection;
        let provider = source_as_provider(&source)?;
        if provider.downcast_ref::<CollectionTable>().is_none() {
            let message = format!("\"{}\" is no collection", name.table());
            return Err(Error::unsupported(message).into());
        }
        let table = name.table().to_string();
        let named = LogicalPlanBuilder::scan(name, source, None)?.build()?;
        let columns = named.schema().columns().into_iter().map(Expr::Column);
        let lost = || Error::internal("a collection is no scan with filters");
        let Pattern { filters, scan, .. } =
            Pattern::try_new(columns.collect(), Vec::new(), &named)?.ok_or_else(lost)?;
        let vectors = vector_column(&scan, &self.column, &table)?;
        let (_, column) = scan.schema().qualified_field_from_column(&vectors)?;
        let queries = of_vectors(self.queries, column);
        let queries = Arc::new(numbered(queries, &self.subscripts)?);
        let columns = scan.schema().columns();
        let distance = DistanceFunction::udf(self.metric);
        let query = Expr::Column(KnnJoin::query_column(1));
        let node = KnnJoin {
            queries: Arc::new(renamed(&queries)?),
            key: distance.call(vec![Expr::Column(vectors), query]),
            filters,
            order: Order {
                descending: false,
                nulls_first: false,
            },
            skip: 0,
            k: self.k,
            keep_all: false,
            columns: Vec::new(),
            schema: Arc::new(DFSchema::empty()),
            scan: Arc::new(scan),
        };
        let node = node.with_columns(columns.clone())?;
        let number = Expr::Column(KnnJoin::query_column(0)).alias(QUERY);
        let distance = Expr::Column(KnnJoin::key_column()).alias(DISTANCE);
        let stored = columns.into_iter().map(|column| {
            let name = column.name.clone();
            Expr::Column(column).alias(name)
        });
        let outputs: Vec<Expr> = std::iter::once(number)
            .chain(stored)
            .chain([distance])
            .collect();
        let node = Arc::new(node);
        LogicalPlanBuilder::from(LogicalPlan::Extension(Extension { node }))
            .project(outputs)?
            .build()
    }
}

/// The column to search, if its vectors can be searched and no column is named as those of the function.
fn vector_column(scan: &LogicalPlan, name: &str, table: &str) -> Result<Column> {
    let columns = scan.schema().columns();
    let taken = columns
        .iter()
        .find(|c| [QUERY, DISTANCE].contains(&c.name.as_str()));
    if let Some(column) = taken {
        let message = format!(
            "vector_search has a column \"{}\" of its own, and so has \"{table}\"",
            column.name
        );
        let error = Error::exists(sqlstate::DUPLICATE_COLUMN, message)
            .with_hint("Join the queries with LATERAL (SELECT .. ORDER BY .. LIMIT k).");
        return Err(error.into());
    }
    let place = columns.iter().position(|c| c.name == name);
    let Some(place) = place else {
        let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message).into());
    };
    let data_type = scan.schema().field(place).data_type();
    if VectorType::of(data_type).is_none_or(|v| v.dimension.is_none()) {
        let message = format!("column \"{name}\" of relation \"{table}\" is no vector column");
        return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message).into());
    }
    Ok(columns[place].clone())
}

/// A parameter whose type nothing else tells is an array of vectors like those of the column.
fn of_vectors(queries: Expr, column: &Field) -> Expr {
    match queries {
        Expr::Placeholder(Placeholder { id, field }) if is_open(field.as_deref()) => {
            let array = DataType::new_list(column.data_type().clone(), true);
            let field = Arc::new(Field::new("", array, true));
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
        }
        other => other,
    }
}

fn is_open(field: Option<&Field>) -> bool {
    field.is_none_or(|field| field.data_type().is_null())
}

/// The elements of an array, each with its number before it.
fn numbered(array: Expr, subscripts: &ScalarUDF) -> Result<LogicalPlan> {
    const ARRAY: &str = "__queries";
    const NUMBER: &str = "__number";
    let number = subscripts.call(vec![col(ARRAY)]);
    let array = LogicalPlanBuilder::empty(true).project([array.alias(ARRAY)])?;
    let data_type = array.schema().field(0).data_type();
    if !data_type.is_list() || VectorType::of(data_type).is_some() {
        let message = "the queries of vector_search are no array of vectors";
        let hint = "For example ARRAY['[1,2]', '[3,4]'].";
        let error = Error::invalid(sqlstate::DATATYPE_MISMATCH, message).with_hint(hint);
        return Err(error.into());
    }
    array
        .project([number.alias(NUMBER), col(ARRAY)])?
        .unnest_columns_with_options(
            vec![NUMBER.into(), ARRAY.into()],
            UnnestOptions::new().with_preserve_nulls(false),
        )?
        .build()
}
