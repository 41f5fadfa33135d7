//! The distance functions: `l2_distance`, `cosine_distance`, `inner_product` and their kin.

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::VectorError;
use crate::input::{Elements, Layout, Operand, Vectors, all_constant, result_rows};
use crate::kernels::{Metric, Query};
use crate::output::columnar;
use crate::signature::{accept_vectors, fold_text, immutable, result_field};
use crate::types::Element;

/// A distance between two vectors as a scalar function; the result is `Float64`.
///
/// Reads the metric of a call with [`DistanceFunction::metric_of`]:
/// ```
/// use shelfmark_udfs::{DistanceFunction, Metric};
///
/// let udf = DistanceFunction::udf(Metric::Cosine);
/// assert_eq!(udf.name(), "cosine_distance");
/// assert_eq!(DistanceFunction::metric_of(&udf), Some(Metric::Cosine));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DistanceFunction {
    metric: Metric,
    aliases: Vec<String>,
    signature: Signature,
}

impl DistanceFunction {
    /// The function that computes a metric.
    pub fn new(metric: Metric) -> Self {
        let aliases = match metric {
            Metric::L2Squared => vec!["l2_squared_distance".to_string()],
            Metric::NegativeInnerProduct => vec!["negative_inner_product".to_string()],
            _ => vec![],
        };
        Self {
            metric,
            aliases,
            signature: immutable(),
        }
    }

    /// The function, ready to be registered or called.
    pub fn udf(metric: Metric) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self::new(metric)))
    }

    /// The metric that a function computes, when it is a distance function of this crate.
    pub fn metric_of(function: &ScalarUDF) -> Option<Metric> {
        function
            .inner()
            .downcast_ref::<Self>()
            .map(|distance| distance.metric)
    }
}

impl ScalarUDFImpl for DistanceFunction {
    fn name(&self) -> &str {
        match self.metric {
            Metric::L2 => "l2_distance",
            Metric::L2Squared => "vector_l2_squared_distance",
            Metric::InnerProduct => "inner_product",
            Metric::NegativeInnerProduct => "vector_negative_inner_product",
            Metric::Cosine => "cosine_distance",
            Metric::L1 => "l1_distance",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), DataType::Float64, &args))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 2)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match fold_text(&args, info)? {
            Some(args) => ExprSimplifyResult::Simplified(Self::udf(self.metric).call(args)),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let left = Operand::try_new(&args.args[0])?;
        let right = Operand::try_new(&args.args[1])?;
        let distances = distances(self.metric, &left, &right, rows)?;
        columnar(Arc::new(distances), all_constant(&args.args))
    }
}

fn distances(
    metric: Metric,
    left: &Operand<Vectors>,
    right: &Operand<Vectors>,
    rows: usize,
) -> Result<Float64Array> {
    let both_valid =
        |row| !left.vectors.is_null(left.index(row)) && !right.vectors.is_null(right.index(row));
    let one_null = left.vectors.nulls.is_some() || right.vectors.nulls.is_some();
    let nulls = one_null.then(|| (0..rows).map(both_valid).collect::<NullBuffer>());
    check_dimensions(left, right, rows, nulls.as_ref())?;
    let mut out = vec![0.0; rows];
    // The metrics are symmetric, so that the constant side can be the query.
    match (left.constant, right.constant) {
        (_, true) => against_constant(metric, left, &right.vectors, nulls.as_ref(), &mut out),
        (true, false) => against_constant(metric, right, &left.vectors, nulls.as_ref(), &mut out),
        (false, false) => pairwise(
            metric,
            &left.vectors,
            &right.vectors,
            nulls.as_ref(),
            &mut out,
        ),
    }
    Ok(Float64Array::new(out.into(), nulls))
}

/// Refuses the first row whose vectors differ in length.
fn check_dimensions(
    left: &Operand<Vectors>,
    right: &Operand<Vectors>,
    rows: usize,
    nulls: Option<&NullBuffer>,
) -> Result<(), VectorError> {
    let fixed =
        |side: &Operand<Vectors>| side.constant || matches!(side.vectors.layout, Layout::Fixed(_));
    // Where all rows have one length, the first that counts speaks for all.
    let enough = if fixed(left) && fixed(right) { 1 } else { rows };
    for row in (0..rows)
        .filter(|row| nulls.is_none_or(|n| n.is_valid(*row)))
        .take(enough)
    {
        let l = left.vectors.dimension(left.index(row));
        let r = right.vectors.dimension(right.index(row));
        if l != r {
            let element = shared_element(left.vectors.element(), right.vectors.element());
            return Err(VectorError::different_dimensions(element, l, r));
        }
    }
    Ok(())
}

/// The type that an error names.
pub(crate) fn shared_element(left: Element, right: Element) -> Element {
    if left == right { left } else { Element::Single }
}

/// One query against all rows, read where they lie: as a matrix where they are one, which computes a
/// distance for null rows too.
fn against_constant(
    metric: Metric,
    side: &Operand<Vectors>,
    query: &Vectors,
    nulls: Option<&NullBuffer>,
    out: &mut [f64],
) {
    let query = query.clone().into_single();
    let Some(query) = query.get(0) else { return };
    let query = Query::new(metric, query);
    let rows = &side.vectors;
    // Null rows alone may have another dimension than the query.
    let dense = rows
        .dense_range(out.len())
        .filter(|range| range.len() == out.len() * query.dimension());
    if let Some(range) = dense {
        return query.distances_of(rows.elements.rows(range), out);
    }
    for (row, slot) in out.iter_mut().enumerate() {
        if nulls.is_none_or(|n| n.is_valid(row)) {
            *slot = one_distance(&query, &rows.elements, rows.range(side.index(row)));
        }
    }
}

fn pairwise(
    metric: Metric,
    left: &Vectors,
    right: &Vectors,
    nulls: Option<&NullBuffer>,
    out: &mut [f64],
) {
    let queries = right.clone().into_single();
    for (row, slot) in out.iter_mut().enumerate() {
        let valid = nulls.is_none_or(|n| n.is_valid(row));
        if let Some(query) = queries.get(row).filter(|_| valid) {
            *slot = one_distance(&Query::new(metric, query), &left.elements, left.range(row));
        }
    }
}

fn one_distance(query: &Query, elements: &Elements, range: std::ops::Range<usize>) -> f64 {
    let mut distance = [0.0];
    query.distances_of(elements.rows(range), &mut distance);
    distance[0]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, Float32Builder, ListArray, ListBuilder,
        new_empty_array,
    };
    use arrow::compute::cast;
    use arrow::datatypes::{Field, Float32Type, Float64Type};
    use datafusion::config::ConfigOptions;
    use datafusion::scalar::ScalarValue;
    use proptest::prelude::*;

    use super::*;
    use crate::cast::cast_array_to_vector;
    use crate::types::VectorType;

    const DIMENSION: usize = 5;

    type Rows = Vec<Option<Vec<f32>>>;

    fn call(
        metric: Metric,
        left: ColumnarValue,
        right: ColumnarValue,
        rows: usize,
    ) -> Vec<Option<f64>> {
        let field = |value: &ColumnarValue| Arc::new(Field::new("", value.data_type(), true));
        let args = ScalarFunctionArgs {
            arg_fields: vec![field(&left), field(&right)],
            args: vec![left, right],
            number_rows: rows,
            return_field: Arc::new(Field::new("", DataType::Float64, true)),
            config_options: Arc::new(ConfigOptions::new()),
        };
        let result = DistanceFunction::new(metric)
            .invoke_with_args(args)
            .unwrap();
        result
            .to_array(rows)
            .unwrap()
            .as_primitive::<Float64Type>()
            .iter()
            .collect()
    }

    /// The rows in every Arrow type that can hold them exactly (as they are small whole numbers).
    fn representations(rows: &Rows) -> Vec<ArrayRef> {
        let data = || {
            rows.iter()
                .map(|r| r.as_ref().map(|r| r.iter().copied().map(Some)))
        };
        let size = i32::try_from(DIMENSION).unwrap();
        let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(data(), size);
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(data()));
        let of = |width| Arc::new(Field::new("item", width, true));
        let half = VectorType::try_new(Element::Half, Some(DIMENSION)).unwrap();
        vec![
            Arc::new(fixed),
            cast(&list, &DataType::LargeList(of(DataType::Float64))).unwrap(),
            cast(&list, &DataType::List(of(DataType::Int16))).unwrap(),
            cast_array_to_vector(&list, half).unwrap(),
            cast(&list, &DataType::List(of(DataType::Float16))).unwrap(),
            list,
        ]
    }

    fn expected(metric: Metric, left: &Rows, right: &Rows) -> Vec<Option<f64>> {
        let one = |(l, r): (&Option<Vec<f32>>, &Option<Vec<f32>>)| {
            Some(Query::new(metric, r.as_ref()?).distance(l.as_ref()?))
        };
        left.iter().zip(right).map(one).collect()
    }

    fn rows() -> impl Strategy<Value = (Rows, Rows)> {
        let number = (-9i8..9).prop_map(f32::from);
        let vector = prop::collection::vec(number, DIMENSION);
        let row = prop_oneof![4 => vector.prop_map(Some), 1 => Just(None)];
        prop::collection::vec((row.clone(), row), 1..9).prop_map(|pairs| pairs.into_iter().unzip())
    }

    /// Bit for bit, so that NaN equals itself.
    fn bits(distances: &[Option<f64>]) -> Vec<Option<u64>> {
        distances.iter().map(|d| d.map(f64::to_bits)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_representation_gives_the_same_distances((left, right) in rows()) {
            let count = left.len();
            let query = vec![right[0].clone(); count];
            for metric in Metric::ALL {
                let pairs = bits(&expected(metric, &left, &right));
                let constant = bits(&expected(metric, &left, &query));
                for (l, r) in representations(&left).iter().zip(representations(&right)) {
                    let scalar = ColumnarValue::Scalar(ScalarValue::try_from_array(&r, 0).unwrap());
                    let column = ColumnarValue::Array(Arc::clone(l));
                    let got = call(metric, column.clone(), ColumnarValue::Array(r), count);
                    prop_assert_eq!(&bits(&got), &pairs, "{:?} of {}", metric, l.data_type());
                    let got = call(metric, column.clone(), scalar.clone(), count);
                    prop_assert_eq!(&bits(&got), &constant, "{:?} of {}", metric, l.data_type());
                    let got = call(metric, scalar, column, count);
                    prop_assert_eq!(&bits(&got), &constant, "{:?} of {}", metric, l.data_type());
                }
            }
        }
    }

    /// Null rows of another dimension than the query, with and without others.
    #[test]
    fn null_rows_may_have_any_dimension() {
        let rows = |count| {
            FixedSizeListArray::new_null(
                Arc::new(Field::new("item", DataType::Float32, true)),
                3,
                count,
            )
        };
        let query = ColumnarValue::Scalar(ScalarValue::from("[1,2]"));
        let nulls = ColumnarValue::Array(Arc::new(rows(2)));
        assert_eq!(call(Metric::L2, nulls, query.clone(), 2), [None, None]);
        let mut list = ListBuilder::new(Float32Builder::new());
        list.append_value([Some(1.0), Some(4.0)]);
        list.values().append_slice(&[7.0; 3]);
        list.append(false);
        list.append_value([Some(1.0), Some(1.0)]);
        let list = ColumnarValue::Array(Arc::new(list.finish()));
        assert_eq!(
            call(Metric::L2, list, query, 3),
            [Some(2.0), None, Some(1.0)]
        );
    }

    #[test]
    fn no_rows() {
        let empty = VectorType::try_new(Element::Single, Some(3))
            .unwrap()
            .arrow();
        let empty = ColumnarValue::Array(new_empty_array(&empty));
        let query = ColumnarValue::Scalar(ScalarValue::from("[1,2]"));
        assert_eq!(call(Metric::L2, empty, query, 0), []);
    }
}
