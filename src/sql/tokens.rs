//! Tokens of SQL text, with the operators of vectors, and the splitting of scripts.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace,
};

use crate::error::{Error, Result, sqlstate};

pub(in crate::sql) use self::marks::{DISTINCT_SETS, ROWS_FROM, VARIADIC, join_alias};

mod frames;
mod grouping_sets;
mod marks;
mod quantifiers;
mod spelling;
mod table_queries;

/// The dialect of all our SQL.
pub static DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// Whether a token is the keyword, not in quotes.
pub(super) fn is_word(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if quantifiers::is(word, keyword))
}

/// Whether a token is the word, which need be no keyword of the parser, not in quotes.
fn is_spelled(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Tokens of `text`. `<=>` and `<+>` come out as custom operators, which bind as Postgres has them; sqlparser gives
/// the first the precedence of `=` and does not know the second. What [`quantifiers`],
/// [`table_queries`], [`frames`], [`grouping_sets`], [`marks`] and [`spelling`] mend is spelled out.
///
/// # Errors
/// 42601 with the position, for an unterminated string or comment or a character that starts no token.
pub fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = raw_tokens(text).map_err(|e| {
        let Location { line, column } = e.location;
        let error = match holds_zero(&text[LineIndex::new(text).offset(e.location)..]) {
            true => {
                let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
                Error::invalid(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
            }
            false => Error::invalid(sqlstate::SYNTAX_ERROR, e.message),
        };
        error.with_position(line, column)
    })?;
    refuse_junk(text, &tokens)?;
    let tokens = frames::mend(grouping_sets::mend(mend_operators(tokens)));
    let tokens = table_queries::mend(marks::mend(tokens));
    Ok(spelling::mend(quantifiers::mend(tokens)))
}

/// # Errors
/// 42601 for a number with letters right behind it, which PostgreSQL takes neither for a number nor for a number and a
/// name.
fn refuse_junk(text: &str, tokens: &[TokenWithSpan]) -> Result<()> {
    if is_compaction(tokens) {
        return Ok(());
    }
    for (at, token) in tokens.iter().enumerate() {
        let written = || {
            let index = LineIndex::new(text);
            &text[index.offset(token.span.start)..index.offset(token.span.end)]
        };
        let next = tokens.get(at + 1);
        let next = next.filter(|next| next.span.start == token.span.end);
        let is_word = |token: &Token| matches!(token, Token::Word(w) if w.quote_style.is_none());
        let is_junk = match &token.token {
            Token::Number(number, is_long) => {
                *is_long || number.contains('_') || next.is_some_and(|next| is_word(&next.token))
            }
            // That of another language: `0x1F`.
            Token::HexStringLiteral(_) => written().starts_with('0'),
            _ => false,
        };
        if is_junk {
            let word = next.filter(|next| is_word(&next.token));
            let word = word.map_or(String::new(), |next| next.token.to_string());
            let message = format!(
                "trailing junk after numeric literal at or near \"{}{word}\"",
                written()
            );
            let Location { line, column } = token.span.start;
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).with_position(line, column));
        }
    }
    Ok(())
}

/// Whether a string of the form `E'..'` has an escape that means the character zero, which no text holds.
fn holds_zero(text: &str) -> bool {
    let Some(rest) = text
        .strip_prefix(['E', 'e'])
        .and_then(|t| t.strip_prefix('\''))
    else {
        return false;
    };
    let mut rest = rest;
    while let Some(at) = rest.find(['\\', '\'']) {
        let after = &rest[at + 1..];
        if rest.as_bytes()[at] == b'\'' && !after.starts_with('\'') {
            return false;
        }
        let (digits, radix) = match after.as_bytes().first() {
            Some(b'x') => (after[1..].chars().take(2).collect::<String>(), 16),
            Some(b'u') => (after[1..].chars().take(4).collect(), 16),
            Some(b'U') => (after[1..].chars().take(8).collect(), 16),
            _ => (after.chars().take(3).collect(), 8),
        };
        let end = digits.find(|c: char| !c.is_digit(radix));
        if u32::from_str_radix(&digits[..end.unwrap_or(digits.len())], radix) == Ok(0) {
            return true;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    false
}

/// Tokens of `text` as they stand, operators of vectors among them; `None` where there is an error.
pub(super) fn plain_tokens(text: &str) -> Option<Vec<Token>> {
    let tokens = mend_operators(raw_tokens(text).ok()?);
    Some(tokens.into_iter().map(|token| token.token).collect())
}

fn raw_tokens(text: &str) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location()
}

/// Whether the statement is one of compaction, whose options have sizes such as `10GB`.
fn is_compaction(tokens: &[TokenWithSpan]) -> bool {
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    let mut first = words.take(2);
    first.any(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case("compact"))
}

/// The last bracket that is open.
fn last_open(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut closed = 0_usize;
    for (at, token) in tokens.iter().enumerate().rev() {
        match token.token {
            Token::RParen => closed += 1,
            Token::LParen if closed == 0 => return Some(at),
            Token::LParen => closed -= 1,
            _ => {}
        }
    }
    None
}

fn mend_operators(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.token == Token::Spaceship {
            mended.push(custom("<=>", token.span));
            continue;
        }
        if token.token == Token::Gt
            && let [.., first, second] = mended.as_slice()
            && (&first.token, &second.token) == (&Token::Lt, &Token::Plus)
            && first.span.end == second.span.start
            && second.span.end == token.span.start
        {
            let span = Span::new(first.span.start, token.span.end);
            mended.truncate(mended.len() - 2);
            mended.push(custom("<+>", span));
            continue;
        }
        mended.push(token);
    }
    mended
}

fn custom(operator: &str, span: Span) -> TokenWithSpan {
    TokenWithSpan {
        token: Token::CustomBinaryOperator(operator.to_string()),
        span,
    }
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text, without the semicolon.
    pub text: String,
    /// The line on which it begins in the script, from 1.
    pub line: u64,
    /// The byte at which it begins in the script.
    pub offset: usize,
}

/// The statements of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// Statements that a semicolon ends.
    pub complete: Vec<Piece>,
    /// What stands after the last semicolon, if more than blanks and comments: a shell waits for its end, a script
    /// runs it.
    pub rest: Option<Piece>,
}

/// Splits a script at its semicolons, leaving those in strings, quoted names and comments alone.
///
/// A string or comment that does not end makes all from its statement's start the `rest`.
pub fn split(text: &str) -> Pieces {
    let index = LineIndex::new(text);
    let mut buffer = Vec::new();
    // The buffer keeps the tokens before an error; what follows belongs to an unfinished statement.
    let _unfinished = Tokenizer::new(&DIALECT, text).tokenize_with_location_into_buf(&mut buffer);
    let mut complete = Vec::new();
    let mut start: Option<(usize, u64)> = None;
    let mut last_semicolon = 0;
    let mut inside = Inside::default();
    for token in &buffer {
        inside.note(&token.token);
        match &token.token {
            Token::SemiColon if inside.depth > 0 => {}
            Token::SemiColon => {
                inside = Inside::default();
                let end = index.offset(token.span.start);
                if let Some((from, line)) = start.take() {
                    complete.push(Piece {
                        text: text[from..end].trim_end().to_string(),
                        line,
                        offset: from,
                    });
                }
                last_semicolon = index.offset(token.span.end);
            }
            Token::Whitespace(_) => {}
            _ if start.is_none() => {
                start = Some((index.offset(token.span.start), token.span.start.line));
            }
            _ => {}
        }
    }
    let rest = match start {
        Some((from, line)) => Some(Piece {
            text: text[from..].trim_end().to_string(),
            line,
            offset: from,
        }),
        None => unfinished_rest(text, last_semicolon),
    };
    Pieces { complete, rest }
}

/// How deep a place is in statements that stand in another: those of BEGIN ATOMIC .. END of a function.
#[derive(Default)]
struct Inside {
    /// The first words of the statement.
    words: Vec<String>,
    depth: usize,
    was_begin: bool,
}

impl Inside {
    fn note(&mut self, token: &Token) {
        let Token::Word(word) = token else {
            self.was_begin &= is_blank(token);
            return;
        };
        let word = match word.quote_style {
            Some(_) => String::new(),
            None => word.value.to_ascii_uppercase(),
        };
        match word.as_str() {
            "ATOMIC" if self.depth == 0 && self.was_begin && self.makes_routine() => self.depth = 1,
            "CASE" if self.depth > 0 => self.depth += 1,
            "END" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.was_begin = word == "BEGIN";
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    fn makes_routine(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE"]
        )
    }
}

/// Text behind the last semicolon that did not become tokens.
fn unfinished_rest(text: &str, from: usize) -> Option<Piece> {
    let rest = &text[from..];
    let only_blank = raw_tokens(rest).is_ok_and(|tokens| {
        tokens
            .iter()
            .all(|t| matches!(t.token, Token::Whitespace(_)))
    });
    if only_blank {
        return None;
    }
    let offset = from + (rest.len() - rest.trim_start().len());
    Some(Piece {
        text: rest.trim().to_string(),
        line: text[..from].matches('\n').count() as u64 + 1,
        offset,
    })
}

/// Whether the token is a comment or blank.
pub fn is_blank(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(
            Whitespace::Space
                | Whitespace::Newline
                | Whitespace::Tab
                | Whitespace::SingleLineComment { .. }
                | Whitespace::MultiLineComment(_)
        )
    )
}

/// Byte offsets of the lines of a text.
pub struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// The lines of `text`.
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// The byte offset of a place that the tokenizer gave (line and column in characters, from 1).
    pub fn offset(&self, place: Location) -> usize {
        let line = (place.line.max(1) - 1) as usize;
        let Some(&start) = self.starts.get(line) else {
            return self.text.len();
        };
        let column = (place.column.max(1) - 1) as usize;
        self.text[start..]
            .char_indices()
            .nth(column)
            .map_or(self.text.len(), |(at, _)| start + at)
    }

    /// The text of a span.
    pub fn slice(&self, start: Location, end: Location) -> &'a str {
        self.text[self.offset(start)..self.offset(end)].trim()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn operators(text: &str) -> Vec<String> {
        let custom = |t: TokenWithSpan| match t.token {
            Token::CustomBinaryOperator(op) => Some(op),
            _ => None,
        };
        tokenize(text)
            .unwrap()
            .into_iter()
            .filter_map(custom)
            .collect()
    }

    #[test]
    fn a_zero_is_no_character() {
        for zero in [r"SELECT E'a\x00'", r"SELECT E'\0'", r"SELECT e'\'\u0000'"] {
            assert_eq!(tokenize(zero).unwrap_err().sqlstate(), "22021", "{zero}");
        }
        for (text, code) in [(r"SELECT E'\x41", "42601"), (r"SELECT E'it''s", "42601")] {
            assert_eq!(tokenize(text).unwrap_err().sqlstate(), code, "{text}");
        }
        assert!(tokenize(r"SELECT E'\101\x41'").is_ok());
    }

    #[test]
    fn numbers_have_no_letters_behind() {
        for junk in [
            "123abc", "1.5e", "0x1F", "1_000", "1e5x", ".5a", "1.a", "1and 2", "10L", "1\u{e4}",
        ] {
            let error = tokenize(&format!("SELECT {junk}")).unwrap_err();
            assert_eq!(error.sqlstate(), "42601", "{junk}");
            assert!(error.to_string().contains("trailing junk"), "{error}");
        }
        for plain in ["1 a", "1\"a\"", "1.e5", "1::int4", "X'1F'", "a1b", "t.c1"] {
            assert!(tokenize(&format!("SELECT {plain}")).is_ok(), "{plain}");
        }
    }

    #[test]
    fn vector_operators_are_custom() {
        assert_eq!(operators("a <=> b"), ["<=>"]);
        assert_eq!(operators("a <+> b"), ["<+>"]);
        assert_eq!(operators("a <#> b"), ["<#>"]);
        assert!(operators("a < +b").is_empty());
        assert!(operators("1 < + > 2").is_empty());
    }

    #[test]
    fn scripts_split_at_real_semicolons_only() {
        let script = "SELECT ';' ; -- a; comment\nSELECT $$;$$;\n/* ; */ SELECT \"a;b\"";
        let pieces = split(script);
        let texts: Vec<_> = pieces
            .complete
            .iter()
            .map(|p| (p.text.as_str(), p.line))
            .collect();
        assert_eq!(texts, [("SELECT ';'", 1), ("SELECT $$;$$", 2)]);
        let text = "SELECT \"a;b\"";
        assert_eq!(
            pieces.rest.unwrap(),
            Piece {
                text: text.into(),
                line: 3,
                offset: script.len() - text.len(),
            }
        );
    }

    #[test]
    fn statements_of_functions_stay_inside() {
        let function = "CREATE OR REPLACE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END";
        let pieces = split(&format!("BEGIN; {function}; SELECT 1; END; SELECT 2"));
        let texts: Vec<_> = pieces.complete.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(texts, ["BEGIN", function, "SELECT 1", "END"]);
        let open = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; ";
        assert_eq!(split(open).rest.unwrap().text, open.trim_end());
    }

    #[test]
    fn an_open_string_is_the_rest() {
        let pieces = split("SELECT 1; SELECT 'abc; ");
        assert_eq!(pieces.complete.len(), 1);
        assert_eq!(pieces.rest.unwrap().text, "SELECT 'abc;");
    }

    #[test]
    fn blanks_and_comments_are_no_statement() {
        assert_eq!(split(" ;; -- nothing\n ").complete, []);
        assert_eq!(split(" -- nothing\n").rest, None);
    }

    #[test]
    fn offsets_count_characters() {
        let text = "-- é\nSELECT 'é' ;";
        assert_eq!(split(text).complete[0].text, "SELECT 'é'");
    }
}
