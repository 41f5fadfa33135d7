//! Rows find the partitions that a plain search over the bounds finds.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::*;
use crate::storage::stats::Bound;

/// A key of a number and a text.
type Key = (Option<i64>, Option<String>);

fn columns(keys: &[Key]) -> Vec<ArrayRef> {
    let numbers: Int64Array = keys.iter().map(|(number, _)| *number).collect();
    let texts: StringArray = keys.iter().map(|(_, text)| text.as_deref()).collect();
    vec![Arc::new(numbers), Arc::new(texts)]
}

const TYPES: [DataType; 2] = [DataType::Int64, DataType::Utf8];

fn number(number: i64) -> KeyValue {
    KeyValue {
        value: Bound::Int(number),
        sql: number.to_string(),
    }
}

fn text(text: &str) -> KeyValue {
    KeyValue {
        value: Bound::Text(text.to_string()),
        sql: format!("'{text}'"),
    }
}

/// A place between keys: one before, at, or behind all numbers, and the same of texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark<T> {
    Min,
    At(T),
    Max,
}

type Place = (Mark<i64>, Mark<String>);

fn end(place: &Place) -> Vec<RangeEnd> {
    let first = match &place.0 {
        Mark::Min => return vec![RangeEnd::Min, RangeEnd::Min],
        Mark::Max => return vec![RangeEnd::Max, RangeEnd::Max],
        Mark::At(at) => RangeEnd::Value(number(*at)),
    };
    let second = match &place.1 {
        Mark::Min => RangeEnd::Min,
        Mark::Max => RangeEnd::Max,
        Mark::At(at) => RangeEnd::Value(text(at)),
    };
    vec![first, second]
}

fn mark<T: Clone + fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Mark<T>> {
    prop_oneof![
        1 => Just(Mark::Min),
        6 => values.prop_map(Mark::At),
        1 => Just(Mark::Max),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    "[ab\u{e9}]{0,3}"
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let number = prop::option::weighted(0.9, -4..5_i64);
    let text = prop::option::weighted(0.9, texts());
    prop::collection::vec((number, text), 0..60)
}

/// Open ends are open in all columns, as statements want them to be.
fn places() -> impl Strategy<Value = Vec<Place>> {
    let place = (mark(-4..5_i64), mark(texts())).prop_map(|(first, second)| match first {
        Mark::Min => (Mark::Min, Mark::Min),
        Mark::Max => (Mark::Max, Mark::Max),
        first => (first, second),
    });
    prop::collection::btree_set(place, 2..9).prop_map(|places| places.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ranges_have_the_rows_between_their_ends(
        places in places(), keys in keys(), gaps in any::<u16>(), has_default in any::<bool>(),
    ) {
        let pairs = places.windows(2).enumerate();
        let pairs = pairs.filter(|(at, _)| gaps & (1 << at) == 0);
        let ranges: Vec<(Place, Place)> =
            pairs.map(|(_, pair)| (pair[0].clone(), pair[1].clone())).collect();
        prop_assume!(!ranges.is_empty());
        // The order in which partitions are made says nothing.
        let mut bounds: Vec<PartitionBound> = ranges
            .iter()
            .rev()
            .map(|(from, to)| PartitionBound::Range { from: end(from), to: end(to) })
            .collect();
        let default = has_default.then_some(bounds.len());
        bounds.extend(default.map(|_| PartitionBound::Default));
        let found = Bounds::of(&TYPES, bounds.iter()).unwrap().targets(&columns(&keys)).unwrap();
        let expected = |key: &Key| {
            let (Some(number), Some(text)) = key else {
                return default;
            };
            let key: Place = (Mark::At(*number), Mark::At(text.clone()));
            let ranges = ranges.iter().rev();
            let mut ranges = ranges.map(|(from, to)| *from <= key && key < *to);
            ranges.position(|has| has).or(default)
        };
        prop_assert_eq!(found, keys.iter().map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn lists_have_the_rows_of_their_values(
        owners in prop::collection::vec(0..4_usize, 9), null in prop::option::of(0..3_usize),
        keys in keys(),
    ) {
        let values = |own: usize| {
            let numbers = owners.iter().zip(-4..5_i64).filter(|(owner, _)| **owner == own);
            let mut values: Vec<_> = numbers.map(|(_, n)| Some(number(n))).collect();
            values.extend((null == Some(own)).then_some(None));
            PartitionBound::List(values)
        };
        let bounds: Vec<_> = (0..3).map(values).collect();
        let numbers = &columns(&keys)[..1];
        let found = Bounds::of(&TYPES[..1], bounds.iter()).unwrap().targets(numbers).unwrap();
        let expected = |key: &Key| match key.0 {
            None => null,
            Some(number) => Some(owners[(number + 4) as usize]).filter(|owner| *owner < 3),
        };
        prop_assert_eq!(found, keys.iter().map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn hashes_have_one_remainder_of_each_modulus(keys in keys()) {
        let hash = |modulus, remainder| PartitionBound::Hash { modulus, remainder };
        let bounds = [hash(2, 1), hash(4, 0), hash(8, 2), hash(8, 6)];
        let columns = columns(&keys);
        let found = Bounds::of(&TYPES, bounds.iter()).unwrap().targets(&columns).unwrap();
        let has = |bound: &PartitionBound, of: u64| match bound {
            PartitionBound::Hash { modulus, remainder } => {
                of % u64::from(*modulus) == u64::from(*remainder)
            }
            _ => false,
        };
        let hashes = hashes(&columns).unwrap().into_iter();
        let expected = hashes.map(|of| bounds.iter().position(|bound| has(bound, of)));
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
    }
}

#[test]
fn hashes_are_the_same_in_every_version_of_the_program() {
    let keys = [
        (Some(0), Some(String::new())),
        (Some(1), Some("a".to_string())),
        (None, None),
    ];
    let of_numbers = hashes(&columns(&keys)[..1]).unwrap();
    let places: Vec<u64> = of_numbers.iter().map(|hash| hash % 1_000).collect();
    assert_eq!(places, PLACES_OF_NUMBERS);
    let both = hashes(&columns(&keys)).unwrap();
    let places: Vec<u64> = both.iter().map(|hash| hash % 1_000).collect();
    assert_eq!(places, PLACES_OF_BOTH);
}

const PLACES_OF_NUMBERS: [u64; 3] = [681, 483, 0];
const PLACES_OF_BOTH: [u64; 3] = [771, 490, 0];

#[test]
fn equal_zeros_are_of_one_partition() {
    let zero = KeyValue {
        value: Bound::Float(0.0_f64.to_bits()),
        sql: "0".to_string(),
    };
    let bounds = [PartitionBound::List(vec![Some(zero)])];
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0]));
    let found = Bounds::of(&[DataType::Float64], bounds.iter()).unwrap();
    let found = found.targets(std::slice::from_ref(&zeros)).unwrap();
    assert_eq!(found, [Some(0), Some(0), None]);
    let hashes = hashes(&[zeros]).unwrap();
    assert_eq!(hashes[0], hashes[1]);
}
