//! ALTER TABLE of generated columns.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Ident;

use super::Next;
use super::columns::{self, column_mut};
use crate::error::{Error, Result, sqlstate};
use crate::sql::dependents::{needed, notice_cascade};
use crate::sql::generated;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::statement::ColumnDefinition;
use crate::storage::collection::Collection;
use crate::storage::schema::{Column, FieldId};

/// Makes the column that was added a generated one, whose values all rows get.
pub(super) fn add(
    planning: &Planning<'_>,
    next: &mut Next,
    definition: &ColumnDefinition,
) -> Result<()> {
    let Some(expression) = &definition.generated else {
        return Ok(());
    };
    let name = fold(&definition.name);
    generated::set(planning, &mut next.schema, &name, expression, &|_| false)?;
    next.is_rewritten = true;
    Ok(())
}

/// DROP EXPRESSION: values stay as they are.
///
/// # Errors
/// 55000 for a column that is not generated, unless that is fine.
pub(super) fn drop_expression(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    if_exists: bool,
) -> Result<()> {
    let column = column_mut(&mut next.schema, name)?;
    if column.generated.take().is_some() {
        return Ok(());
    }
    let message = format!(
        "column \"{}\" of relation \"{}\" is not a stored generated column",
        column.name, collection.name.name
    );
    if if_exists {
        planning.session.notice(format!("{message}, skipping"));
        return Ok(());
    }
    let code = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
    Err(Error::invalid(code, message))
}

/// That the column may get or lose a default.
///
/// # Errors
/// 42601 for a generated column.
pub(super) fn check_default(collection: &Collection, column: &Column, drops: bool) -> Result<()> {
    if column.generated.is_none() {
        return Ok(());
    }
    let message = format!(
        "column \"{}\" of relation \"{}\" is a generated column",
        column.name, collection.name.name
    );
    let error = Error::invalid(sqlstate::SYNTAX_ERROR, message);
    Err(match drops {
        true => error.with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead."),
        false => error,
    })
}

/// The generated columns that read a column.
pub(super) fn readers(next: &Next, id: FieldId) -> Vec<&Column> {
    let reads = |column: &&Column| {
        let generated = column.generated.as_ref();
        generated.is_some_and(|generated| generated.columns.contains(&id))
    };
    next.schema.columns.iter().filter(reads).collect()
}

/// Drops, with CASCADE, the generated columns that read a column which is to be dropped.
///
/// # Errors
/// 2BP01 where there are some without CASCADE.
pub(super) fn drop_readers(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &mut Next,
    name: &Ident,
    cascade: bool,
) -> Result<()> {
    let id = column_mut(&mut next.schema, name)?.id;
    let names: Vec<String> = readers(next, id).iter().map(|c| c.name.clone()).collect();
    let table = &collection.name;
    let described = |name: &String| format!("column {name} of table {table}");
    let words: Vec<String> = names.iter().map(described).collect();
    if !cascade && !names.is_empty() {
        let what = described(&fold(name));
        let depends = words.iter().map(|word| format!("{word} depends on {what}"));
        return Err(needed(&what, "it", depends));
    }
    notice_cascade(planning.session, &words);
    for name in names {
        columns::drop(next, &table.name, &Ident::with_quote('"', name))?;
    }
    Ok(())
}
