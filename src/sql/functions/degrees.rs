//! `sind`, `acosd` and their like: angles in degrees, exact where the angle is one of those whose values are known.
//!
//! As PostgreSQL computes them: within the first quadrant, and scaled by what the known values come out as.

use std::f64::consts::PI;

use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload};
use crate::error::{Error, sqlstate};

use Kind::Float8;

const RADIANS_PER_DEGREE: f64 = PI / 180.0;

pub(super) const FUNCTIONS: Group = &[
    (
        "sind",
        &[Overload::new(&[Float8], Float8, |call| {
            of_angle(call, sine)
        })],
    ),
    (
        "cosd",
        &[Overload::new(&[Float8], Float8, |call| {
            of_angle(call, cosine)
        })],
    ),
    (
        "tand",
        &[Overload::new(&[Float8], Float8, |call| {
            of_angle(call, tangent)
        })],
    ),
    (
        "cotd",
        &[Overload::new(&[Float8], Float8, |call| {
            of_angle(call, cotangent)
        })],
    ),
    (
        "asind",
        &[Overload::new(&[Float8], Float8, |call| {
            of_ratio(call, arc_sine)
        })],
    ),
    (
        "acosd",
        &[Overload::new(&[Float8], Float8, |call| {
            of_ratio(call, arc_cosine)
        })],
    ),
    (
        "atand",
        &[Overload::new(&[Float8], Float8, |call| {
            double(in_degrees(given(call, 0).atan()))
        })],
    ),
    (
        "atan2d",
        &[Overload::new(&[Float8, Float8], Float8, |call| {
            double(in_degrees(given(call, 0).atan2(given(call, 1))))
        })],
    ),
];

fn given(call: &Call<'_>, place: usize) -> f64 {
    call.float(place).unwrap_or(f64::NAN)
}

fn double(value: f64) -> Result<ScalarValue> {
    Ok(ScalarValue::Float64(Some(value)))
}

fn out_of_range() -> Error {
    Error::invalid(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        "input is out of range",
    )
}

/// # Errors
/// 22003 for an angle that is infinite.
fn of_angle(call: &Call<'_>, function: fn(f64) -> f64) -> Result<ScalarValue> {
    let angle = given(call, 0);
    match angle {
        angle if angle.is_infinite() => Err(out_of_range().into()),
        angle if angle.is_nan() => double(angle),
        angle => double(function(angle % 360.0)),
    }
}

/// # Errors
/// 22003 for a number that is no sine.
fn of_ratio(call: &Call<'_>, function: fn(f64) -> f64) -> Result<ScalarValue> {
    match given(call, 0) {
        ratio if ratio.is_nan() => double(ratio),
        ratio if ratio.abs() > 1.0 => Err(out_of_range().into()),
        ratio => double(function(ratio)),
    }
}

/// The sine up to 30 degrees.
fn small_sine(angle: f64) -> f64 {
    (angle * RADIANS_PER_DEGREE).sin() / (30.0 * RADIANS_PER_DEGREE).sin() / 2.0
}

/// The cosine up to 60 degrees.
fn small_cosine(angle: f64) -> f64 {
    let rest = |angle: f64| 1.0 - (angle * RADIANS_PER_DEGREE).cos();
    1.0 - rest(angle) / rest(60.0) / 2.0
}

fn quadrant_sine(angle: f64) -> f64 {
    match angle <= 30.0 {
        true => small_sine(angle),
        false => small_cosine(90.0 - angle),
    }
}

fn quadrant_cosine(angle: f64) -> f64 {
    match angle <= 60.0 {
        true => small_cosine(angle),
        false => small_sine(90.0 - angle),
    }
}

fn sine(angle: f64) -> f64 {
    let (mut angle, mut sign) = (angle.abs(), if angle < 0.0 { -1.0 } else { 1.0 });
    if angle > 180.0 {
        (angle, sign) = (360.0 - angle, -sign);
    }
    if angle > 90.0 {
        angle = 180.0 - angle;
    }
    sign * quadrant_sine(angle)
}

fn cosine(angle: f64) -> f64 {
    let (mut angle, mut sign) = (angle.abs(), 1.0);
    if angle > 180.0 {
        angle = 360.0 - angle;
    }
    if angle > 90.0 {
        (angle, sign) = (180.0 - angle, -sign);
    }
    sign * quadrant_cosine(angle)
}

/// An angle in the first quadrant, and the sign of its tangent.
fn folded(angle: f64) -> (f64, f64) {
    let (mut angle, mut sign) = (angle.abs(), if angle < 0.0 { -1.0 } else { 1.0 });
    if angle > 180.0 {
        (angle, sign) = (360.0 - angle, -sign);
    }
    if angle > 90.0 {
        (angle, sign) = (180.0 - angle, -sign);
    }
    (angle, sign)
}

fn tangent(angle: f64) -> f64 {
    let (angle, sign) = folded(angle);
    let of_45 = quadrant_sine(45.0) / quadrant_cosine(45.0);
    // Not the zero below zero.
    sign * (quadrant_sine(angle) / quadrant_cosine(angle) / of_45) + 0.0
}

fn cotangent(angle: f64) -> f64 {
    let (angle, sign) = folded(angle);
    let of_45 = quadrant_cosine(45.0) / quadrant_sine(45.0);
    sign * (quadrant_cosine(angle) / quadrant_sine(angle) / of_45) + 0.0
}

/// The angle of a sine from 0 to 1.
fn quadrant_arc_sine(ratio: f64) -> f64 {
    match ratio <= 0.5 {
        true => ratio.asin() / 0.5_f64.asin() * 30.0,
        false => 90.0 - ratio.acos() / 0.5_f64.acos() * 60.0,
    }
}

fn quadrant_arc_cosine(ratio: f64) -> f64 {
    match ratio <= 0.5 {
        true => 90.0 - ratio.asin() / 0.5_f64.asin() * 30.0,
        false => ratio.acos() / 0.5_f64.acos() * 60.0,
    }
}

fn arc_sine(ratio: f64) -> f64 {
    match ratio >= 0.0 {
        true => quadrant_arc_sine(ratio),
        false => -quadrant_arc_sine(-ratio),
    }
}

fn arc_cosine(ratio: f64) -> f64 {
    match ratio >= 0.0 {
        true => quadrant_arc_cosine(ratio),
        false => 90.0 + quadrant_arc_sine(-ratio),
    }
}

fn in_degrees(arc_tangent: f64) -> f64 {
    arc_tangent / 1.0_f64.atan() * 45.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_angles_are_exact() {
        assert_eq!([sine(30.0), sine(-90.0), sine(270.0)], [0.5, -1.0, -1.0]);
        assert_eq!(
            [cosine(60.0), cosine(90.0), cosine(180.0)],
            [0.5, 0.0, -1.0]
        );
        assert_eq!(
            [tangent(45.0), tangent(135.0), tangent(180.0)],
            [1.0, -1.0, 0.0]
        );
        assert_eq!(
            [arc_sine(0.5), arc_sine(-1.0), arc_cosine(-0.5)],
            [30.0, -90.0, 120.0]
        );
        assert_eq!(in_degrees(1.0_f64.atan()), 45.0);
    }
}
