//! What a terminal shows while a long statement runs.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use shelfmark::sql::Session;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::print;

/// How often the line is drawn anew.
const TICK: Duration = Duration::from_millis(100);
/// How often the compaction is asked how far it is.
const POLL: Duration = Duration::from_millis(250);
/// Steps of a bar.
const STEPS: f64 = 1_000.0;

/// The compaction that a statement waits for is the newest that runs.
const PROGRESS: &str = "SELECT phase, progress FROM shelfmark.compactions WHERE state = 'running' \
    ORDER BY compaction_id DESC LIMIT 1";

/// A line that is gone when the value is dropped.
pub struct Progress {
    bar: ProgressBar,
    watcher: Option<JoinHandle<()>>,
}

/// Shows that a statement runs, if it is of a kind that may take long and a person looks on.
pub fn start(runtime: &Handle, session: &Session, text: &str) -> Option<Progress> {
    if !stderr().is_terminal() {
        return None;
    }
    let label = label(text)?;
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").ok()?;
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(label);
    bar.enable_steady_tick(TICK);
    let compacts = matches!(label, COMPACTING | WAITING);
    let watcher = match label {
        _ if compacts => Some(runtime.spawn(watch(session.clone(), bar.clone()))),
        COPYING => Some(runtime.spawn(watch_copy(session.clone(), bar.clone()))),
        _ => None,
    };
    Some(Progress { bar, watcher })
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
        self.bar.finish_and_clear();
    }
}

/// Makes the line a bar as soon as it is known how far the compaction is.
async fn watch(session: Session, bar: ProgressBar) {
    loop {
        tokio::time::sleep(POLL).await;
        let Ok(rows) = print::text_rows(&session, PROGRESS).await else {
            return;
        };
        let Some([(_, phase), (_, Some(done))]) = rows.first().map(Vec::as_slice) else {
            continue;
        };
        let Ok(done) = done.parse::<f64>() else {
            continue;
        };
        let phase = phase.as_deref().unwrap_or_default();
        show(&bar, format!("{COMPACTING}: {phase}"), done);
    }
}

/// Makes the line a bar as soon as the first rows of a COPY are read.
async fn watch_copy(session: Session, bar: ProgressBar) {
    loop {
        tokio::time::sleep(POLL).await;
        let progress = session.copy_progress();
        if progress.rows() > 0 {
            let message = format!("{COPYING}: {} rows", progress.rows());
            show(&bar, message, progress.fraction());
        }
    }
}

/// Draws a bar of which the part `done` (0 to 1) is full.
fn show(bar: &ProgressBar, message: String, done: f64) {
    if bar.length().is_none()
        && let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent}% {elapsed}")
    {
        bar.set_style(style);
        bar.set_length(STEPS as u64);
    }
    bar.set_message(message);
    bar.set_position((done * STEPS) as u64);
}

const COPYING: &str = "copying";

const COMPACTING: &str = "compacting";
const WAITING: &str = "waiting for the compaction";

/// What to call a statement that may take long.
fn label(text: &str) -> Option<&'static str> {
    let words: Vec<String> = text
        .split_whitespace()
        .take(2)
        .map(str::to_ascii_uppercase)
        .collect();
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["COPY", _] => Some(COPYING),
        ["COMPACT", _] => Some(COMPACTING),
        ["WAIT", "FOR"] => Some(WAITING),
        ["VACUUM", ..] => Some("vacuuming"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_statements_are_known_by_their_first_words() {
        assert_eq!(label("copy t FROM 'x'"), Some("copying"));
        assert_eq!(label("WAIT\n FOR COMPACTION 3"), Some(WAITING));
        assert_eq!(label("VACUUM"), Some("vacuuming"));
        assert_eq!(label("SELECT 1"), None);
        assert_eq!(label(""), None);
    }
}
