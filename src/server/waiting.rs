//! Sockets whose clients have not logged in: they cost little, but must not be many.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The sockets that wait, by the order in which they came. One too many costs the oldest its place: whoever opens
/// sockets and says nothing keeps nobody out who does log in.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    most: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, CancellationToken>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<WaitingRoom>,
    number: u64,
    /// Is cancelled when the place is needed for somebody else.
    pub lost: CancellationToken,
}

impl WaitingRoom {
    /// A room with so many places.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            places: Mutex::default(),
        }
    }

    /// Takes a place.
    pub fn enter(self: &Arc<Self>) -> Place {
        let lost = CancellationToken::new();
        let mut places = self.places.lock();
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, lost.clone());
        if places.taken.len() > self.most
            && let Some((_, oldest)) = places.taken.pop_first()
        {
            oldest.cancel();
        }
        Place {
            room: Arc::clone(self),
            number,
            lost,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.places.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_when_there_are_too_many() {
        let room = Arc::new(WaitingRoom::new(2));
        let (first, second) = (room.enter(), room.enter());
        assert!(!first.lost.is_cancelled());
        let third = room.enter();
        assert!(first.lost.is_cancelled());
        drop(second);
        let fourth = room.enter();
        assert!(!third.lost.is_cancelled() && !fourth.lost.is_cancelled());
    }
}
