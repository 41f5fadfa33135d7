//! Whether definitions are still those that a change was made for.

use crate::error::{Error, Result};
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::schema::Version;
use crate::storage::snapshot::Snapshot;

/// That the schema or type is still the one that the change was made for. To a replace it does not matter: its outputs are
/// as its inputs were, written under an earlier schema, and with the same rows.
pub(super) fn check_schema(current: &Snapshot, change: &Change, read: Version) -> Result<()> {
    if let Change::AlterType(of) = change
        && current.type_changed_since(of.id, read)
    {
        let message = format!("type \"{}\" was altered by a concurrent commit", of.name);
        return Err(Error::conflict(message));
    }
    if let Change::AlterDomain(domain) = change
        && current.domain_changed_since(domain.id, read)
    {
        let message = format!("domain \"{domain}\" was altered by a concurrent commit");
        return Err(Error::conflict(message));
    }
    if let Change::AlterFunction(function) = change
        && current.function_changed_since(function.id, read)
    {
        let message = format!(
            "function \"{}\" was altered by a concurrent commit",
            function.name
        );
        return Err(Error::conflict(message));
    }
    let collection = match change {
        Change::Append(append) => append.collection,
        Change::AddSegments(collection, _) => *collection,
        Change::AlterCollection(alter) => alter.id,
        Change::CreateIndex(collection, _)
        | Change::Train(collection, _)
        | Change::Materialize(collection, _) => *collection,
        Change::CreateView(view) => match &view.partition {
            Some(partition) => partition.parent,
            None => return Ok(()),
        },
        Change::DropView(name) => match current.partition(name) {
            Some((_, partition)) => partition.parent,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    match current.collection_by_id(collection) {
        Some(found) if found.schema_version > read || is_overtaken(change, found, read) => {
            Err(Error::conflict(format!(
                "collection \"{}\" was altered by a concurrent commit",
                found.name
            )))
        }
        _ => Ok(()),
    }
}

/// Whether a change brings a whole schema, but without the key that was trained since.
fn is_overtaken(change: &Change, found: &Collection, read: Version) -> bool {
    let has_schema = matches!(change, Change::AlterCollection(_) | Change::Train(..));
    has_schema && found.trained_version > read
}

/// That a role, owner or grants are still what the change was made from.
pub(super) fn check_authority(current: &Snapshot, change: &Change, read: Version) -> Result<()> {
    let authority = current.authority();
    let (what, changed) = match change {
        Change::AlterRole(role) => ("the role", authority.role_changed_since(role.id, read)),
        Change::DropRole(id) => ("the role", authority.role_changed_since(*id, read)),
        Change::SetAccess(object, _) => (
            "the privileges",
            authority.access_changed_since(object, read),
        ),
        _ => return Ok(()),
    };
    if changed {
        let message = format!("{what} changed by a concurrent commit");
        return Err(Error::conflict(message));
    }
    Ok(())
}
