//! The names of indexes that were given none, as Postgres makes them.

use datafusion::sql::sqlparser::ast::{self, Expr};

use super::{KeyDefinition, KeySubject};
use crate::sql::parser::fold;
use crate::storage::change::QualifiedName;
use crate::storage::snapshot::Snapshot;

/// Bytes that a name may have.
const NAME_BYTES_MAX: usize = 63;

/// `book_key_idx`, or `book_key_idx1` and so on where that is taken.
pub(super) fn default_name(
    snapshot: &Snapshot,
    table: &QualifiedName,
    keys: &[KeyDefinition],
) -> String {
    let columns = key_names(keys).join("_");
    let taken = |name: &String| {
        let name = QualifiedName::new(&table.schema, name);
        snapshot.collection(&name).is_some()
            || snapshot.view(&name).is_some()
            || snapshot.index(&name).is_some()
    };
    let first = joined(&table.name, &columns, "idx");
    if !taken(&first) {
        return first;
    }
    let numbered = (1_u64..).map(|n| joined(&table.name, &columns, &format!("idx{n}")));
    numbered
        .into_iter()
        .find(|name| !taken(name))
        .unwrap_or(first)
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
        let numbered = (1..).map(|n| format!("{name}{n}"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        names.push(candidates.find(|n| !names.contains(n)).unwrap_or(name));
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

/// The parts with underscores between them, the longer of the first two cut until they fit.
fn joined(table: &str, columns: &str, label: &str) -> String {
    let room = NAME_BYTES_MAX - label.len() - 2;
    let (mut table_bytes, mut column_bytes) = (table.len(), columns.len());
    while table_bytes + column_bytes > room {
        if table_bytes > column_bytes {
            table_bytes -= 1;
        } else {
            column_bytes -= 1;
        }
    }
    let table = &table[..table.floor_char_boundary(table_bytes)];
    let columns = &columns[..columns.floor_char_boundary(column_bytes)];
    format!("{table}_{columns}_{label}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_where_they_are_longest() {
        assert_eq!(joined("book", "key", "idx"), "book_key_idx");
        let (table, columns) = ("t".repeat(40), "c".repeat(40));
        let name = joined(&table, &columns, "idx1");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert_eq!(name, format!("{}_{}_idx1", "t".repeat(29), "c".repeat(28)));
        assert_eq!(joined(&"\u{e9}".repeat(60), "k", "idx").len(), 62);
    }
}
