//! Changes of rows by a view ([`UpdatableView`]): the table of its rows, what RETURNING and ON CONFLICT see of them.
//!
//! In queries the view is a table of its columns, the address of each row, and the stored columns behind it. Where rows
//! come that are not scanned, the view's columns are computed of them by a projection.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, lit};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, SelectItem};

use super::assign::Place;
use super::returning::{columns_read, replace_tables};
use super::{no_column, quoted, select, table};
use crate::catalog::dml::{
    ByViews, ChangedRowsNode, DmlNode, Operation, Paired, PairedColumn, Returned, ReturnedColumn,
    check_option,
};
use crate::catalog::provider::ROWS_CATALOG;
use crate::catalog::table::{ROW_COLUMN, SEGMENT_COLUMN};
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::updatable::{BASE, UpdatableView, Verb, ViewColumn, base_column};
use crate::storage::change::QualifiedName;

/// What the row that ON CONFLICT brings is called before a view's columns are computed of it.
const BROUGHT: &str = "_shelfmark_brought";
/// How the stored columns of a view's rows are called, with their places behind it.
const STORED: &str = "_stored_";

/// The name of a stored column among those of a view's rows.
pub(super) fn stored_column(place: usize) -> String {
    format!("{STORED}{place}")
}

/// Whether it is the name of a stored column.
pub(in crate::sql) fn is_stored_column(name: &str) -> bool {
    name.strip_prefix(STORED)
        .is_some_and(|n| n.parse::<usize>().is_ok())
}

/// The view that a statement changes.
#[derive(Debug, Clone)]
pub(super) struct Through {
    pub view: UpdatableView,
    name: QualifiedName,
    /// Its rows, as the statement's queries name them.
    rows: Arc<dyn TableProvider>,
}

impl Through {
    /// The view with the table of its rows.
    pub async fn plan(
        planning: &Planning<'_>,
        name: &QualifiedName,
        view: UpdatableView,
    ) -> Result<Self> {
        let own = &view.collection.name;
        let own = [ROWS_CATALOG, &own.schema, &own.name].map(quoted);
        let from = vec![table(own.to_vec(), quoted(BASE))];
        let star = SelectItem::Wildcard(Default::default());
        let base = planning.query(select(vec![star], from, None)?).await?;
        let rows = ViewTable::new(rows_of(&view, base)?, None);
        Ok(Self {
            view,
            name: name.clone(),
            rows: Arc::new(rows),
        })
    }

    /// The planning of the statement's queries: they may name the rows, and columns have the view's defaults.
    pub fn planning<'a>(&self, planning: &Planning<'a>) -> Planning<'a> {
        let mut inner = planning.again();
        let name = &self.name;
        let reference = TableReference::full(ROWS_CATALOG, &*name.schema, &*name.name);
        inner.common.add_table(reference, Arc::clone(&self.rows));
        let columns = &self.view.collection.schema.columns;
        let defaults = self.view.defaults.iter();
        inner.defaults = defaults
            .map(|(place, text)| (columns[*place].id, text.clone()))
            .collect();
        inner
    }

    fn column(&self, name: &str) -> Result<&ViewColumn> {
        let mut columns = self.view.columns.iter();
        let found = columns.find(|column| column.name == name);
        found.ok_or_else(|| no_column(name, &self.name))
    }

    /// The place of the collection's column that a name of the view means.
    ///
    /// # Errors
    /// 42703 for a name that it does not have, 0A000 for a column that is computed.
    pub fn place(&self, name: &str, verb: Verb) -> Result<usize> {
        let place = self.column(name)?.place.clone();
        place.map_err(|computed| computed.error(verb))
    }

    /// Places of the columns that INSERT names; where it names none, of those before the first that is computed.
    ///
    /// # Errors
    /// Those of [`Self::place`]; 42601 for a column of the collection that gets two values.
    pub fn targets(&self, names: &[ObjectName]) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for name in names {
            let Place { name, subscripts } = Place::of(name)?;
            places.push((self.place(&name, Verb::Insert)?, subscripts.is_empty()));
        }
        if names.is_empty() {
            let all = self.view.columns.iter().map(|c| c.place.clone().ok());
            places.extend(all.map_while(|place| Some((place?, true))));
        }
        let mut seen = HashSet::new();
        let twice = |(place, is_whole): &&(usize, bool)| !seen.insert(*place) && *is_whole;
        if let Some((place, _)) = places.iter().find(twice) {
            let name = &self.view.collection.schema.columns[*place].name;
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        Ok(places.into_iter().map(|(place, _)| place).collect())
    }

    /// That no value is given to a column that is computed, by an INSERT that names no columns.
    ///
    /// # Errors
    /// 0A000.
    pub fn check_given(&self, given: usize) -> Result<()> {
        let Some(columns) = self.view.columns.get(..given) else {
            return Ok(());
        };
        let mut computed = columns.iter().filter_map(|c| c.place.as_ref().err());
        match computed.next() {
            Some(computed) => Err(computed.error(Verb::Insert)),
            None => Ok(()),
        }
    }

    /// The names of the collection's columns in place of the view's.
    ///
    /// # Errors
    /// 42703 for a column that the view does not have, 42P10 for one that is computed.
    pub fn key(&self, columns: &[Ident]) -> Result<Vec<Ident>> {
        let own = |ident: &Ident| {
            let name = fold(ident);
            if self.view.columns.iter().all(|column| column.name != name) {
                return Ok(ident.clone());
            }
            let place = self.column(&name)?.place.as_ref().map_err(|_| {
                let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message)
            })?;
            Ok(quoted(&self.view.collection.schema.columns[*place].name))
        };
        columns.iter().map(own).collect()
    }

    /// The view's columns, as `relation` has them, over a collection that is called `base`.
    fn exprs(&self, relation: &TableReference, base: &str) -> Result<Vec<Expr>> {
        let columns = self.view.columns.iter();
        let expr = |column: &ViewColumn| {
            let expr = renamed(column.expr.clone(), base)?;
            Ok(expr.alias_qualified(Some(relation.clone()), &column.name))
        };
        columns.map(expr).collect()
    }
}

/// The expression over a collection that is called otherwise.
fn renamed(expr: Expr, base: &str) -> Result<Expr> {
    if base == BASE {
        return Ok(expr);
    }
    let renamed = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation == Some(TableReference::bare(BASE)) => {
                let relation = Some(TableReference::bare(base));
                Transformed::yes(Expr::Column(Column::new(relation, column.name)))
            }
            other => Transformed::no(other),
        })
    });
    Ok(renamed?.data)
}

/// The rows of a view with their addresses and the stored columns, of all rows of the collection.
fn rows_of(view: &UpdatableView, base: LogicalPlan) -> Result<LogicalPlan> {
    let mut plan = base;
    for (_, condition) in &view.conditions {
        plan = LogicalPlan::Filter(Filter::try_new(condition.clone(), Arc::new(plan))?);
    }
    let columns = view.columns.iter();
    let mut exprs: Vec<Expr> = columns
        .map(|column| column.expr.clone().alias(&column.name))
        .collect();
    exprs.extend([SEGMENT_COLUMN, ROW_COLUMN].map(|name| base_column(name).alias(name)));
    let stored = view.collection.schema.columns.iter().enumerate();
    exprs.extend(
        stored.map(|(place, column)| base_column(&column.name).alias(stored_column(place))),
    );
    Ok(LogicalPlan::Projection(Projection::try_new(
        exprs,
        Arc::new(plan),
    )?))
}

/// The rows, each of which is a row of the views that say so.
fn checked(view: &UpdatableView, mut rows: LogicalPlan) -> Result<LogicalPlan> {
    for (name, condition) in &view.checks {
        let columns = view.collection.schema.columns.iter();
        let row = columns.map(|column| base_column(&column.name)).collect();
        rows = check_option(name, condition.clone(), row, rows)?;
    }
    Ok(rows)
}

/// A change of rows by a view.
pub(super) struct ChangeThrough<'a> {
    pub through: &'a Through,
    /// What the view is called.
    pub alias: Ident,
    pub operation: Operation,
    pub input: LogicalPlan,
}

impl ChangeThrough<'_> {
    /// The plan of a change without RETURNING.
    pub fn plan(self, planning: &Planning<'_>) -> Result<LogicalPlan> {
        let engine = Arc::clone(&planning.session.inner.core.engine);
        let collection = Arc::clone(&self.through.view.collection);
        let views = self.views(false);
        let is_checked =
            self.operation != Operation::Delete && !self.through.view.checks.is_empty();
        let plan = match is_checked {
            false => DmlNode::plan(engine, collection, self.operation, self.input)?,
            true => {
                let columns = self.stored_columns();
                let operation = self.operation;
                let rows =
                    ChangedRowsNode::plan(engine, collection, operation, self.input, columns)?;
                DmlNode::checking(checked(&self.through.view, rows)?)?
            }
        };
        Ok(DmlNode::by_views(plan, views))
    }

    fn views(&self, returns_columns: bool) -> ByViews {
        ByViews {
            steps: self.through.view.steps.clone(),
            returns_columns,
        }
    }

    fn stored_columns(&self) -> Vec<ReturnedColumn> {
        let schema = self.through.view.collection.schema.arrow_schema();
        let fields = schema.fields().iter().enumerate();
        let relation = || Some(TableReference::bare(BASE));
        fields
            .map(|(place, field)| (relation(), Arc::clone(field), Returned::Stored(place)))
            .collect()
    }

    /// The plan of a change whose RETURNING is `shown`, a projection over the statement's tables.
    pub fn returning(self, planning: &Planning<'_>, shown: LogicalPlan) -> Result<LogicalPlan> {
        let mut returns_columns = false;
        let over = |tables: &LogicalPlan, exprs: &[Expr]| {
            let read = columns_read(exprs)?;
            let is_read = |column: &Column| read.as_ref().is_none_or(|r| r.contains(column));
            let own = self.through.view.columns.len();
            let columns = tables.schema().columns();
            returns_columns = columns.iter().take(own).any(is_read);
            self.returned(planning, tables.schema(), returns_columns, &is_read)
        };
        let answer = replace_tables(shown, "RETURNING", over)?;
        let views = self.views(returns_columns);
        Ok(DmlNode::by_views(DmlNode::returning(answer)?, views))
    }

    /// The changed rows as `tables`, of which those of other tables are left out that are not read.
    fn returned(
        &self,
        planning: &Planning<'_>,
        tables: &DFSchema,
        returns_columns: bool,
        is_read: &dyn Fn(&Column) -> bool,
    ) -> Result<LogicalPlan> {
        let mut query = Queried::of(self.input.clone())?;
        let mut rows = self.returned_rows(&mut query, returns_columns);
        let mut exprs = Vec::new();
        if returns_columns {
            let relation = tables.iter().next().and_then(|(r, _)| r.cloned());
            let relation = relation.ok_or_else(|| Error::internal("a view has a name"))?;
            exprs = self.through.exprs(&relation, BASE)?;
        }
        let others = tables.iter().skip(self.through.view.columns.len());
        for (place, (relation, field)) in others.enumerate() {
            let column = Column::new(relation.cloned(), field.name());
            if !is_read(&column) {
                continue;
            }
            let name = format!("_other_{place}");
            let renamed = Arc::new(field.as_ref().clone().with_name(&name));
            let shown = Expr::Column(Column::new_unqualified(&name));
            exprs.push(shown.alias_qualified(relation.cloned(), field.name()));
            rows.push((None, renamed, Returned::Queried(query.add(column))));
        }
        let engine = Arc::clone(&planning.session.inner.core.engine);
        let collection = Arc::clone(&self.through.view.collection);
        let (operation, query) = (self.operation, query.into_plan()?);
        let mut rows = ChangedRowsNode::plan(engine, collection, operation, query, rows)?;
        if operation != Operation::Delete {
            rows = checked(&self.through.view, rows)?;
        }
        Ok(LogicalPlan::Projection(Projection::try_new(
            exprs,
            Arc::new(rows),
        )?))
    }

    /// The stored columns of changed rows, as far as they are needed; those that go are read by the query.
    fn returned_rows(&self, query: &mut Queried, returns_columns: bool) -> Vec<ReturnedColumn> {
        let mut rows = match self.operation == Operation::Delete && !returns_columns {
            true => Vec::new(),
            false => self.stored_columns(),
        };
        if self.operation == Operation::Delete {
            let alias = fold(&self.alias);
            for (place, column) in rows.iter_mut().enumerate() {
                let relation = Some(TableReference::bare(alias.as_str()));
                let name = Column::new(relation, stored_column(place));
                column.2 = Returned::Queried(query.add(name));
            }
        }
        rows
    }
}

/// The query of a change, which gets further columns.
struct Queried {
    exprs: Vec<Expr>,
    below: Arc<LogicalPlan>,
}

impl Queried {
    fn of(query: LogicalPlan) -> Result<Self> {
        Ok(match query {
            LogicalPlan::Projection(Projection { expr, input, .. }) => Self {
                exprs: expr,
                below: input,
            },
            other => Self {
                exprs: other
                    .schema()
                    .columns()
                    .into_iter()
                    .map(Expr::Column)
                    .collect(),
                below: Arc::new(other),
            },
        })
    }

    /// Adds a column, and tells its place.
    fn add(&mut self, column: Column) -> usize {
        let place = self.exprs.len();
        let name = format!("_returned_{place}");
        self.exprs.push(Expr::Column(column).alias(name));
        place
    }

    fn into_plan(self) -> Result<LogicalPlan> {
        let query = Projection::try_new(self.exprs, self.below)?;
        Ok(LogicalPlan::Projection(query))
    }
}

impl Through {
    /// The columns that a live row and the one that is brought have, with the address of the first.
    pub fn paired(&self) -> Vec<PairedColumn> {
        let schema = self.view.collection.schema.arrow_schema();
        let fields = || schema.fields().iter().enumerate();
        let base = || Some(TableReference::bare(BASE));
        let address = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        let live = fields().map(|(at, f)| (base(), Arc::clone(f), Paired::Existing(at)));
        let mut columns: Vec<PairedColumn> = live.collect();
        columns.push((
            base(),
            address(SEGMENT_COLUMN, DataType::UInt64),
            Paired::Segment,
        ));
        columns.push((base(), address(ROW_COLUMN, DataType::UInt32), Paired::Row));
        let brought = || Some(TableReference::bare(BROUGHT));
        let other = fields().map(|(at, f)| (brought(), Arc::clone(f), Paired::Brought(at)));
        columns.extend(other);
        columns
    }

    /// The columns of `tables`, the live row of the view and the one that is brought, over `pairs`.
    pub fn over_pairs(&self, tables: &DFSchema, pairs: LogicalPlan) -> Result<LogicalPlan> {
        let half = tables.fields().len() / 2;
        let mut exprs = Vec::with_capacity(2 * half);
        for (base, first) in [(BASE, 0), (BROUGHT, half)] {
            let relation = tables.iter().nth(first).and_then(|(r, _)| r.cloned());
            let relation = relation.ok_or_else(|| Error::internal("a view has a name"))?;
            exprs.extend(self.exprs(&relation, base)?);
            let of = |name: &str| Expr::Column(Column::new(Some(TableReference::bare(base)), name));
            for name in [SEGMENT_COLUMN, ROW_COLUMN] {
                let address = match base {
                    BASE => of(name),
                    _ => lit(ScalarValue::Null),
                };
                exprs.push(address.alias_qualified(Some(relation.clone()), name));
            }
            let stored = self.view.collection.schema.columns.iter().enumerate();
            exprs.extend(stored.map(|(place, column)| {
                of(&column.name).alias_qualified(Some(relation.clone()), stored_column(place))
            }));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(
            exprs,
            Arc::new(pairs),
        )?))
    }
}
