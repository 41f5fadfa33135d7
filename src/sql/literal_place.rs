//! Where in a statement the literal stands that is no value of its type.
//!
//! Conversions know no places: they run when constants are folded, or over rows. Once one has failed, the literals of the
//! statement that are cast are converted one by one, and the first that fails alike is the one.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use shelfmark_udfs::{Element, parse_halfvec, parse_vector, vector_type_of_sql};

use super::tokens::{DIALECT, is_blank, tokenize};
use super::types::column_type;
use crate::catalog::assign::cast_to;
use crate::catalog::zone::Zone;
use crate::error::Error;

/// Longer statements are not searched.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The line and column of the literal in the statement that the error is about, if it is about one.
pub fn literal_place(error: &Error, statement: &str) -> Option<(u64, u64)> {
    let place = (statement.len() <= TEXT_BYTES_MAX)
        .then(|| place(error, statement))
        .flatten()?;
    Some((place.line, place.column))
}

fn place(error: &Error, statement: &str) -> Option<Location> {
    let tokens: Vec<TokenWithSpan> = tokenize(statement)
        .ok()?
        .into_iter()
        .filter(|token| !is_blank(&token.token))
        .collect();
    let mut literals = (0..tokens.len()).filter_map(|at| Literal::at(&tokens, at));
    let place = literals.find_map(|literal| literal.place(error));
    place.or_else(|| quoted(error, &tokens))
}

/// A literal that is cast.
struct Literal<'a> {
    text: &'a str,
    place: Location,
    data_type: DataType,
    type_place: Location,
}

impl<'a> Literal<'a> {
    /// `'..'::type`, `CAST('..' AS type)`, whose text is the token at `at`.
    fn at(tokens: &'a [TokenWithSpan], at: usize) -> Option<Self> {
        let Token::SingleQuotedString(text) = &tokens[at].token else {
            return None;
        };
        let next = tokens.get(at + 1)?;
        let is_cast = match &next.token {
            Token::DoubleColon => true,
            Token::Word(word) => word.value.eq_ignore_ascii_case("as"),
            _ => false,
        };
        let behind = tokens.get(at + 2..).filter(|_| is_cast)?;
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(behind.to_vec());
        Some(Self {
            text,
            place: tokens[at].span.start,
            data_type: parser.parse_data_type().ok()?,
            type_place: behind.first()?.span.start,
        })
    }

    /// The place of what fails as the error says: the type, or the text.
    fn place(&self, error: &Error) -> Option<Location> {
        let alike = |e: &Error| e.sqlstate() == error.sqlstate() && e.message() == error.message();
        match vector_type_of_sql(&self.data_type) {
            Err(of_type) => alike(&Error::from_vector(&of_type)).then_some(self.type_place),
            // Whether a value has the length that the type asks for is found later, without a place.
            Ok(Some(vector)) => {
                let of_text = match vector.element {
                    Element::Single => parse_vector(self.text, None).err()?,
                    Element::Half => parse_halfvec(self.text, None).err()?,
                };
                alike(&Error::from_vector(&of_text)).then_some(self.place)
            }
            Ok(None) => self.place_by_column(alike),
        }
    }

    fn place_by_column(&self, alike: impl Fn(&Error) -> bool) -> Option<Location> {
        if let Err(of_type) = column_type(&self.data_type) {
            return alike(&of_type).then_some(self.type_place);
        }
        let column_type = column_type(&without_length(&self.data_type)).ok()?;
        let text: ArrayRef = Arc::new(StringArray::from(vec![self.text]));
        let of_text = cast_to(&text, &column_type, &Zone::utc()).err()?;
        alike(&of_text.error).then_some(self.place)
    }
}

/// The type without modifiers, as far as it has a name of its own.
fn without_length(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Custom(name, _) => DataType::Custom(ObjectName::clone(name), Vec::new()),
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, length)) => {
            let inner = Box::new(without_length(inner));
            DataType::Array(ArrayElemTypeDef::SquareBracket(inner, *length))
        }
        other => other.clone(),
    }
}

/// The one literal that the error quotes at its end: `invalid input syntax for type integer: "x"`.
fn quoted(error: &Error, tokens: &[TokenWithSpan]) -> Option<Location> {
    let message = error.message();
    let from = message
        .find(": \"")
        .filter(|_| message.starts_with("invalid input"))?;
    let text = message[from + 3..].strip_suffix('"')?;
    let is_it = |t: &&TokenWithSpan| matches!(&t.token, Token::SingleQuotedString(t) if t == text);
    let mut found = tokens.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only.span.start),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::sqlstate;

    fn column(sql: &str, code: &'static str, message: &str) -> Option<u64> {
        let place = literal_place(&Error::invalid(code, message), sql);
        place.map(|(line, column)| {
            assert_eq!(line, 1);
            column
        })
    }

    #[test]
    fn literals_are_found_by_their_errors() {
        const SYNTAX: &str = sqlstate::INVALID_TEXT_REPRESENTATION;
        for (sql, code, message, expected) in [
            (
                "SELECT '[1,2]'::vector, '[1,x]'::vector",
                SYNTAX,
                "invalid input syntax for type vector: \"[1,x]\"",
                Some(25),
            ),
            (
                "SELECT CAST('[]' AS vector)",
                "22000",
                "vector must have at least 1 dimension",
                Some(13),
            ),
            (
                "SELECT '{\"[1,2]\"}'::vector(3)[], 1",
                "22000",
                "expected 3 dimensions, not 2",
                None,
            ),
            (
                "SELECT '[1]'::vector(0)",
                sqlstate::INVALID_PARAMETER_VALUE,
                "dimensions for type vector must be at least 1",
                Some(15),
            ),
            (
                "SELECT 1 WHERE 2 = 'x'",
                SYNTAX,
                "invalid input syntax for type integer: \"x\"",
                Some(20),
            ),
            (
                "SELECT 'x' WHERE 2 = 'x'",
                SYNTAX,
                "invalid input syntax for type integer: \"x\"",
                None,
            ),
            (
                "SELECT '[1]'::vector(2)",
                "22000",
                "expected 2 dimensions, not 1",
                None,
            ),
            ("SELECT 'unfinished", SYNTAX, "invalid", None),
        ] {
            assert_eq!(column(sql, code, message), expected, "{sql}");
        }
    }
}
