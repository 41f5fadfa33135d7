//! Which rows of a segment have a key, by the hash of the key: kept in memory for segments that are asked often.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::schema::SegmentId;

/// The keys of a sealed segment, deleted rows included; it never changes.
#[derive(Debug)]
pub struct SealedKeys {
    /// Sorted.
    hashes: Vec<u64>,
    /// The row of each hash.
    rows: Vec<u32>,
}

impl SealedKeys {
    /// The index of a segment whose rows have these hashes, in order.
    pub fn new(hashes: &[u64]) -> Self {
        let mut order: Vec<(u64, u32)> = hashes.iter().copied().zip(0..).collect();
        order.sort_unstable();
        Self {
            hashes: order.iter().map(|(hash, _)| *hash).collect(),
            rows: order.iter().map(|(_, row)| *row).collect(),
        }
    }

    /// Calls `found` with every row that has one of the sorted hashes.
    pub fn find(&self, hashes: &[u64], mut found: impl FnMut(u64, u32)) {
        let mut rest = 0;
        for hash in hashes {
            rest += gallop(&self.hashes[rest..], *hash);
            let same = self.hashes[rest..].iter().take_while(|h| *h == hash);
            for at in rest..rest + same.count() {
                found(*hash, self.rows[at]);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.hashes.len() * 12
    }
}

/// How many of the sorted hashes are less than `hash`: cheap when it is near, logarithmic when it is far.
fn gallop(sorted: &[u64], hash: u64) -> usize {
    let mut step = 1;
    while step < sorted.len() && sorted[step] < hash {
        step *= 2;
    }
    let (low, high) = (step / 2, sorted.len().min(step + 1));
    low + sorted[low..high].partition_point(|h| *h < hash)
}

/// The keys of a growing segment, as far as they were asked for.
#[derive(Debug, Default)]
pub struct GrowingKeys {
    rows: u64,
    /// The first row of each hash.
    first: HashMap<u64, u32>,
    /// Later rows of the same hash, where there are any.
    more: HashMap<u64, Vec<u32>>,
}

impl GrowingKeys {
    /// The rows that are indexed, from the first.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Indexes the next row.
    pub fn push(&mut self, hash: u64) {
        let row = self.rows as u32;
        self.rows += 1;
        match self.first.entry(hash) {
            Entry::Occupied(_) => self.more.entry(hash).or_default().push(row),
            Entry::Vacant(free) => {
                free.insert(row);
            }
        }
    }

    /// The rows of a hash, in order.
    pub fn rows_of(&self, hash: u64) -> impl Iterator<Item = u32> {
        let more = self.more.get(&hash).into_iter().flatten();
        self.first.get(&hash).into_iter().chain(more).copied()
    }

    /// The rows of a hash, the last one first.
    pub fn rows_of_latest_first(&self, hash: u64) -> impl Iterator<Item = u32> {
        let more = self.more.get(&hash).into_iter().flatten().rev();
        more.chain(self.first.get(&hash)).copied()
    }

    fn bytes(&self) -> usize {
        self.first.len() * 24 + self.more.len() * 48
    }
}

/// A segment, and by a number of its own which columns its rows are known by: a collection may have several unique keys.
type Indexed = (SegmentId, u64);

/// Indexes of the segments that were asked last, within a limit of memory.
#[derive(Debug)]
pub struct KeyIndexes {
    bytes_max: usize,
    cached: Mutex<Cached>,
}

#[derive(Debug)]
struct Cached {
    clock: u64,
    bytes: usize,
    /// How often sealed segments without an index were asked.
    asked: LruCache<Indexed, u64>,
    /// Whether an index is being made beside queries.
    is_indexing: bool,
    sealed: BTreeMap<Indexed, (u64, Arc<SealedKeys>)>,
    growing: BTreeMap<Indexed, (u64, Arc<Mutex<GrowingKeys>>)>,
}

/// The keys of so many rows are indexed in the time that a key takes to be found without an index.
const ROWS_PER_SEARCH: u64 = 4_096;
/// The fewest searches that an index is made after: many segments are asked once.
const SEARCHES_MIN: u64 = 4;
/// Segments whose searches are counted.
const ASKED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);

impl KeyIndexes {
    /// A cache of about `bytes_max` bytes; an index that is in use lives on when it leaves the cache.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            cached: Mutex::new(Cached {
                clock: 0,
                bytes: 0,
                asked: LruCache::new(ASKED_MAX),
                is_indexing: false,
                sealed: BTreeMap::new(),
                growing: BTreeMap::new(),
            }),
        }
    }

    /// Counts that a key is searched for in a sealed segment of so many rows without an index. Where searches have taken as
    /// long by now as an index takes, and it fits, the caller shall make it. One is made at a time: it takes memory of its
    /// own meanwhile.
    pub fn begin_index(
        self: &Arc<Self>,
        id: SegmentId,
        columns: u64,
        rows: u64,
    ) -> Option<Indexing> {
        if !self.has_room(rows) {
            return None;
        }
        let mut cached = self.cached.lock();
        let asked = cached.asked.get_or_insert_mut((id, columns), || 0);
        *asked += 1;
        let is_worth = *asked >= (rows / ROWS_PER_SEARCH).max(SEARCHES_MIN);
        if !is_worth || cached.is_indexing {
            return None;
        }
        cached.asked.pop(&(id, columns));
        cached.is_indexing = true;
        Some(Indexing(Arc::clone(self)))
    }

    /// The index of a sealed segment by the columns, if it is there.
    pub fn sealed(&self, id: SegmentId, columns: u64) -> Option<Arc<SealedKeys>> {
        let mut cached = self.cached.lock();
        cached.clock += 1;
        let clock = cached.clock;
        let (used, keys) = cached.sealed.get_mut(&(id, columns))?;
        *used = clock;
        Some(Arc::clone(keys))
    }

    /// Whether an index of so many rows fits without others having to go.
    pub fn has_room(&self, rows: u64) -> bool {
        let bytes = (rows as usize).saturating_mul(12);
        self.cached.lock().bytes.saturating_add(bytes) <= self.bytes_max
    }

    /// Keeps the index of a sealed segment; those that were not asked for longest go.
    pub fn keep(&self, id: SegmentId, columns: u64, keys: Arc<SealedKeys>) {
        let mut cached = self.cached.lock();
        cached.clock += 1;
        let clock = cached.clock;
        cached.bytes += keys.bytes();
        if let Some((_, old)) = cached.sealed.insert((id, columns), (clock, keys)) {
            cached.bytes -= old.bytes();
        }
        while cached.bytes > self.bytes_max && cached.sealed.len() > 1 {
            let oldest = cached.sealed.iter().min_by_key(|(_, (used, _))| *used);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                break;
            };
            if let Some((_, keys)) = cached.sealed.remove(&id) {
                cached.bytes -= keys.bytes();
            }
        }
    }

    /// The index of a growing segment, maybe empty yet; it is for its user to bring it up to date.
    pub fn growing(&self, id: SegmentId, columns: u64) -> Arc<Mutex<GrowingKeys>> {
        let mut cached = self.cached.lock();
        cached.clock += 1;
        let clock = cached.clock;
        let asked = (id, columns);
        let (used, keys) = cached.growing.entry(asked).or_default();
        *used = clock;
        let keys = Arc::clone(keys);
        // Growing segments are sealed before they get large; a few are enough.
        if cached.growing.len() > GROWING_MAX || cached.growing_bytes() > self.bytes_max {
            let oldest = cached.growing.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(id, _)| *id).filter(|oldest| *oldest != asked);
            oldest.map(|id| cached.growing.remove(&id));
        }
        keys
    }

    /// Forgets a segment that is gone.
    pub fn remove(&self, id: SegmentId) {
        let mut cached = self.cached.lock();
        let of_segment = (id, u64::MIN)..=(id, u64::MAX);
        let growing = cached.growing.range(of_segment.clone());
        for indexed in growing.map(|(i, _)| *i).collect::<Vec<_>>() {
            cached.growing.remove(&indexed);
        }
        let sealed = cached.sealed.range(of_segment);
        for indexed in sealed.map(|(i, _)| *i).collect::<Vec<_>>() {
            if let Some((_, keys)) = cached.sealed.remove(&indexed) {
                cached.bytes -= keys.bytes();
            }
        }
    }
}

/// That an index is being made; others can be when it is dropped.
#[derive(Debug)]
pub struct Indexing(Arc<KeyIndexes>);

impl Indexing {
    /// Keeps the index.
    pub fn keep(self, id: SegmentId, columns: u64, keys: SealedKeys) {
        self.0.keep(id, columns, Arc::new(keys));
    }
}

impl Drop for Indexing {
    fn drop(&mut self) {
        self.0.cached.lock().is_indexing = false;
    }
}

/// Growing segments whose keys are kept.
const GROWING_MAX: usize = 64;

impl Cached {
    fn growing_bytes(&self) -> usize {
        let bytes = |(_, keys): &(u64, Arc<Mutex<GrowingKeys>>)| {
            // One that is being brought up to date is not waited for.
            keys.try_lock().map_or(0, |keys| keys.bytes())
        };
        self.growing.values().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_row_of_a_hash_is_found() {
        let keys = SealedKeys::new(&[5, 3, 5, 9, 1, 5]);
        let mut found = Vec::new();
        keys.find(&[0, 1, 4, 5, 9, 10], |hash, row| found.push((hash, row)));
        assert_eq!(found, [(1, 4), (5, 0), (5, 2), (5, 5), (9, 3)]);
        SealedKeys::new(&[]).find(&[1], |_, _| panic!("an empty segment has no row"));
    }

    #[test]
    fn galloping_is_a_binary_search() {
        let sorted: Vec<u64> = (0..1_000).map(|i| i * 3).collect();
        for hash in 0..3_100 {
            let expected = sorted.partition_point(|h| *h < hash);
            assert_eq!(gallop(&sorted, hash), expected, "{hash}");
        }
    }

    #[test]
    fn growing_rows_of_one_hash_stay_in_order() {
        let mut keys = GrowingKeys::default();
        [7, 8, 7, 7].into_iter().for_each(|hash| keys.push(hash));
        assert_eq!(keys.rows_of(7).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(keys.rows_of(9).count(), 0);
        assert_eq!(keys.rows_of_latest_first(7).collect::<Vec<_>>(), [3, 2, 0]);
    }

    #[test]
    fn an_index_is_worth_it_after_as_much_work_without() {
        let cache = Arc::new(KeyIndexes::new(1 << 20));
        let searches = |id, rows| {
            let worth = |_: &u32| cache.begin_index(SegmentId(id), 7, rows).is_some();
            (1..=1_000).find(worth)
        };
        assert_eq!(searches(1, 10), Some(4));
        assert_eq!(searches(1, 10), Some(4), "made or not, it is counted again");
        assert_eq!(searches(2, 10 * ROWS_PER_SEARCH), Some(10));
        assert_eq!(searches(3, 1 << 20), None, "it does not fit");
        let begun = (0..4).find_map(|_| cache.begin_index(SegmentId(4), 7, 10));
        assert_eq!(searches(5, 10), None, "one is made already");
        begun.unwrap().keep(SegmentId(4), 7, SealedKeys::new(&[1]));
        assert!(cache.sealed(SegmentId(4), 7).is_some());
        assert_eq!(searches(5, 10), Some(1), "it was asked often");
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = KeyIndexes::new(250);
        for id in 1..=3 {
            cache.keep(SegmentId(id), 7, Arc::new(SealedKeys::new(&[1; 10])));
            cache.sealed(SegmentId(1), 7).unwrap();
        }
        assert!(cache.sealed(SegmentId(2), 7).is_none());
        assert!(cache.sealed(SegmentId(3), 7).is_some());
        assert!(cache.sealed(SegmentId(3), 8).is_none(), "other columns");
        assert!(!cache.has_room(10));
        cache.growing(SegmentId(3), 8);
        cache.remove(SegmentId(3));
        assert!(cache.has_room(10));
        assert!(cache.cached.lock().growing.is_empty());
    }
}
