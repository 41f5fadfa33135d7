//! Partitions follow their collection: it knows them, and their queries name it and its columns as they are now.

use std::sync::Arc;

use super::{Snapshot, gone};
use crate::error::{Error, Result};
use crate::storage::change::{QualifiedName, View};
use crate::storage::partition::{Partition, PartitionBound, query};
use crate::storage::schema::CollectionId;

impl Snapshot {
    /// The partition of that name.
    pub fn partition(&self, name: &QualifiedName) -> Option<(&Arc<View>, &Partition)> {
        let view = self.view(name)?;
        Some((view, view.partition.as_deref()?))
    }

    /// What it means that a partition came, changed or went: rows that were meant for others do not fit any more.
    pub(super) fn divide(&mut self, id: CollectionId) -> Result<()> {
        let parent = self.collections.get(&id).ok_or_else(gone)?;
        if parent.schema.partitioning.is_none() {
            let message = format!("\"{}\" was altered by a concurrent commit", parent.name);
            return Err(Error::conflict(message));
        }
        self.link_partitions(id)?;
        self.update(id, |collection, version| {
            collection.schema_version = version;
            Ok(())
        })
    }

    /// Makes the queries of a collection's partitions again, and tells it of them.
    pub(super) fn link_partitions(&mut self, id: CollectionId) -> Result<()> {
        let parent = Arc::clone(self.collections.get(&id).ok_or_else(gone)?);
        if parent.schema.partitioning.is_none() {
            return Ok(());
        }
        let of_parent = |view: &&Arc<View>| view.partition.as_ref().is_some_and(|p| p.parent == id);
        let found: Vec<Arc<View>> = self.views.values().filter(of_parent).cloned().collect();
        let bounds = found.iter().filter_map(|view| view.partition.as_ref());
        let bounds: Vec<PartitionBound> = bounds.map(|of| of.bound.clone()).collect();
        let mut linked = Vec::with_capacity(found.len());
        for view in found {
            let Some(partition) = &view.partition else {
                continue;
            };
            let query = query(&parent, partition, &bounds);
            let view = match view.query == query {
                true => view,
                false => Arc::new(View {
                    query,
                    ..View::clone(&view)
                }),
            };
            self.put_view(Arc::clone(&view));
            linked.push(view);
        }
        self.update(id, |collection, _| {
            collection.set_partitions(linked);
            Ok(())
        })
    }

    /// Links all, once all are there.
    pub(in crate::storage) fn link_all_partitions(&mut self) -> Result<()> {
        let divided = self.collections.values();
        let divided = divided.filter(|c| c.schema.partitioning.is_some());
        let divided: Vec<CollectionId> = divided.map(|c| c.id).collect();
        divided
            .into_iter()
            .try_for_each(|id| self.link_partitions(id))
    }
}
