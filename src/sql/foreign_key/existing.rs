//! Whether rows that exist keep a foreign key that comes.

use std::sync::Arc;

use futures::StreamExt;

use crate::catalog::foreign_keys::{Brought, Links, Moment};
use crate::error::{Error, Result};
use crate::sql::session::Planning;
use crate::storage::collection::Collection;
use crate::storage::schema::CollectionSchema;

/// That each row of the collection refers by the foreign key of that name of `next`, the schema as it will be, to a row
/// that is there.
///
/// # Errors
/// 23503 naming the key.
pub(in crate::sql) async fn check_rows(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &CollectionSchema,
    name: &str,
) -> Result<()> {
    let key = next.foreign_key(name);
    let key = key.ok_or_else(|| Error::internal("a foreign key that is checked is not there"))?;
    let altered = collection.with_schema(next.clone());
    let mut brought = Brought::of(&altered, key)?;
    let mut rows = planning.rows_of(collection).await?.execute_stream().await?;
    while let Some(batch) = rows.next().await {
        brought.add(&batch?)?;
    }
    let links = Links {
        engine: Arc::clone(&planning.session.inner.core.engine),
        keys: Arc::from([]),
        brought: Arc::from([brought]),
        removed: Arc::default(),
        replaced: Arc::default(),
    };
    let now = Moment::default();
    links.judge(collection, &planning.snapshot, &now).await?;
    Ok(())
}
