//! Tables of collections and what the policy chooses for them.
#![allow(clippy::unwrap_used)]

pub(super) mod builder;

use self::builder::{Builder, COLLECTION};
use super::due::{Clustered, Round, clustering_due};
use super::*;
use crate::settings::ByteSize;
use crate::storage::change::{AlterCollection, Change, Replace};
use crate::storage::schema::{CollectionSchema, Column, FieldId};

#[test]
fn an_empty_collection_has_nothing_to_do() {
    let empty = Builder::new(true);
    for kind in [JobKind::Seal, JobKind::Merge, JobKind::Cluster] {
        assert_eq!(empty.asked(kind), "-", "{kind:?}");
    }
    let Choice::NothingToDo(reason) = empty.choose(JobKind::Cluster, JobOptions::default()) else {
        panic!("work for an empty collection");
    };
    assert_eq!(reason, "the collection is empty");
}

#[test]
fn growing_rows_are_sealed_when_asked_or_due() {
    let young = Builder::new(true).growing(2, 10);
    assert_eq!(young.asked(JobKind::Seal), "2");
    assert_eq!(young.automatic(JobKind::Seal), "-");
    let much = Builder::new(true).growing(2, 3_000_000).growing(3, 10);
    assert_eq!(much.automatic(JobKind::Seal), "2");
    let settings = Settings {
        growing_max_age: std::time::Duration::from_millis(900),
        ..Settings::default()
    };
    let options = JobOptions {
        automatic: true,
        ..JobOptions::default()
    };
    let kind = JobKind::Seal;
    let old = choose(
        young.collection(),
        &Request { kind, options },
        &settings,
        900,
    );
    assert!(matches!(old.unwrap(), Choice::Work(_)));
}

#[test]
fn of_what_a_merge_leaves_no_two_fit_together() {
    let overlapping = Builder::new(true)
        .segment(2, 450, (0, 9), 0, None)
        .segment(3, 460, (1, 6), 0, None)
        .segment(4, 400, (2, 8), 0, None);
    assert_eq!(overlapping.asked(JobKind::Merge), "2,4");
    // Once purged, 3 is not small: it stands between the others no more.
    let purged = Builder::new(true)
        .segment(2, 100, (0, 9), 0, None)
        .segment(3, 1_100, (1, 6), 250, None)
        .segment(4, 100, (2, 8), 0, None);
    assert_eq!(purged.asked(JobKind::Merge), "2,4 3");
    let between = Builder::new(true)
        .segment(2, 450, (0, 1), 0, None)
        .segment(3, 460, (5, 6), 0, None)
        .segment(4, 450, (7, 8), 0, None);
    assert_eq!(between.asked(JobKind::Merge), "-");
}

#[test]
fn small_segments_are_put_together_in_key_order() {
    let base = || {
        Builder::new(true)
            .segment(2, 400, (500, 600), 0, None)
            .segment(3, 900, (0, 900), 0, None)
            .segment(4, 400, (0, 100), 0, None)
            .segment(5, 400, (200, 300), 0, None)
    };
    assert_eq!(base().asked(JobKind::Merge), "4,5");
    assert_eq!(base().growing(6, 10).asked(JobKind::Merge), "4,5 2,6");
    assert_eq!(base().growing(6, 200).asked(JobKind::Merge), "4,5 2,6");
    assert_eq!(base().growing(6, 700).asked(JobKind::Merge), "4,5 6");
    assert_eq!(base().automatic(JobKind::Merge), "-");
}

#[test]
fn what_cannot_get_fewer_is_left_alone() {
    let two = Builder::new(false)
        .segment(2, 500, (0, 9), 0, None)
        .segment(3, 500, (0, 9), 0, None);
    assert_eq!(two.asked(JobKind::Merge), "-");
    let one = Builder::new(false).segment(2, 1, (0, 9), 0, None);
    assert_eq!(one.asked(JobKind::Merge), "-");
}

#[test]
fn dead_rows_are_purged_past_a_fifth() {
    let at = |dead| Builder::new(true).segment(2, 1_000, (0, 9), dead, None);
    assert_eq!(at(200).asked(JobKind::Merge), "-");
    assert_eq!(at(201).asked(JobKind::Merge), "2");
    assert_eq!(at(201).automatic(JobKind::Merge), "2");
}

#[test]
fn the_automatic_merge_waits_for_many() {
    let with = |count: u64| {
        (0..count).fold(Builder::new(false), |b, i| {
            b.segment(2 + i, 10, (0, 9), 0, None)
        })
    };
    assert_eq!(with(7).automatic(JobKind::Merge), "-");
    assert_eq!(with(8).automatic(JobKind::Merge), "2,3,4,5,6,7,8,9");
}

#[test]
fn a_run_stays_disjoint_when_its_neighbours_merge() {
    let run = Builder::new(true)
        .segment(2, 1_000, (300, 399), 700, Some(9))
        .segment(3, 1_000, (0, 99), 700, Some(9))
        .segment(4, 1_000, (200, 299), 0, Some(9))
        .segment(5, 1_000, (100, 199), 700, Some(9))
        .segment(6, 100, (0, 500), 0, None);
    assert_eq!(run.asked(JobKind::Merge), "3,5+same9 2+same9");
    assert_eq!(run.automatic(JobKind::Merge), "3,5+same9 2+same9");
}

#[test]
fn clustering_takes_everything_until_one_run_has_it() {
    let loose = Builder::new(true)
        .segment(2, 1_000, (0, 99), 0, None)
        .segment(3, 1_000, (0, 99), 0, None);
    assert_eq!(loose.growing(4, 5).asked(JobKind::Cluster), "2,3,4+new");
    let run = || {
        Builder::new(true)
            .segment(2, 1_000, (0, 99), 0, Some(8))
            .segment(3, 1_000, (100, 199), 0, Some(8))
    };
    assert_eq!(run().asked(JobKind::Cluster), "-");
    assert_eq!(run().growing(4, 5).asked(JobKind::Cluster), "2,3,4+new");
    let purge = run().segment(4, 10, (200, 201), 3, Some(8));
    assert_eq!(purge.asked(JobKind::Cluster), "4+new");
    let other = run().segment(4, 10, (200, 201), 0, Some(9));
    assert_eq!(other.asked(JobKind::Cluster), "-");
    let full = JobOptions {
        full: true,
        ..JobOptions::default()
    };
    assert_eq!(run().groups(JobKind::Cluster, full), "2,3+new");
    let one = Builder::new(true).segment(2, 10, (0, 9), 0, None);
    assert_eq!(one.asked(JobKind::Cluster), "-");
}

#[test]
fn a_new_clustering_key_makes_old_runs_unclustered() {
    let run = Builder::new(true).segment(2, 1_000, (0, 99), 0, Some(8));
    let collection = run.collection();
    let mut schema = CollectionSchema::clone(&collection.schema);
    let other = FieldId(1);
    schema.columns.push(Column {
        id: other,
        name: "other".into(),
        ..schema.columns[0].clone()
    });
    schema.clustering_key = vec![other];
    let alter = AlterCollection {
        id: COLLECTION,
        name: None,
        schema: Some(schema),
        options: None,
    };
    let altered = run.commit(Change::AlterCollection(alter));
    assert_eq!(altered.asked(JobKind::Cluster), "2+new");
}

#[test]
fn segments_sorted_by_another_model_are_unclustered() {
    let run = |builder: Builder| {
        let first = builder.segment(2, 1_000, (0, 9), 0, Some(8));
        first.segment(3, 1_000, (10, 19), 0, Some(8))
    };
    let never = run(Builder::new(false).near());
    assert_eq!(never.asked(JobKind::Cluster), "2,3+new");
    assert_eq!(never.trained().asked(JobKind::Cluster), "2,3+new");
    let trained = run(Builder::new(false).near().trained());
    assert_eq!(trained.asked(JobKind::Cluster), "-");
    assert_eq!(trained.trained().asked(JobKind::Cluster), "2,3+new");
}

#[test]
fn without_a_key_clustering_is_refused() {
    let plain = Builder::new(false).growing(2, 1);
    let request = Request {
        kind: JobKind::Cluster,
        options: JobOptions::default(),
    };
    let error = choose(plain.collection(), &request, &Settings::default(), 0).unwrap_err();
    assert_eq!(error.sqlstate(), "55000");
    assert_eq!(
        error.hint(),
        Some("Give it one: ALTER TABLE book CLUSTER BY (column).")
    );
}

#[test]
fn a_replaced_collection_is_chosen_from_anew() {
    let before =
        Builder::new(true)
            .segment(2, 100, (0, 9), 0, None)
            .segment(3, 100, (0, 9), 0, None);
    assert_eq!(before.asked(JobKind::Merge), "2,3");
    let merged = before.commit(Change::Replace(Replace {
        collection: COLLECTION,
        inputs: vec![SegmentId(2)],
        outputs: vec![],
    }));
    assert_eq!(merged.asked(JobKind::Merge), "-");
}

#[test]
fn a_merge_does_not_reach_over_what_lies_between() {
    let apart = Builder::new(true)
        .segment(2, 100, (0, 9), 0, None)
        .segment(3, 900, (20, 29), 0, None)
        .segment(4, 100, (40, 49), 0, None)
        .segment(5, 100, (60, 69), 0, None);
    assert_eq!(apart.asked(JobKind::Merge), "4,5");
}

#[test]
fn the_automatic_merge_takes_segments_of_about_one_size() {
    let sizes = [10, 10, 10, 10, 10, 10, 10, 300, 10];
    let with = |count: usize| {
        let sizes = sizes.iter().take(count).zip(2..);
        sizes.fold(Builder::new(true), |b, (rows, id)| {
            b.segment(id, *rows, (0, 9), 0, None)
        })
    };
    assert_eq!(with(8).automatic(JobKind::Merge), "-");
    assert_eq!(with(9).automatic(JobKind::Merge), "2,3,4,5,6,7,8,10");
}

/// `count` runs, each of two segments, over the keys from `from` on.
fn runs(mut builder: Builder, ids: std::ops::Range<u64>, from: i64) -> Builder {
    for run in ids {
        builder = builder
            .segment(run * 10, 1_000, (from, from + 99), 0, Some(run))
            .segment(run * 10 + 1, 1_000, (from + 100, from + 199), 0, Some(run));
    }
    builder
}

#[test]
fn runs_of_one_level_become_one_where_eight_overlap() {
    let between = Builder::new(true).segment(900, 1_000, (500, 600), 0, Some(90));
    let seven = runs(runs(between, 1..8, 0), 20..26, 1_000);
    assert_eq!(seven.automatic(JobKind::Cluster), "-");
    let eight = runs(seven, 8..9, 0);
    let Choice::Work(work) = eight.choose(
        JobKind::Cluster,
        JobOptions {
            automatic: true,
            ..JobOptions::default()
        },
    ) else {
        panic!("nothing to do");
    };
    let [group] = &work.groups[..] else {
        panic!("{:?}", work.groups);
    };
    assert_eq!(
        (group.inputs.len(), group.level, group.run),
        (16, 2, Run::New)
    );
    assert!(group.inputs.iter().all(|id| id.0 < 100));
}

#[test]
fn settling_makes_the_smallest_runs_one_until_four_overlap() {
    let four = runs(Builder::new(true), 1..5, 0);
    assert_eq!(four.asked(JobKind::Cluster), "-");
    let six = four
        .segment(500, 10, (0, 199), 0, Some(50))
        .segment(600, 10, (0, 199), 0, Some(60));
    assert_eq!(six.asked(JobKind::Cluster), "10,11,500,600+new");
}

#[test]
fn windows_that_share_a_run_become_one_run() {
    let apart = (1..5).fold(Builder::new(true), |builder, run| {
        let first = builder.segment(run * 10, 1_000, (0, 99), 0, Some(run));
        first.segment(run * 10 + 1, 1_000, (1_000, 1_099), 0, Some(run))
    });
    assert_eq!(apart.asked(JobKind::Cluster), "-");
    let across = apart.segment(50, 10, (50, 1_050), 0, Some(5));
    assert_eq!(across.asked(JobKind::Cluster), "10,11,50+new");
}

#[test]
fn clustering_settles_by_itself_where_that_is_cheap() {
    let with_new = |rows| runs(Builder::new(true), 1..5, 0).segment(500, rows, (0, 199), 0, None);
    // With the smallest run as one: 2,000 rows more.
    assert_eq!(with_new(250).automatic(JobKind::Cluster), "10,11,500+new");
    assert_eq!(with_new(249).automatic(JobKind::Cluster), "500+new");
}

#[test]
fn settings_of_the_collection_win() {
    let growing = || Builder::new(true).growing(2, 10);
    assert_eq!(growing().automatic(JobKind::Seal), "-");
    let aged = growing().own(&[("growing.max_age", "1s")]);
    assert_eq!(aged.automatic(JobKind::Seal), "2");

    let half_full = || {
        let first = Builder::new(true).segment(2, 400, (0, 9), 0, None);
        first.segment(3, 400, (0, 9), 0, None)
    };
    assert_eq!(half_full().asked(JobKind::Merge), "2,3");
    let small = half_full().own(&[("segment.small_proportion", "0.3")]);
    assert_eq!(small.asked(JobKind::Merge), "-");

    let six = || runs(Builder::new(true), 1..7, 0);
    assert_eq!(six().asked(JobKind::Cluster), "10,11,20,21,30,31+new");
    let deep = six().own(&[("compaction.clustering.max_depth", "6")]);
    assert_eq!(deep.asked(JobKind::Cluster), "-");
}

#[test]
fn clustering_prefers_a_size_and_a_request_can_name_one() {
    let bytes = |builder: &Builder, kind: JobKind, target_size: Option<ByteSize>| {
        let request = Request {
            kind,
            options: JobOptions {
                target_size,
                ..JobOptions::default()
            },
        };
        let limits = limits(builder.collection(), &request, &Settings::default());
        assert_eq!(limits.rows, 1_000);
        (limits.bytes >> 20, (limits.preferred * 100.0).round())
    };
    let usual = Builder::new(true);
    assert_eq!(bytes(&usual, JobKind::Merge, None), (128, 100.0));
    assert_eq!(bytes(&usual, JobKind::Cluster, None), (128, 80.0));
    let named = Some(ByteSize::mib(10));
    assert_eq!(bytes(&usual, JobKind::Cluster, named), (10, 100.0));
    let own = usual.own(&[
        ("compaction.clustering.max_segment_size_ratio", "0.5"),
        ("compaction.clustering.prefer_segment_size_ratio", "0.25"),
    ]);
    assert_eq!(bytes(&own, JobKind::Cluster, None), (64, 50.0));
    let beyond = own.own(&[("compaction.clustering.prefer_segment_size_ratio", "0.9")]);
    assert_eq!(bytes(&beyond, JobKind::Cluster, None), (64, 100.0));
}

#[test]
fn a_job_does_what_is_asked_for_or_more() {
    let options = |full: bool, target: Option<u64>, bytes_max: Option<u64>| JobOptions {
        full,
        target_size: target.map(ByteSize),
        scope: Scope {
            bytes_max: bytes_max.map(ByteSize),
            ..Scope::default()
        },
        ..JobOptions::default()
    };
    let plain = options(false, None, None);
    let full = options(true, None, None);
    assert!(plain.does(&plain) && full.does(&plain) && !plain.does(&full));
    for other in [
        options(false, Some(1), None),
        options(false, None, Some(1)),
        options(true, Some(1), None),
    ] {
        assert!(other.does(&other) && !other.does(&plain) && !plain.does(&other));
    }
}

#[test]
fn clustering_of_one_collection_can_start_by_itself() {
    let many = || Builder::new(true).segment(2, 1_000, (0, 9), 0, None);
    let round = |builder: &Builder| {
        let clustered = Clustered::of(
            &builder.snapshot,
            builder.collection(),
            &Settings::default(),
        );
        clustering_due(builder.collection(), clustered, &Settings::default(), 0)
    };
    let on = ("compaction.clustering.auto", "on");
    let low = ("compaction.clustering.new_data_size_threshold", "1kB");
    assert!(matches!(round(&many().own(&[low])), Round::Skip(_)));
    assert!(matches!(round(&many().own(&[on])), Round::Skip(_)));
    assert_eq!(round(&many().own(&[on, low])), Round::Cluster);
    let forbidden = [on, low, ("compaction.auto", "off")];
    assert!(matches!(round(&many().own(&forbidden)), Round::Skip(_)));
}

#[test]
fn clustering_is_due_by_the_models_rules() {
    let settings = Settings {
        compaction_clustering_auto: true,
        compaction_clustering_new_data_size_threshold: ByteSize(4_000),
        ..Settings::default()
    };
    let round = |builder: &Builder, last: Option<i64>, settled: Option<i64>, now_s: i64| {
        let clustered = Clustered {
            last_ms: last.map(|s| s * 1_000),
            settled_ms: settled.map(|s| s * 1_000),
        };
        clustering_due(builder.collection(), clustered, &settings, now_s * 1_000)
    };
    let skipped = |round: Round| match round {
        Round::Skip(reason) => reason,
        other => panic!("{other:?}"),
    };
    let few = Builder::new(true).segment(2, 500, (0, 9), 0, None);
    let reason = skipped(round(&few, None, None, 0));
    assert!(reason.contains("new_data_size_threshold"), "{reason}");
    let first = few.segment(3, 500, (0, 9), 0, None);
    assert_eq!(round(&first, None, None, 0), Round::Cluster);
    let later = first.segment(4, 500, (0, 9), 0, Some(9));
    let reason = skipped(round(&later, Some(1_000), Some(1_000), 4_599));
    assert!(reason.contains("min_interval (1h)"), "{reason}");
    assert_eq!(
        round(&later, Some(1_000), Some(1_000), 4_600),
        Round::Cluster
    );
    let little = Builder::new(true).segment(4, 500, (0, 9), 0, Some(9));
    let reason = skipped(round(&little, Some(0), Some(0), 259_199));
    assert!(reason.contains("new_data_size_threshold"), "{reason}");
    assert_eq!(round(&little, Some(0), Some(0), 259_200), Round::Settle);
    assert_eq!(
        round(&little, Some(250_000), Some(0), 259_200),
        Round::Settle
    );
    let off = clustering_due(
        little.collection(),
        Clustered::default(),
        &Settings::default(),
        0,
    );
    assert!(skipped(off).contains("does not start by itself"));
}
