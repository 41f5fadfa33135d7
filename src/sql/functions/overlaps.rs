//! `(a, b) OVERLAPS (c, d)`: whether two spans have a time in common.

use std::cmp::Ordering;

use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload};
use crate::catalog::zone::Zone;
use crate::sql::clock;

use Kind::{Bool, Interval, Time, Timestamp, Timestamptz};

/// The function that the operator calls.
pub(crate) const OVERLAPS: &str = "overlaps";

/// The overloads for moments of a kind, the ends of whose spans may be lengths.
macro_rules! of_kind {
    ($kind:ident) => {
        [
            Overload::new(&[$kind, $kind, $kind, $kind], Bool, overlaps),
            Overload::new(&[$kind, Interval, $kind, Interval], Bool, overlaps),
            Overload::new(&[$kind, $kind, $kind, Interval], Bool, overlaps),
            Overload::new(&[$kind, Interval, $kind, $kind], Bool, overlaps),
        ]
    };
}

const TIMES: [Overload; 4] = of_kind!(Time);
const TIMESTAMPS: [Overload; 4] = of_kind!(Timestamp);
const INSTANTS: [Overload; 4] = of_kind!(Timestamptz);

pub(super) const FUNCTIONS: Group = &[
    (OVERLAPS, &with_nulls(TIMESTAMPS)),
    (OVERLAPS, &with_nulls(INSTANTS)),
    (OVERLAPS, &with_nulls(TIMES)),
];

/// The same functions, which follow the session's clock and know of spans without one end.
const fn with_nulls(overloads: [Overload; 4]) -> [Overload; 4] {
    let [a, b, c, d] = overloads;
    [
        a.with_nulls().stable(),
        b.with_nulls().stable(),
        c.with_nulls().stable(),
        d.with_nulls().stable(),
    ]
}

/// The earlier end of a span and the later, where there are two.
type Span = (i64, Option<i64>);

fn overlaps(call: &Call<'_>) -> Result<ScalarValue> {
    let spans = span(call, 0)?.zip(span(call, 2)?);
    Ok(ScalarValue::Boolean(
        spans.and_then(|(one, two)| meet(one, two)),
    ))
}

/// The span whose ends are the arguments from a place on; `None` where neither is known.
fn span(call: &Call<'_>, place: usize) -> Result<Option<Span>> {
    let (start, end) = (call.moment(place), call.moment(place + 1));
    let end = match (start, call.interval(place + 1)) {
        (Some(start), Some(length)) => {
            let zone = match call.values[place] {
                ScalarValue::TimestampMicrosecond(_, Some(_)) => call.zone(),
                _ => Zone::utc(),
            };
            let end = clock::later(&zone, start, length, 1);
            Some(end.ok_or_else(clock::out_of_range)?)
        }
        _ => end,
    };
    Ok(match (start, end) {
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (start, end) => start.or(end).map(|known| (known, None)),
    })
}

/// Whether each begins before the other ends, or both begin at once; `None` where an end decides that is not known.
fn meet(one: Span, two: Span) -> Option<bool> {
    let (first, second) = match one.0.cmp(&two.0) {
        Ordering::Less => (one, two),
        Ordering::Equal => return (one.1.is_some() && two.1.is_some()).then_some(true),
        Ordering::Greater => (two, one),
    };
    match first.1 {
        Some(end) if second.0 < end => Some(true),
        end => (end.is_some() && second.1.is_some()).then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_meet_where_they_share_a_time() {
        let of = |a: i64, b: i64| (a, Some(b));
        assert_eq!(meet(of(1, 3), of(2, 4)), Some(true));
        assert_eq!(meet(of(1, 2), of(2, 4)), Some(false));
        assert_eq!(meet(of(2, 4), of(1, 2)), Some(false));
        assert_eq!(meet(of(1, 1), of(1, 4)), Some(true));
        assert_eq!(meet(of(1, 3), (2, None)), Some(true));
        assert_eq!(meet(of(1, 3), (3, None)), None);
        assert_eq!(meet((1, None), of(2, 3)), None);
        assert_eq!(meet((1, None), (1, None)), None);
    }
}
