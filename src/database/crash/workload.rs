//! Workloads, and what the database must be after each of their statements.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::sql::Session;
use crate::storage::access::Object;
use crate::storage::disk::Files;
use crate::storage::snapshot::Snapshot;

/// Statements, each of which is a transaction.
pub(super) struct Workload {
    pub(super) name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    pub(super) statements: Vec<String>,
}

impl Workload {
    /// The settings that it runs with.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let fixed = [("compaction.auto", "off"), ("retention_duration", "0s")];
        for (name, value) in fixed.iter().chain(self.settings) {
            settings.set(name, value).unwrap();
        }
        settings
    }
}

/// How often VACUUM is run before what it leaves is somebody else's.
const VACUUMS_MAX: usize = 100;

const CREATE: &str = "CREATE TABLE book (id BIGINT PRIMARY KEY, year INT CLUSTERING KEY, title TEXT, place VECTOR(3)) \
                      WITH (segment_rows_max = 20, row_group_rows_max = 8)";

/// All workloads. `directory` is for the files that they copy.
pub(super) fn all(directory: &Path) -> Vec<Workload> {
    let file = directory.join("books.csv");
    let lines: Vec<String> = (100..160)
        .map(|id| format!("{id},{},title {id},\"[{id},1,2]\"", id * 7 % 50))
        .collect();
    std::fs::write(
        &file,
        format!("id,year,title,place\n{}\n", lines.join("\n")),
    )
    .unwrap();
    let copy = format!("COPY book FROM '{}'", file.display());
    vec![
        inserts(),
        Workload {
            name: "bulk copy",
            settings: &[("growing.max_size", "1kB")],
            statements: vec![
                CREATE.into(),
                copy.clone(),
                "SELECT count(*) FROM book".into(),
            ],
        },
        updates(),
        definitions(),
        compaction(&copy),
        vacuum(&copy),
    ]
}

fn insert(ids: std::ops::Range<u64>) -> String {
    let rows: Vec<String> = ids
        .map(|id| format!("({id}, {}, 'title {id}', '[{id},2,3]')", id * 13 % 40))
        .collect();
    format!("INSERT INTO book VALUES {}", rows.join(", "))
}

fn inserts() -> Workload {
    let inserts = (0..8).map(|n| insert(n * 3..n * 3 + 3));
    Workload {
        name: "inserts",
        settings: &[("checkpoint.commits", "3")],
        statements: std::iter::once(CREATE.into()).chain(inserts).collect(),
    }
}

fn updates() -> Workload {
    let texts = [
        CREATE,
        &insert(0..30),
        "COMPACT book WITH (WAIT)",
        "UPDATE book SET title = 'new ' || title WHERE id < 10",
        "DELETE FROM book WHERE id % 4 = 1",
        &insert(30..35),
        "UPDATE book SET id = id + 1000, place = '[9,9,9]' WHERE year > 20",
        "DELETE FROM book WHERE id > 1010",
    ];
    Workload {
        name: "updates and deletes",
        settings: &[("checkpoint.commits", "4")],
        statements: texts.map(String::from).to_vec(),
    }
}

fn definitions() -> Workload {
    let texts = [
        "CREATE SCHEMA lib",
        "CREATE TABLE lib.shelf (id BIGINT PRIMARY KEY, name TEXT)",
        "INSERT INTO lib.shelf VALUES (1, 'a'), (2, 'b')",
        "ALTER TABLE lib.shelf ADD COLUMN place VECTOR(2)",
        "CREATE INDEX shelf_name ON lib.shelf (name)",
        "CREATE VIEW lib.names AS SELECT name FROM lib.shelf",
        "CREATE ROLE ann LOGIN PASSWORD 'secret'",
        "GRANT SELECT ON lib.shelf TO ann",
        "ALTER TABLE lib.shelf RENAME TO rack",
        "CREATE TABLE copied (id INT DEFAULT 7)",
        "TRUNCATE lib.rack",
        "DROP VIEW lib.names",
        "DROP TABLE copied",
    ];
    Workload {
        name: "definitions",
        settings: &[("checkpoint.commits", "5")],
        statements: texts.map(String::from).to_vec(),
    }
}

fn compaction(copy: &str) -> Workload {
    let texts = [
        CREATE,
        copy,
        &insert(0..10),
        "COMPACT book WITH (WAIT)",
        "DELETE FROM book WHERE id % 3 = 0",
        "COMPACT book WITH (CLUSTERING, WAIT)",
        &insert(10..14),
    ];
    Workload {
        name: "seal and clustering compaction",
        settings: &[("growing.max_size", "1kB"), ("checkpoint.commits", "6")],
        statements: texts.map(String::from).to_vec(),
    }
}

fn vacuum(copy: &str) -> Workload {
    let texts = [
        CREATE,
        copy,
        "CREATE INDEX ON book (title)",
        "COMPACT book WITH (CLUSTERING, FULL, WAIT)",
        "VACUUM book",
        &insert(0..3),
        "DROP TABLE book",
        "VACUUM",
        "CREATE TABLE after (id INT)",
    ];
    Workload {
        name: "vacuum and checkpoints",
        settings: &[("growing.max_size", "1kB"), ("checkpoint.commits", "2")],
        statements: texts.map(String::from).to_vec(),
    }
}

/// Its last statement rewrites all segments.
pub(super) fn clustering() -> Workload {
    let texts = [
        CREATE,
        &insert(0..50),
        "COMPACT book WITH (WAIT)",
        "DELETE FROM book WHERE id % 3 = 0",
        "COMPACT book WITH (CLUSTERING, FULL, WAIT)",
    ];
    Workload {
        name: "clustering",
        settings: &[],
        statements: texts.map(String::from).to_vec(),
    }
}

/// Its last statement is an index over rows in segments.
pub(super) fn indexing() -> Workload {
    let texts = [
        CREATE,
        &insert(0..40),
        "COMPACT book WITH (WAIT)",
        "CREATE INDEX ON book (title)",
    ];
    Workload {
        name: "index",
        settings: &[],
        statements: texts.map(String::from).to_vec(),
    }
}

/// What became of a run.
pub(super) struct Run {
    /// Statements that were answered.
    pub(super) acknowledged: usize,
    /// What the next one, or opening, said.
    pub(super) error: Option<Error>,
    /// The database as it is then, if it was opened.
    pub(super) database: Option<Database>,
}

impl Workload {
    /// Runs the statements from the `first` on, until one fails; `answered` sees the database after each.
    pub(super) async fn run(
        &self,
        path: &Path,
        files: Files,
        first: usize,
        mut answered: impl FnMut(&Database),
    ) -> Run {
        let mut run = Run {
            acknowledged: first,
            error: None,
            database: None,
        };
        match open(path, self.settings(), files).await {
            Ok(database) => run.database = Some(database),
            Err(error) => {
                run.error = Some(error);
                return run;
            }
        }
        let database = run.database.as_ref().unwrap();
        let session = database.session();
        for statement in &self.statements[first..] {
            if let Err(error) = run_statement(database, &session, statement).await {
                run.error = Some(error);
                return run;
            }
            run.acknowledged += 1;
            answered(database);
        }
        run
    }

    /// The state before the first statement and after each.
    pub(super) async fn states(&self, path: &Path, files: Files) -> Vec<String> {
        let database = open(path, self.settings(), files).await.unwrap();
        let session = database.session();
        let mut states = vec![state(&database).await.unwrap()];
        for statement in &self.statements {
            execute(&session, statement).await.unwrap();
            states.push(state(&database).await.unwrap());
        }
        states
    }
}

/// Opens a database, which background work of the one before may hold for a moment.
pub(super) async fn open(path: &Path, settings: Settings, files: Files) -> Result<Database> {
    let deadline = Instant::now() + super::LIMIT;
    loop {
        match Database::open_on(path, settings.clone(), files.clone(), None).await {
            Err(error) if error.sqlstate() == "55006" => {
                assert!(Instant::now() < deadline, "the database before never ended");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            opened => return opened,
        }
    }
}

async fn execute(session: &Session, statement: &str) -> Result<()> {
    session.sql(statement).await?.collect().await?;
    Ok(())
}

/// A checkpoint that is being written holds its version, whose files VACUUM leaves: it is run until none is left over.
async fn run_statement(database: &Database, session: &Session, statement: &str) -> Result<()> {
    for _ in 0..VACUUMS_MAX {
        execute(session, statement).await?;
        if !statement.starts_with("VACUUM") || files_of(database) == wanted_files(database) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Everything that a user sees: names, and all rows in order.
pub(super) async fn state(database: &Database) -> Result<String> {
    let (session, snapshot) = (database.session(), database.engine().committer.snapshot());
    let mut text = names(&snapshot);
    for collection in snapshot.collections() {
        let query = format!("SELECT * FROM {} ORDER BY 1", collection.name);
        let rows = session.sql(&query).await?.to_string().await?;
        text += &format!("{query}\n{rows}\n");
    }
    Ok(text)
}

fn names(snapshot: &Snapshot) -> String {
    let mut schemas: Vec<_> = snapshot.schemas().collect();
    schemas.sort();
    let views: Vec<_> = snapshot.views().map(|v| v.name.to_string()).collect();
    let roles: Vec<_> = snapshot.roles().map(|r| r.name.clone()).collect();
    let mut text = format!("{schemas:?} {views:?} {roles:?}\n");
    for collection in snapshot.collections() {
        let indexes: Vec<_> = collection.indexes().iter().map(|i| &i.name).collect();
        let columns: Vec<_> = collection.schema.columns.iter().map(|c| &c.name).collect();
        let access = snapshot.access(&Object::Collection(collection.id));
        let grants = access.grants.as_ref().map(Vec::len);
        text += &format!("{} {columns:?} {indexes:?} {grants:?}\n", collection.name);
    }
    text
}

/// That the directory holds the files of the newest version, whole, and no others. Bloom filters that are missing are
/// built in the background after a reopen, and have a file before they have a commit, and what is due is sealed by itself:
/// that passes.
pub(super) async fn check_files(database: &Database) {
    for _ in 0..500 {
        if files_of(database) == wanted_files(database) && !has_new_files(database) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(files_of(database), wanted_files(database));
    assert!(!has_new_files(database));
}

/// Whether a file is being written that has no name yet.
fn has_new_files(database: &Database) -> bool {
    let new = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().starts_with("new-")
    };
    let tmp = database.engine().store.tmp_dir();
    std::fs::read_dir(tmp).unwrap().any(new)
}

/// The files that the newest version names; its segments are whole.
fn wanted_files(database: &Database) -> HashSet<PathBuf> {
    let store = &database.engine().store;
    let mut wanted = HashSet::new();
    for collection in database.engine().committer.snapshot().collections() {
        for segment in collection.segments() {
            let path = store.segment_path(collection.id, segment.id);
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(crc32c::crc32c(&bytes), segment.crc32c, "{}", path.display());
            wanted.insert(path);
            let filters = segment.filters.iter().filter_map(|f| f.file());
            wanted.extend(filters.map(|id| store.filter_path(collection.id, id)));
        }
    }
    wanted
}

fn files_of(database: &Database) -> HashSet<PathBuf> {
    let store = &database.engine().store;
    let mut found = HashSet::new();
    for root in [store.segments_dir(), store.indexes_dir()] {
        for directory in std::fs::read_dir(root).unwrap() {
            // That of a collection that was dropped may go meanwhile.
            let files = std::fs::read_dir(directory.unwrap().path());
            found.extend(files.into_iter().flatten().map(|file| file.unwrap().path()));
        }
    }
    found
}
