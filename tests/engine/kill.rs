//! kill -9 of the real program while it inserts, copies, updates, deletes, makes and drops tables, compacts and vacuums,
//! and while it recovers: whatever it acknowledged is there when the database is opened again, nothing is there twice,
//! and no statement or transaction is there by half. A foreign key has all rows that it refers to at any time, and is
//! enforced after any recovery. Of what is not waited for (synchronous_commit = off) the last may
//! be lost: never one before another, and none that came before a statement which was waited for and acknowledged.
//!
//! `SHELFMARK_KILL_CYCLES` sets how often, `SHELFMARK_KILL_SEED` the random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::program;

const CYCLES: u64 = 10;
/// Rows of one INSERT or transaction: all of them are there, or none.
const INSERT_ROWS: u64 = 3;
/// Rows of one COPY: enough to be written as segments at once.
const COPY_ROWS: u64 = 150;
/// Rows that refer to one other.
const CHILDREN: u64 = 2;
/// The parent of a batch has this many times the number of its moves, and the batch, as its key.
const MOVE: u64 = 1_000_000_000;
/// The ids of a batch are from this many times its number on.
const IDS: u64 = 1_000;

/// The collection that is worked on.
pub(super) const CREATE: &str = "CREATE TABLE event (id BIGINT PRIMARY KEY, batch BIGINT CLUSTERING KEY, edits INT, note TEXT, \
    place VECTOR(8)) WITH (segment_rows_max = 100);
    CREATE TABLE soon (batch BIGINT, id INT);
    CREATE TABLE parent (id BIGINT PRIMARY KEY, batch BIGINT);
    CREATE TABLE child (id BIGINT PRIMARY KEY, batch BIGINT, parent BIGINT NOT NULL);
    ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE \
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;";

const CHECK_SOON: &str = "SELECT batch, count(*), count(DISTINCT id) FROM soon GROUP BY batch;";

/// Every row is looked at: its note says how often it was changed, its vector begins with the end of its id.
const CHECK: &str = "SELECT batch, count(*), count(DISTINCT id), min(edits), max(edits), \
    sum(CASE WHEN note = 'note ' || CAST(id AS TEXT) || repeat('+', edits) \
        AND CAST(place AS TEXT) LIKE '[' || CAST(id % 1000 AS TEXT) || ',%' \
        THEN 0 ELSE 1 END) FROM event GROUP BY batch ORDER BY batch;";

/// As [`CHECK`], for parents with their children; an orphan, or a parent without children, is wrong.
const CHECK_FAMILIES: &str = "SELECT coalesce(parent.batch, child.batch), count(*), count(DISTINCT child.id), \
    min(parent.id / 1000000000), max(parent.id / 1000000000), \
    sum(CASE WHEN parent.id % 1000000000 = parent.batch AND child.batch = parent.batch THEN 0 ELSE 1 END) \
    FROM child FULL JOIN parent ON child.parent = parent.id GROUP BY 1 ORDER BY 1;";

const ORPHAN: &str = "INSERT INTO child VALUES (-1, -1, -1);";

const TABLES: &str =
    "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'extra_%';";

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
        let (sent, acknowledged) =
            write_and_kill(&data, directory.path(), model.next_batch(), pause, || {});
        model.learn(&sent, &acknowledged);
        for _ in 0..random.below(4).saturating_sub(1) {
            recover_and_kill(&data, Duration::from_millis(random.below(60)));
        }
        model.check(&data, &format!("cycle {cycle}, SHELFMARK_KILL_SEED={seed}"));
    }
    assert!(
        model.acknowledged() > cycles / 2,
        "the programs came to few acknowledgements: {}",
        model.acknowledged()
    );
    println!(
        "{cycles} kills, {} statements were acknowledged",
        model.acknowledged()
    );
}

/// A statement of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Insert(u64),
    /// An insert that is acknowledged before it is durable.
    InsertSoon(u64),
    Copy(u64),
    Update(u64),
    Delete(u64),
    /// A parent with its children, which come first.
    InsertFamily(u64),
    /// Another key for the parent, and so for what its children refer to.
    MoveFamily(u64),
    DeleteFamily(u64),
    /// The foreign key goes and comes back, in one transaction.
    AlterForeignKey,
    CreateTable(u64),
    DropTable(u64),
    Compact(bool),
    Vacuum,
}

impl Act {
    /// The statement that is sent as the `n`th of its program.
    fn choose(n: u64, next_batch: &mut u64) -> Self {
        let batch = *next_batch;
        let mut new = || {
            *next_batch += 1;
            batch
        };
        match n % 30 {
            2 | 9 | 25 => Self::InsertFamily(new()),
            4 | 26 => Self::MoveFamily(batch.saturating_sub(1)),
            14 => Self::DeleteFamily(batch.saturating_sub(2)),
            19 => Self::AlterForeignKey,
            5 | 17 => Self::Copy(new()),
            23 => Self::Vacuum,
            24 => Self::Compact((n / 30).is_multiple_of(2)),
            6 | 13 | 20 => Self::Delete(batch.saturating_sub(3)),
            3 | 10 | 18 => Self::Update(batch.saturating_sub(1)),
            11 => Self::CreateTable(batch % 7),
            21 => Self::DropTable(batch % 7),
            1 | 7 | 8 | 12 | 15 | 16 => Self::InsertSoon(new()),
            _ => Self::Insert(new()),
        }
    }

    /// The batch that it makes.
    fn new_batch(self) -> Option<u64> {
        match self {
            Self::Insert(batch)
            | Self::InsertSoon(batch)
            | Self::Copy(batch)
            | Self::InsertFamily(batch) => Some(batch),
            _ => None,
        }
    }

    fn sql(self, directory: &Path) -> String {
        match self {
            Self::Insert(batch) => {
                let rows = (batch * IDS..batch * IDS + INSERT_ROWS).map(|id| {
                    format!(
                        "({id}, {batch}, 0, 'note {id}', '[{},1,2,3,4,5,6,7]')",
                        id % IDS
                    )
                });
                if batch.is_multiple_of(2) {
                    let rows: Vec<String> = rows.collect();
                    return format!("INSERT INTO event VALUES {};", rows.join(", "));
                }
                // A transaction, with a row that it takes back.
                let inserts: String = rows
                    .map(|row| format!("INSERT INTO event VALUES {row};\n"))
                    .collect();
                let back = batch * IDS + IDS - 1;
                format!(
                    "BEGIN;\n{inserts}SAVEPOINT s;\nINSERT INTO event VALUES ({back}, {batch}, 0, 'x', NULL);\n\
                     ROLLBACK TO s;\nCOMMIT;"
                )
            }
            Self::InsertSoon(batch) => {
                let rows: Vec<String> = (0..INSERT_ROWS)
                    .map(|id| format!("({batch}, {id})"))
                    .collect();
                format!(
                    "SET synchronous_commit = off;\nINSERT INTO soon VALUES {};\nSET synchronous_commit = on;",
                    rows.join(", ")
                )
            }
            Self::Copy(batch) => format!("COPY event FROM '{}';", file(batch, directory).display()),
            Self::Update(batch) => format!(
                "UPDATE event SET edits = edits + 1, note = note || '+' WHERE batch = {batch};"
            ),
            Self::Delete(batch) => format!("DELETE FROM event WHERE batch = {batch};"),
            Self::InsertFamily(batch) => {
                let ids = batch * IDS..batch * IDS + CHILDREN;
                let children: Vec<String> =
                    ids.map(|id| format!("({id}, {batch}, {batch})")).collect();
                format!(
                    "BEGIN;\nINSERT INTO child VALUES {};\nINSERT INTO parent VALUES ({batch}, {batch});\nCOMMIT;",
                    children.join(", ")
                )
            }
            Self::MoveFamily(batch) => {
                format!("UPDATE parent SET id = id + {MOVE} WHERE batch = {batch};")
            }
            Self::DeleteFamily(batch) => format!("DELETE FROM parent WHERE batch = {batch};"),
            Self::AlterForeignKey => "BEGIN;\nALTER TABLE child DROP CONSTRAINT child_parent;\n\
                ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE \
                ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;\nCOMMIT;"
                .to_string(),
            Self::CreateTable(n) => format!("CREATE TABLE IF NOT EXISTS extra_{n} (id INT);"),
            Self::DropTable(n) => format!("DROP TABLE IF EXISTS extra_{n};"),
            Self::Compact(true) => "COMPACT event WITH CLUSTERING;".to_string(),
            Self::Compact(false) => "COMPACT event;\nCOMPACT child;".to_string(),
            Self::Vacuum => "VACUUM;".to_string(),
        }
    }
}

/// The file that is copied as a batch.
fn file(batch: u64, directory: &Path) -> PathBuf {
    let path = directory.join(format!("{batch}.csv"));
    let rows: String = (batch * IDS..batch * IDS + COPY_ROWS)
        .map(|id| {
            format!(
                "{id},{batch},0,note {id},\"[{},1,2,3,4,5,6,7]\"\n",
                id % IDS
            )
        })
        .collect();
    std::fs::write(&path, format!("id,batch,edits,note,place\n{rows}")).unwrap();
    path
}

/// What a table may have: for each batch the numbers of edits that its rows may have, `None` for no rows.
#[derive(Default)]
struct Batches {
    rows: BTreeMap<u64, u64>,
    states: BTreeMap<u64, BTreeSet<Option<u64>>>,
}

impl Batches {
    fn add(&mut self, batch: u64, rows: u64, certain: bool) {
        self.rows.insert(batch, rows);
        let absent = (!certain).then_some(None);
        self.states
            .insert(batch, absent.into_iter().chain([Some(0)]).collect());
    }

    fn change(&mut self, batch: u64, certain: bool, to: impl Fn(Option<u64>) -> Option<u64>) {
        if let Some(states) = self.states.get_mut(&batch) {
            let changed: Vec<_> = states.iter().map(|state| to(*state)).collect();
            if certain {
                states.clear();
            }
            states.extend(changed);
        }
    }

    /// That the table is one of those that it may be, by the answer to [`CHECK`] or its like; what was found is certain
    /// then.
    fn check(&mut self, answer: &str, context: &str) {
        let mut found = BTreeMap::new();
        for line in answer.lines().skip(1) {
            let cells = line.split(',').map(|c| c.parse().ok());
            let cells: Option<Vec<u64>> = cells.collect();
            let Some(&[batch, rows, distinct, least, most, wrong]) = cells.as_deref() else {
                panic!("{line}, {context}");
            };
            assert_eq!(
                Some(&rows),
                self.rows.get(&batch),
                "batch {batch}, {context}"
            );
            assert_eq!((distinct, wrong), (rows, 0), "batch {batch}, {context}");
            assert_eq!(least, most, "batch {batch} is changed by half, {context}");
            found.insert(batch, least);
        }
        for (batch, states) in &mut self.states {
            let state = found.remove(batch);
            assert!(
                states.contains(&state),
                "batch {batch} is {state:?}, not one of {states:?}, {context}"
            );
            *states = [state].into();
        }
        assert!(found.is_empty(), "{found:?} was gone, {context}");
        self.states.retain(|_, states| !states.contains(&None));
    }
}

/// What the database may be, and for each table that comes and goes whether it may be there.
#[derive(Default)]
pub(super) struct Model {
    next_batch: u64,
    events: Batches,
    families: Batches,
    tables: BTreeMap<u64, BTreeSet<bool>>,
    /// Batches that the last program inserted and did not wait for, in order, and whether it waited for a later one.
    soon: Vec<(u64, bool)>,
    /// Those of earlier programs that were found.
    soon_kept: BTreeSet<u64>,
    acknowledged: u64,
}

impl Model {
    /// The first batch that was never sent.
    pub(super) fn next_batch(&self) -> u64 {
        self.next_batch
    }

    /// How many statements were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Takes in what was sent to a program, and the numbers of what it acknowledged.
    pub(super) fn learn(&mut self, sent: &[Act], acknowledged: &BTreeSet<usize>) {
        self.acknowledged += acknowledged.len() as u64;
        let is_waited_for =
            |act: &Act| matches!(act, Act::Insert(_) | Act::Copy(_) | Act::InsertFamily(_));
        let waited = acknowledged.iter().filter(|n| is_waited_for(&sent[**n]));
        let waited = waited.max();
        self.soon.clear();
        for (n, act) in sent.iter().enumerate() {
            let certain = acknowledged.contains(&n);
            match *act {
                Act::Insert(batch) => self.events.add(batch, INSERT_ROWS, certain),
                Act::InsertSoon(batch) => self
                    .soon
                    .push((batch, waited.is_some_and(|waited| *waited > n))),
                Act::Copy(batch) => self.events.add(batch, COPY_ROWS, certain),
                Act::Update(batch) => {
                    let edit = |edits: Option<u64>| edits.map(|n| n + 1);
                    self.events.change(batch, certain, edit);
                }
                Act::Delete(batch) => self.events.change(batch, certain, |_| None),
                Act::InsertFamily(batch) => self.families.add(batch, CHILDREN, certain),
                Act::MoveFamily(batch) => {
                    let go = |moves: Option<u64>| moves.map(|n| n + 1);
                    self.families.change(batch, certain, go);
                }
                Act::DeleteFamily(batch) => self.families.change(batch, certain, |_| None),
                Act::CreateTable(n) => self.table(n, certain, true),
                Act::DropTable(n) => self.table(n, certain, false),
                Act::AlterForeignKey | Act::Compact(_) | Act::Vacuum => {}
            }
            if let Some(batch) = act.new_batch() {
                self.next_batch = self.next_batch.max(batch + 1);
            }
        }
    }

    fn table(&mut self, n: u64, certain: bool, is_there: bool) {
        let states = self.tables.entry(n).or_insert_with(|| [false].into());
        if certain {
            states.clear();
        }
        states.insert(is_there);
    }

    /// That the database is one of those that it may be; what was found is certain then.
    pub(super) fn check(&mut self, data: &Path, context: &str) {
        self.events.check(&run(data, CHECK), context);
        self.families.check(&run(data, CHECK_FAMILIES), context);
        let orphan = try_run(data, ORPHAN);
        let refused = orphan.expect_err("an orphan was taken");
        assert!(refused.contains("23503"), "{refused}, {context}");
        self.check_soon(data, context);
        let text = run(data, TABLES);
        let tables: BTreeSet<&str> = text.lines().skip(1).collect();
        for (n, states) in &mut self.tables {
            let state = tables.contains(format!("extra_{n}").as_str());
            assert!(
                states.contains(&state),
                "table extra_{n}: {state}, {context}"
            );
            *states = [state].into();
        }
    }

    /// That of the batches which were not waited for none is lost before one that is there.
    fn check_soon(&mut self, data: &Path, context: &str) {
        let mut found = BTreeSet::new();
        for line in run(data, CHECK_SOON).lines().skip(1) {
            let cells: Vec<u64> = line.split(',').map(|c| c.parse().unwrap()).collect();
            let whole = [INSERT_ROWS; 2];
            assert_eq!(cells[1..], whole, "batch {} of soon, {context}", cells[0]);
            found.insert(cells[0]);
        }
        let lost = self
            .soon
            .iter()
            .position(|(batch, _)| !found.contains(batch));
        let lost = &self.soon[lost.unwrap_or(self.soon.len())..];
        for (batch, is_certain) in lost {
            assert!(!is_certain, "batch {batch} of soon is lost, {context}");
            assert!(
                !found.contains(batch),
                "batches of soon are lost before {batch}, {context}"
            );
        }
        assert!(self.soon_kept.is_subset(&found), "soon, {context}");
        let sent: BTreeSet<u64> = self.soon.drain(..).map(|(batch, _)| batch).collect();
        let kept = found.difference(&self.soon_kept);
        assert!(
            kept.clone().all(|batch| sent.contains(batch)),
            "soon, {context}"
        );
        self.soon_kept = found;
    }
}

/// Lets a program begin to open the database, and kills it.
fn recover_and_kill(data: &Path, pause: Duration) {
    let mut command = program();
    command.args(["sql", "-c", "SELECT 1", "--data"]).arg(data);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(pause);
    let _ = child.kill();
    child.wait().unwrap();
}

/// Lets a program work until it is killed, `cut` going before: what it was sent, and the numbers of the statements it
/// acknowledged. Files that are copied are in `files`.
pub(super) fn write_and_kill(
    data: &Path,
    files: &Path,
    next_batch: u64,
    pause: Duration,
    cut: impl FnOnce(),
) -> (Vec<Act>, BTreeSet<usize>) {
    let mut child = start(data);
    let stopping = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let (stopping, sent) = (Arc::clone(&stopping), Arc::clone(&sent));
        let input = child.stdin.take().unwrap();
        let directory = files.to_path_buf();
        thread::spawn(move || send(input, next_batch, &directory, &sent, &stopping))
    };
    let output = BufReader::new(child.stdout.take().unwrap());
    let (first, reader) = acknowledgements(output);
    // From the first acknowledgement on, so that every moment of the work is hit and not only the start.
    let _ = first.recv_timeout(Duration::from_secs(30));
    thread::sleep(pause);
    cut();
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
    for setting in [
        "checkpoint.commits=40",
        "growing.max_size=4kB",
        "retention_duration=0s",
    ] {
        command.args(["--set", setting]);
    }
    command.arg("--data").arg(data);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn send(
    mut input: ChildStdin,
    mut next_batch: u64,
    directory: &Path,
    sent: &Mutex<Vec<Act>>,
    stopping: &AtomicBool,
) {
    for n in 0.. {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let act = Act::choose(n, &mut next_batch);
        sent.lock().unwrap().push(act);
        // The shell echoes only what it comes to: after a failed statement nothing more.
        if write!(input, "{}\n\\echo done {n}\n", act.sql(directory)).is_err() {
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

/// The CSV that the program prints for some statements, which succeed.
pub(super) fn run(data: &Path, sql: &str) -> String {
    try_run(data, sql).unwrap_or_else(|errors| panic!("{sql}: {errors}"))
}

/// The CSV that the program prints for some statements, or why it failed.
fn try_run(data: &Path, sql: &str) -> Result<String, String> {
    let output = program()
        .args(["sql", "--format", "csv", "-c", sql, "--data"])
        .arg(data)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// The number in a variable of the environment.
pub(super) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

/// A seed.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos()
        .into()
}

/// xorshift64: repeatable, and that is all it needs to be.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below the limit.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
