//! Functions of sparse vectors: what `l2_distance`, `l2_norm`, `<` and their like mean where an argument is one, and
//! casts to and from them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::compare::Comparison;
use crate::error::VectorError;
use crate::input::{Vectors, all_constant, result_rows};
use crate::kernels::Metric;
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vector, immutable, result_field};
use crate::sparse::{SparseType, SparseVector};
use crate::types::{DIMENSION_MAX, VectorType, is_text};

/// What a function makes of sparse vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SparseOperation {
    Distance(Metric),
    Comparison(Comparison),
    Norm,
    Normalize,
    /// Bytes in the order of the vectors, for ORDER BY.
    SortKey,
}

impl SparseOperation {
    fn arguments(self) -> usize {
        match self {
            Self::Distance(_) | Self::Comparison(_) => 2,
            Self::Norm | Self::Normalize | Self::SortKey => 1,
        }
    }
}

/// An operation on sparse vectors as a scalar function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SparseFunction {
    operation: SparseOperation,
    signature: Signature,
}

impl SparseFunction {
    pub fn new(operation: SparseOperation) -> Self {
        Self {
            operation,
            signature: immutable(),
        }
    }

    /// The function, ready to be called.
    pub fn udf(operation: SparseOperation) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self::new(operation)))
    }
}

impl ScalarUDFImpl for SparseFunction {
    fn name(&self) -> &str {
        match self.operation {
            SparseOperation::Distance(Metric::L2) => "sparsevec_l2_distance",
            SparseOperation::Distance(Metric::L2Squared) => "sparsevec_l2_squared_distance",
            SparseOperation::Distance(Metric::InnerProduct) => "sparsevec_inner_product",
            SparseOperation::Distance(Metric::NegativeInnerProduct) => {
                "sparsevec_negative_inner_product"
            }
            SparseOperation::Distance(Metric::Cosine) => "sparsevec_cosine_distance",
            SparseOperation::Distance(Metric::L1) => "sparsevec_l1_distance",
            SparseOperation::Comparison(Comparison::Compare) => "sparsevec_cmp",
            SparseOperation::Comparison(Comparison::Equal) => "sparsevec_eq",
            SparseOperation::Comparison(Comparison::NotEqual) => "sparsevec_ne",
            SparseOperation::Comparison(Comparison::Less) => "sparsevec_lt",
            SparseOperation::Comparison(Comparison::LessOrEqual) => "sparsevec_le",
            SparseOperation::Comparison(Comparison::Greater) => "sparsevec_gt",
            SparseOperation::Comparison(Comparison::GreaterOrEqual) => "sparsevec_ge",
            SparseOperation::Norm => "sparsevec_l2_norm",
            SparseOperation::Normalize => "sparsevec_l2_normalize",
            SparseOperation::SortKey => "sparsevec_sort_key",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.operation {
            SparseOperation::Distance(_) | SparseOperation::Norm => DataType::Float64,
            SparseOperation::Comparison(Comparison::Compare) => DataType::Int32,
            SparseOperation::Comparison(_) => DataType::Boolean,
            SparseOperation::Normalize => DataType::Utf8,
            SparseOperation::SortKey => DataType::Binary,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = result_field(self.name(), self.return_type(&[])?, &args);
        Ok(match self.operation {
            SparseOperation::Normalize => SparseType::ANY.field(self.name(), field.is_nullable()),
            _ => field,
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let fits = types.len() == self.operation.arguments()
            && types.iter().all(|t| is_text(t) || t.is_null());
        match fits {
            true => Ok(vec![DataType::Utf8; types.len()]),
            false => plan_err!("{} takes sparse vectors, not {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let sides = args.args.iter().map(|value| Side::try_new(value, rows));
        let sides = sides.collect::<Result<Vec<_>>>()?;
        let result = match (self.operation, sides.as_slice()) {
            (SparseOperation::Distance(metric), [left, right]) => {
                let distances = pairs(left, right, rows, |l, r| l.distance(r, metric));
                Arc::new(distances.collect::<Result<Float64Array, VectorError>>()?) as ArrayRef
            }
            (SparseOperation::Comparison(comparison), [left, right]) => {
                let orders = pairs(left, right, rows, |l, r| Ok(l.compare(r)));
                match comparison {
                    Comparison::Compare => {
                        let numbers = orders.map(|order| Ok(order?.map(|o| o as i32)));
                        Arc::new(numbers.collect::<Result<Int32Array, VectorError>>()?) as ArrayRef
                    }
                    comparison => {
                        let holds = orders.map(|o| Ok(o?.map(|o| comparison.holds(o))));
                        Arc::new(holds.collect::<Result<BooleanArray, VectorError>>()?)
                    }
                }
            }
            (SparseOperation::Norm, [side]) => {
                let norms = side.each(rows, |vector| vector.norm());
                Arc::new(norms.collect::<Result<Float64Array, VectorError>>()?)
            }
            (SparseOperation::Normalize, [side]) => {
                let texts = side.each(rows, |vector| vector.normalized().to_string());
                Arc::new(texts.collect::<Result<StringArray, VectorError>>()?)
            }
            (_, sides) => {
                let keys = sides.iter().flat_map(|side| {
                    side.each(rows, |vector| {
                        let mut key = Vec::new();
                        vector.sort_key(&mut key);
                        key
                    })
                });
                let keys = keys.collect::<Result<Vec<_>, VectorError>>()?;
                Arc::new(keys.into_iter().collect::<BinaryArray>())
            }
        };
        columnar(result, all_constant(&args.args))
    }
}

/// An argument: one vector for all rows, read once, or the text of each.
enum Side {
    Constant(Option<SparseVector>),
    Texts(StringArray),
}

impl Side {
    fn try_new(value: &ColumnarValue, rows: usize) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => {
                let text = scalar.try_as_str().flatten();
                Side::Constant(text.map(SparseVector::parse).transpose()?)
            }
            ColumnarValue::Array(_) => {
                let texts = cast(&value.to_array(rows)?, &DataType::Utf8)?;
                Side::Texts(texts.as_string::<i32>().clone())
            }
        })
    }

    /// What `of` makes of the vector of a row; `None` where it is null.
    fn with<T>(
        &self,
        row: usize,
        of: impl FnOnce(&SparseVector) -> Result<T, VectorError>,
    ) -> Result<Option<T>, VectorError> {
        match self {
            Side::Constant(vector) => vector.as_ref().map(of).transpose(),
            Side::Texts(texts) if texts.is_null(row) => Ok(None),
            Side::Texts(texts) => of(&SparseVector::parse(texts.value(row))?).map(Some),
        }
    }

    fn each<'a, T: 'a>(
        &'a self,
        rows: usize,
        of: impl Fn(&SparseVector) -> T + 'a,
    ) -> impl Iterator<Item = Result<Option<T>, VectorError>> + 'a {
        (0..rows).map(move |row| self.with(row, |vector| Ok(of(vector))))
    }
}

fn pairs<'a, T: 'a>(
    left: &'a Side,
    right: &'a Side,
    rows: usize,
    of: impl Fn(&SparseVector, &SparseVector) -> Result<T, VectorError> + 'a,
) -> impl Iterator<Item = Result<Option<T>, VectorError>> + 'a {
    (0..rows).map(move |row| {
        let with_right = |l: &SparseVector| right.with(row, |r| of(l, r));
        Ok(left.with(row, with_right)?.flatten())
    })
}

/// A cast to a type of sparse vectors: of text, a vector, or an array of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ToSparseFunction {
    target: SparseType,
    signature: Signature,
}

impl ToSparseFunction {
    pub fn new(target: SparseType) -> Self {
        Self {
            target,
            signature: immutable(),
        }
    }
}

impl ScalarUDFImpl for ToSparseFunction {
    fn name(&self) -> &str {
        "sparsevec"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = result_field("", DataType::Utf8, &args).is_nullable();
        Ok(self.target.field(self.name(), nullable))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if is_text(text) || text.is_null() => Ok(vec![DataType::Utf8]),
            [vector] => Ok(vec![accept_vector(self.name(), vector)?]),
            _ => plan_err!("{} takes one value, not {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let vectors = to_sparse(&args.args[0].to_array(rows)?, self.target)?;
        columnar(Arc::new(vectors), all_constant(&args.args))
    }
}

/// A column of text, vectors or arrays of numbers as the texts of sparse vectors.
///
/// # Errors
/// Those of [`SparseType::read`] for text; 22004 for a null inside an array, 22000 for NaN and infinite values.
pub fn to_sparse(array: &ArrayRef, target: SparseType) -> Result<StringArray> {
    if is_text(array.data_type()) {
        let texts = cast(array, &DataType::Utf8)?;
        let read = |text| Ok(target.read(text)?.to_string());
        let texts = texts.as_string::<i32>().iter();
        let vectors = texts.map(|text| text.map(read).transpose());
        return Ok(vectors.collect::<Result<StringArray, VectorError>>()?);
    }
    let vectors = Vectors::try_new(array)?.into_single();
    let rows = (0..array.len()).map(|row| {
        let sparse = |values| {
            let vector = SparseVector::from_dense(values)?;
            target.check(&vector)?;
            Ok(vector.to_string())
        };
        vectors.get(row).map(sparse).transpose()
    });
    Ok(rows.collect::<Result<StringArray, VectorError>>()?)
}

/// A cast of sparse vectors to vectors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SparseToVectorFunction {
    target: VectorType,
    signature: Signature,
}

impl SparseToVectorFunction {
    pub fn new(target: VectorType) -> Self {
        Self {
            target,
            signature: immutable(),
        }
    }
}

impl ScalarUDFImpl for SparseToVectorFunction {
    fn name(&self) -> &str {
        "sparsevec_to_vector"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), self.target.arrow(), &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8; types.len()])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let side = Side::try_new(&args.args[0], rows)?;
        let mut builder = VectorsBuilder::new(self.target, rows);
        let element = self.target.element;
        for row in 0..rows {
            let dense = side.with(row, |vector| {
                let values = vector.dense(DIMENSION_MAX);
                values.ok_or_else(|| VectorError::too_many_dimensions(element))
            })?;
            match dense {
                Some(values) => builder.push(values)?,
                None => builder.push_null(),
            }
        }
        columnar(builder.finish()?, all_constant(&args.args))
    }
}
