//! The memory that a clustering takes, seen from outside: that of the real program, without the pages of files that it maps,
//! which are the system's to take back.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::program;

/// Bytes of memory that a compaction may use.
const BUDGET: u64 = 16 << 20;
/// What may come on top: what was freed and has not gone back to the system yet.
const SLACK: u64 = BUDGET / 5;
/// Rows of about a kilobyte, half of it text and half a vector: ten times the budget.
const ROWS: u64 = 165_000;

#[test]
fn clustering_ten_times_its_budget_keeps_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(directory.path());
    shell.ask(
        "CREATE TABLE much (id BIGINT, k BIGINT CLUSTERING KEY, pad TEXT, place VECTOR(128)) \
         WITH (segment.max_size = '32MiB');",
    );
    shell.ask(&format!(
        "INSERT INTO much SELECT value, value * 7919 % 1000003, repeat(md5(CAST(value AS TEXT)), 16), \
         array_fill(CAST(value % 97 AS REAL), ARRAY[128])::VECTOR(128) \
         FROM generate_series(1, {ROWS}) AS g(value);"
    ));
    drop(shell);

    // A fresh program: what the first one needed to insert is not there to be used again.
    let mut shell = Shell::start(directory.path());
    shell.ask("SELECT count(*) FROM much WHERE k = 1;");
    let before = anonymous_bytes(shell.child.id());
    let peak = shell.peak_while("COMPACT much WITH (CLUSTERING, WAIT);");
    let said = shell.ask(
        "SELECT state, rows_out, spilled_bytes > 80000000, peak_memory_bytes FROM shelfmark.compactions \
         ORDER BY compaction_id DESC LIMIT 1;",
    );
    let begin = format!("succeeded,{ROWS},true,");
    let counted = said.iter().find_map(|line| line.strip_prefix(&begin));
    let counted: u64 = counted
        .unwrap_or_else(|| panic!("{said:?}"))
        .parse()
        .unwrap();
    assert!((BUDGET / 4..=BUDGET).contains(&counted), "{counted}");
    let grown = peak.saturating_sub(before);
    println!("grown by {grown} of a budget of {BUDGET}, {counted} counted");
    assert!(
        grown <= BUDGET + SLACK,
        "grown by {grown} bytes, {counted} counted"
    );
}

/// `shelfmark sql` that is asked one statement after the other.
struct Shell {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Shell {
    fn start(data: &Path) -> Self {
        let mut command = program();
        command.args(["sql", "--quiet", "--format", "csv"]);
        let budget = format!("compaction.memory_budget={BUDGET}");
        for setting in [budget.as_str(), "compaction.auto=off"] {
            command.args(["--set", setting]);
        }
        command.arg("--data").arg(data);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Lines of the answer.
    fn ask(&mut self, sql: &str) -> Vec<String> {
        const END: &str = "that is all";
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{sql}\nSELECT '{END}' AS answer;").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.out.read_line(&mut line).unwrap();
            assert!(read > 0, "the program ended: {lines:?}");
            if line.contains(END) {
                return lines;
            }
            lines.push(line.trim().to_string());
        }
    }

    /// The most memory that is seen while a statement runs.
    fn peak_while(&mut self, sql: &str) -> u64 {
        let (pid, done) = (self.child.id(), AtomicBool::new(false));
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(anonymous_bytes(pid));
                    thread::sleep(Duration::from_millis(2));
                }
                peak
            });
            self.ask(sql);
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap()
        })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Bytes of a process that no file has.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    kilobytes.unwrap().trim().parse::<u64>().unwrap() << 10
}
