//! Databases of earlier formats open: `tests/format_1` is a whole one, its log files cut behind their last frames.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shelfmark::{Database, Session, Settings};

use super::{files_below, root};

fn copy(from: &Path, to: &Path) {
    let numbered = ["log", "ckpt", "parquet", "bloom"]
        .into_iter()
        .flat_map(|e| files_below(from, e));
    for file in numbered.chain([from.join("LOCK")]) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// Opens a database, which background work of the one before may hold for a moment.
async fn open(data: &Path) -> Database {
    opened_with(data, Settings::default()).await
}

async fn opened_with(data: &Path, settings: Settings) -> Database {
    for _ in 0..500 {
        match Database::open(data, settings.clone()).await {
            Err(e) if e.sqlstate() == "55006" => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays in use", data.display());
}

/// The format that is written.
const FORMAT: u32 = 11;

/// The format of the file whose name is the last.
fn newest_format(directory: &Path) -> u32 {
    let newest = files_below(directory, "log").into_iter().max().unwrap();
    let bytes = fs::read(newest).unwrap();
    u32::from_le_bytes(bytes[8..12].try_into().unwrap())
}

/// What a statement answers, as a table.
async fn text(session: &Session, statement: &str) -> String {
    let frame = session.sql(statement).await.unwrap();
    frame.to_string().await.unwrap()
}

async fn titles(data: &Path) -> String {
    let database = open(data).await;
    let query = "SELECT id, title FROM lib.book ORDER BY id";
    text(&database.session(), query).await
}

/// The rows of the fixtures with a book that was added to a segment.
const FOUR_TITLES: [(u32, &str); 4] = [(1, "Dune"), (3, "Ilias"), (4, "Nana"), (6, "Ulysses")];

/// That titles have these rows, and not the one that was deleted.
fn check_titles(read: &str, rows: &[(u32, &str)]) {
    for (id, title) in rows {
        assert!(read.contains(&format!("| {id}  | {title}")), "{read}");
    }
    assert!(!read.contains("Emma"), "{read}");
}

/// A copy of a database of this repository, and what removes it.
fn copied(fixture: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy(&root().join(fixture), &data);
    (directory, data)
}

#[tokio::test]
async fn format_1_from_its_checkpoint_and_from_its_log_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, log_only) = (directory.path().join("whole"), directory.path().join("log"));
    for data in [&whole, &log_only] {
        copy(&root().join("tests/format_1"), data);
    }
    fs::remove_dir_all(log_only.join("checkpoint")).unwrap();
    let read = titles(&whole).await;
    check_titles(&read, &[(1, "Dune"), (3, "Ilias"), (4, "Nana")]);
    assert_eq!(titles(&log_only).await, read);
    // It is written to in today's format, and read again.
    let database = open(&whole).await;
    let insert = "INSERT INTO lib.book VALUES (5, 'Emil')";
    let frame = database.session().sql(insert).await.unwrap();
    frame.collect().await.unwrap();
    drop(database);
    assert!(titles(&whole).await.contains("Emil"));
}

#[tokio::test]
async fn format_2_with_segments_that_have_no_checksums_of_blocks() {
    let (_directory, data) = copied("tests/format_2");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let near = "SELECT id FROM lib.book WHERE title = 'Ulysses' OR year > 1900 \
                ORDER BY place <-> '[0,0,1]' LIMIT 2";
    assert_eq!(ask(near).await.matches("| ").count(), 3);
    let check = "SELECT count(*) FROM lib.book WHERE place IS NULL";
    assert!(ask(check).await.contains("| 1 "));
    let checked = ask("CHECK TABLE lib.book").await;
    assert_eq!(checked.matches("good").count(), 4, "{checked}");
    // Compaction writes them again, with checksums.
    ask("COMPACT lib.book WITH (CLUSTERING, FULL, WAIT)").await;
    let checked = ask("CHECK TABLE lib.book").await;
    assert!(!checked.contains("damaged"), "{checked}");
    // What older programs did not know: a key that is trained.
    ask("ALTER TABLE lib.book CLUSTER BY (VECTOR(place))").await;
    ask("COMPACT lib.book WITH (CLUSTERING, FULL, WAIT)").await;
    drop(session);
    drop(database);
    assert_eq!(titles(&data).await, read);
    // They would refuse it by its number.
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let key = "SELECT cluster_by, unclustered_segments FROM clustering_information('lib.book')";
    let key = text(&database.session(), key).await;
    assert!(key.contains("| (VECTOR(place)) | 0 "), "{key}");
}

#[tokio::test]
async fn format_3_with_foreign_keys_and_a_trained_key() {
    let (_directory, data) = copied("tests/format_3");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let without = "SELECT count(*) FROM lib.book WHERE author IS NULL";
    assert!(ask(without).await.contains("| 2 "));
    ask("DELETE FROM lib.author WHERE id = 2").await;
    assert!(ask(without).await.contains("| 4 "));
    let key = ask("SELECT cluster_by FROM clustering_information('lib.book')").await;
    assert!(key.contains("(VECTOR(place))"), "{key}");
    // What older programs did not know: types and comments.
    ask("CREATE TYPE lib.state AS ENUM ('worn', 'new')").await;
    ask("CREATE TABLE lib.copy (book BIGINT, state lib.state)").await;
    ask("INSERT INTO lib.copy VALUES (1, 'new'), (3, 'worn')").await;
    ask("COMMENT ON TABLE lib.book IS 'all of them'").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let new = "SELECT book, obj_description('lib.book'::regclass, 'pg_class') FROM lib.copy \
               WHERE state > 'worn'";
    let new = text(&database.session(), new).await;
    assert!(new.contains("| 1    | all of them"), "{new}");
}

#[tokio::test]
async fn format_4_with_types_and_comments() {
    let (_directory, data) = copied("tests/format_4");
    let read = titles(&data).await;
    check_titles(&read, &[(1, "Dune"), (3, "Ilias"), (4, "Nana")]);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let new = "SELECT id, obj_description('lib.book'::regclass, 'pg_class') FROM lib.book \
               WHERE state = 'new' AND key IS NOT NULL";
    let new = ask(new).await;
    assert!(new.contains("| 1  | all of them"), "{new}");
    // What older programs did not know: intervals in columns.
    ask("ALTER TABLE lib.book ADD COLUMN lent INTERVAL DEFAULT '2 weeks'").await;
    ask("UPDATE lib.book SET lent = '1 mon 00:00:00.000001' WHERE id = 4").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let longest = "SELECT max(lent)::text, min(lent)::text FROM lib.book";
    let longest = text(&database.session(), longest).await;
    assert!(
        longest.contains("| 1 mon 00:00:00.000001 | 14 days"),
        "{longest}"
    );
}

#[tokio::test]
async fn format_5_with_columns_of_intervals() {
    let (_directory, data) = copied("tests/format_5");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    // Older programs took what these types say for another type.
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), '|' ORDER BY attnum) \
                 FROM pg_attribute WHERE attrelid = 'lib.book'::regclass AND attnum > 2";
    let types = ask(types).await;
    let expected = "json|character varying(3)|timestamp without time zone|interval";
    assert!(types.contains(expected), "{types}");
    let kept = "SELECT about, seen, lent FROM lib.book WHERE id = 1";
    let kept = ask(kept).await;
    assert!(
        kept.contains(r#"{"b": 1,  "a": 2.50} | 2024-01-01"#),
        "{kept}"
    );
    // What they did not know: digits of seconds.
    ask("ALTER TABLE lib.book ADD COLUMN back TIMESTAMP(0) DEFAULT '2024-02-02 10:00:00.5'").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let back = "SELECT DISTINCT back::text FROM lib.book";
    let back = text(&database.session(), back).await;
    assert!(back.contains("| 2024-02-02 10:00:01"), "{back}");
}

#[tokio::test]
async fn format_6_with_digits_of_seconds_and_characters() {
    let (_directory, data) = copied("tests/format_6");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let kept = "SELECT mark, seen, code FROM lib.book WHERE id = 1";
    let kept = ask(kept).await;
    assert!(
        kept.contains("| ab   | 2024-01-01T10:00:01 | dun"),
        "{kept}"
    );
    // What they did not know: generated columns.
    ask("ALTER TABLE lib.book ADD COLUMN cents INT GENERATED ALWAYS AS (price * 100) STORED").await;
    ask("INSERT INTO lib.book (id, price) VALUES (7, 2.5)").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let cents = "SELECT string_agg(cents::text, ' ' ORDER BY id) FROM lib.book";
    let cents = text(&database.session(), cents).await;
    assert!(cents.contains("| 950 700 300 1200 250 "), "{cents}");
}

#[tokio::test]
async fn format_7_with_views_without_options() {
    let (_directory, data) = copied("tests/format_7");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let named = ask("SELECT string_agg(name, ' ' ORDER BY number) FROM lib.named").await;
    assert!(named.contains("| Dune Ilias Nana "), "{named}");
    // What they did not know: options of views, changes by them, and materialized views.
    ask("ALTER VIEW lib.cheap SET (check_option = local)").await;
    ask("ALTER VIEW lib.cheap ALTER COLUMN title SET DEFAULT 'unnamed'").await;
    ask("CREATE MATERIALIZED VIEW lib.known AS SELECT number FROM lib.named").await;
    ask("CREATE MATERIALIZED VIEW lib.later AS SELECT 1 AS one WITH NO DATA").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let insert = "INSERT INTO lib.cheap (id) VALUES (9)";
    let refused = session.sql(insert).await.unwrap().collect().await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("violates check option"), "{refused}");
    ask("ALTER VIEW lib.cheap RESET (check_option)").await;
    ask(insert).await;
    let known = "SELECT (SELECT title FROM lib.book WHERE id = 9) AS title, count(*)::text || '.' AS n, \
                 (SELECT string_agg(matviewname || ' ' || ispopulated::text, ',' ORDER BY 1) \
                  FROM pg_matviews) AS views FROM lib.known";
    let known = ask(known).await;
    assert!(
        known.contains("| unnamed | 3. | known true,later false "),
        "{known}"
    );
}

#[tokio::test]
async fn format_8_with_views_with_options_and_materialized_views() {
    let (_directory, data) = copied("tests/format_8");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let known = ask("SELECT string_agg(number::text, ' ' ORDER BY number) FROM lib.known").await;
    assert!(known.contains("| 1 3 4 "), "{known}");
    // What they did not know: partitions.
    ask("CREATE TABLE lib.volume (id bigint, key int) PARTITION BY RANGE (key)").await;
    ask("CREATE TABLE lib.few PARTITION OF lib.volume FOR VALUES FROM (1) TO (10)").await;
    ask("INSERT INTO lib.volume SELECT id, key FROM lib.book WHERE key < 10").await;
    ask("ALTER TABLE lib.volume RENAME TO scroll").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    // From the log, then from a checkpoint.
    for _ in 0..2 {
        let settings = Settings {
            checkpoint_commits: 1,
            ..Settings::default()
        };
        let database = opened_with(&data, settings).await;
        let session = database.session();
        let few = text(&session, "SELECT count(*)::text || '.' FROM lib.few").await;
        assert!(few.contains("| 2. "), "{few}");
        let refused = session.sql("INSERT INTO lib.scroll VALUES (1, 10)").await;
        let refused = refused.unwrap().collect().await.unwrap_err().to_string();
        assert!(refused.contains("no partition of relation"), "{refused}");
        text(&session, "COMMENT ON TABLE lib.few IS 'few'").await;
    }
    assert!(!files_below(&data.join("checkpoint"), "ckpt").is_empty());
}

#[tokio::test]
async fn format_8_with_varchar_that_was_text() {
    let (_directory, data) = copied("tests/format_8_texts");
    check_titles(&titles(&data).await, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    // What it did not know: types whose values are texts, and whose names clients see.
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) AS types \
                 FROM pg_attribute WHERE attrelid = 'lib.book'::regclass AND attnum BETWEEN 2 AND 9";
    assert!(ask(types).await.contains("| text,vector(3) "));
    ask("ALTER TABLE lib.book ALTER COLUMN title TYPE VARCHAR").await;
    ask("ALTER TABLE lib.book ADD COLUMN shelf NAME DEFAULT 'a'").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    check_titles(&titles(&data).await, &FOUR_TITLES);
    let database = open(&data).await;
    let named = text(&database.session(), types).await;
    assert!(
        named.contains("| character varying,vector(3),name "),
        "{named}"
    );
}

#[tokio::test]
async fn format_9_with_partitions() {
    let (_directory, data) = copied("tests/format_9");
    let read = titles(&data).await;
    check_titles(&read, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    let ask = |statement| text(&session, statement);
    let few = ask("SELECT count(*)::text || '.' FROM lib.few").await;
    assert!(few.contains("| 2. "), "{few}");
    // What they did not know: functions.
    ask("CREATE FUNCTION lib.title_of(wanted bigint, usual text DEFAULT 'none') RETURNS text \
         LANGUAGE sql STABLE AS 'SELECT coalesce((SELECT title FROM lib.book WHERE id = wanted), usual)'")
    .await;
    ask("CREATE FUNCTION lib.gone() RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
    ask("DROP FUNCTION lib.gone").await;
    ask("CREATE FUNCTION lib.worse(of lib.state) RETURNS lib.state LANGUAGE sql RETURN 'worn'::lib.state")
        .await;
    ask("REVOKE EXECUTE ON FUNCTION lib.worse FROM PUBLIC").await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    // From the log, then from a checkpoint.
    for _ in 0..2 {
        let settings = Settings {
            checkpoint_commits: 1,
            ..Settings::default()
        };
        let database = opened_with(&data, settings).await;
        let session = database.session();
        let called = "SELECT lib.title_of(1) || '.' || lib.title_of(usual => 'no', wanted => 2) \
                      || '.' || lib.worse('new')::text || '.' AS called, count(*)::text || '.' AS n \
                      FROM pg_proc WHERE pronamespace = 'lib'::regnamespace AND proname <> 'title_of'";
        let called = text(&session, called).await;
        assert!(called.contains("| Dune.no.worn. | 1. "), "{called}");
        text(&session, "COMMENT ON TABLE lib.few IS 'few'").await;
    }
    assert!(!files_below(&data.join("checkpoint"), "ckpt").is_empty());
}

#[tokio::test]
async fn format_10_with_functions() {
    let (_directory, data) = copied("tests/format_10");
    check_titles(&titles(&data).await, &FOUR_TITLES);
    let database = open(&data).await;
    let session = database.session();
    // What they did not know: blocks.
    text(
        &session,
        "CREATE FUNCTION lib.titles(least bigint) RETURNS SETOF text LANGUAGE plpgsql AS \
         'BEGIN RETURN QUERY SELECT title FROM lib.books(least) ORDER BY id; END'",
    )
    .await;
    drop(session);
    drop(database);
    assert_eq!(newest_format(&data.join("log")), FORMAT);
    // From the log, then from a checkpoint.
    for _ in 0..2 {
        let settings = Settings {
            checkpoint_commits: 1,
            ..Settings::default()
        };
        let database = opened_with(&data, settings).await;
        let session = database.session();
        let called = "SELECT lib.title_of(1) || '.' || lib.worse('new')::text || '.' || string_agg(t, ',') || '.' AS called \
                      FROM lib.titles(3) AS t";
        let called = text(&session, called).await;
        assert!(
            called.contains("| Dune.worn.Ilias,Nana,Ulysses. |"),
            "{called}"
        );
        text(&session, "COMMENT ON TABLE lib.few IS 'few'").await;
    }
    assert!(!files_below(&data.join("checkpoint"), "ckpt").is_empty());
}
