//! Shelfmark's parts in a DataFusion session of your own: the vector functions alone, and the catalog beside yours.
//!
//! ```text
//!   your SessionContext
//!  +------------------------------------------------------+
//!  |  register_all(&ctx)     <-> <=> <#> <+>, avg, ..     |
//!  |  catalog "datafusion"   your own tables              |
//!  |  catalog "shelfmark"    collections, pruned scans    |
//!  +------------------------------------------------------+
//!       one query may join both
//! ```

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};
use shelfmark::catalog::provider::ShelfmarkCatalog;
use shelfmark::{Database, Result, Settings};

/// Runs the example.
#[tokio::main]
pub async fn main() -> Result<()> {
    let database = Database::temporary(Settings::default()).await?;
    let session = database.session();
    for sql in [
        "CREATE TABLE colour (name TEXT, place VECTOR(3))",
        "INSERT INTO colour VALUES ('red', '[1,0,0]'), ('green', '[0,1,0]'), ('blue', '[0,0,1]')",
    ] {
        session.sql(sql).await?.collect().await?;
    }

    // The operators are PostgreSQL's, so the parser has to know its tokens.
    let config = SessionConfig::new().set_str("datafusion.sql_parser.dialect", "PostgreSQL");
    let context = SessionContext::new_with_config(config);
    shelfmark_udfs::register_all(&context);
    let catalog = ShelfmarkCatalog::new(Arc::clone(database.engine()));
    context.register_catalog("shelfmark", Arc::new(catalog));

    context
        .sql("CREATE TABLE wanted AS VALUES ('orange', '[1,0.4,0]'), ('teal', '[0,0.5,0.5]')")
        .await?
        .collect()
        .await?;
    let query = "SELECT w.column1 AS wanted, c.name, c.place <-> w.column2::vector(3) AS distance
                 FROM wanted w CROSS JOIN shelfmark.public.colour c ORDER BY 1, 3";
    context.sql(query).await?.show().await?;
    Ok(())
}
