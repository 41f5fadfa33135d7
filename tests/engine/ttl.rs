//! Times to live: a collection whose rows expire is one with a WHERE, whatever is asked and whatever was compacted.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shelfmark::{Database, Error, Session, Settings};

/// A type of the column by which rows live, how long they do, and the unit of their times.
const TYPES: [(&str, &str, &str); 3] = [
    ("TIMESTAMPTZ", "1 hour", "minutes"),
    ("TIMESTAMP", "0s", "seconds"),
    ("DATE", "40 days", "days"),
];

/// Queries of a relation, with a WHERE of their own.
const QUERIES: [&str; 7] = [
    "SELECT id, k, at, v FROM {t} r WHERE true {alive} ORDER BY id",
    "SELECT count(*), min(k), max(at), max(id) FROM {t} r WHERE true {alive}",
    "SELECT k % 3, count(*), sum(id) FROM {t} r WHERE k > {n} {alive} GROUP BY 1 ORDER BY 1",
    "SELECT id FROM {t} r WHERE true {alive} ORDER BY v <-> '[{n},1]', id LIMIT 5",
    "SELECT id FROM {t} r WHERE k < {n} {alive} ORDER BY v <=> '[1,{n}]', id LIMIT 3",
    "SELECT count(*) FROM {t} r WHERE EXISTS (SELECT 1 FROM {t} s WHERE s.id = r.id AND s.k <> {n} {alive})",
    "SELECT id FROM {t} r WHERE at IS NULL AND k = {n} {alive} ORDER BY id",
];

async fn text(session: &Session, sql: &str) -> String {
    let frame = session.sql(sql).await;
    let text = match frame {
        Ok(frame) => frame.to_string().await.map_err(Error::from),
        Err(error) => Err(error),
    };
    text.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_expire_are_a_filter() {
    for (seed, (column, ttl, unit)) in TYPES.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.set("compaction.auto", "off").unwrap();
        let database = Database::open(directory.path(), settings).await.unwrap();
        let session = database.session();
        let columns = format!("(id INT, k INT CLUSTERING KEY, at {column}, v VECTOR(2))");
        text(&session, &format!("CREATE TABLE plain {columns}")).await;
        let options = format!("segment.max_rows = 50, ttl = '{ttl}', ttl_column = at");
        text(
            &session,
            &format!("CREATE TABLE living {columns} WITH ({options})"),
        )
        .await;
        let ttl = if ttl == "0s" { "0 hours" } else { ttl };
        let alive = format!("AND (at IS NULL OR at > CAST(now() - interval '{ttl}' AS {column}))");
        let mut random = StdRng::seed_from_u64(seed as u64);
        for round in 0..12 {
            change(&session, &mut random, (round * 60, column, unit)).await;
            let n = random.random_range(0..20).to_string();
            for query in QUERIES {
                let query = query.replace("{n}", &n);
                let filtered = query.replace("{t}", "plain").replace("{alive}", &alive);
                let query = query.replace("{t}", "living").replace("{alive}", "");
                // In a block it is the same time for both.
                text(&session, "BEGIN").await;
                let expected = text(&session, &filtered).await;
                let found = text(&session, &query).await;
                text(&session, "COMMIT").await;
                assert_eq!(found, expected, "{column}, round {round}: {query}");
            }
        }
    }
}

/// Rows on both sides of the time that expires, and what statements and compactions do with them.
async fn change(session: &Session, random: &mut StdRng, (first, column, unit): (u64, &str, &str)) {
    match random.random_range(0..5) {
        0 => drop(text(session, "COMPACT living WITH (WAIT)").await),
        1 => drop(text(session, "COMPACT living WITH (CLUSTERING, WAIT)").await),
        2 => {
            let k = random.random_range(0..20);
            for table in ["plain", "living"] {
                text(session, &format!("DELETE FROM {table} WHERE k = {k}")).await;
            }
        }
        _ => {}
    }
    let rows: Vec<String> = (first..first + 60)
        .map(|id| {
            let ago: i32 = random.random_range(-20..100);
            let at = match id % 13 {
                0 => "NULL".to_string(),
                _ => format!("CAST(now() - interval '{ago} {unit}' AS {column})"),
            };
            let (x, y) = (random.random_range(0..17), random.random_range(0..5));
            format!("({id}, {}, {at}, '[{x},{y}]')", id * 7 % 20)
        })
        .collect();
    text(
        session,
        &format!("INSERT INTO plain VALUES {}", rows.join(", ")),
    )
    .await;
    let sql = format!("INSERT INTO living SELECT * FROM plain WHERE id >= {first}");
    text(session, &sql).await;
}
