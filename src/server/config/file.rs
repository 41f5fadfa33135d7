//! A configuration file as assignments, each with its line.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::rule::AuthEntry;
use crate::error::{Error, Result, sqlstate};

/// The array of tables that holds the rules of authentication.
const AUTH: &str = "auth";

/// A key of a file and its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub name: String,
    pub text: String,
    pub line: usize,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub assignments: Vec<Assignment>,
    /// The rules of authentication; none when the file has no `[[auth]]`.
    pub auth: Option<Vec<AuthEntry>>,
}

/// Reads the text of a file.
///
/// # Errors
/// 22023 for a text that is not TOML or a value of a wrong kind, 42704 for unknown keys of `[[auth]]`; the line is in
/// the message.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let table = DeTable::parse(text).map_err(|e| {
        let start = e.span().map_or(0, |span| span.start);
        let message = format!("not valid TOML: {}", e.message().replace('\n', " "));
        wrong(message).context(place(text, start))
    })?;
    let mut reader = Reader {
        text,
        parsed: Parsed::default(),
    };
    reader.table("", table.into_inner())?;
    // Tables come sorted by name; what is wrong in them should be told in the order of the file.
    reader.parsed.assignments.sort_by_key(|a| a.line);
    Ok(reader.parsed)
}

struct Reader<'a> {
    text: &'a str,
    parsed: Parsed,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            let start = key.span().start;
            match value.into_inner() {
                DeValue::Table(inner) => self.table(&name, inner)?,
                DeValue::Array(rules) if name == AUTH => {
                    self.parsed.auth = Some(self.rules(rules)?);
                }
                value => self.parsed.assignments.push(Assignment {
                    text: text_of(&name, value).map_err(|e| e.context(place(self.text, start)))?,
                    line: line_of(self.text, start),
                    name,
                }),
            }
        }
        Ok(())
    }

    fn rules(&self, rules: DeArray<'_>) -> Result<Vec<AuthEntry>> {
        let rules = rules.into_iter().map(|rule| {
            let start = rule.span().start;
            self.rule(rule)
                .map_err(|e| e.context(place(self.text, start)))
        });
        rules.collect()
    }

    fn rule(&self, rule: Spanned<DeValue<'_>>) -> Result<AuthEntry> {
        let line = line_of(self.text, rule.span().start);
        let DeValue::Table(table) = rule.into_inner() else {
            return Err(wrong("a rule of [[auth]] is a table".to_string()));
        };
        let mut entry = AuthEntry::at(line);
        for (key, value) in table {
            let text = text_of(&format!("{AUTH}.{}", key.get_ref()), value.into_inner())?;
            entry.set(key.get_ref(), text)?;
        }
        entry.complete()
    }
}

fn text_of(name: &str, value: DeValue<'_>) -> Result<String> {
    match value {
        DeValue::Array(items) => list(name, &items),
        value => scalar(name, &value),
    }
}

fn wrong(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn list(name: &str, items: &DeArray<'_>) -> Result<String> {
    let items = items.iter().map(|item| {
        let text = scalar(name, item.get_ref())?;
        match text.contains(',') {
            true => Err(wrong(format!(
                "an item of \"{name}\" has a comma: \"{text}\""
            ))),
            false => Ok(text),
        }
    });
    Ok(items.collect::<Result<Vec<_>>>()?.join(", "))
}

fn scalar(name: &str, value: &DeValue<'_>) -> Result<String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        DeValue::Float(number) => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        _ => Err(wrong(format!(
            "the value of \"{name}\" is neither a string nor a number nor a boolean"
        ))),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count()
}

fn place(text: &str, at: usize) -> String {
    format!("line {}", line_of(text, at))
}
