//! COPY between collections, queries, files and the client.
//!
//! | part | what it does |
//! |---|---|
//! | [`grammar`], [`options`] | the statement, and which options go together |
//! | [`dialect`] | how PostgreSQL's formats are written: text, csv, binary |
//! | [`input`] | the bytes that a client sends, and what it has to know |
//! | [`from`] | COPY .. FROM: bytes and files to rows |
//! | [`to`], [`out`] | COPY .. TO: the query, and the node over it |
//! | [`encode`], [`payloads`], [`write_file`] | rows to bytes, to the client or a file |

mod dialect;
mod encode;
mod files;
mod from;
pub(super) mod grammar;
mod input;
mod options;
mod out;
mod payloads;
mod progress;
mod to;
mod write_file;

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use self::input::CopyPipe;
pub use self::input::{CopyFormat, CopyInput, CopyShape};
use self::options::{CopyOptions, Direction};
pub use self::out::CopyPlanner;
pub use self::progress::{CopyJob, CopyProgress};
use super::ddl::{find_collection, qualify};
use super::session::{Planning, Tag};
use super::statement::{CopyPlace, CopyStatement, CopySubject};
use crate::error::{Error, Result};
use crate::storage::schema::CollectionId;

/// Where the bytes of a COPY .. FROM STDIN go in that is executed with this state.
pub(super) fn open_input(state: &mut SessionState) -> CopyInput {
    let (input, pipe) = CopyPipe::new();
    state.config_mut().set_extension(Arc::new(pipe));
    input
}

/// COPY.
pub(super) async fn plan(
    planning: &Planning<'_>,
    statement: CopyStatement,
) -> Result<(Tag, LogicalPlan)> {
    let direction = match statement.is_from {
        true => Direction::From,
        false => Direction::To,
    };
    let options = CopyOptions::parse(&statement.options, direction)?;
    let options = options.of_client(planning.session.style().encoding);
    planning.session.copy_progress().describe(CopyJob {
        is_from: statement.is_from,
        is_file: matches!(statement.place, CopyPlace::File(_)),
        collection: collection_of(planning, &statement.subject),
    });
    match statement.subject {
        CopySubject::Table(name, columns) if statement.is_from => {
            let into = from::Into {
                name: &name,
                columns: &columns,
                filter: statement.filter,
            };
            from::plan(planning, into, &statement.place, options)
        }
        subject => to::plan(planning, subject, &statement.place, options).await,
    }
}

/// The collection that is copied, if it is one.
fn collection_of(planning: &Planning<'_>, subject: &CopySubject) -> Option<CollectionId> {
    let CopySubject::Table(name, _) = subject else {
        return None;
    };
    let name = qualify(name, &planning.session.search_path()).ok()?;
    let found = find_collection(&planning.snapshot, &name).ok()?;
    Some(found.id)
}

/// 22P04: the data is not what its format says.
fn bad_file(message: impl Into<String>) -> Error {
    Error::invalid(crate::error::sqlstate::BAD_COPY_FILE_FORMAT, message)
}
