//! The distance functions: `l2_distance`, `cosine_distance`, `inner_product` and their kin.

use std::sync::Arc;

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, FieldRef};
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

/// One query against all rows, read where they lie.
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
    let whole = nulls.is_none() && matches!(rows.layout, Layout::Fixed(_));
    match &rows.elements {
        Elements::Single(values) if whole => query.distances(values, out),
        Elements::Half(values) if whole => query.distances_half(values, out),
        elements => {
            for (row, slot) in out.iter_mut().enumerate() {
                if nulls.is_none_or(|n| n.is_valid(row)) {
                    *slot = one_distance(&query, elements, rows.range(side.index(row)));
                }
            }
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
    match elements {
        Elements::Single(values) => query.distance(&values[range]),
        Elements::Half(values) => query.distance_half(&values[range]),
    }
}
