//! What searches feel of a clustering: their latency while nothing else runs, and while a collection is rewritten again and
//! again beside them, by threads of the priority that is set and by threads of the same priority as theirs.
//!
//! ```text
//!            | searches, one after the other |  searches, one after the other   |  the same, with
//!  threads   |                               |  COMPACT .. FULL, COMPACT .. FULL |  compaction.nice = 0
//!            |  p50, p99: idle               |  p50, p99: beside it             |
//! ```
//! `cargo run --release --example search_beside_clustering -- --rows 500000 --set compaction.io_limit=100MiB`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use shelfmark::{Database, Error, Result, Session, Settings};

/// How much, and with which settings.
#[derive(Debug, Parser)]
pub struct Options {
    /// Rows of the collection.
    #[arg(long, default_value_t = 300_000)]
    rows: u64,
    /// Dimensions of its vectors.
    #[arg(long, default_value_t = 128)]
    dimensions: usize,
    /// Searches that are measured idle, and as many beside a clustering.
    #[arg(long, default_value_t = 2_000)]
    searches: usize,
    /// Keys that the filter of a search takes, of 1,000.
    #[arg(long, default_value_t = 100)]
    keys: u64,
    /// Settings of the database, as name=value.
    #[arg(long = "set")]
    settings: Vec<String>,
}

impl Options {
    /// A size that takes a moment.
    #[allow(dead_code, reason = "for the tests, which run all examples")]
    pub fn small() -> Self {
        Self {
            rows: 2_000,
            dimensions: 8,
            searches: 20,
            keys: 100,
            settings: vec!["compaction.io_limit=20MiB".to_string()],
        }
    }
}

/// Runs the example.
#[tokio::main]
#[allow(dead_code, reason = "the tests call what is below it")]
async fn main() -> Result<()> {
    run(Options::parse()).await
}

/// Measures, and prints what was measured.
///
/// # Errors
/// Those of the statements.
pub async fn run(options: Options) -> Result<()> {
    let mut settings = Settings::default();
    settings.set("compaction.auto", "off")?;
    for setting in &options.settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        settings.set(name, value)?;
    }
    let directory = tempfile::tempdir().map_err(|e| Error::io("make a directory", e))?;
    let database = Database::open(directory.path(), settings.clone()).await?;
    fill(&database.session(), &options).await?;
    drop(database);
    compare(directory.path(), settings.clone(), &options).await?;
    settings.set("compaction.nice", "0")?;
    compare(directory.path(), settings, &options).await
}

/// Measures idle and beside a clustering with these settings, and prints both.
async fn compare(directory: &Path, settings: Settings, options: &Options) -> Result<()> {
    println!("compaction.nice = {}", settings.get("compaction.nice")?);
    let database = Database::open(directory, settings).await?;
    let session = database.session();
    // Once through all, so that files are open and their checksums known.
    measure(&session, options).await?;
    let idle = measure(&session, options).await?;
    println!("{:8} {}", "idle", summary(&idle));

    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clustering = tokio::spawn(cluster(
        database.session(),
        Arc::clone(&stop),
        Arc::clone(&done),
    ));
    let begun = Instant::now();
    let beside = measure(&session, options).await?;
    let taken = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let failed = |error| Error::internal(format!("the clustering ended: {error}"));
    clustering.await.map_err(failed)??;
    println!("{:8} {}", "beside", summary(&beside));
    println!(
        "p99 beside / idle {:.2}; {} clusterings of {} rows within {taken:.1?} and the end of the last",
        percentile(&beside, 99.0).as_secs_f64() / percentile(&idle, 99.0).as_secs_f64(),
        done.load(Ordering::Relaxed),
        options.rows,
    );
    Ok(())
}

async fn fill(session: &Session, options: &Options) -> Result<()> {
    let dimensions = options.dimensions;
    let create = format!(
        "CREATE TABLE item (id BIGINT, key INT CLUSTERING KEY, place VECTOR({dimensions})) \
         WITH (segment.max_size = '32MiB')"
    );
    execute(session, &create).await?;
    let vector = vec!["random()"; dimensions].join(", ");
    let insert = format!(
        "INSERT INTO item SELECT value, value * 7919 % 1000, CAST(ARRAY[{vector}] AS VECTOR({dimensions})) \
         FROM generate_series(1::bigint, {}) AS g(value)",
        options.rows
    );
    execute(session, &insert).await?;
    execute(session, "COMPACT item WITH (CLUSTERING, WAIT)").await
}

/// Rewrites the collection until it is told to stop.
async fn cluster(session: Session, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        execute(&session, "COMPACT item WITH (CLUSTERING, FULL, WAIT)").await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// How long each of the searches took, sorted.
async fn measure(session: &Session, options: &Options) -> Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(options.searches);
    for search in 0..options.searches as u64 {
        let first = search * 617 % (1_000 - options.keys);
        let place: Vec<String> = (0..options.dimensions as u64)
            .map(|d| format!("0.{}", (search * 31 + d * 7) % 10))
            .collect();
        let query = format!(
            "SELECT id FROM item WHERE key BETWEEN {first} AND {} ORDER BY place <-> '[{}]' LIMIT 10",
            first + options.keys - 1,
            place.join(",")
        );
        let begun = Instant::now();
        execute(session, &query).await?;
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    Ok(taken)
}

async fn execute(session: &Session, sql: &str) -> Result<()> {
    session.sql(sql).await?.collect().await?;
    Ok(())
}

/// The time that so many percent of sorted ones do not exceed.
fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn summary(sorted: &[Duration]) -> String {
    let of = |percent| format!("{:.2?}", percentile(sorted, percent));
    format!(
        "{} searches: p50 {}, p90 {}, p99 {}, max {}",
        sorted.len(),
        of(50.0),
        of(90.0),
        of(99.0),
        of(100.0)
    )
}
