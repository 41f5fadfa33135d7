//! What happens when queries reach the limits of memory and temporary disk space.

use shelfmark::settings::ByteSize;
use shelfmark::{Database, Error, Session, Settings};

/// About 50 MB of distinct text, more than the pools below hold.
const SORT: &str = "SELECT md5(i::text) AS a, repeat(md5(i::text), 4) AS b FROM generate_series(1, 300000) t (i) ORDER BY b, a";

async fn database(temp_limit: ByteSize) -> Database {
    let settings = Settings {
        memory_limit: ByteSize::mib(64),
        temp_limit,
        ..Settings::default()
    };
    Database::temporary(settings).await.unwrap()
}

async fn failure(session: &Session, sql: &str) -> Error {
    let frame = session.sql(sql).await.unwrap();
    frame.collect().await.unwrap_err().into()
}

async fn still_works(session: &Session) {
    let frame = session.sql("SELECT 1").await.unwrap();
    assert_eq!(frame.count().await.unwrap(), 1);
}

#[tokio::test]
async fn queries_together_keep_to_the_memory_limit() {
    let database = database(ByteSize::mib(1_024)).await;
    let session = database.session();
    // A hash join keeps its smaller side in memory; it cannot spill.
    let rows = "SELECT md5(i::text) AS k, repeat(md5(i::text), 8) AS v FROM generate_series(1, 1000000) t (i)";
    let sql = format!("SELECT a.v, b.v FROM ({rows}) a JOIN ({rows}) b ON a.k = b.k");
    let error = failure(&session, &sql).await;
    assert_eq!(error.sqlstate(), "53200", "{error}");
    assert_eq!(error.message(), "out of memory");
    assert!(error.hint().unwrap().contains("memory_limit"));
    still_works(&session).await;
}

#[tokio::test]
async fn a_sort_that_fits_on_disk_succeeds() {
    let database = database(ByteSize::mib(1_024)).await;
    let session = database.session();
    // One partition: those that merge several do so in memory that all sorters compete for.
    let one = "SET datafusion.execution.target_partitions = 1";
    session.sql(one).await.unwrap().collect().await.unwrap();
    let batches = session.sql(SORT).await.unwrap().collect().await.unwrap();
    let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, 300_000);
}

#[tokio::test]
async fn temporary_files_keep_to_their_limit() {
    let database = database(ByteSize::mib(4)).await;
    let session = database.session();
    let error = failure(&session, SORT).await;
    assert_eq!(error.sqlstate(), "53400", "{error}");
    assert!(error.message().contains("temp_limit"), "{error}");
    still_works(&session).await;
}
