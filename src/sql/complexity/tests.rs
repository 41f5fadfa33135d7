//! Which texts are too complex, by example; none of these is parsed.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::sql::tokens::tokenize;

const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    depth_max: 20,
    terms_max: 50,
};

fn code(text: &str) -> Option<&'static str> {
    let checked = LIMITS.check_tokens(&tokenize(text).unwrap());
    checked.err().map(|_| "54001")
}

fn repeated(begin: &str, middle: &str, times: usize, end: &str) -> String {
    format!("{begin}{}{end}", middle.repeat(times))
}

#[test]
fn what_is_long_without_being_deep_is_fine() {
    for text in [
        repeated("SELECT 1", ", 1 + 1", 1_000, ""),
        repeated("SELECT x IN (1", ", 2", 1_000, ")"),
        repeated("INSERT INTO t VALUES (1, 2)", ", (1, -2)", 1_000, ""),
        repeated("SELECT a IS DISTINCT FROM b", ", c", 1_000, ""),
        repeated(
            "SELECT CASE",
            " WHEN a = 1 THEN b + 1",
            1_000,
            " ELSE 2 END",
        ),
        repeated("SELECT * FROM t WHERE a = 1", " OR a = 1", 49, ""),
        repeated(
            "SELECT * FROM t WHERE (a, b) = (1, 2)",
            " OR (a, b) = (1, 2)",
            49,
            "",
        ),
        repeated("SELECT * FROM t ORDER BY a", ", a - 1", 1_000, ""),
        repeated("CREATE TABLE t (a INT", ", a NUMERIC(3, 2)", 1_000, ")"),
        repeated("SELECT '(", "((1 + ", 1_000, "'"),
        "END".to_string(),
        ")))".to_string(),
    ] {
        assert_eq!(code(&text), None, "{text}");
    }
}

#[test]
fn what_is_deep_is_refused_whatever_makes_it_so() {
    for (begin, middle, end) in [
        ("SELECT 1", " + 1", ""),
        ("SELECT 1", "::int", ""),
        ("SELECT ", "- ", "1"),
        ("SELECT ", "NOT ", "true"),
        ("SELECT 1", " IS NULL", ""),
        ("SELECT a", "[1]", ""),
        ("SELECT 'a'", " COLLATE \"C\"", ""),
        ("SELECT x", " || 'a'", ""),
        ("SELECT 1", " UNION ALL SELECT 1", ""),
        ("SELECT 1, 2", " UNION ALL SELECT 1, 2", ""),
        ("SELECT * FROM t", " JOIN t ON a = b", ""),
        ("SELECT * FROM t", ", t", ""),
        ("SELECT 1::ARRAY", "<ARRAY", ""),
        ("SELECT ", "(", "1"),
        ("SELECT ", "f(", "1"),
        ("SELECT ", "ARRAY[", "1"),
        ("SELECT ", "1 + (", "1"),
        ("SELECT ", "CASE WHEN a THEN 1 ELSE ", "1"),
        ("SELECT * FROM ", "(SELECT * FROM ", "t"),
    ] {
        let text = |times| repeated(begin, middle, times, end);
        assert_eq!(code(&text(9)), None, "{middle}");
        assert_eq!(code(&text(21)), Some("54001"), "{middle}");
    }
    let text = repeated("SELECT a", " AND a", 51, "");
    assert_eq!(code(&text), Some("54001"));
}

#[test]
fn rows_of_rows_are_refused_before_they_are_planned() {
    let nested = |begin: &str, middle: &str, times| {
        format!("{begin}{}1{}", middle.repeat(times), ")".repeat(times))
    };
    for (begin, middle) in [
        ("SELECT ", "ROW("),
        ("SELECT ", "(1, "),
        ("SELECT * FROM t WHERE x = ", "ROW(2, "),
    ] {
        assert_eq!(code(&nested(begin, middle, 7)), None, "{middle}");
        assert_eq!(code(&nested(begin, middle, 12)), Some("54001"), "{middle}");
    }
    let left = format!("SELECT {}1{}", "(".repeat(12), ", 1)".repeat(12));
    assert_eq!(code(&left), Some("54001"));
    let calls = format!("SELECT {}1{}", "f(1, ".repeat(15), ")".repeat(15));
    assert_eq!(code(&calls), None);
    let queries = format!("SELECT {}1{}", "(SELECT 1, ".repeat(10), ")".repeat(10));
    assert_eq!(code(&queries), None);
}

#[test]
fn subqueries_in_expressions_are_refused_before_they_are_planned() {
    for (begin, middle, end) in [
        (
            "SELECT 1 FROM t WHERE ",
            "EXISTS (SELECT 1 FROM t WHERE ",
            "true",
        ),
        (
            "SELECT 1 FROM t WHERE 1 IN ",
            "(SELECT 1 FROM t WHERE 1 IN ",
            "(1)",
        ),
        ("SELECT ", "(SELECT ", "1"),
        ("SELECT ", "extract(year FROM (SELECT ", "now()"),
        (
            "SELECT * FROM t JOIN t ON ",
            "(SELECT a FROM t JOIN t ON ",
            "true",
        ),
    ] {
        let text = |times: usize| {
            let close = middle.matches('(').count() * times;
            format!("{begin}{}{end}{}", middle.repeat(times), ")".repeat(close))
        };
        assert_eq!(code(&text(3)), None, "{middle}");
        assert_eq!(code(&text(13)), Some("54001"), "{middle}");
    }
    for derived in [
        "SELECT * FROM (",
        "SELECT * FROM t, (",
        "SELECT * FROM t JOIN LATERAL ((",
    ] {
        let close = derived.matches('(').count() * 4;
        let text = format!("{}SELECT 1{}", derived.repeat(4), ")".repeat(close));
        assert_eq!(code(&text), None, "{derived}");
    }
}

#[test]
fn depth_adds_up_over_brackets() {
    let text = repeated("SELECT ", "1 + 1 + 1 + 1 + (", 5, "1");
    assert_eq!(code(&text), Some("54001"));
    let text = repeated("SELECT ", "1 + 1 + 1 + 1 + (1), ", 50, "1");
    assert_eq!(code(&text), None);
}
