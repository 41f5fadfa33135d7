//! ALTER TABLE on columns that have a sequence.

use arrow::datatypes::DataType;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::cast;
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::Ident;

use super::{Next, column_mut};
use crate::error::{Error, Result, sqlstate};
use crate::sql::sequence::{ColumnSequence, SequenceOptions, column_changes};
use crate::sql::session::Planning;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::schema::Column;
use crate::storage::sequence::{Generates, Owner, Position, Sequence};

/// Gives a column a sequence.
pub(super) fn add(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &str,
    wanted: &ColumnSequence,
) -> Result<()> {
    let table = next.name.as_ref().unwrap_or(&collection.name);
    let Some(column) = next.schema.column(name) else {
        let message = format!("column \"{name}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message));
    };
    let place = |what| {
        format!(
            "column \"{name}\" of relation \"{}\" {what}",
            collection.name
        )
    };
    if generated(planning, collection, column).is_some() {
        let message = place("is already an identity column");
        return Err(Error::invalid(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
        ));
    }
    if column.default.is_some() || column.generated.is_some() {
        let message = place("already has a default value");
        return Err(Error::invalid(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
        ));
    }
    let table = (table, collection.id);
    let changes = column_changes(planning.session, &planning.snapshot, table, column, wanted)?;
    next.others.extend(changes);
    Ok(())
}

/// Gives the rows that exist the first numbers of the sequence of a new column.
///
/// # Errors
/// 2200H where it has fewer numbers than there are rows.
pub(super) fn number_rows(collection: &Collection, next: &mut Next, name: &str) -> Result<()> {
    let rows = collection.live_rows();
    let column = next.schema.column(name).map(|column| column.id);
    let owns = |owner: Owner| Some(owner.field) == column;
    let created = next.others.iter_mut().find_map(|change| match change {
        Change::CreateSequence(sequence) if sequence.owner.is_some_and(owns) => Some(sequence),
        _ => None,
    });
    let (Some(column), Some(sequence)) = (column, created) else {
        return Err(Error::internal(
            "the sequence of the added column is missing",
        ));
    };
    if rows == 0 {
        return Ok(());
    }
    let numbers = sequence.block(sequence.position, rows)?;
    if numbers.count < rows {
        sequence.block(Position::reserved(numbers.last), 1)?;
        let message = "a sequence that begins again does not number rows that exist";
        return Err(Error::unsupported(message));
    }
    sequence.position = Position::reserved(numbers.last);
    let place = cast(row_number(), DataType::Int64) - lit(1_i64);
    let number = lit(numbers.first) + place * lit(sequence.increment);
    next.values.insert(column, number);
    next.is_rewritten = true;
    Ok(())
}

/// The error for an identity on a column that may be NULL.
pub(super) fn is_nullable(column: &Column, collection: &Collection) -> Error {
    let message = format!(
        "column \"{}\" of relation \"{}\" must be declared NOT NULL before identity can be added",
        column.name, collection.name
    );
    Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

/// SET DEFAULT and DROP DEFAULT of a SERIAL column take its sequence's place.
///
/// # Errors
/// 42601 for an identity column.
pub(super) fn lose_default(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
) -> Result<()> {
    let column = column_mut(&mut next.schema, name)?;
    let Some((sequence, owner, generates)) = generated(planning, collection, column) else {
        return Ok(());
    };
    if generates != Generates::Default {
        let message = format!(
            "column \"{}\" of relation \"{}\" is an identity column",
            column.name, collection.name
        );
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
            .with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."));
    }
    let mut without = Sequence::clone(sequence);
    without.owner = Some(Owner {
        generates: None,
        ..owner
    });
    next.others.push(Change::AlterSequence(without));
    Ok(())
}

/// SET GENERATED, and options of the sequence.
pub(super) fn set(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    generates: Option<Generates>,
    options: &SequenceOptions,
) -> Result<()> {
    let column = column_mut(&mut next.schema, name)?;
    let (sequence, owner, now) = identity(planning, collection, column)?;
    let engine = &planning.session.inner.core.engine;
    let generation = engine.committer.allocate_id();
    let mut altered = options.alter(sequence, engine.sequences.given(sequence), generation)?;
    altered.owner = Some(Owner {
        generates: Some(generates.unwrap_or(now)),
        ..owner
    });
    next.others.push(Change::AlterSequence(altered));
    Ok(())
}

/// DROP IDENTITY.
pub(super) fn remove(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    if_exists: bool,
) -> Result<()> {
    let column = column_mut(&mut next.schema, name)?;
    match identity(planning, collection, column) {
        Ok((sequence, ..)) => {
            next.others.push(Change::DropSequence(sequence.id));
            Ok(())
        }
        Err(e) if if_exists => {
            planning
                .session
                .notice(format!("{}, skipping", e.message()));
            Ok(())
        }
        Err(e) => Err(e),
    }
}

type Generated<'a> = (&'a Sequence, Owner, Generates);

/// The sequence that the column gets its values from.
fn generated<'a>(
    planning: &'a Planning<'_>,
    collection: &Collection,
    column: &Column,
) -> Option<Generated<'a>> {
    let sequence = planning.snapshot.owned_sequence(collection.id, column.id)?;
    let owner = sequence.owner?;
    Some((sequence, owner, owner.generates?))
}

/// The sequence of an identity column.
///
/// # Errors
/// 55000 for another column.
fn identity<'a>(
    planning: &'a Planning<'_>,
    collection: &Collection,
    column: &Column,
) -> Result<Generated<'a>> {
    let found = generated(planning, collection, column);
    found
        .filter(|(.., g)| *g != Generates::Default)
        .ok_or_else(|| {
            let message = format!(
                "column \"{}\" of relation \"{}\" is not an identity column",
                column.name, collection.name
            );
            Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        })
}
