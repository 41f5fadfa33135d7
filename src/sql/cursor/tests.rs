//! Cursors and prepared statements of real sessions.

#![allow(clippy::unwrap_used)]

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use crate::sql::{Session, Tag};
use crate::{Database, Settings};

/// Runs a statement as a driver does by the extended protocol: prepared, then executed.
async fn run(session: &Session, text: &str) -> crate::Result<(Tag, Vec<i64>)> {
    let prepared = session.prepare(text, &[]).await?;
    let outcome = session.execute(&prepared, vec![]).await?;
    assert_eq!(
        prepared.schema().fields().len(),
        outcome.schema.fields().len()
    );
    let batches: Vec<_> = outcome.stream.try_collect().await?;
    let columns = batches.iter().filter(|batch| batch.num_columns() > 0);
    let values = columns.flat_map(|batch| {
        let numbers = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Int64);
        numbers
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    Ok((outcome.tag, values.collect()))
}

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    database.session()
}

#[tokio::test]
async fn cursors_work_by_the_extended_protocol() {
    let session = session().await;
    run(&session, "START TRANSACTION").await.unwrap();
    let text = "DECLARE c CURSOR FOR SELECT value FROM generate_series(1, 50000) AS g(value)";
    let declared = run(&session, text).await.unwrap();
    assert_eq!(declared.0, Tag::Done("DECLARE CURSOR"));
    let fetched = run(&session, "FETCH 3 FROM c").await.unwrap();
    assert_eq!(fetched, (Tag::Fetched { binary: false }, vec![1, 2, 3]));
    assert_eq!(fetched.0.text(3), "FETCH 3");
    let moved = run(&session, "MOVE 20000 IN c").await.unwrap();
    assert_eq!(moved, (Tag::Count("MOVE"), vec![20_000]));
    assert_eq!(run(&session, "FETCH c").await.unwrap().1, [20_004]);
    assert_eq!(run(&session, "FETCH ALL c").await.unwrap().1.len(), 29_996);
    let listed = session.cursors();
    assert_eq!((listed.len(), listed[0].statement.as_str()), (1, text));
    let closed = run(&session, "CLOSE c").await.unwrap();
    assert_eq!(closed.0, Tag::Done("CLOSE CURSOR"));
    assert_eq!(session.cursors(), []);
}

#[tokio::test]
async fn columns_of_fetch_and_execute_are_called_as_those_of_the_query() {
    let session = session().await;
    let query = "SELECT count(*), 1::int, 2 + 3, max(x) AS most FROM (VALUES (1)) AS v (x)";
    run(&session, "BEGIN").await.unwrap();
    for text in [
        format!("DECLARE c CURSOR FOR {query}"),
        format!("PREPARE p AS {query}"),
    ] {
        run(&session, &text).await.unwrap();
    }
    for text in [query, "FETCH c", "EXECUTE p"] {
        let prepared = session.prepare(text, &[]).await.unwrap();
        let schema = prepared.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["count", "int4", "?column?", "most"], "{text}");
    }
}

#[tokio::test]
async fn a_cursor_that_only_goes_forward_keeps_nothing() {
    let session = session().await;
    let pool = std::sync::Arc::clone(&session.context().runtime_env().memory_pool);
    run(&session, "BEGIN").await.unwrap();
    let rows = "FOR SELECT value FROM generate_series(1, 400000) AS g(value)";
    for (name, scroll) in [("forward", "NO SCROLL"), ("back", "SCROLL")] {
        let text = format!("DECLARE {name} {scroll} CURSOR {rows}");
        run(&session, &text).await.unwrap();
        let moved = run(&session, &format!("MOVE ALL FROM {name}"))
            .await
            .unwrap();
        assert_eq!(moved.1, [400_000]);
        let kept = pool.reserved();
        assert_eq!(kept > 1 << 20, name == "back", "{name} keeps {kept} bytes");
    }
    assert_eq!(run(&session, "FETCH FIRST FROM back").await.unwrap().1, [1]);
    let error = run(&session, "FETCH FIRST FROM forward").await.unwrap_err();
    assert_eq!(error.sqlstate(), "55000");
    run(&session, "ROLLBACK").await.unwrap();
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn prepared_statements_have_the_tags_of_what_they_do() {
    let session = session().await;
    let made = run(
        &session,
        "CREATE TABLE t AS SELECT 1 AS id UNION ALL SELECT 2",
    )
    .await;
    assert_eq!(made.unwrap(), (Tag::Count("SELECT"), vec![2]));
    let prepared = run(&session, "PREPARE p (int) AS DELETE FROM t WHERE id = $1").await;
    assert_eq!(prepared.unwrap().0, Tag::Done("PREPARE"));
    let named = session.named_statements();
    assert_eq!((named[0].0.as_str(), named[0].1.from_sql), ("p", true));
    let deleted = run(&session, "EXECUTE p(1)").await.unwrap();
    assert_eq!(deleted, (Tag::Count("DELETE"), vec![1]));
    run(&session, "BEGIN").await.unwrap();
    let deleted = run(&session, "EXECUTE p(2)").await.unwrap();
    assert_eq!(deleted, (Tag::Count("DELETE"), vec![1]));
    run(&session, "COMMIT").await.unwrap();
    let tag = run(&session, "DEALLOCATE ALL").await.unwrap().0;
    assert_eq!(tag, Tag::Done("DEALLOCATE ALL"));
    assert!(session.named_statements().is_empty());
}
