//! The grammar of SET, RESET, SHOW and DISCARD.

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{Field, IntervalMonthDayNanoType};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Grammar;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::read_texts;
use crate::sql::functions::INTERVAL;
use crate::sql::statement::Statement;
use crate::sql::variables::{DiscardKind, SetStatement, SetValue};

/// Nanoseconds of an hour.
const HOUR: f64 = 3_600e9;

impl Grammar<'_> {
    /// `SET [SESSION | LOCAL] name {TO | =} value, ..` and its other spellings.
    pub(super) fn set(&mut self) -> Result<Statement> {
        self.skip(1);
        if self.accept(&["SESSION", "CHARACTERISTICS"]) {
            self.expect(&["AS", "TRANSACTION"])?;
            return Ok(Statement::SetDefaultModes(self.modes()?));
        }
        let local = !self.accept(&["SESSION"]) && self.accept(&["LOCAL"]);
        if self.accept(&["TIME", "ZONE"]) {
            let value = self.time_zone()?;
            return Ok(set_statement("TimeZone", local, value));
        }
        if self.accept(&["NAMES"]) {
            let value = self.set_value()?;
            return Ok(set_statement("client_encoding", local, value));
        }
        let name = self.variable_name()?;
        if !self.parser.consume_token(&Token::Eq) && !self.accept(&["TO"]) {
            return Err(self.unexpected("= or TO"));
        }
        let value = self.set_value()?;
        Ok(set_statement(&name, local, value))
    }

    /// `RESET name`, `RESET ALL`.
    pub(super) fn reset(&mut self) -> Result<Statement> {
        self.skip(1);
        if self.accept(&["ALL"]) {
            return Ok(Statement::ResetAll);
        }
        let name = self.shown_name()?;
        Ok(Statement::Set(SetStatement {
            tag: "RESET",
            name,
            local: false,
            value: SetValue::Default,
        }))
    }

    /// `SHOW name`, `SHOW ALL`.
    pub(super) fn show(&mut self) -> Result<Statement> {
        self.skip(1);
        if self.accept(&["ALL"]) {
            return Ok(Statement::ShowAll);
        }
        Ok(Statement::Show(self.shown_name()?))
    }

    /// `DISCARD {ALL | PLANS | SEQUENCES | TEMP | TEMPORARY}`.
    pub(super) fn discard(&mut self) -> Result<Statement> {
        self.skip(1);
        let kind = match self.word(0).as_str() {
            "ALL" => DiscardKind::All,
            "PLANS" => DiscardKind::Plans,
            "SEQUENCES" => DiscardKind::Sequences,
            "TEMP" | "TEMPORARY" => DiscardKind::Temp,
            _ => return Err(self.unexpected("ALL, PLANS, SEQUENCES or TEMP")),
        };
        self.skip(1);
        Ok(Statement::Discard(kind))
    }

    /// A name that RESET and SHOW take: several parameters have a phrase as well.
    fn shown_name(&mut self) -> Result<String> {
        let phrases = [
            (&["TIME", "ZONE"][..], "TimeZone"),
            (
                &["TRANSACTION", "ISOLATION", "LEVEL"],
                "transaction_isolation",
            ),
            (&["SESSION", "AUTHORIZATION"], "session_authorization"),
        ];
        for (words, name) in phrases {
            if self.accept(words) {
                return Ok(name.to_string());
            }
        }
        self.variable_name()
    }

    /// Parts with dots between them.
    pub(in crate::sql) fn variable_name(&mut self) -> Result<String> {
        let mut name = self.parser.parse_identifier()?.value;
        while self.parser.consume_token(&Token::Period) {
            name = format!("{name}.{}", self.parser.parse_identifier()?.value);
        }
        Ok(name)
    }

    /// `DEFAULT`, or words, strings and numbers with commas between them.
    fn set_value(&mut self) -> Result<SetValue> {
        if self.accept(&["DEFAULT"]) {
            return Ok(SetValue::Default);
        }
        Ok(SetValue::List(self.comma_separated(Self::set_word)?))
    }

    pub(in crate::sql) fn set_word(&mut self) -> Result<String> {
        let sign = match self.parser.peek_token_ref().token {
            Token::Minus => "-",
            Token::Plus => "+",
            _ => "",
        };
        if !sign.is_empty() {
            self.skip(1);
        }
        let text = match self.parser.peek_token().token {
            Token::Number(number, _) => format!("{sign}{number}"),
            _ if !sign.is_empty() => return Err(self.unexpected("a number")),
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            Token::Word(word) => word.value,
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
            Token::DollarQuotedString(text) => text.value,
            _ => return Err(self.unexpected("a value")),
        };
        self.skip(1);
        Ok(text)
    }

    /// `LOCAL`, `DEFAULT`, a name, a number of hours, or an interval.
    fn time_zone(&mut self) -> Result<SetValue> {
        if self.accept(&["LOCAL"]) {
            return Ok(SetValue::Default);
        }
        if !self.accept(&["INTERVAL"]) {
            return match self.set_value()? {
                SetValue::List(values) if values.len() > 1 => Err(self.unexpected("one time zone")),
                value => Ok(value),
            };
        }
        let text = self.parser.parse_literal_string()?;
        if self.accept(&["HOUR"]) && self.accept(&["TO"]) {
            self.expect(&["MINUTE"])?;
        }
        Ok(SetValue::List(vec![interval_hours(&text)?.to_string()]))
    }
}

fn set_statement(name: &str, local: bool, value: SetValue) -> Statement {
    Statement::Set(SetStatement {
        tag: "SET",
        name: name.to_string(),
        local,
        value,
    })
}

/// The hours of an interval of a time zone: `-08:00`, `3 hours`, `+05:30:00`.
///
/// # Errors
/// 22007 for a text that is no interval, 22023 for one with months or days.
fn interval_hours(text: &str) -> Result<f64> {
    let texts = StringArray::from(vec![text]);
    let field = Field::new("", INTERVAL, true);
    let read = read_texts(&texts, &field, &Zone::utc()).map_err(|e| e.error)?;
    let interval = read.as_primitive::<IntervalMonthDayNanoType>().value(0);
    let unit = match (interval.months, interval.days) {
        (0, 0) => return Ok(interval.nanoseconds as f64 / HOUR),
        (0, _) => "days",
        _ => "months",
    };
    let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{text}'\"");
    let error = Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
    Err(error.with_detail(format!("Cannot specify {unit} in time zone interval.")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn intervals_are_hours() {
        assert_eq!(interval_hours("-08:00").unwrap(), -8.0);
        assert_eq!(interval_hours("+05:30:00").unwrap(), 5.5);
        assert_eq!(interval_hours("3 hours").unwrap(), 3.0);
        assert_eq!(interval_hours("-90 minutes").unwrap(), -1.5);
        for (wrong, code) in [("", "22007"), ("3 days", "22023"), ("a:b", "22007")] {
            assert_eq!(
                interval_hours(wrong).unwrap_err().sqlstate(),
                code,
                "{wrong}"
            );
        }
    }
}
