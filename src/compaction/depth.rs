//! How well segments are clustered: how many of them overlap, and how deep.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::storage::collection::{Collection, Segment};
use crate::storage::schema::FieldId;
use crate::storage::stats::Bound;

/// Overlap and depth of a set of ranges, as Snowflake and Databend define them.
///
/// The depth of a point is how many ranges hold it; the depth of a range is the greatest depth of its points.
/// Ranges include both their ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Depth {
    /// How many other ranges a range meets, on average.
    pub average_overlaps: f64,
    /// The depth of a range, on average.
    pub average_depth: f64,
    /// The greatest depth.
    pub max_depth: u64,
    /// Ranges of a single point, which no clustering makes narrower.
    pub constant: u64,
    /// Ranges by depth: 1 to 16, then powers of two (32 is 17 to 32).
    pub histogram: BTreeMap<u64, u64>,
}

impl Depth {
    /// The histogram as JSON, buckets as five digits.
    pub fn histogram_json(&self) -> String {
        let buckets: Vec<String> = self
            .histogram
            .iter()
            .map(|(bucket, count)| format!("\"{bucket:05}\":{count}"))
            .collect();
        format!("{{{}}}", buckets.join(","))
    }
}

/// Where the ends of each range stand among the ends of all.
pub fn places<K: Ord>(ranges: &[(K, K)]) -> Vec<(usize, usize)> {
    let mut points: Vec<&K> = ranges.iter().flat_map(|(min, max)| [min, max]).collect();
    points.sort_unstable();
    points.dedup();
    let place = |key: &K| points.partition_point(|p| *p < key);
    ranges.iter().map(|(a, b)| (place(a), place(b))).collect()
}

/// The overlap and depth of ranges, each with its least and its greatest point.
pub fn measure<K: Ord>(ranges: &[(K, K)]) -> Depth {
    let places = places(ranges);
    let points = places.iter().map(|(_, last)| last + 1).max().unwrap_or(0);

    let mut begun = vec![0_u64; points + 1];
    let mut ended = vec![0_u64; points + 1];
    for (first, last) in &places {
        begun[first + 1] += 1;
        ended[last + 1] += 1;
    }
    accumulate(&mut begun);
    accumulate(&mut ended);
    let depths: Vec<u64> = (0..points).map(|p| begun[p + 1] - ended[p]).collect();
    let deepest = RangeMax::new(depths);

    let mut result = Depth::default();
    let (mut overlaps, mut depth_sum) = (0_u64, 0_u64);
    for (first, last) in &places {
        overlaps += begun[last + 1] - ended[*first] - 1;
        let depth = deepest.max(*first, *last);
        depth_sum += depth;
        result.max_depth = result.max_depth.max(depth);
        result.constant += u64::from(first == last);
        *result.histogram.entry(bucket(depth)).or_default() += 1;
    }
    if !ranges.is_empty() {
        result.average_overlaps = overlaps as f64 / ranges.len() as f64;
        result.average_depth = depth_sum as f64 / ranges.len() as f64;
    }
    result
}

fn accumulate(counts: &mut [u64]) {
    for i in 1..counts.len() {
        counts[i] += counts[i - 1];
    }
}

fn bucket(depth: u64) -> u64 {
    match depth {
        0..=16 => depth,
        _ => depth.next_power_of_two(),
    }
}

/// The greatest of any run of numbers, by tables of the greatest of runs whose lengths are powers of two.
struct RangeMax {
    tables: Vec<Vec<u64>>,
}

impl RangeMax {
    fn new(numbers: Vec<u64>) -> Self {
        let mut tables = vec![numbers];
        let mut width = 1;
        while 2 * width <= tables[0].len() {
            let before = &tables[tables.len() - 1];
            let next = (0..before.len() - width).map(|i| before[i].max(before[i + width]));
            let next = next.collect();
            tables.push(next);
            width *= 2;
        }
        Self { tables }
    }

    fn max(&self, first: usize, last: usize) -> u64 {
        let level = (last - first + 1).ilog2() as usize;
        let table = &self.tables[level];
        table[first].max(table[last + 1 - (1 << level)])
    }
}

/// One column's part of an end of a segment's key range, in the order in which clustering sorts.
#[derive(Debug, Clone)]
pub enum Edge {
    /// A value.
    Value(Bound),
    /// NaN, above all values.
    Nan,
    /// A value whose statistics do not say how great it is at most.
    Highest,
    /// NULL, above all.
    Null,
}

impl Edge {
    fn rank(&self) -> u8 {
        match self {
            Self::Value(_) => 0,
            Self::Nan => 1,
            Self::Highest => 2,
            Self::Null => 3,
        }
    }
}

impl Ord for Edge {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Edge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Edge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Edge {}

/// The range of the given columns in a segment: the least and the greatest tuple that its statistics allow.
pub fn key_range(
    collection: &Collection,
    segment: &Segment,
    key: &[FieldId],
) -> (Vec<Edge>, Vec<Edge>) {
    key.iter()
        .map(|field| column_range(collection, segment, *field))
        .unzip()
}

fn column_range(collection: &Collection, segment: &Segment, field: FieldId) -> (Edge, Edge) {
    let Some(stats) = segment.stats.column(field) else {
        let Some(column) = collection.schema.column_by_id(field) else {
            // A computed key that the segment was not sorted by: any.
            return (Edge::Value(Bound::Int(i64::MIN)), Edge::Null);
        };
        let missing = column.missing.clone();
        let edge = match missing {
            None => Edge::Null,
            Some(Bound::Float(bits)) if f64::from_bits(bits).is_nan() => Edge::Nan,
            Some(value) => Edge::Value(value),
        };
        return (edge.clone(), edge);
    };
    let has_value = stats.null_count + stats.nan_count < segment.rows;
    let low = match &stats.min {
        Some(min) => Edge::Value(min.clone()),
        None if stats.nan_count > 0 => Edge::Nan,
        None => Edge::Null,
    };
    let high = match &stats.max {
        _ if stats.null_count > 0 => Edge::Null,
        _ if stats.nan_count > 0 => Edge::Nan,
        Some(max) => Edge::Value(max.clone()),
        None if has_value => Edge::Highest,
        None => Edge::Null,
    };
    (low, high)
}

/// How well a collection's sealed segments are clustered by some columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusteringInformation {
    /// Sealed segments.
    pub total_segments: u64,
    /// Segments that are not part of a clustering by these columns.
    pub unclustered_segments: u64,
    /// Overlap and depth of the segments' ranges.
    pub depth: Depth,
}

/// Overlap and depth of some segments by `key`, most significant column first.
pub fn depth_of<'a>(
    collection: &Collection,
    segments: impl Iterator<Item = &'a Segment>,
    key: &[FieldId],
) -> Depth {
    let ranges: Vec<_> = segments.map(|s| key_range(collection, s, key)).collect();
    measure(&ranges)
}

/// How well the collection's sealed segments are clustered by `key`, most significant column first.
pub fn clustering_information(collection: &Collection, key: &[FieldId]) -> ClusteringInformation {
    let unclustered = |s: &&Arc<Segment>| s.run.is_none() || *s.sorted_by != *key;
    ClusteringInformation {
        total_segments: collection.segments().len() as u64,
        unclustered_segments: collection.segments().filter(unclustered).count() as u64,
        depth: depth_of(collection, collection.segments().map(|s| &**s), key),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn databends_example() {
        let depth = measure(&[(2, 4), (3, 6), (5, 5)]);
        assert_eq!(format!("{:.4}", depth.average_overlaps), "1.3333");
        assert_eq!(depth.average_depth, 2.0);
        assert_eq!(depth.max_depth, 2);
        assert_eq!(depth.constant, 1);
        assert_eq!(depth.histogram_json(), "{\"00002\":3}");
    }

    #[test]
    fn nothing_has_no_depth() {
        assert_eq!(measure::<i32>(&[]), Depth::default());
        assert_eq!(Depth::default().histogram_json(), "{}");
    }

    #[test]
    fn deep_ranges_share_buckets() {
        let depth = measure(&[(0, 9); 20]);
        assert_eq!((depth.average_overlaps, depth.average_depth), (19.0, 20.0));
        assert_eq!(depth.histogram_json(), "{\"00032\":20}");
    }

    #[test]
    fn edges_sort_as_clustering_does() {
        let float = |v: f64| Edge::Value(Bound::Float(v.to_bits()));
        assert_eq!(float(-0.0), float(0.0));
        assert!(float(f64::INFINITY) < Edge::Nan);
        assert!(Edge::Nan < Edge::Null);
        assert!(Edge::Value(Bound::Text("zz".into())) < Edge::Highest);
    }

    proptest! {
        #[test]
        fn the_sweep_equals_counting(raw in prop::collection::vec((0_i32..30, 0_i32..10), 0..40)) {
            let ranges: Vec<(i32, i32)> = raw.iter().map(|(a, len)| (*a, a + len)).collect();
            let at = |p: i32| ranges.iter().filter(|(a, b)| *a <= p && p <= *b).count() as u64;
            let meets = |(a, b): (i32, i32)| {
                ranges.iter().filter(|(c, d)| *c <= b && a <= *d).count() as u64 - 1
            };
            let depths: Vec<u64> = ranges.iter().map(|(a, b)| (*a..=*b).map(at).max().unwrap_or(0)).collect();
            let overlaps: u64 = ranges.iter().map(|r| meets(*r)).sum();
            let got = measure(&ranges);
            let n = ranges.len().max(1) as f64;
            prop_assert_eq!(got.average_overlaps, overlaps as f64 / n);
            prop_assert_eq!(got.average_depth, depths.iter().sum::<u64>() as f64 / n);
            prop_assert_eq!(got.max_depth, depths.iter().copied().max().unwrap_or(0));
        }
    }
}
