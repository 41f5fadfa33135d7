//! What PartitionStats prove of all rows of a segment: that none of them need be looked at.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use datafusion::physical_expr::PhysicalExpr;
use roaring::RoaringBitmap;

use super::CollectionScanExec;
use super::units::Unit;
use crate::catalog::prune::Pruner;
use crate::storage::schema::SegmentId;

impl CollectionScanExec {
    /// The scan without need of a filter above it: `filter`, on the columns of the output, is true for every row that it
    /// reads, as PartitionStats prove. `None` where they do not, and where growing rows are read, which have none.
    pub fn covered_by(&self, filter: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let units = || self.units.iter().flatten();
        let has_growing = units().any(|u| u.is_growing() && u.live_rows() > 0);
        if !self.reads_all() || has_growing {
            return None;
        }
        let accepted = self.accepted_segments(filter);
        let is_open = |unit: &Unit| unit.segment().is_some_and(|s| !accepted.contains(&s.id));
        (!units().any(is_open)).then(|| Self {
            is_covered: true,
            statistics: Arc::new(OnceLock::new()),
            ..self.clone()
        })
    }

    /// The scan of what is left without the segments all of whose rows `filter` accepts, and the live rows of these.
    /// Without a filter above the scan that is all of them.
    pub fn without_accepted(
        &self,
        filter: Option<&Arc<dyn PhysicalExpr>>,
    ) -> (Self, HashMap<SegmentId, RoaringBitmap>) {
        let mut taken = HashMap::new();
        let is_filtered = self.request.predicate.is_some() && !self.is_covered;
        if !self.reads_all() || (filter.is_none() && is_filtered) {
            return (self.clone(), taken);
        }
        let is_sealed = |unit: &Unit| !unit.is_growing();
        if filter.is_some() && !self.units.iter().flatten().any(is_sealed) {
            return (self.clone(), taken);
        }
        let accepted = filter.map(|filter| self.accepted_segments(filter));
        let is_accepted = |unit: &Unit| match (&accepted, unit.segment()) {
            (None, _) => true,
            (Some(accepted), Some(segment)) => accepted.contains(&segment.id),
            // Growing rows have no statistics.
            (Some(_), None) => false,
        };
        let mut left = Vec::with_capacity(self.units.len());
        for partition in self.units.iter() {
            let (gone, stay): (Vec<_>, Vec<_>) = partition.iter().cloned().partition(is_accepted);
            let gone = gone.iter().filter(|unit| unit.live_rows_of_whole() > 0);
            taken.extend(gone.map(live_rows));
            left.push(stay);
        }
        let scan = Self {
            units: Arc::new(left),
            statistics: Arc::new(OnceLock::new()),
            ..self.clone()
        };
        (scan, taken)
    }

    /// Whether it leaves out nothing but what the predicate rejects.
    fn reads_all(&self) -> bool {
        self.request.prune && self.request.limit.is_none() && self.dynamic.is_empty()
    }

    /// The sealed segments of the collection for every row of which `filter`, on the columns of the output, is true.
    fn accepted_segments(&self, filter: &Arc<dyn PhysicalExpr>) -> HashSet<SegmentId> {
        let collection = &self.source.collection;
        let pruner = Pruner::new(filter, self.properties.eq_properties.schema());
        let accepted = pruner.must_match(collection.partition_stats());
        let segments = collection.segments().zip(&accepted);
        let accepted = segments.filter(|(_, is_accepted)| *is_accepted);
        accepted.map(|(segment, _)| segment.id).collect()
    }
}

/// The rows of the unit's segment that are not deleted.
fn live_rows(unit: &Unit) -> (SegmentId, RoaringBitmap) {
    let (id, rows, deletes) = match unit {
        Unit::Growing(growing) => (growing.id, growing.rows, &growing.deletes),
        Unit::Sealed { segment, .. } => (segment.id, segment.rows, &*segment.deletes),
    };
    let mut live = RoaringBitmap::new();
    // A segment has at most 2^32 rows: places are 32 bits wide.
    live.insert_range(0..u32::try_from(rows).unwrap_or(u32::MAX));
    live -= deletes;
    // Else a whole segment would be a bit per row in the log.
    live.optimize();
    (id, live)
}
