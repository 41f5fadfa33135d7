//! ALTER TYPE .. RENAME VALUE: rows have the label, so they are updated in the same transaction.

use std::sync::Arc;

use datafusion::dataframe::DataFrame;

use super::existing;
use crate::catalog::index_definition::quoted;
use crate::catalog::transaction::OpenTransaction;
use crate::error::{Error, Result, sqlstate};
use crate::sql::dml;
use crate::sql::parser::parse;
use crate::sql::session::{Planning, Session};
use crate::sql::statement::Statement;
use crate::storage::change::{AlterCollection, Change};
use crate::storage::collection::Collection;
use crate::storage::enum_type::{EnumLabel, EnumType};
use crate::storage::schema::{Column, ColumnType};
use crate::storage::transaction::Durability;

/// Gives a value another label: the type has both while rows change from one to the other.
///
/// # Errors
/// 22023 for a value that is not there, 42710 for one that is.
pub(super) async fn run(session: &Session, of: &EnumType, from: &str, to: &str) -> Result<()> {
    super::check_label(to)?;
    let place = existing(of, from)?;
    if of.position(to).is_some() {
        let message = format!("enum label \"{to}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    let mut both = of.clone();
    both.labels.insert(place, super::new_label(session, to));
    let mut renamed = of.clone();
    renamed.labels[place].name = to.to_string();
    transaction.define(vec![Change::AlterType(both)])?;
    update_rows(session, &transaction, of, (from, to)).await?;
    let mut changes = vec![Change::AlterType(renamed)];
    changes.extend(defaults(&transaction, of, &of.labels[place], to));
    transaction.define(changes)?;
    match is_alone {
        true => transaction.commit(Durability::Synced).await,
        false => Ok(()),
    }
}

async fn update_rows(
    session: &Session,
    transaction: &Arc<OpenTransaction>,
    of: &EnumType,
    labels: (&str, &str),
) -> Result<()> {
    let snapshot = transaction.snapshot();
    let mut updates = Vec::new();
    for collection in snapshot.collections() {
        let columns = columns_of(collection, of);
        updates.extend(columns.map(|column| (collection.id, update(collection, column, labels))));
    }
    for (id, text) in updates {
        let Statement::Update(update) = parse(&text)? else {
            return Err(Error::internal("an UPDATE is another statement"));
        };
        let mut planning = Planning::within(session, Arc::clone(transaction));
        // The session sees the type as it was until the transaction is committed.
        let snapshot = Arc::clone(&planning.snapshot);
        let collection = snapshot.collection_by_id(id);
        let collection = collection.ok_or_else(|| Error::internal("the collection is gone"))?;
        let engine = Arc::clone(&session.inner.core.engine);
        let common = &mut planning.common;
        common.add_rows(engine, collection, snapshot.version());
        let plan = dml::update(&planning, *update).await?;
        DataFrame::new(planning.state, plan).collect().await?;
    }
    Ok(())
}

fn columns_of<'a>(
    collection: &'a Collection,
    of: &'a EnumType,
) -> impl Iterator<Item = &'a Column> {
    let columns = collection.schema.columns.iter();
    columns.filter(|c| c.column_type.is_of_enum(of.id))
}

fn update(collection: &Collection, column: &Column, (from, to): (&str, &str)) -> String {
    let name = &collection.name;
    let (schema, table) = (quoted(&name.schema), quoted(&name.name));
    let column_name = quoted(&column.name);
    let [from, to] = [from, to].map(literal);
    match column.column_type {
        ColumnType::Array(_) => format!(
            "UPDATE {schema}.{table} SET {column_name} = array_replace_all({column_name}, {from}, {to}) \
             WHERE array_has({column_name}, {from})"
        ),
        _ => {
            format!("UPDATE {schema}.{table} SET {column_name} = {to} WHERE {column_name} = {from}")
        }
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What gives columns whose default is the value the same default under its new label.
fn defaults(
    transaction: &OpenTransaction,
    of: &EnumType,
    from: &EnumLabel,
    to: &str,
) -> Vec<Change> {
    let (from, to) = (literal(&from.name), literal(to));
    let renamed = |column: &Column| {
        let rest = column.default.as_ref()?.strip_prefix(from.as_str())?;
        let is_it = rest.is_empty() || rest.starts_with("::");
        is_it.then(|| format!("{to}{rest}"))
    };
    let snapshot = transaction.snapshot();
    let altered = snapshot.collections().filter_map(|collection| {
        let mut schema = (*collection.schema).clone();
        let mut changed = false;
        let columns = schema.columns.iter_mut();
        let of_type = |c: &&mut Column| c.column_type.is_of_enum(of.id);
        for column in columns.filter(of_type) {
            if let Some(default) = renamed(column) {
                column.default = Some(default);
                changed = true;
            }
        }
        changed.then(|| {
            Change::AlterCollection(AlterCollection {
                id: collection.id,
                name: None,
                schema: Some(schema),
                options: None,
            })
        })
    });
    altered.collect()
}
