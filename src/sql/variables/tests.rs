//! Variables of real sessions.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use arrow::array::AsArray;
use futures::TryStreamExt;

use super::Timeouts;
use crate::catalog::options::ShelfmarkOptions;
use crate::sql::format::DateOrder;
use crate::sql::{Session, Severity, Tag};
use crate::storage::transaction::Durability;
use crate::{Database, Result, Settings};

async fn run(session: &Session, text: &str) -> Result<(Tag, Vec<String>)> {
    let outcome = session.run(text).await?;
    let batches: Vec<_> = outcome.stream.try_collect().await?;
    let mut values = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_columns() > 0) {
        let texts = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        values.extend(texts.iter().map(|text| text.unwrap_or("NULL").to_string()));
    }
    Ok((outcome.tag, values))
}

async fn value(session: &Session, text: &str) -> String {
    run(session, text).await.unwrap().1.concat()
}

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    database.session()
}

#[tokio::test]
async fn clients_are_told_of_what_changes() {
    let session = session().await;
    let told: Vec<_> = session.take_changed_parameters();
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "server_version",
        "server_encoding",
        "client_encoding",
        "DateStyle",
        "IntervalStyle",
        "TimeZone",
        "integer_datetimes",
        "standard_conforming_strings",
        "application_name",
        "is_superuser",
        "session_authorization",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(session.take_changed_parameters(), []);
    run(&session, "BEGIN").await.unwrap();
    let set = run(&session, "SET timezone = 'europe/berlin'")
        .await
        .unwrap();
    assert_eq!(set.0, Tag::Done("SET"));
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    assert_eq!(
        session.take_changed_parameters(),
        [pair("TimeZone", "Europe/Berlin")]
    );
    run(&session, "ROLLBACK").await.unwrap();
    assert_eq!(session.take_changed_parameters(), [pair("TimeZone", "UTC")]);
    assert_eq!(value(&session, "SHOW TIME ZONE").await, "UTC");
}

#[tokio::test]
async fn synchronous_commit_says_what_changes_wait_for() {
    let session = session().await;
    let durability = || {
        let state = session.inner.context.state();
        ShelfmarkOptions::durability_of(state.config_options())
    };
    for (text, expected) in [
        ("SELECT 1", Durability::Synced),
        ("SET synchronous_commit = off", Durability::Soon),
        ("SET synchronous_commit = local", Durability::Synced),
        ("BEGIN", Durability::Synced),
        ("SET LOCAL synchronous_commit = off", Durability::Soon),
        ("COMMIT", Durability::Synced),
        ("SET synchronous_commit = 0", Durability::Soon),
        ("RESET synchronous_commit", Durability::Synced),
    ] {
        run(&session, text).await.unwrap();
        assert_eq!(
            (durability(), session.durability()),
            (expected, expected),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_client_says_what_reset_goes_back_to() {
    let session = session().await;
    session.set_at_startup("application_name", "psql").unwrap();
    session.set_at_startup("statement_timeout", "2s").unwrap();
    session.set_at_startup("datestyle", "sql, dmy").unwrap();
    for (name, value, code) in [
        ("nonsense", "1", "42704"),
        ("client_encoding", "latin0", "22023"),
        ("server_version", "1", "55P02"),
        ("is_superuser", "on", "55P02"),
    ] {
        let error = session.set_at_startup(name, value).unwrap_err();
        assert_eq!(error.sqlstate(), code, "{name}");
    }
    run(&session, "SET application_name = 'other'")
        .await
        .unwrap();
    run(&session, "SET statement_timeout TO DEFAULT")
        .await
        .unwrap();
    run(&session, "SET idle_session_timeout = '1min'")
        .await
        .unwrap();
    let timeouts = Timeouts {
        statement: Some(Duration::from_secs(2)),
        idle_session: Some(Duration::from_secs(60)),
        ..Timeouts::default()
    };
    assert_eq!(session.timeouts(), timeouts);
    assert_eq!(session.style().date_order, DateOrder::Dmy);
    run(&session, "RESET ALL").await.unwrap();
    assert_eq!(value(&session, "SHOW application_name").await, "psql");
    assert_eq!(session.timeouts().idle_session, None);
}

#[tokio::test]
async fn notices_are_those_that_the_client_wants() {
    let session = session().await;
    for text in [
        "SET hnsw.ef_search = 100",
        "SET ivfflat.probes = 3",
        "SET client_min_messages = warning",
        "CREATE TABLE t (id INT)",
        "CREATE TABLE IF NOT EXISTS t (id INT)",
        "SET client_min_messages = error",
        "COMMIT",
    ] {
        run(&session, text).await.unwrap();
    }
    let notices = session.take_notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].message.contains("exact"));
    run(&session, "RESET client_min_messages").await.unwrap();
    run(&session, "SET LOCAL work_mem = 100").await.unwrap();
    let notices = session.take_notices();
    assert_eq!(notices[0].severity, Severity::Warning);
    assert_eq!(notices[0].sqlstate, "25P01");
}

#[tokio::test]
async fn a_kept_plan_reads_the_value_of_its_time() {
    let session = session().await;
    let text = "SELECT current_setting('app.user', true)";
    let prepared = session.prepare(text, &[]).await.unwrap();
    for (set, expected) in [("SET app.user = 'a'", "a"), ("SET app.user = 'b'", "b")] {
        run(&session, set).await.unwrap();
        let outcome = session.execute(&prepared, vec![]).await.unwrap();
        let batches: Vec<_> = outcome.stream.try_collect().await.unwrap();
        let column = batches[0].column(0).as_string::<i32>();
        assert_eq!(column.value(0), expected);
    }
}

#[tokio::test]
async fn the_path_names_schemas_of_the_user() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for text in [
        "CREATE SCHEMA ada",
        "CREATE TABLE public.t (id INT)",
        "CREATE TABLE ada.t (id INT)",
        "INSERT INTO ada.t VALUES (7)",
        "CREATE TABLE segments (id INT)",
        "INSERT INTO segments VALUES (3)",
    ] {
        run(&session, text).await.unwrap();
    }
    assert_eq!(value(&session, "SELECT id FROM segments").await, "3");
    assert_eq!(value(&session, "SELECT id FROM t").await, "");
    session.set_user("ada", false);
    assert_eq!(value(&session, "SELECT id FROM t").await, "7");
    assert_eq!(value(&session, "SHOW is_superuser").await, "off");
    let error = run(&session, "SET lc_messages = 'C'").await.unwrap_err();
    assert_eq!(error.sqlstate(), "42501");
}
