//! Training of the computed items of a clustering key, from a sample of the collection's rows.
//!
//! An item is trained when the collection is clustered first. Where a clustering rewrites every row anyway (FULL does),
//! it is trained again if it no longer fits: there are many more rows, or they lie elsewhere. Everything
//! else sorts by what was trained, because rows with keys of two models cannot be in one order.

use std::collections::HashSet;
use std::sync::Arc;

use super::input::{Input, Narrow};
use super::jobs::{Phase, Task};
use super::policy::Work;
use crate::error::{Error, Result};
use crate::storage::change::Training;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::key_model::{Codebook, ComputedKey, KeyFunction, KeyModel, Learned};
use crate::storage::schema::{FieldId, SegmentId};

mod kmeans;
mod quantiles;
mod sample;

use sample::{Sample, sample};

/// Rows that a leaf of a codebook should have at least: looking at the leaves costs a search no more than this part of
/// the rows.
const LEAF_ROWS: u64 = 64;
/// Bytes of vectors that a leaf should have at least.
const LEAF_BYTES: u64 = 64 << 10;
/// The most leaves of a codebook.
const LEAVES_MAX: u64 = 4_096;
/// The most bytes of a codebook's leaves: it is part of every checkpoint.
const MODEL_BYTES_MAX: u64 = 8 << 20;
/// The vectors of a sample for each leaf.
const SAMPLE_PER_LEAF: u64 = 64;
/// The part of the memory budget that a sample may take.
const SAMPLE_PART_OF_BUDGET: u64 = 4;
/// Leaves that are this many times too few, or vectors this much farther from them than those of the sample were: a codebook does not fit.
const LEAVES_GROWTH_MAX: u64 = 2;
const SPREAD_GROWTH_MAX: f64 = 1.2;

/// The collection as it will be with what a clustering trains, and what that is.
///
/// # Errors
/// XX001 or 58030 when a segment cannot be read, 57014 when the job is cancelled.
pub async fn train(
    engine: &Arc<Engine>,
    collection: &Arc<Collection>,
    work: &Work,
    task: &Task,
) -> Result<(Arc<Collection>, Vec<Training>)> {
    let whole = has_all(work, collection);
    let keys = collection.schema.computed_keys.iter();
    let due = keys.filter(|key| whole || collection.model(key.id).is_none());
    let due: Vec<ComputedKey> = due.cloned().collect();
    if due.is_empty() {
        return Ok((Arc::clone(collection), Vec::new()));
    }
    task.enter(Phase::Training);
    let trainer = Trainer {
        engine: Arc::clone(engine),
        collection: Arc::clone(collection),
        task: task.clone(),
    };
    let task = task.clone();
    tokio::task::spawn_blocking(move || task.compute(|| trainer.train(&due)))
        .await
        .map_err(|e| Error::internal(format!("the training of a compaction ended early: {e}")))?
}

/// Whether every row of the collection is rewritten.
fn has_all(work: &Work, collection: &Collection) -> bool {
    let inputs: HashSet<SegmentId> = work.inputs().collect();
    let growing = collection.growing().iter().map(|g| g.id);
    let mut all = collection.segments().map(|s| s.id).chain(growing);
    all.all(|id| inputs.contains(&id))
}

struct Trainer {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    task: Task,
}

impl Trainer {
    fn train(&self, due: &[ComputedKey]) -> Result<(Arc<Collection>, Vec<Training>)> {
        let mut next = Collection::clone(&self.collection);
        let mut trainings = Vec::new();
        let sealed = self.collection.segments().map(|s| s.id);
        let growing = self.collection.growing().iter().map(|g| g.id);
        let open = |id| Input::find(&self.engine, &self.collection, id);
        let inputs: Vec<Input> = sealed.chain(growing).map(open).collect::<Result<_>>()?;
        let inputs = Arc::new(inputs);
        for key in due {
            let known = self.collection.model(key.id);
            if let Some(learned) = self.learn(&key.function, known.map(|m| &m.learned), &inputs)? {
                let id = next.schema.next_field_id;
                let training = Training {
                    key: key.id,
                    model: KeyModel { id, learned },
                };
                next.train(&training, self.collection.schema_version)?;
                trainings.push(training);
            }
        }
        Ok((Arc::new(next), trainings))
    }

    /// What there is to learn; nothing where what is known fits.
    fn learn(
        &self,
        function: &KeyFunction,
        known: Option<&Learned>,
        inputs: &Arc<Vec<Input>>,
    ) -> Result<Option<Learned>> {
        match function {
            KeyFunction::Vector(field) => self.learn_codebook(*field, known, inputs),
            KeyFunction::Hilbert(fields) => self.learn_quantiles(fields, known, inputs),
        }
    }

    fn learn_quantiles(
        &self,
        fields: &[FieldId],
        known: Option<&Learned>,
        inputs: &[Input],
    ) -> Result<Option<Learned>> {
        let narrow = Narrow::of(&self.collection.schema, fields.to_vec())?;
        let learned = quantiles::quantiles(inputs, &narrow, fields, &self.task)?;
        let learned = Learned::Quantiles(learned);
        Ok(Some(learned).filter(|learned| known != Some(learned)))
    }

    fn learn_codebook(
        &self,
        field: FieldId,
        known: Option<&Learned>,
        inputs: &Arc<Vec<Input>>,
    ) -> Result<Option<Learned>> {
        let budget = self.engine.settings.compaction_memory_budget.0 / SAMPLE_PART_OF_BUDGET;
        let sample = sample(
            inputs,
            &self.collection.schema,
            field,
            &self.task,
            |rows, bytes| {
                let wanted = leaves_wanted(rows, bytes) * SAMPLE_PER_LEAF;
                wanted.min(budget / bytes.max(1)).max(1)
            },
        )?;
        if let Some(Learned::Codebook(codebook)) = known
            && fits(codebook, &sample)
        {
            return Ok(None);
        }
        Ok(Some(Learned::Codebook(codebook(&sample, &self.task)?)))
    }
}

/// How many leaves there should be for so many vectors of so many bytes.
fn leaves_wanted(rows: u64, vector_bytes: u64) -> u64 {
    let vector_bytes = vector_bytes.max(1);
    let leaf_rows = LEAF_ROWS.max(LEAF_BYTES / vector_bytes);
    let most = LEAVES_MAX.min(MODEL_BYTES_MAX / vector_bytes).max(1);
    (rows / leaf_rows).clamp(1, most)
}

fn fits(codebook: &Codebook, sample: &Sample) -> bool {
    let bytes = (sample.dimensions * size_of::<f32>()) as u64;
    let wanted = leaves_wanted(sample.of_rows, bytes);
    let placed = codebook.place(&sample.vectors);
    let sum: f64 = placed.iter().map(|(_, squared)| squared.sqrt()).sum();
    let spread = sum / placed.len().max(1) as f64;
    wanted < codebook.leaves() as u64 * LEAVES_GROWTH_MAX
        && spread <= codebook.spread() * SPREAD_GROWTH_MAX
}

/// A codebook of a sample: groups by k-means, in each leaves by k-means, both along a path from near to near.
fn codebook(sample: &Sample, task: &Task) -> Result<Codebook> {
    let dimensions = sample.dimensions;
    let bytes = (dimensions * size_of::<f32>()) as u64;
    let wanted = leaves_wanted(sample.of_rows, bytes) as usize;
    let groups = kmeans::cluster(&sample.vectors, dimensions, wanted.isqrt().max(1), task)?;
    let (mut tree, mut squares) = (Vec::new(), 0.0);
    let mut last: Vec<f32> = Vec::new();
    for group in kmeans::path(&groups.centroids, dimensions, None) {
        let members = groups.members(group as u32, &sample.vectors, dimensions);
        let rows = members.len() / dimensions;
        let share = (wanted * rows) / sample.rows().max(1);
        let leaves = kmeans::cluster(&members, dimensions, share.max(1), task)?;
        squares += leaves.distances.iter().sum::<f64>();
        let start = Some(last.as_slice()).filter(|v| !v.is_empty());
        let path = kmeans::path(&leaves.centroids, dimensions, start);
        let along = path
            .into_iter()
            .flat_map(|leaf| leaves.centroid(leaf, dimensions));
        let along: Vec<f32> = along.copied().collect();
        last = along[along.len() - dimensions..].to_vec();
        tree.push((groups.centroid(group, dimensions).to_vec(), along));
    }
    Ok(Codebook::new(
        dimensions,
        &tree,
        squares / sample.rows().max(1) as f64,
    ))
}
