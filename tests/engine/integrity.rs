//! Files that are not what was written: each is found, told with its name, and costs no more than what was in it.
//! Backups, and the ways back from them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shelfmark::{Database, Error, Result, Settings};

use super::{files_below, program};

/// Opens a database, which background work of the one before may hold for a moment.
async fn open(data: &Path) -> Result<Database> {
    let mut settings = Settings::default();
    settings.set("checkpoint.commits", "3").unwrap();
    settings.set("compaction.auto", "off").unwrap();
    loop {
        match Database::open(data, settings.clone()).await {
            Err(e) if e.sqlstate() == "55006" => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened,
        }
    }
}

async fn text(database: &Database, sql: &str) -> Result<String> {
    let frame = database.session().sql(sql).await?;
    frame.to_string().await.map_err(Error::from)
}

async fn run(database: &Database, statements: &[&str]) {
    for statement in statements {
        text(database, statement).await.unwrap();
    }
}

async fn back_up(database: &Database, target: &Path) -> Result<String> {
    let sql = format!("BACKUP DATABASE TO '{}'", target.display());
    text(database, &sql).await
}

/// A database with sealed segments, an index in files of its own, growing rows, checkpoints and a log.
async fn make(data: &Path) {
    let database = open(data).await.unwrap();
    let statements = [
        "CREATE TABLE book (id BIGINT PRIMARY KEY, title TEXT, place VECTOR(8)) CLUSTER BY (id)",
        "INSERT INTO book SELECT value, 'title ' || value, '[1,2,3,4,5,6,7,8]' FROM generate_series(1, 500) AS g(value)",
        "COMPACT book WITH (WAIT)",
        "CREATE INDEX book_title ON book (title)",
        "CREATE TABLE shelf (id BIGINT PRIMARY KEY)",
        "INSERT INTO shelf SELECT value FROM generate_series(1, 50) AS g(value)",
        "COMPACT shelf WITH (WAIT)",
        "INSERT INTO shelf VALUES (1000)",
    ];
    run(&database, &statements).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.unwrap().file_name()),
        );
        match path.is_dir() {
            true => copy(&path, &to),
            false => fs::copy(&path, &to).map(drop).unwrap(),
        }
    }
}

fn shelfmark(arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    let output = program().args(arguments).args(paths).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_damaged_segment_is_told_and_everything_else_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    make(&data).await;
    assert!(shelfmark(&["verify"], &[&data]).0);
    let file = files_below(&data.join("segments/1"), "parquet")
        .pop()
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5_000] ^= 0x10;
    fs::write(&file, bytes).unwrap();
    let database = open(&data).await.unwrap();
    let error = text(&database, "SELECT * FROM book").await.unwrap_err();
    assert_eq!(error.sqlstate(), "XX001", "{error}");
    assert!(error.message().contains(file.to_str().unwrap()), "{error}");
    assert!(error.message().contains("bytes 0 to"), "{error}");
    // No rot is written again with good checksums.
    let compact = "COMPACT book WITH (CLUSTERING, FULL, WAIT)";
    let error = text(&database, compact).await.unwrap_err();
    assert!(error.message().contains("checksum"), "{error}");
    assert!(
        text(&database, "SELECT count(*) FROM shelf")
            .await
            .unwrap()
            .contains("51")
    );
    run(&database, &["INSERT INTO book VALUES (1001, 'new', NULL)"]).await;
    let checked = text(&database, "CHECK TABLE book").await.unwrap();
    assert_eq!(checked.matches("| damaged ").count(), 1, "{checked}");
    let checked = text(&database, "CHECK TABLE shelf").await.unwrap();
    assert_eq!(checked.matches("| damaged ").count(), 0, "{checked}");
    drop(database);
    let (good, told) = shelfmark(&["verify", "--format", "csv"], &[&data]);
    assert!(
        !good && told.contains("XX001") && told.contains("1 of "),
        "{told}"
    );
}

/// What becomes of a file.
const STATES: [&str; 6] = ["empty", "short", "garbage", "missing", "link", "directory"];

fn spoil(file: &Path, state: &str) {
    let bytes = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    match state {
        "empty" => fs::write(file, "").unwrap(),
        "short" => fs::write(
            file,
            &bytes[..bytes.iter().rposition(|b| *b != 0).unwrap() / 2],
        )
        .unwrap(),
        "garbage" => fs::write(file, vec![0xa5; bytes.len()]).unwrap(),
        "link" => symlink("/dev/zero", file).unwrap(),
        "directory" => fs::create_dir(file).unwrap(),
        _ => {}
    }
}

#[tokio::test]
async fn every_file_in_every_state_is_a_clear_error_or_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("original");
    make(&original).await;
    drop(open(&original).await.unwrap());
    let mut files: Vec<PathBuf> = ["ckpt", "log", "parquet", "bloom"]
        .into_iter()
        .flat_map(|extension| files_below(&original, extension))
        .collect();
    files.push(original.join("LOCK"));
    assert!(files.len() >= 7, "{files:?}");
    for file in &files {
        for state in STATES {
            let data = directory.path().join("data");
            copy(&original, &data);
            let name = file.strip_prefix(&original).unwrap();
            spoil(&data.join(name), state);
            check_spoiled(&data, name, state).await;
            fs::remove_dir_all(&data).unwrap();
        }
    }
}

async fn check_spoiled(data: &Path, name: &Path, state: &str) {
    let at = format!("{} {state}", name.display());
    let told = |error: &Error| {
        let known = ["XX001", "58030", "55000"].contains(&error.sqlstate());
        assert!(known, "{at}: {} {error}", error.sqlstate());
        let file = name.file_name().unwrap().to_str().unwrap();
        // A log that is missing is told by the one after it.
        let named = error.to_string().contains(file) || error.to_string().contains("log file");
        assert!(named, "{at}: {error}");
    };
    let database = match open(data).await {
        Ok(database) => database,
        Err(error) => return told(&error),
    };
    let by_index = "SELECT count(*) FROM book WHERE title = 'title 77' AND place IS NOT NULL";
    match text(&database, by_index).await {
        // The log's last transactions may be gone with its end, never a part of one.
        Ok(rows) => assert!(rows.contains("| 1 "), "{at}: {rows}"),
        Err(error) => told(&error),
    }
    let shelf = text(&database, "SELECT count(*) FROM shelf").await;
    match shelf {
        Ok(rows) => {
            let lost = name.starts_with("log") && rows.contains("| 50 ");
            assert!(lost || rows.contains("| 51 "), "{at}: {rows}");
        }
        Err(error) => told(&error),
    }
}

#[tokio::test]
async fn a_backup_is_one_version_while_writes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    make(&path("data")).await;
    let database = open(&path("data")).await.unwrap();
    run(&database, &["CREATE TABLE pair (a BIGINT, b BIGINT)"]).await;
    let writer = {
        let database = database.clone();
        tokio::spawn(async move {
            for n in 0..60 {
                // Two rows of one transaction, which a backup has both or none.
                let insert = format!("INSERT INTO pair VALUES ({n}, 0), ({n}, 1)");
                run(&database, &[&insert]).await;
                if n % 20 == 10 {
                    let text = [
                        "COMPACT book WITH (CLUSTERING, FULL, WAIT)",
                        "DELETE FROM book WHERE id = 3",
                        "VACUUM",
                    ];
                    run(&database, &text).await;
                }
            }
        })
    };
    for n in 0..4 {
        let backup = path(&format!("backup{n}"));
        let told = back_up(&database, &backup).await.unwrap();
        assert!(told.contains("linked_bytes"), "{told}");
        let (good, told) = shelfmark(&["verify"], &[&backup]);
        assert!(good, "{told}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    writer.await.unwrap();
    let again = back_up(&database, &path("backup0")).await;
    assert_eq!(again.unwrap_err().sqlstate(), "55000");
    // The database goes; its backups do not need it.
    drop(database);
    let (good, told) = shelfmark(&["restore"], &[&path("data"), &path("cold")]);
    assert!(good, "{told}");
    fs::remove_dir_all(path("data")).unwrap();
    let mut restored = vec![path("cold")];
    for n in 0..4 {
        let (good, told) = shelfmark(
            &["restore"],
            &[&path(&format!("backup{n}")), &path(&format!("new{n}"))],
        );
        assert!(good && told.contains("restored"), "{told}");
        restored.push(path(&format!("new{n}")));
    }
    for data in restored {
        let database = open(&data).await.unwrap();
        let half = "SELECT a FROM pair GROUP BY a HAVING count(*) <> 2";
        assert!(
            !text(&database, half).await.unwrap().contains("| 1"),
            "{}",
            data.display()
        );
        let book = text(&database, "SELECT count(*), max(id) FROM book")
            .await
            .unwrap();
        assert!(book.contains("| 500 ") || book.contains("| 499 "), "{book}");
        let named = "SELECT id FROM book WHERE title = 'title 77'";
        assert!(text(&database, named).await.unwrap().contains("| 77 "));
        run(&database, &["INSERT INTO shelf VALUES (2000)"]).await;
    }
}

/// Families come and go in transactions, children first.
async fn write_families(database: Database) {
    let session = database.session();
    for n in 0..60 {
        let mut statements = vec![
            "BEGIN".to_string(),
            format!("INSERT INTO child VALUES ({n}, {n}), ({}, {n})", n + 1_000),
            format!("INSERT INTO parent VALUES ({n})"),
            "COMMIT".to_string(),
        ];
        match n % 10 {
            5 => statements.push(format!("DELETE FROM parent WHERE id = {}", n - 2)),
            7 => statements.push(format!("UPDATE parent SET id = -id WHERE id = {}", n - 1)),
            9 => statements.push("COMPACT child WITH (WAIT)".to_string()),
            _ => {}
        }
        for statement in statements {
            let frame = session.sql(&statement).await.unwrap();
            frame.collect().await.unwrap();
        }
    }
}

const FAMILIES: [&str; 3] = [
    "CREATE TABLE parent (id BIGINT PRIMARY KEY)",
    "CREATE TABLE child (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL)",
    "ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE \
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED",
];

#[tokio::test]
async fn a_foreign_key_is_whole_in_each_backup_and_enforced_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let database = open(&path("data")).await.unwrap();
    run(&database, &FAMILIES).await;
    let writer = tokio::spawn(write_families(database.clone()));
    for n in 0..4 {
        back_up(&database, &path(&format!("backup{n}")))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    writer.await.unwrap();
    back_up(&database, &path("backup4")).await.unwrap();
    drop(database);
    for n in 0..5 {
        let (backup, new) = (path(&format!("backup{n}")), path(&format!("new{n}")));
        let (good, told) = shelfmark(&["restore"], &[&backup, &new]);
        assert!(good, "{told}");
        let database = open(&new).await.unwrap();
        let broken = "SELECT count(*) AS n FROM (SELECT parent.id FROM child FULL JOIN parent ON child.parent = parent.id \
            GROUP BY parent.id HAVING parent.id IS NULL OR count(child.id) <> 2) AS broken";
        assert!(
            text(&database, broken).await.unwrap().contains("| 0 |"),
            "{n}"
        );
        let orphan = text(&database, "INSERT INTO child VALUES (-1, 12345)").await;
        assert_eq!(orphan.unwrap_err().sqlstate(), "23503");
        run(&database, &["DELETE FROM parent"]).await;
        let left = text(&database, "SELECT count(*) FROM child").await.unwrap();
        assert!(left.contains("| 0 "), "{left}");
    }
}

#[tokio::test]
async fn what_is_exported_of_both_ends_of_a_foreign_key_fits_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let database = open(&path("data")).await.unwrap();
    run(&database, &FAMILIES).await;
    write_families(database.clone()).await;
    let new = open(&path("new")).await.unwrap();
    run(&new, &FAMILIES).await;
    for name in ["parent", "child"] {
        let target = path(name);
        let export = format!(
            "EXPORT COLLECTION {name} TO '{}' (FORMAT parquet)",
            target.display()
        );
        run(&database, &[&export]).await;
        let load = format!("COPY {name} FROM '{}/*.parquet'", target.display());
        run(&new, &[&load]).await;
    }
    // Of 60 families 6 were deleted.
    let count = "SELECT count(*), count(DISTINCT parent) FROM child";
    let counted = text(&new, count).await.unwrap();
    assert!(
        counted.contains("| 108 ") && counted.contains("| 54 "),
        "{counted}"
    );
    assert_eq!(text(&database, count).await.unwrap(), counted);
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    make(&path("data")).await;
    let database = open(&path("data")).await.unwrap();
    let (good, told) = shelfmark(&["restore"], &[&path("data"), &path("new")]);
    assert!(!good && told.contains("in use"), "{told}");
    let sql = format!("BACKUP DATABASE TO '{}'", path("backup").display());
    run(&database, &[&sql]).await;
    drop(database);
    let file = files_below(&path("backup/checkpoint"), "ckpt")
        .pop()
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (good, told) = shelfmark(&["restore"], &[&path("backup"), &path("new")]);
    assert!(!good && told.contains("checkpoint"), "{told}");
    assert!(!path("new").exists());
    let (good, told) = shelfmark(&["restore"], &[directory.path(), &path("new")]);
    assert!(!good && told.contains("holds no database"), "{told}");
}

#[tokio::test]
async fn an_export_has_the_live_rows_and_the_metadata_of_delta() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    make(&path("data")).await;
    let database = open(&path("data")).await.unwrap();
    let statements = [
        "DELETE FROM book WHERE id % 10 = 3",
        "ALTER TABLE book RENAME COLUMN title TO name",
        "INSERT INTO book VALUES (900, 'growing', NULL), (901, 'gone', NULL)",
        "DELETE FROM book WHERE id = 901",
    ];
    run(&database, &statements).await;
    for format in ["parquet", "delta"] {
        let target = path(format);
        let sql = format!(
            "EXPORT COLLECTION book TO '{}' (FORMAT {format})",
            target.display()
        );
        let told = text(&database, &sql).await.unwrap();
        assert!(told.contains("| 451 "), "{told}");
        let copied = format!("copied_{format}");
        let create = format!("CREATE TABLE {copied} (id BIGINT, name TEXT, place VECTOR(8))");
        let copy = format!("COPY {copied} FROM '{}/*.parquet'", target.display());
        run(&database, &[&create, &copy]).await;
        let differ = format!(
            "SELECT count(*) FROM book b FULL JOIN {copied} c ON b.id = c.id AND b.name = c.name \
             AND b.place IS NOT DISTINCT FROM c.place WHERE b.id IS NULL OR c.id IS NULL"
        );
        assert!(text(&database, &differ).await.unwrap().contains("| 0 "));
    }
    assert!(!path("parquet/_delta_log").exists());
    let log = fs::read_to_string(path("delta/_delta_log/00000000000000000000.json")).unwrap();
    let actions: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let files = files_below(&path("delta"), "parquet");
    let added = actions
        .iter()
        .filter_map(|action| action["add"]["path"].as_str());
    let mut added: Vec<PathBuf> = added.map(|name| path("delta").join(name)).collect();
    added.sort();
    assert_eq!(added, files);
    assert!(
        actions[2]["metaData"]["schemaString"]
            .as_str()
            .unwrap()
            .contains("\"name\"")
    );
    // A type that Delta does not have, a directory that is not empty: nothing is written.
    run(&database, &["CREATE TABLE clock (at TIME)"]).await;
    let clock = format!(
        "EXPORT TABLE clock TO '{}' (FORMAT delta)",
        path("clock").display()
    );
    assert_eq!(
        text(&database, &clock).await.unwrap_err().sqlstate(),
        "0A000"
    );
    assert!(!path("clock").exists());
    let again = format!("EXPORT COLLECTION book TO '{}'", path("delta").display());
    assert_eq!(
        text(&database, &again).await.unwrap_err().sqlstate(),
        "55000"
    );
}
