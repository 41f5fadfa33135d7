//! Input, line by line, cut into statements and meta commands.

use shelfmark::sql::{Piece, split};

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A statement of SQL.
    Statement(Piece),
    /// A statement whose only row becomes variables of the shell, with a prefix before their names (`\gset`).
    Store(Piece, String),
    /// A line that begins with a backslash, without it.
    Meta(String),
}

/// Lines that are not a whole statement yet.
#[derive(Debug, Default)]
pub struct Pending {
    text: String,
    /// Lines taken before `text` begins.
    lines_before: u64,
}

impl Pending {
    /// Takes one more line (without its end), and gives what is complete now.
    pub fn push(&mut self, line: &str) -> Vec<Step> {
        if let Some(meta) = line.trim().strip_prefix('\\')
            && split(&self.text).rest.is_none()
        {
            self.take();
            self.lines_before += 1;
            return vec![Step::Meta(meta.to_string())];
        }
        if let Some((before, prefix)) = line.rsplit_once("\\gset")
            && let Some(step) = self.store(before, prefix.trim())
        {
            return step;
        }
        self.text.push_str(line);
        self.text.push('\n');
        if !line.contains(';') {
            return Vec::new();
        }
        self.complete()
    }

    /// Passes over lines that were no statements.
    pub fn pass(&mut self, lines: u64) {
        self.lines_before += lines;
    }

    /// Gives the last statement, which no semicolon ended.
    pub fn finish(&mut self) -> Option<Step> {
        let rest = split(&self.text).rest?;
        let piece = self.placed(rest);
        self.take();
        Some(Step::Statement(piece))
    }

    /// The statement that `\gset` ends in place of a semicolon; `None` where it stands in a string.
    fn store(&mut self, before: &str, prefix: &str) -> Option<Vec<Step>> {
        let mut pieces = split(&format!("{}{before};", self.text));
        let last = match (pieces.rest, pieces.complete.pop()) {
            (None, Some(last)) => self.placed(last),
            _ => return None,
        };
        let before_it = pieces
            .complete
            .into_iter()
            .map(|p| Step::Statement(self.placed(p)));
        let steps = before_it
            .chain([Step::Store(last, prefix.to_string())])
            .collect();
        self.take();
        self.lines_before += 1;
        Some(steps)
    }

    fn complete(&mut self) -> Vec<Step> {
        let pieces = split(&self.text);
        let steps = pieces
            .complete
            .into_iter()
            .map(|p| Step::Statement(self.placed(p)))
            .collect();
        match pieces.rest {
            // Not the piece's own text: it is trimmed, and an open string must keep its blanks.
            Some(rest) => {
                let start = self.text.trim_end().len() - rest.text.len();
                self.lines_before += count_lines(&self.text[..start]);
                self.text.drain(..start);
            }
            None => self.take(),
        }
        steps
    }

    fn placed(&self, piece: Piece) -> Piece {
        Piece {
            line: piece.line + self.lines_before,
            ..piece
        }
    }

    fn take(&mut self) {
        self.lines_before += count_lines(&self.text);
        self.text.clear();
    }
}

fn count_lines(text: &str) -> u64 {
    text.bytes().filter(|b| *b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<String> {
        let mut pending = Pending::default();
        let mut steps: Vec<Step> = text.lines().flat_map(|l| pending.push(l)).collect();
        steps.extend(pending.finish());
        let show = |s| match s {
            Step::Statement(p) => format!("{}: {}", p.line, p.text),
            Step::Store(p, prefix) => format!("{}: {} -> {prefix}", p.line, p.text),
            Step::Meta(m) => format!("\\{m}"),
        };
        steps.into_iter().map(show).collect()
    }

    #[test]
    fn statements_keep_their_lines() {
        let text = "SELECT 1; SELECT\n 2;\n-- note; one\n\nSELECT 3";
        assert_eq!(steps(text), ["1: SELECT 1", "1: SELECT\n 2", "5: SELECT 3"]);
    }

    #[test]
    fn meta_commands_stand_between_statements() {
        let text = "\\echo a; b\nSELECT '\n\\q' ;\n-- note\n \\q\nSELECT 1;";
        let expected = ["\\echo a; b", "2: SELECT '\n\\q'", "\\q", "6: SELECT 1"];
        assert_eq!(steps(text), expected);
    }

    #[test]
    fn an_open_string_keeps_its_blanks() {
        let text = "SELECT 1; SELECT 'a ; \nb';";
        assert_eq!(steps(text), ["1: SELECT 1", "1: SELECT 'a ; \nb'"]);
    }

    #[test]
    fn gset_ends_a_statement() {
        let text = "SELECT 1; SELECT\n2 AS n \\gset p_\nSELECT ' \\gset ';\nSELECT :p_n;";
        let expected = [
            "1: SELECT 1",
            "1: SELECT\n2 AS n -> p_",
            "3: SELECT ' \\gset '",
            "4: SELECT :p_n",
        ];
        assert_eq!(steps(text), expected);
    }
}
