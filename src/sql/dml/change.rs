//! UPDATE and DELETE: queries for the addresses of rows, and what they become.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    self, FromTable, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, UpdateTableFromKind,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::assign::assignments;
use super::returning::Change;
use super::through::{Through, stored_column};
use super::{no_column, null, target_columns};
use crate::catalog::dml::Operation;
use crate::catalog::dml::check_changeable;
use crate::catalog::provider::ROWS_CATALOG;
use crate::catalog::table::{ROW_COLUMN, SEGMENT_COLUMN};
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{check_writable, find_collection, qualify};
use crate::sql::session::Planning;
use crate::sql::tokens::{DIALECT, tokenize};
use crate::sql::updatable::{Verb, updatable};
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::schema::Column;

/// DELETE: the node over a query for the addresses of the rows.
pub(in crate::sql) async fn delete(
    planning: &Planning<'_>,
    delete: ast::Delete,
) -> Result<LogicalPlan> {
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() {
        return Err(Error::unsupported(
            "DELETE takes FROM, USING and WHERE only",
        ));
    }
    let (FromTable::WithFromKeyword(mut from) | FromTable::WithoutKeyword(mut from)) = delete.from;
    let [target] = from.as_mut_slice() else {
        return Err(Error::unsupported("DELETE takes one collection"));
    };
    let target = planning.target(target, Verb::Delete).await?;
    let through = target.planning(planning);
    let planning = through.as_ref().unwrap_or(planning);
    from.extend(delete.using.unwrap_or_default());
    let items = vec![target.address(SEGMENT_COLUMN), target.address(ROW_COLUMN)];
    let query = select(items, from.clone(), delete.selection)?;
    let change = target.change(Operation::Delete, planning.query(query).await?, from);
    planning.change(change, delete.returning).await
}

/// UPDATE: the node over a query for addresses and the new rows.
pub(in crate::sql) async fn update(
    planning: &Planning<'_>,
    update: ast::Update,
) -> Result<LogicalPlan> {
    if !update.order_by.is_empty() || update.limit.is_some() {
        return Err(Error::unsupported("UPDATE takes SET, FROM and WHERE only"));
    }
    let mut table = update.table;
    let target = planning.target(&mut table, Verb::Update).await?;
    let through = target.planning(planning);
    let planning = through.as_ref().unwrap_or(planning);
    let mut new_values = assignments(&target, update.assignments)?;
    let mut items = vec![target.address(SEGMENT_COLUMN), target.address(ROW_COLUMN)];
    for column in &target.collection.schema.columns {
        let expr = match new_values.remove(&column.name) {
            Some(expr) => planning.new_value(&target.collection, column, expr)?,
            None => target.same_value(column),
        };
        items.push(SelectItem::ExprWithAlias {
            expr,
            alias: quoted(&column.name),
        });
    }
    let mut from = vec![table];
    if let Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) =
        update.from
    {
        from.extend(more);
    }
    let query = select(items, from.clone(), update.selection)?;
    let change = target.change(Operation::Update, planning.query(query).await?, from);
    planning.change(change, update.returning).await
}

/// The collection that a statement changes, and the name its columns go by.
pub(super) struct Target {
    pub(super) collection: Arc<Collection>,
    /// What the statement names: the collection, or a view of it.
    pub(super) name: QualifiedName,
    pub(super) alias: Ident,
    /// The view.
    pub(super) through: Option<Through>,
}

impl Target {
    /// The change, by a query from the tables of `from`, of which the target is the first.
    pub(super) fn change(
        self,
        operation: Operation,
        input: LogicalPlan,
        mut from: Vec<TableWithJoins>,
    ) -> Change {
        // What is returned has no addresses.
        from[0] = table_of(&self.name, self.alias.clone());
        Change {
            collection: self.collection,
            operation,
            input,
            from,
            alias: self.alias,
            through: self.through,
        }
    }

    /// The planning of the queries of a statement that names a view.
    pub(super) fn planning<'a>(&self, planning: &Planning<'a>) -> Option<Planning<'a>> {
        let through = self.through.as_ref()?;
        Some(through.planning(planning))
    }

    /// Places of the columns that INSERT names.
    pub(super) fn targets(&self, names: &[ObjectName]) -> Result<Vec<usize>> {
        match &self.through {
            Some(through) => through.targets(names),
            None => target_columns(&self.collection, names),
        }
    }

    /// The column that SET names.
    ///
    /// # Errors
    /// 42703 for one that is not there, 0A000 for one of a view that is computed.
    pub(super) fn assigned(&self, name: &str) -> Result<&Column> {
        let columns = &self.collection.schema.columns;
        match &self.through {
            Some(through) => Ok(&columns[through.place(name, Verb::Update)?]),
            None => {
                let found = self.collection.schema.column(name);
                found.ok_or_else(|| no_column(name, &self.collection.name))
            }
        }
    }

    /// A column of the collection.
    pub(super) fn column(&self, name: &str) -> ast::Expr {
        let place = || {
            self.collection
                .schema
                .columns
                .iter()
                .position(|c| c.name == name)
        };
        let name = match self.through.as_ref().and_then(|_| place()) {
            Some(place) => stored_column(place),
            None => name.to_string(),
        };
        ast::Expr::CompoundIdentifier(vec![self.alias.clone(), quoted(&name)])
    }

    /// What a column gets that nothing is assigned to; generated ones are computed of the row as it becomes.
    pub(super) fn same_value(&self, column: &Column) -> ast::Expr {
        match column.generated {
            Some(_) => null(),
            None => self.column(&column.name),
        }
    }

    pub(super) fn address(&self, name: &str) -> SelectItem {
        SelectItem::ExprWithAlias {
            expr: self.column(name),
            alias: quoted(name),
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = ast::Expr> {
        [SEGMENT_COLUMN, ROW_COLUMN]
            .map(|name| self.column(name))
            .into_iter()
    }

    /// Whether there is none beside what it is joined with.
    pub(super) fn is_missing(&self) -> ast::Expr {
        ast::Expr::IsNull(Box::new(self.column(SEGMENT_COLUMN)))
    }
}

impl Planning<'_> {
    /// Makes the table of the statement the one that shows the addresses of its rows.
    pub(super) async fn target(&self, table: &mut TableWithJoins, verb: Verb) -> Result<Target> {
        if !table.joins.is_empty() {
            return Err(Error::unsupported("joins belong in FROM or USING"));
        }
        let TableFactor::Table {
            name,
            alias,
            version,
            ..
        } = &mut table.relation
        else {
            return Err(Error::unsupported("only a collection can be changed"));
        };
        if version.is_some() {
            let message = format!("an earlier version of \"{name}\" cannot be changed");
            let hint = "Versions are read: use them in FROM, USING or a subquery.";
            return Err(Error::unsupported(message).with_hint(hint));
        }
        let qualified = qualify(name, &self.session.search_path())?;
        check_writable(&qualified.schema)?;
        let parts = [ROWS_CATALOG, &qualified.schema, &qualified.name];
        *name = ObjectName::from(parts.map(quoted).to_vec());
        let alias = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: quoted(&qualified.name),
            columns: Vec::new(),
            at: None,
        });
        if !alias.columns.is_empty() {
            let message = "syntax error at or near \"(\"";
            let hint = "The columns of what is changed keep their names.";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).with_hint(hint));
        }
        self.changed(qualified, alias.name.clone(), verb).await
    }

    /// What a statement changes by that name: a collection, or a view of one.
    ///
    /// # Errors
    /// 42P01 when there is neither, 55000 for a view that is not updatable.
    pub(super) async fn changed(
        &self,
        name: QualifiedName,
        alias: Ident,
        verb: Verb,
    ) -> Result<Target> {
        let Some(view) = self.snapshot.view(&name) else {
            let collection = Arc::clone(find_collection(&self.snapshot, &name)?);
            check_changeable(&collection)?;
            return Ok(Target {
                collection,
                name,
                alias,
                through: None,
            });
        };
        let read = updatable(&self.state, &self.snapshot, view).await?;
        let read = read.map_err(|objection| objection.error(verb))?;
        read.check(view, verb)?;
        let through = Through::plan(self, &name, read).await?;
        Ok(Target {
            collection: Arc::clone(&through.view.collection),
            name,
            alias,
            through: Some(through),
        })
    }
}

/// A collection in FROM.
pub(super) fn table_of(name: &QualifiedName, alias: Ident) -> TableWithJoins {
    table(vec![quoted(&name.schema), quoted(&name.name)], alias)
}

pub(super) fn table(name: Vec<Ident>, alias: Ident) -> TableWithJoins {
    TableWithJoins {
        relation: TableFactor::Table {
            name: ObjectName::from(name),
            alias: Some(TableAlias {
                explicit: true,
                name: alias,
                columns: Vec::new(),
                at: None,
            }),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }
}

pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// `SELECT items FROM from WHERE selection`.
pub(super) fn select(
    items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<ast::Expr>,
) -> Result<Box<Query>> {
    // A parsed query has all the parts that SELECT can have and these do not.
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokenize("SELECT 1")?);
    let mut query = parser.parse_query()?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("SELECT 1 is no SELECT"));
    };
    select.projection = items;
    select.from = from;
    select.selection = selection;
    Ok(query)
}
