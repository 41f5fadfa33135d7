//! Errors and notices on standard error.

use std::fmt::Write;

use shelfmark::Error;
use shelfmark::sql::{Notice, Piece, literal_place};

/// Longer lines of a statement are cut around the place of the error.
const LINE_CHARS_MAX: usize = 100;

/// Prints an error; with the statement it came from, shows the place.
pub fn error(error: &Error, statement: Option<&Piece>) {
    eprint!("{}", error_text(error, statement));
}

/// Prints a notice.
pub fn notice(notice: &Notice) {
    eprint!("{}", notice_text(notice));
}

fn notice_text(notice: &Notice) -> String {
    let mut text = format!("{}: {}\n", notice.severity.as_str(), notice.message);
    remarks(&mut text, notice.detail.as_deref(), notice.hint.as_deref());
    text
}

fn error_text(error: &Error, statement: Option<&Piece>) -> String {
    let mut text = format!("ERROR {}: {}\n", error.sqlstate(), error.message());
    if let Some(piece) = statement {
        let place = error
            .position()
            .or_else(|| literal_place(error, &piece.text))
            .and_then(|(line, column)| pointer(piece, line, column));
        text.push_str(&place.unwrap_or_else(|| first_line(piece)));
    }
    remarks(&mut text, error.detail(), error.hint());
    text
}

fn remarks(text: &mut String, detail: Option<&str>, hint: Option<&str>) {
    for (word, remark) in [("DETAIL", detail), ("HINT", hint)] {
        if let Some(remark) = remark {
            let _ = writeln!(text, "{word}: {remark}");
        }
    }
}

fn first_line(piece: &Piece) -> String {
    let line = piece.text.lines().next().unwrap_or_default();
    let (shown, _) = window(line, 1);
    format!("LINE {}: {shown}\n", piece.line)
}

/// The line of the statement, and a caret under the column.
fn pointer(piece: &Piece, line: u64, column: u64) -> Option<String> {
    let text = piece.text.lines().nth(line.checked_sub(1)? as usize)?;
    let (shown, column) = window(text, column.max(1) as usize);
    let label = format!("LINE {}: ", piece.line + line - 1);
    let caret = " ".repeat(label.len() + column - 1);
    Some(format!("{label}{shown}\n{caret}^\n"))
}

/// The part of a line around a column (from 1), and the column within that part.
fn window(line: &str, column: usize) -> (String, usize) {
    let chars: Vec<char> = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let column = column.min(chars.len() + 1);
    if chars.len() <= LINE_CHARS_MAX {
        return (chars.into_iter().collect(), column);
    }
    let start = column
        .saturating_sub(LINE_CHARS_MAX / 2)
        .min(chars.len() - LINE_CHARS_MAX);
    let end = start + LINE_CHARS_MAX;
    let before = if start > 0 { "..." } else { "" };
    let after = if end < chars.len() { "..." } else { "" };
    let middle: String = chars[start..end].iter().collect();
    (
        format!("{before}{middle}{after}"),
        column - start + before.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let piece = Piece {
            text: "SELECT *\n  FORM t".to_string(),
            line: 7,
            offset: 0,
        };
        let error = Error::invalid("42601", "syntax error")
            .with_position(2, 3)
            .with_hint("Try.");
        let expected = "ERROR 42601: syntax error\nLINE 8:   FORM t\n          ^\nHINT: Try.\n";
        assert_eq!(error_text(&error, Some(&piece)), expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let (shown, column) = window(&line, 301);
        assert_eq!(shown.chars().nth(column - 1), Some('X'));
        assert!(shown.len() < 110);
    }

    #[test]
    fn a_place_beyond_the_text_shows_the_first_line() {
        let piece = Piece {
            text: "SELECT 1".to_string(),
            line: 3,
            offset: 0,
        };
        let error = Error::invalid("42601", "unexpected end").with_position(9, 1);
        assert!(error_text(&error, Some(&piece)).contains("LINE 3: SELECT 1\n"));
    }
}
