//! The terms of a recursive query give columns of the same types, in what their metadata says as well.
//!
//! DataFusion 55 refuses `SELECT 1 UNION ALL SELECT t.id ..` when the query is planned: the metadata of a column names its
//! SQL type and its place in a segment, a literal has none, and no projection of its own takes metadata away.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// Gives both terms of each recursive query the metadata of the query's columns. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct RecursiveTermsRule;

impl AnalyzerRule for RecursiveTermsRule {
    fn name(&self) -> &str {
        "recursive_terms"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let told = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::RecursiveQuery(query) => told(query),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(told.data)
    }
}

fn told(query: RecursiveQuery) -> Result<Transformed<LogicalPlan>> {
    let fits = |term: &LogicalPlan| {
        let pairs = term.schema().fields().iter().zip(query.schema.fields());
        pairs.into_iter().all(|(a, b)| a.metadata() == b.metadata())
    };
    if fits(&query.static_term) && fits(&query.recursive_term) {
        return Ok(Transformed::no(LogicalPlan::RecursiveQuery(query)));
    }
    Ok(Transformed::yes(LogicalPlan::RecursiveQuery(
        RecursiveQuery {
            static_term: Arc::new(with_metadata_of(&query.schema, &query.static_term)?),
            recursive_term: Arc::new(with_metadata_of(&query.schema, &query.recursive_term)?),
            ..query
        },
    )))
}

/// The plan, its columns with the metadata of those of `schema`.
fn with_metadata_of(schema: &DFSchema, plan: &LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().zip(schema.fields());
    let columns = columns.map(|((table, field), wanted)| {
        let column = Expr::from((table, field));
        if field.metadata() == wanted.metadata() {
            return column;
        }
        let metadata = Metadata {
            field: Arc::clone(wanted),
            signature: Signature::any(1, Volatility::Immutable),
        };
        let function = Arc::new(ScalarUDF::from(metadata));
        let told = function.call(vec![column]);
        told.alias_qualified(table.cloned(), field.name())
    });
    LogicalPlanBuilder::from(plan.clone())
        .project(columns.collect::<Vec<_>>())?
        .build()
}

/// `with_metadata(x)`: x, with the metadata of a field.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Metadata {
    field: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for Metadata {
    fn name(&self) -> &str {
        "with_metadata"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("the field of its argument says it")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::clone(&args.arg_fields[0]).with_name(self.name());
        let metadata = self.field.metadata().clone();
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}
