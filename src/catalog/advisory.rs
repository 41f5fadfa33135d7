//! Advisory locks: numbers that sessions lock for reasons of their own.
//!
//! They exclude each other and nothing else. A session's lock is held until it is unlocked or the session ends, as often
//! as it was taken; a transaction's until the transaction ends. Whoever waits does so until the lock is free or its
//! statement is cancelled: two sessions that wait for each other are not told apart from two that wait for a third.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What is locked: a bigint, or a pair of ints; the two have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// One number.
    One(i64),
    /// Two numbers.
    Two(i32, i32),
}

/// Whether others may hold the lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nobody.
    Exclusive,
    /// Those who share it.
    Shared,
}

/// The locks of a database.
#[derive(Debug, Default)]
pub struct AdvisoryLocks {
    held: Mutex<HashMap<Key, HashMap<u64, Holds>>>,
    freed: Notify,
    sessions: AtomicU64,
}

/// How often a session holds a lock.
#[derive(Debug, Default, Clone, Copy)]
struct Holds {
    exclusive: u32,
    shared: u32,
}

impl Holds {
    fn of(&mut self, mode: Mode) -> &mut u32 {
        match mode {
            Mode::Exclusive => &mut self.exclusive,
            Mode::Shared => &mut self.shared,
        }
    }
}

impl AdvisoryLocks {
    fn try_take(&self, session: u64, key: Key, mode: Mode) -> bool {
        let mut held = self.held.lock();
        let holders = held.entry(key).or_default();
        let is_free = holders.iter().all(|(other, holds)| {
            *other == session || mode == Mode::Shared && holds.exclusive == 0
        });
        if is_free {
            *holders.entry(session).or_default().of(mode) += 1;
        } else if holders.is_empty() {
            held.remove(&key);
        }
        is_free
    }

    /// Whether there was anything to give back.
    fn give_back(&self, session: u64, key: Key, mode: Mode) -> bool {
        let mut held = self.held.lock();
        let Some(holders) = held.get_mut(&key) else {
            return false;
        };
        let Some(holds) = holders.get_mut(&session) else {
            return false;
        };
        if *holds.of(mode) == 0 {
            return false;
        }
        *holds.of(mode) -= 1;
        if holds.exclusive == 0 && holds.shared == 0 {
            holders.remove(&session);
        }
        if holders.is_empty() {
            held.remove(&key);
        }
        drop(held);
        self.freed.notify_waiters();
        true
    }
}

/// The locks as one session takes them. When it is dropped, those that it holds are free.
pub struct SessionLocks {
    locks: Arc<AdvisoryLocks>,
    session: u64,
    /// What it holds for itself, not for a transaction.
    own: Mutex<Vec<(Key, Mode)>>,
}

impl fmt::Debug for SessionLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionLocks").field(&self.session).finish()
    }
}

impl SessionLocks {
    /// Those of a new session.
    pub fn new(locks: Arc<AdvisoryLocks>) -> Self {
        let session = locks.sessions.fetch_add(1, Ordering::Relaxed);
        Self {
            locks,
            session,
            own: Mutex::default(),
        }
    }

    /// Takes a lock until it is unlocked, if it is free.
    pub fn try_lock(&self, key: Key, mode: Mode) -> bool {
        let taken = self.locks.try_take(self.session, key, mode);
        if taken {
            self.own.lock().push((key, mode));
        }
        taken
    }

    /// Takes a lock until it is unlocked, as soon as it is free.
    pub async fn lock(&self, key: Key, mode: Mode) {
        self.wait(|| self.try_lock(key, mode).then_some(())).await;
    }

    /// Takes a lock for as long as the answer lives, if it is free.
    pub fn try_hold(&self, key: Key, mode: Mode) -> Option<HeldLock> {
        let taken = self.locks.try_take(self.session, key, mode);
        taken.then(|| HeldLock {
            locks: Arc::clone(&self.locks),
            session: self.session,
            key,
            mode,
        })
    }

    /// Takes a lock for as long as the answer lives, as soon as it is free.
    pub async fn hold(&self, key: Key, mode: Mode) -> HeldLock {
        self.wait(|| self.try_hold(key, mode)).await
    }

    /// Unlocks once; whether it was locked.
    pub fn unlock(&self, key: Key, mode: Mode) -> bool {
        let mut own = self.own.lock();
        let Some(at) = own.iter().rposition(|held| *held == (key, mode)) else {
            return false;
        };
        own.remove(at);
        self.locks.give_back(self.session, key, mode)
    }

    /// Unlocks whatever is not a transaction's.
    pub fn unlock_all(&self) {
        for (key, mode) in std::mem::take(&mut *self.own.lock()) {
            self.locks.give_back(self.session, key, mode);
        }
    }

    async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            // Registered before it looks, so that no release in between is missed.
            let freed = self.locks.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(taken) = attempt() {
                return taken;
            }
            freed.await;
        }
    }
}

impl Drop for SessionLocks {
    fn drop(&mut self) {
        self.unlock_all();
    }
}

/// A lock of a transaction; free when this is dropped.
#[derive(Debug)]
pub struct HeldLock {
    locks: Arc<AdvisoryLocks>,
    session: u64,
    key: Key,
    mode: Mode,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.locks.give_back(self.session, self.key, self.mode);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn locks_exclude_other_sessions_only() {
        let locks = Arc::new(AdvisoryLocks::default());
        let [a, b] = [0, 1].map(|_| SessionLocks::new(Arc::clone(&locks)));
        let key = Key::One(7);
        assert!(a.try_lock(key, Mode::Exclusive) && a.try_lock(key, Mode::Exclusive));
        assert!(!b.try_lock(key, Mode::Shared));
        assert!(b.try_lock(Key::Two(0, 7), Mode::Exclusive));
        assert!(a.unlock(key, Mode::Exclusive) && !b.try_lock(key, Mode::Exclusive));
        assert!(a.unlock(key, Mode::Exclusive) && !a.unlock(key, Mode::Exclusive));
        assert!(b.try_lock(key, Mode::Shared) && a.try_lock(key, Mode::Shared));
        assert!(!a.try_lock(key, Mode::Exclusive));
        drop(b);
        assert!(a.try_lock(key, Mode::Exclusive));
        drop(a);
        assert!(locks.held.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_lock_when_it_is_free() {
        let locks = Arc::new(AdvisoryLocks::default());
        let [a, b] = [0, 1].map(|_| SessionLocks::new(Arc::clone(&locks)));
        let held = a.try_hold(Key::One(1), Mode::Exclusive);
        let waiting = tokio::spawn(async move { b.hold(Key::One(1), Mode::Exclusive).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(held);
        let taken = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(taken.is_ok_and(|joined| joined.is_ok()));
    }
}
