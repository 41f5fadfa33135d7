//! COPY between files and collections.
//!
//! COPY .. FROM reads files into batches whose columns have the collection's types already, so that a bad value is
//! reported with its file and line, and hands them to the node that inserts: all rows come in one commit, or none.

mod csv;
mod files;
#[expect(dead_code, reason = "COPY .. FROM STDIN reads them")]
mod input;
mod options;
mod progress;
mod source;
mod text;
mod to;

use std::sync::Arc;

use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use self::files::find_files;
use self::input::CopyPipe;
pub use self::input::{CopyFormat, CopyInput, CopyShape};
use self::options::CopyOptions;
pub use self::progress::CopyProgress;
use self::source::FileSource;
use super::ddl::{check_writable, find_collection, qualify};
use super::dml::{insert_plan, target_columns};
use super::session::Planning;
use super::statement::{CopyStatement, CopySubject};
use crate::error::{Error, Result};

/// Where the bytes of a COPY .. FROM STDIN go in that is executed with this state.
pub(super) fn open_input(state: &mut SessionState) -> CopyInput {
    let (input, pipe) = CopyPipe::new();
    state.config_mut().set_extension(Arc::new(pipe));
    input
}

/// COPY.
pub(super) async fn plan(planning: &Planning<'_>, statement: CopyStatement) -> Result<LogicalPlan> {
    let options = CopyOptions::parse(&statement.options)?;
    match statement.subject {
        CopySubject::Table(name, columns) if statement.from_file => {
            from_files(planning, &name, &columns, &statement.path, options)
        }
        subject => to::plan(planning, subject, &statement.path, options).await,
    }
}

fn from_files(
    planning: &Planning<'_>,
    name: &ObjectName,
    columns: &[Ident],
    path: &str,
    options: CopyOptions,
) -> Result<LogicalPlan> {
    let name = qualify(name, &planning.session.search_path())?;
    check_writable(&name.schema)?;
    let collection = Arc::clone(find_collection(&planning.snapshot, &name)?);
    let names: Vec<ObjectName> = columns
        .iter()
        .map(|c| ObjectName::from(vec![c.clone()]))
        .collect();
    let named = target_columns(&collection, &names)?;
    let files = find_files(path, &options)?;
    let source = FileSource::open(&collection, files, options, &named, !columns.is_empty())?
        .with_progress(planning.session.copy_progress());
    let targets = source.targets().to_vec();
    let table = StreamingTable::try_new(Arc::clone(source.schema()), vec![Arc::new(source)])?;
    let provider = provider_as_source(Arc::new(table));
    let scan = LogicalPlanBuilder::scan("copy", provider, None)?.build()?;
    let input = planning.with_defaults(scan, &targets, &collection)?;
    insert_plan(planning.session, &collection, input)
}

/// 22P04: the file is not what its format says.
fn bad_file(message: impl Into<String>) -> Error {
    Error::invalid(crate::error::sqlstate::BAD_COPY_FILE_FORMAT, message)
}
