//! The operator that reads what changed, commit after commit.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::catalog::scan::{CollectionScanExec, OutputColumn, ScanRequest, ScanSource};
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;

/// The rows that one commit deleted, or inserted.
#[derive(Debug)]
pub(super) struct Part {
    pub change: &'static str,
    pub timestamp_ms: i64,
    /// Has no other rows, and the version that the commit made.
    pub source: Arc<ScanSource>,
}

/// Where a column of the output comes from.
#[derive(Debug, Clone, Copy)]
enum Column {
    Stored(OutputColumn),
    ChangeType,
    Version,
    Timestamp,
}

/// Reads what changed, in one partition.
#[derive(Debug)]
pub(super) struct TableChangesExec {
    name: QualifiedName,
    parts: Arc<Vec<Part>>,
    columns: Arc<[Column]>,
    properties: Arc<PlanProperties>,
}

impl TableChangesExec {
    /// The columns at these places of the collection's, then of the three more.
    pub fn new(
        collection: &Collection,
        parts: Vec<Part>,
        places: Vec<usize>,
        schema: SchemaRef,
    ) -> Self {
        let stored = &collection.schema.columns;
        let columns = places.into_iter().map(|place| match stored.get(place) {
            Some(column) => Column::Stored(OutputColumn::Stored(column.id)),
            None if place == stored.len() => Column::ChangeType,
            None if place == stored.len() + 1 => Column::Version,
            None => Column::Timestamp,
        });
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            name: collection.name.clone(),
            parts: Arc::new(parts),
            columns: columns.collect(),
            properties: Arc::new(properties),
        }
    }
}

impl Part {
    /// The rows of the part in the columns of the output.
    fn read(
        &self,
        columns: Arc<[Column]>,
        schema: SchemaRef,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let stored = columns.iter().filter_map(|column| match column {
            Column::Stored(column) => Some(*column),
            _ => None,
        });
        let request = ScanRequest {
            columns: stored.collect(),
            table: self.source.collection.schema.arrow_schema(),
            predicate: None,
            limit: None,
            prune: true,
            partitions: 1,
        };
        let scan = CollectionScanExec::new(Arc::clone(&self.source), request);
        let rows = scan.execute(0, context)?;
        let facts = self.facts();
        let output = Arc::clone(&schema);
        let rows = rows.map(move |batch| complete(&batch?, &columns, &facts, &output));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// What is the same in all its rows: the change, the version and the time.
    fn facts(&self) -> [ScalarValue; 3] {
        let version = self.source.version.0 as i64;
        let time = Some(self.timestamp_ms.saturating_mul(1_000));
        [
            ScalarValue::from(self.change),
            ScalarValue::from(version),
            ScalarValue::TimestampMicrosecond(time, Some("UTC".into())),
        ]
    }
}

/// The rows with the columns that are the same in all of them.
fn complete(
    rows: &RecordBatch,
    columns: &[Column],
    [change, version, time]: &[ScalarValue; 3],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let mut stored = rows.columns().iter();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        let fact = match column {
            Column::Stored(_) => {
                arrays.extend(stored.next().cloned());
                continue;
            }
            Column::ChangeType => change,
            Column::Version => version,
            Column::Timestamp => time,
        };
        arrays.push(fact.to_array_of_size(rows.num_rows())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = Arc::clone(schema);
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

impl DisplayAs for TableChangesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let version = |part: Option<&Part>| part.map_or(0, |part| part.source.version.0);
        let (first, last) = (version(self.parts.first()), version(self.parts.last()));
        write!(f, "TableChangesExec: collection={}", self.name)?;
        match self.parts.is_empty() {
            true => write!(f, ", nothing changed"),
            false => write!(f, ", changed in versions {first} to {last}"),
        }
    }
}

impl ExecutionPlan for TableChangesExec {
    fn name(&self) -> &str {
        "TableChangesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (parts, columns) = (Arc::clone(&self.parts), Arc::clone(&self.columns));
        let (schema, output) = (self.schema(), self.schema());
        // A part is opened when the one before it has ended.
        let rows = stream::iter(0..parts.len()).map(move |at| {
            let (columns, schema) = (Arc::clone(&columns), Arc::clone(&schema));
            parts[at].read(columns, schema, Arc::clone(&context))
        });
        let rows = RecordBatchStreamAdapter::new(output, rows.try_flatten());
        Ok(make_cooperative(Box::pin(rows)))
    }
}
