//! `tests/slt/**/*.slt`, each on a temporary database, and on disk with the database closed and opened again at every
//! comment `# reopen`; and through the server, by both protocols.
//!
//! Records of `skipif simple` are not for the simple protocol. `SHELFMARK_SLT=text` runs only files whose path has the text; `SHELFMARK_SLT_UPDATE=1` writes what the temporary
//! database answers into the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use shelfmark::server::Config;
use shelfmark::{Database, Error, Session, Settings, Tag};
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, MakeConnection, Record, Runner, default_column_validator,
    default_normalizer, default_validator, parse_file,
};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::raw::{self, Raw};
use super::wire::TestServer;
use super::{files_below, root, text};

const ERRORS_SHOWN_MAX: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_on_a_temporary_database() {
    if std::env::var_os("SHELFMARK_SLT_UPDATE").is_some() {
        for file in files() {
            update(&file).await;
        }
    }
    run_all(Way::Embedded, || None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_on_disk_with_reopens() {
    run_all(Way::Embedded, || Some(TempDir::new().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_by_the_simple_protocol() {
    run_all(Way::Simple, || None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_by_the_extended_protocol() {
    run_all(Way::Extended, || None).await;
}

/// How statements reach the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Embedded,
    Simple,
    Extended,
}

async fn run_all(way: Way, directory: fn() -> Option<TempDir>) {
    let mut errors = Vec::new();
    for file in files() {
        errors.extend(run(&file, way, directory()).await);
    }
    let shown = errors.len().min(ERRORS_SHOWN_MAX);
    assert!(
        errors.is_empty(),
        "{} errors\n{}",
        errors.len(),
        errors[..shown].join("\n")
    );
}

fn files() -> Vec<PathBuf> {
    let directory = std::env::var_os("SHELFMARK_SLT_DIR")
        .map_or_else(|| root().join("tests/slt"), PathBuf::from);
    let wanted = std::env::var("SHELFMARK_SLT").unwrap_or_default();
    let mut files = files_below(&directory, "slt");
    files.retain(|f| f.to_string_lossy().contains(&wanted));
    files
}

async fn run(file: &Path, way: Way, directory: Option<TempDir>) -> Vec<String> {
    let holder = Holder::open(way, directory).await;
    let mut runner = runner(&holder);
    let mut errors = Vec::new();
    let records = match parse_file::<DefaultColumnType>(file) {
        Ok(records) => records,
        Err(e) => return vec![e.to_string()],
    };
    for record in records {
        match record {
            Record::Halt { .. } => break,
            Record::Comment(lines) if lines.iter().any(|l| l.trim() == "reopen") => {
                runner.shutdown_async().await;
                holder.reopen().await;
            }
            record => {
                if let Err(e) = runner.run_async(record).await {
                    errors.push(e.display(false).to_string());
                }
            }
        }
    }
    runner.shutdown_async().await;
    errors
}

async fn update(file: &Path) {
    let holder = Holder::open(Way::Embedded, None).await;
    let mut runner = runner(&holder);
    let updated = runner.update_test_file(
        file,
        " ",
        default_validator,
        default_normalizer,
        default_column_validator,
    );
    updated.await.unwrap();
}

fn runner(holder: &Arc<Holder>) -> Runner<Connection, impl MakeConnection<Conn = Connection>> {
    let way = holder.way;
    let scratch = holder.scratch.path().display().to_string();
    let holder = Arc::clone(holder);
    let mut runner = Runner::new(move || {
        let holder = Arc::clone(&holder);
        async move { Ok(Connection { holder, door: None }) }
    });
    runner.set_var("SCRATCH".to_string(), scratch);
    runner.set_var("ROOT".to_string(), root().display().to_string());
    if way == Way::Simple {
        runner.add_label("simple");
    }
    runner
}

/// A database that can be closed and opened again.
struct Holder {
    way: Way,
    directory: Option<TempDir>,
    /// For the files that a script writes.
    scratch: TempDir,
    database: Mutex<Option<Database>>,
    server: Option<TestServer>,
}

impl Holder {
    async fn open(way: Way, directory: Option<TempDir>) -> Arc<Self> {
        let database = open(directory.as_ref()).await.unwrap();
        let server = match way {
            Way::Embedded => None,
            Way::Simple | Way::Extended => {
                let files =
                    |config: &mut Config| config.set("server.file_directories", "/").unwrap();
                Some(TestServer::over(database.clone(), files).await)
            }
        };
        Arc::new(Self {
            way,
            directory,
            scratch: TempDir::new().unwrap(),
            database: Mutex::new(Some(database)),
            server,
        })
    }

    /// Closes and opens a database on disk; a temporary one stays as it is.
    async fn reopen(&self) {
        if self.directory.is_none() {
            return;
        }
        let mut database = self.database.lock().await;
        *database = None;
        *database = Some(reopen(self.directory.as_ref()).await);
    }
}

async fn open(directory: Option<&TempDir>) -> Result<Database, Error> {
    match directory {
        Some(directory) => Database::open(directory.path(), Settings::default()).await,
        None => Database::temporary(Settings::default()).await,
    }
}

/// Background work may hold the closed database for a moment.
async fn reopen(directory: Option<&TempDir>) -> Database {
    for _ in 0..500 {
        match open(directory).await {
            Err(e) if e.sqlstate() == "55006" => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the database is still in use after it was closed");
}

/// A session, made when it is first used and after each reopening.
struct Connection {
    holder: Arc<Holder>,
    door: Option<Door>,
}

enum Door {
    Session(Session),
    Client(Box<Raw>),
}

/// An error with its SQLSTATE before it.
#[derive(Debug)]
struct Shown {
    sqlstate: String,
    message: String,
    context: Option<String>,
    hint: Option<String>,
}

impl From<Error> for Shown {
    fn from(error: Error) -> Self {
        Self {
            sqlstate: error.sqlstate().to_string(),
            message: error.message().to_string(),
            context: error.context_lines().map(|lines| lines.to_string()),
            hint: error.hint().map(ToString::to_string),
        }
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)?;
        if let Some(context) = &self.context {
            write!(f, " CONTEXT: {context}")?;
        }
        let hint = self.hint.as_ref();
        hint.map_or(Ok(()), |hint| write!(f, " HINT: {hint}"))
    }
}

impl std::error::Error for Shown {}

type Answer = Result<DBOutput<DefaultColumnType>, Shown>;

impl Connection {
    async fn door(&mut self) -> &mut Door {
        if self.door.is_none() {
            let database = self.holder.database.lock().await;
            self.door = Some(match &self.holder.server {
                Some(server) => Door::Client(Box::new(Raw::connect(server).await)),
                None => Door::Session(database.as_ref().unwrap().session()),
            });
        }
        self.door.as_mut().unwrap()
    }
}

async fn embedded(session: Session, sql: String) -> Answer {
    let mut outcome = session.run(&sql).await?;
    let mut rows = Vec::new();
    while let Some(batch) = outcome.stream.next().await {
        rows.extend(text::rows(&batch.map_err(Error::from)?));
    }
    Ok(match outcome.tag {
        Tag::Count(_) | Tag::CopyIn(_) => {
            let counts = rows.iter().flatten();
            DBOutput::StatementComplete(counts.filter_map(|n| n.parse::<u64>().ok()).sum())
        }
        Tag::Done(_) => DBOutput::StatementComplete(0),
        _ => DBOutput::Rows {
            types: vec![DefaultColumnType::Any; outcome.schema.fields().len()],
            rows,
        },
    })
}

/// What the messages of the server say.
fn answer(messages: &[raw::Message]) -> Answer {
    if let Some(error) = raw::body(messages, b'E') {
        return Err(Shown {
            sqlstate: raw::field(&error, b'C').unwrap(),
            message: raw::field(&error, b'M').unwrap(),
            context: raw::field(&error, b'W'),
            hint: raw::field(&error, b'H'),
        });
    }
    if let Some(description) = raw::body(messages, b'T') {
        let names = raw::names(description);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rows = messages.iter().filter(|(kind, _)| *kind == b'D');
        let values = rows.map(|(_, row)| raw::values(row.clone()));
        let cells = values.map(|row| row.iter().map(|v| text::cell(v.as_deref())).collect());
        return Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; names.len()],
            rows: text::shown(&names, cells.collect()),
        });
    }
    let tag = raw::body(messages, b'C').unwrap_or_default();
    let tag = String::from_utf8(tag.to_vec()).unwrap();
    let count = tag.trim_end_matches('\0').rsplit(' ').next();
    Ok(DBOutput::StatementComplete(
        count.and_then(|n| n.parse().ok()).unwrap_or(0),
    ))
}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let way = self.holder.way;
        match self.door().await {
            // As its own task: a panic is one failed record, and the stack is that of a worker.
            Door::Session(session) => tokio::spawn(embedded(session.clone(), sql.to_string()))
                .await
                .map_err(|e| Error::internal(format!("panic: {e}")))?,
            Door::Client(client) if way == Way::Simple => answer(&client.simple(sql).await),
            Door::Client(client) => answer(&client.extended(sql).await),
        }
    }

    async fn shutdown(&mut self) {
        self.door = None;
    }

    fn engine_name(&self) -> &str {
        "shelfmark"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Shown) -> Option<String> {
        Some(error.sqlstate.clone())
    }
}
