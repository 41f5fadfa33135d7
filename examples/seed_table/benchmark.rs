//! The run: load, measure, cluster, measure again.

mod door;
mod measure;
mod rows;

use std::net::SocketAddr;
use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use clap::Parser;
use shelfmark::server::{Config, Server};
use shelfmark::{Database, Error, Result, Session, Settings};
use tokio_util::sync::CancellationToken;

use door::Door;
use measure::Truth;
use rows::Rows;

/// What to measure.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Rows of the collection; one of a hundred has the key 1000, the others have keys from 0 to 999.
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Elements of a vector.
    #[arg(long, default_value_t = 768)]
    dimensions: usize,
    /// Segments that the rows fill.
    #[arg(long, default_value_t = 100)]
    segments: usize,
    /// Searches that are under way at a time.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// Seconds for each line of a table.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Searches go through the Postgres wire protocol instead of embedded sessions.
    #[arg(long)]
    wire: bool,
}

impl Options {
    /// A run that takes a moment.
    #[cfg(test)]
    pub fn small(wire: bool) -> Self {
        Self {
            rows: 2_000,
            dimensions: 24,
            segments: 20,
            clients: 2,
            seconds: 0.05,
            wire,
        }
    }
}

/// Loads, measures, clusters and measures again.
///
/// # Errors
/// Whatever goes wrong in the database; an answer that misses one of the nearest rows.
pub async fn run(options: Options) -> Result<()> {
    let rows = Rows {
        count: options.rows,
        dimensions: options.dimensions,
    };
    let database = Database::temporary(Settings::default()).await?;
    let session = database.session();
    load(&session, &options, rows).await?;
    let truth = Truth::new(rows);

    let server = match options.wire {
        true => Some(serve(&database).await?),
        false => None,
    };
    let door = match &server {
        Some((address, _)) => Door::Wire(*address),
        None => Door::Embedded(database.clone()),
    };
    println!("unclustered, {}:", described(&session).await?);
    measure::table(&door, &session, &options, &truth).await?;

    let began = Instant::now();
    execute(&session, "COMPACT book WITH (CLUSTERING, WAIT)").await?;
    println!("clustering took {:.2} s", began.elapsed().as_secs_f64());

    println!("clustered, {}:", described(&session).await?);
    measure::table(&door, &session, &options, &truth).await?;
    if let Some((_, shutdown)) = server {
        shutdown.cancel();
    }
    Ok(())
}

async fn load(session: &Session, options: &Options, rows: Rows) -> Result<()> {
    let Options {
        dimensions,
        segments,
        ..
    } = options;
    let segment_rows = options.rows.div_ceil((*segments).max(1));
    let create = format!(
        "CREATE TABLE book (id BIGINT PRIMARY KEY, key BIGINT CLUSTERING KEY, var VARCHAR(1000),
            embeddings VECTOR({dimensions}))
         WITH (segment_rows_max = {segment_rows}, auto_compaction = off)"
    );
    execute(session, &create).await?;
    let directory = tempfile::tempdir().map_err(|e| Error::io("make a directory", e))?;
    let file = directory.path().join("book.parquet");
    rows.write(&file)?;
    let began = Instant::now();
    execute(session, &format!("COPY book FROM '{}'", file.display())).await?;
    let seconds = began.elapsed().as_secs_f64();
    let per_second = options.rows as f64 / seconds;
    println!(
        "{} rows of {dimensions} dimensions copied in {seconds:.2} s, {per_second:.0} rows/s",
        options.rows
    );
    Ok(())
}

/// Segments and depth of the collection.
async fn described(session: &Session) -> Result<String> {
    let sql = "SELECT total_segments::text, average_depth FROM clustering_information('book')";
    let batches = session.sql(sql).await?.collect().await?;
    let batch = &batches[0];
    let segments = batch.column(0).as_string::<i32>().value(0).to_string();
    let depth = batch.column(1).as_primitive::<Float64Type>().value(0);
    Ok(format!("{segments} segments, average depth {depth:.2}"))
}

async fn execute(session: &Session, sql: &str) -> Result<()> {
    session.sql(sql).await?.collect().await?;
    Ok(())
}

/// A server of this process over the database.
async fn serve(database: &Database) -> Result<(SocketAddr, CancellationToken)> {
    let mut config = Config::default();
    config.set("server.listen", "127.0.0.1:0")?;
    let queries = tokio::runtime::Handle::current();
    let server = Server::bind(config, database.clone(), queries).await?;
    let address = server.addresses()?[0];
    let shutdown = CancellationToken::new();
    tokio::spawn(server.run(shutdown.clone()));
    Ok((address, shutdown))
}
