//! k-means (Lloyd, 1982), begun as k-means++ does (Arthur and Vassilvitskii, 2007), and a path through its centroids.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use shelfmark_udfs::{Metric, Query};

use crate::compaction::jobs::Task;
use crate::error::Result;
use crate::storage::key_model::nearest;

/// How often centroids are moved: more changes little.
const ROUNDS: usize = 8;
/// The same rows always make the same centroids.
const SEED: u64 = 0x5E1F_A11E;
/// Points that one thread looks at, in numbers.
const CHUNK_NUMBERS: usize = 256 << 10;

/// Points by their nearest centroid.
#[derive(Debug)]
pub(super) struct Clusters {
    /// The centroids one after the other; each has points.
    pub centroids: Vec<f32>,
    /// The cluster of each point.
    pub of: Vec<u32>,
    /// The distance of each point from its centroid.
    pub distances: Vec<f64>,
}

impl Clusters {
    pub fn centroid(&self, cluster: usize, dimensions: usize) -> &[f32] {
        &self.centroids[cluster * dimensions..][..dimensions]
    }

    /// The points of a cluster, one after the other.
    pub fn members(&self, cluster: u32, points: &[f32], dimensions: usize) -> Vec<f32> {
        let points = points.chunks_exact(dimensions).zip(&self.of);
        let members = points.filter(|(_, of)| **of == cluster);
        members.flat_map(|(point, _)| point).copied().collect()
    }
}

/// At most `k` clusters of points, of which there is at least one.
///
/// # Errors
/// 57014 when the job is cancelled.
pub(super) fn cluster(
    points: &[f32],
    dimensions: usize,
    k: usize,
    task: &Task,
) -> Result<Clusters> {
    let mut centroids = begin(points, dimensions, k, task)?;
    for _ in 0..ROUNDS {
        task.check()?;
        let of = place(&centroids, points, dimensions);
        let moved = means(points, dimensions, &of, centroids.len() / dimensions);
        if moved == centroids {
            break;
        }
        centroids = moved;
    }
    // The means of clusters that have points: a centroid may have lost all of its own in the last round.
    let of = place(&centroids, points, dimensions);
    let centroids = means(points, dimensions, &of, centroids.len() / dimensions);
    let (of, squares): (Vec<u32>, Vec<f64>) =
        place(&centroids, points, dimensions).into_iter().unzip();
    Ok(Clusters {
        centroids,
        of,
        distances: squares.into_iter().map(f64::sqrt).collect(),
    })
}

fn place(centroids: &[f32], points: &[f32], dimensions: usize) -> Vec<(u32, f64)> {
    let chunks = points.par_chunks(chunk(dimensions));
    chunks
        .flat_map_iter(|points| nearest(centroids, points, dimensions))
        .collect()
}

fn chunk(dimensions: usize) -> usize {
    (CHUNK_NUMBERS / dimensions).max(1) * dimensions
}

/// Points as centroids: each is chosen by the square of its distance from those before.
fn begin(points: &[f32], dimensions: usize, k: usize, task: &Task) -> Result<Vec<f32>> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let count = points.len() / dimensions;
    let point = |i: usize| &points[i * dimensions..][..dimensions];
    let mut centroids = point(random.random_range(0..count)).to_vec();
    let mut squares = vec![f64::INFINITY; count];
    while centroids.len() < k * dimensions {
        task.check()?;
        let last = &centroids[centroids.len() - dimensions..];
        let query = Query::new(Metric::L2Squared, last);
        let rows = chunk(dimensions) / dimensions;
        let chunks = points
            .par_chunks(rows * dimensions)
            .zip(squares.par_chunks_mut(rows));
        chunks.for_each(|(points, squares)| {
            let mut found = vec![0.0; squares.len()];
            query.distances(points, &mut found);
            for (least, found) in squares.iter_mut().zip(found) {
                *least = least.min(found);
            }
        });
        let all: f64 = squares.iter().sum();
        if all <= 0.0 {
            break;
        }
        let mut left = random.random_range(0.0..all);
        let chosen = squares.iter().position(|square| {
            left -= square;
            left < 0.0
        });
        // Rounding may leave some at the end: then the farthest is as good.
        let farthest = || (0..count).max_by(|a, b| squares[*a].total_cmp(&squares[*b]));
        let chosen = chosen.or_else(farthest).unwrap_or(0);
        centroids.extend_from_slice(point(chosen));
    }
    Ok(centroids)
}

/// The means of the points of each cluster that has some.
fn means(points: &[f32], dimensions: usize, of: &[(u32, f64)], clusters: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; clusters * dimensions];
    let mut counts = vec![0u64; clusters];
    for (point, (cluster, _)) in points.chunks_exact(dimensions).zip(of) {
        let cluster = *cluster as usize;
        counts[cluster] += 1;
        let sum = &mut sums[cluster * dimensions..][..dimensions];
        for (sum, value) in sum.iter_mut().zip(point) {
            *sum += f64::from(*value);
        }
    }
    let of_clusters = sums.chunks_exact(dimensions).zip(counts);
    let kept = of_clusters.filter(|(_, count)| *count > 0);
    let mean = |(sum, count): (&[f64], u64)| -> Vec<f32> {
        sum.iter().map(|s| (s / count as f64) as f32).collect()
    };
    kept.flat_map(mean).collect()
}

/// The places of all centroids on a path: from one near `start`, else from an outer one, always to the nearest that is left.
pub(super) fn path(centroids: &[f32], dimensions: usize, start: Option<&[f32]>) -> Vec<usize> {
    let count = centroids.len() / dimensions;
    let distances = |from: &[f32]| {
        let mut distances = vec![0.0; count];
        Query::new(Metric::L2Squared, from).distances(centroids, &mut distances);
        distances
    };
    let first = match start {
        Some(start) => distances(start),
        None => {
            let of = vec![(0, 0.0); count];
            let mean = means(centroids, dimensions, &of, 1);
            distances(&mean)
                .into_iter()
                .map(|distance| -distance)
                .collect()
        }
    };
    let mut left: Vec<usize> = (0..count).collect();
    let mut path = Vec::with_capacity(count);
    let mut near = first;
    while let Some(place) = (0..left.len()).min_by(|a, b| near[left[*a]].total_cmp(&near[left[*b]]))
    {
        let next = left.remove(place);
        path.push(next);
        near = distances(&centroids[next * dimensions..][..dimensions]);
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Twenty points near each of some places on a line.
    fn line(places: &[f32]) -> Vec<f32> {
        let near = |place: &f32| -> Vec<f32> {
            (0..20)
                .flat_map(|i| [place + i as f32 * 0.01, 1.0])
                .collect()
        };
        places.iter().flat_map(near).collect()
    }

    #[test]
    fn clusters_far_apart_are_found() {
        let points = line(&[0.0, 50.0, 10.0, 200.0]);
        let found = cluster(&points, 2, 4, &Task::default()).unwrap();
        assert_eq!(found.centroids.len(), 8);
        for cluster in 0..4 {
            let members = found.members(cluster, &points, 2);
            assert_eq!(members.len(), 40);
            assert!((members[0] - members[38]).abs() < 1.0);
        }
        assert!(found.distances.iter().all(|distance| *distance < 0.2));
        let path = path(&found.centroids, 2, None);
        let along: Vec<f32> = path
            .iter()
            .map(|c| found.centroid(*c, 2)[0].round())
            .collect();
        assert_eq!(along, [200.0, 50.0, 10.0, 0.0]);
    }

    #[test]
    fn fewer_points_than_clusters_are_clusters_of_their_own() {
        let points = [1.0, 2.0, 2.0, 1.0, 1.0];
        let found = cluster(&points, 1, 9, &Task::default()).unwrap();
        let mut centroids = found.centroids.clone();
        centroids.sort_by(f32::total_cmp);
        assert_eq!(centroids, [1.0, 2.0]);
        assert_eq!(cluster(&[7.0], 1, 3, &Task::default()).unwrap().of, [0]);
    }
}
