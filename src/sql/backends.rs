//! The sessions that clients have open: who they are, what they run, and how another session stops them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::copy::CopyProgress;
use crate::storage::role::RoleId;

/// Bytes of the key that a cancel request must give.
pub const CANCEL_KEY_BYTES: usize = 4;

/// Who a session belongs to, as it was when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The role that logged in.
    pub role: RoleId,
    /// Its name then.
    pub user: String,
    /// The database that the client named.
    pub database: String,
    /// The number that stands for Postgres' process id; zero for embedded sessions.
    pub pid: i32,
    /// The client's address; none for Unix sockets and embedded sessions.
    pub address: Option<SocketAddr>,
    /// Whether what travels is encrypted.
    pub encrypted: bool,
}

impl Identity {
    /// Who an embedded session is.
    pub fn embedded() -> Self {
        Self {
            role: RoleId::BOOTSTRAP,
            user: "shelfmark".into(),
            database: "shelfmark".into(),
            pid: 0,
            address: None,
            encrypted: false,
        }
    }
}

/// What a session is doing, in the words of `pg_stat_activity.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting for its client.
    Idle,
    /// Waiting for its client, in a transaction block.
    IdleInTransaction,
    /// Waiting for its client, in a transaction block that failed.
    IdleInFailedTransaction,
    /// Running a statement.
    Active,
}

impl State {
    /// The word of `pg_stat_activity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInFailedTransaction => "idle in transaction (aborted)",
            Self::Active => "active",
        }
    }
}

/// What a session does now and when it began to.
#[derive(Debug, Clone)]
pub struct Activity {
    /// What it does.
    pub state: State,
    /// Since when.
    pub state_change: SystemTime,
    /// The newest statement, without passwords, shortened.
    pub query: String,
    /// When that statement began.
    pub query_start: Option<SystemTime>,
    /// When the transaction block began.
    pub transaction_start: Option<SystemTime>,
    /// The name that the client gives itself.
    pub application_name: String,
}

/// One connected session.
#[derive(Debug)]
pub struct Backend {
    /// Who it is.
    pub identity: Identity,
    /// When it connected.
    pub started: SystemTime,
    /// Its COPY.
    pub copy: Arc<CopyProgress>,
    cancel_key: [u8; CANCEL_KEY_BYTES],
    activity: Mutex<Activity>,
    statement: Mutex<CancellationToken>,
    ended: CancellationToken,
}

impl Backend {
    /// What a cancel request must show.
    pub fn cancel_key(&self) -> [u8; CANCEL_KEY_BYTES] {
        self.cancel_key
    }

    /// What the session does now.
    pub fn activity(&self) -> Activity {
        self.activity.lock().clone()
    }

    /// Changes what the session does now.
    pub fn update(&self, change: impl FnOnce(&mut Activity)) {
        change(&mut self.activity.lock());
    }

    /// A statement begins: the token that is cancelled when somebody stops it.
    pub fn begin(&self) -> CancellationToken {
        let token = self.ended.child_token();
        *self.statement.lock() = token.clone();
        token
    }

    /// Stops the statement that runs now, if one does.
    pub fn cancel(&self) {
        self.statement.lock().cancel();
    }

    /// Ends the session, after stopping its statement.
    pub fn terminate(&self) {
        self.ended.cancel();
    }

    /// Is cancelled when the session shall end.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

/// All connected sessions.
#[derive(Debug, Default)]
pub struct Backends {
    sessions: Mutex<BTreeMap<i32, Arc<Backend>>>,
    last_pid: AtomicI32,
}

impl Backends {
    /// Enters a session; it leaves when the entry is dropped. The pid of `identity` is set.
    pub fn enter(self: &Arc<Self>, identity: Identity, application_name: String) -> Entry {
        self.insert(&mut self.sessions.lock(), identity, application_name)
    }

    /// Enters a session if there are fewer than `sessions_max` already.
    pub fn enter_if_room(
        self: &Arc<Self>,
        identity: Identity,
        sessions_max: usize,
    ) -> Option<Entry> {
        let mut sessions = self.sessions.lock();
        let has_room = sessions.len() < sessions_max;
        has_room.then(|| self.insert(&mut sessions, identity, String::new()))
    }

    fn insert(
        self: &Arc<Self>,
        sessions: &mut BTreeMap<i32, Arc<Backend>>,
        identity: Identity,
        application_name: String,
    ) -> Entry {
        let now = SystemTime::now();
        let pid = self.free_pid(sessions);
        let backend = Arc::new(Backend {
            identity: Identity { pid, ..identity },
            started: now,
            copy: Arc::default(),
            cancel_key: rand::random(),
            activity: Mutex::new(Activity {
                state: State::Idle,
                state_change: now,
                query: String::new(),
                query_start: None,
                transaction_start: None,
                application_name,
            }),
            statement: Mutex::default(),
            ended: CancellationToken::new(),
        });
        sessions.insert(pid, Arc::clone(&backend));
        Entry {
            backends: Arc::clone(self),
            backend,
        }
    }

    fn free_pid(&self, taken: &BTreeMap<i32, Arc<Backend>>) -> i32 {
        loop {
            let pid = self
                .last_pid
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1);
            if pid > 0 && !taken.contains_key(&pid) {
                return pid;
            }
            if pid <= 0 {
                self.last_pid.store(0, Ordering::Relaxed);
            }
        }
    }

    /// All of them, by pid.
    pub fn list(&self) -> Vec<Arc<Backend>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// The session of that pid.
    pub fn get(&self, pid: i32) -> Option<Arc<Backend>> {
        self.sessions.lock().get(&pid).cloned()
    }

    /// Stops the running statement of a session if the key is its own; says nothing otherwise, so that keys cannot
    /// be guessed by the answer.
    pub fn cancel(&self, pid: i32, key: &[u8]) {
        if let Some(backend) = self.get(pid)
            && bool::from(backend.cancel_key[..].ct_eq(key))
        {
            backend.cancel();
        }
    }
}

/// A session's place in [`Backends`].
#[derive(Debug)]
pub struct Entry {
    backends: Arc<Backends>,
    backend: Arc<Backend>,
}

impl Entry {
    /// The session.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let pid = self.backend.identity.pid;
        self.backends.sessions.lock().remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_cancels_and_only_the_running_statement() {
        let backends = Arc::new(Backends::default());
        let entry = backends.enter(Identity::embedded(), "psql".into());
        let backend = entry.backend();
        let pid = backend.identity.pid;
        let first = backend.begin();
        let key = backend.cancel_key();
        let wrong = key.map(|byte| !byte);
        backends.cancel(pid, &wrong);
        backends.cancel(pid, &key[..3]);
        backends.cancel(pid + 1, &key);
        assert!(!first.is_cancelled());
        backends.cancel(pid, &key);
        assert!(first.is_cancelled());
        assert!(!backend.begin().is_cancelled());
        assert!(!backend.ended().is_cancelled());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let backends = Arc::new(Backends::default());
        let enter = |most| backends.enter_if_room(Identity::embedded(), most);
        let first = enter(1);
        assert!(first.is_some() && enter(1).is_none());
        assert!(enter(2).is_some());
        drop(first);
        assert!(enter(1).is_some());
    }

    #[test]
    fn a_session_leaves_when_it_is_dropped() {
        let backends = Arc::new(Backends::default());
        let one = backends.enter(Identity::embedded(), String::new());
        let two = backends.enter(Identity::embedded(), String::new());
        assert_ne!(one.backend().identity.pid, two.backend().identity.pid);
        drop(one);
        assert_eq!(backends.count(), 1);
        assert_eq!(backends.list()[0].identity.pid, two.backend().identity.pid);
    }
}
