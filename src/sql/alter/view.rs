//! ALTER VIEW: another name, another schema, other names of columns.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Ident;

use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::check_writable;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::statement::{Alter, AlterAction};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::comment::Commented;
use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// What the actions do to a view.
///
/// # Errors
/// 42809 for what only tables have, 42703 for a column that it does not have, 42P07 for a name that is taken.
pub(super) async fn changes(
    planning: &Planning<'_>,
    view: &Arc<View>,
    alter: &Alter,
) -> Result<Vec<Change>> {
    let session = planning.session;
    let object = Object::View(view.name.clone());
    session.check_owner(&planning.snapshot, &object, &view.name.name)?;
    let mut next = View::clone(view);
    for action in &alter.actions {
        match action {
            AlterAction::Rename(to) => next.name.name = fold(to),
            AlterAction::SetSchema(to) => next.name.schema = moved(planning, view, to)?,
            AlterAction::RenameColumn(from, to) => {
                next.columns = renamed(planning, view, from, to).await?;
            }
            _ => {
                let message = format!("\"{}\" is not a table", view.name.name);
                return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
            }
        }
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
