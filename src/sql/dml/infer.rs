//! Which unique key ON CONFLICT means: that of the columns, expressions and rows that it names.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Ident};

use super::parse_expr;
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::{EXPRESSION, PREDICATE, fold};
use crate::sql::walk;
use crate::storage::collection::Collection;
use crate::storage::index::IndexPart;
use crate::storage::schema::FieldId;
use crate::storage::unique::{KeyId, KeyParts, UniqueKey};

/// What stands behind ON CONFLICT.
#[derive(Default)]
struct Named {
    columns: Vec<FieldId>,
    /// As they are compared.
    expressions: Vec<String>,
    /// The parts of the condition, as they are compared.
    conditions: Vec<String>,
}

/// The unique key that a list names: all of its parts, in any order, of rows that the condition is about.
///
/// # Errors
/// 42703 for a column that is not there, 42P10 where there is no such key.
pub(super) fn key_of_list(list: &[Ident], collection: &Collection) -> Result<KeyId> {
    let named = Named::of(list, collection)?;
    let keys = collection.unique_keys();
    let found = keys.iter().find(|key| named.means(key));
    found.map(|key| key.id).ok_or_else(|| {
        let message =
            "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message)
    })
}

impl Named {
    fn of(list: &[Ident], collection: &Collection) -> Result<Self> {
        let mut named = Self::default();
        for ident in list {
            let special = ident.quote_style.is_some();
            if let Some(text) = ident.value.strip_prefix(PREDICATE).filter(|_| special) {
                named.conditions = conditions(text)?;
                continue;
            }
            if let Some(text) = ident.value.strip_prefix(EXPRESSION).filter(|_| special) {
                match bare(parse_expr(text)?) {
                    Expr::Identifier(column) => named.add_column(&column, collection)?,
                    expr => named.expressions.push(comparable(expr)),
                }
                continue;
            }
            named.add_column(ident, collection)?;
        }
        Ok(named)
    }

    fn add_column(&mut self, column: &Ident, collection: &Collection) -> Result<()> {
        let column = fold(column);
        let found = collection.schema.column(&column).ok_or_else(|| {
            let message = format!("column \"{column}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })?;
        self.columns.push(found.id);
        Ok(())
    }

    fn means(&self, key: &UniqueKey) -> bool {
        match key.computed.as_deref() {
            Some(parts) => self.means_parts(parts).unwrap_or(false),
            None => self.expressions.is_empty() && same(&self.columns, &key.fields),
        }
    }

    fn means_parts(&self, KeyParts { parts, predicate }: &KeyParts) -> Result<bool> {
        let (mut columns, mut expressions) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                IndexPart::Column(field) => columns.push(*field),
                IndexPart::Expression(text) => {
                    expressions.push(comparable(bare(parse_expr(text)?)));
                }
            }
        }
        let wanted = match predicate {
            Some(text) => conditions(text)?,
            None => Vec::new(),
        };
        let implied = wanted.iter().all(|part| self.conditions.contains(part));
        Ok(implied && same(&self.columns, &columns) && same(&self.expressions, &expressions))
    }
}

fn same<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.iter().all(|item| b.contains(item)) && b.iter().all(|item| a.contains(item))
}

/// The parts of a condition that AND joins.
fn conditions(text: &str) -> Result<Vec<String>> {
    fn split(expr: Expr, parts: &mut Vec<String>) {
        match bare(expr) {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => {
                split(*left, parts);
                split(*right, parts);
            }
            expr => parts.push(comparable(expr)),
        }
    }
    let mut parts = Vec::new();
    split(parse_expr(text)?, &mut parts);
    Ok(parts)
}

fn bare(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(inner) => bare(*inner),
        expr => expr,
    }
}

/// A text that expressions have in common which differ in brackets, in the case of names and in the table before them.
fn comparable(mut expr: Expr) -> String {
    walk::change_expressions(&mut expr, |expr| {
        let taken = std::mem::replace(expr, Expr::value(ast::Value::Null));
        *expr = match bare(taken) {
            Expr::Identifier(ident) => Expr::Identifier(folded(&ident)),
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(last) => Expr::Identifier(folded(last)),
                None => Expr::CompoundIdentifier(parts),
            },
            Expr::Function(mut function) => {
                if let Some(ast::ObjectNamePart::Identifier(name)) = function.name.0.pop() {
                    function.name = ast::ObjectName::from(vec![folded(&name)]);
                }
                Expr::Function(function)
            }
            // A literal of a text type means what it does without the cast.
            Expr::Cast {
                expr,
                data_type: ast::DataType::Text,
                ..
            } if matches!(expr.as_ref(), Expr::Value(_)) => *expr,
            expr => expr,
        };
    });
    expr.to_string()
}

fn folded(ident: &Ident) -> Ident {
    Ident::with_quote('"', fold(ident))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spellings_of_one_expression_are_equal() {
        let text = |text: &str| comparable(parse_expr(text).unwrap());
        assert_eq!(text("lower(Name)"), text("(LOWER((t.name)))"));
        assert_ne!(text("lower(name)"), text("lower(\"Name\")"));
        let parts = conditions("(a IS NULL) AND (b AND c > 1)").unwrap();
        assert_eq!(
            parts,
            conditions("c > 1 and B and A is null")
                .unwrap()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
        );
    }
}
