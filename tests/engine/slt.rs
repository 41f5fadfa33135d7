//! `tests/slt/**/*.slt`, each on a temporary database, and on disk with the database closed and opened again at every
//! comment `# reopen`.
//!
//! `SHELFMARK_SLT=text` runs only files whose path has the text; `SHELFMARK_SLT_UPDATE=1` writes what the temporary
//! database answers into the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use shelfmark::{Database, Error, Session, Settings, Tag};
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, MakeConnection, Record, Runner, default_column_validator,
    default_normalizer, default_validator, parse_file,
};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{files_below, root, text};

const ERRORS_SHOWN_MAX: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_on_a_temporary_database() {
    if std::env::var_os("SHELFMARK_SLT_UPDATE").is_some() {
        for file in files() {
            update(&file).await;
        }
    }
    run_all(|| None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_passes_on_disk_with_reopens() {
    run_all(|| Some(TempDir::new().unwrap())).await;
}

async fn run_all(directory: fn() -> Option<TempDir>) {
    let mut errors = Vec::new();
    for file in files() {
        errors.extend(run(&file, directory()).await);
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

async fn run(file: &Path, directory: Option<TempDir>) -> Vec<String> {
    let holder = Holder::open(directory).await;
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
    let holder = Holder::open(None).await;
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
    let holder = Arc::clone(holder);
    let mut runner = Runner::new(move || {
        let holder = Arc::clone(&holder);
        async move {
            Ok(Connection {
                holder,
                session: None,
            })
        }
    });
    let scratch = tempfile::tempdir().unwrap().keep();
    runner.set_var("SCRATCH".to_string(), scratch.display().to_string());
    runner.set_var("ROOT".to_string(), root().display().to_string());
    runner
}

/// A database that can be closed and opened again.
struct Holder {
    directory: Option<TempDir>,
    database: Mutex<Option<Database>>,
}

impl Holder {
    async fn open(directory: Option<TempDir>) -> Arc<Self> {
        let database = open(directory.as_ref()).await.unwrap();
        Arc::new(Self {
            directory,
            database: Mutex::new(Some(database)),
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
    session: Option<Session>,
}

/// An error with its SQLSTATE before it.
#[derive(Debug)]
struct Shown(Error);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.sqlstate(), self.0.message())?;
        if let Some(context) = self.0.context_lines() {
            write!(f, " CONTEXT: {context}")?;
        }
        self.0
            .hint()
            .map_or(Ok(()), |hint| write!(f, " HINT: {hint}"))
    }
}

impl std::error::Error for Shown {}

impl Connection {
    async fn session(&mut self) -> Session {
        let database = self.holder.database.lock().await;
        let database = database.as_ref().unwrap();
        self.session
            .get_or_insert_with(|| database.session())
            .clone()
    }
}

async fn answer(session: &Session, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
    let mut outcome = session.run(sql).await?;
    let mut rows = Vec::new();
    while let Some(batch) = outcome.stream.next().await {
        rows.extend(text::rows(&batch?));
    }
    Ok(match outcome.tag {
        Tag::Rows | Tag::Shown(_) | Tag::CopyOut(_) => {
            let types = vec![DefaultColumnType::Any; outcome.schema.fields().len()];
            DBOutput::Rows { types, rows }
        }
        Tag::Count(_) | Tag::CopyIn(_) => {
            let count = rows
                .iter()
                .flatten()
                .filter_map(|n| n.parse::<u64>().ok())
                .sum();
            DBOutput::StatementComplete(count)
        }
        Tag::Done(_) => DBOutput::StatementComplete(0),
    })
}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let session = self.session().await;
        let sql = sql.to_string();
        // As its own task: a panic is one failed record, and the stack is that of a worker.
        let task = tokio::spawn(async move { answer(&session, &sql).await });
        let done = task
            .await
            .map_err(|e| Shown(Error::internal(format!("panic: {e}"))))?;
        done.map_err(Shown)
    }

    async fn shutdown(&mut self) {
        self.session = None;
    }

    fn engine_name(&self) -> &str {
        "shelfmark"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Shown) -> Option<String> {
        Some(error.0.sqlstate().to_string())
    }
}
