//! What may happen to a collection while it is compacted, and what becomes of either: rows come and go as they do
//! without, definitions change under the outputs, and only what makes them useless ends the job, without litter.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rig::Gate;
use super::workload::{check_files, open};
use super::{LIMIT, scratch};
use crate::database::Database;
use crate::settings::Settings;
use crate::storage::change::{JobKind, JobRecord, JobState};
use crate::storage::schema::JobId;

const SETUP: [&str; 10] = [
    "CREATE SCHEMA lib",
    "CREATE TABLE other (id BIGINT PRIMARY KEY)",
    "CREATE TABLE book (id BIGINT PRIMARY KEY, year INT CLUSTERING KEY, title TEXT, note VARCHAR(20), place VECTOR(3)) \
     WITH (segment_rows_max = 20, row_group_rows_max = 8, growing.max_size = '1GB')",
    "CREATE INDEX book_note ON book (note)",
    "INSERT INTO book SELECT i, i * 37 % 100, 'title ' || i, 'note ' || i, '[1,2,3]'::VECTOR(3) \
     FROM generate_series(1, 60) AS t(i)",
    "COMPACT book WITH (WAIT)",
    "INSERT INTO book SELECT i, i, 'title ' || i, NULL, NULL FROM generate_series(61, 68) AS t(i)",
    "COMPACT book WITH (WAIT)",
    "INSERT INTO book SELECT i, i, 'title ' || i, 'note ' || i, NULL FROM generate_series(69, 76) AS t(i)",
    "DELETE FROM book WHERE id % 10 = 3",
];

/// Each starts a job.
const JOBS: [(JobKind, &str); 3] = [
    (
        JobKind::Seal,
        "ALTER TABLE book SET (growing.max_size = '1B')",
    ),
    (JobKind::Merge, "COMPACT book"),
    (JobKind::Cluster, "COMPACT book WITH (CLUSTERING, FULL)"),
];

/// Statements under which a compaction goes on. Each list ends with the name of the collection then.
const ANYTHING: &[(&[&str], &str)] = &[
    (
        &[
            "INSERT INTO book VALUES (100, 5, 'late', NULL, '[9,9,9]'), (101, NULL, NULL, NULL, NULL)",
            "DELETE FROM book WHERE id IN (1, 70, 100)",
            "UPDATE book SET title = 'new', year = year + 1 WHERE id % 7 = 0",
            "UPDATE book SET title = title || '!' WHERE title = 'new' AND id < 30",
            "INSERT INTO book VALUES (2, 2, 'again', NULL, NULL), (102, 2, 'more', NULL, NULL) \
             ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
            "MERGE INTO book USING (VALUES (5), (6)) AS m (id) ON book.id = m.id WHEN MATCHED THEN DELETE",
        ],
        "book",
    ),
    (&["DELETE FROM book"], "book"),
    (&["DELETE FROM book WHERE year < 50"], "book"),
    (
        &[
            "ALTER TABLE book ADD COLUMN pages INT DEFAULT 7",
            "ALTER TABLE book ADD COLUMN plain TEXT",
            "UPDATE book SET pages = 8 WHERE id = 9",
            "INSERT INTO book (id, year, pages) VALUES (200, 1, 9), (201, 2, NULL)",
        ],
        "book",
    ),
    (
        &[
            "ALTER TABLE book DROP COLUMN note",
            "ALTER TABLE book ADD COLUMN note TEXT DEFAULT 'another'",
            "INSERT INTO book (id, year) VALUES (200, 1)",
        ],
        "book",
    ),
    (
        &[
            "ALTER TABLE book RENAME COLUMN title TO name",
            "ALTER TABLE book RENAME COLUMN year TO since",
            "UPDATE book SET name = 'renamed' WHERE since = 37",
        ],
        "book",
    ),
    (
        &[
            "ALTER TABLE book ALTER COLUMN note TYPE TEXT",
            "ALTER TABLE book ALTER COLUMN title TYPE VARCHAR(30)",
            "ALTER TABLE book ALTER COLUMN title SET NOT NULL",
            "ALTER TABLE book ALTER COLUMN note SET DEFAULT 'none'",
            "ALTER TABLE book ADD CONSTRAINT positive CHECK (id > 0)",
            "INSERT INTO book (id, year, title) VALUES (200, 1, 'x')",
        ],
        "book",
    ),
    (
        &[
            "ALTER TABLE book RENAME TO tome",
            "DELETE FROM tome WHERE id = 7",
        ],
        "tome",
    ),
    (
        &[
            "ALTER TABLE book SET SCHEMA lib",
            "INSERT INTO lib.book (id) VALUES (200)",
        ],
        "lib.book",
    ),
    (
        &[
            "ALTER TABLE book SET SCHEMA lib",
            "ALTER SCHEMA lib RENAME TO library",
            "DELETE FROM library.book WHERE id = 7",
        ],
        "library.book",
    ),
    (
        &[
            "ALTER TABLE book SET (segment.max_rows = 50, compaction.clustering.max_depth = 2)",
            "ALTER TABLE book RESET (segment.max_rows)",
        ],
        "book",
    ),
    (
        &[
            "CREATE INDEX ON book (title)",
            "CREATE UNIQUE INDEX book_title ON book (title)",
            "DROP INDEX book_note",
        ],
        "book",
    ),
    (
        &[
            "CREATE TABLE child (id INT, book BIGINT REFERENCES book)",
            "INSERT INTO child VALUES (1, 1)",
            "CREATE VIEW aged AS SELECT * FROM book WHERE year < 50",
            "CREATE ROLE ann",
            "GRANT SELECT ON book TO ann",
            "ALTER TABLE book OWNER TO ann",
        ],
        "book",
    ),
    (
        &["TRUNCATE other", "DROP TABLE other", "DROP INDEX book_note"],
        "book",
    ),
];

/// Statements that end it, and why.
const ENDS: &[(&[&str], &str)] = &[
    (
        &["ALTER TABLE book CLUSTER BY (title, year)"],
        "the clustering key of \"book\" was changed meanwhile",
    ),
    (
        &["ALTER TABLE book CLUSTER BY NONE"],
        "the clustering key of \"book\" was changed meanwhile",
    ),
    (
        &["TRUNCATE book"],
        "collection \"book\" was truncated meanwhile",
    ),
    (
        &["TRUNCATE book", "INSERT INTO book (id, year) VALUES (1, 2)"],
        "collection \"book\" was truncated meanwhile",
    ),
    (
        &["DROP TABLE book"],
        "collection \"book\" was dropped meanwhile",
    ),
    (
        &[
            "DROP TABLE book",
            "CREATE TABLE book (id BIGINT PRIMARY KEY, year INT CLUSTERING KEY)",
            "INSERT INTO book VALUES (1, 2)",
        ],
        "collection \"book\" was dropped meanwhile",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_goes_on_whatever_rows_and_definitions_do() {
    let directory = scratch();
    for (n, (statements, name)) in ANYTHING.iter().enumerate() {
        let alone = directory.path().join(format!("alone-{n}"));
        let expected = without_compaction(&alone, statements, name).await;
        for (kind, start) in JOBS {
            let at = format!("{kind:?}, {statements:?}");
            let path = directory.path().join(format!("{n}-{}", kind.as_str()));
            let (database, job) = compacted_meanwhile(&path, kind, start, statements).await;
            assert_eq!(job.state, JobState::Succeeded, "{at}: {}", job.reason);
            assert_eq!(rows(&database, name).await, expected, "{at}");
            check_files(&database).await;
            drop(database);
            let database = open(&path, settings(), Default::default()).await.unwrap();
            assert_eq!(rows(&database, name).await, expected, "{at}, reopened");
            drop(database);
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_its_outputs_useless_ends_a_compaction_without_litter() {
    let directory = scratch();
    for (n, (statements, why)) in ENDS.iter().enumerate() {
        for (kind, start) in JOBS {
            let at = format!("{kind:?}, {statements:?}");
            let path = directory.path().join(format!("{n}-{}", kind.as_str()));
            let (database, job) = compacted_meanwhile(&path, kind, start, statements).await;
            assert_eq!(job.state, JobState::Failed, "{at}: {}", job.reason);
            assert!(job.reason.starts_with(why), "{at}: {}", job.reason);
            assert_eq!(job.sqlstate.as_deref(), Some("40001"), "{at}");
            check_files(&database).await;
            drop(database);
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_compaction_leaves_the_old_state_and_no_litter() {
    let directory = scratch();
    for (kind, start) in JOBS {
        let path = directory.path().join(kind.as_str());
        let (database, gate, id) = held(&path, kind, start).await;
        let expected = rows(&database, "book").await;
        // What is due would start again.
        execute(&database, &["ALTER TABLE book RESET (growing.max_size)"]).await;
        let cancel = format!("CANCEL COMPACTION {id}");
        execute(&database, &[cancel.as_str()]).await;
        gate.open();
        let job = database.scheduler().wait(id, Some(LIMIT)).await.unwrap();
        assert_eq!(job.state, JobState::Cancelled, "{kind:?}: {}", job.reason);
        assert_eq!(job.reason, "cancelled on request");
        check_files(&database).await;
        assert_eq!(rows(&database, "book").await, expected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_interrupts_is_failed_swept_and_begun_anew() {
    let directory = scratch();
    let path = directory.path().join("data");
    let gate = Arc::new(Gate::default());
    let database = open(&path, settings(), gate.files()).await.unwrap();
    execute(&database, &SETUP).await;
    let expected = rows(&database, "book").await;
    drop(database);
    gate.close_after(1);
    let database = open(&path, eager(), gate.files()).await.unwrap();
    let arrived = tokio::task::block_in_place(|| gate.wait_for_somebody(LIMIT));
    assert!(arrived, "no clustering began by itself");
    let id = running(&database, JobKind::Cluster);
    // As a kill leaves it: an output has its name, another is half written.
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    gate.open();
    drop(database);

    let database = open(&crashed, settings(), Default::default())
        .await
        .unwrap();
    let job = database.scheduler().wait(id, Some(LIMIT)).await.unwrap();
    assert_eq!(
        (job.state, job.sqlstate.as_deref()),
        (JobState::Failed, Some("57P01"))
    );
    assert!(job.reason.starts_with("interrupted"), "{}", job.reason);
    check_files(&database).await;
    assert_eq!(rows(&database, "book").await, expected);
    drop(database);

    let database = open(&crashed, eager(), Default::default()).await.unwrap();
    let deadline = Instant::now() + LIMIT;
    let is_new = |job: &JobRecord| job.id > id && job.kind == JobKind::Cluster;
    let again = loop {
        let snapshot = database.engine().committer.snapshot();
        let mut ended = snapshot
            .jobs()
            .filter(|j| is_new(j) && j.finished_ms.is_some());
        if let Some(job) = ended.next() {
            break JobRecord::clone(job);
        }
        assert!(Instant::now() < deadline, "no clustering began anew");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(again.state, JobState::Succeeded, "{}", again.reason);
    assert_eq!(rows(&database, "book").await, expected);
}

/// Settings under which what is due is clustered by itself.
fn eager() -> Settings {
    let mut settings = settings();
    for (name, value) in [
        ("compaction.auto", "on"),
        ("compaction.clustering.auto", "on"),
        ("compaction.clustering.trigger_interval", "20ms"),
        ("compaction.clustering.new_data_size_threshold", "1B"),
    ] {
        settings.set(name, value).unwrap();
    }
    settings
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).unwrap()),
        }
    }
}

/// What there is when nothing is compacted meanwhile.
async fn without_compaction(path: &Path, statements: &[&str], name: &str) -> String {
    let database = open(path, settings(), Default::default()).await.unwrap();
    execute(&database, &SETUP).await;
    execute(&database, statements).await;
    rows(&database, name).await
}

/// Has the statements run while a job has written its first output; how the job ended.
async fn compacted_meanwhile(
    path: &Path,
    kind: JobKind,
    start: &str,
    statements: &[&str],
) -> (Database, JobRecord) {
    let (database, gate, id) = held(path, kind, start).await;
    execute(&database, statements).await;
    gate.open();
    let job = database.scheduler().wait(id, Some(LIMIT)).await.unwrap();
    (database, job)
}

/// A job that has written its first output and waits for its name.
async fn held(path: &Path, kind: JobKind, start: &str) -> (Database, Arc<Gate>, JobId) {
    let gate = Arc::new(Gate::default());
    let database = open(path, settings(), gate.files()).await.unwrap();
    execute(&database, &SETUP).await;
    gate.close_after(0);
    execute(&database, &[start]).await;
    let arrived = tokio::task::block_in_place(|| gate.wait_for_somebody(LIMIT));
    assert!(arrived, "{kind:?} has written nothing");
    let id = running(&database, kind);
    (database, gate, id)
}

fn running(database: &Database, kind: JobKind) -> JobId {
    let all = database.scheduler().running();
    let mut of_kind = all.iter().filter(|(job, _)| job.kind == kind);
    of_kind.next().unwrap().0.id
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    for (name, value) in [("compaction.auto", "off"), ("retention_duration", "0s")] {
        settings.set(name, value).unwrap();
    }
    settings
}

async fn execute(database: &Database, statements: &[&str]) {
    let session = database.session();
    for statement in statements {
        let done = async { session.sql(statement).await?.collect().await };
        done.await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// All rows, with what indexes find of them.
async fn rows(database: &Database, name: &str) -> String {
    let session = database.session();
    let mut text = String::new();
    for query in [
        format!("SELECT * FROM {name} ORDER BY id"),
        format!("SELECT id FROM {name} WHERE id IN (1, 2, 70, 100, 200) ORDER BY id"),
        format!("SELECT count(*), min(id), max(id), count(place) FROM {name}"),
    ] {
        let frame = session.sql(&query).await.unwrap();
        text += &frame.to_string().await.unwrap();
    }
    text
}
