//! What is mended of a query before its parts are.

use datafusion::sql::sqlparser::ast::Query;

use super::elements::name_elements;
use super::join_alias::join_aliases_in_order;
use super::joins::merge_in_order;
use super::limits::limit_by_queries;
use super::recursion::check_recursion;
use super::ties::rank_of_ties;
use super::values::select_body;
use super::windows::windows_in_order;
use crate::error::Result;

/// Mends a query as a whole: its WITH, its body, its ORDER BY.
///
/// # Errors
/// Those of what it does.
pub(super) fn begin_query(query: &mut Query) -> Result<()> {
    if let Some(with) = &query.with {
        check_recursion(with)?;
    }
    select_body(&mut query.body)?;
    name_elements(query);
    windows_in_order(query)?;
    rank_of_ties(query)?;
    limit_by_queries(query)?;
    join_aliases_in_order(query)?;
    merge_in_order(query)
}
