//! INSERT, UPDATE and DELETE: the queries that find their rows, as inputs of the nodes that act.

mod assign;
mod change;
mod choose;
mod conflict;
mod infer;
mod merge;
mod returning;
#[cfg(test)]
mod tests;
mod through;
mod with;

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query, SelectItem, SetExpr, TableObject};
use datafusion::sql::sqlparser::parser::Parser;

use self::assign::Place;
use self::change::{Target, quoted, select, table, table_of};
pub(super) use self::change::{delete, update};
pub use self::merge::MergeStatement;

pub(super) use self::merge::{merge, parse as parse_merge};
pub(super) use self::through::is_stored_column;
pub use self::with::WithStatement;
pub(super) use self::with::{
    CommonNames, changes_at_top, changes_rows, with, with_merge, with_statement,
};
use super::ddl::{check_writable, qualify};
use super::domains::with_checks;
use super::sequence::generator_ast;
use super::session::{Planning, Session};
use super::statement::{Insert, Overriding};
use super::tokens::{DIALECT, tokenize};
use super::updatable::Verb;
use crate::catalog::dml::{DmlNode, Operation};
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::schema::{Column, ColumnType};
use crate::storage::sequence::Generates;

/// INSERT.
pub(super) async fn insert(planning: &Planning<'_>, insert: Insert) -> Result<LogicalPlan> {
    let Insert {
        statement: insert,
        overriding,
    } = insert;
    let TableObject::TableName(table) = &insert.table else {
        return Err(Error::unsupported("INSERT takes the name of a collection"));
    };
    let name = qualify(table, &planning.session.search_path())?;
    check_writable(&name.schema)?;
    let alias = insert.table_alias.map(|alias| alias.alias);
    let alias = alias.unwrap_or_else(|| quoted(&name.name));
    let target = planning.changed(name, alias, Verb::Insert).await?;
    let through = target.planning(planning);
    let planning = through.as_ref().unwrap_or(planning);
    let collection = Arc::clone(&target.collection);
    let targets = target.targets(&insert.columns)?;
    let source = match insert.source {
        Some(query) => {
            let rows = Rows { query, overriding };
            planning.source(rows, &targets, &collection).await?
        }
        None => LogicalPlanBuilder::empty(true).build()?,
    };
    let given = source.schema().fields().len();
    if let Some(through) = target
        .through
        .as_ref()
        .filter(|_| insert.columns.is_empty())
    {
        through.check_given(given)?;
    }
    let none_given = matches!(source, LogicalPlan::EmptyRelation(_)) && given == 0;
    let targets = match none_given {
        true => &[][..],
        false => targets_of_values(&targets, !insert.columns.is_empty(), given)?,
    };
    // Values that are overridden are read, and left.
    let kept: Vec<usize> = match overriding {
        Some(Overriding::User) => {
            let is_kept = |target: &&usize| {
                let column = &collection.schema.columns[**target];
                planning
                    .generated(&collection, column)
                    .is_none_or(|g| g == Generates::Default)
            };
            targets
                .iter()
                .map(|t| if is_kept(&t) { *t } else { usize::MAX })
                .collect()
        }
        _ => targets.to_vec(),
    };
    let (source, kept) = planning.joined_parts(source, kept, &insert.columns, &collection)?;
    let input = planning.with_defaults(source, &kept, &collection)?;
    let (operation, input) = match insert.on {
        Some(on) => planning.on_conflict(on, &target, input).await?,
        None => (Operation::Insert, input),
    };
    let from = vec![table_of(&target.name, target.alias.clone())];
    let change = target.change(operation, input, from);
    planning.change(change, insert.returning).await
}

/// The rows of an INSERT.
struct Rows {
    query: Box<Query>,
    overriding: Option<Overriding>,
}

/// The node that inserts the rows of `input`, whose columns are those of the collection in order.
pub(super) fn insert_plan(
    session: &Session,
    collection: &Arc<Collection>,
    input: LogicalPlan,
) -> Result<LogicalPlan> {
    let engine = Arc::clone(&session.inner.core.engine);
    DmlNode::plan(engine, Arc::clone(collection), Operation::Insert, input)
}

/// Places of the columns that INSERT names; all of them where it names none. A column comes again for each of its parts.
pub(super) fn target_columns(collection: &Collection, names: &[ObjectName]) -> Result<Vec<usize>> {
    let columns = &collection.schema.columns;
    if names.is_empty() {
        return Ok((0..columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let Place { name, subscripts } = Place::of(name)?;
        let Some(at) = columns.iter().position(|c| c.name == name) else {
            return Err(no_column(&name, &collection.name));
        };
        if subscripts.is_empty() && targets.contains(&at) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::invalid(sqlstate::DUPLICATE_COLUMN, message));
        }
        targets.push(at);
    }
    Ok(targets)
}

/// Places of the columns that COPY names; all of them that are not generated where it names none.
///
/// # Errors
/// Those of [`target_columns`]; 42P10 for a generated column.
pub(super) fn copied_columns(collection: &Collection, names: &[ObjectName]) -> Result<Vec<usize>> {
    let columns = &collection.schema.columns;
    let mut targets = target_columns(collection, names)?;
    let generated = |at: &usize| columns[*at].generated.is_some();
    match targets
        .iter()
        .find(|at| generated(at))
        .filter(|_| !names.is_empty())
    {
        None => {
            targets.retain(|at| !generated(at));
            Ok(targets)
        }
        Some(at) => {
            let message = format!("column \"{}\" is a generated column", columns[*at].name);
            Err(Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message)
                .with_detail("Generated columns cannot be used in COPY."))
        }
    }
}

/// The targets that as many values go to; those that are named must all get one.
fn targets_of_values(targets: &[usize], are_named: bool, given: usize) -> Result<&[usize]> {
    let message = match given.cmp(&targets.len()) {
        Ordering::Greater => "INSERT has more expressions than target columns",
        Ordering::Less if are_named => "INSERT has more target columns than expressions",
        _ => return Ok(&targets[..given]),
    };
    Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
}

/// Parameters of VALUES beside numbers are whole numbers as their columns hold them, not as the numbers beside them are.
fn type_parameters(values: &mut ast::Values, targets: &[usize], collection: &Collection) {
    let is_parameter = |cell: &ast::Expr| matches!(cell, ast::Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)));
    for (place, target) in targets.iter().enumerate() {
        let data_type = match collection.schema.columns[*target].column_type {
            ColumnType::SmallInt => ast::DataType::SmallInt(None),
            ColumnType::Integer => ast::DataType::Integer(None),
            ColumnType::BigInt => ast::DataType::BigInt(None),
            _ => continue,
        };
        let mut cells = values.rows.iter().filter_map(|row| row.get(place));
        let is_alone = cells.clone().all(is_parameter) || !cells.any(is_parameter);
        let cells = values.rows.iter_mut().filter_map(|row| row.get_mut(place));
        for cell in cells.filter(|cell| !is_alone && is_parameter(cell)) {
            let inner = std::mem::replace(cell, ast::Expr::value(ast::Value::Null));
            *cell = ast::Expr::Cast {
                kind: ast::CastKind::Cast,
                expr: Box::new(inner),
                data_type: data_type.clone(),
                array: false,
                format: None,
            };
        }
    }
}

/// The error for a column that a relation does not have.
pub(super) fn no_column(name: &str, relation: &QualifiedName) -> Error {
    let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
}

impl Planning<'_> {
    /// The source of an INSERT; DEFAULT in VALUES stands for the column's default.
    async fn source(
        &self,
        rows: Rows,
        targets: &[usize],
        collection: &Collection,
    ) -> Result<LogicalPlan> {
        let mut query = rows.query;
        let overriding = rows.overriding;
        self.check_generated(&query, targets, collection, overriding)?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            name_by_place(&mut select.projection);
        }
        if let SetExpr::Values(values) = query.body.as_mut() {
            type_parameters(values, targets, collection);
            for row in &mut values.rows {
                for (i, expr) in row.content.iter_mut().enumerate() {
                    let target = targets.get(i).map(|t| &collection.schema.columns[*t]);
                    if let Some(column) = target
                        && is_default(expr)
                    {
                        *expr = self.default_ast(collection, column)?;
                    }
                }
            }
        }
        let is_query = !matches!(query.body.as_ref(), SetExpr::Values(_));
        let plan = self.query(query).await?;
        let given = targets.iter().take(plan.schema().fields().len());
        let mut given = given.map(|target| &collection.schema.columns[*target]);
        match given.find(|column| is_query && self.is_refused(collection, column, overriding)) {
            Some(column) => Err(given_to_generated(column)),
            None => Ok(plan),
        }
    }

    /// When the column gets its values from a sequence of its own.
    fn generated(&self, collection: &Collection, column: &Column) -> Option<Generates> {
        let sequence = self.snapshot.owned_sequence(collection.id, column.id)?;
        sequence.owner?.generates
    }

    /// Whether only the system gives the column its values.
    fn is_always_generated(&self, collection: &Collection, column: &Column) -> bool {
        column.generated.is_some() || self.generated(collection, column) == Some(Generates::Always)
    }

    /// Whether INSERT may not give the column a value: OVERRIDING allows one for a column that has a sequence.
    fn is_refused(
        &self,
        collection: &Collection,
        column: &Column,
        overriding: Option<Overriding>,
    ) -> bool {
        let is_overridden = overriding.is_some() && column.generated.is_none();
        !is_overridden && self.is_always_generated(collection, column)
    }

    /// That VALUES have DEFAULT for each column that only the system gives values.
    ///
    /// # Errors
    /// 428C9.
    fn check_generated(
        &self,
        query: &Query,
        targets: &[usize],
        collection: &Collection,
        overriding: Option<Overriding>,
    ) -> Result<()> {
        let SetExpr::Values(values) = query.body.as_ref() else {
            return Ok(());
        };
        for (place, target) in targets.iter().enumerate() {
            let column = &collection.schema.columns[*target];
            let mut given = values.rows.iter().filter_map(|row| row.content.get(place));
            if given.any(|expr| !is_default(expr))
                && self.is_refused(collection, column, overriding)
            {
                return Err(given_to_generated(column));
            }
        }
        Ok(())
    }

    /// What SET gives a column.
    ///
    /// # Errors
    /// 428C9 for a column that only the system gives values.
    fn new_value(
        &self,
        collection: &Collection,
        column: &Column,
        expr: ast::Expr,
    ) -> Result<ast::Expr> {
        if is_default(&expr) {
            return self.default_ast(collection, column);
        }
        if self.is_always_generated(collection, column) {
            let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
            return Err(generated_always(message, column));
        }
        Ok(expr)
    }

    /// What INSERT gives a column by an expression of its own.
    ///
    /// # Errors
    /// 428C9 for a column that only the system gives values.
    fn inserted_value(
        &self,
        collection: &Collection,
        column: &Column,
        expr: ast::Expr,
    ) -> Result<ast::Expr> {
        match is_default(&expr) {
            true => self.default_ast(collection, column),
            false if self.is_always_generated(collection, column) => {
                Err(given_to_generated(column))
            }
            false => Ok(expr),
        }
    }

    /// Every column of the collection in order: those in `targets` from `source`, the others by their defaults.
    pub(super) fn with_defaults(
        &self,
        source: LogicalPlan,
        targets: &[usize],
        collection: &Collection,
    ) -> Result<LogicalPlan> {
        let given = source.schema().columns();
        let exprs = collection
            .schema
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                // A join may give two columns of one name, so that each gets its own.
                let expr = match targets.iter().position(|t| *t == at) {
                    Some(i) => Expr::Column(given[i].clone()),
                    None => self.default_value(collection, column)?,
                };
                Ok(expr.alias(&column.name))
            });
        let exprs: Vec<Expr> = exprs.collect::<Result<_>>()?;
        Ok(LogicalPlanBuilder::from(source).project(exprs)?.build()?)
    }

    /// The default of a column as an expression.
    fn default_value(&self, collection: &Collection, column: &Column) -> Result<Expr> {
        self.parsed(self.default_ast(collection, column)?, &DFSchema::empty())
    }

    /// What DEFAULT stands for: the next number of the column's sequence, its default, or NULL.
    fn default_ast(&self, collection: &Collection, column: &Column) -> Result<ast::Expr> {
        if let Some(text) = self.defaults.get(&column.id) {
            return parse_expr(text);
        }
        if let Some(next) = generator_ast(&self.snapshot, collection.id, column) {
            return Ok(next);
        }
        match self.snapshot.default_of(column) {
            Some(text) => parse_expr(text),
            None => Ok(null()),
        }
    }

    /// An expression without columns.
    pub(super) fn constant(&self, text: &str) -> Result<Expr> {
        self.expression(text, &DFSchema::empty())
    }

    /// An expression over the columns of `schema`.
    pub(super) fn expression(&self, text: &str, schema: &DFSchema) -> Result<Expr> {
        self.parsed(parse_expr(text)?, schema)
    }

    /// A parsed expression over the columns of `schema`.
    pub(super) fn parsed(&self, mut expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let checked = with_checks(&self.state, &mut expr)?;
        let state = checked.as_deref().unwrap_or(&self.state);
        let expr = ast::ExprWithAlias { expr, alias: None };
        Ok(state.create_logical_expr_from_sql_expr(expr, schema)?)
    }

    /// The value of an expression without columns.
    pub(super) async fn evaluate(&self, text: &str) -> Result<ScalarValue> {
        self.evaluate_expr(parse_expr(text)?).await
    }

    /// The value of a parsed expression without columns.
    pub(super) async fn evaluate_expr(&self, expr: ast::Expr) -> Result<ScalarValue> {
        let plan = LogicalPlanBuilder::empty(true)
            .project(vec![self.parsed(expr, &DFSchema::empty())?])?
            .build()?;
        let frame = datafusion::dataframe::DataFrame::new(self.state.clone(), plan);
        let batches = frame.collect().await?;
        let batch = batches
            .first()
            .ok_or_else(|| Error::internal("a constant has no row"))?;
        Ok(ScalarValue::try_from_array(batch.column(0), 0)?)
    }
}

/// The columns of an INSERT's query match by place, so that two of one name are fine; DataFusion wants names apart.
/// Names that ORDER BY may use stay.
fn name_by_place(items: &mut [SelectItem]) {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    for (at, item) in items.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        if texts[..at].contains(&texts[at]) {
            let alias = quoted(&format!("column{}", at + 1));
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

fn given_to_generated(column: &Column) -> Error {
    let name = &column.name;
    let message = format!("cannot insert a non-DEFAULT value into column \"{name}\"");
    let error = generated_always(message, column);
    match column.generated {
        Some(_) => error,
        None => error.with_hint("Use OVERRIDING SYSTEM VALUE to override."),
    }
}

fn generated_always(message: String, column: &Column) -> Error {
    let name = &column.name;
    let detail = match column.generated {
        Some(_) => format!("Column \"{name}\" is a generated column."),
        None => format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS."),
    };
    Error::invalid(sqlstate::GENERATED_ALWAYS, message).with_detail(detail)
}

pub(super) fn parse_expr(text: &str) -> Result<ast::Expr> {
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokenize(text)?);
    Ok(parser.parse_expr()?)
}

fn null() -> ast::Expr {
    ast::Expr::Value(ast::Value::Null.into())
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}
