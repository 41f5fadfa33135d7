//! Paths as trees.

use crate::catalog::json::Value;

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// Whether what is not there is an error.
    pub strict: bool,
    pub root: Node,
}

/// What gives items, or says whether something is true.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    Literal(Value),
    Variable(String),
    /// Accessors behind something.
    Steps(Box<Node>, Vec<Step>),
    Negative(Box<Node>),
    Positive(Box<Node>),
    Arithmetic(Operator, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsUnknown(Box<Node>),
    Exists(Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    /// With the letters of options that regular expressions have.
    LikeRegex(Box<Node>, String, String),
}

impl Node {
    /// Whether it says if something is true.
    pub(super) fn is_predicate(&self) -> bool {
        matches!(
            self,
            Self::Compare(..)
                | Self::And(..)
                | Self::Or(..)
                | Self::Not(_)
                | Self::IsUnknown(_)
                | Self::Exists(_)
                | Self::StartsWith(..)
                | Self::LikeRegex(..)
        )
    }
}

/// An accessor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// `.key`
    Key(String),
    /// `.*`
    Members,
    /// `[*]`
    Elements,
    /// `[1, 3 to last]`
    Places(Vec<(Node, Option<Node>)>),
    /// `.**{1 to 2}`; the last level is open where there is none.
    Levels(u32, Option<u32>),
    /// `?(..)`
    Filter(Node),
    Method(Method),
    /// `.datetime("template")`
    DateTime(Option<String>),
}

/// A method of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Abs,
    Ceiling,
    Double,
    Floor,
    KeyValue,
    Size,
    Type,
}

impl Method {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("abs", Self::Abs),
        ("ceiling", Self::Ceiling),
        ("double", Self::Double),
        ("floor", Self::Floor),
        ("keyvalue", Self::KeyValue),
        ("size", Self::Size),
        ("type", Self::Type),
    ];

    pub(super) fn name(self) -> &'static str {
        let named = Self::ALL.into_iter().find(|(_, method)| *method == self);
        named.map_or("", |(name, _)| name)
    }
}

/// An operator between numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
