//! The names of indexes that were given none, as Postgres makes them.

use datafusion::sql::sqlparser::ast::{self, Expr, Ident};

use super::{KeyDefinition, KeySubject};
use crate::error::Result;
use crate::sql::default_name::{first_free, joined};
use crate::sql::dml::parse_expr;
use crate::sql::parser::fold;
use crate::sql::unique::Indexes;
use crate::storage::change::QualifiedName;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::CollectionSchema;
use crate::storage::snapshot::Snapshot;

/// `book_key_idx`, or `book_key_idx1` and so on where that is taken.
pub(super) fn default_name(
    snapshot: &Snapshot,
    table: &QualifiedName,
    keys: &[KeyDefinition],
) -> String {
    free_name(snapshot, table, keys, &[])
}

/// The name of a copy that a table gets of the index of another, beside indexes of the names `made`.
///
/// # Errors
/// When an expression cannot be read, which it could when the index was made.
pub(in crate::sql) fn name_of_copy(
    new: &Indexes<'_>,
    index: &Index,
    schema: &CollectionSchema,
    made: &[String],
) -> Result<String> {
    let key = |key: &IndexKey| {
        let subject = match &key.part {
            IndexPart::Column(field) => {
                let column = schema.column_by_id(*field);
                let name = column.map_or("", |column| column.name.as_str());
                KeySubject::Column(Ident::with_quote('"', name))
            }
            IndexPart::Expression(text) => {
                KeySubject::Expression(Box::new(parse_expr(text)?), text.clone())
            }
        };
        Ok(KeyDefinition {
            subject,
            operator_class: None,
            descending: None,
            nulls_first: None,
        })
    };
    let keys = index.keys.iter().map(key).collect::<Result<Vec<_>>>()?;
    Ok(free_name(new.snapshot, new.name, &keys, made))
}

fn free_name(
    snapshot: &Snapshot,
    table: &QualifiedName,
    keys: &[KeyDefinition],
    made: &[String],
) -> String {
    let columns = key_names(keys).join("_");
    let named = |number: &str| joined(&table.name, &columns, &format!("idx{number}"));
    first_free(named, |name| {
        !made.contains(name) && !snapshot.has_relation(&QualifiedName::new(&table.schema, name))
    })
}

/// The names of the keys, each once: a second `a` is `a1`.
fn key_names(keys: &[KeyDefinition]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(keys.len());
    for key in keys {
        let name = match &key.subject {
            KeySubject::Column(ident) => fold(ident),
            KeySubject::Expression(expr, _) => {
                expression_name(expr).unwrap_or_else(|| "expr".to_string())
            }
        };
        let free = first_free(|n| format!("{name}{n}"), |n| !names.contains(n));
        names.push(free);
    }
    names
}

/// What Postgres calls an expression: the function or column it comes from.
fn expression_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(fold(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(fold),
        Expr::Nested(inner) => expression_name(inner),
        Expr::Cast { expr, .. } => expression_name(expr),
        Expr::Function(function) => {
            let last = function
                .name
                .0
                .last()
                .and_then(ast::ObjectNamePart::as_ident);
            last.map(fold)
        }
        _ => None,
    }
}
