#![allow(clippy::unwrap_used)]

use super::super::tokens::tokenize;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::sql::tokens::DIALECT;

fn mended(text: &str) -> String {
    let tokens = tokenize(text).unwrap();
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    let mut query = parser.parse_query().unwrap();
    mend(query.as_mut()).unwrap();
    query.to_string()
}

#[test]
fn each_spelling_becomes_one_that_is_planned() {
    for (text, expected) in [
        ("SELECT pg_catalog.version()", "SELECT version()"),
        (
            "SELECT a OPERATOR(pg_catalog.~) '^x$' COLLATE pg_catalog.default FROM t",
            "SELECT a ~ '^x$' FROM t",
        ),
        (
            "SELECT ARRAY(SELECT a FROM t ORDER BY b)",
            "SELECT array_or_empty((SELECT array_agg(a ORDER BY b) FROM t)) AS \"array\"",
        ),
        (
            "SELECT ARRAY(SELECT a FROM t ORDER BY 1)",
            "SELECT array_or_empty((SELECT array_agg(a ORDER BY a) FROM t)) AS \"array\"",
        ),
        ("SELECT current_schema", "SELECT current_schema()"),
        (
            "SELECT x, y FROM a RIGHT JOIN b USING (x) ORDER BY x, x + 1",
            "SELECT b.\"x\", y FROM a RIGHT JOIN b ON a.\"x\" = b.\"x\" ORDER BY x, b.\"x\" + 1",
        ),
        (
            "SELECT * FROM s.a FULL JOIN b USING (x)",
            "SELECT coalesce(a.\"x\", b.\"x\") AS \"x\", a.* EXCLUDE (\"x\"), b.* EXCLUDE (\"x\") \
             FROM s.a FULL JOIN b ON a.\"x\" = b.\"x\"",
        ),
        (
            "SELECT * FROM a LEFT JOIN b USING (x)",
            "SELECT * FROM a LEFT JOIN b USING(x)",
        ),
        (
            "SELECT 0.1 + 0.2, x + 0.1 FROM t",
            "SELECT CAST('0.1' AS NUMERIC(1,1)) + CAST('0.2' AS NUMERIC(1,1)), x + 0.1 FROM t",
        ),
        (
            "SELECT \"current_schema\" FROM t",
            "SELECT \"current_schema\" FROM t",
        ),
        (
            "SELECT x FROM t, unnest(t.a) WITH ORDINALITY AS u (x, n)",
            "SELECT x FROM t, LATERAL unnest(t.a) WITH ORDINALITY AS u (x, n)",
        ),
        (
            "SELECT c.tableoid FROM pg_catalog.pg_class c",
            "SELECT CAST(1259 AS oid) AS tableoid FROM pg_catalog.pg_class c",
        ),
        (
            "SELECT ARRAY(SELECT a || (SELECT 1) FROM t ORDER BY b)",
            "SELECT array_or_empty((SELECT array_agg(value ORDER BY by_0) FROM \
             (SELECT a || (SELECT 1) AS value, b AS by_0 FROM t) AS gathered)) AS \"array\"",
        ),
        (
            "SELECT a = ANY('{1,2}'), b = ANY('{x,\"y z\",NULL}'), '{1}'::int[] FROM t",
            "SELECT a = ANY([1, 2]), b IN ('x', 'y z', NULL), [1]::INT[] FROM t",
        ),
        (
            "SELECT a LIKE 'pg/_' || '%' ESCAPE '/' FROM t",
            "SELECT a LIKE 'pg\\_%' FROM t",
        ),
        (
            "SELECT coalesce(a, '{}') FROM t",
            "SELECT array_or_empty(a) FROM t",
        ),
        (
            "SELECT coalesce(a, '') FROM t",
            "SELECT coalesce(a, '') FROM t",
        ),
        ("SELECT NULL, NULL", "SELECT NULL, NULL AS \"NULL \""),
        (
            "SELECT a, a, 1 AS a FROM t",
            "SELECT a, a AS \"a \", 1 AS \"a  \" FROM t",
        ),
        ("SELECT oid '5'", "SELECT CAST('5' AS oid)"),
        (
            "SELECT mod(a, 2) FROM t",
            "SELECT ((a) % (2)) AS \"mod\" FROM t",
        ),
        (
            "SELECT json_agg(a ORDER BY b) FROM t",
            "SELECT json_agg(array_agg(to_json(a) ORDER BY b)) FROM t",
        ),
        (
            "SELECT s.max FROM (SELECT max(a), b FROM t GROUP BY b) s",
            "SELECT s.max FROM (SELECT max(a) AS \"max\", b FROM t GROUP BY b) s",
        ),
        (
            "WITH c AS (SELECT 1, lower(a) FROM t GROUP BY lower) SELECT * FROM c",
            "WITH c AS (SELECT 1 AS \"?column?\", lower(a) AS \"lower\" FROM t GROUP BY lower) SELECT * FROM c",
        ),
        (
            "WITH c AS (SELECT a::text, lower(b) FROM t GROUP BY a, b HAVING lower > 1) SELECT * FROM c",
            "WITH c AS (SELECT a::TEXT AS \"a\", lower(b) FROM t GROUP BY a, b HAVING lower > 1) SELECT * FROM c",
        ),
    ] {
        assert_eq!(mended(text), expected, "{text}");
    }
}
