//! The blocks of SQL in README.md run, in their order, in one session. Its Rust is tested as documentation.

use std::process::Stdio;

use super::{program, root};

#[test]
fn every_sql_block_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = sql_blocks(&readme);
    assert!(!blocks.is_empty());
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), blocks.join("\n")).unwrap();
    let output = program()
        .args(["sql", "-f"])
        .arg(script.path())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // What the README's COPY .. TO wrote.
    std::fs::remove_file("/tmp/shelfmark-english.parquet").unwrap();
}

fn sql_blocks(text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```sql\n") {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block);
        rest = after;
    }
    blocks
}
