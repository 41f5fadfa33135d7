//! What a terminal shows while a long statement runs.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use shelfmark::sql::Session;
use tokio::runtime::Handle;

/// How often the line is drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// A line that is gone when the value is dropped.
pub struct Progress {
    bar: ProgressBar,
}

/// Shows that a statement runs, if it is of a kind that may take long and a person looks on.
pub fn start(_runtime: &Handle, _session: &Session, text: &str) -> Option<Progress> {
    if !stderr().is_terminal() {
        return None;
    }
    let label = label(text)?;
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").ok()?;
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(label);
    bar.enable_steady_tick(TICK);
    Some(Progress { bar })
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What to call a statement that may take long.
fn label(text: &str) -> Option<&'static str> {
    let words: Vec<String> = text
        .split_whitespace()
        .take(2)
        .map(str::to_ascii_uppercase)
        .collect();
    let [first, second] = words.as_slice() else {
        return None;
    };
    match (first.as_str(), second.as_str()) {
        ("COPY", _) => Some("copying"),
        ("COMPACT", _) => Some("compacting"),
        ("WAIT", "FOR") => Some("waiting for the compaction"),
        ("VACUUM", _) => Some("vacuuming"),
        _ => None,
    }
}
