#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::common::collect;

use crate::database::Database;
use crate::error::Error;
use crate::settings::Settings;
use crate::sql::{Outcome, Session};

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for text in [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, x DOUBLE PRECISION, s TEXT, d DATE,
                         ts TIMESTAMP, ok BOOLEAN, price NUMERIC(10,2), e VECTOR(3))",
        "INSERT INTO t VALUES (1, 10, 1.5, 'one', '2020-01-01', '2020-01-01 00:00:00', true, 1.25, '[1,0,0]'),
                              (2, 20, 2.5, 'two', '2020-01-02', '2020-01-02 00:00:00', false, 2.25, '[0,1,0]'),
                              (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ] {
        rows(session.run(text).await.unwrap()).await.unwrap();
    }
    session
}

async fn rows(outcome: Outcome) -> Result<String, Error> {
    let batches = collect(outcome.stream).await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

fn names(fields: &[FieldRef]) -> String {
    let names = fields.iter().map(|field| match field.data_type() {
        DataType::Int16 => "int2".to_string(),
        DataType::Int32 => "int4".to_string(),
        DataType::Int64 => "int8".to_string(),
        DataType::Float64 => "float8".to_string(),
        DataType::Utf8 => "text".to_string(),
        DataType::Boolean => "bool".to_string(),
        DataType::Date32 => "date".to_string(),
        DataType::Timestamp(..) => "timestamp".to_string(),
        DataType::Interval(_) => "interval".to_string(),
        DataType::Decimal128(..) => "numeric".to_string(),
        DataType::FixedSizeList(_, n) => format!("vector({n})"),
        DataType::List(element) => format!("{}[]", names(&[Arc::clone(element)])),
        other => other.to_string(),
    });
    names.collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn types_of_parameters_follow_from_their_places() {
    let session = session().await;
    let mut wrong = Vec::new();
    for (text, expected) in [
        ("SELECT * FROM t WHERE id = $1", "int8"),
        ("SELECT * FROM t WHERE $1 < n", "int4"),
        ("SELECT * FROM t WHERE s LIKE $1", "text"),
        ("SELECT * FROM t WHERE n IN ($1, $2, 3)", "int4,int4"),
        ("SELECT * FROM t WHERE $1 IN (n, 3)", "int4"),
        ("SELECT * FROM t WHERE n BETWEEN $1 AND $2", "int4,int4"),
        ("SELECT * FROM t WHERE n = ANY($1)", "int4[]"),
        ("SELECT * FROM t WHERE s = ANY($1)", "text[]"),
        ("SELECT * FROM t WHERE ok = $1 OR $2", "bool,bool"),
        ("SELECT * FROM t WHERE NOT $1", "bool"),
        ("SELECT * FROM t WHERE d = $1 AND ts > $2", "date,timestamp"),
        ("SELECT * FROM t WHERE ts > ts - $1::interval", "interval"),
        ("SELECT * FROM t WHERE price > $1", "numeric"),
        ("SELECT * FROM t WHERE n + $1 > $2", "int4,int4"),
        (
            "SELECT id FROM t ORDER BY e <-> $1 LIMIT $2 OFFSET $3",
            "vector(3),int8,int8",
        ),
        ("SELECT l2_distance(e, $1) FROM t", "vector(3)"),
        ("SELECT e + $1 FROM t", "vector(3)"),
        ("SELECT $1", "text"),
        ("SELECT $1 AS a, $2::int", "text,int4"),
        ("SELECT $1::bigint + 1", "int8"),
        ("SELECT $1 || 'a'", "text"),
        ("SELECT $1 = $2", "text,text"),
        ("SELECT coalesce($1, n) FROM t", "int4"),
        ("SELECT pg_cancel_backend($1)", "int4"),
        ("SELECT nullif(s, $1) FROM t", "text"),
        ("SELECT CASE WHEN $1 THEN n ELSE $2 END FROM t", "bool,int4"),
        (
            "SELECT CASE n WHEN $1 THEN 'a' ELSE $2 END FROM t",
            "int4,text",
        ),
        ("SELECT upper($1)", "text"),
        ("SELECT length($1) + $2", "text,int4"),
        ("SELECT sum(x) FILTER (WHERE n > $1) FROM t", "int4"),
        (
            "SELECT s, sum(n) FROM t GROUP BY s HAVING sum(n) > $1",
            "int8",
        ),
        (
            "SELECT * FROM t WHERE n = (SELECT max(n) FROM t WHERE s = $1)",
            "text",
        ),
        ("SELECT * FROM t WHERE $1 IN (SELECT n FROM t)", "int4"),
        ("SELECT * FROM t WHERE n IN (SELECT $1)", "int4"),
        (
            "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM t u WHERE u.n = t.n AND u.s = $1)",
            "text",
        ),
        (
            "WITH c AS (SELECT * FROM t WHERE n = $2) SELECT * FROM c WHERE s = $1",
            "text,int4",
        ),
        (
            "SELECT * FROM t JOIN t u ON t.id = u.id AND u.n = $1",
            "int4",
        ),
        ("SELECT n FROM t UNION ALL SELECT $1", "int4"),
        ("VALUES ($1, 2), ('a', $2)", "text,int4"),
        ("SELECT $1 + 1, 3000000000 - $2", "int4,int8"),
        (
            "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            "int8,int4,float8,text,date,timestamp,bool,numeric,vector(3)",
        ),
        (
            "INSERT INTO t (e, id) VALUES ($1, $2), ($3, 4)",
            "vector(3),int8,vector(3)",
        ),
        ("INSERT INTO t (id, n) SELECT $1, $2", "int8,int4"),
        (
            "INSERT INTO t (id, s) SELECT id + $1, $2 FROM t WHERE n > $3",
            "int8,text,int4",
        ),
        (
            "INSERT INTO t (id, n) SELECT $1, 5 UNION ALL SELECT 7, $2",
            "int8,int4",
        ),
        (
            "UPDATE t SET n = $1, e = $2 WHERE id = $3",
            "int4,vector(3),int8",
        ),
        ("UPDATE t SET n = n + $1", "int4"),
        ("DELETE FROM t WHERE id = $1", "int8"),
        ("EXPLAIN SELECT * FROM t WHERE id = $1", "int8"),
        ("SELECT $2::int, $1", "text,int4"),
        ("SELECT $1::vector(3)", "vector(3)"),
        ("SELECT $1::int[]", "int4[]"),
        ("SELECT n FROM t ORDER BY $1", "text"),
        ("CREATE TABLE u (a INT)", ""),
        ("SET timezone = 'UTC'", ""),
        ("SHOW timezone", ""),
        ("DROP TABLE IF EXISTS nothing", ""),
    ] {
        let found = match session.prepare(text, &[]).await {
            Ok(prepared) => names(prepared.parameters()),
            Err(e) => e.to_string(),
        };
        if found != expected {
            wrong.push(format!("{text}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_the_client_declares_stays() {
    let session = session().await;
    let int2 = Some(Arc::new(Field::new("", DataType::Int16, true)));
    let prepared = session
        .prepare("SELECT * FROM t WHERE id = $1", std::slice::from_ref(&int2))
        .await
        .unwrap();
    assert_eq!(names(prepared.parameters()), "int2");
    let values = vec![ScalarValue::Int16(Some(2))];
    let answer = rows(session.execute(&prepared, values).await.unwrap())
        .await
        .unwrap();
    assert!(answer.contains("two"), "{answer}");
    let prepared = session
        .prepare("SELECT $1", std::slice::from_ref(&int2))
        .await
        .unwrap();
    assert_eq!(prepared.schema().field(0).data_type(), &DataType::Int16);
    // One that the statement does not have is kept too.
    let prepared = session.prepare("SELECT $1", &[None, int2]).await.unwrap();
    assert_eq!(names(prepared.parameters()), "text,int2");
}

#[tokio::test]
async fn types_that_nothing_tells_are_errors() {
    let session = session().await;
    for (text, sqlstate) in [
        ("SELECT $1 IS NULL", "42P18"),
        ("SELECT $2::int", "42P18"),
        ("SELECT $0", "42P02"),
        ("SELECT $70000", "54023"),
        ("SELECT $1 FROM nothing", "42P01"),
    ] {
        let error = session.prepare(text, &[]).await.err();
        let found = error.as_ref().map(Error::sqlstate);
        assert_eq!(found, Some(sqlstate), "{text}: {error:?}");
    }
    let error = session.run("SELECT $1").await.err().unwrap();
    assert_eq!(error.sqlstate(), "42P02");
}

#[tokio::test]
async fn statements_of_every_kind_execute_with_values() {
    let session = session().await;
    let int = |n| ScalarValue::Int64(Some(n));
    let text = |s: &str| ScalarValue::Utf8(Some(s.to_string()));
    for (statement, values, expected) in [
        ("SELECT s FROM t WHERE id = $1", vec![int(2)], "two"),
        (
            "SELECT id FROM t ORDER BY e <-> $1 LIMIT $2",
            vec![text("[0,1,0]"), int(1)],
            "| 2 ",
        ),
        (
            "INSERT INTO t (id, n, e) VALUES ($1, $2, $3)",
            vec![int(9), int(90), text("[0,0,9]")],
            "| 1 ",
        ),
        (
            "SELECT n FROM t WHERE id = ANY($1)",
            vec![ScalarValue::List(ScalarValue::new_list_nullable(
                &[int(9)],
                &DataType::Int64,
            ))],
            "90",
        ),
        (
            "UPDATE t SET n = n + $1 WHERE id = $2",
            vec![int(5), int(9)],
            "| 1 ",
        ),
        ("SELECT n FROM t WHERE id = $1", vec![int(9)], "95"),
        ("DELETE FROM t WHERE id = $1", vec![int(9)], "| 1 "),
        ("SELECT count(*) FROM t WHERE id = $1", vec![int(9)], "| 0 "),
    ] {
        let prepared = session.prepare(statement, &[]).await.unwrap();
        let outcome = session.execute(&prepared, values).await.unwrap();
        let answer = rows(outcome).await.unwrap();
        assert!(answer.contains(expected), "{statement}\n{answer}");
    }
    let prepared = session.prepare("SELECT $1", &[]).await.unwrap();
    let error = session.execute(&prepared, vec![]).await.err().unwrap();
    assert_eq!(error.sqlstate(), "08P01");
}

#[tokio::test]
async fn an_execution_sees_the_newest_version() {
    let session = session().await;
    let count = session
        .prepare("SELECT count(*) AS c FROM t WHERE id > $1", &[])
        .await
        .unwrap();
    let insert = session
        .prepare("INSERT INTO t (id) VALUES ($1)", &[])
        .await
        .unwrap();
    for id in 4..8 {
        let zero = vec![ScalarValue::Int64(Some(0))];
        let answer = rows(session.execute(&count, zero).await.unwrap())
            .await
            .unwrap();
        assert!(answer.contains(&format!("| {} ", id - 1)), "{answer}");
        let values = vec![ScalarValue::Int64(Some(id))];
        rows(session.execute(&insert, values).await.unwrap())
            .await
            .unwrap();
    }
}
