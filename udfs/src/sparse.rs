//! The type `SPARSEVEC(n)`: text such as `{1:1.5,3:-2}/5` whose Arrow field names the type.
//!
//! There is one text for each value (places in order, no zeros), so that equal texts are equal vectors. Their order is
//! another one than that of texts: see [`SparseVector::compare`] and [`SparseVector::sort_key`].

use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::sql::sqlparser::ast;

use crate::bit_type::SQL_TYPE_KEY;
use crate::error::VectorError;
use crate::kernels::Metric;
use crate::text::write_float;
use crate::types::is_text;

/// The most dimensions of a sparse vector, as in pgvector.
pub const SPARSE_DIMENSION_MAX: u32 = 1_000_000_000;
/// The most elements of a sparse vector that are not zero, as in pgvector.
pub const SPARSE_ELEMENTS_MAX: usize = 16_000;

/// A type of sparse vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SparseType {
    /// How many elements a vector has, zeros among them; `None` for any number.
    pub dimension: Option<u32>,
}

impl SparseType {
    /// `sparsevec` of any dimension.
    pub const ANY: Self = Self { dimension: None };

    /// The type that a type of SQL names, if it is one; a schema before the name is ignored.
    ///
    /// # Errors
    /// 22023 for a dimension that no sparse vector may have, or a modifier that is no number.
    pub fn of_sql(sql_type: &ast::DataType) -> Result<Option<Self>, VectorError> {
        let ast::DataType::Custom(name, modifiers) = sql_type else {
            return Ok(None);
        };
        let last = name.0.last().and_then(|part| part.as_ident());
        if !last.is_some_and(|ident| ident.value.eq_ignore_ascii_case("sparsevec")) {
            return Ok(None);
        }
        match modifiers.as_slice() {
            [] => Ok(Some(Self::ANY)),
            [modifier] => Self::try_new(modifier).map(Some),
            _ => Err(VectorError::type_modifier()),
        }
    }

    fn try_new(modifier: &str) -> Result<Self, VectorError> {
        let dimension: i64 = modifier
            .trim()
            .parse()
            .map_err(|_| VectorError::integer_syntax(modifier))?;
        match u32::try_from(dimension) {
            Ok(0) | Err(_) if dimension < 1 => Err(VectorError::sparse_type_empty()),
            Ok(n) if n <= SPARSE_DIMENSION_MAX => Ok(Self { dimension: Some(n) }),
            _ => Err(VectorError::sparse_type_too_wide(SPARSE_DIMENSION_MAX)),
        }
    }

    /// The type of an Arrow field: text that says it is one.
    pub fn of_field(field: &Field) -> Option<Self> {
        if !is_text(field.data_type()) {
            return None;
        }
        let rest = field
            .metadata()
            .get(SQL_TYPE_KEY)?
            .strip_prefix("sparsevec")?;
        match rest {
            "" => Some(Self::ANY),
            rest => {
                let dimension = rest.strip_prefix('(')?.strip_suffix(')')?;
                let dimension = Some(dimension.parse().ok()?);
                Some(Self { dimension })
            }
        }
    }

    /// A field of the type.
    pub fn field(self, name: &str, nullable: bool) -> FieldRef {
        let metadata = [(SQL_TYPE_KEY.to_string(), self.to_string())];
        Arc::new(Field::new(name, DataType::Utf8, nullable).with_metadata(metadata.into()))
    }

    /// Reads a text as a vector of the type.
    ///
    /// # Errors
    /// Those of [`SparseVector::parse`]; 22000 for another dimension.
    pub fn read(self, text: &str) -> Result<SparseVector, VectorError> {
        let vector = SparseVector::parse(text)?;
        self.check(&vector)?;
        Ok(vector)
    }

    /// That a vector is one of the type.
    ///
    /// # Errors
    /// 22000 for another dimension.
    pub fn check(self, vector: &SparseVector) -> Result<(), VectorError> {
        match self.dimension {
            Some(n) if n != vector.dimension => Err(VectorError::unexpected_dimension(
                n as usize,
                vector.dimension as usize,
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for SparseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sparsevec")?;
        match self.dimension {
            Some(dimension) => write!(f, "({dimension})"),
            None => Ok(()),
        }
    }
}

/// A vector of which only elements that are not zero are kept.
///
/// Invariants: places ascend and lie below `dimension`, values are finite and not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseVector {
    dimension: u32,
    /// Places from 0, and what stands there.
    elements: Vec<(u32, f32)>,
}

impl SparseVector {
    /// From places (counted from 0) and values in any order; zeros are left out.
    ///
    /// # Errors
    /// 22000 for places or values that no sparse vector has, 54000 for too many of them.
    pub fn try_new(dimension: i64, mut elements: Vec<(i64, f32)>) -> Result<Self, VectorError> {
        if dimension < 1 {
            return Err(VectorError::no_sparse_dimension());
        }
        let limited = u32::try_from(dimension)
            .ok()
            .filter(|n| *n <= SPARSE_DIMENSION_MAX);
        let dimension =
            limited.ok_or_else(|| VectorError::too_many_sparse_dimensions(SPARSE_DIMENSION_MAX))?;
        elements.retain(|(_, value)| *value != 0.0);
        if elements.len() > SPARSE_ELEMENTS_MAX {
            return Err(VectorError::too_many_elements(SPARSE_ELEMENTS_MAX));
        }
        elements.sort_by_key(|(place, _)| *place);
        let mut kept: Vec<(u32, f32)> = Vec::with_capacity(elements.len());
        for (place, value) in elements {
            let inside = u32::try_from(place).ok().filter(|p| *p < dimension);
            let place = inside.ok_or_else(VectorError::sparse_place)?;
            if kept.last().is_some_and(|(last, _)| *last == place) {
                return Err(VectorError::sparse_twins());
            }
            check_value(value)?;
            kept.push((place, value));
        }
        Ok(Self {
            dimension,
            elements: kept,
        })
    }

    /// From all elements, zeros among them.
    ///
    /// # Errors
    /// Those of [`SparseVector::try_new`].
    pub fn from_dense(values: &[f32]) -> Result<Self, VectorError> {
        let elements = (0..).zip(values.iter().copied()).collect();
        Self::try_new(values.len() as i64, elements)
    }

    /// Reads pgvector's text; places count from 1.
    ///
    /// # Errors
    /// 22P02 for other text, 22003 for a number out of range, 22000 for places or values that no sparse vector has,
    /// 54000 for too many of them.
    pub fn parse(text: &str) -> Result<Self, VectorError> {
        let syntax = || VectorError::sparse_syntax(text);
        let no_start = || syntax().with_detail("Vector contents must start with \"{\".");
        let inner = skip_blanks(text).strip_prefix('{').ok_or_else(no_start)?;
        let (elements, rest) = inner.split_once('}').ok_or_else(syntax)?;
        if elements.matches(',').count() >= SPARSE_ELEMENTS_MAX {
            return Err(VectorError::too_many_elements(SPARSE_ELEMENTS_MAX));
        }
        let mut read = Vec::new();
        if !skip_blanks(elements).is_empty() {
            for element in elements.split(',') {
                let (place, value) = element.split_once(':').ok_or_else(syntax)?;
                let place = read_integer(place).ok_or_else(syntax)?;
                read.push((place.saturating_sub(1), read_value(value, text)?));
            }
        }
        let no_dimension = || syntax().with_detail("Unexpected end of input.");
        let dimension = skip_blanks(rest)
            .strip_prefix('/')
            .ok_or_else(no_dimension)?;
        let behind = skip_blanks(dimension).trim_start_matches(|c: char| c.is_ascii_digit());
        let junk = || match behind.len() < skip_blanks(dimension).len() {
            true => syntax().with_detail("Junk after closing."),
            false => syntax(),
        };
        let dimension = read_integer(dimension).ok_or_else(junk)?;
        Self::try_new(dimension, read)
    }

    /// How many elements it has, zeros among them.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// The places, from 0 and in order, with values that are not zero.
    pub fn elements(&self) -> &[(u32, f32)] {
        &self.elements
    }

    /// All elements, zeros among them; `None` when there are more than `limit`.
    pub(crate) fn dense(&self, limit: usize) -> Option<Vec<f32>> {
        let dimension = self.dimension as usize;
        if dimension > limit {
            return None;
        }
        let mut values = vec![0.0; dimension];
        for (place, value) in &self.elements {
            values[*place as usize] = *value;
        }
        Some(values)
    }

    /// The distance to another vector, computed in 32 bits as pgvector does.
    ///
    /// # Errors
    /// 22000 when they differ in dimension.
    pub fn distance(&self, other: &Self, metric: Metric) -> Result<f64, VectorError> {
        if self.dimension != other.dimension {
            let (left, right) = (self.dimension, other.dimension);
            return Err(VectorError::different_sparse_dimensions(left, right));
        }
        let sum = |of: fn(f32, f32) -> f32| self.pairs(other).fold(0.0, |s, (a, b)| s + of(a, b));
        Ok(match metric {
            Metric::L2 => f64::from(sum(|a, b| (a - b) * (a - b))).sqrt(),
            Metric::L2Squared => f64::from(sum(|a, b| (a - b) * (a - b))),
            Metric::InnerProduct => f64::from(sum(|a, b| a * b)),
            Metric::NegativeInnerProduct => -f64::from(sum(|a, b| a * b)),
            Metric::L1 => f64::from(sum(|a, b| (a - b).abs())),
            Metric::Cosine => {
                let product = f64::from(sum(|a, b| a * b));
                let squares = |v: &Self| v.elements.iter().map(|(_, x)| x * x).sum::<f32>();
                let norms = f64::from(squares(self)) * f64::from(squares(other));
                // Zero vectors have no angle: NaN, as 0 / 0 gives.
                1.0 - (product / norms.sqrt()).clamp(-1.0, 1.0)
            }
        })
    }

    /// The values at the places where one of the two is not zero.
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (f32, f32)> + 'a {
        let (mut left, mut right) = (
            self.elements.iter().copied().peekable(),
            other.elements.iter().copied().peekable(),
        );
        std::iter::from_fn(move || {
            let order = match (left.peek(), right.peek()) {
                (Some((l, _)), Some((r, _))) => l.cmp(r),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            let value = |element: Option<(u32, f32)>| element.map_or(0.0, |(_, value)| value);
            Some((value(a), value(b)))
        })
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        let squares = self
            .elements
            .iter()
            .map(|(_, x)| f64::from(*x) * f64::from(*x));
        // The sum of nothing would be -0.
        squares.fold(0.0, |sum: f64, square| sum + square).sqrt()
    }

    /// The vector of norm 1 in its direction; zero stays zero.
    pub fn normalized(&self) -> Self {
        let norm = self.norm();
        let scaled = self
            .elements
            .iter()
            .map(|(p, x)| (*p, (f64::from(*x) / norm) as f32));
        Self {
            dimension: self.dimension,
            elements: scaled.filter(|(_, x)| *x != 0.0).collect(),
        }
    }

    /// The order of pgvector: that of all elements one after the other, then that of the dimensions.
    pub fn compare(&self, other: &Self) -> Ordering {
        let common = self.dimension.min(other.dimension);
        let cut = |v: &Self| Self {
            dimension: common,
            elements: v
                .elements
                .iter()
                .copied()
                .filter(|(p, _)| *p < common)
                .collect(),
        };
        let (left, right) = (cut(self), cut(other));
        let differing = left.pairs(&right).find(|(a, b)| a != b);
        let values = differing.map(|(a, b)| a.total_cmp(&b));
        values.unwrap_or_else(|| self.dimension.cmp(&other.dimension))
    }

    /// Bytes that compare as vectors of one dimension do.
    ///
    /// An element above zero puts the vector behind those that have a zero there, the sooner the further; one below
    /// zero puts it before them.
    pub(crate) fn sort_key(&self, key: &mut Vec<u8>) {
        for (place, value) in &self.elements {
            let bits = value.to_bits();
            match value.is_sign_positive() {
                true => {
                    key.push(2);
                    key.extend((!place).to_be_bytes());
                    key.extend(bits.to_be_bytes());
                }
                false => {
                    key.push(0);
                    key.extend(place.to_be_bytes());
                    key.extend((!bits).to_be_bytes());
                }
            }
        }
        key.push(1);
        key.extend(self.dimension.to_be_bytes());
    }
}

/// pgvector's text.
impl fmt::Display for SparseVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("{");
        for (at, (place, value)) in self.elements.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}{}:", place + 1)?;
            write_float(*value, &mut text);
        }
        write!(f, "{text}}}/{}", self.dimension)
    }
}

fn check_value(value: f32) -> Result<(), VectorError> {
    if value.is_nan() {
        return Err(VectorError::sparse_nan());
    }
    if value.is_infinite() {
        return Err(VectorError::sparse_infinite());
    }
    Ok(())
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn skip_blanks(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// An integer; one beyond 64 bits is as large as they go, which is out of range wherever it stands.
fn read_integer(text: &str) -> Option<i64> {
    let text = skip_blanks(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let limit = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Some(text.parse().unwrap_or(limit))
}

fn read_value(number: &str, text: &str) -> Result<f32, VectorError> {
    let number = skip_blanks(number);
    let value: f32 = number
        .parse()
        .map_err(|_| VectorError::sparse_syntax(text))?;
    let has = |range: std::ops::RangeInclusive<char>| {
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        mantissa.contains(|c| range.contains(&c))
    };
    if (value.is_infinite() && has('0'..='9')) || (value == 0.0 && has('1'..='9')) {
        return Err(VectorError::sparse_out_of_range(number));
    }
    check_value(value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> SparseVector {
        SparseVector::parse(text).unwrap()
    }

    #[test]
    fn texts_have_one_spelling() {
        for (text, expected) in [
            (" { 3 : 2.5, 1:1 , 2:0}/5 ", "{1:1,3:2.5}/5"),
            ("{}/3", "{}/3"),
            ("{ } / 3", "{}/3"),
            ("{1:1.5e38,2:-1e-7}/2", "{1:1.5e+38,2:-1e-07}/2"),
        ] {
            assert_eq!(parse(text).to_string(), expected);
        }
        let type_of_five = SparseType { dimension: Some(5) };
        let error = type_of_five.read("{}/4").unwrap_err();
        assert_eq!(error.message, "expected 5 dimensions, not 4");
    }

    #[test]
    fn what_is_no_sparse_vector() {
        for (text, code) in [
            ("", "22P02"),
            ("{1:1}", "22P02"),
            ("{1:1,}/2", "22P02"),
            ("{1}/2", "22P02"),
            ("{a:1}/2", "22P02"),
            ("{}/1a", "22P02"),
            ("{0:1}/2", "22000"),
            ("{3:1}/2", "22000"),
            ("{1:1,1:2}/2", "22000"),
            ("{1:nan}/2", "22000"),
            ("{1:inf}/2", "22000"),
            ("{1:4e38}/2", "22003"),
            ("{1:1e-46}/2", "22003"),
            ("{}/0", "22000"),
            ("{}/1000000001", "54000"),
            ("{}/9223372036854775808", "54000"),
        ] {
            assert_eq!(
                SparseVector::parse(text).unwrap_err().sqlstate,
                code,
                "{text}"
            );
        }
    }

    #[test]
    fn details_say_what_is_wrong_with_a_text() {
        for (text, detail) in [
            ("", Some("Vector contents must start with \"{\".")),
            ("{1:1}", Some("Unexpected end of input.")),
            ("{}/1a", Some("Junk after closing.")),
            ("{}/ 1 a", Some("Junk after closing.")),
            ("{}/", None),
            ("{a:1}/2", None),
        ] {
            let error = SparseVector::parse(text).unwrap_err();
            assert_eq!(error.detail, detail, "{text}");
        }
    }

    #[test]
    fn too_many_elements_are_refused() {
        let elements: Vec<_> = (1..=SPARSE_ELEMENTS_MAX + 1)
            .map(|i| format!("{i}:1"))
            .collect();
        let read = |n: usize| {
            let vector = SparseVector::parse(&format!("{{{}}}/20000", elements[..n].join(",")));
            vector.map(|v| v.elements.len()).map_err(|e| e.sqlstate)
        };
        assert_eq!(read(SPARSE_ELEMENTS_MAX), Ok(SPARSE_ELEMENTS_MAX));
        assert_eq!(read(SPARSE_ELEMENTS_MAX + 1), Err("54000"));
    }

    #[test]
    fn zero_has_no_angle() {
        let distance = parse("{}/1").distance(&parse("{}/1"), Metric::Cosine);
        assert!(distance.unwrap().is_nan());
        assert_eq!(parse("{}/2").normalized(), parse("{}/2"));
    }

    fn small_vectors() -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![3 => Just(0.0_f32), 2 => (-3_i8..4).prop_map(f32::from)];
        proptest::collection::vec(number, 1..6)
    }

    proptest! {
        #[test]
        fn as_all_elements(left in small_vectors(), right in small_vectors()) {
            let (a, b) = (SparseVector::from_dense(&left).unwrap(), SparseVector::from_dense(&right).unwrap());
            prop_assert_eq!(a.dense(5).unwrap(), left.clone());
            prop_assert_eq!(a.compare(&b), left.partial_cmp(&right).unwrap());
            prop_assert_eq!(&parse(&a.to_string()), &a);
            let pairs = || left.iter().zip(&right);
            if left.len() == right.len() {
                let (mut key_a, mut key_b) = (Vec::new(), Vec::new());
                a.sort_key(&mut key_a);
                b.sort_key(&mut key_b);
                prop_assert_eq!(key_a.cmp(&key_b), a.compare(&b));
                let product: f32 = pairs().map(|(x, y)| x * y).sum();
                prop_assert_eq!(a.distance(&b, Metric::InnerProduct).unwrap(), f64::from(product));
                let taxicab: f32 = pairs().map(|(x, y)| (x - y).abs()).sum();
                prop_assert_eq!(a.distance(&b, Metric::L1).unwrap(), f64::from(taxicab));
            } else {
                prop_assert!(a.distance(&b, Metric::L2).is_err());
            }
        }

        #[test]
        fn no_text_panics(text in "[{}:/0-9eE+., xNa-]{0,24}") {
            let _ = SparseVector::parse(&text);
        }
    }
}
