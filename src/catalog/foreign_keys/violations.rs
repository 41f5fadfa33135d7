//! The errors of rows that do not keep a foreign key.

use crate::error::{Error, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::ForeignKey;

/// Rows of `child` refer to nothing, for this reason.
pub(super) fn refers_to_nothing(child: &str, key: &ForeignKey, detail: String) -> Error {
    let name = &key.name;
    let message =
        format!("insert or update on table \"{child}\" violates foreign key constraint \"{name}\"");
    Error::invalid(sqlstate::FOREIGN_KEY_VIOLATION, message)
        .with_detail(detail)
        .with_constraint(child, name)
}

/// Rows of `child` refer to a key that the parent does not have.
pub(super) fn is_missing(child: &str, key: &ForeignKey, text: &str, parent: &Collection) -> Error {
    let parent = &parent.name.name;
    let detail = format!("Key {text} is not present in table \"{parent}\".");
    refers_to_nothing(child, key, detail)
}

/// Rows of `child` refer to a key that the parent had.
pub(super) fn is_referred_to(
    parent: &Collection,
    child: &Collection,
    key: &ForeignKey,
    text: &str,
) -> Error {
    let (parent, child, name) = (&parent.name.name, &child.name.name, &key.name);
    let message = format!(
        "update or delete on table \"{parent}\" violates foreign key constraint \"{name}\" on table \"{child}\""
    );
    let detail = format!("Key {text} is still referenced from table \"{child}\".");
    Error::invalid(sqlstate::FOREIGN_KEY_VIOLATION, message)
        .with_detail(detail)
        .with_constraint(child, name)
}
