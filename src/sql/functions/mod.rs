//! Functions of PostgreSQL that DataFusion does not have, or that answer otherwise there.
//!
//! | group | functions |
//! |---|---|
//! | [`regex`] | `regexp_matches`, `regexp_split_to_array`, `regexp_substr` and their like |
//! | [`interval`] | `justify_*`, `make_interval`, intervals times numbers |
//! | [`moment`] | `age`, `isfinite`, `make_timestamp`, `AT TIME ZONE`, the clock |
//! | [`date_part`] | `date_part`, `extract` |
//! | [`bins`] | `date_bin` |
//! | [`finite`] | `date_trunc` and `date_bin` of infinite times |
//! | [`overlaps`] | `OVERLAPS` |
//! | [`round`] | `round` |
//! | [`precision`] | casts to `timestamp(3)` and its like |
//! | [`number`] | `width_bucket`, `div`, `scale`, `to_number`, `num_nulls` |
//! | [`integer`] | `gcd`, `lcm` and `generate_series` of integers |
//! | [`reading`] | `to_date` and `to_timestamp` by a template |
//! | [`whole`] | `ceil`, `floor`, `trunc` and `round` of NUMERIC |
//! | [`truncate`] | `date_trunc` of intervals, to centuries, in a zone |
//! | [`numeral`] | `to_char` of numbers |
//! | [`calendar`] | `to_char` of dates, times and intervals |
//! | [`degrees`] | `sind`, `acosd` and their like |
//! | [`exact_math`] | `sqrt`, `ln`, `log`, `exp`, `power`, `sign`, `gcd`, `lcm` and `trim_scale` of NUMERICs |
//! | [`limits`] | LIMIT and OFFSET of subqueries |
//! | [`text`] | `string_to_table` |
//! | [`unicode`] | `normalize`, `unistr` |
//! | [`uuids`] | `gen_random_uuid` |
//! | [`similar`] | `SUBSTRING(x SIMILAR ..)` |
//! | [`series`] | `generate_series` of instants |
//! | [`bytes`] | `encode`, `decode` |
//! | [`bytea`] | `get_byte`, `set_bit`, `convert_from`, parts of bytes |
//! | [`array`] | `array_remove`, `array_dims`, `array_positions`, `trim_array` |
//! | [`array_relation`] | what arrays hold of each other, `array_cat`, `array_to_string` |
//! | [`ordered`] | `percentile_disc`, `percentile_cont`, `mode` |
//! | [`jsonpath`] | `jsonb_path_query` and its like |
//! | [`object`] | `json_object`, `jsonb_object` |
//! | [`json`] | `jsonb_each`, `jsonb_array_elements`, `jsonb_object_keys` |
//!
//! A function is a list of [`Overload`]s, each a plain function of a row's values; [`RowFunction`] makes a scalar function
//! of DataFusion of it. A function that gives rows gives an array here; FROM and SELECT lists unnest it ([`gives_rows`]).

mod array;
mod array_operators;
mod array_relation;
mod bins;
mod bytea;
mod bytes;
mod calendar;
mod date_part;
mod degrees;
mod exact_math;
mod extended;
mod finite;
mod integer;
mod interval;
mod json;
mod jsonpath;
mod limits;
mod moment;
mod number;
mod numeral;
mod object;
mod operators;
mod ordered;
mod overlaps;
mod pattern;
mod precision;
mod reading;
mod regex;
mod round;
mod row;
mod series;
mod similar;
mod template;
mod text;
mod truncate;
mod unicode;
mod uuids;
mod whole;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::logical_expr::{Expr, ScalarUDF};

pub(crate) use self::array::{SET_ELEMENT, SET_SLICE};
pub(crate) use self::array_operators::ArrayPlanner;
pub(crate) use self::array_relation::FLAT;
pub(crate) use self::bins::BIN_OF_ORIGIN;
use self::date_part::date_part;
pub(crate) use self::extended::extend;
pub(crate) use self::interval::BIN_STRIDE;
use self::interval::INTERVAL_LENGTH;
pub(crate) use self::interval::{divided, length_of, out_of_range as interval_out_of_range};
pub(crate) use self::jsonpath::{JSONPATH, PATH_EXISTS, PATH_MATCH};
pub(crate) use self::limits::{ROWS_SKIPPED, ROWS_TAKEN};
pub(crate) use self::operators::IntervalPlanner;
pub(crate) use self::overlaps::OVERLAPS;
pub(crate) use self::pattern::operator_pattern;
pub(crate) use self::precision::ROUND_SECONDS;
use self::precision::round_seconds;
pub(crate) use self::reading::{DATE_BY_TEMPLATE, INSTANT_BY_TEMPLATE};
use self::round::round;
use self::row::{Overload, RowFunction};
pub(crate) use self::series::SERIES_OF_INSTANTS;
pub(crate) use self::similar::SUBSTRING_SIMILAR;
pub(crate) use self::truncate::DATE_TRUNC;
pub(super) use self::truncate::cut_interval;
pub(crate) use self::unicode::IS_NORMALIZED;
pub(crate) use self::uuids::random_uuid;
use crate::catalog::pg::functions::RECORD_SETS;

/// The type of intervals.
pub(crate) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The functions of a group, under their names.
type Group = &'static [(&'static str, &'static [Overload])];

const GROUPS: [Group; 24] = [
    array::FUNCTIONS,
    array_relation::FUNCTIONS,
    bins::FUNCTIONS,
    bytea::FUNCTIONS,
    bytes::FUNCTIONS,
    calendar::FUNCTIONS,
    degrees::FUNCTIONS,
    interval::FUNCTIONS,
    json::FUNCTIONS,
    jsonpath::FUNCTIONS,
    limits::FUNCTIONS,
    moment::FUNCTIONS,
    number::FUNCTIONS,
    numeral::FUNCTIONS,
    object::FUNCTIONS,
    ordered::FUNCTIONS,
    overlaps::FUNCTIONS,
    reading::FUNCTIONS,
    regex::FUNCTIONS,
    series::FUNCTIONS,
    similar::FUNCTIONS,
    text::FUNCTIONS,
    truncate::FUNCTIONS,
    unicode::FUNCTIONS,
];

/// Every function. Overloads of one name may be in several groups.
pub(crate) fn functions() -> Vec<ScalarUDF> {
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in GROUPS.into_iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let functions = names.into_iter().map(function);
    functions
        .chain([
            date_part(),
            exact_math::trim_scale(),
            round(),
            round_seconds(),
        ])
        .collect()
}

/// The function of a name that is known to be there.
fn function(name: &'static str) -> ScalarUDF {
    let overloads = GROUPS.into_iter().flatten();
    let overloads = overloads.filter(|(known, _)| *known == name);
    let overloads = overloads.flat_map(|(_, overloads)| overloads.iter());
    ScalarUDF::new_from_impl(RowFunction::new(name, overloads.collect()))
}

/// What an interval is compared by: its length.
pub(crate) fn interval_length(interval: Expr) -> Expr {
    function(INTERVAL_LENGTH).call(vec![interval])
}

/// Whether a function of the name gives rows: the elements of the array that it makes.
pub(crate) fn gives_rows(name: &str) -> bool {
    let sets = [json::SETS, jsonpath::SETS, regex::SETS, text::SETS];
    let mut sets = sets.into_iter().flatten().chain(&RECORD_SETS);
    sets.any(|set| *set == name)
}
