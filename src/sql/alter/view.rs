//! ALTER VIEW: another name, another schema, other names of columns.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use crate::error::{Error, Result, sqlstate};
use crate::sql::create::{check_options, check_updatable};
use crate::sql::ddl::check_writable;
use crate::sql::dml::no_column;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::statement::AlterAction;
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::comment::Commented;
use crate::storage::snapshot::TEMPORARY_SCHEMA;
use crate::storage::view::CHECK_OPTION;

/// What the actions do to a view.
///
/// # Errors
/// 42809 for what only tables have, 42703 for a column that it does not have, 42P07 for a name that is taken.
pub(super) async fn changes(
    planning: &Planning<'_>,
    view: &Arc<View>,
    actions: &[AlterAction],
) -> Result<Vec<Change>> {
    let session = planning.session;
    let object = Object::View(view.name.clone());
    session.check_owner(&planning.snapshot, &object, &view.name.name)?;
    let mut next = View::clone(view);
    for action in actions {
        match action {
            AlterAction::Rename(to) => next.name.name = fold(to),
            AlterAction::SetSchema(to) => next.name.schema = moved(planning, view, to)?,
            AlterAction::RenameColumn(from, to) => {
                next.columns = renamed(planning, view, from, to).await?;
                if let Some(default) = next.defaults.remove(&fold(from)) {
                    next.defaults.insert(fold(to), default);
                }
            }
            AlterAction::SetOptions(options) => {
                check_options(options)?;
                set_options(&mut next, options);
            }
            AlterAction::ResetOptions(names) => {
                let names: Vec<(String, String)> = names
                    .iter()
                    .map(|name| (name.clone(), default_of(name)))
                    .collect();
                check_options(&names)?;
                next.options
                    .retain(|(option, _)| names.iter().all(|(name, _)| name != option));
            }
            AlterAction::SetDefault(name, default) => {
                set_default(planning, &mut next, name, default.as_ref()).await?;
            }
            action => return Err(not_of(action, &view.name.name, "views")),
        }
    }
    if next.options != view.options {
        check_updatable(planning, &next).await?;
    }
    if next.name == view.name {
        return Ok(match next == **view {
            true => Vec::new(),
            false => vec![Change::CreateView(next)],
        });
    }
    if planning.snapshot.has_relation(&next.name) {
        let message = format!("relation \"{}\" already exists", next.name.name);
        return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
    }
    Ok(under_another_name(planning, view, next))
}

/// Options that are set keep their places.
fn set_options(view: &mut View, options: &[(String, String)]) {
    view.options
        .retain(|(known, _)| options.iter().all(|(name, _)| name != known));
    view.options.extend(options.iter().cloned());
}

/// A value that the option may have.
fn default_of(option: &str) -> String {
    match option {
        CHECK_OPTION => "local".to_string(),
        _ => "false".to_string(),
    }
}

/// What a column gets in rows that are inserted by the view.
async fn set_default(
    planning: &Planning<'_>,
    view: &mut View,
    name: &Ident,
    default: Option<&(Expr, String)>,
) -> Result<()> {
    let name = fold(name);
    let columns = planning.columns_of_view(&view.name).await?;
    if !columns.contains(&name) {
        return Err(no_column(&name, &view.name));
    }
    match default {
        Some((_, text)) => {
            planning.constant(text)?;
            view.defaults.insert(name, text.clone());
        }
        None => _ = view.defaults.remove(&name),
    }
    Ok(())
}

/// That an action is one that materialized views have.
///
/// # Errors
/// 42809 for another.
pub(super) fn check_materialized(action: &AlterAction, name: &str) -> Result<()> {
    match action {
        AlterAction::Rename(_)
        | AlterAction::RenameColumn(..)
        | AlterAction::SetSchema(_)
        | AlterAction::ClusterBy(_)
        | AlterAction::SetOptions(_)
        | AlterAction::ResetOptions(_)
        | AlterAction::TuneColumn(_)
        | AlterAction::Nothing(_) => Ok(()),
        other => Err(not_of(other, name, "materialized views")),
    }
}

/// 42809: only tables have it.
fn not_of(action: &AlterAction, name: &str, kind: &str) -> Error {
    let words = match action {
        AlterAction::AddColumn { .. } => "ADD COLUMN",
        AlterAction::DropColumn { .. } => "DROP COLUMN",
        AlterAction::SetType { .. } => "ALTER COLUMN ... SET DATA TYPE",
        AlterAction::SetDefault(..) => "ALTER COLUMN ... SET DEFAULT",
        AlterAction::SetNullable(_, true) => "ALTER COLUMN ... DROP NOT NULL",
        AlterAction::SetNullable(_, false) => "ALTER COLUMN ... SET NOT NULL",
        AlterAction::AddCheck { .. }
        | AlterAction::AddUnique(_)
        | AlterAction::AddPrimaryKey(..)
        | AlterAction::UseIndex { .. }
        | AlterAction::AddForeignKey(_) => "ADD CONSTRAINT",
        AlterAction::DropConstraint { .. } => "DROP CONSTRAINT",
        _ => {
            let message = format!("\"{name}\" is not a table");
            return Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message);
        }
    };
    let message = format!("ALTER action {words} cannot be performed on relation \"{name}\"");
    Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
        .with_detail(format!("This operation is not supported for {kind}."))
}

/// The schema that a view goes to.
fn moved(planning: &Planning<'_>, view: &View, to: &Ident) -> Result<String> {
    let to = fold(to);
    check_writable(&to)?;
    if [&to, &view.name.schema].contains(&&TEMPORARY_SCHEMA.to_string()) {
        let message = "cannot move objects into or out of temporary schemas";
        return Err(Error::unsupported(message));
    }
    planning.session.check_creates(&planning.snapshot, &to)?;
    Ok(to)
}

/// The names of the columns, one of which has another.
async fn renamed(
    planning: &Planning<'_>,
    view: &View,
    from: &Ident,
    to: &Ident,
) -> Result<Vec<String>> {
    let (from, to) = (fold(from), fold(to));
    let mut names = planning.columns_of_view(&view.name).await?;
    if names.contains(&to) {
        let message = format!(
            "column \"{to}\" of relation \"{}\" already exists",
            view.name.name
        );
        return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
    }
    let Some(name) = names.iter_mut().find(|name| **name == from) else {
        let message = format!("column \"{from}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message));
    };
    *name = to;
    Ok(names)
}

/// A view comes anew, with its owner, grants and comments.
fn under_another_name(planning: &Planning<'_>, view: &View, next: View) -> Vec<Change> {
    let name = next.name.clone();
    let object = Object::View(view.name.clone());
    let access = (*planning.snapshot.access(&object)).clone();
    let moved = |on: &Commented| match on {
        Commented::View(of) if *of == view.name => Some(Commented::View(name.clone())),
        Commented::ViewColumn(of, column) if *of == view.name => {
            Some(Commented::ViewColumn(name.clone(), *column))
        }
        _ => None,
    };
    let comments = planning.snapshot.comments();
    let comments = comments.filter_map(|(on, text)| Some((moved(on)?, text.to_string())));
    let comments: Vec<Change> = comments
        .map(|(on, text)| Change::Comment(on, Some(text)))
        .collect();
    let mut changes = vec![
        Change::DropView(view.name.clone()),
        Change::CreateView(next),
        Change::SetAccess(Object::View(name.clone()), access),
    ];
    changes.extend(comments);
    changes
}

impl Planning<'_> {
    /// The names of a view's columns.
    async fn columns_of_view(&self, name: &QualifiedName) -> Result<Vec<String>> {
        let plan = self.query(crate::sql::create::all_of(name)?).await?;
        let fields = plan.schema().fields().iter();
        Ok(fields.map(|field| field.name().clone()).collect())
    }
}
