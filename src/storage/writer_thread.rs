//! The thread that writes the commits of those who wait: of many at the same time, of large ones, and in time those that
//! nobody waits for.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout_at;

use super::gathering::Gathering;
use super::group_writer::{GROUP_MEMBERS_MAX, GroupWriter, Request};
use crate::error::{Error, Result};

/// How often the thread looks for members of a group that waits for them: the timer knows no less than a millisecond.
const LOOK: Duration = Duration::from_micros(50);

/// Starts the thread; it ends when all senders of `queue` are gone.
///
/// # Errors
/// 58030 when it cannot be started.
pub(super) fn start(
    writer: Arc<Mutex<GroupWriter>>,
    queue: Receiver<Request>,
) -> Result<JoinHandle<()>> {
    let timer = runtime::Builder::new_current_thread().enable_time().build();
    let timer = timer.map_err(|e| Error::io("start the timer of the committer", e))?;
    Builder::new()
        .name("shelfmark-committer".into())
        .spawn(move || timer.block_on(run(&writer, queue)))
        .map_err(|e| Error::io("start the committer thread", e))
}

async fn run(writer: &Mutex<GroupWriter>, mut queue: Receiver<Request>) {
    let mut gathering = Gathering::default();
    loop {
        let due = writer.lock().due();
        let first = match due {
            None => queue.recv().await,
            Some(due) => match timeout_at(due, queue.recv()).await {
                Ok(first) => first,
                Err(_) => {
                    writer.lock().write_unwritten();
                    continue;
                }
            },
        };
        let Some(first) = first else {
            writer.lock().write_unwritten();
            return;
        };
        let slow = writer.lock().slow_write().filter(|_| first.waits());
        let mut group = vec![first];
        let waits = match slow {
            Some(took) => gather(&mut gathering, &mut group, &mut queue, took),
            None => 0,
        };
        let mut group = group.into_iter();
        let first = group.next();
        let next = || group.next().or_else(|| queue.try_recv().ok());
        if let Some(first) = first {
            writer.lock().write_group(first, next);
        }
        if slow.is_some() {
            gathering.wrote(waits, queue.len());
        }
    }
}

/// Takes what waits into a group, and waits for those who are about to come; gives how many of the members wait for the
/// disk.
fn gather(
    gathering: &mut Gathering,
    group: &mut Vec<Request>,
    queue: &mut Receiver<Request>,
    took: Duration,
) -> usize {
    let mut take = |group: &mut Vec<Request>| {
        let room = GROUP_MEMBERS_MAX - group.len();
        group.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        group.iter().filter(|request| request.waits()).count()
    };
    let waiting = take(group);
    let Some((wanted, patience)) = gathering.wait(waiting, took) else {
        return waiting;
    };
    let begun = Instant::now();
    let mut members = waiting;
    while members < wanted && group.len() < GROUP_MEMBERS_MAX && begun.elapsed() < patience {
        sleep(LOOK);
        members = take(group);
    }
    gathering.waited(wanted - waiting, members - waiting);
    members
}
