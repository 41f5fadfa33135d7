//! ON CONFLICT: which key it means, and what becomes of the rows that have it.

use std::sync::Arc;

use datafusion::common::{Column as ColumnName, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    self, ConflictTarget, OnConflict, OnConflictAction, OnInsert, SelectItem,
};

use super::assign::assignments;
use super::choose::{case, choose, named_by_place, number};
use super::infer::key_of_list;
use super::returning::{columns_read, replace_tables};
use super::through::stored_column;
use super::{Target, quoted, select, table, table_of};
use crate::catalog::dml::{Action, Conflict, ConflictNode, Merge, Operation, Paired, PairedColumn};
use crate::catalog::provider::ROWS_CATALOG;
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::name_parts;
use crate::sql::session::Planning;
use crate::storage::collection::Collection;
use crate::storage::unique::KeyId;

/// What DO UPDATE of the rows with a key does.
fn upsert(key: KeyId) -> Merge {
    Merge {
        sets: 2,
        inserts: true,
        updates: true,
        deletes: false,
        by_key: Some(key),
    }
}

const INSERT: Action = Action::Store(0);
const UPDATE: Action = Action::Store(1);

/// The name of the row that is brought.
const EXCLUDED: &str = "excluded";

impl Planning<'_> {
    /// What an INSERT of the rows of `input` does then, and the query that it takes.
    ///
    /// # Errors
    /// 42P10 for columns that are not a unique key, 42704 for a constraint that is not there, 42601 for an update
    /// that names neither, and whatever is wrong with its expressions.
    pub(super) async fn on_conflict(
        &self,
        on: OnInsert,
        target: &Target,
        input: LogicalPlan,
    ) -> Result<(Operation, LogicalPlan)> {
        let OnInsert::OnConflict(on) = on else {
            return Err(Error::unsupported("write ON CONFLICT .. DO UPDATE"));
        };
        let OnConflict {
            conflict_target,
            action,
        } = on;
        let named = conflict_target.map(|named| key_named(&named, target));
        match (action, named.transpose()?) {
            (OnConflictAction::DoUpdate(_), None) => Err(Error::invalid(
                sqlstate::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name).")),
            // Without a key nothing conflicts.
            (OnConflictAction::DoNothing, None) if target.collection.unique_keys().is_empty() => {
                Ok((Operation::Insert, input))
            }
            (OnConflictAction::DoNothing, key) => {
                Ok((Operation::Insert, self.skip(target, key, input)?))
            }
            (OnConflictAction::DoUpdate(update), Some(key)) => {
                let input = self.update(target, key, update, input).await?;
                Ok((Operation::Merge(upsert(key)), input))
            }
        }
    }

    /// The rows without those whose keys are there.
    fn skip(&self, target: &Target, key: Option<KeyId>, input: LogicalPlan) -> Result<LogicalPlan> {
        let fields = target.collection.schema.arrow_schema();
        let columns = fields.fields().iter().enumerate();
        let columns = columns
            .map(|(place, field)| (None, Arc::clone(field), Paired::Brought(place)))
            .collect();
        self.conflicts(target, Conflict::Skip, key, input, columns)
    }

    /// The rows, what is done with them, and what the live ones with their keys become.
    async fn update(
        &self,
        target: &Target,
        key: KeyId,
        update: ast::DoUpdate,
        input: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let items = self.update_items(target, update)?;
        let own = [ROWS_CATALOG, &target.name.schema, &target.name.name];
        let own = table(own.map(quoted).to_vec(), target.alias.clone());
        let excluded = match target.through {
            Some(_) => {
                let rows = [ROWS_CATALOG, &target.name.schema, &target.name.name];
                table(rows.map(quoted).to_vec(), quoted(EXCLUDED))
            }
            None => table_of(&target.name, quoted(EXCLUDED)),
        };
        let plan = self
            .query(select(items, vec![own, excluded], None)?)
            .await?;
        let plan = replace_tables(plan, "ON CONFLICT DO UPDATE", |tables, exprs| {
            if let Some(through) = &target.through {
                let columns = through.paired();
                let pairs = self.conflicts(target, Conflict::Pair, Some(key), input, columns)?;
                return through.over_pairs(tables.schema(), pairs);
            }
            let columns = paired(tables, exprs, &target.collection)?;
            self.conflicts(target, Conflict::Pair, Some(key), input, columns)
        })?;
        choose(plan, target.collection.schema.columns.len())
    }

    /// The columns that [`Operation::Merge`] takes.
    fn update_items(&self, target: &Target, update: ast::DoUpdate) -> Result<Vec<SelectItem>> {
        let collection = &target.collection;
        let mut values = assignments(target, update.assignments)?;
        let action = case(
            vec![(target.is_missing(), number(INSERT))],
            match update.selection {
                Some(applies) => case(vec![(applies, number(UPDATE))], number(Action::Nothing)),
                None => number(UPDATE),
            },
        );
        let columns = &collection.schema.columns;
        let brought = columns.iter().enumerate().map(|(place, column)| {
            let name = match target.through {
                Some(_) => quoted(&stored_column(place)),
                None => quoted(&column.name),
            };
            ast::Expr::CompoundIdentifier(vec![quoted(EXCLUDED), name])
        });
        let mut exprs: Vec<ast::Expr> = target.addresses().chain([action]).chain(brought).collect();
        for column in columns {
            exprs.push(match values.remove(&column.name) {
                Some(expr) => self.new_value(collection, column, expr)?,
                None => target.same_value(column),
            });
        }
        Ok(named_by_place(exprs))
    }

    fn conflicts(
        &self,
        target: &Target,
        conflict: Conflict,
        key: Option<KeyId>,
        input: LogicalPlan,
        columns: Vec<PairedColumn>,
    ) -> Result<LogicalPlan> {
        let engine = Arc::clone(&self.session.inner.core.engine);
        let collection = Arc::clone(&target.collection);
        ConflictNode::plan(engine, collection, conflict, key, input, columns)
    }
}

/// The unique key of these parts, in any order, or of that constraint.
fn key_named(named: &ConflictTarget, target: &Target) -> Result<KeyId> {
    let collection = &target.collection;
    let mut keys = collection.unique_keys().into_iter();
    match named {
        ConflictTarget::Columns(columns) => match &target.through {
            Some(through) => key_of_list(&through.key(columns)?, collection),
            None => key_of_list(columns, collection),
        },
        ConflictTarget::OnConstraint(name) => {
            let name = name_parts(name)?.pop().unwrap_or_default();
            let table = &collection.name.name;
            let found = keys.find(|key| key.name == name && key.is_constraint);
            found.map(|key| key.id).ok_or_else(|| {
                let message = format!("constraint \"{name}\" for table \"{table}\" does not exist");
                Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
            })
        }
    }
}

/// The columns of `tables`, first those of the live row and its address, then those of the one that is brought, as far
/// as the expressions read them.
fn paired(
    tables: &LogicalPlan,
    exprs: &[Expr],
    collection: &Collection,
) -> Result<Vec<PairedColumn>> {
    let read = columns_read(exprs)?;
    let own = collection.schema.columns.len();
    let from = |place: usize| match place.checked_sub(own) {
        None => Paired::Existing(place),
        Some(0) => Paired::Segment,
        Some(1) => Paired::Row,
        Some(behind) => Paired::Brought(behind - 2),
    };
    let columns = tables.schema().iter().enumerate();
    let columns = columns
        .map(|(place, (relation, field))| (relation.cloned(), Arc::clone(field), from(place)));
    let is_read = |(relation, field, _): &(Option<TableReference>, _, _)| {
        let field: &arrow::datatypes::FieldRef = field;
        let column = ColumnName::new(relation.clone(), field.name());
        read.as_ref().is_none_or(|read| read.contains(&column))
    };
    Ok(columns.filter(is_read).collect())
}
