//! Turns among those that lost against concurrent commits: one at a time tries again in a collection, so that those that
//! lost once do not compete again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::schema::CollectionId;

type Turn = tokio::sync::Mutex<()>;

/// The turns of all collections in which somebody waits.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<CollectionId, Weak<Turn>>>);

impl Turns {
    /// Waits until those that came before are done; the turn lasts until the guard is dropped.
    pub async fn wait(&self, collection: CollectionId) -> OwnedMutexGuard<()> {
        let turn = self.of(collection);
        turn.lock_owned().await
    }

    fn of(&self, collection: CollectionId) -> Arc<Turn> {
        let mut turns = self.0.lock();
        if let Some(turn) = turns.get(&collection).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::<Turn>::default();
        turns.insert(collection, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn collections_do_not_wait_for_each_other() {
        let turns = Turns::default();
        let first = turns.wait(CollectionId(1)).await;
        assert!(turns.wait(CollectionId(1)).now_or_never().is_none());
        let other = turns.wait(CollectionId(2)).now_or_never();
        drop((first, other.unwrap()));
        turns.wait(CollectionId(1)).now_or_never().unwrap();
        turns.of(CollectionId(3));
        assert_eq!(turns.0.lock().len(), 1, "who is done leaves nothing");
    }
}
