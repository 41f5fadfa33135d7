//! kill -9 of the real program while it inserts, deletes and compacts: whatever it acknowledged is there when the
//! database is opened again, nothing is there twice, and no statement is there by half.
//!
//! `SHELFMARK_KILL_CYCLES` sets how often, `SHELFMARK_KILL_SEED` the random moments.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::program;

const CYCLES: u64 = 10;
/// Rows of one INSERT: all of them are there, or none.
const ROWS: u64 = 3;
/// Every so many statements a batch of earlier rows is deleted.
const DELETE_EVERY: u64 = 7;
/// Every so many statements the collection is compacted in the background.
const COMPACT_EVERY: u64 = 25;

const CREATE: &str = "CREATE TABLE event (id BIGINT, batch BIGINT CLUSTERING KEY, note TEXT, place VECTOR(8)) \
    WITH (segment_rows_max = 100);";

#[test]
fn acknowledged_statements_survive_kill() {
    let cycles = number("SHELFMARK_KILL_CYCLES").unwrap_or(CYCLES);
    let seed = number("SHELFMARK_KILL_SEED").unwrap_or_else(now);
    println!("SHELFMARK_KILL_SEED={seed}");
    let mut random = Random(seed | 1);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    run(&data, CREATE);
    let mut model = Model::default();
    for cycle in 0..cycles {
        let pause = Duration::from_millis(random.below(400));
        let (sent, acknowledged) = write_and_kill(&data, model.next_batch, pause);
        model.learn(&sent, &acknowledged);
        let found = batches(&data);
        model.check(&found, cycle, seed);
        model.settle(&found);
    }
    assert!(
        !model.present.is_empty(),
        "no cycle came to an acknowledgement"
    );
}

/// A statement of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Insert(u64),
    Delete(u64),
    Compact(bool),
}

impl Act {
    /// The statement that is sent as the `n`th of its program.
    fn choose(n: u64, next_batch: &mut u64) -> Self {
        if n % COMPACT_EVERY == COMPACT_EVERY - 1 {
            return Self::Compact(n.is_multiple_of(2));
        }
        if n % DELETE_EVERY == DELETE_EVERY - 1 {
            return Self::Delete(next_batch.saturating_sub(3));
        }
        *next_batch += 1;
        Self::Insert(*next_batch - 1)
    }

    fn sql(self) -> String {
        match self {
            Self::Insert(batch) => {
                let rows: Vec<String> = (batch * ROWS..(batch + 1) * ROWS)
                    .map(|id| format!("({id}, {batch}, 'note {id}', '[{id},1,2,3,4,5,6,7]')"))
                    .collect();
                format!("INSERT INTO event VALUES {};", rows.join(", "))
            }
            Self::Delete(batch) => format!("DELETE FROM event WHERE batch = {batch};"),
            Self::Compact(true) => "COMPACT event WITH CLUSTERING;".to_string(),
            Self::Compact(false) => "COMPACT event;".to_string(),
        }
    }
}

/// What must, may and must not be there.
#[derive(Default)]
struct Model {
    next_batch: u64,
    present: BTreeSet<u64>,
    /// Sent, but not acknowledged before the kill.
    unknown: BTreeSet<u64>,
}

impl Model {
    fn learn(&mut self, sent: &[Act], acknowledged: &BTreeSet<usize>) {
        for (n, act) in sent.iter().enumerate() {
            let certain = acknowledged.contains(&n);
            match act {
                Act::Insert(batch) => {
                    self.next_batch = self.next_batch.max(batch + 1);
                    let set = if certain {
                        &mut self.present
                    } else {
                        &mut self.unknown
                    };
                    set.insert(*batch);
                }
                Act::Delete(batch) if certain => {
                    self.present.remove(batch);
                    self.unknown.remove(batch);
                }
                Act::Delete(batch) => {
                    if self.present.remove(batch) {
                        self.unknown.insert(*batch);
                    }
                }
                Act::Compact(_) => {}
            }
        }
    }

    fn check(&self, found: &[(u64, u64, u64)], cycle: u64, seed: u64) {
        let context = format!("cycle {cycle}, SHELFMARK_KILL_SEED={seed}");
        for (batch, rows, distinct) in found {
            assert_eq!((*rows, *distinct), (ROWS, ROWS), "batch {batch}, {context}");
            let expected = self.present.contains(batch) || self.unknown.contains(batch);
            assert!(expected, "batch {batch} should not be there, {context}");
        }
        let found: BTreeSet<u64> = found.iter().map(|(batch, ..)| *batch).collect();
        let lost: Vec<_> = self.present.difference(&found).collect();
        assert!(
            lost.is_empty(),
            "acknowledged but lost: {lost:?}, {context}"
        );
    }

    /// What was found is certain now.
    fn settle(&mut self, found: &[(u64, u64, u64)]) {
        self.present = found.iter().map(|(batch, ..)| *batch).collect();
        self.unknown.clear();
    }
}

/// Lets a program work until it is killed: what it was sent, and the numbers of the statements it acknowledged.
fn write_and_kill(data: &Path, next_batch: u64, pause: Duration) -> (Vec<Act>, BTreeSet<usize>) {
    let mut child = start(data);
    let stopping = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let (stopping, sent) = (Arc::clone(&stopping), Arc::clone(&sent));
        let input = child.stdin.take().unwrap();
        thread::spawn(move || send(input, next_batch, &sent, &stopping))
    };
    let output = BufReader::new(child.stdout.take().unwrap());
    let (first, reader) = acknowledgements(output);
    // From the first acknowledgement on, so that every moment of the work is hit and not only the start.
    let _ = first.recv_timeout(Duration::from_secs(30));
    thread::sleep(pause);
    child.kill().unwrap();
    stopping.store(true, Ordering::SeqCst);
    child.wait().unwrap();
    writer.join().unwrap();
    let sent = sent.lock().unwrap().clone();
    (sent, reader.join().unwrap())
}

fn start(data: &Path) -> Child {
    let mut command = program();
    command.args(["sql", "--quiet"]);
    // Small limits, so that checkpoints and seals come as often as kills.
    for setting in ["checkpoint.commits=40", "growing.max_size=4kB"] {
        command.args(["--set", setting]);
    }
    command.arg("--data").arg(data);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn send(mut input: ChildStdin, mut next_batch: u64, sent: &Mutex<Vec<Act>>, stopping: &AtomicBool) {
    for n in 0.. {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let act = Act::choose(n, &mut next_batch);
        sent.lock().unwrap().push(act);
        // The shell echoes only what it comes to: after a failed statement nothing more.
        if write!(input, "{}\n\\echo done {n}\n", act.sql()).is_err() {
            return;
        }
    }
}

type Acknowledged = thread::JoinHandle<BTreeSet<usize>>;

fn acknowledgements(
    output: BufReader<ChildStdout>,
) -> (std::sync::mpsc::Receiver<()>, Acknowledged) {
    let (send, first) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut done = BTreeSet::new();
        // A last line that the kill cut off has no end, and could be a shorter number than was meant.
        let mut lines = output.split(b'\n').map_while(Result::ok).peekable();
        while let Some(line) = lines.next() {
            let line = String::from_utf8_lossy(&line).into_owned();
            if lines.peek().is_none() {
                break;
            }
            if let Some(n) = line.strip_prefix("done ") {
                done.insert(n.parse().unwrap());
                let _ = send.send(());
            }
        }
        done
    });
    (first, reader)
}

/// Batch, rows and distinct ids of everything that is there.
fn batches(data: &Path) -> Vec<(u64, u64, u64)> {
    let query =
        "SELECT batch, count(*), count(DISTINCT id) FROM event GROUP BY batch ORDER BY batch;";
    let text = run(data, query);
    let row = |line: &str| {
        let mut cells = line.split(',').map(|c| c.parse().unwrap());
        (
            cells.next().unwrap(),
            cells.next().unwrap(),
            cells.next().unwrap(),
        )
    };
    text.lines().skip(1).map(row).collect()
}

/// The CSV that the program prints for some statements.
fn run(data: &Path, sql: &str) -> String {
    let output = program()
        .args(["sql", "--format", "csv", "-c", sql, "--data"])
        .arg(data)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos()
        .into()
}

/// xorshift64: repeatable, and that is all it needs to be.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
