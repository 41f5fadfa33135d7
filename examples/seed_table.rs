//! The benchmark by which Milvus shows its clustering compaction, on data made here: filtered vector search before and
//! after `COMPACT .. WITH CLUSTERING`, as a table of prune ratio, latency and queries per second.
//!
//! ```text
//!   rows --COPY--> segments that all span every key  --measure-->  table 1
//!                        | COMPACT .. WITH (CLUSTERING, WAIT)
//!                        v
//!                  segments by ranges of the key     --measure-->  table 2
//! ```
//! `cargo run --release --example seed_table -- --rows 1000000 --clients 4 --wire`
//!
//! Every answer that is measured for its recall is compared with a search that reads all rows in plain Rust.

#[path = "seed_table/benchmark.rs"]
mod benchmark;

use benchmark::Options;
use clap::Parser;

/// Runs the example.
#[tokio::main]
async fn main() -> shelfmark::Result<()> {
    benchmark::run(Options::parse()).await
}
