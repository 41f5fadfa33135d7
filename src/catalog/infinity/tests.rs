#![allow(clippy::unwrap_used)]

use arrow::array::{
    Date32Array, Datum, IntervalMonthDayNanoArray, Scalar, TimestampMicrosecondArray,
};
use arrow::compute::is_null;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::logical_expr::Operator;
use proptest::prelude::*;

use super::*;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn timestamps_of(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values))
}

/// Timestamps with infinite ones and NULLs among them.
fn any_timestamp() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        Just(Some(i64::MIN)),
        Just(Some(i64::MAX)),
        Just(None),
        MICROS.prop_map(Some),
        (-3 * MICROSECONDS_IN_DAY..3 * MICROSECONDS_IN_DAY).prop_map(Some),
    ]
}

#[test]
fn infinities_have_names() {
    for (text, infinity) in [
        ("infinity", Some(Infinity::Latest)),
        ("-INFINITY", Some(Infinity::Earliest)),
        ("inf", None),
        ("+infinity", None),
    ] {
        assert_eq!(Infinity::read(text), infinity, "{text}");
    }
    assert_eq!(Infinity::of(*MICROS.end()), None);
    let units = [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ];
    for unit in units {
        let to = DataType::Timestamp(unit, None);
        let times = cast_moments(&timestamps_of(vec![Some(i64::MIN), Some(0)]), &to).unwrap();
        assert_eq!(
            Infinity::in_row(&times, 0),
            Some(Infinity::Earliest),
            "{unit:?}"
        );
        assert_eq!(Infinity::in_row(&times, 1), None, "{unit:?}");
    }
}

#[test]
fn times_of_day_of_infinite_times_are_null() {
    let times = timestamps_of(vec![Some(i64::MAX), Some(1), None]);
    let of_day = cast_moments(&times, &DataType::Time64(TimeUnit::Microsecond)).unwrap();
    let nulls = is_null(&of_day).unwrap();
    assert_eq!(
        nulls.iter().flatten().collect::<Vec<_>>(),
        [true, false, true]
    );
}

#[test]
fn far_dates_are_no_timestamps() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX - 1]));
    assert!(cast_moments(&days, &TIMESTAMP).is_err());
}

fn sum_of(operator: Operator, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    sum::MomentSum::of(operator, &TIMESTAMP)
        .unwrap()
        .compute(left, right)
}

#[test]
fn differences_of_infinite_times_are_errors() {
    let infinite = timestamps_of(vec![Some(i64::MAX), None]);
    let finite = timestamps_of(vec![Some(0), Some(0)]);
    let difference = |a: &ArrayRef, b: &ArrayRef| sum_of(Operator::Minus, a, b);
    assert!(difference(&infinite, &finite).is_err());
    assert!(difference(&finite, &infinite).is_err());
    assert!(difference(&infinite, &infinite).is_err());
    let unknown = timestamps_of(vec![None, Some(0)]);
    assert_eq!(difference(&infinite, &unknown).unwrap().null_count(), 2);
}

proptest! {
    #[test]
    fn what_is_taken_out_comes_back(values in prop::collection::vec(any_timestamp(), 0..20)) {
        let times = timestamps_of(values);
        let (rest, infinities) = finite(&times).unwrap();
        prop_assert!((0..rest.len()).all(|row| rest.is_null(row) || Infinity::in_row(&rest, row).is_none()));
        prop_assert_eq!(&infinities.put_back(rest).unwrap(), &times);
    }

    /// A date of a timestamp and its midnight are ordered as the timestamps are, infinite ones too.
    #[test]
    fn casts_keep_the_order(a in any_timestamp(), b in any_timestamp()) {
        let times = timestamps_of(vec![a, b]);
        let days = cast_moments(&times, &DataType::Date32).unwrap();
        let midnights = cast_moments(&days, &TIMESTAMP).unwrap();
        let days = days.as_primitive::<Date32Type>();
        let midnights = midnights.as_primitive::<TimestampMicrosecondType>();
        if let (Some(a), Some(b)) = (a, b) {
            if a <= b {
                prop_assert!(days.value(0) <= days.value(1));
                prop_assert!(midnights.value(0) <= midnights.value(1));
            }
            prop_assert!(midnights.value(0) <= a);
            prop_assert_eq!(Infinity::of_days(days.value(0)), Infinity::of(a));
        }
    }

    /// A sum by rows is that of each row alone, with one interval for all rows or one each.
    #[test]
    fn sums_move_finite_times_alone(
        values in prop::collection::vec(any_timestamp(), 1..10),
        hours in -50_i64..50,
    ) {
        let times = timestamps_of(values.clone());
        let by = IntervalMonthDayNano::new(0, 0, hours * 3_600_000_000_000);
        let one = Scalar::new(IntervalMonthDayNanoArray::from(vec![by]));
        let each = IntervalMonthDayNanoArray::from(vec![by; values.len()]);
        let micros = hours * 3_600_000_000;
        let expected: Vec<Option<i64>> = values.iter().map(|value| {
            value.map(|at| match Infinity::of(at) {
                Some(_) => at,
                None => at + micros,
            })
        }).collect();
        let fits = expected.iter().flatten().all(|at| MICROS.contains(at) || Infinity::of(*at).is_some());
        for sum in [sum_of(Operator::Plus, &times, &one), sum_of(Operator::Plus, &times, &each)] {
            match sum {
                Ok(sum) => {
                    prop_assert!(fits);
                    prop_assert_eq!(&sum, &timestamps_of(expected.clone()));
                }
                Err(_) => prop_assert!(!fits),
            }
        }
    }
}
