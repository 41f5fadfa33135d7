//! What empties a partition: its rows are deleted from the collection, whole segments where they have no others.

use std::sync::Arc;

use datafusion::dataframe::DataFrame;

use crate::catalog::transaction::OpenTransaction;
use crate::error::{Error, Result};
use crate::sql::dml;
use crate::sql::session::{Planning, Session};
use crate::sql::statement::Statement;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// Partitions whose rows go with a change of definitions.
pub(in crate::sql) struct Emptied(Vec<QualifiedName>);

impl Emptied {
    /// Those of the partitions whose table is not emptied as a whole.
    pub fn beside(snapshot: &Snapshot, changes: &[Change], names: Vec<QualifiedName>) -> Self {
        let is_emptied = |name: &QualifiedName| {
            let parent = snapshot.partition(name).map(|(_, of)| of.parent);
            let mut changes = changes.iter();
            changes.any(|c| matches!(c, Change::Truncate(id) if Some(*id) == parent))
        };
        let left = names.into_iter().filter(|name| !is_emptied(name));
        Self(left.collect())
    }

    /// Commits the changes, without the rows of the partitions, or makes both part of the block.
    ///
    /// # Errors
    /// Those of DELETE, and 40001 when rows came meanwhile.
    pub async fn commit(
        &self,
        session: &Session,
        snapshot: &Arc<Snapshot>,
        changes: Vec<Change>,
    ) -> Result<()> {
        if self.0.is_empty() {
            return session.commit(snapshot, changes).await;
        }
        let open = session.open_transaction();
        let is_alone = open.is_none();
        let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
        for name in &self.0 {
            empty(session, &transaction, name).await?;
        }
        if !changes.is_empty() {
            transaction.define(changes)?;
        }
        match is_alone {
            true => transaction.commit(Durability::Synced).await,
            false => Ok(()),
        }
    }
}

/// Of the changes of DROP those that are needed: partitions go with their table. The partitions whose rows stay without.
pub(in crate::sql) fn drop_rows_of(snapshot: &Snapshot, changes: &mut Vec<Change>) -> Emptied {
    let dropped = changes.iter().filter_map(|change| match change {
        Change::DropCollection(id) => Some(*id),
        _ => None,
    });
    let dropped: Vec<_> = dropped.collect();
    let mut emptied = Vec::new();
    changes.retain(|change| {
        let Change::DropView(name) = change else {
            return true;
        };
        let Some((_, partition)) = snapshot.partition(name) else {
            return true;
        };
        let goes_with = dropped.contains(&partition.parent);
        if !goes_with {
            emptied.push(name.clone());
        }
        !goes_with
    });
    Emptied(emptied)
}

/// Deletes the rows of a partition as a transaction has it.
///
/// # Errors
/// Those of DELETE.
pub(super) async fn empty(
    session: &Session,
    transaction: &Arc<OpenTransaction>,
    name: &QualifiedName,
) -> Result<()> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let text = format!(
        "DELETE FROM {}.{}",
        quoted(&name.schema),
        quoted(&name.name)
    );
    let Statement::Delete(delete) = crate::sql::parser::parse(&text)? else {
        return Err(Error::internal("DELETE is none"));
    };
    let planning = Planning::within(session, Arc::clone(transaction));
    let plan = dml::delete(&planning, *delete).await?;
    DataFrame::new(planning.state, plan).collect().await?;
    Ok(())
}
