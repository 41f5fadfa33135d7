//! COPY .. FROM: bytes to batches whose columns have the collection's types already, so that a bad value is reported
//! with its line; the node that inserts takes them. All rows come in one commit, or none.
//!
//! | part | what it does |
//! |---|---|
//! | [`lines`], [`fields`] | where records end, and what their fields are |
//! | [`line_decoder`], [`binary`] | rows of texts or of values, however the bytes are cut |
//! | [`rows`] | rows to batches, and errors that say where they are |
//! | [`stream`] | reads, cuts and converts side by side |
//! | [`named`], [`json`] | files whose columns have names: Parquet, Arrow, JSON |

mod arrow_file;
mod binary;
mod decoder;
mod encoding;
mod fields;
mod json;
mod line_decoder;
mod lines;
mod matching;
mod named;
mod rows;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::sqlparser::ast::{Expr, ExprWithAlias, Ident, ObjectName};

pub(super) use self::binary::SIGNATURE;
use self::line_decoder::first_names;
use self::matching::{Matching, position};
use self::named::FileSource;
use self::rows::Intake;
use self::stream::{Origin, RowSource};
use super::dialect::{Dialect, Header};
use super::files::{InputFile, find_files};
use super::input::CopyShape;
use super::options::{CopyOptions, Direction};
use crate::catalog::dml::{ByViews, DmlNode};
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{check_writable, find_collection, qualify};
use crate::sql::dml::{copied_columns, insert_plan};
use crate::sql::session::{Planning, Tag};
use crate::sql::statement::CopyPlace;
use crate::sql::updatable::step;
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;

/// What a COPY .. FROM fills, and which of its rows.
pub(super) struct Into<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) columns: &'a [Ident],
    pub(super) filter: Option<Expr>,
}

/// The plan of COPY .. FROM.
///
/// # Errors
/// 42P01 or 42703 for what does not exist, 58P01 for files, and those of options.
pub(super) fn plan(
    planning: &Planning<'_>,
    into: Into<'_>,
    place: &CopyPlace,
    options: CopyOptions,
) -> Result<(Tag, LogicalPlan)> {
    let name = qualify(into.name, &planning.session.search_path())?;
    check_writable(&name.schema)?;
    let (collection, views) = filled(planning, &name)?;
    if collection.materialized.is_some() {
        return Err(not_to(&name, collection.kind()));
    }
    let names: Vec<ObjectName> = into
        .columns
        .iter()
        .map(|c| ObjectName::from(vec![c.clone()]))
        .collect();
    let targets = copied_columns(&collection, &names)?;
    let check_nulls = into.filter.is_none();
    let source = Source {
        planning,
        collection: &collection,
        named: !into.columns.is_empty(),
        check_nulls,
    };
    let (tag, stream, targets) = match place {
        CopyPlace::Client => {
            let dialect = options.stream_dialect(Direction::From)?;
            let tag = Tag::CopyIn(CopyShape::of(&dialect, targets.len()));
            (tag, source.client(dialect, &targets)?, targets)
        }
        CopyPlace::File(path) => {
            let files = find_files(path, &options)?;
            let (stream, targets) = source.files(files, options, &targets)?;
            (Tag::Count("COPY"), stream, targets)
        }
    };
    let table = StreamingTable::try_new(Arc::clone(stream.schema()), vec![stream])?;
    let provider = provider_as_source(Arc::new(table));
    let scan = LogicalPlanBuilder::scan("copy", provider, None)?.build()?;
    let mut input = planning.with_defaults(scan, &targets, &collection)?;
    if let Some(filter) = into.filter {
        input = filtered(planning, input, filter, &collection)?;
    }
    let plan = insert_plan(planning.session, &collection, input)?;
    Ok((tag, DmlNode::by_views(plan, views)))
}

/// What COPY fills by a name: a collection, or a partition of one.
fn filled(planning: &Planning<'_>, name: &QualifiedName) -> Result<(Arc<Collection>, ByViews)> {
    let snapshot = &planning.snapshot;
    if let Some((view, partition)) = snapshot.partition(name) {
        let parent = snapshot.collection_by_id(partition.parent);
        let parent = parent.ok_or_else(|| Error::internal("a partition has a table"))?;
        let views = ByViews {
            steps: vec![step(snapshot, view)],
            returns_columns: false,
        };
        return Ok((Arc::new(parent.by_partition(name)), views));
    }
    if snapshot.view(name).is_some() {
        return Err(not_to(name, "view"));
    }
    let collection = Arc::clone(find_collection(snapshot, name)?);
    Ok((collection, ByViews::default()))
}

/// The rows for which the expression over the collection's columns holds.
fn filtered(
    planning: &Planning<'_>,
    input: LogicalPlan,
    expr: Expr,
    collection: &Collection,
) -> Result<LogicalPlan> {
    let input = LogicalPlanBuilder::from(input)
        .alias(collection.name.name.as_str())?
        .build()?;
    let expr = ExprWithAlias { expr, alias: None };
    let filter = planning
        .state
        .create_logical_expr_from_sql_expr(expr, input.schema())?;
    Ok(LogicalPlanBuilder::from(input).filter(filter)?.build()?)
}

/// Makes the stream of rows for a collection.
struct Source<'a> {
    planning: &'a Planning<'a>,
    collection: &'a Collection,
    /// Whether the statement named the columns.
    named: bool,
    check_nulls: bool,
}

type Stream = Arc<dyn PartitionStream>;

impl Source<'_> {
    fn client(&self, dialect: Dialect, targets: &[usize]) -> Result<Stream> {
        let lines = dialect.lines().cloned();
        let intake = Intake::new(
            self.collection,
            targets,
            lines,
            self.check_nulls,
            self.planning.zone(),
        );
        // What is wrong with FORCE options is said before any bytes are asked for.
        intake.check_forced()?;
        Ok(self.rows(intake, Origin::Client(dialect)))
    }

    fn rows(&self, intake: Intake, origin: Origin) -> Stream {
        let progress = self.planning.session.copy_progress();
        let matching = Matching {
            relation: self.collection.name.to_string(),
            named: self.named,
        };
        Arc::new(RowSource::new(intake, origin, matching, progress))
    }

    /// The rows of files, and the columns that these have.
    fn files(
        &self,
        files: Vec<InputFile>,
        options: CopyOptions,
        wanted: &[usize],
    ) -> Result<(Stream, Vec<usize>)> {
        let of_rows = files.iter().filter(|f| f.format.is_rows()).count();
        if of_rows == 0 {
            let progress = self.planning.session.copy_progress();
            let source = FileSource::open(self.collection, files, wanted, self.named)?
                .with_zone(self.planning.zone())
                .with_progress(progress);
            let targets = source.targets().to_vec();
            return Ok((Arc::new(source), targets));
        }
        if of_rows < files.len() {
            let message = "the files are of different kinds";
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint("Say their format: COPY .. WITH (FORMAT csv)."));
        }
        let targets = self.targets_of(&files[0], &options, wanted)?;
        let dialect = options.file_dialect(&files[0].path, Direction::From)?;
        let lines = dialect.lines().cloned();
        let intake = Intake::new(
            self.collection,
            &targets,
            lines,
            self.check_nulls,
            self.planning.zone(),
        );
        intake.check_forced()?;
        let origin = Origin::Files(files, Box::new(options));
        Ok((self.rows(intake, origin), targets))
    }

    /// The columns that a file of rows has: those of the statement, or, where it names none, those of its header.
    fn targets_of(
        &self,
        file: &InputFile,
        options: &CopyOptions,
        wanted: &[usize],
    ) -> Result<Vec<usize>> {
        let dialect = options.file_dialect(&file.path, Direction::From)?;
        let Some(format) = dialect.lines() else {
            return Ok(wanted.to_vec());
        };
        if self.named || format.quoting.is_none() || format.header != Header::Line {
            return Ok(wanted.to_vec());
        }
        let input = file.open_decompressed(&Arc::default())?;
        let Some(names) = first_names(input, format).map_err(|e| e.context(file.label()))? else {
            return Ok(wanted.to_vec());
        };
        let columns = &self.collection.schema.columns;
        let is_there = |at: &&usize| position(&names, &columns[**at].name).is_some();
        let there: Vec<usize> = wanted.iter().filter(is_there).copied().collect();
        // A header without any of the names says nothing about places.
        Ok(if there.is_empty() {
            wanted.to_vec()
        } else {
            there
        })
    }
}

/// 42809: rows are not copied to it.
fn not_to(name: &QualifiedName, kind: &str) -> Error {
    let message = format!("cannot copy to {kind} \"{}\"", name.name);
    Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
}
