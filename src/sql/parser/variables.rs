//! The grammar of SET, RESET, SHOW and DISCARD.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Grammar;
use crate::error::{Error, Result, sqlstate};
use crate::sql::statement::Statement;
use crate::sql::variables::{DiscardKind, SetStatement, SetValue};

/// Seconds of an hour.
const HOUR: f64 = 3_600.0;

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
        let hours = interval_hours(&text).ok_or_else(|| {
            let message = format!("invalid input syntax for type interval: \"{text}\"");
            Error::invalid(sqlstate::INVALID_DATETIME_FORMAT, message)
        })?;
        Ok(SetValue::List(vec![hours.to_string()]))
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
fn interval_hours(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.contains(':') {
        let parts: Option<Vec<f64>> = rest
            .split(':')
            .map(|part| part.trim().parse().ok())
            .collect();
        let units = [HOUR, 60.0, 1.0];
        let parts = parts.filter(|parts| parts.len() <= units.len())?;
        let seconds: f64 = parts
            .iter()
            .zip(units)
            .map(|(part, unit)| part * unit)
            .sum();
        return Some(sign * seconds / HOUR);
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (number, unit) = match words.as_slice() {
        [number] => (*number, HOUR),
        [number, "hour" | "hours"] => (*number, HOUR),
        [number, "minute" | "minutes"] => (*number, 60.0),
        _ => return None,
    };
    Some(sign * number.parse::<f64>().ok()? * unit / HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_hours() {
        assert_eq!(interval_hours("-08:00"), Some(-8.0));
        assert_eq!(interval_hours("+05:30:00"), Some(5.5));
        assert_eq!(interval_hours("3 hours"), Some(3.0));
        assert_eq!(interval_hours("-90 minutes"), Some(-1.5));
        for wrong in ["", "1:2:3:4", "3 days", "a:b"] {
            assert_eq!(interval_hours(wrong), None, "{wrong}");
        }
    }
}
