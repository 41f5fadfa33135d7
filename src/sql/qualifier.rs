//! The name of a SQL schema within texts that are kept: queries of views, conditions, defaults.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, Select, SelectItem, SelectItemQualifiedWildcardKind, Value, ValueWithSpan,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::parser::{fold, parse_expr_as_written, parse_query_as_written};
use super::tokens::LineIndex;
use super::walk;
use crate::catalog::pg::quote_ident;
use crate::error::Result;

/// The functions whose first argument names a sequence.
const SEQUENCE_FUNCTIONS: [&str; 3] = ["nextval", "currval", "setval"];

/// Another name for a SQL schema. Texts stay as their authors wrote them but for that name: where it qualifies a relation,
/// a column's relation or a type, and in texts that name a sequence or a relation (`nextval('lib.n')`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Requalify<'a> {
    /// The name that it had.
    pub(super) from: &'a str,
    /// The name that it gets.
    pub(super) to: &'a str,
}

impl Requalify<'_> {
    /// The text of a query with the new name.
    ///
    /// # Errors
    /// When the text cannot be read, which it could when it was kept.
    pub(super) fn query(&self, text: &str) -> Result<String> {
        Ok(self.replace(text, &parse_query_as_written(text)?))
    }

    /// The text of an expression with the new name.
    ///
    /// # Errors
    /// When the text cannot be read, which it could when it was kept.
    pub(super) fn expression(&self, text: &str) -> Result<String> {
        Ok(self.replace(text, &parse_expr_as_written(text)?))
    }

    fn replace(&self, text: &str, read: &impl Visit) -> String {
        let mut places = Places {
            rename: *self,
            found: Vec::new(),
        };
        // It never breaks.
        let _ = walk::read(read, &mut places);
        let lines = LineIndex::new(text);
        let place =
            |(span, new): (Span, String)| (lines.offset(span.start), lines.offset(span.end), new);
        let mut found: Vec<(usize, usize, String)> = places.found.into_iter().map(place).collect();
        found.sort();
        found.dedup();
        let mut replaced = text.to_string();
        for (start, end, new) in found.into_iter().rev() {
            replaced.replace_range(start..end, &new);
        }
        replaced
    }

    /// A text that names something in the schema, with the new name.
    fn named(&self, text: &str) -> Option<String> {
        let quoted = format!("\"{}\"", self.from.replace('"', "\"\""));
        let rest = match text.strip_prefix(&quoted) {
            Some(rest) => rest,
            None => {
                let (start, rest) = text.split_at_checked(self.from.len())?;
                (start.to_lowercase() == self.from).then_some(rest)?
            }
        };
        rest.starts_with('.')
            .then(|| format!("{}{rest}", quote_ident(self.to)))
    }
}

/// Where a text has the name, and what is to be there.
struct Places<'a> {
    rename: Requalify<'a>,
    found: Vec<(Span, String)>,
}

impl Places<'_> {
    /// Takes the part of a name that is so many before its last, if it is the schema's.
    fn part<'i>(&mut self, mut parts: impl DoubleEndedIterator<Item = &'i Ident>, before: usize) {
        if let Some(part) = parts.nth_back(before)
            && fold(part) == self.rename.from
        {
            self.found.push((part.span, quote_ident(self.rename.to)));
        }
    }

    fn name(&mut self, name: &ObjectName) {
        self.part(name.0.iter().filter_map(|part| part.as_ident()), 1);
    }

    fn data_type(&mut self, data_type: &DataType) {
        match data_type {
            DataType::Custom(name, _) => self.name(name),
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(inner, _)
                | ArrayElemTypeDef::AngleBracket(inner)
                | ArrayElemTypeDef::Parenthesis(inner),
            ) => self.data_type(inner),
            _ => {}
        }
    }

    fn literal(&mut self, expr: &Expr) {
        let Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            span,
        }) = expr
        else {
            return;
        };
        if let Some(named) = self.rename.named(text) {
            let literal = format!("'{}'", named.replace('\'', "''"));
            self.found.push((*span, literal));
        }
    }

    fn call(&mut self, function: &Function) {
        let name = function.name.0.last().and_then(|part| part.as_ident());
        if !name.is_some_and(|name| SEQUENCE_FUNCTIONS.contains(&fold(name).as_str())) {
            return;
        }
        let FunctionArguments::List(list) = &function.args else {
            return;
        };
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first() {
            self.literal(first);
        }
    }
}

impl Visitor for Places<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.name(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                _,
            ) = item
            {
                self.name(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => self.part(parts.iter(), 2),
            Expr::Cast {
                expr, data_type, ..
            } => {
                self.data_type(data_type);
                if data_type.to_string().eq_ignore_ascii_case("regclass") {
                    self.literal(expr);
                }
            }
            Expr::Function(function) => self.call(function),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_the_schema_qualifies_gets_its_new_name() {
        let rename = Requalify {
            from: "lib",
            to: "new Lib",
        };
        let query = "SELECT lib.book.id, book.*, lib.book.*, lib.x, 'ok'::lib.mood,\n\
                     '{ok}'::lib.mood[], nextval('lib.n'), 'lib.book'::regclass,\n\
                     'lib.n' /* \u{e9} lib.book */ FROM LIB.book JOIN \"lib\" . shelf AS lib ON lib.id = shelf.lib\n\
                     WHERE id IN (SELECT id FROM shelfmark.lib.book b) AND \"LIB\".id > 0";
        let expected = "SELECT \"new Lib\".book.id, book.*, \"new Lib\".book.*, lib.x, \
                        'ok'::\"new Lib\".mood,\n\
                        '{ok}'::\"new Lib\".mood[], nextval('\"new Lib\".n'), '\"new Lib\".book'::regclass,\n\
                        'lib.n' /* \u{e9} lib.book */ FROM \"new Lib\".book JOIN \"new Lib\" . shelf AS lib \
                        ON lib.id = shelf.lib\n\
                        WHERE id IN (SELECT id FROM shelfmark.\"new Lib\".book b) AND \"LIB\".id > 0";
        assert_eq!(rename.query(query).unwrap(), expected);
        let expression = rename.expression("m <> 'sad'::lib.mood").unwrap();
        assert_eq!(expression, "m <> 'sad'::\"new Lib\".mood");
        let untouched = "nextval('n') + setval('library.n', 1)";
        assert_eq!(rename.expression(untouched).unwrap(), untouched);
    }
}
