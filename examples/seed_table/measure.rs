//! The table: for each filter what was pruned, how long searches took, and whether they found the nearest rows.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use shelfmark::{Error, Result, Session};

use super::Options;
use super::door::{Door, Searcher};
use super::rows::Rows;

/// Rows that a search asks for.
const K: usize = 10;
/// Queries whose answers are compared with the truth.
const CHECKED: usize = 3;
/// Queries that take turns while time is measured.
const QUERIES: usize = 64;
/// How far a distance of 32-bit sums may be from one of 64-bit sums.
const TOLERANCE: f64 = 1e-5;

/// A condition on the key.
struct Filter {
    name: &'static str,
    condition: &'static str,
    bounds: &'static [i64],
    accepts: fn(i64) -> bool,
}

/// The five filters that Milvus' page has, and a rare key.
const FILTERS: [Filter; 6] = [
    Filter {
        name: "none",
        condition: "",
        bounds: &[],
        accepts: |_| true,
    },
    between("200 < key < 800", &[200, 800], |key| key > 200 && key < 800),
    between("200 < key < 600", &[200, 600], |key| key > 200 && key < 600),
    between("200 < key < 400", &[200, 400], |key| key > 200 && key < 400),
    equal("key = 1000", &[1_000], |key| key == 1_000),
    equal("key = 500", &[500], |key| key == 500),
];

const fn between(name: &'static str, bounds: &'static [i64], accepts: fn(i64) -> bool) -> Filter {
    Filter {
        name,
        condition: "WHERE key > $2 AND key < $3",
        bounds,
        accepts,
    }
}

const fn equal(name: &'static str, bounds: &'static [i64], accepts: fn(i64) -> bool) -> Filter {
    Filter {
        name,
        condition: "WHERE key = $2",
        bounds,
        accepts,
    }
}

impl Filter {
    fn sql(&self) -> String {
        let Self { condition, .. } = self;
        format!("SELECT id FROM book {condition} ORDER BY embeddings <-> $1 LIMIT {K}")
    }
}

/// The nearest rows as plain Rust finds them.
pub struct Truth {
    rows: Rows,
    /// By filter and query the distance of the last row that belongs to the answer, and how many rows there are.
    farthest: Vec<Vec<(f64, usize)>>,
}

impl Truth {
    /// Reads all rows once.
    pub fn new(rows: Rows) -> Self {
        let queries: Vec<Vec<f32>> = (0..CHECKED).map(|q| rows.query(q)).collect();
        let mut nearest = vec![vec![Vec::new(); CHECKED]; FILTERS.len()];
        for row in 0..rows.count {
            let vector: Vec<f32> = rows.vector(row).collect();
            let key = rows.key(row);
            for (number, query) in queries.iter().enumerate() {
                let distance = squared_distance(&vector, query);
                for (filter, nearest) in FILTERS.iter().zip(&mut nearest) {
                    if (filter.accepts)(key) {
                        insert(&mut nearest[number], distance);
                    }
                }
            }
        }
        let farthest = |distances: &Vec<f64>| {
            let last = distances.last().copied();
            (last.unwrap_or(f64::INFINITY), distances.len())
        };
        let of_filter = |queries: &Vec<Vec<f64>>| queries.iter().map(farthest).collect();
        Self {
            rows,
            farthest: nearest.iter().map(of_filter).collect(),
        }
    }

    /// The share of the nearest rows that an answer has.
    fn recall(&self, filter: usize, query: usize, ids: &[i64]) -> f64 {
        let (farthest, count) = self.farthest[filter][query];
        let elements = self.rows.query(query);
        let belongs = |id: &&i64| {
            let row = **id as usize;
            let vector: Vec<f32> = self.rows.vector(row).collect();
            let near = squared_distance(&vector, &elements) <= farthest * (1.0 + TOLERANCE);
            near && (FILTERS[filter].accepts)(self.rows.key(row))
        };
        ids.iter().filter(belongs).count() as f64 / count.max(1) as f64
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum()
}

/// Puts a distance into its place among the `K` smallest.
fn insert(nearest: &mut Vec<f64>, distance: f64) {
    let place = nearest.partition_point(|d| d.total_cmp(&distance) == Ordering::Less);
    if place < K {
        nearest.insert(place, distance);
        nearest.truncate(K);
    }
}

/// Prints a line for each filter.
///
/// # Errors
/// Those of the searches; an answer that misses one of the nearest rows.
pub async fn table(door: &Door, session: &Session, options: &Options, truth: &Truth) -> Result<()> {
    println!(
        "| {:<15} | {:>7} | {:>9} | {:>9} | {:>9} | {:>9} | {:>9} | {:>9} | {:>6} |",
        "filter", "pruned", "avg ms", "min", "max", "median", "p99", "QPS", "recall"
    );
    for (number, filter) in FILTERS.iter().enumerate() {
        let pruned = pruned_share(session, truth.rows, filter).await?;
        let recall = recall(door, truth, number).await?;
        let latencies = latencies(door, options, truth.rows, filter).await?;
        println!("{}", line(filter.name, pruned, &latencies, recall));
        if recall < 1.0 {
            let message = format!("recall of \"{}\" is {recall}", filter.name);
            return Err(Error::internal(message));
        }
    }
    println!();
    Ok(())
}

/// What searches of all clients took, and how many there were in a second.
struct Latencies {
    sorted: Vec<Duration>,
    per_second: f64,
}

async fn latencies(
    door: &Door,
    options: &Options,
    rows: Rows,
    filter: &'static Filter,
) -> Result<Latencies> {
    let queries: Arc<Vec<Vec<f32>>> = Arc::new((0..QUERIES).map(|q| rows.query(q)).collect());
    let mut searchers = Vec::new();
    for _ in 0..options.clients.max(1) {
        let searcher = door.prepare(&filter.sql()).await?;
        // The first search of a client pays for what the others find done.
        searcher.search(&queries[0], filter.bounds).await?;
        searchers.push(searcher);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(options.seconds);
    let clients: Vec<_> = searchers
        .into_iter()
        .enumerate()
        .map(|(first, searcher)| {
            tokio::spawn(search_until(
                end,
                searcher,
                Arc::clone(&queries),
                first,
                filter,
            ))
        })
        .collect();
    let mut sorted = Vec::new();
    for client in clients {
        let of_client = client.await;
        sorted.extend(of_client.map_err(|e| Error::internal(format!("a client died: {e}")))??);
    }
    let per_second = sorted.len() as f64 / began.elapsed().as_secs_f64();
    sorted.sort_unstable();
    Ok(Latencies { sorted, per_second })
}

async fn search_until(
    end: Instant,
    searcher: Searcher,
    queries: Arc<Vec<Vec<f32>>>,
    first: usize,
    filter: &'static Filter,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for query in queries.iter().cycle().skip(first) {
        let began = Instant::now();
        searcher.search(query, filter.bounds).await?;
        latencies.push(began.elapsed());
        if Instant::now() >= end {
            break;
        }
    }
    Ok(latencies)
}

async fn recall(door: &Door, truth: &Truth, filter: usize) -> Result<f64> {
    let Filter { bounds, .. } = FILTERS[filter];
    let searcher = door.prepare(&FILTERS[filter].sql()).await?;
    let mut sum = 0.0;
    for query in 0..CHECKED {
        let ids = searcher.search(&truth.rows.query(query), bounds).await?;
        sum += truth.recall(filter, query, &ids);
    }
    Ok(sum / CHECKED as f64)
}

/// The share of segments that the filter's bounds prune, as EXPLAIN tells it.
async fn pruned_share(session: &Session, rows: Rows, filter: &Filter) -> Result<f64> {
    let mut sql = filter.sql();
    for (number, bound) in filter.bounds.iter().enumerate() {
        sql = sql.replace(&format!("${}", number + 2), &bound.to_string());
    }
    let elements: Vec<String> = rows.query(0).iter().map(ToString::to_string).collect();
    let sql = sql.replace("$1", &format!("'[{}]'", elements.join(",")));
    let batches = session
        .sql(&format!("EXPLAIN {sql}"))
        .await?
        .collect()
        .await?;
    let plans = batches.iter().flat_map(|b| b.columns());
    let lines = plans.flat_map(|column| column.as_string::<i32>().iter().flatten());
    let (mut segments, mut pruned) = (0, 0);
    for line in lines {
        segments = segments.max(number_after(line, "segments="));
        pruned = pruned.max(number_after(line, "pruned="));
    }
    Ok(pruned as f64 / segments.max(1) as f64)
}

fn number_after(line: &str, word: &str) -> usize {
    let digits = line.split_once(word).map(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        &rest[..end.unwrap_or(rest.len())]
    });
    digits.and_then(|d| d.parse().ok()).unwrap_or(0)
}

fn line(name: &str, pruned: f64, latencies: &Latencies, recall: f64) -> String {
    let sorted = &latencies.sorted;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let at = |share: f64| ms(sorted[((sorted.len() - 1) as f64 * share) as usize]);
    let average = sorted.iter().copied().map(ms).sum::<f64>() / sorted.len() as f64;
    format!(
        "| {name:<15} | {:>5.1} % | {average:>9.3} | {:>9.3} | {:>9.3} | {:>9.3} | {:>9.3} | {:>9.1} | {recall:>6.3} |",
        pruned * 100.0,
        at(0.0),
        at(1.0),
        at(0.5),
        at(0.99),
        latencies.per_second,
    )
}
