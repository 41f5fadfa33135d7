//! Statements without parameters are planned once where they differ in values alone, as those of clients that write
//! values into their text (the simple protocol's) do.
//!
//! ```text
//! SELECT v FROM t WHERE id = 7    first    planned as it is
//! SELECT v FROM t WHERE id = 8    second   prepared as SELECT v FROM t WHERE id = $1, executed with 8
//! SELECT v FROM t WHERE id = 9    others   executed with 9
//! ```
//! A parameter takes the place of a value where the value would take on the type of what it is compared with, or of the
//! column that it is written to ([`pattern`]). What cannot be prepared so, and a value that is none of that type, is planned as it is: nobody sees a
//! difference, in results or in errors.

mod pattern;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use lru::LruCache;
use parking_lot::Mutex;

use self::pattern::{Kind, Pattern, Value};
use super::format::{Format, decode_parameter, type_of};
use super::kept::Basis;
use super::prepared::Prepared;
use super::session::{Session, Tag};
use crate::catalog::pg_type::oid;

/// Patterns that a session remembers. Each takes about 50 KiB once it is prepared.
const PATTERNS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("invariant: 64 is not zero");

/// The types that compare with a text in quotes as they do with one of their own values.
const OF_TEXT: [u32; 10] = [
    oid::TEXT,
    oid::INT2,
    oid::INT4,
    oid::INT8,
    oid::FLOAT8,
    oid::BOOL,
    oid::DATE,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::UUID,
];

/// Digits that a double has at least.
const DOUBLE_DIGITS: usize = 15;

/// What is known of a pattern.
#[derive(Debug, Clone)]
enum Known {
    /// It was met once, as many statements are, or not twice under the same settings and definitions.
    Once(Basis),
    /// It cannot be prepared under these settings and definitions.
    No(Basis),
    Prepared(Arc<Prepared>),
}

/// The patterns of the statements that a session ran last.
#[derive(Debug)]
pub(super) struct Patterns(Mutex<LruCache<Box<str>, Known>>);

impl Default for Patterns {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(PATTERNS_MAX)))
    }
}

impl Patterns {
    fn get(&self, pattern: &str) -> Option<Known> {
        self.0.lock().get(pattern).cloned()
    }

    fn put(&self, pattern: &str, known: Known) {
        self.0.lock().put(pattern.into(), known);
    }
}

/// A statement that was prepared before, with other values, and the values that it has now.
#[derive(Debug)]
pub struct Repeated {
    /// The statement with parameters.
    pub prepared: Arc<Prepared>,
    /// Their values.
    pub values: Vec<ScalarValue>,
}

/// What a session knows of a text.
#[derive(Debug)]
pub struct Recall {
    pattern: Option<Pattern>,
    /// The prepared statement that does what it says, if there is one already whose plan is of today.
    pub repeated: Option<Repeated>,
}

impl Session {
    /// Looks for the text of one statement among those that came before.
    pub fn recall(&self, text: &str) -> Recall {
        let pattern = Pattern::of(text);
        let found = |pattern: &Pattern| match self.inner.patterns.get(&pattern.text)? {
            Known::Prepared(prepared) => self.with_values(&prepared, pattern),
            Known::Once(_) | Known::No(_) => None,
        };
        Recall {
            repeated: pattern.as_ref().and_then(found),
            pattern,
        }
    }

    /// The statement that was recalled; prepares what comes for the second time.
    pub(super) async fn repeated(&self, recall: Recall) -> Option<Repeated> {
        match recall {
            Recall {
                repeated: Some(repeated),
                ..
            } => Some(repeated),
            Recall { pattern, .. } => self.learn(&pattern?).await,
        }
    }

    async fn learn(&self, pattern: &Pattern) -> Option<Repeated> {
        let patterns = &self.inner.patterns;
        let basis = self.basis();
        match patterns.get(&pattern.text) {
            Some(Known::No(met)) if met == basis => None,
            // Its values are none of a parameter's.
            Some(Known::Prepared(prepared)) if prepared.is_current(self) => None,
            Some(Known::Once(met)) if met == basis => {
                let prepared = self.prepare_pattern(pattern).await;
                let known = prepared.clone().map_or(Known::No(basis), Known::Prepared);
                patterns.put(&pattern.text, known);
                self.with_values(&prepared?, pattern)
            }
            None | Some(Known::Once(_) | Known::No(_) | Known::Prepared(_)) => {
                patterns.put(&pattern.text, Known::Once(basis));
                None
            }
        }
    }

    /// The pattern as a prepared statement; `None` where it might not do the same.
    async fn prepare_pattern(&self, pattern: &Pattern) -> Option<Arc<Prepared>> {
        let statement = self.parse(&pattern.text).ok()?;
        let prepared = self.prepare_statement(statement, &[]).await.ok()?;
        let fields = prepared.parameters();
        let acts_on_rows = matches!(prepared.tag(), Tag::Rows | Tag::Count(_) | Tag::Returned(_));
        let fits = acts_on_rows
            && prepared.is_current(self)
            && fields.len() == pattern.values.len()
            && fields.iter().zip(&pattern.values).all(is_same_as_literal);
        fits.then_some(prepared)
    }

    fn with_values(&self, prepared: &Arc<Prepared>, pattern: &Pattern) -> Option<Repeated> {
        if !prepared.is_current(self) {
            return None;
        }
        let zone = &self.style().zone;
        let decode = |(field, value): (&FieldRef, &Value)| {
            let text = value.text.as_bytes();
            let same = is_same_as_literal((field, value));
            same.then(|| decode_parameter(field, Format::Text, Some(text), zone).ok())?
        };
        let values = prepared.parameters().iter().zip(&pattern.values);
        Some(Repeated {
            values: values.map(decode).collect::<Option<_>>()?,
            prepared: Arc::clone(prepared),
        })
    }
}

/// Whether a parameter of this type with that value is what the value is in the text.
fn is_same_as_literal((field, value): (&FieldRef, &Value)) -> bool {
    let pg = type_of(field);
    let bytes = value.text.len();
    match (value.kind, pg.oid) {
        (Kind::Integer | Kind::Decimal, oid::FLOAT8) => bytes <= DOUBLE_DIGITS,
        (Kind::Integer, oid::INT2 | oid::INT4 | oid::INT8) => true,
        // What is inserted has the digits of the column's type; what is compared keeps its own.
        (Kind::Integer | Kind::Decimal, of) => value.is_item && of == oid::NUMERIC,
        (Kind::Text, oid::VECTOR | oid::HALFVEC) => true,
        (Kind::Text, _) if value.is_item => true,
        // A longer one would be cut or refused, where the operator compares it as it is.
        (Kind::Text, oid::VARCHAR) => pg.typmod == -1 || bytes as i32 <= pg.typmod - 4,
        (Kind::Text, of) => pg.typmod == -1 && OF_TEXT.contains(&of),
    }
}
