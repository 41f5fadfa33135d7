//! The grammar by example.

#![allow(clippy::unwrap_used)]
use super::super::statement::{AlterAction, KeyItem};
use super::*;
use crate::settings::ByteSize;
use crate::sql::variables::SetValue;
use crate::storage::schema::JobId;

fn create(text: &str) -> super::super::statement::CreateCollection {
    match parse(text).unwrap() {
        Statement::CreateCollection(create) => *create,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_stand_behind_columns_or_by_themselves() {
    let text = "CREATE TABLE IF NOT EXISTS book (id BIGINT PRIMARY KEY, key BIGINT CLUSTERING KEY,
        var VARCHAR(1000) NOT NULL DEFAULT 'a' || 'b', e VECTOR(768)) WITH (segment_rows_max = 500);";
    let book = create(text);
    assert!(book.if_not_exists);
    assert_eq!(book.columns.len(), 4);
    assert_eq!(book.primary_key[0].value, "id");
    assert!(matches!(&book.clustering_key[..], [KeyItem::Column(key)] if key.value == "key"));
    assert_eq!(book.columns[2].default.as_ref().unwrap().1, "'a' || 'b'");
    assert!(book.columns[2].not_null);
    assert_eq!(
        book.options,
        [("segment_rows_max".to_string(), "500".to_string())]
    );
    let other = create("CREATE COLLECTION t (a INT, b INT, PRIMARY KEY (a, b)) CLUSTER BY (b, a)");
    assert_eq!(other.clustering_key.len(), 2);
    let near = create("CREATE TABLE t (a INT, e VECTOR(3)) CLUSTER BY (a, vector(e))");
    assert!(
        matches!(&near.clustering_key[..], [KeyItem::Column(_), KeyItem::Vector(e)] if e.value == "e")
    );
    assert_eq!(other.primary_key.len(), 2);
}

#[test]
fn a_default_ends_before_not_null() {
    let t = create("CREATE TABLE t (a INT DEFAULT 5 NOT NULL, b INT)");
    assert_eq!(t.columns[0].default.as_ref().unwrap().1, "5");
    assert!(t.columns[0].not_null);
}

#[test]
fn compactions() {
    let compact = |text: &str| match parse(text).unwrap() {
        Statement::Compact(c) => (c.clustering, c.full, c.wait),
        other => panic!("{other:?}"),
    };
    assert_eq!(compact("COMPACT book"), (false, false, false));
    assert_eq!(
        compact("COMPACT book WITH CLUSTERING"),
        (true, false, false)
    );
    assert_eq!(
        compact("compact book with (clustering, full, wait)"),
        (true, true, true)
    );
    assert_eq!(
        compact("COMPACT book WITH (WAIT = off)"),
        (false, false, false)
    );
    for limited in [
        "COMPACT ALL WITH (TARGET_SIZE = '256MB', LIMIT '10 GB', CLUSTERING)",
        "COMPACT ALL WITH (LIMIT = 10GB, CLUSTERING, TARGET_SIZE 256 MB)",
    ] {
        let Statement::Compact(limited) = parse(limited).unwrap() else {
            panic!("no COMPACT");
        };
        assert!(limited.name.is_none() && limited.clustering);
        assert_eq!(limited.target_size, Some(ByteSize::mib(256)));
        assert_eq!(limited.limit, Some(ByteSize::mib(10 << 10)));
    }
    let ranged = "COMPACT book WITH (WHERE year BETWEEN 1 AND 5 AND b = 'x', CLUSTERING)";
    let Statement::Compact(ranged) = parse(ranged).unwrap() else {
        panic!("no COMPACT");
    };
    assert!(ranged.filter.is_some() && ranged.clustering);
    for wrong in [
        "COMPACT book WITH (FULL)",
        "COMPACT book WITH (WAIT, WAIT)",
        "COMPACT book WITH (WHERE)",
        "COMPACT ALL WITH (WHERE a = 1)",
        "COMPACT book WITH (NONSENSE)",
    ] {
        assert_eq!(parse(wrong).unwrap_err().sqlstate(), "42601", "{wrong}");
    }
    for wrong in [
        "TARGET_SIZE = '1kB'",
        "TARGET_SIZE",
        "LIMIT 'much'",
        "LIMIT 0",
        "WAIT = 7",
    ] {
        let code = parse(&format!("COMPACT book WITH ({wrong})")).unwrap_err();
        assert!(
            ["22023", "42601"].contains(&code.sqlstate()),
            "{wrong}: {code}"
        );
    }
    let wait = parse("WAIT FOR COMPACTION 7 TIMEOUT '10 min'").unwrap();
    assert!(matches!(
        wait,
        Statement::WaitForCompaction { job: JobId(7), timeout: Some(t) } if t.as_secs() == 600
    ));
    assert!(matches!(
        parse("SHOW COMPACTION STATE 3").unwrap(),
        Statement::ShowCompaction(JobId(3))
    ));
}

#[test]
fn alterations() {
    let Statement::Alter(alter) =
        parse("ALTER TABLE t ADD COLUMN a INT, DROP b, RENAME c TO d, SET (auto_compaction = off)")
            .unwrap()
    else {
        panic!("no ALTER");
    };
    assert!(matches!(
        alter.actions.as_slice(),
        [
            AlterAction::AddColumn { .. },
            AlterAction::DropColumn { .. },
            AlterAction::RenameColumn(..),
            AlterAction::SetOptions(_)
        ]
    ));
}

#[test]
fn settings() {
    assert!(matches!(
        parse("SET shelfmark.enable_segment_prune = off").unwrap(),
        Statement::Set(set)
            if set.name == "shelfmark.enable_segment_prune"
                && set.value == SetValue::List(vec!["off".to_string()])
    ));
}

#[test]
fn everything_else_is_datafusions() {
    assert!(matches!(
        parse("SELECT a <=> b FROM t;").unwrap(),
        Statement::DataFusion(_)
    ));
    assert!(matches!(
        parse("SHOW TABLES").unwrap(),
        Statement::DataFusion(_)
    ));
    let Statement::Explain(explain) = parse("EXPLAIN ANALYZE COMPACT t").unwrap() else {
        panic!("no EXPLAIN");
    };
    assert!(explain.options.analyze && matches!(*explain.statement, Statement::Compact(_)));
}

#[test]
fn vacuums() {
    let vacuum = |text: &str| match parse(text).unwrap() {
        Statement::Vacuum(v) => (v.names.len(), v.retain.map(|r| r.as_secs()), v.dry_run),
        other => panic!("{other:?}"),
    };
    assert_eq!(vacuum("VACUUM"), (0, None, false));
    assert_eq!(vacuum("VACUUM FULL ANALYZE a, b"), (2, None, false));
    assert_eq!(vacuum("VACUUM DRY RUN"), (0, None, true));
    let day = Some(86_400);
    assert_eq!(vacuum("VACUUM RETAIN '1 day'"), (0, day, false));
    assert_eq!(vacuum("VACUUM a RETAIN '24h' DRY RUN;"), (1, day, true));
    assert_eq!(vacuum("VACUUM retain"), (1, None, false));
    let code = |text: &str| parse(text).unwrap_err().sqlstate();
    assert_eq!(vacuum("VACUUM DRY RUN RETAIN 1 day"), (0, day, true));
    assert_eq!(vacuum("VACUUM a, b RETAIN 24 HOURS"), (2, day, false));
    assert_eq!(vacuum("VACUUM RETAIN 0"), (0, Some(0), false));
    assert_eq!(
        vacuum("VACUUM (DRY_RUN, RETAIN '1 day', FULL) a"),
        (1, day, true)
    );
    assert_eq!(vacuum("VACUUM (DRY_RUN off, ANALYZE) a"), (1, None, false));
    assert_eq!(code("VACUUM RETAIN 'long'"), "22023");
    assert_eq!(code("VACUUM RETAIN 600"), "22023");
    assert_eq!(code("VACUUM (RETAIN 600)"), "22023");
    assert_eq!(code("VACUUM DRY RUN DRY RUN"), "42601");
    assert_eq!(code("VACUUM (DRY RUN)"), "42601");
    assert_eq!(code("VACUUM (DRY_RUN, LARGE) a"), "42601");
    assert_eq!(code("ANALYZE (FULL) a"), "42601");
    assert_eq!(code("COMPACT a WITH ()"), "42601");
    assert_eq!(code("VACUUM a DRY"), "42601");
}

#[test]
fn errors_say_where() {
    for text in [
        "SELECT 1 1 1",
        "CREATE TABLE t (a",
        "COMPACT",
        "SELECT 1 +",
        "nonsense",
    ] {
        assert_eq!(parse(text).unwrap_err().sqlstate(), "42601", "{text}");
    }
    assert_eq!(
        parse("DROP TABLE t t2").unwrap_err().position(),
        Some((1, 14))
    );
}

#[test]
fn operators_of_pg_catalog_stand_before_quantifiers() {
    let same = |qualified: &str, bare: &str| {
        let [qualified, bare] = [qualified, bare].map(|text| format!("{:?}", parse(text).unwrap()));
        assert_eq!(strip_places(&qualified), strip_places(&bare));
    };
    same(
        "SELECT a OPERATOR(pg_catalog.=) ANY (array['r', 'S']) FROM t",
        "SELECT a = ANY (array['r', 'S']) FROM t",
    );
    same(
        "SELECT a operator ( pg_catalog . <> ) all (b) FROM t",
        "SELECT a <> all (b) FROM t",
    );
    assert!(parse("SELECT a OPERATOR(pg_catalog.=) ANY FROM t").is_err());
}

/// A debug text without the places of tokens.
fn strip_places(debug: &str) -> String {
    let mut stripped = String::new();
    let mut rest = debug;
    while let Some(at) = rest.find("Location(") {
        stripped.push_str(&rest[..at]);
        let behind = rest[at..].find(')').unwrap();
        rest = &rest[at + behind + 1..];
    }
    stripped + rest
}
