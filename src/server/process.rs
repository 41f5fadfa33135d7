//! The process of a server: its signals, and what systemd hears of it.

use std::io;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::listen::Controls;
use crate::error::{Error, Result};

/// File descriptors beside those of connections: segments, the log, sockets that wait, libraries.
const DESCRIPTORS_BESIDE: u64 = 2_048;

/// The signals that a server follows.
///
/// SIGTERM and SIGINT stop it: running statements may end. A second one ends them too. SIGHUP reads the
/// configuration again.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process.
    ///
    /// # Errors
    /// 58030 when the system does not let it.
    pub fn new() -> Result<Self> {
        let take = |kind| signal(kind).map_err(|e| Error::io("take over a signal", e));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Follows the signals for ever.
    pub async fn follow(mut self, stop: Stop, controls: Controls, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => stop.signaled(&controls),
                _ = self.interrupt.recv() => stop.signaled(&controls),
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}

/// The end of a server, in two steps: the log tells of it between them.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Is cancelled first: those who ask hear that the server is stopping.
    pub announced: CancellationToken,
    /// Is cancelled when sessions shall end.
    pub begun: CancellationToken,
}

impl Stop {
    fn signaled(&self, controls: &Controls) {
        if self.begun.is_cancelled() {
            tracing::info!("stopping at once");
            controls.stop_at_once();
            return;
        }
        self.announced.cancel();
        tracing::info!("stopping; running statements may end, a second signal ends them");
        tell(&[NotifyState::Stopping]);
        self.begun.cancel();
    }
}

/// Tells systemd that clients can connect.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told of it");
    }
}

/// Raises the limit of open files as far as `connections` need it and the system allows.
pub fn raise_open_files(connections: u32) {
    let needed = u64::from(connections) + DESCRIPTORS_BESIDE;
    let raised = rlimit::increase_nofile_limit(needed);
    match raised {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit of open files may be too low for the configured connections"
        ),
        Ok(_) => {}
        Err(error) => no_limit(&error),
    }
}

fn no_limit(error: &io::Error) {
    tracing::warn!(%error, "the limit of open files could not be read");
}
