//! What the places of parameters in a plan say about their types.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{AggregateFunction, Placeholder, ScalarFunction};
use datafusion::logical_expr::type_coercion::functions::{UDFCoercionExt, fields_with_udf};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, Distinct, Expr, Extension, Limit, LogicalPlan, Operator,
    Projection, Sort, Unnest, Values, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use shelfmark_udfs::{VectorCastRule, field_of};

use super::{Types, place_of};
use crate::catalog::dml::{ChangedRowsNode, ConflictNode, DmlNode, Operation};
use crate::error::Result;
use crate::search::knn::KnnJoin;
use crate::storage::collection::Collection;

/// What a plan says about its parameters.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every parameter that the plan has, with its type where its place gives one.
    pub(super) mentioned: BTreeMap<usize, Option<FieldRef>>,
    /// Those that are shown or sorted as they are, which is what Postgres makes text.
    pub(super) shown: BTreeSet<usize>,
}

/// Looks at every parameter of a plan. A type that is known already is neither looked for nor changed.
///
/// # Errors
/// Those of [`place_of`].
pub(super) fn infer(plan: &LogicalPlan, known: &Types) -> Result<Found> {
    let mut visitor = Visitor {
        known,
        found: Found::default(),
    };
    // A parameter beside a vector gets its type there.
    let plan = VectorCastRule.analyze(plan.clone(), &ConfigOptions::default())?;
    visitor.plan(&plan, &[])?;
    Ok(visitor.found)
}

/// What a place wants: a type, or nothing that is known.
type Want = Option<FieldRef>;

fn of_type(data_type: DataType) -> Want {
    Some(Arc::new(Field::new("", data_type, true)))
}

fn typed(field: FieldRef) -> Want {
    (!field.data_type().is_null()).then_some(field)
}

struct Visitor<'a> {
    known: &'a Types,
    found: Found,
}

impl Visitor<'_> {
    /// Visits a plan whose columns go to places that want `wants`; those past the end want nothing.
    fn plan(&mut self, plan: &LogicalPlan, wants: &[Want]) -> Result<()> {
        match plan {
            // PREPARE has parameters of its own.
            LogicalPlan::Statement(_) => Ok(()),
            LogicalPlan::Extension(Extension { node }) => {
                match node.as_any().downcast_ref::<KnnJoin>() {
                    Some(join) => self.knn_join(join, plan),
                    None => self.others(plan, &column_wants(node.as_any())),
                }
            }
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, wants),
            LogicalPlan::Projection(projection) => self.projection(projection, wants),
            LogicalPlan::Values(values) => self.values(values, wants),
            LogicalPlan::Limit(limit) => self.limit(limit, wants),
            LogicalPlan::Filter(filter) => {
                let schema = filter.input.schema();
                self.expr(&filter.predicate, schema, &of_type(DataType::Boolean))?;
                self.plan(&filter.input, wants)
            }
            LogicalPlan::Sort(sort) => self.sort(sort, wants),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(union) => {
                let wants = self.union_wants(&union.inputs, wants);
                union.inputs.iter().try_for_each(|i| self.plan(i, &wants))
            }
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input, wants),
            LogicalPlan::Distinct(Distinct::All(input)) => self.plan(input, wants),
            _ => self.others(plan, &[]),
        }
    }

    /// Visits expressions that want nothing, and inputs.
    fn others(&mut self, plan: &LogicalPlan, wants: &[Want]) -> Result<()> {
        let inputs = plan.inputs();
        let schema = match plan {
            LogicalPlan::TableScan(scan) => {
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
            }
            _ => merge_schema(&inputs),
        };
        for expr in plan.expressions() {
            self.expr(&expr, &schema, &None)?;
        }
        inputs.into_iter().try_for_each(|i| self.plan(i, wants))
    }

    fn projection(&mut self, projection: &Projection, wants: &[Want]) -> Result<()> {
        let schema = projection.input.schema();
        let mut below = vec![None; schema.fields().len()];
        for (at, expr) in projection.expr.iter().enumerate() {
            let want = wants.get(at).cloned().flatten();
            self.shown(expr, schema, &want)?;
            if let Expr::Column(column) = bare(expr)
                && let Some(place) = schema.maybe_index_of_column(column)
            {
                below[place] = want;
            }
        }
        self.plan(&projection.input, &below)
    }

    fn values(&mut self, values: &Values, wants: &[Want]) -> Result<()> {
        let schema = DFSchema::empty();
        let columns = values.schema.fields().len();
        for at in 0..columns {
            let column = || values.values.iter().filter_map(|row| row.get(at));
            let want = wants.get(at).cloned().flatten();
            let want = want.or_else(|| self.first_type(column(), &schema));
            for expr in column() {
                self.shown(expr, &schema, &want)?;
            }
        }
        Ok(())
    }

    fn limit(&mut self, limit: &Limit, wants: &[Want]) -> Result<()> {
        for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
            self.expr(expr, limit.input.schema(), &of_type(DataType::Int64))?;
        }
        self.plan(&limit.input, wants)
    }

    /// Visits a join of queries, which are compared with vectors, with so many of their nearest rows each.
    fn knn_join(&mut self, join: &KnnJoin, plan: &LogicalPlan) -> Result<()> {
        self.expr(join.k(), &DFSchema::empty(), &of_type(DataType::Int64))?;
        // Its other expressions read columns alone.
        let [queries, scan] = plan.inputs()[..] else {
            return Ok(());
        };
        self.plan(queries, &join.fields_of_queries())?;
        self.plan(scan, &[])
    }

    /// Visits arrays whose elements go to places that want `wants`.
    fn unnest(&mut self, unnest: &Unnest, wants: &[Want]) -> Result<()> {
        let mut below = vec![None; unnest.input.schema().fields().len()];
        for (want, place) in wants.iter().zip(&unnest.dependency_indices) {
            let is_list = unnest
                .list_type_columns
                .iter()
                .any(|(list, _)| list == place);
            below[*place] = match is_list {
                true => want.clone().map(list_of),
                false => want.clone(),
            };
        }
        self.plan(&unnest.input, &below)
    }

    fn sort(&mut self, sort: &Sort, wants: &[Want]) -> Result<()> {
        for key in &sort.expr {
            self.shown(&key.expr, sort.input.schema(), &None)?;
        }
        self.plan(&sort.input, wants)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<()> {
        let schema = aggregate.input.schema();
        for expr in &aggregate.group_expr {
            self.shown(expr, schema, &None)?;
        }
        for expr in &aggregate.aggr_expr {
            self.expr(expr, schema, &None)?;
        }
        self.plan(&aggregate.input, &[])
    }

    /// What the inputs of a union are for, else what the others have.
    fn union_wants(&self, inputs: &[Arc<LogicalPlan>], wants: &[Want]) -> Vec<Want> {
        let columns = inputs.first().map_or(0, |i| i.schema().fields().len());
        let of_inputs = |at: usize| {
            let fields = inputs.iter().filter_map(|i| i.schema().fields().get(at));
            fields.cloned().find_map(typed)
        };
        (0..columns)
            .map(|at| wants.get(at).cloned().flatten().or_else(|| of_inputs(at)))
            .collect()
    }

    /// Visits an expression that makes a column.
    fn shown(&mut self, expr: &Expr, schema: &DFSchema, want: &Want) -> Result<()> {
        if let Expr::Placeholder(Placeholder { id, .. }) = bare(expr)
            && want.is_none()
        {
            self.found.shown.insert(place_of(id)?);
        }
        self.expr(expr, schema, want)
    }

    fn note(&mut self, id: &str, field: Option<&FieldRef>, want: &Want) -> Result<()> {
        let at = place_of(id)?;
        let given = field.cloned().and_then(typed);
        let place = self.found.mentioned.entry(at).or_default();
        if place.is_none() && self.known.get(at).is_none() {
            *place = want.clone().or(given);
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr, schema: &DFSchema, want: &Want) -> Result<()> {
        let boolean = of_type(DataType::Boolean);
        match expr {
            Expr::Placeholder(Placeholder { id, field }) => self.note(id, field.as_ref(), want),
            Expr::Alias(alias) => self.expr(&alias.expr, schema, want),
            Expr::Cast(cast) => self.expr(&cast.expr, schema, &cast_want(&cast.expr, &cast.field)),
            Expr::TryCast(cast) => {
                self.expr(&cast.expr, schema, &cast_want(&cast.expr, &cast.field))
            }
            Expr::Negative(inner) => self.expr(inner, schema, want),
            Expr::Not(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNotUnknown(inner) => self.expr(inner, schema, &boolean),
            Expr::BinaryExpr(binary) => self.binary(binary, schema, want),
            Expr::Like(like) | Expr::SimilarTo(like) => {
                let text = of_type(DataType::Utf8);
                self.expr(&like.expr, schema, &text)?;
                self.expr(&like.pattern, schema, &text)
            }
            Expr::Between(between) => self.same(
                [&*between.expr, &*between.low, &*between.high],
                schema,
                &None,
            ),
            Expr::InList(list) => {
                let all = std::iter::once(&*list.expr).chain(&list.list);
                self.same(all, schema, &None)
            }
            Expr::Case(case) => self.case(case, schema, want),
            Expr::ScalarFunction(call) => self.function(call, schema, want),
            Expr::AggregateFunction(call) => self.aggregate_function(call, schema),
            Expr::WindowFunction(window) => {
                match &window.fun {
                    WindowFunctionDefinition::AggregateUDF(function) => {
                        self.arguments(&window.params.args, &**function, schema)?;
                    }
                    WindowFunctionDefinition::WindowUDF(function) => {
                        self.arguments(&window.params.args, &**function, schema)?;
                    }
                }
                let params = &window.params;
                let order = params.order_by.iter().map(|s| &s.expr);
                let rest = params.partition_by.iter().chain(order);
                rest.into_iter()
                    .try_for_each(|e| self.expr(e, schema, &None))?;
                self.all(params.filter.as_deref(), schema, &boolean)
            }
            Expr::ScalarSubquery(subquery) => {
                self.plan(&subquery.subquery, std::slice::from_ref(want))
            }
            Expr::Exists(exists) => self.plan(&exists.subquery.subquery, &[]),
            Expr::InSubquery(subquery) => {
                let plan = &subquery.subquery.subquery;
                self.beside_subquery(&subquery.expr, plan, schema)
            }
            Expr::SetComparison(comparison) => {
                let plan = &comparison.subquery.subquery;
                self.beside_subquery(&comparison.expr, plan, schema)
            }
            other => self.children(other, schema),
        }
    }

    fn all<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        schema: &DFSchema,
        want: &Want,
    ) -> Result<()> {
        exprs
            .into_iter()
            .try_for_each(|e| self.expr(e, schema, want))
    }

    fn children(&mut self, expr: &Expr, schema: &DFSchema) -> Result<()> {
        use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
        expr.apply_children(|child| {
            self.expr(child, schema, &None)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// Visits expressions of one type: a parameter among them has the type of the first that has one.
    fn same<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr> + Clone,
        schema: &DFSchema,
        want: &Want,
    ) -> Result<()> {
        let found = self.first_type(exprs.clone(), schema);
        let text = || of_type(DataType::Utf8);
        let want = found.or_else(|| want.clone()).or_else(text);
        self.all(exprs, schema, &want)
    }

    fn first_type<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> Want {
        exprs.into_iter().find_map(|e| self.type_of(e, schema))
    }

    /// The type of an expression; that of a parameter only if it is known from elsewhere than this plan.
    fn type_of(&self, expr: &Expr, schema: &DFSchema) -> Want {
        if let Expr::Placeholder(Placeholder { id, .. }) = bare(expr) {
            return self.known.get(place_of(id).ok()?).cloned();
        }
        typed(field_of(expr, schema).ok()?)
    }

    fn beside_subquery(
        &mut self,
        expr: &Expr,
        plan: &LogicalPlan,
        schema: &DFSchema,
    ) -> Result<()> {
        let column = plan.schema().fields().first().cloned().and_then(typed);
        let of_expr = self.type_of(expr, schema);
        self.expr(expr, schema, &column)?;
        self.plan(plan, &[of_expr])
    }

    fn binary(&mut self, binary: &BinaryExpr, schema: &DFSchema, want: &Want) -> Result<()> {
        let BinaryExpr { left, op, right } = binary;
        if matches!(op, Operator::And | Operator::Or) {
            return self.all([&**left, &**right], schema, &of_type(DataType::Boolean));
        }
        // Comparisons, of texts with patterns as well.
        if op.supports_propagation() {
            return self.same([&**left, &**right], schema, &None);
        }
        let beside_left = self.type_of(left, schema);
        let beside_right = self.type_of(right, schema);
        let wanted = |other: Want| beside(*op, other, want);
        self.expr(left, schema, &wanted(beside_right))?;
        self.expr(right, schema, &wanted(beside_left))
    }

    fn case(&mut self, case: &Case, schema: &DFSchema, want: &Want) -> Result<()> {
        let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
        match &case.expr {
            Some(base) => self.same(std::iter::once(&**base).chain(whens), schema, &None)?,
            None => self.all(whens, schema, &of_type(DataType::Boolean))?,
        }
        let thens = case.when_then_expr.iter().map(|(_, then)| &**then);
        self.same(thens.chain(case.else_expr.as_deref()), schema, want)
    }

    fn function(&mut self, call: &ScalarFunction, schema: &DFSchema, want: &Want) -> Result<()> {
        match (call.name(), call.args.as_slice()) {
            ("coalesce" | "nullif" | "greatest" | "least", args) => self.same(args, schema, want),
            ("array_has", [array, element]) => {
                let elements = self.type_of(element, schema);
                let element_want = self.type_of(array, schema).and_then(element_of);
                self.expr(array, schema, &elements.map(list_of))?;
                self.expr(element, schema, &element_want)
            }
            ("make_array", args) => {
                let element = want.clone().and_then(element_of);
                self.same(args, schema, &element)
            }
            // Casts to bit strings.
            ("bit" | "varbit", args) => {
                let bits = self.type_of(&Expr::ScalarFunction(call.clone()), schema);
                self.all(args, schema, &bits)
            }
            ("pg_cancel_backend" | "pg_terminate_backend", args) => {
                self.all(args, schema, &of_type(DataType::Int32))
            }
            (_, args) => self.arguments(args, &*call.func, schema),
        }
    }

    fn aggregate_function(&mut self, call: &AggregateFunction, schema: &DFSchema) -> Result<()> {
        let params = &call.params;
        self.arguments(&params.args, &*call.func, schema)?;
        self.all(
            params.filter.as_deref(),
            schema,
            &of_type(DataType::Boolean),
        )?;
        self.all(params.order_by.iter().map(|s| &s.expr), schema, &None)
    }

    /// Visits arguments: a parameter gets the type to which the function's signature makes a NULL.
    fn arguments<F: UDFCoercionExt>(
        &mut self,
        args: &[Expr],
        function: &F,
        schema: &DFSchema,
    ) -> Result<()> {
        let given = args.iter().map(|arg| {
            let field = self.type_of(arg, schema);
            field.unwrap_or_else(|| Arc::new(Field::new("", DataType::Null, true)))
        });
        let given: Vec<FieldRef> = given.collect();
        let coerced: DataFusionResult<Vec<FieldRef>> = fields_with_udf(&given, function);
        let coerced = coerced.unwrap_or_default();
        for (at, arg) in args.iter().enumerate() {
            let want = coerced.get(at).cloned().and_then(typed);
            // A function that takes anything gets text, as PostgreSQL's `unknown` becomes it.
            self.shown(arg, schema, &want)?;
        }
        Ok(())
    }
}

/// The expression without its names.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// Only what is cast itself has the type of the cast.
fn cast_want(inner: &Expr, target: &FieldRef) -> Want {
    matches!(inner, Expr::Placeholder(_)).then(|| Arc::clone(target))
}

fn element_of(field: FieldRef) -> Want {
    match field.data_type() {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => typed(Arc::clone(element)),
        _ => None,
    }
}

fn list_of(element: FieldRef) -> FieldRef {
    let list = DataType::new_list(element.data_type().clone(), true);
    Arc::new(Field::new("", list, true))
}

/// What a parameter is beside an operand of type `other`, when an operator makes what `want` wants.
fn beside(op: Operator, other: Want, want: &Want) -> Want {
    let interval = || of_type(DataType::Interval(IntervalUnit::MonthDayNano));
    let Some(field) = other else {
        return match op {
            Operator::StringConcat => of_type(DataType::Utf8),
            _ => want.clone(),
        };
    };
    match (op, field.data_type()) {
        // What is added to a time is a span; what is taken from it is another time.
        (Operator::Plus, DataType::Timestamp(..) | DataType::Time64(_) | DataType::Time32(_)) => {
            interval()
        }
        (Operator::Plus, DataType::Date32) => of_type(DataType::Int32),
        (Operator::Multiply | Operator::Divide, DataType::Interval(_)) => {
            of_type(DataType::Float64)
        }
        (Operator::StringConcat, t) if !t.is_list() => of_type(DataType::Utf8),
        (
            Operator::Arrow | Operator::LongArrow | Operator::HashArrow | Operator::HashLongArrow,
            _,
        ) => of_type(DataType::Utf8),
        _ => Some(field),
    }
}

/// What the columns of the input of an INSERT, UPDATE or DELETE are for.
fn column_wants(node: &dyn Any) -> Vec<Want> {
    if let Some(dml) = node
        .downcast_ref::<DmlNode>()
        .filter(|dml| !dml.hands_rows_on())
    {
        return wants_of(dml.operation(), dml.collection());
    }
    if let Some(conflict) = node.downcast_ref::<ConflictNode>() {
        return wants_of(Operation::Insert, conflict.collection());
    }
    match node.downcast_ref::<ChangedRowsNode>() {
        Some(changed) => wants_of(changed.operation(), changed.collection()),
        None => Vec::new(),
    }
}

fn wants_of(operation: Operation, collection: &Collection) -> Vec<Want> {
    let columns = collection.schema.columns.iter();
    let columns = columns.map(|column| Some(Arc::new(column.arrow_field())));
    let values = (0..operation.value_sets()).flat_map(|_| columns.clone());
    let addresses = std::iter::repeat_n(None, operation.address_columns());
    addresses.chain(values).collect()
}
