//! The stores that DataFusion may reach: the local file system, which COPY writes to, and nothing else.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::error::Error;

/// Knows `file://` only: no SQL makes the program fetch an address, whatever else is registered or linked in. Which
/// files a session may name is checked before.
#[derive(Debug, Default)]
pub struct LocalFiles(Arc<LocalFileSystem>);

impl ObjectStoreRegistry for LocalFiles {
    /// Registers nothing.
    fn register_store(
        &self,
        url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        tracing::warn!(%url, "object stores cannot be registered");
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" && !url.has_host() {
            return Ok(Arc::clone(&self.0) as _);
        }
        Err(Error::denied(format!("permission denied for \"{}\"", url.scheme())).into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_local_files_have_a_store() {
        let stores = LocalFiles::default();
        let get = |url: &str| stores.get_store(&url.parse().unwrap());
        get("file:///tmp/a.parquet").unwrap();
        for url in [
            "http://169.254.169.254/latest/",
            "https://example.org/a.parquet",
            "s3://bucket/a.parquet",
            "gs://bucket/a",
            "az://bucket/a",
            "hdfs://name/a",
            "ftp://example.org/a",
            "memory:///a",
            "file://example.org/a",
        ] {
            let url: Url = url.parse().unwrap();
            let store = Arc::new(LocalFileSystem::new());
            assert!(stores.register_store(&url, store).is_none());
            let error = Error::from(stores.get_store(&url).unwrap_err());
            assert_eq!(error.sqlstate(), "42501", "{url}");
        }
    }
}
