//! Which column of which table a column of an answer is, as clients learn it.

use super::wire::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn columns_say_which_column_of_which_table_they_are() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE book (id INT PRIMARY KEY, gone INT, title TEXT);
        ALTER TABLE book DROP COLUMN gone;
        CREATE TABLE loan (id INT, book INT);
        CREATE VIEW titles AS SELECT title FROM book";
    client.batch_execute(script).await.unwrap();
    let oid = async |name: &str| {
        let sql = format!("SELECT '{name}'::regclass::oid");
        client.query_one(&sql, &[]).await.unwrap().get::<_, u32>(0)
    };
    let (book, loan, titles) = (oid("book").await, oid("loan").await, oid("titles").await);
    let origins = async |sql: &str| {
        let statement = client.prepare(sql).await.unwrap();
        let columns = statement.columns().iter();
        let told = columns.map(|c| c.table_oid().zip(c.column_id()));
        told.collect::<Vec<_>>()
    };
    for (sql, expected) in [
        ("SELECT * FROM book", vec![Some((book, 1)), Some((book, 3))]),
        (
            "SELECT title AS t, upper(title), 1 FROM book",
            vec![Some((book, 3)), None, None],
        ),
        (
            "SELECT title::text || '', id FROM book ORDER BY id LIMIT 1",
            vec![None, Some((book, 1))],
        ),
        (
            "SELECT l.id, b.title FROM loan l LEFT JOIN book b ON b.id = l.book",
            vec![Some((loan, 1)), Some((book, 3))],
        ),
        (
            "WITH t AS (SELECT title, id + 1 AS n FROM book) SELECT DISTINCT title, n FROM t",
            vec![Some((book, 3)), None],
        ),
        (
            "SELECT title, count(*) FROM book GROUP BY title",
            vec![Some((book, 3)), None],
        ),
        (
            "SELECT id FROM book UNION ALL SELECT id FROM loan",
            vec![None],
        ),
        ("SELECT * FROM titles", vec![Some((titles, 1))]),
        ("SELECT 1", vec![None]),
    ] {
        assert_eq!(origins(sql).await, expected, "{sql}");
    }
    server.stop().await;
}
