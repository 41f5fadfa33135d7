//! A database inside a program: one door for all SQL, Arrow batches out.
//!
//! ```text
//!   your program
//!  +-------------------------------------------------+
//!  |  Database::open(dir)                            |
//!  |     |                                           |
//!  |  session() --- sql(text) --> DataFrame          |
//!  |                                 |  collect()    |
//!  |                                 v               |
//!  |                            RecordBatches        |
//!  +---------------------|---------------------------+
//!                        v
//!              dir: log/ checkpoint/ segments/
//! ```

use arrow::util::pretty::pretty_format_batches;
use shelfmark::{Database, Result, Session, Settings};

/// Runs the example.
#[tokio::main]
pub async fn main() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("shelfmark-embedded-{}", std::process::id()));
    {
        let database = Database::open(&directory, Settings::default()).await?;
        let session = database.session();
        run(
            &session,
            "CREATE TABLE note (id INT PRIMARY KEY, text TEXT, place VECTOR(3))",
        )
        .await?;
        run(
            &session,
            "INSERT INTO note VALUES (1, 'red', '[1,0,0]'), (2, 'green', '[0,1,0]')",
        )
        .await?;
        run(
            &session,
            "INSERT INTO note VALUES (3, 'orange', '[1,0.5,0]')",
        )
        .await?;
    }
    // What was acknowledged is there when the directory is opened again.
    let database = Database::open(&directory, Settings::default()).await?;
    let session = database.session();
    let query =
        "SELECT id, text, place <-> '[1,0.2,0]' AS distance FROM note ORDER BY distance LIMIT 2";
    let batches = session.sql(query).await?.collect().await?;
    println!("{}", pretty_format_batches(&batches)?);

    // A DataFrame can be built further before it runs.
    let frame = session.sql("SELECT id, text FROM note").await?;
    println!("{} notes", frame.count().await?);

    drop((session, database));
    std::fs::remove_dir_all(&directory)
        .map_err(|e| shelfmark::Error::io("remove the example's directory", e))
}

/// Runs a statement for what it does.
async fn run(session: &Session, sql: &str) -> Result<()> {
    session.sql(sql).await?.collect().await?;
    Ok(())
}
