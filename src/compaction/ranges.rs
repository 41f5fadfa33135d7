//! Where one segment ends and the next begins, decided while sorted rows pass.

/// How much a segment may hold. Both bounds hold always.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Rows.
    pub rows: u64,
    /// Bytes of the rows in memory.
    pub bytes: u64,
    /// The part of the bytes that a segment should have, above 0 and at most 1.
    pub preferred: f64,
}

impl Limits {
    /// How many segments so many rows should have: no more in each than it may hold, and of the bytes, evenly spread,
    /// as near to what is preferred as can be.
    pub fn segments(self, weight: Weight) -> f64 {
        let least = (weight.part_of(self) - EPSILON).ceil().max(1.0);
        let full = weight.bytes as f64 / self.bytes.max(1) as f64;
        let few = (full / self.preferred).floor().max(1.0);
        let distance = |segments: f64| (full / segments - self.preferred).abs();
        let nearest = match distance(few + 1.0) + EPSILON < distance(few) {
            true => few + 1.0,
            false => few,
        };
        nearest.max(least)
    }
}

/// Rows and their bytes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weight {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Weight {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_sub(other.rows),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// The part of a segment that it fills: 1.0 is full.
    pub fn part_of(self, limits: Limits) -> f64 {
        let rows = self.rows as f64 / limits.rows.max(1) as f64;
        rows.max(self.bytes as f64 / limits.bytes.max(1) as f64)
    }
}

/// How a row's key stands to the key of the row before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The same key.
    Same,
    /// Another key.
    Next,
    /// The first key whose most significant column is NULL: from here on all are.
    Null,
}

/// NULL keys get segments of their own when they fill at least this part of one and not everything fits into one;
/// fewer stay with the greatest keys, where they cost nothing (NULL satisfies no comparison) but make `IS NULL` read
/// those keys too.
const NULL_PART_MIN: f64 = 0.25;
/// Room for the rounding of sums of fractions.
const EPSILON: f64 = 1e-9;

/// Cuts a sorted stream of rows into segments.
///
/// The rows that are left are always planned evenly over segments of the preferred size, so no tiny segment is left at
/// the end. A cut falls between different keys, at the boundary nearest the plan, so that the ranges of
/// the segments are disjoint. A key that does not fit into the segment that is open begins a new one; a key heavier
/// than a whole segment gets segments of its own, which hold nothing else. Until then its rows wait, or [`Cutter::settle`]
/// is called.
#[derive(Debug)]
pub struct Cutter {
    limits: Limits,
    /// All rows of the stream, as planned; the truth may differ a little.
    planned: Weight,
    /// Rows of the segments that are complete.
    cut: Weight,
    /// Rows of the open segment whose keys are complete.
    closed: Weight,
    /// Rows of the key that is open, without those cut off already.
    group: Weight,
    /// The part of a segment that the key before took.
    last_group: f64,
    /// Whether the open key has been cut.
    heavy: bool,
    /// Whether the open segment has rows of the open key for good, which count as those of complete keys.
    taken: bool,
    /// How full the open segment should get.
    target: f64,
}

impl Cutter {
    /// A cutter for about `planned` rows.
    pub fn new(limits: Limits, planned: Weight) -> Self {
        let mut cutter = Self {
            limits,
            planned,
            cut: Weight::default(),
            closed: Weight::default(),
            group: Weight::default(),
            last_group: 0.0,
            heavy: false,
            taken: false,
            target: 1.0,
        };
        cutter.plan();
        cutter
    }

    /// Takes the next row, and adds to `cuts` the places (numbers of rows from the start of the stream) where
    /// segments end because of it.
    pub fn push(&mut self, step: Step, bytes: u64, cuts: &mut Vec<u64>) {
        let row = Weight { rows: 1, bytes };
        if step != Step::Same {
            self.close_group();
            if self.closed.rows > 0 && self.ends_here(step) {
                self.end_segment(cuts);
            }
        }
        if self.would_overflow(self.closed.plus(self.group), row) {
            if self.closed.rows > 0 {
                self.end_segment(cuts);
            }
            if self.group.rows > 0 && self.would_overflow(self.group, row) {
                self.closed = std::mem::take(&mut self.group);
                self.heavy = true;
                self.end_segment(cuts);
            }
        }
        self.group = self.group.plus(row);
    }

    /// Settles all rows so far, for one who cannot keep those of the open key until it is known where they belong: a
    /// segment that is half as full as it should be ends before the key, another one takes what there is of it, and if the
    /// key turns out not to fit, a cut falls between two of its rows.
    pub fn settle(&mut self, cuts: &mut Vec<u64>) {
        if self.closed.rows == 0 {
            return;
        }
        if !self.taken && self.closed.part_of(self.limits) >= self.target / 2.0 {
            self.end_segment(cuts);
        } else {
            self.closed = self.closed.plus(std::mem::take(&mut self.group));
            self.taken = true;
        }
    }

    /// The number of rows, from the start of the stream, before which no further cut will fall.
    pub fn settled(&self) -> u64 {
        let before = self.cut.rows + self.closed.rows;
        match self.closed.rows {
            0 => before + self.group.rows,
            _ => before,
        }
    }

    fn close_group(&mut self) {
        self.last_group = self.group.part_of(self.limits);
        self.closed = self.closed.plus(std::mem::take(&mut self.group));
        self.taken = false;
    }

    /// Whether the segment ends at the boundary between two keys that has been reached.
    fn ends_here(&mut self, step: Step) -> bool {
        let heavy = std::mem::take(&mut self.heavy);
        let fill = self.closed.part_of(self.limits);
        let left = self.planned.minus(self.cut).minus(self.closed);
        let left = left.part_of(self.limits);
        let several = self.planned.part_of(self.limits) > 1.0;
        let nulls = several && step == Step::Null && left >= NULL_PART_MIN;
        let next_group = self.last_group.min(left);
        heavy || nulls || fill + next_group / 2.0 + EPSILON >= self.target
    }

    fn would_overflow(&self, have: Weight, row: Weight) -> bool {
        have.rows > 0 && have.plus(row).part_of(self.limits) > 1.0 + EPSILON
    }

    fn end_segment(&mut self, cuts: &mut Vec<u64>) {
        self.cut = self.cut.plus(std::mem::take(&mut self.closed));
        cuts.push(self.cut.rows);
        self.plan();
    }

    fn plan(&mut self) {
        let left = self.planned.minus(self.cut);
        let segments = self.limits.segments(left);
        // The last segment takes all that comes, whatever was planned, until it is full.
        self.target = if segments > 1.0 {
            left.part_of(self.limits) / segments
        } else {
            f64::INFINITY
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        rows: 100,
        bytes: u64::MAX,
        preferred: 1.0,
    };

    /// Ends of the segments of sorted keys; `None` is NULL.
    fn ends(limits: Limits, keys: &[Option<u32>], bytes: u64) -> Vec<u64> {
        ends_with(limits, keys, bytes, u64::MAX)
    }

    /// The same, where no more than so many rows can wait.
    fn ends_with(limits: Limits, keys: &[Option<u32>], bytes: u64, waiting_max: u64) -> Vec<u64> {
        let rows = keys.len() as u64;
        let planned = Weight {
            rows,
            bytes: rows * bytes,
        };
        let mut cutter = Cutter::new(limits, planned);
        let mut cuts = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let step = match i.checked_sub(1).map(|before| keys[before]) {
                Some(before) if before == *key => Step::Same,
                Some(Some(_)) if key.is_none() => Step::Null,
                _ => Step::Next,
            };
            let settled = cutter.settled();
            let known = cuts.len();
            cutter.push(step, bytes, &mut cuts);
            if i as u64 + 1 - cutter.settled() > waiting_max {
                cutter.settle(&mut cuts);
                assert_eq!(cutter.settled(), i as u64 + 1);
            }
            assert!(cuts[known..].iter().all(|c| *c >= settled));
            assert!(cutter.settled() >= settled);
        }
        cuts.push(rows);
        cuts
    }

    fn sizes(ends: &[u64]) -> Vec<u64> {
        let starts = std::iter::once(&0).chain(ends);
        ends.iter().zip(starts).map(|(e, s)| e - s).collect()
    }

    #[test]
    fn unique_keys_are_spread_evenly() {
        for (rows, expected) in [
            (1, vec![1]),
            (100, vec![100]),
            (101, vec![50, 51]),
            (250, vec![83, 83, 84]),
        ] {
            let keys: Vec<_> = (0..rows).map(Some).collect();
            assert_eq!(sizes(&ends(LIMITS, &keys, 1)), expected, "{rows} rows");
        }
    }

    #[test]
    fn segments_are_as_near_to_the_preferred_size_as_can_be() {
        let counts = |preferred: f64| {
            let limits = Limits {
                rows: 500,
                bytes: 100,
                preferred,
            };
            let weight = |bytes| Weight { rows: 0, bytes };
            [0, 30, 90, 100, 110, 165, 200, 1_000].map(|b| limits.segments(weight(b)) as u64)
        };
        assert_eq!(counts(1.0), [1, 1, 1, 1, 2, 2, 2, 10]);
        assert_eq!(counts(0.8), [1, 1, 1, 1, 2, 2, 3, 13]);
        assert_eq!(counts(0.4), [1, 1, 2, 3, 3, 4, 5, 25]);
        let limits = Limits {
            rows: 500,
            bytes: 1_000,
            preferred: 0.8,
        };
        let keys: Vec<_> = (0..1_000).map(Some).collect();
        let by_bytes = sizes(&ends(limits, &keys, 10));
        assert_eq!(by_bytes.len(), 13);
        assert!(by_bytes.iter().all(|s| (76..=77).contains(s)));
        assert_eq!(sizes(&ends(limits, &keys, 1)), [500, 500]);
    }

    #[test]
    fn both_bounds_hold() {
        let keys: Vec<_> = (0..100).map(Some).collect();
        let limits = Limits {
            bytes: 300,
            ..LIMITS
        };
        assert_eq!(sizes(&ends(limits, &keys, 10)), [25, 25, 25, 25]);
        assert_eq!(sizes(&ends(limits, &keys[..2], 500)), [1, 1]);
    }

    #[test]
    fn a_heavy_key_has_segments_of_its_own() {
        let mut keys = vec![Some(1); 10];
        keys.extend([Some(2); 250]);
        keys.extend([Some(3); 10]);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [10, 100, 100, 50, 10]);
        assert_eq!(sizes(&ends(LIMITS, &[Some(7); 210], 1)), [100, 100, 10]);
    }

    #[test]
    fn a_key_that_does_not_fit_begins_a_segment() {
        let mut keys = vec![Some(1); 60];
        keys.extend([Some(2); 60]);
        keys.extend([Some(3); 30]);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [60, 90]);
    }

    #[test]
    fn a_key_whose_rows_cannot_wait_goes_where_it_fits_at_once() {
        let sizes = |groups: &[usize]| {
            let group =
                |(key, count): (usize, &usize)| std::iter::repeat_n(Some(key as u32), *count);
            let keys: Vec<_> = groups.iter().enumerate().flat_map(group).collect();
            sizes(&ends_with(LIMITS, &keys, 1, 10))
        };
        // More than half of what the segment should have: the last two keys would fill it too far, perhaps.
        assert_eq!(sizes(&[10, 10, 10, 10, 50, 30]), [40, 80]);
        // All fit.
        assert_eq!(sizes(&[20, 50, 30]), [100]);
        // The second key goes with the first, does not fit, and is cut.
        assert_eq!(sizes(&[20, 90, 30]), [97, 43]);
        // Nobody waits for a key that is the first of its segment.
        assert_eq!(sizes(&[250, 30]), [100, 100, 50, 30]);
    }

    #[test]
    fn many_nulls_have_segments_of_their_own_few_do_not() {
        let mut keys: Vec<_> = (0..80).map(Some).collect();
        keys.extend([None; 60]);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [70, 10, 60]);
        keys.truncate(110);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [55, 25, 30]);
        keys.truncate(100);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [100]);
        keys.truncate(1);
        keys.extend([None; 80]);
        assert_eq!(sizes(&ends(LIMITS, &keys, 1)), [81]);
    }

    #[test]
    fn more_rows_than_planned_fill_the_last_segment() {
        let planned = Weight {
            rows: 40,
            bytes: 40,
        };
        let mut cutter = Cutter::new(LIMITS, planned);
        let mut cuts = Vec::new();
        (0..110).for_each(|_| cutter.push(Step::Next, 1, &mut cuts));
        assert_eq!(cuts, [100]);
    }

    #[test]
    fn filters_prune_as_the_model_does() {
        let keys: Vec<_> = (0..1_000_000).map(|i| Some(i / 1_000)).collect();
        for preferred in [1.0, 0.8] {
            prunes(&keys, preferred);
        }
    }

    fn prunes(keys: &[Option<u32>], preferred: f64) {
        let limits = Limits {
            rows: 1_000_000,
            bytes: 10_000,
            preferred,
        };
        let ends = ends(limits, keys, 1);
        let starts = std::iter::once(&0).chain(&ends);
        let ranges: Vec<(u32, u32)> = starts
            .zip(&ends)
            .map(|(s, e)| (keys[*s as usize].unwrap(), keys[*e as usize - 1].unwrap()))
            .collect();
        assert_eq!(ranges.len() as f64, 100.0 / preferred);
        let pruned = |low: u32, high: u32| {
            let kept = ranges
                .iter()
                .filter(|(min, max)| *max >= low && *min <= high);
            100.0 * (1.0 - kept.count() as f64 / ranges.len() as f64)
        };
        for (low, high, expected) in [
            (201, 799, 40.2),
            (201, 599, 59.8),
            (201, 399, 79.5),
            (999, 999, 99.0),
        ] {
            let got = pruned(low, high);
            assert!((got - expected).abs() <= 1.0, "{low}..{high}: {got}");
        }
    }

    proptest! {
        #[test]
        fn segments_hold_no_more_than_they_may_however_few_rows_can_wait(
            groups in prop::collection::vec(1_usize..150, 1..40),
            rows in 1_u64..120,
            waiting_max in 0_u64..130,
            preferred in 0.05_f64..=1.0,
        ) {
            let group = |(key, count): (usize, &usize)| {
                std::iter::repeat_n(Some(key as u32), *count)
            };
            let keys: Vec<_> = groups.iter().enumerate().flat_map(group).collect();
            let limits = Limits { rows, bytes: u64::MAX, preferred };
            let ends = ends_with(limits, &keys, 10, waiting_max);
            prop_assert_eq!(*ends.last().unwrap(), keys.len() as u64);
            prop_assert!(sizes(&ends).iter().all(|size| (1..=rows).contains(size)));
        }

        #[test]
        fn segments_hold_no_more_than_they_may_and_ranges_are_disjoint(
            groups in prop::collection::vec(1_usize..150, 1..40),
            nulls in 0_usize..150,
            rows in 1_u64..120,
            bytes in 1_u64..2_000,
            preferred in 0.05_f64..=1.0,
        ) {
            let mut keys = Vec::new();
            for (key, count) in groups.iter().enumerate() {
                keys.extend(std::iter::repeat_n(Some(key as u32), *count));
            }
            keys.extend(std::iter::repeat_n(None, nulls));
            let limits = Limits { rows, bytes, preferred };
            let ends = ends(limits, &keys, 10);
            let most = rows.min((bytes / 10).max(1));
            prop_assert_eq!(*ends.last().unwrap(), keys.len() as u64);
            let mut start = 0_u64;
            for end in ends {
                prop_assert!(end > start && end - start <= most);
                let inside = &keys[start as usize..end as usize];
                if start > 0 && keys[start as usize - 1] == inside[0] {
                    prop_assert!(inside.iter().all(|k| *k == inside[0]));
                    let heavy = keys.iter().filter(|k| **k == inside[0]).count() as u64;
                    prop_assert!(heavy > most);
                }
                start = end;
            }
        }
    }
}
