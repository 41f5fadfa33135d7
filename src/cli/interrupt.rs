//! Ctrl-C: the first stops the running statement, a second the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// The exit code of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Ctrl-C presses since the last [`Interrupt::forget`].
#[derive(Clone)]
pub struct Interrupt {
    presses: Arc<AtomicU32>,
    pressed: Arc<Notify>,
}

impl Interrupt {
    /// Takes over Ctrl-C for the whole process.
    pub fn install() -> Self {
        let this = Self {
            presses: Arc::default(),
            pressed: Arc::default(),
        };
        let seen = this.clone();
        let installed = ctrlc::set_handler(move || {
            if seen.presses.fetch_add(1, Ordering::SeqCst) > 0 {
                std::process::exit(EXIT_INTERRUPTED);
            }
            seen.pressed.notify_one();
        });
        if let Err(e) = installed {
            tracing::warn!("Ctrl-C ends the program at once: {e}");
        }
        this
    }

    /// Begins anew: what was pressed before is over.
    pub fn forget(&self) {
        self.presses.store(0, Ordering::SeqCst);
    }

    /// Resolves when Ctrl-C has been pressed since the last [`Interrupt::forget`].
    pub async fn wait(&self) {
        while self.presses.load(Ordering::SeqCst) == 0 {
            self.pressed.notified().await;
        }
    }
}
