//! Prepared statements by their text. Many clients prepare a text without a name, run it, and prepare it again the next
//! time: they get the statement that they had.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use lru::LruCache;
use parking_lot::Mutex;

use super::prepared::Prepared;
use super::session::Session;

/// Statements of a session that are remembered.
const TEXTS_MAX: NonZeroUsize = NonZeroUsize::new(128).expect("invariant: 128 is not zero");
/// Longer texts are not: there are few of them twice.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A text and what the client said of its parameters.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    text: Box<str>,
    types: Box<[Option<FieldRef>]>,
}

impl Key {
    fn new(text: &str, types: &[Option<FieldRef>]) -> Option<Self> {
        (text.len() <= TEXT_BYTES_MAX).then(|| Self {
            text: text.into(),
            types: types.into(),
        })
    }
}

/// The statements that a session prepared last.
#[derive(Debug)]
pub(super) struct Texts(Mutex<LruCache<Key, Arc<Prepared>>>);

impl Default for Texts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(TEXTS_MAX)))
    }
}

impl Session {
    /// What [`Session::prepare`] would give, if it was prepared before and would be the same now.
    pub fn prepared_before(&self, text: &str, types: &[Option<FieldRef>]) -> Option<Arc<Prepared>> {
        let key = Key::new(text, types)?;
        let found = self.inner.texts.0.lock().get(&key).cloned()?;
        let fits = found.is_current(self) && self.check_plannable(found.statement()).is_ok();
        fits.then_some(found)
    }

    pub(super) fn remember_text(
        &self,
        text: &str,
        types: &[Option<FieldRef>],
        prepared: &Arc<Prepared>,
    ) {
        if let Some(key) = Key::new(text, types)
            && prepared.is_current(self)
        {
            self.inner.texts.0.lock().put(key, Arc::clone(prepared));
        }
    }
}
