//! Which column of which relation a column of a plan is, as it stands.
//!
//! Clients ask for it of answers (`ResultSetMetaData.getTableName`), DROP of views. Columns of subqueries, joins, groups and
//! CTEs are those that they pass on; what is computed, or comes from several, is none. The border of a view is one: a
//! column of a view is the view's.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, TableScan};

use super::access::view::as_view;
use crate::catalog::pg;
use crate::catalog::table::CollectionTable;
use crate::storage::change::QualifiedName;
use crate::storage::schema::{FieldId, field_id};

/// Metadata key of the columns of an answer that are casts.
const CAST_KEY: &str = "shelfmark.cast";

/// Metadata key of the OID and the number of the column that a column of an answer is.
const ORIGIN_KEY: &str = "shelfmark.origin";

/// A column of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The OID of the relation.
    pub(super) relation: u32,
    /// Of a view they are counted from 1.
    pub(super) column: FieldId,
}

/// For each column of the plan which one it is.
pub(super) fn origins(plan: &LogicalPlan) -> Vec<Option<Origin>> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Projection(projection) => of_exprs(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            padded(of_exprs(&aggregate.group_expr, &aggregate.input), plan)
        }
        LogicalPlan::SubqueryAlias(alias) => origins(&alias.input),
        LogicalPlan::Filter(filter) => origins(&filter.input),
        LogicalPlan::Sort(sort) => origins(&sort.input),
        LogicalPlan::Limit(limit) => origins(&limit.input),
        LogicalPlan::Window(window) => padded(origins(&window.input), plan),
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input),
        LogicalPlan::Subquery(subquery) => origins(&subquery.subquery),
        LogicalPlan::Join(join) => padded(of_join(join), plan),
        other => match as_view(other) {
            Some(view) => of_view(&view.name, plan.schema()),
            None => padded(Vec::new(), plan),
        },
    }
}

/// As many as the plan has columns; those past the end are none.
fn padded(mut origins: Vec<Option<Origin>>, plan: &LogicalPlan) -> Vec<Option<Origin>> {
    origins.resize(plan.schema().fields().len(), None);
    origins
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<Option<Origin>> {
    let below = origins(input);
    let of = |expr: &Expr| below[input.schema().maybe_index_of_column(bare(expr)?)?];
    exprs.iter().map(of).collect()
}

fn of_scan(scan: &TableScan) -> Vec<Option<Origin>> {
    let provider = source_as_provider(&scan.source).ok();
    let table = provider
        .as_ref()
        .and_then(|provider| provider.downcast_ref::<CollectionTable>());
    let relation = table.map(|table| pg::collection_oid(table.collection().id));
    let of = |field: &Arc<Field>| {
        Some(Origin {
            relation: relation?,
            column: field_id(field)?,
        })
    };
    scan.projected_schema.fields().iter().map(of).collect()
}

fn of_view(name: &QualifiedName, schema: &DFSchema) -> Vec<Option<Origin>> {
    let relation = pg::view_oid(name);
    let numbers = (1..).take(schema.fields().len()).map(FieldId);
    numbers
        .map(|column| Some(Origin { relation, column }))
        .collect()
}

fn of_join(join: &Join) -> Vec<Option<Origin>> {
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => origins(&join.left),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => origins(&join.right),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            let mut both = origins(&join.left);
            both.extend(origins(&join.right));
            both
        }
    }
}

/// The column that an expression is, whatever it is called.
fn bare(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// The relations that a plan reads itself, not by views that it reads, by their OIDs, and which of their columns it names.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) relations: Vec<u32>,
    pub(super) columns: Vec<Origin>,
}

impl Reads {
    /// What the plan reads.
    ///
    /// # Errors
    /// Those of DataFusion's walk.
    pub(super) fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut reads = Self::default();
        reads.visit(plan)?;
        Ok(reads)
    }

    fn visit(&mut self, plan: &LogicalPlan) -> Result<()> {
        if let Some(view) = as_view(plan) {
            // What a function reads is for that to need.
            if !view.is_call {
                self.relations.push(pg::view_oid(&view.name));
            }
            return Ok(());
        }
        if let LogicalPlan::TableScan(scan) = plan {
            let relation = of_scan(scan).into_iter().flatten().next();
            self.relations
                .extend(relation.map(|origin| origin.relation));
        }
        let inputs = plan.inputs();
        for input in &inputs {
            let below = origins(input);
            plan.apply_expressions(|expr| {
                self.note(expr, input.schema(), &below)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        plan.apply_subqueries(|subquery| {
            self.visit(subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        inputs.into_iter().try_for_each(|input| self.visit(input))
    }

    /// Notes the columns of an input that an expression names, those that its subqueries name too.
    fn note(&mut self, expr: &Expr, schema: &DFSchema, below: &[Option<Origin>]) -> Result<()> {
        expr.apply(|expr| {
            let named: &[Expr] = match expr {
                Expr::ScalarSubquery(subquery) => &subquery.outer_ref_columns,
                Expr::Exists(exists) => &exists.subquery.outer_ref_columns,
                Expr::InSubquery(inside) => &inside.subquery.outer_ref_columns,
                Expr::SetComparison(set) => &set.subquery.outer_ref_columns,
                // Those inside of a subquery are the outer query's.
                Expr::OuterReferenceColumn(..) => &[],
                expr => std::slice::from_ref(expr),
            };
            for named in named {
                let (Expr::Column(column) | Expr::OuterReferenceColumn(_, column)) = named else {
                    continue;
                };
                let origin = schema
                    .maybe_index_of_column(column)
                    .and_then(|place| *below.get(place)?);
                self.columns.extend(origin);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
}

/// The columns of an answer with what they are.
pub(super) fn with_origins(schema: &SchemaRef, origins: &[Option<Origin>]) -> SchemaRef {
    if origins.len() != schema.fields().len() || origins.iter().all(Option::is_none) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().zip(origins).map(|(field, origin)| {
        let Some(origin) = origin else {
            return Arc::clone(field);
        };
        let told = format!("{}.{}", origin.relation, origin.column);
        with_metadata(field, ORIGIN_KEY, told)
    });
    let fields: Vec<Arc<Field>> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// For each column of the plan whether it is a cast to NUMERIC: its type has the modifier that is written.
pub(super) fn casts(plan: &LogicalPlan) -> Vec<bool> {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().map(casts_numeric).collect(),
        LogicalPlan::SubqueryAlias(alias) => casts(&alias.input),
        LogicalPlan::Filter(filter) => casts(&filter.input),
        LogicalPlan::Sort(sort) => casts(&sort.input),
        LogicalPlan::Limit(limit) => casts(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => casts(input),
        _ => Vec::new(),
    }
}

fn casts_numeric(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => casts_numeric(&alias.expr),
        Expr::Cast(cast) => cast.field.data_type().is_decimal(),
        _ => false,
    }
}

/// The columns of an answer with which of them are casts.
pub(super) fn with_casts(schema: &SchemaRef, casts: &[bool]) -> SchemaRef {
    if casts.len() != schema.fields().len() || !casts.contains(&true) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().zip(casts);
    let fields = fields.map(|(field, is_cast)| match is_cast {
        true => with_metadata(field, CAST_KEY, String::new()),
        false => Arc::clone(field),
    });
    let fields: Vec<Arc<Field>> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn with_metadata(field: &Arc<Field>, key: &str, value: String) -> Arc<Field> {
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.insert(key.to_string(), value);
    Arc::new(Field::clone(field).with_metadata(metadata))
}

/// Whether a column of an answer is a cast.
pub fn is_cast(field: &Field) -> bool {
    field.metadata().contains_key(CAST_KEY)
}

/// The OID of the relation and the number of the column that a column of an answer is; zeros for none.
pub fn origin_of(field: &Field) -> (u32, i16) {
    let told = field.metadata().get(ORIGIN_KEY);
    let parts = told.and_then(|told| told.split_once('.'));
    let parsed = parts.and_then(|(oid, number)| Some((oid.parse().ok()?, number.parse().ok()?)));
    parsed.unwrap_or((0, 0))
}
