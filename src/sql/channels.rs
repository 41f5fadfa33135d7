//! LISTEN and NOTIFY: sessions that tell each other something.
//!
//! A notification leaves when its transaction commits, to every session that listens to the channel then, and its client
//! hears of it between two statements. Nothing of it is durable.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::session::Session;
use super::transaction::TransactionStatus;
use crate::error::{Error, Result, sqlstate};

/// Bytes of the longest payload, and of the longest name of a channel, as PostgreSQL has them.
const PAYLOAD_BYTES_MAX: usize = 7_999;
const NAME_BYTES_MAX: usize = 63;
/// Bytes of notifications that wait for one session. Beyond, nobody can send to its channels before it has taken some.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What somebody told a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The number of the session that told it.
    pub pid: i32,
    /// The channel.
    pub channel: Arc<str>,
    /// What was told.
    pub payload: Arc<str>,
}

impl Notification {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }
}

/// What waits for a session.
#[derive(Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    notifications: VecDeque<Notification>,
    bytes: usize,
}

impl Inbox {
    fn is_full(&self) -> bool {
        self.waiting.lock().bytes > WAITING_BYTES_MAX
    }

    fn put(&self, notification: Notification) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += notification.bytes();
        waiting.notifications.push_back(notification);
        drop(waiting);
        self.arrived.notify_one();
    }

    fn take(&self) -> VecDeque<Notification> {
        std::mem::take(&mut *self.waiting.lock()).notifications
    }
}

/// Who listens to which channel, of all sessions of a database.
#[derive(Default)]
pub struct Channels(Mutex<HashMap<Arc<str>, Vec<Arc<Inbox>>>>);

impl Channels {
    fn listen(&self, channel: &Arc<str>, inbox: &Arc<Inbox>) {
        let mut channels = self.0.lock();
        let listeners = channels.entry(Arc::clone(channel)).or_default();
        if !listeners.iter().any(|other| Arc::ptr_eq(other, inbox)) {
            listeners.push(Arc::clone(inbox));
        }
    }

    /// Of one channel, or of all.
    fn unlisten(&self, channel: Option<&str>, inbox: &Arc<Inbox>) {
        self.0.lock().retain(|name, listeners| {
            if channel.is_none_or(|channel| channel == &**name) {
                listeners.retain(|other| !Arc::ptr_eq(other, inbox));
            }
            !listeners.is_empty()
        });
    }

    fn send(&self, notification: &Notification) {
        let channels = self.0.lock();
        for inbox in channels.get(&notification.channel).into_iter().flatten() {
            inbox.put(notification.clone());
        }
    }

    /// # Errors
    /// 54000 where a session that listens has not taken what it was told before.
    fn check_room(&self, channel: &str) -> Result<()> {
        let channels = self.0.lock();
        let mut listeners = channels.get(channel).into_iter().flatten();
        if listeners.any(|inbox| inbox.is_full()) {
            let message = "too many notifications in the NOTIFY queue";
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("A session that listens does not read them."));
        }
        Ok(())
    }
}

/// What a transaction does with channels when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Listen(Arc<str>),
    /// One, or all.
    Unlisten(Option<Arc<str>>),
    Notify {
        channel: Arc<str>,
        payload: Arc<str>,
    },
}

/// The channels as one session uses them. When it is dropped, it listens to none.
pub(super) struct SessionChannels {
    channels: Arc<Channels>,
    pid: i32,
    inbox: Arc<Inbox>,
    /// What the open block does, each with the number of savepoints that there were.
    pending: Mutex<Vec<(usize, Action)>>,
}

impl fmt::Debug for SessionChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionChannels").field(&self.pid).finish()
    }
}

impl SessionChannels {
    pub(super) fn new(channels: Arc<Channels>, pid: i32) -> Self {
        Self {
            channels,
            pid,
            inbox: Arc::default(),
            pending: Mutex::default(),
        }
    }

    /// Does it when the block commits in which there are so many savepoints. A notification that was told already is not told again.
    fn put_off(&self, savepoints: usize, action: Action) {
        let mut pending = self.pending.lock();
        let is_told = matches!(action, Action::Notify { .. })
            && pending.iter().any(|(_, before)| *before == action);
        if !is_told {
            pending.push((savepoints, action));
        }
    }

    /// Forgets all but the first `kept` savepoints.
    pub(super) fn release(&self, kept: usize) {
        for (savepoints, _) in self.pending.lock().iter_mut() {
            *savepoints = kept.min(*savepoints);
        }
    }

    /// Drops what was put off after the last of the first `kept` savepoints.
    pub(super) fn roll_back_to(&self, kept: usize) {
        self.pending
            .lock()
            .retain(|(savepoints, _)| *savepoints < kept);
    }

    /// Ends the block: does what was put off, or drops it.
    pub(super) fn end_block(&self, commit: bool) {
        let pending = std::mem::take(&mut *self.pending.lock());
        if commit {
            self.run(pending.into_iter().map(|(_, action)| action));
        }
    }

    /// What is listened to comes first: a session hears what it tells itself in the same transaction.
    fn run(&self, actions: impl IntoIterator<Item = Action>) {
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Listen(channel) => self.channels.listen(&channel, &self.inbox),
                Action::Unlisten(channel) => {
                    self.channels.unlisten(channel.as_deref(), &self.inbox);
                }
                Action::Notify { channel, payload } => told.push(Notification {
                    pid: self.pid,
                    channel,
                    payload,
                }),
            }
        }
        told.iter()
            .for_each(|notification| self.channels.send(notification));
    }
}

impl Drop for SessionChannels {
    fn drop(&mut self) {
        // Every channel that it listens to has its inbox.
        if Arc::strong_count(&self.inbox) > 1 {
            self.channels.unlisten(None, &self.inbox);
        }
    }
}

impl Session {
    /// LISTEN.
    pub(super) fn listen(&self, channel: &str) {
        self.at_commit(Action::Listen(channel.into()));
    }

    /// UNLISTEN of a channel, or of all.
    pub(super) fn unlisten(&self, channel: Option<&str>) {
        self.at_commit(Action::Unlisten(channel.map(Arc::from)));
    }

    /// NOTIFY.
    ///
    /// # Errors
    /// 22023 for a name or a payload that is too long, 54000 where those who listen do not take what they are told.
    pub(super) fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        let invalid = |message| Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
        if channel.is_empty() {
            return invalid("channel name cannot be empty");
        }
        if channel.len() > NAME_BYTES_MAX {
            return invalid("channel name too long");
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return invalid("payload string too long");
        }
        let channels = &self.inner.channels;
        channels.channels.check_room(channel)?;
        self.at_commit(Action::Notify {
            channel: channel.into(),
            payload: payload.into(),
        });
        Ok(())
    }

    /// Does it when the open block commits; at once where there is none.
    fn at_commit(&self, action: Action) {
        let savepoints = {
            let block = self.inner.block.lock();
            (block.status() != TransactionStatus::Idle).then(|| block.savepoints())
        };
        match savepoints {
            Some(savepoints) => self.inner.channels.put_off(savepoints, action),
            None => self.inner.channels.run([action]),
        }
    }

    /// What the session was told since the last call.
    pub fn take_notifications(&self) -> VecDeque<Notification> {
        self.inner.channels.inbox.take()
    }

    /// Waits until the session has been told something. It may be that this was taken meanwhile.
    pub async fn notified(&self) {
        self.inner.channels.inbox.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(session: &SessionChannels) -> Vec<String> {
        let told = session.inbox.take().into_iter();
        told.map(|n| format!("{}:{}={}", n.pid, n.channel, n.payload))
            .collect()
    }

    fn listen(channel: &str) -> Action {
        Action::Listen(channel.into())
    }

    fn notify(channel: &str, payload: &str) -> Action {
        Action::Notify {
            channel: channel.into(),
            payload: payload.into(),
        }
    }

    #[test]
    fn those_who_listen_are_told_once() {
        let channels = Arc::new(Channels::default());
        let session = |pid| SessionChannels::new(Arc::clone(&channels), pid);
        let (one, two) = (session(1), session(2));
        one.run([listen("a"), listen("a"), listen("b")]);
        two.run([notify("a", "x"), notify("c", "y"), notify("b", "")]);
        assert_eq!(told(&one), ["2:a=x", "2:b="]);
        assert_eq!(told(&two), [""; 0]);
        one.run([
            Action::Unlisten(Some("a".into())),
            notify("b", "z"),
            notify("a", "z"),
        ]);
        assert_eq!(told(&one), ["1:b=z"]);
        one.run([Action::Unlisten(None), notify("b", "z")]);
        assert_eq!(told(&one), [""; 0]);
        two.run([listen("b")]);
        drop(two);
        assert!(channels.0.lock().is_empty());
    }

    #[test]
    fn a_block_tells_what_its_savepoints_keep() {
        let session = SessionChannels::new(Arc::default(), 1);
        session.run([listen("a")]);
        session.put_off(0, notify("a", "0"));
        session.put_off(0, notify("a", "0"));
        session.put_off(1, notify("a", "1"));
        session.put_off(2, notify("a", "2"));
        session.roll_back_to(2);
        session.release(0);
        session.put_off(1, notify("a", "3"));
        session.roll_back_to(1);
        session.end_block(true);
        assert_eq!(told(&session), ["1:a=0", "1:a=1"]);
        session.put_off(0, notify("a", "0"));
        session.end_block(false);
        session.end_block(true);
        assert_eq!(told(&session), [""; 0]);
    }

    #[test]
    fn nobody_is_told_more_than_is_read() {
        let session = SessionChannels::new(Arc::default(), 1);
        session.run([listen("a")]);
        let payload = "x".repeat(PAYLOAD_BYTES_MAX);
        while session.channels.check_room("a").is_ok() {
            session.run([notify("a", &payload)]);
        }
        assert!(session.channels.check_room("b").is_ok());
        let waited = told(&session).len() * PAYLOAD_BYTES_MAX;
        assert!((WAITING_BYTES_MAX / 2..2 * WAITING_BYTES_MAX).contains(&waited));
        assert!(session.channels.check_room("a").is_ok());
    }
}
