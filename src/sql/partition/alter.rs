//! ALTER TABLE of a partition: its name is its own, all else is its table's.

use datafusion::sql::sqlparser::ast::Ident;

use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::statement::{AlterAction, AlterWord};
use crate::storage::change::View;
use crate::storage::collection::Collection;

/// The actions that are left to do for a partition: those that say of it what its table has said are done.
///
/// # Errors
/// 42P16 as of PostgreSQL for columns, which are inherited; 0A000 for what a partition does not have of its own.
pub(in crate::sql) fn check_actions(
    planning: &Planning<'_>,
    view: &View,
    parent: &Collection,
    word: AlterWord,
    actions: &[AlterAction],
) -> Result<Vec<AlterAction>> {
    if word == AlterWord::View {
        let message = format!("\"{}\" is not a view", view.name.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let mut left = Vec::new();
    for action in actions {
        match action {
            AlterAction::Rename(_) | AlterAction::SetSchema(_) => left.push(action.clone()),
            AlterAction::Nothing(notice) => planning.session.notice(*notice),
            AlterAction::TuneColumn(_) => {}
            AlterAction::AddPrimaryKey(_, names) if has_key(parent, names) => {
                planning
                    .session
                    .notice("the key of the table is over all its partitions already");
            }
            other => return Err(refused(other, view)),
        }
    }
    Ok(left)
}

/// Whether the primary key of a table is of these columns.
fn has_key(parent: &Collection, names: &[Ident]) -> bool {
    let key = parent.schema.primary_key.iter();
    let key = key.filter_map(|id| parent.schema.column_by_id(*id));
    let key: Vec<&str> = key.map(|column| column.name.as_str()).collect();
    key == names.iter().map(fold).collect::<Vec<_>>()
}

fn refused(action: &AlterAction, view: &View) -> Error {
    let inherited = |verb: &str, name: &Ident| {
        let message = format!("cannot {verb} inherited column \"{}\"", fold(name));
        Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message)
    };
    match action {
        AlterAction::AddColumn { .. } => {
            let message = "cannot add column to a partition";
            Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
        }
        AlterAction::DropColumn { name, .. } => inherited("drop", name),
        AlterAction::RenameColumn(name, _) => inherited("rename", name),
        AlterAction::SetType { name, .. } => inherited("alter", name),
        AlterAction::AttachPartition { .. } | AlterAction::DetachPartition { .. } => {
            super::grammar::subpartitions()
        }
        _ => {
            let message = format!(
                "partition \"{}\" has no constraints, defaults or options of its own",
                view.name.name
            );
            Error::unsupported(message).with_hint("ALTER TABLE of its table is about all of them.")
        }
    }
}
