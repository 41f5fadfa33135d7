//! Tables that hold no rows of a collection: anybody may read them.

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::functions_table::generate_series::GenerateSeriesTable;

use super::clustering::ClusteringTable;
use super::computed::Computed;
use super::parts::PartTable;
use super::pg::{OfRelation, SystemCatalogTable};
use super::system::SystemTableProvider;

/// Whether the table is one of ours that shows nothing that its reader may not see, or one that a query makes of its
/// own values.
///
/// What is not named here is not public: a table that comes to the catalogs is denied until it is.
pub fn is_public(table: &dyn TableProvider) -> bool {
    let of_system = table.is::<Computed<SystemTableProvider>>()
        || table.is::<Computed<SystemCatalogTable>>()
        || table.is::<Computed<ClusteringTable>>()
        || table.is::<Computed<OfRelation>>();
    // The rows of COPY are a stream; its statement was checked when it was planned.
    let of_query = table.is::<StreamingTable>()
        || table.is::<PartTable>()
        || table.is::<MemTable>()
        || table.is::<CteWorkTable>()
        || table.is::<GenerateSeriesTable>();
    of_system || of_query
}
