//! Statements that are too complex: 54001 (54000 for sheer size) at once, over both protocols, and nobody else notices.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::raw::{self, Raw};
use super::wire::TestServer;

/// Far more than a refusal takes, also without optimisation on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How a bomb begins, what it repeats, how it ends, and how often that is refused.
const CHAINS: &[(&str, &str, &str, usize)] = &[
    ("SELECT 1", " + 1", "", 20_000),
    ("SELECT 1", "::int", "", 20_000),
    ("SELECT ", "- ", "1", 20_000),
    ("SELECT ", "NOT ", "true", 20_000),
    ("SELECT true", " AND true", "", 20_000),
    ("SELECT true", " OR true", "", 20_000),
    ("SELECT 1", " IS NULL", "", 20_000),
    ("SELECT 1", " BETWEEN SYMMETRIC 0 AND 2", "", 40),
    ("SELECT 'a'", " || 'a'", "", 20_000),
    ("SELECT 'a'", " COLLATE \"C\"", "", 20_000),
    ("SELECT ARRAY[1]", "[1]", "", 20_000),
    ("SELECT 1", " UNION ALL SELECT 1", "", 20_000),
    ("SELECT 1, 2", " EXCEPT SELECT 1, 2", "", 20_000),
    ("SELECT * FROM t", ", t", "", 20_000),
    ("SELECT * FROM t", " JOIN t USING (id)", "", 20_000),
    ("SELECT 1::ARRAY", "<ARRAY", "", 20_000),
    ("SELECT 1::int", "[]", "", 20_000),
    ("SELECT ", "(", "1", 20_000),
    ("SELECT ", "ARRAY[", "1", 20_000),
    ("SELECT ", "abs(", "1", 20_000),
    ("SELECT ", "CASE WHEN true THEN 1 ELSE ", "1", 20_000),
    ("SELECT ", "(SELECT ", "1", 20_000),
    ("SELECT * FROM ", "(SELECT * FROM ", "t", 20_000),
    ("SELECT * FROM ", "(", "t", 20_000),
    (
        "SELECT 1 WHERE 1 IN ",
        "(SELECT 1 WHERE 1 IN ",
        "(1)",
        20_000,
    ),
    ("INSERT INTO t VALUES (1", " + 1", ")", 20_000),
    ("DELETE FROM t WHERE id = 1", " OR id = 1", "", 20_000),
];

/// Not longer than others, but the parser would read them again and again.
const NESTED: &[(&str, &str, &str)] = &[
    ("SELECT ", "abs(", "1"),
    ("SELECT ", "ARRAY[", "1"),
    ("SELECT ", "(", "1"),
    ("SELECT * FROM ", "(", "t"),
    ("SELECT 1 IN ", "(1 IN ", "(1)"),
    ("SELECT ", "CAST(", "1"),
    ("SELECT ", "count(*) FILTER (WHERE ", "1"),
    ("SELECT ", "coalesce(1, ", "1"),
    ("SELECT ", "nullif(1, ", "1"),
    ("SELECT ", "upper(lower(", "'a'"),
    ("SELECT ", "1 + (2 * ", "1"),
    ("SELECT ", "NOT (", "true"),
    ("SELECT ", "ROW(", "1"),
    ("SELECT ", "(1, ", "1"),
    (
        "SELECT 1 FROM t WHERE ",
        "EXISTS (SELECT 1 FROM t WHERE ",
        "true",
    ),
    (
        "SELECT 1 FROM t WHERE 1 IN ",
        "(SELECT 1 FROM t WHERE 1 IN ",
        "(1)",
    ),
    ("SELECT ", "(SELECT ", "1"),
];

fn bombs() -> Vec<String> {
    let chains = CHAINS
        .iter()
        .map(|(begin, middle, end, times)| format!("{begin}{}{end}", middle.repeat(*times)));
    let doubling = (1..40).map(|n| {
        let below = n - 1;
        format!(", c{n} AS (SELECT a.x FROM c{below} a JOIN c{below} b ON a.x = b.x)")
    });
    let doubling: String = doubling.collect();
    let common = format!("WITH c0 AS (SELECT 1 AS x){doubling} SELECT count(*) FROM c39");
    let nesting = (1..40).map(|n| {
        let below = n - 1;
        format!(", c{n} AS (SELECT 1 AS x FROM t WHERE EXISTS (SELECT 1 FROM c{below}))")
    });
    let nesting: String = nesting.collect();
    let subqueries = format!("WITH c0 AS (SELECT 1 AS x){nesting} SELECT count(*) FROM c39");
    chains.chain([common, subqueries]).collect()
}

async fn still_works(client: &Client) {
    let begun = Instant::now();
    client.simple_query("SELECT count(*) FROM t").await.unwrap();
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_at_once_over_both_protocols() {
    let server = TestServer::start().await;
    let other = server.client().await;
    other.simple_query("CREATE TABLE t (id INT)").await.unwrap();
    let mut client = Raw::connect(&server).await;
    for bomb in bombs() {
        let shown = &bomb[..bomb.len().min(60)];
        let begun = Instant::now();
        let messages = client.simple(&bomb).await;
        assert_eq!(raw::sqlstate(&messages), "54001", "{shown}");
        let messages = client.extended(&bomb).await;
        assert_eq!(raw::sqlstate(&messages), "54001", "{shown}");
        assert!(begun.elapsed() < AT_ONCE, "{shown}: {:?}", begun.elapsed());
        still_works(&other).await;
    }
    server.stop().await;
}

/// Whether it is an answer, a syntax error or 54001: it comes at once.
#[tokio::test(flavor = "multi_thread")]
async fn nested_texts_of_any_depth_are_answered_at_once() {
    let server = TestServer::start().await;
    let other = server.client().await;
    other.simple_query("CREATE TABLE t (id INT)").await.unwrap();
    let mut client = Raw::connect(&server).await;
    for (begin, middle, end) in NESTED {
        for times in [10, 20, 30, 48, 64, 100, 126] {
            for close in [true, false] {
                let close = if close { ")" } else { "" };
                let close = if middle.ends_with('[') && !close.is_empty() {
                    "]"
                } else {
                    close
                };
                let text = format!(
                    "{begin}{}{end}{}",
                    middle.repeat(times),
                    close.repeat(times)
                );
                let begun = Instant::now();
                client.simple(&text).await;
                assert!(begun.elapsed() < AT_ONCE, "{text}: {:?}", begun.elapsed());
            }
        }
    }
    still_works(&other).await;
    server.stop().await;
}

/// Twenty calls in each other are what people write; sqlparser alone takes seconds for them.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_not_too_complex() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE t (id INT, key INT); INSERT INTO t VALUES (1, 1), (500, 7)")
        .await
        .unwrap();
    let count = async |text: String| {
        let row = client.query_one(&text, &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let calls = format!("SELECT {}1{}::bigint", "abs(".repeat(24), ")".repeat(24));
    assert_eq!(count(calls).await, 1);
    let terms = " OR (id = 500 AND key = 7)".repeat(1_000);
    let text = format!("SELECT count(*) FROM t WHERE id = 1{terms}");
    assert_eq!(count(text).await, 2);
    let terms = " AND id <> 7".repeat(400);
    let text = format!("SELECT count(*) FROM t WHERE id > 1{terms}");
    assert_eq!(count(text).await, 1);
    let text = format!("SELECT count(*) FROM t WHERE id IN ({})", list(20_000));
    assert_eq!(count(text).await, 2);
    let sum = format!("SELECT (1{})::bigint", " + 1".repeat(200));
    assert_eq!(count(sum).await, 201);
    let union = format!(
        "SELECT count(*) FROM (SELECT 1{}) u",
        " UNION ALL SELECT 1".repeat(100)
    );
    assert_eq!(count(union).await, 101);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_double_or_nest_without_end_are_refused() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE t (id INT); CREATE VIEW v0 AS SELECT id FROM t")
        .await
        .unwrap();
    let mut refused = None;
    for n in 1..40 {
        let below = n - 1;
        let sql = format!(
            "CREATE VIEW v{n} AS SELECT a.id FROM v{below} a JOIN v{below} b ON a.id = b.id"
        );
        if let Err(e) = client.batch_execute(&sql).await {
            refused = Some(e);
            break;
        }
    }
    let refused = refused.expect("the plans of forty doublings do not fit anywhere");
    assert_eq!(refused.code().unwrap().code(), "54001", "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_too_many_bytes_is_refused() {
    let settings = shelfmark::Settings {
        statement_max_size: shelfmark::settings::ByteSize(20_000),
        ..Default::default()
    };
    let database = shelfmark::Database::temporary(settings).await.unwrap();
    let server = TestServer::over(database, |_| {}).await;
    let mut client = Raw::connect(&server).await;
    let text = format!("SELECT '{}'", "x".repeat(20_000));
    assert_eq!(raw::sqlstate(&client.simple(&text).await), "54000");
    assert_eq!(raw::sqlstate(&client.extended(&text).await), "54000");
    assert_eq!(raw::kinds(&client.simple("SELECT 1").await), "TDCZ");
    server.stop().await;
}
