//! Commands of the shell itself, which begin with a backslash.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Field;
use shelfmark::Error;
use shelfmark::error::sqlstate;
use shelfmark::storage::schema::SQL_TYPE_KEY;

use super::args::Format;
use super::print::Printer;
use super::shell::{Failure, Shell, Stop};

/// Names and helps of all commands, as `\?` shows them.
pub const COMMANDS: [(&str, &str, &str); 10] = [
    (
        "d",
        "[NAME]",
        "columns and options of a collection or view; without a name as \\dt",
    ),
    ("dt", "", "collections and views"),
    ("echo", "[TEXT]", "print a text"),
    ("format", "[NAME]", "table, csv, json, ndjson or markdown"),
    (
        "gset",
        "[PREFIX]",
        "after a statement in place of ;  keep its row as variables, :name in later statements",
    ),
    ("i", "FILE", "run the statements of a file"),
    ("q", "", "quit"),
    ("timing", "[on|off]", "print how long statements take"),
    ("x", "[on|off]", "print one line per value"),
    ("?", "", "this help"),
];

/// Runs the command on a line, given without its backslash.
///
/// # Errors
/// 42601 for a command that does not exist, or what the command ends with.
pub fn run(shell: &mut Shell, line: &str) -> Result<(), Failure> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let argument = rest.trim_end_matches(';').trim_end();
    match name {
        "d" | "dt" if argument.is_empty() => tables(shell),
        "d" => describe(shell, argument),
        "echo" => Ok(writeln!(shell.out, "{}", unquote(rest))?),
        "format" => format(shell, argument),
        "gset" => {
            let message = "\\gset stands behind a statement";
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).into())
        }
        "i" => shell.include(Path::new(unquote(argument))),
        "q" | "quit" => Err(Stop::Quit.into()),
        "timing" => {
            shell.timing = switch("timing", argument, shell.timing)?;
            say(shell, "Timing", shell.timing)
        }
        "x" => {
            shell.expanded = switch("x", argument, shell.expanded)?;
            say(shell, "One line per value", shell.expanded)
        }
        "?" => help(shell),
        _ => {
            let message = format!("there is no command \\{name}");
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
                .with_hint("\\? lists them.")
                .into())
        }
    }
}

fn tables(shell: &mut Shell) -> Result<(), Failure> {
    shell.statement(
        "SELECT table_schema AS schema, table_name AS name, \
         CASE table_type WHEN 'BASE TABLE' THEN 'collection' ELSE lower(table_type) END AS type \
         FROM information_schema.tables \
         WHERE table_schema NOT IN ('information_schema', 'pg_catalog', 'shelfmark') ORDER BY 1, 2",
        &mut std::io::empty(),
    )
}

fn describe(shell: &mut Shell, name: &str) -> Result<(), Failure> {
    let frame = shell
        .runtime
        .block_on(shell.session.sql(&format!("SELECT * FROM {name}")))?;
    let fields = frame.schema().fields();
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let names = StringArray::from_iter_values(fields.iter().map(|f| f.name()));
    let types = StringArray::from_iter_values(fields.iter().map(|f| type_name(f)));
    let nullable = StringArray::from_iter_values(fields.iter().map(|f| yes_no(f.is_nullable())));
    let columns: [(&str, ArrayRef); 3] = [
        ("column", Arc::new(names)),
        ("type", Arc::new(types)),
        ("nullable", Arc::new(nullable)),
    ];
    let rows = RecordBatch::try_from_iter(columns).map_err(Error::from)?;
    let mut printer = Printer::new(shell.format, false, &rows.schema());
    printer.write(&rows, &mut shell.out)?;
    printer.finish(&mut shell.out)?;
    describe_keys(shell, name)
}

fn describe_keys(shell: &mut Shell, name: &str) -> Result<(), Failure> {
    let (schema, table) = qualified(name);
    let schema = schema.map_or_else(|| "public".to_string(), |s| s.replace('\'', "''"));
    let keys = shell.text_rows(&format!(
        "SELECT primary_key AS \"Primary key\", clustering_key AS \"Clustering key\", \
         partition_key AS \"Partition key\", live_rows AS \"Rows\", segments AS \"Sealed segments\", \
         options AS \"Options\" FROM shelfmark.collections \
         WHERE schema_name = '{schema}' AND collection = '{}'",
        table.replace('\'', "''")
    ))?;
    for (key, value) in keys.into_iter().flatten() {
        if let Some(value) = value {
            writeln!(shell.out, "{key}: {value}")?;
        }
    }
    Ok(writeln!(shell.out)?)
}

/// The SQL type of a collection's column; for a column of a query, the Arrow type that it has.
fn type_name(field: &Field) -> String {
    match field.metadata().get(SQL_TYPE_KEY) {
        Some(name) => name.clone(),
        None => field.data_type().to_string().to_lowercase(),
    }
}

/// Schema and name as SQL reads them: quoted as they are, others in lower case.
fn qualified(name: &str) -> (Option<String>, String) {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    for c in name.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    (parts.pop(), part)
}

fn format(shell: &mut Shell, name: &str) -> Result<(), Failure> {
    if !name.is_empty() {
        shell.format = <Format as clap::ValueEnum>::from_str(name, true).map_err(|_| {
            let message = format!("there is no format \"{name}\"");
            Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint("Formats are table, csv, json, ndjson and markdown.")
        })?;
    }
    if shell.interactive {
        writeln!(
            shell.out,
            "Format is {}.",
            format!("{:?}", shell.format).to_lowercase()
        )?;
    }
    Ok(())
}

/// The new state of a switch: what the argument says, or the other one.
fn switch(name: &str, argument: &str, now: bool) -> Result<bool, Error> {
    match argument {
        "" => Ok(!now),
        "on" => Ok(true),
        "off" => Ok(false),
        _ => {
            let message = format!("\\{name} is on or off, not \"{argument}\"");
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// Tells a person what a switch is now; a script knows.
fn say(shell: &mut Shell, what: &str, on: bool) -> Result<(), Failure> {
    if !shell.interactive {
        return Ok(());
    }
    Ok(writeln!(
        shell.out,
        "{what} is {}.",
        if on { "on" } else { "off" }
    )?)
}

fn help(shell: &mut Shell) -> Result<(), Failure> {
    writeln!(
        shell.out,
        "A statement of SQL ends with a semicolon. Commands of the shell:"
    )?;
    for (name, argument, text) in COMMANDS {
        let command = format!("\\{name} {argument}");
        writeln!(shell.out, "  {command:<18} {text}")?;
    }
    Ok(())
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_fold_as_in_sql() {
        assert_eq!(qualified("Book"), (None, "book".to_string()));
        assert_eq!(
            qualified("S.\"A.b\""),
            (Some("s".to_string()), "A.b".to_string())
        );
    }

    #[test]
    fn switches_toggle_without_an_argument() {
        assert!(switch("x", "", false).unwrap());
        assert!(!switch("x", "off", true).unwrap());
        assert_eq!(switch("x", "maybe", true).unwrap_err().sqlstate(), "22023");
    }
}
