//! A day of trickling inserts on a small disk, some thousand times as fast: rows come a few at a time, old ones are deleted, and
//! what is on disk stays within bounds that the live rows set: segments, checkpoints, and the log.

use std::path::Path;
use std::time::{Duration, Instant};

use shelfmark::{Database, Error, Session, Settings};

/// Statements that insert.
const INSERTS: u64 = 3_000;
/// Rows of each.
const ROWS: u64 = 3;
/// Rows that are kept: those that came last. It is a fifth of all.
const KEPT: u64 = INSERTS * ROWS / 5;
/// Inserts between two looks at the disk.
const LOOK: u64 = 50;
/// The log grows in steps of this many bytes.
const LOG_STEP: u64 = 4 << 20;
/// How long the end of the day may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Five minutes are 50 ms, and an hour is half a second; a checkpoint comes after 200 commits.
const SETTINGS: [(&str, &str); 9] = [
    ("growing.max_age", "50ms"),
    ("retention_duration", "500ms"),
    ("checkpoint.commits", "200"),
    ("checkpoint.log_size", "1MiB"),
    ("compaction.history_retention", "2s"),
    ("compaction.clustering.auto", "on"),
    ("compaction.clustering.trigger_interval", "100ms"),
    ("compaction.clustering.min_interval", "500ms"),
    ("compaction.clustering.new_data_size_threshold", "32kB"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_trickling_inserts_keeps_to_a_small_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    for (name, value) in SETTINGS {
        settings.set(name, value).unwrap();
    }
    let database = Database::open(directory.path(), settings).await.unwrap();
    let session = database.session();
    run(
        &session,
        "CREATE TABLE reading (id BIGINT PRIMARY KEY, sensor INT CLUSTERING KEY, note TEXT) \
         WITH (segment.max_size = '1MiB')",
    )
    .await;
    let mut most = Disk::default();
    for insert in 0..INSERTS {
        let first = insert * ROWS;
        let rows: Vec<String> = (first..first + ROWS).map(row).collect();
        run(
            &session,
            &format!("INSERT INTO reading VALUES {}", rows.join(", ")),
        )
        .await;
        if insert % LOOK == 0 {
            let old = (first + ROWS).saturating_sub(KEPT);
            run(&session, &format!("DELETE FROM reading WHERE id < {old}")).await;
            most = most.or(Disk::of(directory.path()));
        }
    }
    println!("at most, of each: {most:?}");
    let last = INSERTS * ROWS;
    run(
        &session,
        &format!("DELETE FROM reading WHERE id < {}", last - KEPT),
    )
    .await;
    let at_rest = rest(&database, directory.path()).await;
    println!("at rest: {at_rest:?}");

    let found = text(
        &session,
        "SELECT count(*), min(id), max(id), count(DISTINCT note) FROM reading",
    );
    let expected = format!("{KEPT} {} {} {KEPT}", last - KEPT, last - 1);
    assert_eq!(found.await, expected);
    let ended = "SELECT count(*) FROM shelfmark.compactions WHERE state = 'failed'";
    assert_eq!(text(&session, ended).await, "0");

    run(&session, "COMPACT reading WITH (CLUSTERING, FULL, WAIT)").await;
    let least = rest(&database, directory.path()).await;
    println!("after FULL: {least:?}");
    // Two checkpoints are kept, the log since the older, and what is written at the moment.
    assert!(most.log_files <= 5 && most.log_bytes <= 5 * LOG_STEP);
    assert!(at_rest.log_bytes <= 4 * LOG_STEP);
    // While rows come: a few small segments of each size, and the inputs of half a second of jobs. A footer takes most of
    // the bytes of a small one.
    assert!(most.segments <= 100);
    assert!(most.segment_bytes <= 400 << 10);
    // At rest: fewer than eight of each size, and dead rows are a fifth at most. Files have a footer each.
    assert!(at_rest.segments <= 32);
    assert!(at_rest.segment_bytes <= 4 * least.segment_bytes);
    assert!(most.checkpoint_bytes <= 4 << 20);
}

fn row(id: u64) -> String {
    format!(
        "({id}, {}, 'reading {id} of a sensor that has little to say')",
        id * 37 % 100
    )
}

async fn run(session: &Session, sql: &str) {
    let frame = session
        .sql(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let done = frame.collect().await.map_err(Error::from);
    done.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The values of the only row.
async fn text(session: &Session, sql: &str) -> String {
    let frame = session
        .sql(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let batches = frame.collect().await.unwrap();
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).unwrap();
    let value = |column| arrow::util::display::array_value_to_string(column, 0).unwrap();
    let values: Vec<String> = batch.columns().iter().map(|c| value(c)).collect();
    values.join(" ")
}

/// What is on disk when nothing is left to do: no growing rows, no jobs, no files of earlier versions.
async fn rest(database: &Database, root: &Path) -> Disk {
    let session = database.session();
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = 0;
    loop {
        let working = "SELECT (SELECT count(*) FROM shelfmark.segments WHERE state = 'growing') \
             + (SELECT count(*) FROM shelfmark.compactions WHERE state IN ('queued', 'running'))";
        let sealed = "SELECT count(*) FROM shelfmark.segments WHERE state = 'sealed'";
        let disk = Disk::of(root);
        let is_quiet = text(&session, working).await == "0"
            && text(&session, sealed).await == disk.segments.to_string();
        quiet = if is_quiet { quiet + 1 } else { 0 };
        if quiet == 10 {
            return disk;
        }
        assert!(
            Instant::now() < deadline,
            "it does not come to rest: {disk:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a database has on disk.
#[derive(Debug, Default, Clone, Copy)]
struct Disk {
    log_files: u64,
    log_bytes: u64,
    checkpoint_bytes: u64,
    segments: u64,
    segment_bytes: u64,
}

impl Disk {
    fn of(root: &Path) -> Self {
        let (log_files, log_bytes) = files(&root.join("log"));
        let (_, checkpoint_bytes) = files(&root.join("checkpoint"));
        let (segments, segment_bytes) = files(&root.join("segments"));
        Self {
            log_files,
            log_bytes,
            checkpoint_bytes,
            segments,
            segment_bytes,
        }
    }

    /// The most of each.
    fn or(self, other: Self) -> Self {
        Self {
            log_files: self.log_files.max(other.log_files),
            log_bytes: self.log_bytes.max(other.log_bytes),
            checkpoint_bytes: self.checkpoint_bytes.max(other.checkpoint_bytes),
            segments: self.segments.max(other.segments),
            segment_bytes: self.segment_bytes.max(other.segment_bytes),
        }
    }
}

/// The files below a directory, and their bytes. Some go meanwhile.
fn files(directory: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.fold((0, 0), |(count, bytes), entry| match entry.metadata() {
        Ok(found) if found.is_dir() => {
            let (more, more_bytes) = files(&entry.path());
            (count + more, bytes + more_bytes)
        }
        Ok(found) => (count + 1, bytes + found.len()),
        Err(_) => (count, bytes),
    })
}
