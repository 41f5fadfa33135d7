//! The sequences of SERIAL and identity columns.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, ObjectName};

use super::SequenceOptions;
use crate::catalog::pg::sequence_oid;
use crate::error::{Error, Result, sqlstate};
use crate::sql::default_name::{first_free, joined};
use crate::sql::parser::name_parts;
use crate::sql::session::Session;
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionId, Column, ColumnType, SequenceId};
use crate::storage::sequence::{Generates, Owner, Sequence};
use crate::storage::snapshot::Snapshot;

/// The sequence that a column definition asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSequence {
    /// How the column gets its numbers.
    pub generates: Generates,
    /// Its options.
    pub options: SequenceOptions,
}

/// The changes that make the sequence of a column.
///
/// # Errors
/// 22023 for options that do not go together or a column that holds no whole numbers.
pub(in crate::sql) fn column_changes(
    session: &Session,
    snapshot: &Snapshot,
    table: (&QualifiedName, CollectionId),
    column: &Column,
    wanted: &ColumnSequence,
) -> Result<Vec<Change>> {
    let (table_name, collection) = table;
    let data_type = column.column_type.clone();
    if !matches!(
        data_type,
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt
    ) {
        let message = "identity column type must be smallint, integer, or bigint";
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let options = SequenceOptions {
        data_type: Some(data_type),
        ..wanted.options.clone()
    };
    let id = SequenceId(session.inner.core.engine.committer.allocate_id());
    let name = match &wanted.options.name {
        Some(name) => given_name(snapshot, table_name, name)?,
        None => free_name(snapshot, table_name, &column.name),
    };
    let sequence = Sequence {
        owner: Some(Owner {
            collection,
            field: column.id,
            generates: Some(wanted.generates),
        }),
        ..options.create(id, name)?
    };
    let mut changes = vec![Change::CreateSequence(sequence)];
    changes.extend(session.ownership(Object::Sequence(id)));
    Ok(changes)
}

/// The name that SEQUENCE NAME gives, in the schema of the table.
fn given_name(
    snapshot: &Snapshot,
    table: &QualifiedName,
    name: &ObjectName,
) -> Result<QualifiedName> {
    let last = name_parts(name)?.pop().unwrap_or_default();
    let name = QualifiedName::new(&table.schema, &last);
    if snapshot.has_relation(&name) {
        let message = format!("relation \"{last}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
    }
    Ok(name)
}

/// `table_column_seq`, with a number behind it where that is taken.
fn free_name(snapshot: &Snapshot, table: &QualifiedName, column: &str) -> QualifiedName {
    let named = |number: &str| joined(&table.name, column, &format!("seq{number}"));
    let qualified = |name: &str| QualifiedName::new(&table.schema, name);
    let name = first_free(named, |name| !snapshot.has_relation(&qualified(name)));
    qualified(&name)
}

/// The changes after which the sequences of a collection's columns begin again.
///
/// # Errors
/// Those of [`SequenceOptions::alter`].
pub(in crate::sql) fn restarts(
    session: &Session,
    snapshot: &Snapshot,
    collection: &Collection,
) -> Result<Vec<Change>> {
    let engine = &session.inner.core.engine;
    let options = SequenceOptions {
        restart: Some(None),
        ..SequenceOptions::default()
    };
    let columns = collection.schema.columns.iter();
    let sequences = columns.filter_map(|c| snapshot.owned_sequence(collection.id, c.id));
    let restart = |sequence: &Arc<Sequence>| {
        let generation = engine.committer.allocate_id();
        let next = options.alter(sequence, sequence.position, generation)?;
        Ok(Change::AlterSequence(next))
    };
    sequences.map(restart).collect()
}

/// The expression for the next number of the column's sequence, for one that gets its values from it.
pub(in crate::sql) fn generator_ast(
    snapshot: &Snapshot,
    collection: CollectionId,
    column: &Column,
) -> Option<ast::Expr> {
    let sequence = snapshot.owned_sequence(collection, column.id)?;
    sequence.owner?.generates?;
    let oid = ast::Value::Number(sequence_oid(sequence.id).to_string(), false);
    let argument = ast::FunctionArgExpr::Expr(ast::Expr::Value(oid.into()));
    Some(ast::Expr::Function(ast::Function {
        name: ObjectName::from(vec![ast::Ident::new("nextval")]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![ast::FunctionArg::Unnamed(argument)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}
