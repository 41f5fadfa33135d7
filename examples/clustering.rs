//! What clustering does to pruning: the same query before and after, and how many segments it needs.
//!
//! ```text
//!  key ranges of the segments        before                after
//!                              |-------------|       |--|
//!                              |-------------|          |--|
//!                              |-------------|             |---|
//!                              |-------------|                 |--|
//!  WHERE key > 200 AND key < 400      ^ all four             ^ one
//! ```

use arrow::array::AsArray;
use arrow::util::pretty::pretty_format_batches;
use shelfmark::{Database, Result, Session, Settings};

const QUERY: &str = "SELECT count(*), sum(key) FROM item WHERE key > 200 AND key < 400";
const INFORMATION: &str = "SELECT total_segments, average_overlaps, average_depth, max_depth
    FROM clustering_information('item')";

/// Runs the example.
#[tokio::main]
pub async fn main() -> Result<()> {
    let database = Database::temporary(Settings::default()).await?;
    let session = database.session();
    run(
        &session,
        "CREATE TABLE item (id BIGINT, key INT CLUSTERING KEY)
         WITH (segment_rows_max = 1000, auto_compaction = off)",
    )
    .await?;
    // Keys come in no order, so that every segment has all of them.
    run(
        &session,
        "INSERT INTO item SELECT value, value * 7919 % 1000 FROM generate_series(1, 10000) AS g(value)",
    )
    .await?;

    println!("before:");
    explain(&session).await?;
    show(&session, INFORMATION).await?;

    run(&session, "COMPACT item WITH (CLUSTERING, WAIT)").await?;

    println!("after:");
    explain(&session).await?;
    show(&session, INFORMATION).await
}

/// Runs a statement for what it does.
async fn run(session: &Session, sql: &str) -> Result<()> {
    session.sql(sql).await?.collect().await?;
    Ok(())
}

/// Prints the rows of a query.
async fn show(session: &Session, sql: &str) -> Result<()> {
    let batches = session.sql(sql).await?.collect().await?;
    println!("{}", pretty_format_batches(&batches)?);
    Ok(())
}

/// Prints the line of the plan that tells which segments were read.
async fn explain(session: &Session) -> Result<()> {
    show(session, QUERY).await?;
    let batches = session
        .sql(&format!("EXPLAIN ANALYZE {QUERY}"))
        .await?
        .collect()
        .await?;
    for batch in &batches {
        let lines = batch.column(0).as_string::<i32>().iter().flatten();
        let scans = lines.filter(|line| line.contains("scanned="));
        // What was read, and how long it took, stands behind.
        let segments = scans.filter_map(|line| line.trim().split(", projection").next());
        segments.for_each(|line| println!("{line}"));
    }
    Ok(())
}
