//! Functions in PL/pgSQL that are a query or an expression in a block: `BEGIN RETURN QUERY SELECT ..; END`, as many who
//! search vectors by a function write them.
//!
//! Such a function is what the one of SQL with that query is, and becomes the query where it is called. A block that does
//! more (variables, conditions, loops, statements that change rows) is refused when the function is made.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result, sqlstate};
use crate::sql::tokens::{LineIndex, is_blank, split, tokenize};

const HINT: &str = "A block may be BEGIN RETURN QUERY query; END, or BEGIN RETURN expression; END; what needs variables, \
                    conditions or loops belongs into the program that calls.";

/// The query that the block of a function gives, as its author wrote it; `SELECT` of the expression that it returns.
///
/// # Errors
/// 0A000 for a block that does more, 42601 for what is no block, 42804 for RETURN where the function gives a set and for
/// RETURN QUERY where it does not.
pub(super) fn query_of(text: &str, returns_set: bool) -> Result<String> {
    let pieces = split(without_directives(text)?);
    let pieces = pieces.complete.into_iter().chain(pieces.rest);
    let pieces: Vec<String> = pieces.map(|piece| piece.text).collect();
    let mut parts = pieces.iter().map(|text| Part::of(text));
    let mut part = parts.next().unwrap_or_else(|| Part::of(""))?;
    if part.accept("DECLARE") && !part.is_next("BEGIN") {
        return Err(unsupported("variables in functions"));
    }
    part.expect("BEGIN")?;
    let mut query = None;
    while !part.accept("END") {
        if !part.accept("NULL") {
            part.expect_or("RETURN", |word| {
                unsupported(&format!("{word} in functions of PL/pgSQL"))
            })?;
            match (part.returned(returns_set)?, &query) {
                (Some(given), None) => query = Some(given),
                (None, Some(_)) if returns_set => {}
                (Some(_), Some(_)) => {
                    return Err(unsupported("more than one RETURN in a function"));
                }
                (None, _) => return Err(unsupported("RETURN of nothing")),
            }
        }
        part = parts.next().unwrap_or_else(|| Part::of(""))?;
    }
    match parts.next() {
        Some(behind) => Err(behind?.unexpected()),
        None => query.ok_or_else(|| unsupported("a function that returns nothing")),
    }
}

/// The text behind lines such as `#variable_conflict use_column`. Names of columns come before those of parameters, as
/// in SQL.
fn without_directives(text: &str) -> Result<&str> {
    let mut rest = text.trim_start();
    while rest.starts_with('#') {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["#variable_conflict", "use_column" | "error"] => {}
            ["#variable_conflict", "use_variable"] => {
                return Err(unsupported("#variable_conflict use_variable"));
            }
            ["#option", "dump"] | ["#print_strict_params", "on" | "off"] => {}
            _ => return Err(syntax_error(line)),
        }
        rest = behind.trim_start();
    }
    Ok(rest)
}

/// A part of a block, up to a semicolon.
struct Part<'a> {
    text: &'a str,
    tokens: Vec<TokenWithSpan>,
    at: usize,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Result<Self> {
        let tokens = tokenize(text)?.into_iter();
        Ok(Self {
            text,
            tokens: tokens.filter(|token| !is_blank(&token.token)).collect(),
            at: 0,
        })
    }

    /// The next word, in capitals; empty where none is next.
    fn word(&self) -> String {
        match self.tokens.get(self.at).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        }
    }

    fn is_next(&self, word: &str) -> bool {
        self.word() == word
    }

    fn accept(&mut self, word: &str) -> bool {
        let is_next = self.is_next(word);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        match self.accept(word) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// Takes the word; another one is an error of its own.
    fn expect_or(&mut self, word: &str, other: impl FnOnce(&str) -> Error) -> Result<()> {
        match self.word().as_str() {
            "" => self.expect(word),
            found if found == word => self.expect(word),
            found => Err(other(found)),
        }
    }

    /// What is not read yet.
    fn rest(&self) -> Option<&'a str> {
        let first = self.tokens.get(self.at)?;
        let from = LineIndex::new(self.text).offset(first.span.start);
        Some(&self.text[from..])
    }

    /// The query or the expression behind RETURN.
    fn returned(&mut self, returns_set: bool) -> Result<Option<String>> {
        if self.is_next("NEXT") {
            return Err(unsupported("RETURN NEXT"));
        }
        let is_query = self.accept("QUERY");
        if is_query && self.is_next("EXECUTE") {
            return Err(unsupported("EXECUTE in functions"));
        }
        let Some(rest) = self.rest() else {
            return match is_query {
                true => Err(self.unexpected()),
                false => Ok(None),
            };
        };
        match (is_query, returns_set) {
            (true, true) => Ok(Some(rest.to_string())),
            (false, false) => Ok(Some(format!("SELECT {rest}"))),
            (true, false) => Err(mismatch("cannot use RETURN QUERY in a non-SETOF function")),
            (false, true) => {
                let message = "RETURN cannot have a parameter in function returning set";
                Err(mismatch(message).with_hint("Use RETURN QUERY."))
            }
        }
    }

    fn unexpected(&self) -> Error {
        match self.tokens.get(self.at) {
            Some(token) => syntax_error(&token.token.to_string()),
            None => Error::invalid(sqlstate::SYNTAX_ERROR, "syntax error at end of input"),
        }
    }
}

fn syntax_error(at: &str) -> Error {
    let message = format!("syntax error at or near \"{at}\"");
    Error::invalid(sqlstate::SYNTAX_ERROR, message)
}

fn mismatch(message: &str) -> Error {
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
}

fn unsupported(what: &str) -> Error {
    Error::unsupported(format!("{what} is not supported")).with_hint(HINT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn blocks_give_a_query_or_an_expression() {
        let rows = [
            "begin return query select 1; end",
            " #variable_conflict use_column\nBEGIN\n -- one\n RETURN QUERY\n select 1; -- it\nEND;",
            "DECLARE BEGIN NULL; RETURN QUERY select 1; RETURN; END named;",
        ];
        for text in rows {
            assert_eq!(query_of(text, true).unwrap(), "select 1", "{text}");
        }
        let value = "BEGIN RETURN CASE a WHEN ';' THEN 1 END; END";
        let given = query_of(value, false).unwrap();
        assert_eq!(given, "SELECT CASE a WHEN ';' THEN 1 END");
    }

    #[test]
    fn other_blocks_are_refused() {
        for (text, returns_set, state) in [
            ("", true, "42601"),
            ("select 1", true, "42601"),
            ("begin return query select 1;", true, "42601"),
            ("begin return query; end", true, "42601"),
            ("begin return query select 1; end; select 2", true, "42601"),
            ("#nothing\nbegin return 1; end", false, "42601"),
            ("begin return query select 1; end", false, "42804"),
            ("begin return 1; end", true, "42804"),
            ("declare a int; begin return a; end", false, "0A000"),
            ("begin if a then return 1; end if; end", false, "0A000"),
            ("begin return query execute 'select 1'; end", true, "0A000"),
            ("begin return next 1; end", true, "0A000"),
            ("begin return; end", false, "0A000"),
            ("begin end", false, "0A000"),
            ("begin return 1; return 2; end", false, "0A000"),
            ("begin delete from t; return 1; end", false, "0A000"),
        ] {
            let error = query_of(text, returns_set).unwrap_err();
            assert_eq!(error.sqlstate(), state, "{text}: {error}");
        }
    }
}
