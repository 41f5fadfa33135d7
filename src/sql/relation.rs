//! Functions in FROM: those of arrays give a row for each element, other scalar functions give one row.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result, UnnestOptions};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::prelude::{cast, ident, lit};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Expr as SqlExpr, FunctionArg, FunctionArgExpr,
    FunctionArguments as SqlArguments, Ident, ObjectName, TableAlias, TableAliasColumnDef,
    TableFactor, Value,
};
use shelfmark_udfs::VectorType;

use super::functions::{FLAT, SERIES_OF_INSTANTS, gives_rows};
use super::number_literal::typed_integer;
use super::routine::plan_call;
use super::tokens::ROWS_FROM;
use crate::catalog::pg::field_of_type;
use crate::catalog::pg::functions::{ANCESTORS, ARRAY_SUBSCRIPTS};
use crate::error::{Error, sqlstate};

/// Functions that DataFusion has in FROM too, for literals.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// The function in FROM whose rows are the elements of what [`ANCESTORS`] gives.
const ANCESTORS_TABLE: &str = "pg_partition_ancestors";

/// What a function gives in FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// The elements of its arguments, which are arrays.
    Elements,
    /// The elements of the array that the scalar function gives.
    Series,
    /// The elements of its argument with their places, in columns `x` and `n`.
    Expanded,
    /// One row with its value.
    Value,
    /// What the functions give that are its arguments, side by side.
    Together,
}

/// Plans functions in FROM that DataFusion does not: those whose arguments are no literals, those with ORDINALITY, and
/// scalar functions.
#[derive(Debug, Default)]
pub(crate) struct FunctionPlanner;

impl RelationPlanner for FunctionPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if let Some(planned) = plan_call(&relation, context) {
            return planned;
        }
        let (name, args, with_ordinality, alias) = match &relation {
            TableFactor::Function {
                name,
                args,
                with_ordinality,
                alias,
                ..
            } => (name, args, *with_ordinality, alias),
            TableFactor::Table {
                name,
                args: Some(args),
                alias,
                ..
            } => (name, &args.args, false, alias),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let function = function_name(name);
        let Some(gives) = what_it_gives(&function, args, with_ordinality, context) else {
            if with_ordinality {
                let message = format!("WITH ORDINALITY of {function} is not supported");
                return Err(Error::unsupported(message).into());
            }
            if !SERIES.contains(&function.as_str()) {
                return Ok(RelationPlanning::Original(Box::new(relation)));
            }
            let of_integers = args
                .iter()
                .all(|arg| literal_of(arg).is_some_and(is_integer));
            let named = with_column_name(relation, &function);
            if !of_integers {
                return Ok(RelationPlanning::Original(Box::new(named)));
            }
            let plan = as_integers(context.plan(of_bigints(named))?)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
                plan, None,
            ))));
        };
        let call = Call {
            function,
            gives,
            with_ordinality,
            alias: alias.clone(),
        };
        let plan = call.plan(args, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, None,
        ))))
    }
}

pub(super) fn function_name(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map(|ident| ident.value.to_lowercase())
        .unwrap_or_default()
}

fn what_it_gives(
    function: &str,
    args: &[FunctionArg],
    with_ordinality: bool,
    context: &dyn RelationPlannerContext,
) -> Option<Gives> {
    let literal = |arg: &FunctionArg| literal_of(arg).is_some();
    match function {
        ROWS_FROM => Some(Gives::Together),
        "unnest" => Some(Gives::Elements),
        "_pg_expandarray" => Some(Gives::Expanded),
        // DataFusion's makes rows of literals as they are read, however many.
        name if SERIES.contains(&name) => {
            let is_plain = !with_ordinality && args.iter().all(literal);
            (!is_plain).then_some(Gives::Series)
        }
        "generate_subscripts" => Some(Gives::Series),
        name if gives_rows(name) || name == ANCESTORS_TABLE => Some(Gives::Series),
        name if context
            .context_provider()
            .get_table_function_source(name, Vec::new())
            .is_ok() =>
        {
            None
        }
        name => context
            .context_provider()
            .get_function_meta(name)
            .map(|_| Gives::Value),
    }
}

/// The column of a series is called as its table is, and that as the function: DataFusion calls it `value`.
fn with_column_name(mut relation: TableFactor, function: &str) -> TableFactor {
    if let TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } = &mut relation {
        let alias = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: Ident::new(function),
            columns: Vec::new(),
            at: None,
        });
        if alias.columns.is_empty() {
            let name = alias.name.clone();
            let data_type = None;
            alias.columns.push(TableAliasColumnDef { name, data_type });
        }
    }
    relation
}

/// The argument, if it is a whole number, or a parameter: DataFusion makes rows of those, and of times only in
/// nanoseconds.
fn literal_of(arg: &FunctionArg) -> Option<&SqlExpr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => is_literal(expr).then_some(expr),
        _ => None,
    }
}

fn is_literal(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Value(value) => !matches!(
            value.value,
            Value::SingleQuotedString(_) | Value::Placeholder(_)
        ),
        SqlExpr::UnaryOp { expr, .. } => is_literal(expr),
        SqlExpr::Cast {
            expr, data_type, ..
        } => {
            use SqlType::{BigInt, Int8};
            let is_whole = is_small(data_type) || matches!(data_type, BigInt(_) | Int8(_));
            is_whole && is_literal(expr)
        }
        expr => typed_integer(expr).is_some(),
    }
}

/// Whether what [`is_literal`] is of a type that INTEGER holds.
fn is_integer(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::UnaryOp { expr, .. } => is_integer(expr),
        SqlExpr::Cast { data_type, .. } => is_small(data_type),
        expr => typed_integer(expr).is_some(),
    }
}

fn is_small(data_type: &SqlType) -> bool {
    use SqlType::{Int, Int2, Int4, Integer, SmallInt};
    matches!(
        data_type,
        Int(_) | Int2(_) | Int4(_) | Integer(_) | SmallInt(_)
    )
}

/// The call with its arguments as BIGINT, of which DataFusion makes rows.
fn of_bigints(mut relation: TableFactor) -> TableFactor {
    let args = match &mut relation {
        TableFactor::Function { args, .. } => Some(args),
        TableFactor::Table { args, .. } => args.as_mut().map(|args| &mut args.args),
        _ => None,
    };
    for arg in args.into_iter().flatten() {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
            let inner = std::mem::replace(expr, SqlExpr::value(Value::Null));
            *expr = SqlExpr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(inner),
                data_type: SqlType::BigInt(None),
                array: false,
                format: None,
            };
        }
    }
    relation
}

/// The rows with their one column, a BIGINT, as INTEGER.
fn as_integers(rows: LogicalPlan) -> Result<LogicalPlan> {
    let (table, column) = {
        let (table, field) = rows.schema().qualified_field(0);
        (table.cloned(), field.name().clone())
    };
    let integer = cast(
        Expr::from(Column::new(table.clone(), &column)),
        DataType::Int32,
    );
    let builder = LogicalPlanBuilder::from(rows).project(vec![integer.alias(column)])?;
    match table {
        Some(table) => builder.alias(table)?.build(),
        None => builder.build(),
    }
}

/// Whether it is an array of several dimensions.
fn is_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) => {
            let element = element.data_type();
            matches!(element, DataType::List(_)) && VectorType::of(element).is_none()
        }
        _ => false,
    }
}

/// Whether the arguments of a series are dates or instants, and an interval: days are those of the session's clock.
fn is_of_instants(values: &[Expr]) -> bool {
    let empty = DFSchema::empty();
    let first = values.first().map(|value| value.get_type(&empty));
    values.len() == 3
        && matches!(
            first,
            Some(Ok(DataType::Timestamp(_, Some(_)) | DataType::Date32))
        )
}

struct Call {
    function: String,
    gives: Gives,
    with_ordinality: bool,
    alias: Option<TableAlias>,
}

impl Call {
    fn plan(
        &self,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut columns = match self.gives {
            Gives::Together => together(args, context)?,
            _ => self.columns(self.values(args, context)?, context)?,
        };
        if self.with_ordinality || self.gives == Gives::Expanded {
            let arrays: Vec<Expr> = columns.iter().map(|(_, array)| array.clone()).collect();
            let places = places(arrays, context)?;
            columns.push(match self.gives {
                Gives::Expanded => ("n".to_string(), places),
                _ => {
                    let numbers = DataType::new_list(DataType::Int64, true);
                    ("ordinality".to_string(), cast(places, numbers))
                }
            });
        }
        self.build(columns, context)
    }

    /// The values of the arguments.
    fn values(
        &self,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Vec<Expr>> {
        let empty = DFSchema::empty();
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                let message = format!("an argument of {}() is none", self.function);
                return Err(datafusion::error::DataFusionError::Plan(message));
            };
            values.push(context.sql_to_expr(expr.clone(), &empty)?);
        }
        Ok(values)
    }

    /// The columns before ORDINALITY: names and values.
    fn columns(
        &self,
        values: Vec<Expr>,
        context: &dyn RelationPlannerContext,
    ) -> Result<Vec<(String, Expr)>> {
        let empty = DFSchema::empty();
        Ok(match self.gives {
            Gives::Elements => {
                let flat = function(FLAT, context)?;
                let named = |value: Expr| {
                    let is_nested = value.get_type(&empty).is_ok_and(|of| is_nested(&of));
                    let value = match is_nested {
                        true => flat.call(vec![value]),
                        false => value,
                    };
                    (self.function.clone(), value)
                };
                values.into_iter().map(named).collect()
            }
            Gives::Expanded => values
                .into_iter()
                .take(1)
                .map(|v| ("x".to_string(), v))
                .collect(),
            Gives::Series => {
                let (name, values) = match self.function.as_str() {
                    "generate_subscripts" => {
                        (ARRAY_SUBSCRIPTS, values.into_iter().take(1).collect())
                    }
                    "generate_series" if is_of_instants(&values) => (SERIES_OF_INSTANTS, values),
                    ANCESTORS_TABLE => (ANCESTORS, values),
                    name => (name, values),
                };
                let column = column_of(&self.function);
                vec![(column.to_string(), function(name, context)?.call(values))]
            }
            Gives::Value => {
                let value = function(&self.function, context)?.call(values);
                vec![(self.function.clone(), value)]
            }
            // Its arguments are no values.
            Gives::Together => Vec::new(),
        })
    }

    /// The value of a column with the type that elements of its array do not tell.
    fn typed(&self, value: Expr, column: usize) -> Expr {
        let relation = (self.function == ANCESTORS_TABLE && column == 0)
            .then(|| field_of_type("regclass", false))
            .flatten();
        match relation {
            Some(field) => Expr::Cast(Cast::new_from_field(Box::new(value), field.into())),
            None => value,
        }
    }

    /// One row of the values, its arrays made into rows, under the names of the alias.
    fn build(
        &self,
        columns: Vec<(String, Expr)>,
        context: &dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let inner = |i: usize| format!("__column_{i}");
        let values = columns.iter().enumerate();
        let values = values.map(|(i, (_, value))| value.clone().alias(inner(i)));
        let mut builder = LogicalPlanBuilder::empty(true).project(values)?;
        if self.gives != Gives::Value {
            let arrays = (0..columns.len()).map(|i| inner(i).into()).collect();
            // No array, no rows.
            let options = UnnestOptions::new().with_preserve_nulls(false);
            builder = builder.unnest_columns_with_options(arrays, options)?;
        }
        let alias = self.alias.as_ref();
        let table = alias.map(|a| context.normalize_ident(a.name.clone()));
        let named = alias.map(|a| a.columns.as_slice()).unwrap_or_default();
        let columns = shown(builder.schema(), &columns, inner);
        let only = columns.len() - usize::from(self.with_ordinality) == 1;
        let mut taken = HashSet::new();
        let outputs = columns.into_iter().enumerate().map(|(i, (name, value))| {
            // The column of a function is called as its table is, unless it has a name of its own.
            let is_named =
                self.gives == Gives::Expanded || column_of(&self.function) != self.function;
            let usual = match &table {
                Some(table) if i == 0 && only && !is_named => table,
                _ => &name,
            };
            let name = named
                .get(i)
                .map(|c| context.normalize_ident(c.name.clone()));
            // Names that come again are told apart by blanks, which the answer leaves out.
            let mut name = name.unwrap_or_else(|| usual.clone());
            while !taken.insert(name.clone()) {
                name.push(' ');
            }
            self.typed(value, i).alias(name)
        });
        let outputs: Vec<Expr> = outputs.collect();
        let builder = builder.project(outputs)?;
        builder
            .alias(table.unwrap_or_else(|| self.function.clone()))?
            .build()
    }
}

/// The columns of functions side by side, as arrays: where one has fewer rows, it has NULLs.
fn together(
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<(String, Expr)>> {
    let mut columns = Vec::new();
    for arg in args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Function(called))) = arg else {
            let message = "ROWS FROM takes calls of functions";
            let error = Error::invalid(sqlstate::SYNTAX_ERROR, message);
            return Err(error.into());
        };
        let SqlArguments::List(list) = &called.args else {
            continue;
        };
        let name = function_name(&called.name);
        let gives = match what_it_gives(&name, &list.args, true, context) {
            Some(Gives::Together | Gives::Expanded) | None => {
                let message = format!("{name} is not supported in ROWS FROM");
                return Err(Error::unsupported(message).into());
            }
            Some(gives) => gives,
        };
        let call = Call {
            function: name,
            gives,
            with_ordinality: false,
            alias: None,
        };
        let values = call.values(&list.args, context)?;
        let given = call.columns(values, context)?.into_iter();
        columns.extend(given.map(|(name, value)| match gives {
            Gives::Value => (name, make_array(vec![value])),
            _ => (name, value),
        }));
    }
    Ok(columns)
}

/// The places of the elements, of the longest array where there are several.
fn places(arrays: Vec<Expr>, context: &dyn RelationPlannerContext) -> Result<Expr> {
    if arrays.len() == 1 {
        return Ok(function(ARRAY_SUBSCRIPTS, context)?.call(arrays));
    }
    let length = function("array_length", context)?;
    let length = |array: Expr| cast(length.call(vec![array]), DataType::Int64);
    let lengths = arrays.into_iter().map(length).collect();
    let longest = function("greatest", context)?.call(lengths);
    Ok(function("generate_series", context)?.call(vec![lit(1_i64), longest]))
}

/// The name of the column of a function that gives rows, where it is not that of the function.
fn column_of(function: &str) -> &str {
    match function {
        ANCESTORS_TABLE => "relid",
        name if name.contains("array_elements") => "value",
        name => name,
    }
}

/// The columns of the rows: those of elements, and the fields of records in their place.
fn shown(
    schema: &DFSchema,
    columns: &[(String, Expr)],
    inner: impl Fn(usize) -> String,
) -> Vec<(String, Expr)> {
    let shown = columns.iter().enumerate().flat_map(|(i, (name, _))| {
        let value = ident(inner(i));
        match schema.fields().get(i).map(|field| field.data_type()) {
            Some(DataType::Struct(fields)) => fields
                .iter()
                .map(|field| {
                    let part = get_field(value.clone(), field.name().as_str());
                    (field.name().clone(), part)
                })
                .collect(),
            _ => vec![(name.clone(), value)],
        }
    });
    shown.collect()
}

pub(super) fn function(name: &str, context: &dyn RelationPlannerContext) -> Result<Arc<ScalarUDF>> {
    let found = context.context_provider().get_function_meta(name);
    found.ok_or_else(|| {
        let message = format!("function {name} does not exist");
        Error::not_found(sqlstate::UNDEFINED_FUNCTION, message).into()
    })
}
