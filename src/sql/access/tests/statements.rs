//! Statements about roles and privileges, with the errors of PostgreSQL 15.

use super::*;
use crate::storage::role::Role;

async fn role(database: &Database, name: &str) -> Role {
    let snapshot = database.engine().committer.snapshot();
    Role::clone(snapshot.role_named(name).unwrap())
}

#[tokio::test]
async fn roles_are_made_changed_and_dropped() {
    let database = database().await;
    let admin = database.session();
    run_all(&admin, &[
        "CREATE ROLE team",
        "CREATE USER ann WITH ENCRYPTED PASSWORD 'secret' CONNECTION LIMIT 3 VALID UNTIL '2030-01-02 03:04:05+00' IN ROLE team",
        "CREATE ROLE \"Bob B\" SUPERUSER CREATEDB CREATEROLE NOINHERIT LOGIN REPLICATION BYPASSRLS",
        "CREATE GROUP crew ROLE ann ADMIN team",
        "ALTER ROLE ann SET search_path TO lib, public",
        "ALTER USER ann WITH NOLOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity'",
    ])
    .await;
    let ann = role(&database, "ann").await;
    assert!(ann.verifier.is_some() && ann.inherit && !ann.login);
    assert_eq!((ann.connection_limit, ann.valid_until_ms), (None, None));
    assert_eq!(ann.settings["search_path"], "lib, public");
    assert_eq!(ann.member_of.len(), 2);
    let bob = role(&database, "Bob B").await;
    assert!(bob.superuser && bob.create_db && bob.create_role && !bob.inherit && bob.login);
    run_all(
        &admin,
        &[
            "ALTER ROLE ann VALID UNTIL '2030-01-02 03:04:05+00' PASSWORD NULL",
            "ALTER ROLE ann RESET search_path",
            "ALTER ROLE ann RENAME TO anna",
            "ALTER GROUP crew DROP USER anna",
        ],
    )
    .await;
    let anna = role(&database, "anna").await;
    assert_eq!(anna.valid_until_ms, Some(1_893_553_445_000));
    assert!(anna.verifier.is_none() && anna.settings.is_empty());
    assert_eq!(anna.member_of.len(), 1);
    run_all(
        &admin,
        &[
            "DROP ROLE IF EXISTS anna, nobody, \"Bob B\"",
            "DROP GROUP crew",
            "DROP ROLE team",
        ],
    )
    .await;
    assert!(
        database
            .engine()
            .committer
            .snapshot()
            .role_named("anna")
            .is_none()
    );
    let notices = admin.take_notices();
    assert_eq!(
        notices[0].message,
        "role \"nobody\" does not exist, skipping"
    );
}

#[tokio::test]
async fn mistakes_have_the_codes_of_postgres() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE ann LOGIN",
            "CREATE ROLE team",
            "GRANT team TO ann",
            "CREATE TABLE book (id INT)",
            "CREATE VIEW titles AS SELECT id FROM book",
            "CREATE SCHEMA lib",
            "ALTER TABLE book OWNER TO ann",
            "GRANT SELECT ON titles TO ann",
        ],
    )
    .await;
    for (sql, code, message) in [
        ("CREATE ROLE ann", "42710", "role \"ann\" already exists"),
        (
            "CREATE ROLE pg_mine",
            "42939",
            "role name \"pg_mine\" is reserved",
        ),
        (
            "CREATE ROLE public",
            "42939",
            "role name \"public\" is reserved",
        ),
        (
            "CREATE ROLE x PASSWORD 'md5a3556571e93b0d20722ba62be61e8c2d'",
            "22023",
            "passwords hashed with MD5 are not supported",
        ),
        (
            "CREATE ROLE x LOGIN NOLOGIN",
            "42601",
            "conflicting or redundant options",
        ),
        (
            "CREATE ROLE x PASSWORD secret",
            "42601",
            "syntax error: PASSWORD takes a string in single quotes, or NULL",
        ),
        (
            "CREATE ROLE x CONNECTION LIMIT -2",
            "22023",
            "invalid connection limit: -2",
        ),
        (
            "CREATE ROLE x VALID UNTIL 'soon'",
            "22007",
            "invalid input syntax for type timestamp with time zone: \"soon\"",
        ),
        (
            "ALTER ROLE nobody LOGIN",
            "42704",
            "role \"nobody\" does not exist",
        ),
        (
            "ALTER ROLE pg_monitor LOGIN",
            "42939",
            "role name \"pg_monitor\" is reserved",
        ),
        (
            "DROP ROLE nobody",
            "42704",
            "role \"nobody\" does not exist",
        ),
        (
            "DROP ROLE shelfmark",
            "55006",
            "current user cannot be dropped",
        ),
        (
            "DROP ROLE ann",
            "2BP01",
            "role \"ann\" cannot be dropped because some objects depend on it",
        ),
        (
            "DROP ROLE pg_monitor",
            "2BP01",
            "cannot drop role pg_monitor because it is required by the database system",
        ),
        (
            "GRANT ann TO team",
            "0LP01",
            "role \"ann\" is a member of role \"team\"",
        ),
        (
            "GRANT team TO team",
            "0LP01",
            "role \"team\" is a member of role \"team\"",
        ),
        (
            "GRANT SELECT ON nothing TO ann",
            "42P01",
            "relation \"nothing\" does not exist",
        ),
        (
            "GRANT SELECT ON book TO nobody",
            "42704",
            "role \"nobody\" does not exist",
        ),
        (
            "GRANT USAGE ON book TO ann",
            "0LP01",
            "invalid privilege type USAGE for table",
        ),
        (
            "GRANT SELECT ON SCHEMA lib TO ann",
            "0LP01",
            "invalid privilege type SELECT for schema",
        ),
        (
            "GRANT CREATE ON SCHEMA nothing TO ann",
            "3F000",
            "schema \"nothing\" does not exist",
        ),
        (
            "GRANT CONNECT ON DATABASE nothing TO ann",
            "3D000",
            "database \"nothing\" does not exist",
        ),
        (
            "GRANT READ ON book TO ann",
            "42601",
            "unrecognized privilege type \"read\"",
        ),
        (
            "GRANT SELECT ON book TO PUBLIC WITH GRANT OPTION",
            "0LP01",
            "grant options can only be granted to roles",
        ),
        (
            "GRANT SELECT (id) ON book TO ann",
            "0A000",
            "privileges of columns are not supported",
        ),
        (
            "ALTER VIEW book OWNER TO ann",
            "42809",
            "\"book\" is not a view",
        ),
        (
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ann",
            "0A000",
            "ALTER DEFAULT PRIVILEGES is not supported",
        ),
        ("SET ROLE nobody", "22023", "role \"nobody\" does not exist"),
        (
            "REASSIGN OWNED BY shelfmark TO ann",
            "2BP01",
            "cannot reassign ownership of objects owned by role shelfmark because they are required by the database system",
        ),
    ] {
        assert_eq!(
            failure(&admin, sql).await,
            (code, message.to_string()),
            "{sql}"
        );
    }
    let dependent = run(&admin, "DROP ROLE ann").await.unwrap_err();
    assert_eq!(
        dependent.detail(),
        Some("owner of table book\nprivileges for view titles")
    );
}

#[tokio::test]
async fn who_is_no_superuser_is_held_back() {
    let database = database().await;
    run_all(
        &database.session(),
        &[
            "CREATE ROLE ann LOGIN",
            "CREATE ROLE maker CREATEROLE",
            "CREATE ROLE boss SUPERUSER",
            "CREATE ROLE team",
            "CREATE TABLE book (id INT)",
            "CREATE INDEX ON book (id)",
            "CREATE SCHEMA lib",
        ],
    )
    .await;
    let ann = database.session_as("ann").unwrap();
    for (sql, message) in [
        ("CREATE ROLE x", "permission denied to create role"),
        (
            "CREATE ROLE x SUPERUSER",
            "must be superuser to create superusers",
        ),
        ("DROP ROLE team", "permission denied to drop role"),
        ("ALTER ROLE team LOGIN", "permission denied"),
        (
            "ALTER ROLE ann SUPERUSER",
            "must be superuser to alter superuser roles or change superuser attribute",
        ),
        (
            "ALTER ROLE boss PASSWORD 'x'",
            "must be superuser to alter superuser roles or change superuser attribute",
        ),
        ("ALTER ROLE ann CREATEROLE", "permission denied"),
        (
            "GRANT team TO ann",
            "must have admin option on role \"team\"",
        ),
        ("GRANT boss TO ann", "must be superuser to alter superusers"),
        (
            "GRANT pg_read_all_data TO ann",
            "must have admin option on role \"pg_read_all_data\"",
        ),
        (
            "GRANT SELECT ON book TO ann",
            "permission denied for table book",
        ),
        (
            "ALTER TABLE book OWNER TO ann",
            "must be owner of table book",
        ),
        (
            "ALTER TABLE book ADD COLUMN x INT",
            "must be owner of table book",
        ),
        ("DROP TABLE book", "must be owner of table book"),
        ("COMPACT book", "must be owner of table book"),
        ("CREATE INDEX ON book (id)", "must be owner of table book"),
        (
            "DROP INDEX book_id_idx",
            "must be owner of index book_id_idx",
        ),
        (
            "ALTER INDEX book_id_idx RENAME TO mine",
            "must be owner of index book_id_idx",
        ),
        ("TRUNCATE book", "permission denied for table book"),
        ("SELECT * FROM book", "permission denied for table book"),
        (
            "CREATE TABLE mine (id INT)",
            "permission denied for schema public",
        ),
        (
            "CREATE TABLE lib.mine (id INT)",
            "permission denied for schema lib",
        ),
        (
            "CREATE VIEW mine AS SELECT 1",
            "permission denied for schema public",
        ),
        (
            "CREATE SCHEMA mine",
            "permission denied for database shelfmark",
        ),
        ("DROP SCHEMA lib", "must be owner of schema lib"),
        ("VACUUM", "must be owner of database shelfmark"),
        ("CHECK TABLE book", "must be owner of table book"),
        ("SET ROLE team", "permission denied to set role \"team\""),
        (
            "SET SESSION AUTHORIZATION boss",
            "permission denied to set session authorization",
        ),
        (
            "EXPLAIN ANALYZE CREATE ROLE x",
            "permission denied to create role",
        ),
        (
            "EXPLAIN SELECT * FROM book",
            "permission denied for table book",
        ),
    ] {
        assert_eq!(
            failure(&ann, sql).await,
            ("42501", message.to_string()),
            "{sql}"
        );
    }
    run_all(
        &ann,
        &[
            "ALTER ROLE ann PASSWORD 'mine'",
            "ALTER ROLE CURRENT_USER SET timezone = 'UTC'",
            "SELECT 1",
            "RESET ROLE",
        ],
    )
    .await;
    let maker = database.session_as("maker").unwrap();
    run_all(
        &maker,
        &[
            "CREATE ROLE x LOGIN",
            "ALTER ROLE x PASSWORD 'y'",
            "GRANT team TO x",
            "DROP ROLE x",
        ],
    )
    .await;
    assert_eq!(failure(&maker, "DROP ROLE boss").await.0, "42501");
    assert_eq!(
        failure(&maker, "GRANT pg_read_all_data TO ann").await.0,
        "42501"
    );
}

#[tokio::test]
async fn grants_are_passed_on_and_taken_back() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE ann",
            "CREATE ROLE bob",
            "CREATE ROLE eve",
            "CREATE TABLE book (id INT)",
            "GRANT SELECT, INSERT ON book TO ann WITH GRANT OPTION",
        ],
    )
    .await;
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| database.session_as(name).unwrap());
    run_all(&ann, &["GRANT SELECT ON book TO bob WITH GRANT OPTION"]).await;
    run_all(&bob, &["GRANT SELECT ON book TO eve"]).await;
    run_all(&eve, &["SELECT * FROM book"]).await;
    // Of several privileges those are granted that can be.
    run_all(&ann, &["GRANT SELECT, DELETE ON book TO eve"]).await;
    assert_eq!(
        ann.take_notices()[0].message,
        "not all privileges were granted for \"book\""
    );
    assert_eq!(failure(&eve, "DELETE FROM book").await.0, "42501");
    let revoke = "REVOKE GRANT OPTION FOR SELECT ON book FROM ann";
    assert_eq!(
        failure(&admin, revoke).await,
        ("2BP01", "dependent privileges exist".to_string())
    );
    run_all(
        &admin,
        &["REVOKE GRANT OPTION FOR SELECT ON book FROM ann CASCADE"],
    )
    .await;
    run_all(&ann, &["SELECT * FROM book"]).await;
    assert_eq!(failure(&bob, "SELECT * FROM book").await.0, "42501");
    assert_eq!(failure(&eve, "SELECT * FROM book").await.0, "42501");
    run_all(
        &admin,
        &["GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC"],
    )
    .await;
    run_all(&eve, &["SELECT * FROM book", "DELETE FROM book"]).await;
    run_all(
        &admin,
        &["REVOKE ALL PRIVILEGES ON TABLE book FROM PUBLIC, ann"],
    )
    .await;
    assert_eq!(failure(&ann, "SELECT * FROM book").await.0, "42501");
    // Even the owner does not read what was taken from it, but can give it back.
    run_all(
        &admin,
        &[
            "ALTER TABLE book OWNER TO ann",
            "REVOKE SELECT ON book FROM ann",
        ],
    )
    .await;
    assert_eq!(failure(&ann, "SELECT * FROM book").await.0, "42501");
    run_all(&ann, &["GRANT SELECT ON book TO ann", "SELECT * FROM book"]).await;
}

#[tokio::test]
async fn a_view_reads_with_its_owners_rights() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE ann",
            "CREATE ROLE bob",
            "CREATE SCHEMA private",
            "CREATE TABLE private.book (id INT, title TEXT)",
            "INSERT INTO private.book VALUES (1, 'hidden')",
            "CREATE TABLE book (id INT, title TEXT)",
            "INSERT INTO book VALUES (2, 'shown')",
            "CREATE VIEW titles AS SELECT title FROM book",
            "CREATE VIEW nested AS SELECT title FROM titles",
            "GRANT SELECT ON nested TO ann",
        ],
    )
    .await;
    let ann = database.session_as("ann").unwrap();
    assert!(
        run(&ann, "SELECT * FROM nested")
            .await
            .unwrap()
            .contains("shown")
    );
    assert_eq!(
        failure(&ann, "SELECT * FROM titles").await.1,
        "permission denied for view titles"
    );
    assert_eq!(
        failure(&ann, "SELECT * FROM book").await.1,
        "permission denied for table book"
    );
    let both = "SELECT * FROM nested, book";
    assert_eq!(
        failure(&ann, both).await.1,
        "permission denied for table book"
    );
    assert!(
        run(&ann, "EXPLAIN SELECT * FROM nested")
            .await
            .unwrap()
            .contains("Scan")
    );
    for hidden in [
        "EXPLAIN SELECT * FROM titles",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM titles",
    ] {
        assert_eq!(
            failure(&ann, hidden).await.1,
            "permission denied for view titles"
        );
    }
    // Names in the view mean what they meant, not what the reader's path says.
    run_all(&ann, &["SET search_path = private"]).await;
    let read = run(&ann, "SELECT * FROM public.nested").await.unwrap();
    assert!(read.contains("shown") && !read.contains("hidden"), "{read}");
    run_all(&ann, &["SET search_path = public"]).await;
    // The owner's rights count, whoever it is by now.
    run_all(&admin, &["ALTER VIEW titles OWNER TO bob"]).await;
    assert_eq!(
        failure(&ann, "SELECT * FROM nested").await.1,
        "permission denied for table book"
    );
    assert_eq!(
        failure(&admin, "SELECT * FROM titles").await.1,
        "permission denied for table book"
    );
    run_all(&admin, &["GRANT SELECT ON book TO bob"]).await;
    run_all(&ann, &["SELECT * FROM nested"]).await;
    run_all(&admin, &["DROP VIEW nested"]).await;
    assert_eq!(failure(&ann, "SELECT * FROM nested").await.0, "42P01");
}

#[tokio::test]
async fn owners_change_and_leave() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE ann",
            "CREATE ROLE bob",
            "CREATE ROLE team",
            "GRANT team TO ann",
            "GRANT CREATE ON SCHEMA public TO ann, team",
            "GRANT CREATE ON DATABASE shelfmark TO ann",
        ],
    )
    .await;
    let [ann, bob] = ["ann", "bob"].map(|name| database.session_as(name).unwrap());
    run_all(
        &ann,
        &[
            "CREATE SCHEMA mine",
            "CREATE TABLE mine.book (id INT)",
            "CREATE TABLE note (id INT)",
            "INSERT INTO note VALUES (1)",
            "CREATE VIEW notes AS SELECT * FROM note",
            "ALTER TABLE note OWNER TO team",
            "ALTER TABLE note ADD COLUMN text TEXT",
            "CREATE OR REPLACE VIEW notes AS SELECT id FROM note",
            "GRANT SELECT ON notes TO bob",
            "CREATE TABLE copied AS SELECT * FROM notes",
            "COMPACT copied WITH (WAIT)",
        ],
    )
    .await;
    assert_eq!(
        failure(&ann, "ALTER TABLE mine.book OWNER TO bob").await.1,
        "must be member of role \"bob\""
    );
    run_all(&bob, &["SELECT * FROM notes"]).await;
    assert_eq!(
        failure(&bob, "CREATE OR REPLACE VIEW notes AS SELECT 1")
            .await
            .1,
        "permission denied for schema public"
    );
    run_all(&admin, &["REASSIGN OWNED BY ann TO bob"]).await;
    assert_eq!(
        failure(&ann, "DROP TABLE copied").await.1,
        "must be owner of table copied"
    );
    run_all(
        &bob,
        &["DROP TABLE copied", "INSERT INTO mine.book VALUES (1)"],
    )
    .await;
    run_all(
        &admin,
        &[
            "DROP OWNED BY bob",
            "DROP ROLE bob",
            "DROP OWNED BY team",
            "DROP OWNED BY ann",
            "DROP ROLE ann, team",
        ],
    )
    .await;
    let snapshot = database.engine().committer.snapshot();
    assert_eq!(
        (snapshot.collections().count(), snapshot.views().count()),
        (0, 0)
    );
    assert!(!snapshot.has_schema("mine"));
}

#[tokio::test]
async fn set_role_takes_the_rights_of_a_role() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE team",
            "CREATE ROLE ann NOINHERIT IN ROLE team",
            "CREATE TABLE book (id INT)",
            "GRANT SELECT ON book TO team",
        ],
    )
    .await;
    let ann = database.session_as("ann").unwrap();
    assert_eq!(failure(&ann, "SELECT * FROM book").await.0, "42501");
    run_all(
        &ann,
        &["SET ROLE team", "SELECT * FROM book", "SET ROLE NONE"],
    )
    .await;
    assert_eq!(failure(&ann, "SELECT * FROM book").await.0, "42501");
    run_all(
        &ann,
        &[
            "SET SESSION ROLE 'team'",
            "SELECT * FROM book",
            "RESET ROLE",
        ],
    )
    .await;
    run_all(&admin, &["SET ROLE ann"]).await;
    assert_eq!(failure(&admin, "SELECT * FROM book").await.0, "42501");
    run_all(&admin, &["RESET ROLE", "SET SESSION AUTHORIZATION ann"]).await;
    assert_eq!(failure(&admin, "CREATE ROLE x").await.0, "42501");
    run_all(&admin, &["RESET SESSION AUTHORIZATION", "CREATE ROLE x"]).await;
    // A role that is dropped has no rights any more, in sessions that are open.
    let gone = database.session_as("x").unwrap();
    run_all(&admin, &["GRANT SELECT ON book TO PUBLIC", "DROP ROLE x"]).await;
    assert_eq!(failure(&gone, "CREATE SCHEMA s").await.0, "42501");
    assert_eq!(failure(&gone, "DROP TABLE book").await.0, "42501");
}

#[tokio::test]
async fn bounds_show_to_readers_only() {
    let database = database().await;
    let admin = database.session();
    run_all(
        &admin,
        &[
            "CREATE ROLE ann",
            "CREATE TABLE book (id INT)",
            "INSERT INTO book VALUES (424242)",
            "COMPACT book WITH (WAIT)",
        ],
    )
    .await;
    let ann = database.session_as("ann").unwrap();
    let stats = "SELECT min_value FROM shelfmark.partition_stats";
    assert!(run(&admin, stats).await.unwrap().contains("424242"));
    assert!(!run(&ann, stats).await.unwrap().contains("424242"));
    run_all(&admin, &["GRANT SELECT ON book TO ann"]).await;
    assert!(run(&ann, stats).await.unwrap().contains("424242"));
}

#[tokio::test]
async fn no_way_around_the_session_leads_past_the_check() {
    let database = database().await;
    run_all(
        &database.session(),
        &[
            "CREATE ROLE ann",
            "CREATE TABLE book (id INT)",
            "CREATE VIEW ids AS SELECT id FROM book",
        ],
    )
    .await;
    let ann = database.session_as("ann").unwrap();
    for sql in [
        "SELECT * FROM book",
        "SELECT * FROM ids",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM book)",
        "SELECT (SELECT max(id) FROM book)",
        "INSERT INTO book VALUES (1)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SET datafusion.runtime.memory_limit = '1T'",
    ] {
        let planned = ann.context().sql(sql).await;
        let answer = match planned {
            Ok(frame) => frame.collect().await.map(|_| ()),
            Err(e) => Err(e),
        };
        assert!(answer.is_err(), "{sql}");
    }
    let frame = ann.context().table("book").await.unwrap();
    assert_eq!(
        crate::error::Error::from(frame.collect().await.unwrap_err()).sqlstate(),
        "42501"
    );
    let client = client(
        &database,
        role(&database, "ann").await.id,
        FileAccess::Below(Vec::new()),
    );
    let copy = "COPY (SELECT 1) TO '/tmp/never.csv'";
    assert_eq!(failure(&client, copy).await.0, "42501");
    assert_eq!(failure(&ann, copy).await.0, "42501");
}

#[tokio::test]
async fn a_plan_shows_no_password() {
    let database = database().await;
    let admin = database.session();
    let plan = run(&admin, "EXPLAIN CREATE ROLE ann PASSWORD 'secret'")
        .await
        .unwrap();
    assert!(plan.contains("CREATE ROLE") && !plan.contains("secret") && !plan.contains("SCRAM"));
    run_all(&admin, &["CREATE ROLE ann PASSWORD 'secret'"]).await;
    let versions = run(&admin, "SELECT * FROM shelfmark.versions")
        .await
        .unwrap();
    assert!(versions.contains("create role ann") && !versions.contains("SCRAM"));
}
