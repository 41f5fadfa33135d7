//! Spellings that the parser does not read.
//!
//! - literals with a line break between them are one.
//! - `TRIM(LEADING FROM x)` is of blanks.
//! - `ORDER BY x USING >` is descending.
//! - `INT ARRAY` and `INT ARRAY[4]` are `INT[]` and `INT[4]`.
//! - `x::text COLLATE "C"` is `x::text`: the parser reads a collation only behind what is no cast.
//! - `'1 day'::interval PRECEDING` is `INTERVAL '1 day' PRECEDING`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::{is_blank, is_word};

/// The tokens with these spelled out.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let last = mended.iter().rposition(|t| !is_blank(&t.token));
        let Some(last) = last else {
            mended.push(token);
            continue;
        };
        match &token.token {
            Token::SingleQuotedString(part) if is_continued(&mended[last..]) => {
                if let Token::SingleQuotedString(whole) | Token::EscapedStringLiteral(whole) =
                    &mut mended[last].token
                {
                    whole.push_str(part);
                    mended[last].span.end = token.span.end;
                    mended.truncate(last + 1);
                    continue;
                }
            }
            Token::Word(word) if word.keyword == Keyword::FROM && trims(&mended[last].token) => {
                let span = token.span;
                let blank = Token::SingleQuotedString(" ".to_string());
                mended.push(TokenWithSpan { token: blank, span });
            }
            Token::Word(word)
                if matches!(word.keyword, Keyword::PRECEDING | Keyword::FOLLOWING) =>
            {
                type_bound(&mut mended);
            }
            Token::Word(word) if word.keyword == Keyword::ARRAY && ends_type(&mended[..=last]) => {
                let span = token.span;
                let brackets = [Token::LBracket, Token::RBracket];
                mended.truncate(last + 1);
                mended.extend(brackets.map(|token| TokenWithSpan { token, span }));
                continue;
            }
            Token::Word(word) if is_bytewise(word) && ends_collated_cast(&mended[..=last]) => {
                mended.truncate(last);
                while mended.last().is_some_and(|t| is_blank(&t.token)) {
                    mended.pop();
                }
                continue;
            }
            Token::LBracket if is_array_word(&mended[..=last]) => mended.truncate(last - 1),
            Token::Lt | Token::Gt if is_word(&mended[last].token, Keyword::USING) => {
                let is_ascending = token.token == Token::Lt;
                let order = if is_ascending { "ASC" } else { "DESC" };
                mended[last].token = Token::make_keyword(order);
                mended.truncate(last + 1);
                continue;
            }
            _ => {}
        }
        mended.push(token);
    }
    mended
}

/// Whether it names a collation that compares bytes, as all text is compared.
fn is_bytewise(word: &Word) -> bool {
    match word.quote_style {
        Some(_) => ["C", "POSIX", "default"].contains(&word.value.as_str()),
        None => word.value.eq_ignore_ascii_case("ucs_basic"),
    }
}

/// Whether the tokens end with a cast to a type of one word, its modifier behind it or not, and COLLATE.
fn ends_collated_cast(tokens: &[TokenWithSpan]) -> bool {
    let shown = tokens.iter().map(|t| &t.token).filter(|t| !is_blank(t));
    let mut shown = shown.rev().peekable();
    if !shown
        .next()
        .is_some_and(|token| is_word(token, Keyword::COLLATE))
    {
        return false;
    }
    if shown.next_if(|token| **token == Token::RParen).is_some() {
        let inside = shown.by_ref();
        if !inside.any(|token| *token == Token::LParen) {
            return false;
        }
    }
    matches!(shown.next(), Some(Token::Word(_))) && shown.next() == Some(&Token::DoubleColon)
}

/// Writes the interval that the tokens end with, which is a cast, with the type before it.
fn type_bound(tokens: &mut [TokenWithSpan]) {
    let shown = tokens.iter().enumerate().rev();
    let mut shown = shown.filter(|(_, token)| !is_blank(&token.token));
    let last: Vec<usize> = shown.by_ref().take(3).map(|(at, _)| at).collect();
    let [data_type, cast, text] = last.as_slice() else {
        return;
    };
    let is_interval = is_word(&tokens[*data_type].token, Keyword::INTERVAL)
        && tokens[*cast].token == Token::DoubleColon
        && matches!(tokens[*text].token, Token::SingleQuotedString(_));
    if is_interval {
        let text = std::mem::replace(&mut tokens[*text].token, Token::make_keyword("INTERVAL"));
        tokens[*cast].token = Token::Whitespace(Whitespace::Space);
        tokens[*data_type].token = text;
    }
}

/// Whether the tokens end with the name of a type, its modifier behind it or not. An array behind anything else begins
/// an expression, or is none.
fn ends_type(tokens: &[TokenWithSpan]) -> bool {
    let shown = tokens.iter().map(|t| &t.token).filter(|t| !is_blank(t));
    let mut shown = shown.rev();
    let last = match shown.next() {
        Some(Token::RParen) => {
            let before = shown.find(|token| !matches!(token, Token::Number(..) | Token::Comma));
            before
                .filter(|token| **token == Token::LParen)
                .and_then(|_| shown.next())
        }
        last => last,
    };
    let Some(Token::Word(word)) = last else {
        return false;
    };
    word.quote_style.is_none()
        && TYPE_ENDS
            .iter()
            .any(|end| word.value.eq_ignore_ascii_case(end))
}

/// The words that the names of types of columns end with.
const TYPE_ENDS: &[&str] = &[
    "smallint",
    "integer",
    "int",
    "bigint",
    "int2",
    "int4",
    "int8",
    "real",
    "float",
    "float4",
    "float8",
    "precision",
    "numeric",
    "decimal",
    "boolean",
    "bool",
    "text",
    "varchar",
    "varying",
    "char",
    "character",
    "bpchar",
    "name",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "zone",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "bit",
    "varbit",
    "vector",
    "halfvec",
    "sparsevec",
];

/// Whether the tokens end with the brackets that stand for the word ARRAY, whose own may follow.
fn is_array_word(tokens: &[TokenWithSpan]) -> bool {
    matches!(tokens, [.., open, close]
        if open.token == Token::LBracket && close.token == Token::RBracket && open.span == close.span)
}

fn trims(token: &Token) -> bool {
    let ends = [Keyword::LEADING, Keyword::TRAILING, Keyword::BOTH];
    ends.into_iter().any(|end| is_word(token, end))
}

/// Whether a literal goes on behind these tokens, which are one and blanks.
fn is_continued(tokens: &[TokenWithSpan]) -> bool {
    let blanks = || tokens.iter().skip(1).map(|token| &token.token);
    blanks().any(|blank| {
        use Whitespace::{Newline, SingleLineComment};
        matches!(blank, Token::Whitespace(Newline | SingleLineComment { .. }))
    }) && blanks().all(|blank| !matches!(blank, Token::Whitespace(Whitespace::MultiLineComment(_))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    #[test]
    fn spellings_are_those_that_the_parser_reads() {
        for (text, expected) in [
            ("'a' -- b\n  'c'\n'd'", "'acd'"),
            ("'a' 'b'", "'a' 'b'"),
            ("'a' /* \n */ 'b'", "'a' /* \n */ 'b'"),
            ("trim(both from x)", "trim(both ' 'from x)"),
            ("trim(both 'x' from y)", "trim(both 'x' from y)"),
            ("ORDER BY a using >, b USING <", "ORDER BY a DESC, b ASC"),
            ("JOIN a USING (b)", "JOIN a USING (b)"),
            ("a int8 ARRAY, b text array [4]", "a int8[], b text[4]"),
            (
                "x::timestamp with time zone ARRAY",
                "x::timestamp with time zone[]",
            ),
            (
                "(v vector(3) ARRAY, n numeric(4, 2) ARRAY[2][3])",
                "(v vector(3)[], n numeric(4, 2)[2][3])",
            ),
            ("f(3) ARRAY", "f(3) ARRAY"),
            (
                "SELECT ARRAY[1], \"text\" ARRAY",
                "SELECT ARRAY[1], \"text\" ARRAY",
            ),
            ("DEFAULT ARRAY[1]", "DEFAULT ARRAY[1]"),
            ("'1 day'::interval PRECEDING", "INTERVAL '1 day' PRECEDING"),
        ] {
            let tokens = tokenize(text).unwrap();
            let written: String = tokens.iter().map(|t| t.token.to_string()).collect();
            assert_eq!(written, expected, "{text}");
        }
    }
}
