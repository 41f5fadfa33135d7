//! The one spelling of a path.

use std::fmt::Write;

use super::tree::{Comparison, Node, Operator, Path, Step};
use crate::catalog::json::{Value, write_json};

/// The path as PostgreSQL shows it.
pub(super) fn write(path: &Path) -> String {
    let mut out = String::new();
    if path.strict {
        out.push_str("strict ");
    }
    node(&mut out, &path.root, true);
    out
}

/// How tightly a node holds its parts together.
fn priority(node: &Node) -> u8 {
    match node {
        Node::Steps(inner, _) => priority(inner),
        Node::Or(..) => 0,
        Node::And(..) => 1,
        Node::Compare(..) | Node::StartsWith(..) => 2,
        Node::Arithmetic(Operator::Add | Operator::Subtract, ..) => 3,
        Node::Arithmetic(..) => 4,
        Node::Negative(_) | Node::Positive(_) => 5,
        _ => 6,
    }
}

/// Writes a node, in brackets where it is `bracketed` and has operands.
fn node(out: &mut String, of: &Node, bracketed: bool) {
    match of {
        Node::Root => out.push('$'),
        Node::Current => out.push('@'),
        Node::Last => out.push_str("last"),
        Node::Literal(value) => out.push_str(&write_json(value)),
        Node::Variable(name) => {
            out.push('$');
            text(out, name);
        }
        Node::Steps(inner, steps) => accessors(out, inner, steps),
        Node::Negative(inner) => signed(out, of, '-', inner, bracketed),
        Node::Positive(inner) => signed(out, of, '+', inner, bracketed),
        Node::Arithmetic(operator, left, right) => {
            binary(out, of, [left, right], operator.sign(), bracketed);
        }
        Node::Compare(comparison, left, right) => {
            binary(out, of, [left, right], sign(*comparison), bracketed);
        }
        Node::And(left, right) => binary(out, of, [left, right], "&&", bracketed),
        Node::Or(left, right) => binary(out, of, [left, right], "||", bracketed),
        Node::StartsWith(left, right) => {
            binary(out, of, [left, right], "starts with", bracketed);
        }
        Node::Not(inner) => enclosed(out, "!(", inner, ")"),
        Node::IsUnknown(inner) => enclosed(out, "(", inner, ") is unknown"),
        Node::Exists(inner) => enclosed(out, "exists (", inner, ")"),
        Node::LikeRegex(inner, pattern, options) => {
            in_brackets(out, bracketed, |out| {
                operand(out, of, inner);
                out.push_str(" like_regex ");
                text(out, pattern);
                flags(out, options);
            });
        }
    }
}

fn in_brackets(out: &mut String, bracketed: bool, inner: impl FnOnce(&mut String)) {
    if bracketed {
        out.push('(');
    }
    inner(out);
    if bracketed {
        out.push(')');
    }
}

fn enclosed(out: &mut String, before: &str, inner: &Node, behind: &str) {
    out.push_str(before);
    node(out, inner, false);
    out.push_str(behind);
}

/// Writes an operand, in brackets where it does not hold its parts more tightly.
fn operand(out: &mut String, of: &Node, operand: &Node) {
    node(out, operand, priority(operand) <= priority(of));
}

fn signed(out: &mut String, of: &Node, sign: char, inner: &Node, bracketed: bool) {
    in_brackets(out, bracketed, |out| {
        out.push(sign);
        operand(out, of, inner);
    });
}

fn binary(out: &mut String, of: &Node, operands: [&Node; 2], sign: &str, bracketed: bool) {
    let [left, right] = operands;
    in_brackets(out, bracketed, |out| {
        operand(out, of, left);
        out.push(' ');
        out.push_str(sign);
        out.push(' ');
        operand(out, of, right);
    });
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn text(out: &mut String, text: &str) {
    out.push_str(&write_json(&Value::String(text.to_string())));
}

/// The flags of XQuery that the letters of our options stand for.
fn flags(out: &mut String, options: &str) {
    let flags = [
        ('i', options.contains('i')),
        ('s', options.contains(['s', 'w'])),
        ('m', options.contains(['n', 'w'])),
        ('q', options.contains('q')),
    ];
    let set: String = flags.iter().filter(|(_, is)| *is).map(|(c, _)| c).collect();
    if !set.is_empty() {
        out.push_str(" flag \"");
        out.push_str(&set);
        out.push('"');
    }
}

fn accessors(out: &mut String, inner: &Node, steps: &[Step]) {
    // A number with a point behind it would be another number.
    let is_number = matches!(inner, Node::Literal(Value::Number(_)));
    in_brackets(out, is_number, |out| node(out, inner, true));
    for of in steps {
        step(out, of);
    }
}

fn step(out: &mut String, of: &Step) {
    match of {
        Step::Key(key) => {
            out.push('.');
            text(out, key);
        }
        Step::Members => out.push_str(".*"),
        Step::Elements => out.push_str("[*]"),
        Step::Places(places) => {
            out.push('[');
            for (at, (first, last)) in places.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                node(out, first, false);
                if let Some(last) = last {
                    out.push_str(" to ");
                    node(out, last, false);
                }
            }
            out.push(']');
        }
        Step::Levels(first, last) => levels(out, *first, *last),
        Step::Filter(inner) => enclosed(out, "?(", inner, ")"),
        Step::Method(method) => {
            out.push('.');
            out.push_str(method.name());
            out.push_str("()");
        }
        Step::DateTime(template) => {
            out.push_str(".datetime(");
            if let Some(template) = template {
                text(out, template);
            }
            out.push(')');
        }
    }
}

fn levels(out: &mut String, first: u32, last: Option<u32>) {
    let level = |level: u32| match level {
        u32::MAX => "last".to_string(),
        level => level.to_string(),
    };
    let last = last.unwrap_or(u32::MAX);
    // Writing into a text cannot fail.
    let _ = match (first, last) {
        (0, u32::MAX) => out.write_str(".**"),
        (first, last) if first == last => write!(out, ".**{{{}}}", level(first)),
        (first, last) => write!(out, ".**{{{} to {}}}", level(first), level(last)),
    };
}
