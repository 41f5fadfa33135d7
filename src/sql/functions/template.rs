//! Templates of dates and times, as `to_date` and `to_timestamp` read by them: patterns and what stands between.

use super::calendar::pattern_at;

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// `FX`: from here on a text has just the widths of the template.
    Exact,
    /// A field of the calendar.
    Field(Field),
    /// A character that is no letter, no digit and no blank.
    Separator(char),
    /// A blank.
    Space,
    /// Any other character.
    Loose(char),
    /// A character in quotes.
    Letter(char),
}

/// A field of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// In upper case.
    pub pattern: &'static str,
    /// `FM`: of any width.
    pub is_filled: bool,
    /// `TH`: with an ending.
    pub has_ending: bool,
}

impl Field {
    /// Whether its text has digits alone.
    fn is_digits(self) -> bool {
        let words = [
            "MONTH", "MON", "DAY", "DY", "RM", "A.M.", "P.M.", "AM", "PM", "A.D.", "B.C.", "AD",
            "BC", "TZ", "OF", "TZH",
        ];
        !words.contains(&self.pattern)
    }
}

/// The parts of a template.
pub(super) fn nodes(template: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted_letters(quoted, &mut nodes);
            continue;
        }
        if let Some(after) = after_prefix(rest, "FX") {
            nodes.push(Node::Exact);
            rest = after;
            continue;
        }
        let filled = after_prefix(rest, "FM");
        let at = filled.or_else(|| after_prefix(rest, "TM")).unwrap_or(rest);
        if let Some(pattern) = pattern_at(at) {
            rest = &at[pattern.len()..];
            let ending = after_prefix(rest, "TH");
            nodes.push(Node::Field(Field {
                pattern,
                is_filled: filled.is_some(),
                has_ending: ending.is_some(),
            }));
            rest = ending.unwrap_or(rest);
            continue;
        }
        let is_escaped = rest.starts_with("\\\"");
        let first = if is_escaped { '"' } else { first };
        nodes.push(match first {
            first if is_separator(first) => Node::Separator(first),
            first if first.is_ascii_whitespace() => Node::Space,
            first => Node::Loose(first),
        });
        rest = &rest[first.len_utf8() + usize::from(is_escaped)..];
    }
    nodes
}

/// Whether a field before these nodes ends where digits end.
pub(super) fn ends_digits(field: Field, after: &[Node]) -> bool {
    field.has_ending
        || match after.first() {
            None | Some(Node::Exact | Node::Separator(_) | Node::Space) => true,
            Some(Node::Field(next)) => !next.is_digits(),
            Some(Node::Letter(letter) | Node::Loose(letter)) => !letter.is_ascii_digit(),
        }
}

/// Whether a character stands between fields.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let ahead = text.get(..prefix.len())?;
    ahead
        .eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// Puts the letters of a quoted part; what follows the quote.
fn quoted_letters<'a>(quoted: &'a str, nodes: &mut Vec<Node>) -> &'a str {
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        let letter = match letter {
            '"' => return &quoted[at + 1..],
            '\\' => letters.next().map_or('\\', |(_, escaped)| escaped),
            letter => letter,
        };
        nodes.push(Node::Letter(letter));
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(pattern: &'static str) -> Node {
        Node::Field(Field {
            pattern,
            is_filled: false,
            has_ending: false,
        })
    }

    #[test]
    fn templates_are_fields_and_what_stands_between() {
        let expected = [
            field("YYYY"),
            Node::Separator('-'),
            field("MM"),
            Node::Space,
        ];
        assert_eq!(nodes("yyyy-MM "), expected);
        let expected = [Node::Letter('D'), Node::Letter('"'), field("HH24")];
        assert_eq!(nodes("\"D\\\"\"HH24"), expected);
        let ordinal = Field {
            pattern: "DD",
            is_filled: true,
            has_ending: true,
        };
        assert_eq!(nodes("FXFMDDth"), [Node::Exact, Node::Field(ordinal)]);
    }

    #[test]
    fn digits_end_before_what_is_none() {
        let nodes = nodes("YYYYMMMonDD");
        let Node::Field(year) = nodes[0] else {
            panic!("{nodes:?}");
        };
        assert!(!ends_digits(year, &nodes[1..]));
        assert!(ends_digits(year, &nodes[2..]));
        assert!(ends_digits(year, &[]));
    }
}
