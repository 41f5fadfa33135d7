//! PostgreSQL's regular expressions: translated, with its options, and kept while a batch lasts.
//!
//! The engine takes time that is linear in the text, whatever the pattern. Left out, for that: references back (`\1`) and
//! looking ahead (`(?=..)`). POSIX prefers the longest of several alternatives, this engine the first (`a|ab`).

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use regex::{Captures, Regex, RegexBuilder};

use crate::error::{Error, Result, sqlstate};

/// How many patterns are kept: a column of patterns has as many as rows, each of them up to some MiB.
const PATTERNS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The patterns that a call has compiled, those that were used last.
pub(super) struct Patterns {
    known: RefCell<LruCache<(String, String), Arc<Pattern>>>,
}

impl Default for Patterns {
    fn default() -> Self {
        Self {
            known: RefCell::new(LruCache::new(PATTERNS_MAX)),
        }
    }
}

impl Patterns {
    /// The pattern with the options.
    ///
    /// # Errors
    /// 2201B for a text that is no pattern, 22023 for an option that there is none of.
    pub(super) fn get(&self, pattern: &str, options: &str) -> Result<Arc<Pattern>> {
        let key = (pattern.to_string(), options.to_string());
        let mut known = self.known.borrow_mut();
        let found =
            known.try_get_or_insert(key, || Pattern::compile(pattern, options).map(Arc::new));
        found.map(Arc::clone)
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub regex: Regex,
    /// Whether all places count, not the first alone.
    pub global: bool,
}

/// What the letters of options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    global: bool,
    ignore_case: bool,
    expanded: bool,
    literal: bool,
    /// Whether a point matches a line break.
    point_matches_break: bool,
    /// Whether `^` and `$` match at line breaks.
    lines: bool,
}

impl Options {
    fn parse(letters: &str) -> Result<Self> {
        let mut options = Self {
            global: false,
            ignore_case: false,
            expanded: false,
            literal: false,
            point_matches_break: true,
            lines: false,
        };
        for letter in letters.chars() {
            options.add(letter)?;
        }
        Ok(options)
    }

    fn add(&mut self, letter: char) -> Result<()> {
        let mut breaks = |point, lines| {
            self.point_matches_break = point;
            self.lines = lines;
        };
        match letter {
            'g' => self.global = true,
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'n' | 'm' => breaks(false, true),
            'p' => breaks(false, false),
            'w' => breaks(true, true),
            's' => breaks(true, false),
            'e' | 'b' => {}
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
        Ok(())
    }
}

impl Pattern {
    fn compile(pattern: &str, letters: &str) -> Result<Self> {
        let mut options = Options::parse(letters)?;
        let mut pattern = pattern;
        if let Some(rest) = pattern.strip_prefix("***=") {
            options.literal = true;
            pattern = rest;
        } else if let Some(rest) = pattern.strip_prefix("***:") {
            pattern = rest;
        }
        // `(?i)` before all else.
        if let Some((inner, rest)) = pattern.strip_prefix("(?").and_then(|p| p.split_once(')'))
            && !inner.is_empty()
            && inner.bytes().all(|b| b.is_ascii_lowercase())
        {
            inner.chars().try_for_each(|letter| options.add(letter))?;
            pattern = rest;
        }
        let translated = match options.literal {
            true => regex::escape(pattern),
            false => translate(pattern, !options.point_matches_break),
        };
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(options.ignore_case)
            .multi_line(options.lines)
            .dot_matches_new_line(options.point_matches_break)
            .ignore_whitespace(options.expanded)
            .build()
            .map_err(|error| invalid(&error))?;
        Ok(Self {
            regex,
            global: options.global,
        })
    }

    /// The places of the pattern's matches from a byte on, each with those of its groups.
    pub(super) fn matches(&self, text: &str, from: usize) -> Vec<Match> {
        let mut found = Vec::new();
        let mut at = from;
        while at <= text.len()
            && let Some(captures) = self.regex.captures_at(text, at)
        {
            let groups = groups(&captures);
            let (start, end) = groups.first().copied().flatten().unwrap_or((at, at));
            // An empty match moves on by a character.
            at = match end > start {
                true => end,
                false => end + text[end..].chars().next().map_or(1, char::len_utf8),
            };
            found.push(groups);
        }
        found
    }

    /// The first match.
    pub(super) fn first(&self, text: &str) -> Option<Match> {
        Some(groups(&self.regex.captures(text)?))
    }
}

fn groups(captures: &Captures<'_>) -> Match {
    let spans = captures.iter();
    spans
        .map(|group| group.map(|g| (g.start(), g.end())))
        .collect()
}

/// Where a match and its groups begin and end, the whole first.
pub(super) type Match = Vec<Option<(usize, usize)>>;

fn invalid(error: &regex::Error) -> Error {
    let message = error.to_string();
    let line = message.lines().next_back().unwrap_or_default();
    let cause = line.trim_start_matches("error: ");
    let code = match cause.contains("not supported") {
        true => sqlstate::FEATURE_NOT_SUPPORTED,
        false => sqlstate::INVALID_REGULAR_EXPRESSION,
    };
    Error::invalid(code, format!("invalid regular expression: {cause}"))
}

/// What a pattern of the operator `~` is in the syntax of the engine, where it is another there.
pub(crate) fn operator_pattern(pattern: &str) -> Option<String> {
    let needs = [r"\m", r"\M", r"\y", r"\Y", r"\Z", "[[:<:]]", "[[:>:]]"];
    let concerns = needs.into_iter().any(|part| pattern.contains(part));
    concerns.then(|| translate(pattern, false))
}

/// The pattern in the syntax of the engine.
fn translate(pattern: &str, class_without_break: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("[[:<:]]") {
            out.push_str(r"\b{start}");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("[[:>:]]") {
            out.push_str(r"\b{end}");
            rest = after;
        } else if first == '\\' {
            rest = escape(rest, &mut out);
        } else if first == '[' {
            rest = class(rest, class_without_break, &mut out);
        } else if first == '{' && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            out.push_str(r"\{");
            rest = &rest[1..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// An escape outside of a class; what follows it.
fn escape<'a>(text: &'a str, out: &mut String) -> &'a str {
    let Some(second) = text[1..].chars().next() else {
        out.push_str(r"\\\");
        return "";
    };
    let after = &text[1 + second.len_utf8()..];
    match second {
        'm' => out.push_str(r"\b{start}"),
        'M' => out.push_str(r"\b{end}"),
        'y' => out.push_str(r"\b"),
        'Y' => out.push_str(r"\B"),
        'Z' => out.push_str(r"\z"),
        _ => return common_escape(text, second, after, out),
    }
    after
}

/// An escape that means the same in a class.
fn common_escape<'a>(text: &'a str, second: char, after: &'a str, out: &mut String) -> &'a str {
    match second {
        'B' => out.push_str(r"\\"),
        'a' => out.push_str(r"\x07"),
        'b' => out.push_str(r"\x08"),
        'e' => out.push_str(r"\x1B"),
        'u' | 'U' => {
            let digits = if second == 'u' { 4 } else { 8 };
            if let Some(code) = after.get(..digits).filter(|d| is_hex(d)) {
                out.push_str(&format!(r"\x{{{code}}}"));
                return &after[digits..];
            }
            out.push(second);
        }
        'x' => {
            let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
            out.push_str(&format!(r"\x{{{}}}", &after[..digits]));
            return &after[digits..];
        }
        c if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        c if c.is_ascii_punctuation() => {
            out.push('\\');
            out.push(c);
        }
        _ => out.push_str(&text[1..1 + second.len_utf8()]),
    }
    after
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A class of characters, in which `[` and `&&` mean nothing.
fn class<'a>(text: &'a str, without_break: bool, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        if without_break {
            out.push_str(r"\n");
        }
        rest = after;
    }
    let mut is_first = true;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            ']' if !is_first => {
                out.push(']');
                return after;
            }
            '[' if after.starts_with(':') && after.contains(":]") => {
                let end = after.find(":]").unwrap_or(0) + 2;
                out.push('[');
                out.push_str(&after[..end]);
                rest = &after[end..];
            }
            '\\' => {
                rest = match after.chars().next() {
                    Some(second) => common_escape(rest, second, &after[second.len_utf8()..], out),
                    None => "",
                };
            }
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
                rest = after;
            }
            _ => {
                out.push(c);
                rest = after;
            }
        }
        is_first = false;
    }
    rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_are_translated() {
        for (pattern, expected) in [
            (r"\mfoo\M", r"\b{start}foo\b{end}"),
            (r"a{x", r"a\{x"),
            (r"a{2,3}", r"a{2,3}"),
            (r"[][a&]", r"[\]\[a\&]"),
            (r"[[:alpha:]_]+", r"[[:alpha:]_]+"),
            (r"\u00e9\x41", r"\x{00e9}\x{41}"),
        ] {
            assert_eq!(translate(pattern, false), expected, "{pattern}");
        }
    }

    #[test]
    fn options_have_their_codes() {
        let code = |pattern: &str, options: &str| {
            Patterns::default()
                .get(pattern, options)
                .err()
                .map(|e| e.sqlstate())
        };
        assert_eq!(code("a", "gi"), None);
        assert_eq!(code("a", "z"), Some("22023"));
        assert_eq!(code("a(", ""), Some("2201B"));
        assert_eq!(code("***=a(", ""), None);
        assert_eq!(code(r"(.)\1", ""), Some("0A000"));
        assert_eq!(code("a(?=b)", ""), Some("0A000"));
    }
}
