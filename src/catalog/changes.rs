//! `table_changes('book', 41 [, 47])`: the rows that the commits from 41 to 47 inserted and deleted.
//!
//! | column              | type        | holds                                       |
//! |---------------------|-------------|---------------------------------------------|
//! | those of the collection | as of now | the row                                   |
//! | `_change_type`      | TEXT        | `insert`, or `delete` for a row that is gone |
//! | `_commit_version`   | BIGINT      | the version that the commit made            |
//! | `_commit_timestamp` | TIMESTAMPTZ | when                                        |
//!
//! Nothing is recorded for it: a commit is the difference of two versions, and what a compaction or seal moved is left out.
//! An UPDATE is a delete and an insert, since that is what the versions say. Rows come in the order of the versions, of each
//! first what was deleted, and are read as they are asked for, one segment at a time. That a row expires is no change; what
//! has expired is left out altogether.

mod exec;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use roaring::RoaringBitmap;

use self::exec::{Part, TableChangesExec};
use super::clustering::{qualified_in, text_of};
use super::options::PinnedSnapshot;
use super::scan::ScanSource;
use super::ttl::living_rows;
use crate::error::{Error, sqlstate};
use crate::storage::collection::{Collection, Segment};
use crate::storage::committer::Step;
use crate::storage::engine::Engine;
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{SegmentId, Version};
use crate::storage::ttl::Ttl;

/// The name under which [`ChangesFunction`] is registered.
pub const TABLE_CHANGES: &str = "table_changes";

/// The columns behind those of the collection.
const COLUMNS: [&str; 3] = ["_change_type", "_commit_version", "_commit_timestamp"];

/// The table function.
#[derive(Debug)]
pub struct ChangesFunction {
    engine: Arc<Engine>,
}

impl ChangesFunction {
    /// The function over the collections of a database, for `SessionContext::register_udtf`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl TableFunctionImpl for ChangesFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let (name, first, last) = match args.exprs() {
            [name, first] => (name, first, None),
            [name, first, last] => (name, first, Some(last)),
            _ => return Err(usage().into()),
        };
        let name = text_of(name).ok_or_else(usage)?;
        let first = version_of(first)?;
        let last = last.map(version_of).transpose()?;
        let snapshot = PinnedSnapshot::or_newest(args.session().config(), &self.engine);
        let collection = qualified_in(args.session(), &snapshot, name)?;
        let schema = schema(&collection)?;
        Ok(Arc::new(ChangesTable {
            engine: Arc::clone(&self.engine),
            ttl: Ttl::of(&collection),
            collection,
            first,
            last,
            schema,
        }))
    }
}

fn usage() -> Error {
    let message =
        "table_changes takes the name of a collection and the numbers of one or two versions";
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message)
        .with_hint("For example table_changes('book', 41, 47), of which both belong to the range.")
}

fn version_of(argument: &Expr) -> Result<Version, Error> {
    let Expr::Literal(value, _) = argument else {
        return Err(usage());
    };
    let wrong = || {
        let message = format!("{value} is not the number of a version");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    };
    if !value.data_type().is_integer() {
        return Err(wrong());
    }
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) if number > 0 => Ok(Version(number.unsigned_abs())),
        _ => Err(wrong()),
    }
}

fn schema(collection: &Collection) -> Result<SchemaRef, Error> {
    let columns = collection.schema.arrow_schema();
    if let Some(taken) = COLUMNS
        .iter()
        .find(|name| columns.column_with_name(name).is_some())
    {
        let message = format!(
            "\"{}\" has a column \"{taken}\" of its own",
            collection.name
        );
        return Err(Error::invalid(sqlstate::DUPLICATE_COLUMN, message)
            .with_hint("Rename it to see what changed."));
    }
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types = [DataType::Utf8, DataType::Int64, time];
    let added = COLUMNS.iter().zip(types);
    let added = added.map(|(name, data_type)| Arc::new(Field::new(*name, data_type, false)));
    let fields: Vec<FieldRef> = columns.fields().iter().cloned().chain(added).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// What changed in a collection.
///
/// Where rows have a time to live, the table means a plan, as a collection does: rows that have expired are no rows, however
/// they came and whoever deleted them.
#[derive(Debug, Clone)]
pub struct ChangesTable {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    ttl: Option<Ttl>,
    first: Version,
    last: Option<Version>,
    schema: SchemaRef,
}

impl ChangesTable {
    /// The collection as it is now.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// What there is to read, in the order of the versions.
    fn parts(&self, newest: Version) -> Result<Vec<Part>, Error> {
        let last = self.last.unwrap_or(newest);
        if self.first > last {
            let message = format!("version {} comes after version {last}", self.first);
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let steps = self.engine.committer.steps(self.first, last)?;
        // Files that a later version needs are there as long as those of this one are.
        let oldest = steps.first().map(|step| Arc::clone(&step.before));
        let mut parts = Vec::new();
        for step in &steps {
            for (change, rows) in self.changed(step)? {
                let source = ScanSource {
                    engine: Arc::clone(&self.engine),
                    collection: Arc::new(rows),
                    version: step.after.version(),
                    held: oldest.clone(),
                };
                parts.push(Part {
                    change,
                    timestamp_ms: step.after.timestamp_ms(),
                    source: Arc::new(source),
                });
            }
        }
        Ok(parts)
    }

    /// The rows that a commit deleted and those that it inserted.
    ///
    /// # Errors
    /// 0A000 for rows in which a column is of another type than now.
    fn changed(&self, step: &Step) -> Result<Vec<(&'static str, Collection)>, Error> {
        let id = self.collection.id;
        let before = step.before.collection_by_id(id);
        let after = step.after.collection_by_id(id);
        if let (Some(before), Some(after)) = (before, after)
            && Arc::ptr_eq(before, after)
        {
            return Ok(Vec::new());
        }
        let without = |of: Option<&Arc<Collection>>, other: Option<&Arc<Collection>>| {
            only_in(
                &self.collection,
                of?,
                other.map(|other| &**other),
                &step.rewritten,
            )
        };
        let mut changed = Vec::new();
        for (change, of, other) in [("delete", before, after), ("insert", after, before)] {
            if let (Some(of), Some(rows)) = (of, without(of, other)) {
                check_types(&self.collection, of, step)?;
                changed.push((change, rows));
            }
        }
        Ok(changed)
    }
}

/// That the columns of the collection as it is now had their types when it was `of`.
fn check_types(current: &Collection, of: &Collection, step: &Step) -> Result<(), Error> {
    let mut columns = current.schema.columns.iter();
    let changed = columns.find(|column| {
        let before = of.schema.column_by_id(column.id);
        before.is_some_and(|before| {
            before.column_type.arrow_type() != column.column_type.arrow_type()
        })
    });
    let Some(column) = changed else {
        return Ok(());
    };
    let message = format!(
        "column \"{}\" of \"{}\" was of another type in what version {} changed",
        column.name,
        current.name,
        step.after.version()
    );
    Err(Error::unsupported(message).with_hint("Ask for the versions after the type was changed."))
}

/// The live rows of `of` that are not live in `other`, in the columns of `current`; `None` where there are none.
fn only_in(
    current: &Collection,
    of: &Collection,
    other: Option<&Collection>,
    rewritten: &HashSet<SegmentId>,
) -> Option<Collection> {
    let mut segments = Vec::new();
    for segment in of.segments().filter(|s| !rewritten.contains(&s.id)) {
        let same = other.and_then(|other| other.segment(segment.id));
        if same.is_some_and(|same| Arc::ptr_eq(same, segment)) {
            continue;
        }
        let there = same.map(|same| (same.rows, &*same.deletes));
        if let Some(hidden) = hidden((segment.rows, &segment.deletes), there) {
            segments.push(Segment {
                deletes: Arc::new(hidden),
                ..Segment::clone(segment)
            });
        }
    }
    let mut growing = Vec::new();
    for segment in of.growing().iter().filter(|g| !rewritten.contains(&g.id)) {
        let same = other.and_then(|other| other.growing_segment(segment.id));
        let there = same.map(|same| (same.rows, &same.deletes));
        if let Some(hidden) = hidden((segment.rows, &segment.deletes), there) {
            let mut rows = GrowingSegment::clone(segment);
            rows.deletes = hidden;
            growing.push(Arc::new(rows));
        }
    }
    let is_empty = segments.is_empty() && growing.is_empty();
    (!is_empty).then(|| current.with_segments(segments, growing))
}

/// A number of rows, and which of them are deleted.
type Rows<'a> = (u64, &'a RoaringBitmap);

/// The rows of a segment that are not to be seen: deleted ones, and those that are live in `other` as well. `None` when
/// that is all of them.
fn hidden(of: Rows<'_>, other: Option<Rows<'_>>) -> Option<RoaringBitmap> {
    let mut hidden = of.1.clone();
    if let Some(other) = other {
        hidden |= live(other);
    }
    hidden.remove_range(u32::try_from(of.0).unwrap_or(u32::MAX)..);
    (hidden.len() < of.0).then_some(hidden)
}

fn live((rows, deletes): Rows<'_>) -> RoaringBitmap {
    let mut live = RoaringBitmap::new();
    live.insert_range(0..u32::try_from(rows).unwrap_or(u32::MAX));
    live - deletes
}

#[async_trait]
impl TableProvider for ChangesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    /// The changes of rows that have not expired. Should it not come about, the scan fails.
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        let ttl = self.ttl.as_ref()?;
        let all = Self {
            ttl: None,
            ..self.clone()
        };
        let plan = living_rows(ttl, &self.collection.name.name, Arc::new(all));
        plan.ok().map(Cow::Owned)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.ttl.is_some() {
            let message = "changes of rows with a time to live are read without regard to it";
            return Err(Error::internal(message).into());
        }
        let newest = PinnedSnapshot::or_newest(state.config(), &self.engine).version();
        let places = match projection {
            Some(places) => places.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let parts = self.parts(newest)?;
        let schema = Arc::new(self.schema.project(&places)?);
        let changes = TableChangesExec::new(&self.collection, parts, places, schema);
        Ok(Arc::new(changes))
    }
}
