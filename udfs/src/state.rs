//! The steps of pgvector's average as functions of their own: `vector_accum`, `vector_combine`, `vector_state_avg` and their
//! `halfvec` twins.
//!
//! A state is an array of doubles: the number of vectors, then the sum of each element; `{0}` before the first vector.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListBuilder, PrimitiveBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::error::VectorError;
use crate::input::{Operand, all_constant, result_rows};
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vector, immutable};
use crate::types::{DIMENSION_MAX, Element, VectorType, is_list, is_text};

/// What becomes of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// A vector joins it.
    Accumulate,
    /// Another state joins it.
    Combine,
    /// It becomes the average, NULL without vectors: pgvector's `vector_avg`, whose name an aggregate has here.
    Average,
}

/// A function of a state and what joins it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StateFunction {
    step: Step,
    element: Element,
    signature: Signature,
}

impl StateFunction {
    /// Every function.
    pub fn all() -> impl Iterator<Item = Self> {
        let elements = [Element::Single, Element::Half].into_iter();
        elements.flat_map(|element| {
            [Step::Accumulate, Step::Combine, Step::Average].map(|step| Self {
                step,
                element,
                signature: immutable(),
            })
        })
    }

    /// The state of a row.
    ///
    /// # Errors
    /// 22000 for an array that is no state.
    fn state(&self, states: &States, row: usize) -> Result<Vec<f64>, VectorError> {
        states
            .get(row)
            .ok_or_else(|| VectorError::no_state(self.called()))
    }

    /// The name that calls have: `vector_avg` is rewritten where it is called with a state.
    fn called(&self) -> &str {
        match (self.element, self.step) {
            (Element::Single, Step::Average) => "vector_avg",
            _ => self.name(),
        }
    }

    fn accumulate(&self, mut state: Vec<f64>, vector: &[f32]) -> Result<Vec<f64>, VectorError> {
        if state.len() == 1 {
            state.resize(vector.len() + 1, 0.0);
        } else if state.len() != vector.len() + 1 {
            let (expected, actual) = (state.len() - 1, vector.len());
            return Err(VectorError::unexpected_dimension(expected, actual));
        }
        state[0] += 1.0;
        let sums = state[1..].iter_mut().zip(vector);
        sums.for_each(|(sum, value)| *sum += f64::from(*value));
        self.checked(state)
    }

    fn combine(&self, mut state: Vec<f64>, other: Vec<f64>) -> Result<Vec<f64>, VectorError> {
        if state[0] == 0.0 {
            return self.checked(other);
        }
        if other[0] == 0.0 {
            return self.checked(state);
        }
        if state.len() != other.len() {
            let (expected, actual) = (state.len() - 1, other.len() - 1);
            return Err(VectorError::unexpected_dimension(expected, actual));
        }
        let sums = state.iter_mut().zip(other);
        sums.for_each(|(sum, value)| *sum += value);
        self.checked(state)
    }

    fn average(&self, state: &[f64]) -> Result<Option<Vec<f32>>, VectorError> {
        if state[0] == 0.0 {
            return Ok(None);
        }
        if state.len() == 1 {
            return Err(VectorError::no_dimension(self.element));
        }
        if state.len() > DIMENSION_MAX + 1 {
            return Err(VectorError::too_many_dimensions(self.element));
        }
        let average = state[1..].iter().map(|sum| (sum / state[0]) as f32);
        Ok(Some(average.collect()))
    }

    fn checked(&self, state: Vec<f64>) -> Result<Vec<f64>, VectorError> {
        if state.len() > DIMENSION_MAX + 1 {
            return Err(VectorError::too_many_dimensions(self.element));
        }
        match state.iter().any(|sum| sum.is_infinite()) {
            true => Err(VectorError::overflow()),
            false => Ok(state),
        }
    }
}

impl ScalarUDFImpl for StateFunction {
    fn name(&self) -> &str {
        match (self.element, self.step) {
            (Element::Single, Step::Accumulate) => "vector_accum",
            (Element::Single, Step::Combine) => "vector_combine",
            (Element::Single, Step::Average) => "vector_state_avg",
            (Element::Half, Step::Accumulate) => "halfvec_accum",
            (Element::Half, Step::Combine) => "halfvec_combine",
            (Element::Half, Step::Average) => "halfvec_avg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.step {
            Step::Average => VectorType::unsized_of(self.element).arrow(),
            _ => DataType::new_list(DataType::Float64, true),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let accept_state = |given: &DataType| match given {
            given if is_list(given) || is_text(given) || given.is_null() => Ok(given.clone()),
            given => plan_err!("{} takes a state, not {given}", self.name()),
        };
        match (self.step, types) {
            (Step::Accumulate, [state, vector]) => Ok(vec![
                accept_state(state)?,
                accept_vector(self.name(), vector)?,
            ]),
            (Step::Combine, [state, other]) => Ok(vec![accept_state(state)?, accept_state(other)?]),
            (Step::Average, [state]) => Ok(vec![accept_state(state)?]),
            _ => plan_err!("{} does not take {} arguments", self.name(), types.len()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let states = States::try_new(&args.args[0].to_array(rows)?)?;
        let mut results = ListBuilder::new(PrimitiveBuilder::<Float64Type>::new());
        let mut push = |state: Option<Vec<f64>>| {
            let is_valid = state.is_some();
            results.values().append_slice(&state.unwrap_or_default());
            results.append(is_valid);
        };
        match self.step {
            Step::Average => {
                let target = VectorType::unsized_of(self.element);
                let mut averages = VectorsBuilder::new(target, rows);
                for row in 0..rows {
                    let average = match states.is_null(row) {
                        true => None,
                        false => self.average(&self.state(&states, row)?)?,
                    };
                    match average {
                        Some(average) => averages.push(average)?,
                        None => averages.push_null(),
                    }
                }
                return columnar(averages.finish()?, all_constant(&args.args));
            }
            Step::Accumulate => {
                let vectors =
                    Operand::try_new(&ColumnarValue::Array(args.args[1].to_array(rows)?))?
                        .into_single();
                for row in 0..rows {
                    let vector = vectors.vectors.get(row).filter(|_| !states.is_null(row));
                    push(match vector {
                        Some(vector) => Some(self.accumulate(self.state(&states, row)?, vector)?),
                        None => None,
                    });
                }
            }
            Step::Combine => {
                let others = States::try_new(&args.args[1].to_array(rows)?)?;
                for row in 0..rows {
                    if states.is_null(row) || others.is_null(row) {
                        push(None);
                        continue;
                    }
                    let (state, other) = (self.state(&states, row)?, self.state(&others, row)?);
                    push(Some(self.combine(state, other)?));
                }
            }
        }
        columnar(Arc::new(results.finish()), all_constant(&args.args))
    }
}

/// States as they come: arrays of numbers, or their texts.
struct States {
    array: ArrayRef,
}

impl States {
    fn try_new(array: &ArrayRef) -> Result<Self> {
        let wanted = match array.data_type() {
            given if is_text(given) => DataType::Utf8,
            // An array of arrays is no state, which shows when it is read.
            DataType::List(item) if is_list(item.data_type()) => array.data_type().clone(),
            _ => DataType::new_list(DataType::Float64, true),
        };
        Ok(Self {
            array: cast(array, &wanted)?,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// The numbers; `None` where it is no state.
    fn get(&self, row: usize) -> Option<Vec<f64>> {
        let state = match self.array.as_string_opt::<i32>() {
            Some(texts) => numbers_of(texts.value(row))?,
            None => {
                let values = self.array.as_list::<i32>().value(row);
                let numbers: &Float64Array = values.as_primitive_opt()?;
                (numbers.null_count() == 0).then(|| numbers.values().to_vec())?
            }
        };
        (!state.is_empty()).then_some(state)
    }
}

/// The numbers of `{1,2,3}`.
fn numbers_of(text: &str) -> Option<Vec<f64>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    inner.split(',').map(|n| n.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn function(name: &str) -> StateFunction {
        StateFunction::all().find(|f| f.name() == name).unwrap()
    }

    #[test]
    fn vectors_join_a_state_and_states_each_other() {
        let accum = function("vector_accum");
        let state = accum.accumulate(vec![0.0], &[1.0, 2.0]).unwrap();
        assert_eq!(state, [1.0, 1.0, 2.0]);
        let state = accum.accumulate(state, &[3.0, 4.0]).unwrap();
        assert_eq!(state, [2.0, 4.0, 6.0]);
        let message = accum.accumulate(state.clone(), &[1.0]).unwrap_err().message;
        assert_eq!(message, "expected 2 dimensions, not 1");
        let combine = function("halfvec_combine");
        let both = combine.combine(state.clone(), vec![1.0, 1.0, 1.0]);
        assert_eq!(both.unwrap(), [3.0, 5.0, 7.0]);
        assert_eq!(combine.combine(vec![0.0], state.clone()).unwrap(), state);
        let error = combine.combine(state, vec![1.0, 1.0]).unwrap_err();
        assert_eq!(error.message, "expected 2 dimensions, not 1");
        let average = function("vector_state_avg");
        assert_eq!(
            average.average(&[2.0, 2.0, 5.0]).unwrap(),
            Some(vec![1.0, 2.5])
        );
        assert_eq!(average.average(&[0.0]).unwrap(), None);
        assert_eq!(average.average(&[1.0]).unwrap_err().sqlstate, "22000");
        let error = combine.combine(vec![0.0], vec![1.0; 16_002]).unwrap_err();
        assert_eq!(
            error.message,
            "halfvec cannot have more than 16000 dimensions"
        );
    }

    #[test]
    fn texts_of_arrays_are_read() {
        assert_eq!(numbers_of("{1, 2.5}"), Some(vec![1.0, 2.5]));
        assert_eq!(numbers_of("{}"), Some(vec![]));
        for no_state in ["{{0}}", "{NULL}", "1,2", "{a}"] {
            assert_eq!(numbers_of(no_state), None, "{no_state}");
        }
    }
}
