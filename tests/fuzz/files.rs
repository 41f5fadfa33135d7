//! Files of a database, and files that COPY reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use shelfmark::storage::inspect::inspect;
use shelfmark::storage::verify::verify;
use shelfmark::{Database, Error, Settings};
use tokio::runtime::Runtime;

use super::{config, damage, damaged};
use crate::{files_below, root};

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// The directory of a whole database of an earlier format, which has every kind of file.
fn fixture() -> PathBuf {
    root().join("tests/format_2")
}

fn copy(to: &Path) {
    for extension in ["log", "ckpt", "parquet", "bloom"] {
        for file in files_below(&fixture(), extension) {
            let target = to.join(file.strip_prefix(fixture()).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(&file, target).unwrap();
        }
    }
    fs::copy(fixture().join("LOCK"), to.join("LOCK")).unwrap();
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn damaged_logs_and_checkpoints_are_read_or_refused(
        checkpoint in any::<bool>(), damage in damage(), checksum in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        copy(directory.path());
        let kind = if checkpoint { "ckpt" } else { "log" };
        if !checkpoint {
            // Read from the log alone, there is more to read.
            fs::remove_file(directory.path().join("checkpoint/00000000000000000012.ckpt")).unwrap();
        }
        let file = files_below(directory.path(), kind).pop().unwrap();
        let mut bytes = damaged(&fs::read(&file).unwrap(), &damage);
        if checkpoint && checksum && bytes.len() > 16 {
            // With a good checksum the damage comes to what is behind it.
            let good = crc32c::crc32c(&bytes[16..]).to_le_bytes();
            bytes[12..16].copy_from_slice(&good);
        }
        fs::write(&file, bytes).unwrap();
        for error in [inspect(directory.path()).err(), verify(directory.path()).err()] {
            let code = error.as_ref().map(Error::sqlstate);
            prop_assert!(matches!(code, None | Some("XX001" | "58P01")), "{error:?}");
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn damaged_files_are_copied_or_refused(format in 0..5usize, damage in damage()) {
        runtime().block_on(copies(format, &damage))?;
    }
}

/// A file of each format that COPY reads, made once.
fn copied_files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let make = async {
            let database = Database::temporary(Settings::default()).await.unwrap();
            let session = database.session();
            for name in NAMES {
                let sql = format!(
                    "COPY (SELECT value AS id, 'name ' || value AS name, CAST('[1,2.5]' AS VECTOR(2)) AS place \
                     FROM generate_series(1, 20) AS g(value)) TO '{}'",
                    path(name).display()
                );
                session.sql(&sql).await.unwrap().collect().await.unwrap();
            }
        };
        // Not on the runtime that waits for it.
        std::thread::scope(|s| s.spawn(|| Runtime::new().unwrap().block_on(make)).join().unwrap());
        NAMES.iter().map(|name| fs::read(path(name)).unwrap()).collect()
    })
}

const NAMES: [&str; 5] = ["f.parquet", "f.csv", "f.json", "f.arrow", "f.csv"];

async fn copies(format: usize, damage: &[super::Damage]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(NAMES[format]);
    fs::write(&file, damaged(&copied_files()[format], damage)).unwrap();
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    let create = "CREATE TABLE t (id BIGINT, name TEXT, place VECTOR(2))";
    session.sql(create).await.unwrap().collect().await.unwrap();
    let copy = format!("COPY t FROM '{}'", file.display());
    let copied = match session.sql(&copy).await {
        Ok(frame) => frame.collect().await.map(drop).map_err(Error::from),
        Err(error) => Err(error),
    };
    let count = "SELECT count(*) FROM t";
    let rows = session.sql(count).await.unwrap().to_string().await.unwrap();
    if let Err(error) = copied {
        prop_assert!(error.sqlstate() != "XX000", "{error}");
        prop_assert!(
            rows.contains("| 0 "),
            "a COPY that failed left rows: {rows}"
        );
    }
    Ok(())
}
