#![allow(clippy::unwrap_used)]
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::sql::tokens::DIALECT;

/// The statement as it is planned, with `n::int4` and `'n'::numeric` for what is typed.
fn shown(sql: &str) -> String {
    let mut statements = Parser::parse_sql(&DIALECT, sql).unwrap();
    type_numbers(&mut statements[0]);
    statements[0]
        .to_string()
        .replace(&format!(" {INTEGER} NULL"), "::int4")
        .replace(&format!(" {NUMERIC} NULL"), "::numeric")
}

#[test]
fn numbers_that_fit_are_integers() {
    for (sql, expected) in [
        ("SELECT 1, -1, (2)", "SELECT 1::int4, -1::int4, (2::int4)"),
        ("SELECT 2147483647", "SELECT 2147483647::int4"),
        ("SELECT 2147483648", "SELECT 2147483648"),
        ("SELECT -2147483648", "SELECT -2147483648::int4"),
        ("SELECT -2147483649", "SELECT -2147483649"),
        ("SELECT -9223372036854775808", "SELECT -9223372036854775808"),
        (
            "SELECT a > 9223372036854775808",
            "SELECT a > '9223372036854775808'::numeric",
        ),
        (
            "SELECT - 9223372036854775809",
            "SELECT '-9223372036854775809'::numeric",
        ),
        (
            "SELECT 1 LIMIT 9223372036854775808",
            "SELECT 1::int4 LIMIT 9223372036854775808",
        ),
        ("SELECT - -5, -(5)", "SELECT --5::int4, -(5::int4)"),
        ("SELECT '1' WHERE a > 1.5", "SELECT '1' WHERE a > 1.5"),
        (
            "SELECT a + 1 FROM t WHERE b IN (1, 3000000000)",
            "SELECT a + 1::int4 FROM t WHERE b IN (1::int4, 3000000000)",
        ),
        ("VALUES (1), (2)", "VALUES (1::int4), (2::int4)"),
    ] {
        assert_eq!(shown(sql), expected, "{sql}");
    }
}

#[test]
fn numbers_with_a_point_are_exact_where_they_may_be() {
    for (sql, expected) in [
        (
            "SELECT 1.50, (-2.5)",
            "SELECT '1.50'::numeric, ('-2.5'::numeric)",
        ),
        (
            "SELECT 15e-1, 1e3",
            "SELECT '1.5'::numeric, '1000.'::numeric",
        ),
        ("SELECT a * 1.5 > 2.5", "SELECT a * '1.5'::numeric > 2.5"),
        (
            "SELECT abs(-1.5), sin(2.0), coalesce(a, 2.0)",
            "SELECT abs('-1.5'::numeric), sin(2.0), coalesce(a, '2.0'::numeric)",
        ),
        (
            "SELECT CASE WHEN a > 1.5 THEN 1.5 ELSE 2.5 END, ARRAY[1.5, a]",
            "SELECT CASE WHEN a > 1.5 THEN '1.5'::numeric ELSE '2.5'::numeric END, ARRAY['1.5'::numeric, a]",
        ),
        (
            "SELECT x FROM (VALUES (1, 1.5), (2, NULL)) AS v (n, x)",
            "SELECT x FROM (VALUES (1::int4, '1.5'::numeric), (2::int4, NULL)) AS v (n, x)",
        ),
        (
            "SELECT x FROM (VALUES (1.5), (a)) AS v (x)",
            "SELECT x FROM (VALUES (1.5), (a)) AS v (x)",
        ),
        (
            "SELECT 1.5 UNION ALL SELECT d FROM t",
            "SELECT '1.5'::numeric UNION ALL SELECT d FROM t",
        ),
        (
            "SELECT 1.5 EXCEPT SELECT d FROM t",
            "SELECT 1.5 EXCEPT SELECT d FROM t",
        ),
        (
            "SELECT a * 1.5 FROM t INTERSECT SELECT d FROM t",
            "SELECT a * 1.5 FROM t INTERSECT SELECT d FROM t",
        ),
        (
            "WITH RECURSIVE t AS (SELECT 1.5 AS n UNION ALL SELECT n * 1.5 FROM t), u AS (SELECT 2.5) SELECT n * 1.5 FROM t",
            "WITH RECURSIVE t AS (SELECT 1.5 AS n UNION ALL SELECT n * 1.5 FROM t), u AS (SELECT '2.5'::numeric) SELECT n * '1.5'::numeric FROM t",
        ),
        ("SELECT 1e300", "SELECT 1e300"),
        (
            "SELECT 0.5 INTERSECT SELECT -0.50",
            "SELECT '0.5'::numeric INTERSECT SELECT '-0.50'::numeric",
        ),
        (
            "SELECT 2.5 ^ 2, +1.5",
            "SELECT '2.5'::numeric ^ 2::int4, +'1.5'::numeric",
        ),
        ("SELECT a::numeric", "SELECT trim_scale(a::NUMERIC)"),
    ] {
        assert_eq!(shown(sql), expected, "{sql}");
    }
}

#[test]
fn numbers_that_are_no_values_stay() {
    for sql in [
        "SELECT a FROM t ORDER BY 1 LIMIT 2 OFFSET 3",
        "SELECT a FROM t FETCH FIRST 2 ROWS ONLY",
        "SELECT DISTINCT ON (1) a FROM t GROUP BY 1, (2)",
        "SELECT a FROM t GROUP BY ROLLUP (1, (2))",
        "SELECT count(*) OVER (ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t",
        "SELECT count(*) OVER w FROM t WINDOW w AS (ROWS 1 PRECEDING)",
        "SELECT a FROM t ORDER BY -1",
        "SELECT count(1), count(DISTINCT 2), (array_agg(a))[1] FROM t",
    ] {
        let plain = Parser::parse_sql(&DIALECT, sql).unwrap();
        assert_eq!(shown(sql), plain[0].to_string(), "{sql}");
    }
}
