//! Centroids of vectors, along a path on which near ones are near, and which of them a vector belongs to.
//!
//! The centroids are leaves of a tree of two levels: a vector goes to the nearest group, and in it to the nearest leaf.
//! That is not always the nearest of all leaves, but costs the root of what it costs to look at all (about 100 distances
//! in place of 4,000), and any choice is right: how far the vectors are from their centroid is measured, not assumed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array};
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use shelfmark_udfs::{Metric, Query, Rows, distances_many};

use crate::error::{Error, Result};

/// Vectors that one thread places at once.
const CHUNK_ROWS: usize = 256;

/// A tree of centroids. Leaves are counted along the path, group by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Codebook {
    dimensions: u32,
    /// The number of leaves of each group, at least one.
    groups: Vec<u32>,
    /// The mean L2 distance of a vector of the sample from its leaf.
    spread: f64,
    /// The centroids of the groups, then those of the leaves; clones share them.
    #[serde(skip)]
    values: Arc<[f32]>,
}

impl Codebook {
    /// A codebook of groups, each with its centroid and those of its leaves; `spread` is the mean distance of a vector
    /// of the sample from its leaf.
    pub fn new(dimensions: usize, groups: &[(Vec<f32>, Vec<f32>)], spread: f64) -> Self {
        let leaves = |(_, leaves): &(Vec<f32>, Vec<f32>)| (leaves.len() / dimensions.max(1)) as u32;
        let values = groups.iter().map(|(group, _)| group);
        let values = values.chain(groups.iter().map(|(_, leaves)| leaves));
        Self {
            dimensions: dimensions as u32,
            groups: groups.iter().map(leaves).collect(),
            spread,
            values: values.flatten().copied().collect(),
        }
    }

    /// How many leaves there are.
    pub fn leaves(&self) -> usize {
        self.groups.iter().map(|n| *n as usize).sum()
    }

    /// The mean L2 distance of a vector of the sample from its leaf.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// The dimensions of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions as usize
    }

    /// The centroid of a leaf.
    pub fn leaf(&self, leaf: u32) -> Option<&[f32]> {
        self.centroid(self.groups.len() + leaf as usize)
    }

    fn centroid(&self, place: usize) -> Option<&[f32]> {
        let start = place.checked_mul(self.dimensions())?;
        self.values
            .get(start..start.checked_add(self.dimensions())?)
    }

    /// The leaves of vectors as keys; NULL for NULL.
    ///
    /// # Errors
    /// XX000 for vectors of other dimensions.
    pub fn keys(&self, vectors: &ArrayRef) -> Result<ArrayRef> {
        let vectors = vectors.as_fixed_size_list();
        if vectors.value_length() as usize != self.dimensions() {
            return Err(Error::internal(
                "vectors of other dimensions than a codebook has",
            ));
        }
        let leaves = self.place(&values_of(vectors)?);
        let keys = leaves.into_iter().map(|(leaf, _)| i64::from(leaf));
        let keys = keys
            .zip(0..)
            .map(|(key, row)| vectors.is_valid(row).then_some(key));
        Ok(Arc::new(Int64Array::from_iter(keys)))
    }

    /// For each of the vectors, which lie one after the other, its leaf and the square of its distance from that.
    pub fn place(&self, vectors: &[f32]) -> Vec<(u32, f64)> {
        let chunk = CHUNK_ROWS * self.dimensions().max(1);
        let chunks = vectors.par_chunks(chunk);
        chunks
            .flat_map_iter(|chunk| self.place_chunk(chunk))
            .collect()
    }

    fn place_chunk(&self, vectors: &[f32]) -> Vec<(u32, f64)> {
        let (groups, leaves) = self.values.split_at(self.groups.len() * self.dimensions());
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); self.groups.len()];
        for (row, (group, _)) in (0..).zip(nearest(groups, vectors, self.dimensions())) {
            rows_of[group as usize].push(row);
        }
        let mut placed = vec![(0, 0.0); vectors.len() / self.dimensions()];
        let mut first = 0;
        for (rows, count) in rows_of.into_iter().zip(&self.groups) {
            let of_group = first * self.dimensions()..(first + *count as usize) * self.dimensions();
            let of_rows: Vec<f32> = rows
                .iter()
                .flat_map(|row| &vectors[*row as usize * self.dimensions()..][..self.dimensions()])
                .copied()
                .collect();
            let found = nearest(&leaves[of_group], &of_rows, self.dimensions());
            for (row, (leaf, distance)) in rows.into_iter().zip(found) {
                placed[row as usize] = (first as u32 + leaf, distance);
            }
            first += *count as usize;
        }
        placed
    }

    /// The centroids as bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Takes the centroids back.
    ///
    /// # Errors
    /// XX001 when they are not as many as there should be.
    pub(super) fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let (floats, rest) = bytes.as_chunks::<4>();
        let centroids = self.groups.len() + self.leaves();
        let count = centroids.checked_mul(self.dimensions());
        let whole = self.groups.iter().all(|leaves| *leaves > 0) && self.dimensions > 0;
        if !rest.is_empty() || !whole || count != Some(floats.len()) {
            return Err(Error::corrupted("a codebook lacks centroids"));
        }
        self.values = floats.iter().map(|f| f32::from_le_bytes(*f)).collect();
        Ok(())
    }
}

/// For each vector the nearest of the centroids, the first of equals, and the square of its distance.
pub fn nearest(centroids: &[f32], vectors: &[f32], dimensions: usize) -> Vec<(u32, f64)> {
    let rows = vectors.len() / dimensions.max(1);
    let query = |centroid| Query::new(Metric::L2Squared, centroid);
    let queries: Vec<Query> = centroids
        .chunks_exact(dimensions.max(1))
        .map(query)
        .collect();
    let mut distances = vec![0.0; rows * queries.len()];
    distances_many(&queries, Rows::from(vectors), &mut distances);
    let mut found = vec![(0, f64::INFINITY); rows];
    for (place, distances) in distances.chunks_exact(rows.max(1)).enumerate() {
        for (best, distance) in found.iter_mut().zip(distances) {
            // Not true of NaN: what has no distance goes to the first.
            if *distance < best.1 {
                *best = (place as u32, *distance);
            }
        }
    }
    found
}

/// The values of vectors one after the other, as 32-bit floats; any at all where one is NULL.
///
/// # Errors
/// XX000 for an array of something else.
pub fn values_of(vectors: &FixedSizeListArray) -> Result<Vec<f32>> {
    let values = vectors.values();
    match values.data_type() {
        DataType::Float32 => Ok(values.as_primitive::<Float32Type>().values().to_vec()),
        DataType::Float16 => {
            let values = values.as_primitive::<Float16Type>().values();
            Ok(values.iter().map(|v| v.to_f32()).collect())
        }
        other => Err(Error::internal(format!("vectors of Arrow type {other}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::types::Float32Type;

    use super::*;

    /// Four corners of a square in two groups.
    fn corners() -> Codebook {
        let groups = [
            (vec![0.0, 5.0], vec![0.0, 0.0, 0.0, 10.0]),
            (vec![10.0, 5.0], vec![10.0, 10.0, 10.0, 0.0]),
        ];
        Codebook::new(2, &groups, 1.0)
    }

    #[test]
    fn a_vector_has_the_place_of_its_leaf_and_null_has_none() {
        let codebook = corners();
        assert_eq!(
            (codebook.leaves(), codebook.leaf(3)),
            (4, Some(&[10.0, 0.0][..]))
        );
        assert_eq!(codebook.leaf(4), None);
        let vector = |a, b| Some(vec![Some(a), Some(b)]);
        let vectors = [
            vector(9.0, 1.0),
            vector(-1.0, 2.0),
            None,
            vector(8.0, 8.0),
            vector(f32::NAN, 0.0),
        ];
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2);
        let vectors: ArrayRef = Arc::new(vectors);
        let keys = codebook.keys(&vectors).unwrap();
        let expected = Int64Array::from(vec![Some(3), Some(0), None, Some(2), Some(0)]);
        assert_eq!(keys.as_primitive(), &expected);
    }

    #[test]
    fn it_comes_back_from_json_and_bytes() {
        let codebook = corners();
        let json = serde_json::to_string(&codebook).unwrap();
        let mut back: Codebook = serde_json::from_str(&json).unwrap();
        assert!(back.set_bytes(&codebook.bytes()[4..]).is_err());
        back.set_bytes(&codebook.bytes()).unwrap();
        assert_eq!(back, codebook);
    }
}
