//! Deletes that landed on what a transaction replaces.

use std::collections::HashMap;

use super::prepared::Prepared;
use crate::error::{Error, Result};
use crate::storage::change::{Change, Replace};
use crate::storage::deletes::{Starts, rebase};
use crate::storage::schema::SegmentId;
use crate::storage::snapshot::Snapshot;

/// Deletes that landed on the inputs of a transaction's replaces since they were read.
pub(super) struct Rebased {
    by_first_input: HashMap<SegmentId, Vec<(u32, roaring::RoaringBitmap)>>,
    /// How many there are.
    pub(super) deletes: u64,
}

impl Rebased {
    pub(super) fn new(current: &Snapshot, prepared: &Prepared) -> Result<Self> {
        let mut rebased = Self {
            by_first_input: HashMap::new(),
            deletes: 0,
        };
        for (change, _) in &prepared.changes {
            if let Change::Replace(replace) = change {
                rebased.add(current, prepared, replace)?;
            }
        }
        Ok(rebased)
    }

    fn add(&mut self, current: &Snapshot, prepared: &Prepared, replace: &Replace) -> Result<()> {
        let Some(collection) = current.collection_by_id(replace.collection) else {
            return Ok(()); // The collection is gone, and applying says so.
        };
        let Some(first) = replace.inputs.first() else {
            return Ok(());
        };
        let starts = Starts::of(&replace.outputs);
        let mut landed = Vec::new();
        for input in &replace.inputs {
            check_no_delete(prepared, *input)?;
            let map = prepared.row_map(*input)?;
            let (rows, deletes) = if let Some(segment) = collection.segment(*input) {
                (segment.rows, &*segment.deletes)
            } else if let Some(growing) = collection.growing_segment(*input) {
                (growing.rows, &growing.deletes)
            } else {
                continue; // The input is gone, and applying says so.
            };
            if map.to.rows() != rows {
                let message = format!("segment {input} has other rows than were read");
                return Err(Error::conflict(message));
            }
            let moved = rebase(map, &starts, deletes)?;
            self.deletes += moved.values().map(|rows| rows.len()).sum::<u64>();
            landed.extend(moved);
        }
        self.by_first_input.insert(*first, landed);
        Ok(())
    }

    /// Puts the deletes onto the outputs; whether there were any.
    pub(super) fn onto(&mut self, replace: &mut Replace) -> bool {
        let first = replace.inputs.first();
        let landed = first.and_then(|first| self.by_first_input.remove(first));
        let landed = landed.unwrap_or_default();
        let any = !landed.is_empty();
        for (output, rows) in landed {
            replace.outputs[output as usize].deletes |= rows;
        }
        any
    }
}

/// That a transaction does not delete rows of a segment that it replaces itself: they would come back.
fn check_no_delete(prepared: &Prepared, input: SegmentId) -> Result<()> {
    let deletes = |c: &Change| matches!(c, Change::Delete(_, segment, _) if *segment == input);
    if prepared.changes.iter().any(|(c, _)| deletes(c)) {
        let message = format!("a transaction deletes from segment {input} and replaces it");
        return Err(Error::internal(message));
    }
    Ok(())
}
