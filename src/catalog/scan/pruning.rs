//! What a running scan prunes: segments again by dynamic filters, then row groups and pages.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;

use crate::catalog::prune::{Pruner, may_match};
use crate::storage::collection::Segment;
use crate::storage::schema::{CollectionSchema, FieldId, field_id};
use crate::storage::segment::{SegmentReader, push_range};
use crate::storage::segment_filters::SegmentFilters;
use crate::storage::stats::PartitionStats;

/// The predicates of a scan, held against ever smaller containers.
#[derive(Debug)]
pub(super) struct ScanPruning {
    /// The predicate known when the query was planned.
    planned: Option<Pruner>,
    /// Filters that change while the query runs; their columns are those of `output`.
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    /// The columns of the predicates, and no others: statistics are read only for these.
    schema: CollectionSchema,
    fields: Vec<FieldId>,
}

impl ScanPruning {
    /// `predicate` reads columns of `table`, the dynamic filters those of `output`; `None` when nothing can be pruned.
    pub fn new(
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        table: &SchemaRef,
        dynamic: &[Arc<dyn PhysicalExpr>],
        output: &SchemaRef,
        schema: &CollectionSchema,
    ) -> Option<Self> {
        let planned = predicate.map(|p| Pruner::new(p, table));
        let planned = planned.filter(Pruner::is_useful);
        let of_predicate = predicate.filter(|_| planned.is_some());
        let of_predicate = of_predicate.into_iter().flat_map(|p| fields_of(p, table));
        let of_dynamic = dynamic.iter().flat_map(|d| fields_of(d, output));
        let fields: Vec<FieldId> = of_predicate.chain(of_dynamic).collect();
        if fields.is_empty() {
            return None;
        }
        let schema = schema.of_columns(&fields);
        Some(Self {
            planned,
            dynamic: dynamic.to_vec(),
            output: Arc::clone(output),
            fields: schema.columns.iter().map(|c| c.id).collect(),
            schema,
        })
    }

    /// The predicate known when the query was planned, if it prunes.
    pub fn planned(&self) -> Option<&Pruner> {
        self.planned.as_ref()
    }

    /// Whether the dynamic filters, as they are now, leave anything of a segment.
    pub fn keeps_segment(&self, segment: &Segment) -> bool {
        if self.dynamic.is_empty() {
            return true;
        }
        let stats = PartitionStats::build(&self.schema, &[(segment.rows, &segment.stats)]);
        self.dynamic_match(&stats).value(0)
    }

    /// The statistics of a segment's row groups.
    pub fn row_group_stats(&self, reader: &SegmentReader, segment: &Segment) -> PartitionStats {
        reader.row_group_stats(&self.schema, &segment.stats)
    }

    /// Which containers the planned predicate leaves.
    pub fn planned_match(&self, stats: &PartitionStats) -> BooleanBuffer {
        match &self.planned {
            Some(pruner) => pruner.may_match(stats),
            None => BooleanBuffer::new_set(stats.containers),
        }
    }

    /// [`Self::planned_match`], and which containers have only rows that the planned predicate accepts.
    pub fn planned_matches(&self, stats: &PartitionStats) -> (BooleanBuffer, BooleanBuffer) {
        match &self.planned {
            Some(pruner) => pruner.matches(stats),
            None => (
                BooleanBuffer::new_set(stats.containers),
                BooleanBuffer::new_unset(stats.containers),
            ),
        }
    }

    /// Which row groups the bloom filters of a segment leave to all predicates, as they are now; `None` when no
    /// predicate looks a value up.
    pub fn lookup_match(
        &self,
        stats: &PartitionStats,
        filters: &SegmentFilters,
    ) -> Option<BooleanBuffer> {
        let dynamic = self.dynamic.iter();
        let dynamic: Vec<Pruner> = dynamic.map(|d| Pruner::new(d, &self.output)).collect();
        let all = self.planned.iter().chain(&dynamic);
        let kept = all.filter(|p| p.looks_up());
        kept.map(|p| p.may_match_in(stats, filters))
            .reduce(|a, b| &a & &b)
    }

    /// Which containers the dynamic filters leave, as they are now.
    pub fn dynamic_match(&self, stats: &PartitionStats) -> BooleanBuffer {
        let mut kept = BooleanBuffer::new_set(stats.containers);
        for filter in &self.dynamic {
            kept &= &may_match(filter, &self.output, stats);
        }
        kept
    }

    /// Whether filters may prune more now than they did before.
    pub fn is_dynamic(&self) -> bool {
        !self.dynamic.is_empty()
    }

    /// The rows of a row group that the planned predicate may accept, as far as the pages tell.
    pub fn accepted(
        &self,
        reader: &SegmentReader,
        segment: &Segment,
        row_group: usize,
    ) -> Accepted {
        let all = reader.row_group_range(row_group);
        let mut accepted = Accepted::default();
        let Some((stats, containers)) =
            reader.page_stats(row_group, &self.schema, &segment.stats, &self.fields)
        else {
            accepted.open.push(all);
            return accepted;
        };
        let (kept, certain) = self.planned_matches(&stats);
        for i in kept.set_indices() {
            let rows = all.start + containers[i].start..all.start + containers[i].end;
            match certain.value(i) {
                true => push_range(&mut accepted.certain, rows),
                false => push_range(&mut accepted.open, rows),
            }
        }
        accepted
    }

    /// The ranges of rows within a row group that its pages leave; `None` when that is all of them.
    pub fn page_ranges(
        &self,
        reader: &SegmentReader,
        segment: &Segment,
        row_group: usize,
    ) -> Option<Vec<Range<u32>>> {
        let (stats, containers) =
            reader.page_stats(row_group, &self.schema, &segment.stats, &self.fields)?;
        let kept = &self.planned_match(&stats) & &self.dynamic_match(&stats);
        let all = kept.count_set_bits() == containers.len();
        (!all).then(|| kept.set_indices().map(|i| containers[i].clone()).collect())
    }
}

/// The places of rows in a file among which a predicate accepts some.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Rows that it all accepts.
    pub certain: Vec<Range<u32>>,
    /// Rows that have to be looked at.
    pub open: Vec<Range<u32>>,
}

fn fields_of(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Vec<FieldId> {
    let columns = collect_columns(expr);
    let fields = columns
        .iter()
        .filter_map(|c| schema.fields().get(c.index()));
    fields.filter_map(|f| field_id(f)).collect()
}
