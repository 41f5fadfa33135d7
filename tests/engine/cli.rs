//! The program as a shell user sees it: output formats, errors, exit codes.

use std::io::Write;
use std::process::{Output, Stdio};

use super::program;

fn run(arguments: &[&str]) -> Output {
    program().arg("sql").args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_format_prints_the_same_rows() {
    let sql = "SELECT * FROM (VALUES (1, 'a,b'), (2, NULL)) AS t (n, s) ORDER BY n";
    let format = |name: &str| printed(&["--format", name, "-c", sql]);
    assert_eq!(format("csv"), "n,s\n1,\"a,b\"\n2,\n");
    assert_eq!(
        format("json"),
        "[{\"n\":1,\"s\":\"a,b\"},{\"n\":2,\"s\":null}]\n"
    );
    assert_eq!(
        format("ndjson"),
        "{\"n\":1,\"s\":\"a,b\"}\n{\"n\":2,\"s\":null}\n"
    );
    assert_eq!(
        format("table"),
        " n | s\n---+------\n 1 | a,b\n 2 | NULL\n(2 rows)\n\n"
    );
    assert!(format("markdown").starts_with("| n | s    |\n| -: | ---- |\n| 1 | a,b  |\n"));
}

#[test]
fn no_rows_keep_each_format_whole() {
    let sql = "SELECT 1 AS n WHERE false";
    let format = |name: &str| printed(&["--format", name, "-c", sql]);
    assert_eq!(format("csv"), "n\n");
    assert_eq!(format("json"), "[]\n");
    assert_eq!(format("ndjson"), "");
    assert_eq!(format("table"), " n\n---\n(0 rows)\n\n");
}

#[test]
fn long_values_are_shortened_for_the_eye_only() {
    let sql = "SELECT repeat('x', 100) AS s";
    assert!(printed(&["-c", sql]).contains("x…"));
    assert_eq!(
        printed(&["--format", "csv", "-c", sql])
            .lines()
            .nth(1)
            .unwrap()
            .len(),
        100
    );
}

#[test]
fn the_first_failed_statement_ends_the_script() {
    let output = run(&["-c", "SELECT 1 AS a; SELECT * FROM nowhere; SELECT 3 AS b"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.contains("(1 row)") && !text.contains('b'), "{text}");
    assert!(
        errors(&output).starts_with("ERROR 42P01: "),
        "{}",
        errors(&output)
    );
    assert!(
        errors(&output).contains("LINE 1: SELECT * FROM nowhere"),
        "{}",
        errors(&output)
    );
}

#[test]
fn the_statements_of_one_command_are_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let fails = "INSERT INTO t VALUES (2); SELECT 1 / 0";
    let apart = "CREATE TABLE t (n INT PRIMARY KEY); INSERT INTO t VALUES (1)";
    let output = run(&["--data", data, "-c", apart, "-c", fails]);
    assert_eq!(output.status.code(), Some(1));
    let own = "BEGIN; INSERT INTO t VALUES (3); COMMIT; INSERT INTO t VALUES (4); INSERT INTO t VALUES (1)";
    assert_eq!(run(&["--data", data, "-c", own]).status.code(), Some(1));
    assert_eq!(
        printed(&[
            "--data",
            data,
            "--format",
            "csv",
            "-c",
            "SELECT n FROM t ORDER BY n"
        ]),
        "n\n1\n3\n"
    );
}

#[test]
fn a_syntax_error_shows_its_place() {
    let output = run(&["-c", "SELECT 1;\n\nSELECT *\nFROM t WHERE );"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = errors(&output);
    assert!(errors.starts_with("ERROR 42601: "), "{errors}");
    assert!(errors.contains("LINE 4: FROM t WHERE )"), "{errors}");
    assert!(errors.lines().any(|l| l.trim() == "^"), "{errors}");
}

#[test]
fn tags_and_notices_are_not_rows() {
    let sql = "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (2); DROP TABLE IF EXISTS u; SELECT * FROM t";
    let output = run(&["-c", sql]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        text.starts_with("CREATE TABLE\nINSERT 0 2\nDROP TABLE\n n\n"),
        "{text}"
    );
    assert!(errors(&output).contains("NOTICE: "), "{}", errors(&output));
    assert_eq!(
        printed(&["--quiet", "--format", "csv", "-c", sql]),
        "n\n1\n2\n"
    );
}

#[test]
fn scripts_call_scripts_and_stop_where_they_fail() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner.sql");
    std::fs::write(&inner, "\\echo inner\nSELECT 1/0;\n\\echo never\n").unwrap();
    let outer = directory.path().join("outer.sql");
    std::fs::write(
        &outer,
        format!("\\echo outer\n\\i {}\n\\echo never\n", inner.display()),
    )
    .unwrap();
    let output = run(&["-f", outer.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "outer\ninner\n");
    assert!(
        errors(&output).starts_with("ERROR 22012: "),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_script_that_calls_itself_ends() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("\\i {}\n", file.path().display())).unwrap();
    let output = run(&["-f", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).starts_with("ERROR 54001: "),
        "{}",
        errors(&output)
    );
}

#[test]
fn standard_input_is_a_script() {
    let mut child = program()
        .args(["sql", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"SELECT\n 7 AS n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n7\n");
}

/// What the program prints for arguments and standard input.
fn piped(arguments: &[&str], input: &str) -> String {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn rows_follow_their_copy_or_come_by_standard_input() {
    let script = "CREATE TABLE t (a INT, b TEXT);\nCOPY t FROM STDIN;\n1\tone; SELECT\n2\t\\N\n\\.\n\
        COPY t TO STDOUT CSV HEADER;\nSELECT count(*) AS n FROM t;\n";
    assert_eq!(
        piped(&["sql", "--format", "csv"], script),
        "a,b\n1,one; SELECT\n2,\nn\n2\n"
    );
    let copy = "CREATE TABLE t (a INT); COPY t FROM STDIN; COPY t TO STDOUT";
    assert_eq!(piped(&["sql", "-q", "-c", copy], "7\n8\n"), "7\n8\n");
}

#[test]
fn data_stays_in_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    printed(&[
        "--data",
        data,
        "-c",
        "CREATE TABLE t (n INT); INSERT INTO t VALUES (42)",
    ]);
    assert_eq!(
        printed(&["--data", data, "--format", "csv", "-c", "SELECT * FROM t"]),
        "n\n42\n"
    );
}

#[test]
fn a_missing_script_is_an_error() {
    let output = run(&["-f", "nowhere.sql"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).starts_with("ERROR 58P01: "),
        "{}",
        errors(&output)
    );
}

#[test]
fn shell_commands_describe_what_is_there() {
    let sql = "CREATE TABLE book (id BIGINT PRIMARY KEY, title VARCHAR(20), e VECTOR(3));\n\\dt\n\\d book\n\\timing on\nSELECT 1;\n";
    let text = printed(&["-c", sql]);
    assert!(text.contains(" public | book"), "{text}");
    assert!(
        text.contains("varchar(20)") && text.contains("vector(3)"),
        "{text}"
    );
    assert!(text.contains("Time: "), "{text}");
}

#[test]
fn inspect_shows_a_directory_without_opening_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let sql = "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (2)";
    let compact = "COMPACT t WITH (WAIT)";
    printed(&["--data", data, "-c", sql, "-c", compact]);
    let output = program().args(["inspect", data]).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["Collections", "Segments", "present", ".log"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let nothing = program()
        .args(["inspect", directory.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        errors(&nothing).starts_with("ERROR 58P01: "),
        "{}",
        errors(&nothing)
    );
}
