//! Clustering: which rows move to the range of their key, so that little is rewritten and few segments overlap.
//!
//! The first clustering partitions everything by key range: one *run*, whose segments have disjoint ranges. Later rows
//! become runs of their own. Runs have levels: new rows make a run of level 1, and where [`FAN_IN`] runs of one level
//! cover the same keys, they become one run of the next, in that window of keys only. A row of level `n` has been
//! rewritten `n` times, and around it lie at least `(FAN_IN / 2)^n` times the rows of a new run: write amplification is
//! logarithmic, whatever comes in, and fewer than `FAN_IN` runs of a level cover a key. Where keys arrive in order, runs
//! hardly overlap, and nothing is rewritten twice.
//!
//! To *settle* a collection is to bring the depth down to [`Settings::compaction_clustering_max_depth`] now: in windows
//! that lie deeper, the smallest runs become one. COMPACT .. WITH CLUSTERING does that; by itself it happens once per
//! `max_interval`. FULL makes one run of everything.
//!
//! The levels are those of size-tiered merges (O'Neil et al., LSM-trees; RocksDB's universal compaction), confined to
//! windows as Snowflake and Databend recluster.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::windows::{Piece, Window, depths, place, windows};
use super::{Choice, Group, Request, Run, growing_weight, is_purgeable, limits, run_of};
use super::{sealed_weight, work};
use crate::compaction::depth::key_range;
use crate::compaction::ranges::{Limits, Weight};
use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::collection::{Collection, Segment};
use crate::storage::schema::{FieldId, SegmentId};

/// So many runs of one level over the same keys become one run of the next.
pub(super) const FAN_IN: usize = 8;
/// The window of such keys goes on while so many runs cover them: what lies beyond is left for later.
const FAN_IN_EDGE: usize = FAN_IN / 2;
/// A request takes in what lies under the new rows while it is at most so many times what is new: the collection is
/// then in perfect order at a cost that is still in proportion.
const ABSORBED_PART_MAX: u64 = 4;
/// By itself clustering brings the depth down while it rewrites no more than so many times what is new.
const SETTLED_PART_MAX: u64 = FAN_IN as u64 + 1;
/// Stands for the run that rows without one will make.
const NEW_RUN: u64 = 0;
/// The least number that stands for a run which several make together: above the ids of jobs.
const UNITED_MIN: u64 = 1 << 63;
/// The most times that windows are looked for until none is too deep: twice, as a rule.
const PASSES_MAX: usize = 8;

pub(super) fn cluster(
    collection: &Collection,
    request: &Request,
    settings: &Settings,
) -> Result<Choice> {
    check_key(collection)?;
    let options = &request.options;
    let layout = Layout::of(collection, request, settings);
    if layout.all_inputs().is_empty() {
        let reason = match options.scope.ranges.is_empty() {
            true => "the collection is empty",
            false => "no segment reaches into the range",
        };
        return Ok(Choice::NothingToDo(reason.into()));
    }
    if options.full {
        return Ok(layout.everything("rewrite"));
    }
    if layout.is_one_run() {
        let reason = "every row is in one clustered run already";
        return Ok(Choice::NothingToDo(reason.into()));
    }
    if layout.new.bytes >= layout.clustered.bytes {
        return Ok(layout.everything("cluster"));
    }
    if !options.automatic || options.settle {
        return Ok(layout.settle(options.automatic));
    }
    let settled = layout.settle(true);
    Ok(match layout.is_cheap(&settled) {
        true => settled,
        false => layout.tiers(),
    })
}

fn check_key(collection: &Collection) -> Result<()> {
    if !collection.schema.clustering_key.is_empty() {
        return Ok(());
    }
    let name = &collection.name;
    let message = format!("collection \"{name}\" has no clustering key");
    let hint = format!("Give it one: ALTER TABLE {name} CLUSTER BY (column).");
    Err(Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint(hint))
}

/// A collection's rows by the runs that hold them.
struct Layout<'a> {
    settings: &'a Settings,
    key: &'a [FieldId],
    limits: Limits,
    /// All segments that can be taken, the new ones as of one run.
    pieces: Vec<Piece<'a>>,
    /// Growing segments, which a request takes too.
    growing: Vec<SegmentId>,
    /// Rows that no run has, or that are worth a rewrite because of the dead among them.
    new: Weight,
    /// Rows of runs.
    clustered: Weight,
}

impl<'a> Layout<'a> {
    fn of(collection: &'a Collection, request: &Request, settings: &'a Settings) -> Self {
        let options = &request.options;
        let key = &collection.schema.clustering_key;
        let mut pieces = Vec::new();
        let mut ranges = Vec::new();
        let (mut new, mut clustered) = (Weight::default(), Weight::default());
        let in_scope = |s: &&Arc<Segment>| options.scope.reaches(collection, s);
        for segment in collection.segments().filter(in_scope) {
            let weight = sealed_weight(segment);
            let run = run_of(collection, segment).filter(|_| {
                // The automatic purge takes these; a request does it at once.
                options.automatic || !is_purgeable(segment)
            });
            let side = if run.is_some() {
                &mut clustered
            } else {
                &mut new
            };
            *side = side.plus(weight);
            pieces.push(Piece {
                segment,
                run: run.map_or(NEW_RUN, |run| run.0),
                weight,
                first: 0,
                last: 0,
            });
            ranges.push(key_range(collection, segment, key));
        }
        place(&mut pieces, &ranges);
        let growing = match options.automatic {
            true => &[],
            false => collection.growing(),
        };
        for growing in growing {
            new = new.plus(growing_weight(growing));
        }
        Self {
            settings,
            key,
            limits: limits(collection, request, settings),
            pieces,
            growing: growing.iter().map(|g| g.id).collect(),
            new,
            clustered,
        }
    }

    fn all_inputs(&self) -> Vec<SegmentId> {
        let sealed = self.pieces.iter().map(|p| p.segment.id);
        sealed.chain(self.growing.iter().copied()).collect()
    }

    /// Whether every row is in one run. A run's ranges are disjoint as it was made, and merges within it keep them so;
    /// its statistics need not show that, where long texts were truncated to equal bounds.
    fn is_one_run(&self) -> bool {
        let Some(first) = self.pieces.first() else {
            return false;
        };
        let alone = self.pieces.len() == 1 && !is_purgeable(first.segment);
        let of_one_run = first.run != NEW_RUN && self.pieces.iter().all(|p| p.run == first.run);
        let sorted = *first.segment.sorted_by == *self.key;
        self.growing.is_empty() && (of_one_run || alone && sorted)
    }

    fn everything(&self, verb: &str) -> Choice {
        let inputs = self.all_inputs();
        let reason = format!("{verb} {} segments by key range", inputs.len());
        let bytes = self.new.plus(self.clustered).bytes;
        let level = level_of(bytes, self.settings);
        let run = Run::New;
        work(vec![Group { inputs, run, level }], reason)
    }

    fn new_inputs(&self) -> Vec<SegmentId> {
        let new = self.pieces.iter().filter(|p| p.run == NEW_RUN);
        let sealed = new.map(|p| p.segment.id);
        sealed.chain(self.growing.iter().copied()).collect()
    }

    /// New rows become a run, and too many runs of one level over the same keys one of the next.
    fn tiers(&self) -> Choice {
        let mut groups = Vec::new();
        let new = self.new_inputs();
        let mut reasons = Vec::new();
        if !new.is_empty() {
            reasons.push(format!("make a run of {} new segments", new.len()));
            groups.push(run_group(new, 1));
        }
        let mut levels: BTreeMap<u8, Vec<Piece>> = BTreeMap::new();
        for piece in self.pieces.iter().filter(|p| p.run != NEW_RUN) {
            if !self.is_at_rest(piece) {
                let level = piece.segment.level;
                levels.entry(level).or_default().push(*piece);
            }
        }
        for (level, pieces) in levels {
            let mut taken = HashSet::new();
            for window in windows(&pieces, FAN_IN, FAN_IN_EDGE) {
                // A segment that reaches into two windows goes with the first.
                let mut inputs = ids(&window.pieces);
                inputs.retain(|id| taken.insert(*id));
                let (level, runs) = (level.saturating_add(1), window.depth);
                reasons.push(format!("put {runs} runs together where they overlap"));
                groups.push(run_group(inputs, level));
            }
        }
        match groups.is_empty() {
            true => Choice::NothingToDo(self.is_shallow()),
            false => work(groups, reasons.join("; ")),
        }
    }

    /// Whether a choice takes little in proportion to what is new.
    fn is_cheap(&self, choice: &Choice) -> bool {
        let Choice::Work(work) = choice else {
            return false;
        };
        let inputs: HashSet<SegmentId> = work.inputs().collect();
        let taken = self
            .pieces
            .iter()
            .filter(|p| inputs.contains(&p.segment.id));
        let bytes: u64 = taken.map(|p| p.weight.bytes).sum();
        bytes <= SETTLED_PART_MAX.saturating_mul(self.new.bytes)
    }

    /// Brings the depth down to its bound. A request also takes in what lies under the new rows, if that is little.
    fn settle(&self, automatic: bool) -> Choice {
        let absorbed = match automatic {
            true => HashSet::new(),
            false => self.absorbed(),
        };
        let mut pieces = self.pieces.clone();
        for (piece, near) in pieces.iter_mut().zip(self.near_new()) {
            if near && absorbed.contains(&piece.run) {
                piece.run = NEW_RUN;
            }
        }
        let mut united: BTreeMap<u64, Vec<Piece>> = BTreeMap::new();
        for (number, piece) in self.unite(&pieces).into_iter().zip(&pieces) {
            if is_united(number) {
                united.entry(number).or_default().push(*piece);
            }
        }
        if !self.growing.is_empty() {
            united.entry(NEW_RUN).or_default();
        }
        let group = |(number, pieces): (&u64, &Vec<Piece>)| {
            let mut inputs = ids(pieces);
            if *number == NEW_RUN {
                inputs.extend(&self.growing);
            }
            run_group(inputs, next_level(pieces))
        };
        let groups: Vec<Group> = united.iter().map(group).collect();
        if groups.is_empty() {
            return Choice::NothingToDo(self.is_shallow());
        }
        let count: usize = groups.iter().map(|g| g.inputs.len()).sum();
        let bound = self.settings.compaction_clustering_max_depth;
        let reason = format!(
            "cluster {count} of {} segments, so that no more than {bound} runs overlap",
            self.all_inputs().len()
        );
        work(groups, reason)
    }

    /// The number of each piece's run when in every window that lies too deep the smallest runs have become one, as many
    /// as have to. What is made so may reach beyond its window, and is looked at again.
    fn unite(&self, pieces: &[Piece<'a>]) -> Vec<u64> {
        let bound = self.settings.compaction_clustering_max_depth as usize;
        let mut numbers: Vec<u64> = pieces.iter().map(|p| p.run).collect();
        let places: HashMap<SegmentId, usize> =
            pieces.iter().map(|p| p.segment.id).zip(0..).collect();
        let mut next = UNITED_MIN;
        for _ in 0..PASSES_MAX {
            let numbered = pieces.iter().zip(&numbers);
            let live: Vec<Piece> = numbered
                .filter(|(piece, run)| is_united(**run) || !self.is_at_rest(piece))
                .map(|(piece, run)| Piece {
                    run: *run,
                    ..*piece
                })
                .collect();
            let found = windows(&live, bound + 1, bound / 2 + 1);
            if found.is_empty() {
                break;
            }
            for window in found {
                let chosen = smallest_runs(&window, bound);
                let chosen: Vec<usize> = chosen.iter().map(|p| places[&p.segment.id]).collect();
                // Windows that share a run become one run with it, and so do those that need the new rows.
                let before = chosen.iter().map(|at| numbers[*at]);
                let before: BTreeSet<u64> = before.filter(|run| is_united(*run)).collect();
                let number = before.first().copied().unwrap_or(next);
                next = next.max(number + 1);
                chosen.iter().for_each(|at| numbers[*at] = number);
                for run in numbers.iter_mut().filter(|run| before.contains(run)) {
                    *run = number;
                }
            }
        }
        numbers
    }

    /// Which pieces overlap the hull of the new ones; all do when there are growing rows, whose keys are not known.
    fn near_new(&self) -> Vec<bool> {
        let new = || self.pieces.iter().filter(|p| p.run == NEW_RUN);
        let first = new().map(|p| p.first).min();
        let last = new().map(|p| p.last).max();
        let overlaps = |p: &Piece| match (first, last) {
            (Some(first), Some(last)) => p.first <= last && first <= p.last,
            _ => false,
        };
        let known = self.growing.is_empty();
        self.pieces.iter().map(|p| !known || overlaps(p)).collect()
    }

    /// The runs whose rows near the new ones are few enough to be clustered with them.
    fn absorbed(&self) -> HashSet<u64> {
        let near = self.near_new();
        let mut bytes: BTreeMap<u64, u64> = BTreeMap::new();
        for (piece, _) in self.pieces.iter().zip(near).filter(|(_, near)| *near) {
            *bytes.entry(piece.run).or_default() += piece.weight.bytes;
        }
        bytes.remove(&NEW_RUN);
        let mut by_size: Vec<(u64, u64)> = bytes.into_iter().map(|(run, b)| (b, run)).collect();
        by_size.sort_unstable();
        let mut budget = ABSORBED_PART_MAX.saturating_mul(self.new.bytes);
        if self.new.rows > 0 {
            let threshold = self.settings.compaction_clustering_new_data_size_threshold;
            budget = budget.max(threshold.0);
        }
        let mut taken = HashSet::new();
        for (bytes, run) in by_size {
            if bytes > budget {
                break;
            }
            budget -= bytes;
            taken.insert(run);
        }
        taken
    }

    /// Whether a segment has one key only and is full: no clustering makes it better.
    fn is_at_rest(&self, piece: &Piece) -> bool {
        let fill = piece.weight.part_of(self.limits);
        piece.first == piece.last && fill >= self.settings.segment_small_proportion
    }

    fn is_shallow(&self) -> String {
        let deepest = depths(&self.pieces).into_iter().max().unwrap_or(0);
        format!("there are no new rows, and no more than {deepest} runs overlap")
    }
}

/// The level of a run that so many rows make at once: that which they would have reached in tiers.
pub(super) fn level_of(bytes: u64, settings: &Settings) -> u8 {
    let unit = settings.compaction_clustering_new_data_size_threshold.0;
    let units = bytes as f64 / unit.max(1) as f64;
    1 + units.max(1.0).log(FAN_IN as f64).floor() as u8
}

fn run_group(inputs: Vec<SegmentId>, level: u8) -> Group {
    let run = Run::New;
    Group { inputs, run, level }
}

fn ids(pieces: &[Piece]) -> Vec<SegmentId> {
    pieces.iter().map(|p| p.segment.id).collect()
}

/// Whether a number stands for a run that a choice makes.
fn is_united(run: u64) -> bool {
    run == NEW_RUN || run >= UNITED_MIN
}

/// The segments of the smallest runs in a window, of so many runs that with them as one the depth is `bound`.
fn smallest_runs<'a>(window: &Window<'a>, bound: usize) -> Vec<Piece<'a>> {
    let mut bytes: BTreeMap<u64, u64> = BTreeMap::new();
    for piece in &window.pieces {
        *bytes.entry(piece.run).or_default() += piece.weight.bytes;
    }
    let mut by_size: Vec<(u64, u64)> = bytes.into_iter().map(|(run, b)| (b, run)).collect();
    by_size.sort_unstable();
    let extra = by_size.len().saturating_sub(bound);
    let few: HashSet<u64> = by_size
        .iter()
        .take(extra + 1)
        .map(|(_, run)| *run)
        .collect();
    let chosen = window.pieces.iter().filter(|p| few.contains(&p.run));
    chosen.copied().collect()
}

/// The level of the run that these segments make: above their highest, unless few of them are of that level.
fn next_level(pieces: &[Piece]) -> u8 {
    let highest = pieces.iter().map(|p| p.segment.level).max().unwrap_or(0);
    let of_highest = pieces.iter().filter(|p| p.segment.level == highest);
    let runs: HashSet<u64> = of_highest.map(|p| p.run).collect();
    match runs.len() >= FAN_IN_EDGE || highest == 0 {
        true => highest.saturating_add(1),
        false => highest,
    }
}

/// Live bytes of sealed segments that no run has.
pub(super) fn unclustered_bytes(collection: &Collection) -> u64 {
    let loose = |s: &&Segment| run_of(collection, s).is_none();
    let segments = collection.segments().map(|s| &**s).filter(loose);
    segments.map(|s| sealed_weight(s).bytes).sum()
}
