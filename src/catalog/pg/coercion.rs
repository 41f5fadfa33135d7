//! Which types go for which: PostgreSQL's casts and categories of types, by their OIDs.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fixed::{self, lines};

/// The OID of a literal of no type yet.
pub(crate) const UNKNOWN: u32 = 705;

/// When a cast is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Context {
    /// Where it is written.
    Explicit,
    /// Where a value is stored.
    Assignment,
    /// Anywhere.
    Implicit,
}

static CASTS: LazyLock<HashMap<(u32, u32), Context>> = LazyLock::new(|| {
    let read = |line: Vec<&'static str>| {
        let context = match *line.get(4)? {
            "i" => Context::Implicit,
            "a" => Context::Assignment,
            _ => Context::Explicit,
        };
        let (from, to) = (line.get(1)?.parse().ok()?, line.get(2)?.parse().ok()?);
        Some(((from, to), context))
    };
    lines(fixed::CASTS).filter_map(read).collect()
});

static PREFERRED: LazyLock<HashMap<u32, bool>> = LazyLock::new(|| {
    let read = |line: Vec<&'static str>| Some((line.first()?.parse().ok()?, *line.get(6)? == "t"));
    lines(fixed::TYPES).filter_map(read).collect()
});

/// Whether a value of one type goes for another without a cast.
pub(crate) fn is_implicit(from: u32, to: u32) -> bool {
    goes(from, to, Context::Implicit)
}

/// Whether a value of one type may be stored as another.
pub(crate) fn is_assignable(from: u32, to: u32) -> bool {
    let is_text = |of| category(of) == "S";
    goes(from, to, Context::Assignment) || is_text(to)
}

fn goes(from: u32, to: u32, least: Context) -> bool {
    if from == to || from == UNKNOWN {
        return true;
    }
    if CASTS
        .get(&(from, to))
        .is_some_and(|context| *context >= least)
    {
        return true;
    }
    let element = |of| fixed::named_type(of).map_or(0, |of| of.element);
    let (from, to) = (element(from), element(to));
    from != 0 && to != 0 && goes(from, to, least)
}

/// The letter of a type's category.
pub(crate) fn category(of: u32) -> &'static str {
    fixed::named_type(of).map_or("E", |of| of.category)
}

/// Whether the type is the one of its category that is taken in doubt.
pub(crate) fn is_preferred(of: u32) -> bool {
    PREFERRED.get(&of).copied().unwrap_or(false)
}

/// Whether PostgreSQL or pgvector have a function of that name.
pub(crate) fn has_function(name: &str) -> bool {
    fixed::has_function(name)
}
