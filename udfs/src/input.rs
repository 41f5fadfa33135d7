//! Arguments of the functions, whatever Arrow type they come in, as rows of floats.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::VectorError;
use crate::kernels::Rows;
use crate::text;
use crate::types::{Element, VectorType, is_list, is_text};

/// The elements of all rows, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Elements {
    Single(ScalarBuffer<f32>),
    Half(ScalarBuffer<f16>),
}

impl Elements {
    /// Some of them, for the kernels.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Rows<'_> {
        match self {
            Elements::Single(values) => Rows::from(&values[range]),
            Elements::Half(values) => Rows::from(&values[range]),
        }
    }
}

/// Where a row's elements are.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// Every row, also a null one, takes that many.
    Fixed(usize),
    Offsets(OffsetBuffer<i32>),
}

/// Rows of vectors; the elements of null rows mean nothing.
#[derive(Debug, Clone)]
pub(crate) struct Vectors {
    pub elements: Elements,
    pub layout: Layout,
    pub nulls: Option<NullBuffer>,
    len: usize,
}

impl Vectors {
    /// The rows of a list of numbers, of text in the vector format, or of nothing but NULL.
    ///
    /// # Errors
    /// 22004 for a null inside a list, 22000 for lists of anything but numbers, and those of
    /// [`text::parse_vector`].
    pub fn try_new(array: &ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::FixedSizeList(..) => from_fixed(array.as_fixed_size_list()),
            DataType::List(_) => from_list(array.as_list::<i32>()),
            DataType::LargeList(field)
            | DataType::ListView(field)
            | DataType::LargeListView(field) => {
                let narrow = cast(array, &DataType::List(Arc::clone(field)))?;
                from_list(narrow.as_list::<i32>())
            }
            DataType::Null => Ok(all_null(array.len())),
            text if is_text(text) => from_text(array),
            _ => Err(VectorError::unsupported_array().into()),
        }
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// What the rows are made of.
    pub fn element(&self) -> Element {
        match self.elements {
            Elements::Single(_) => Element::Single,
            Elements::Half(_) => Element::Half,
        }
    }

    /// Where the row's elements are.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.layout {
            Layout::Fixed(n) => row * n..(row + 1) * n,
            // Offsets of an Arrow list are never negative.
            Layout::Offsets(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
        }
    }

    pub fn dimension(&self, row: usize) -> usize {
        self.range(row).len()
    }

    /// Where the elements of the first `rows` rows are, when nothing lies between them and every
    /// row, also a null one, takes equally many.
    pub fn dense_range(&self, rows: usize) -> Option<std::ops::Range<usize>> {
        match &self.layout {
            Layout::Fixed(n) => Some(0..rows * n),
            Layout::Offsets(offsets) => {
                let first = offsets.lengths().next()?;
                let dense = offsets.lengths().all(|length| length == first);
                dense.then(|| offsets[0] as usize..offsets[rows] as usize)
            }
        }
    }

    /// All elements in 32 bits.
    pub fn into_single(self) -> SingleVectors {
        let elements = match &self.elements {
            Elements::Single(values) => values.clone(),
            Elements::Half(values) => {
                let mut wide = vec![0f32; values.len()];
                values.convert_to_f32_slice(&mut wide);
                wide.into()
            }
        };
        SingleVectors {
            elements,
            vectors: self,
        }
    }
}

/// Rows of vectors, all in 32 bits.
#[derive(Debug, Clone)]
pub(crate) struct SingleVectors {
    elements: ScalarBuffer<f32>,
    vectors: Vectors,
}

impl SingleVectors {
    pub fn len(&self) -> usize {
        self.vectors.len
    }

    /// What the rows were made of before.
    pub fn element(&self) -> Element {
        self.vectors.element()
    }

    /// The row, unless it is NULL.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        (!self.vectors.is_null(row)).then(|| &self.elements[self.vectors.range(row)])
    }
}

/// An argument that is one value for all rows, or one for each.
#[derive(Debug, Clone)]
pub(crate) struct Operand<V> {
    pub vectors: V,
    pub constant: bool,
}

impl Operand<Vectors> {
    pub fn try_new(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        Ok(Self {
            vectors: Vectors::try_new(&array)?,
            constant,
        })
    }

    pub fn into_single(self) -> Operand<SingleVectors> {
        Operand {
            vectors: self.vectors.into_single(),
            constant: self.constant,
        }
    }
}

impl<V> Operand<V> {
    /// The row of `vectors` that holds the value for a row of the result.
    pub fn index(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

impl Operand<SingleVectors> {
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        self.vectors.get(self.index(row))
    }
}

/// How many rows a function has to compute: one when all arguments are constant.
pub(crate) fn result_rows(args: &[ColumnarValue], number_rows: usize) -> usize {
    if all_constant(args) { 1 } else { number_rows }
}

/// Whether every argument is one value for all rows.
pub(crate) fn all_constant(args: &[ColumnarValue]) -> bool {
    args.iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
}

fn from_fixed(list: &FixedSizeListArray) -> Result<Vectors> {
    let dimension = list.value_length() as usize;
    let layout = Layout::Fixed(dimension);
    from_parts(list.values(), layout, list.nulls().cloned(), list.len())
}

/// A slice of a long list brings all of the list's elements along; only its own are converted.
fn from_list(list: &ListArray) -> Result<Vectors> {
    let offsets = list.offsets();
    let (start, end) = (offsets[0], offsets[list.len()]);
    // Offsets of an Arrow list are never negative.
    let values = list.values().slice(start as usize, (end - start) as usize);
    let offsets = match start {
        0 => offsets.clone(),
        start => OffsetBuffer::new(offsets.iter().map(|offset| offset - start).collect()),
    };
    from_parts(
        &values,
        Layout::Offsets(offsets),
        list.nulls().cloned(),
        list.len(),
    )
}

fn from_parts(
    values: &ArrayRef,
    layout: Layout,
    nulls: Option<NullBuffer>,
    len: usize,
) -> Result<Vectors> {
    let elements = elements(values)?;
    let vectors = Vectors {
        elements,
        layout,
        nulls,
        len,
    };
    if let Some(missing) = values.nulls().filter(|nulls| nulls.null_count() > 0) {
        let holds_null = |row| {
            let range = vectors.range(row);
            missing.slice(range.start, range.len()).null_count() > 0
        };
        if (0..len).any(|row| !vectors.is_null(row) && holds_null(row)) {
            return Err(VectorError::null_element().into());
        }
    }
    Ok(vectors)
}

fn elements(values: &ArrayRef) -> Result<Elements> {
    Ok(match values.data_type() {
        DataType::Float32 => {
            Elements::Single(values.as_primitive::<Float32Type>().values().clone())
        }
        DataType::Float16 => Elements::Half(values.as_primitive::<Float16Type>().values().clone()),
        DataType::Float64 => {
            let wide = values.as_primitive::<Float64Type>();
            Elements::Single(wide.values().iter().map(|&x| x as f32).collect())
        }
        // The type of an empty ARRAY[].
        DataType::Null => Elements::Single(vec![0f32; values.len()].into()),
        number if number.is_numeric() => {
            let single = cast(values, &DataType::Float32)?;
            Elements::Single(single.as_primitive::<Float32Type>().values().clone())
        }
        list if is_list(list) => {
            return Err(VectorError::nested_array().into());
        }
        _ => return Err(VectorError::unsupported_array().into()),
    })
}

fn all_null(len: usize) -> Vectors {
    Vectors {
        elements: Elements::Single(ScalarBuffer::from(Vec::new())),
        layout: Layout::Fixed(0),
        nulls: Some(NullBuffer::new_null(len)),
        len,
    }
}

fn from_text(array: &ArrayRef) -> Result<Vectors> {
    let texts = cast(array, &DataType::Utf8View)?;
    let mut values = Vec::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for text in texts.as_string_view() {
        let start = values.len();
        if let Some(text) = text {
            values.extend(text::parse(text, VectorType::unsized_of(Element::Single))?);
        }
        lengths.push(values.len() - start);
    }
    let list = ListArray::try_new(
        Arc::new(Field::new("element", DataType::Float32, false)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(Float32Array::from(values)),
        texts.nulls().cloned(),
    )?;
    from_list(&list)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Float32Type, Int64Type};

    use super::*;

    fn rows(array: ArrayRef) -> Vec<Option<Vec<f32>>> {
        let vectors = Vectors::try_new(&array).unwrap().into_single();
        (0..vectors.len())
            .map(|row| vectors.get(row).map(<[f32]>::to_vec))
            .collect()
    }

    #[test]
    fn lists_of_every_kind_of_number() {
        let expected = vec![Some(vec![1.0, 2.0]), None, Some(vec![3.0])];
        let data = || [Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3)])];
        let ints = ListArray::from_iter_primitive::<Int64Type, _, _>(data());
        assert_eq!(rows(Arc::new(ints.clone())), expected);
        let large = cast(
            &ints,
            &DataType::LargeList(Arc::new(Field::new("item", DataType::Int64, true))),
        );
        assert_eq!(rows(large.unwrap()), expected);
        for width in [
            DataType::Float16,
            DataType::Float64,
            DataType::Decimal128(10, 2),
        ] {
            let list = DataType::List(Arc::new(Field::new("item", width, true)));
            assert_eq!(rows(cast(&ints, &list).unwrap()), expected);
        }
        let text = StringArray::from(vec![Some("[1,2]"), None, Some("[3]")]);
        assert_eq!(rows(Arc::new(text)), expected);
    }

    #[test]
    fn slices_keep_their_rows() {
        let data = (0..5).map(|i| Some(vec![Some(i as f32), Some(0.5)]));
        let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(data, 2);
        let expected = vec![Some(vec![2.0, 0.5]), Some(vec![3.0, 0.5])];
        let slice: ArrayRef = Arc::new(list.slice(2, 2));
        assert_eq!(rows(slice), expected);
        let wide = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
        let slice = cast(&list, &wide).unwrap().slice(2, 2);
        assert_eq!(rows(slice), expected);
    }

    #[test]
    fn nulls_inside_are_refused_only_in_rows_that_count() {
        let data = [Some(vec![Some(1.0), None])];
        let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(data, 2);
        let error = Vectors::try_new(&(Arc::new(list) as ArrayRef)).unwrap_err();
        assert!(
            error.to_string().contains("array must not contain nulls"),
            "{error}"
        );
        let data = [None, Some(vec![Some(1.0), Some(2.0)])];
        let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(data, 2);
        assert_eq!(rows(Arc::new(list)), vec![None, Some(vec![1.0, 2.0])]);
    }

    #[test]
    fn other_types_are_refused() {
        let plain: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(Vectors::try_new(&plain).is_err());
        let inner: ArrayRef = Arc::new(ListArray::new_null(
            Arc::new(Field::new("item", DataType::Utf8, true)),
            1,
        ));
        assert!(Vectors::try_new(&inner).is_err());
    }
}
