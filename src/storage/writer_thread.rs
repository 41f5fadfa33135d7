//! The thread that writes the commits of those who wait: of many at the same time, of large ones, and in time those that
//! nobody waits for.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;
use tokio::runtime;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout_at;

use super::group_writer::{GroupWriter, Request};
use crate::error::{Error, Result};

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
        let next = || queue.try_recv().ok();
        writer.lock().write_group(first, next);
    }
}
