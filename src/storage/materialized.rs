//! Materialized views: collections whose rows come from a query.

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::view::{View, default_path};

/// Where the rows of a collection come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Materialized {
    /// The text of the query, as its author wrote it.
    pub query: String,
    /// Where the names in it are looked up that have no SQL schema.
    #[serde(default = "default_path")]
    pub search_path: Vec<String>,
    /// What the columns of the query were called, in the order of the collection's: a star may give others by now.
    pub names: Vec<String>,
    /// Whether it has rows of the query: without, it is not read.
    pub populated: bool,
}

impl Materialized {
    /// The view of the same query.
    pub fn view(&self, name: &QualifiedName) -> View {
        View {
            name: name.clone(),
            columns: Vec::new(),
            query: self.query.clone(),
            search_path: self.search_path.clone(),
            options: Vec::new(),
            defaults: Default::default(),
            partition: None,
        }
    }
}
