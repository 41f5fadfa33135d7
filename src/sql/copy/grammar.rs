//! The grammar of COPY, with the options of PostgreSQL 15 and those of older scripts.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::{Grammar, fold};
use crate::sql::statement::{CopyPlace, CopyStatement, CopySubject, CopyValue, Statement};

/// Parses COPY from its first word on.
///
/// # Errors
/// 42601 with the position; 0A000 for COPY .. PROGRAM.
pub(in crate::sql) fn copy(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(1);
    let mut options = Vec::new();
    if grammar.word(0) == "BINARY" && !matches!(grammar.word(1).as_str(), "FROM" | "TO") {
        grammar.skip(1);
        options.push(("format".to_string(), CopyValue::Text("binary".into())));
    }
    let subject = subject(grammar)?;
    let is_from = grammar.accept(&["FROM"]);
    if is_from && matches!(subject, CopySubject::Query(_)) {
        grammar.unskip();
        return Err(grammar.unexpected("TO: a query can only be copied out"));
    }
    if !is_from {
        grammar.expect(&["TO"])?;
    }
    let place = place(grammar)?;
    if grammar.accept(&["USING", "DELIMITERS"]) || grammar.accept(&["DELIMITERS"]) {
        options.push(("delimiter".to_string(), string(grammar)?));
    }
    grammar.accept(&["WITH"]);
    if grammar.parser.peek_token().token == Token::LParen {
        options.extend(listed_options(grammar)?);
    } else {
        bare_options(grammar, &mut options)?;
    }
    let filter = match grammar.accept(&["WHERE"]) {
        true if !is_from => {
            let message = "WHERE clause not allowed with COPY TO";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        true => Some(grammar.parser.parse_expr()?),
        false => None,
    };
    Ok(Statement::Copy(Box::new(CopyStatement {
        subject,
        is_from,
        place,
        options,
        filter,
    })))
}

fn subject(grammar: &mut Grammar<'_>) -> Result<CopySubject> {
    if grammar.parser.consume_token(&Token::LParen) {
        let query = grammar.parser.parse_query()?;
        grammar.parser.expect_token(&Token::RParen)?;
        return Ok(CopySubject::Query(query));
    }
    let name = grammar.name()?;
    let columns = match grammar.parser.peek_token().token {
        Token::LParen => grammar.names_in_parentheses()?,
        _ => Vec::new(),
    };
    Ok(CopySubject::Table(name, columns))
}

fn place(grammar: &mut Grammar<'_>) -> Result<CopyPlace> {
    // As in PostgreSQL, either word means the client.
    if grammar.accept(&["STDIN"]) || grammar.accept(&["STDOUT"]) {
        return Ok(CopyPlace::Client);
    }
    if grammar.word(0) == "PROGRAM" {
        let message = "COPY to or from a program is not supported";
        return Err(Error::unsupported(message)
            .with_hint("psql's \\copy runs programs on the client's side."));
    }
    match string(grammar)? {
        CopyValue::Text(path) => Ok(CopyPlace::File(path)),
        _ => Err(grammar.unexpected("a file in quotes, STDIN or STDOUT")),
    }
}

/// `(FORMAT csv, HEADER, FORCE_NULL (a, b), ..)`
fn listed_options(grammar: &mut Grammar<'_>) -> Result<Vec<(String, CopyValue)>> {
    grammar.parser.expect_token(&Token::LParen)?;
    let options = grammar.comma_separated(|grammar| {
        let mut name = grammar.parser.parse_identifier()?.value.to_lowercase();
        while grammar.parser.consume_token(&Token::Period) {
            let part = grammar.parser.parse_identifier()?.value.to_lowercase();
            name = format!("{name}.{part}");
        }
        let _ = grammar.parser.consume_token(&Token::Eq);
        let value = match grammar.parser.peek_token().token {
            Token::Comma | Token::RParen => CopyValue::None,
            Token::LParen => CopyValue::List(columns(grammar)?),
            Token::Mul => {
                grammar.skip(1);
                CopyValue::Star
            }
            _ => CopyValue::Text(grammar.option_value()?),
        };
        Ok((name, value))
    })?;
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(options)
}

/// `CSV HEADER DELIMITER ','` and the other words of older PostgreSQL; STORED AS and OPTIONS of DataFusion.
fn bare_options(grammar: &mut Grammar<'_>, options: &mut Vec<(String, CopyValue)>) -> Result<()> {
    loop {
        let word = grammar.word(0).to_lowercase();
        let (name, value) = match word.as_str() {
            "stored" => {
                grammar.expect(&["STORED", "AS"])?;
                ("stored as", CopyValue::Text(grammar.option_value()?))
            }
            "format" => {
                grammar.skip(1);
                ("format", CopyValue::Text(grammar.option_value()?))
            }
            "options" => {
                grammar.skip(1);
                options.extend(listed_options(grammar)?);
                continue;
            }
            "csv" | "binary" => {
                grammar.skip(1);
                ("format", CopyValue::Text(word))
            }
            "header" | "freeze" => {
                grammar.skip(1);
                options.push((word, CopyValue::None));
                continue;
            }
            "delimiter" | "null" | "quote" | "escape" | "encoding" => {
                grammar.skip(1);
                grammar.accept(&["AS"]);
                options.push((word, string(grammar)?));
                continue;
            }
            "force" => force(grammar)?,
            _ => return Ok(()),
        };
        options.push((name.to_string(), value));
    }
}

fn force(grammar: &mut Grammar<'_>) -> Result<(&'static str, CopyValue)> {
    let name = if grammar.accept(&["FORCE", "QUOTE"]) {
        if grammar.parser.consume_token(&Token::Mul) {
            return Ok(("force_quote", CopyValue::Star));
        }
        "force_quote"
    } else if grammar.accept(&["FORCE", "NOT", "NULL"]) {
        "force_not_null"
    } else {
        grammar.expect(&["FORCE", "NULL"])?;
        "force_null"
    };
    let columns = grammar.comma_separated(|g| Ok(fold(&g.parser.parse_identifier()?)))?;
    Ok((name, CopyValue::List(columns)))
}

/// `(a, b)`
fn columns(grammar: &mut Grammar<'_>) -> Result<Vec<String>> {
    let names = grammar.names_in_parentheses()?;
    Ok(names.iter().map(fold).collect())
}

fn string(grammar: &mut Grammar<'_>) -> Result<CopyValue> {
    Ok(CopyValue::Text(grammar.parser.parse_literal_string()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::parser::parse;

    fn parsed(text: &str) -> CopyStatement {
        match parse(text).unwrap() {
            Statement::Copy(copy) => *copy,
            other => panic!("{other:?}"),
        }
    }

    fn options(text: &str) -> Vec<String> {
        let show = |(name, value): &(String, CopyValue)| match value {
            CopyValue::None => name.clone(),
            CopyValue::Text(text) => format!("{name}={text}"),
            CopyValue::Star => format!("{name}=*"),
            CopyValue::List(names) => format!("{name}=({})", names.join(",")),
        };
        parsed(text).options.iter().map(show).collect()
    }

    #[test]
    fn old_and_new_options_are_the_same() {
        let expected = [
            "format=csv",
            "header",
            "delimiter=;",
            "null=-",
            "force_quote=(a,B)",
        ];
        for text in [
            "COPY t TO STDOUT (FORMAT csv, HEADER, DELIMITER ';', NULL '-', FORCE_QUOTE (a, \"B\"))",
            "COPY t TO STDOUT WITH (FORMAT 'csv', HEADER, DELIMITER ';', NULL '-', FORCE_QUOTE (A, \"B\"))",
            "COPY t TO STDOUT WITH CSV HEADER DELIMITER AS ';' NULL '-' FORCE QUOTE a, \"B\"",
            "copy t to stdin csv header delimiter ';' null as '-' force quote a, \"B\"",
        ] {
            assert_eq!(options(text), expected, "{text}");
        }
        assert_eq!(options("COPY BINARY t FROM STDIN"), ["format=binary"]);
        assert_eq!(options("COPY t FROM STDIN BINARY"), ["format=binary"]);
        assert_eq!(
            options("COPY t FROM STDIN USING DELIMITERS '|' WITH NULL 'n'"),
            ["delimiter=|", "null=n"]
        );
        assert_eq!(
            options("COPY t FROM STDIN CSV FORCE NOT NULL a, b FORCE NULL c FREEZE"),
            [
                "format=csv",
                "force_not_null=(a,b)",
                "force_null=(c)",
                "freeze"
            ]
        );
        assert_eq!(options("COPY t TO STDOUT CSV FORCE QUOTE *").len(), 2);
    }

    #[test]
    fn rows_are_filtered_on_their_way_in_only() {
        assert!(parsed("COPY t FROM STDIN CSV WHERE a > 1").filter.is_some());
        for (text, code) in [
            ("COPY t TO STDOUT WHERE a > 1", "42601"),
            ("COPY (SELECT 1) FROM STDIN", "42601"),
            ("COPY t FROM PROGRAM 'ls'", "0A000"),
            ("COPY t FROM", "42601"),
            ("COPY t STDIN", "42601"),
            ("COPY t FROM STDIN CSV HEADER MATCH", "42601"),
        ] {
            assert_eq!(parse(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }

    #[test]
    fn places() {
        assert_eq!(parsed("COPY t FROM STDIN").place, CopyPlace::Client);
        let file = CopyPlace::File("a b.csv".into());
        assert_eq!(parsed("COPY public.t (a) TO 'a b.csv'").place, file);
    }
}
