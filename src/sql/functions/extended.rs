//! Functions of DataFusion's that take arguments of more types here.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

use super::finite::keep_infinities;
use super::row::{Overload, RowFunction};
use super::{array, bytea, exact_math, integer, truncate, whole};
use crate::catalog::exact_operators::operand_type;

/// Whether arguments of these types are taken here.
pub(super) type Takes = fn(&[DataType]) -> bool;

/// A name, which arguments are taken here, and what is done with them.
pub(super) type Extension = (&'static str, Takes, &'static [Overload]);

/// Extends the session's functions.
pub(crate) fn extend(context: &SessionContext) {
    whole::without_zeros(context);
    let extensions = [
        array::EXTENSIONS,
        bytea::EXTENSIONS,
        integer::EXTENSIONS,
        truncate::EXTENSIONS,
    ];
    let state = context.state();
    for (name, takes, overloads) in extensions.into_iter().flatten() {
        let inner = state.scalar_functions().get(*name).cloned();
        if let Some(inner) = inner {
            let own = RowFunction::new(name, overloads.iter().collect());
            let own = ScalarUDF::new_from_impl(own);
            context.register_udf(Extended::of(inner, own, *takes));
        }
    }
    for (name, takes) in RETYPED {
        if let Some(inner) = state.scalar_functions().get(name).cloned() {
            let retyped = Retyped {
                inner: Arc::clone(&inner),
                signature: Signature::user_defined(inner.signature().volatility),
            };
            let retyped = ScalarUDF::new_from_impl(retyped);
            context.register_udf(Extended::of(inner, retyped, takes));
        }
    }
    keep_infinities(context);
    // Over those of whole numbers.
    let state = context.state();
    for (name, takes, own) in exact_math::extensions() {
        if let Some(inner) = state.scalar_functions().get(name).cloned() {
            context.register_udf(Extended::of(inner, own, takes));
        }
    }
}

/// Functions that PostgreSQL has of fewer types than DataFusion: those of REAL are of doubles, and so is `round` of whole
/// numbers, but to so many digits it is of NUMERICs.
const RETYPED: [(&str, Takes); 20] = [
    ("acos", has_real),
    ("asin", has_real),
    ("atan", has_real),
    ("atan2", has_real),
    ("cbrt", has_real),
    ("ceil", has_real),
    ("cos", has_real),
    ("cot", has_real),
    ("degrees", has_real),
    ("exp", has_real),
    ("floor", has_real),
    ("ln", has_real),
    ("log", has_real),
    ("log10", has_real),
    ("radians", has_real),
    ("round", |types| {
        has_real(types) || types.first().is_some_and(DataType::is_integer)
    }),
    ("signum", has_real),
    ("sin", has_real),
    ("sqrt", has_real),
    ("trunc", has_real),
];

fn has_real(types: &[DataType]) -> bool {
    types.contains(&DataType::Float32)
}

/// A function of other types than are given.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Retyped {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Retyped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let mut wanted = types.to_vec();
        for of in &mut wanted {
            if *of == DataType::Float32 {
                *of = DataType::Float64;
            }
        }
        match wanted.as_mut_slice() {
            [number] if number.is_integer() => *number = DataType::Float64,
            [number, _] if number.is_integer() => *number = operand_type(number)?,
            _ => {}
        }
        coerced(&self.inner, &wanted)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// The types that arguments of the types become.
fn coerced(function: &ScalarUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
    let given: Vec<FieldRef> = types.iter().map(field).collect();
    Ok(types_of(&fields_with_udf(&given, function)?))
}

#[derive(Debug)]
struct Extended {
    inner: Arc<ScalarUDF>,
    own: ScalarUDF,
    takes: fn(&[DataType]) -> bool,
    signature: Signature,
}

impl Extended {
    fn of(inner: Arc<ScalarUDF>, own: ScalarUDF, takes: fn(&[DataType]) -> bool) -> ScalarUDF {
        let signature = Signature::user_defined(inner.signature().volatility);
        ScalarUDF::new_from_impl(Self {
            inner,
            own,
            takes,
            signature,
        })
    }
}

impl PartialEq for Extended {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Extended {}

impl Hash for Extended {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

fn types_of(fields: &[FieldRef]) -> Vec<DataType> {
    fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect()
}

impl ScalarUDFImpl for Extended {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if (self.takes)(types) {
            return self.own.coerce_types(types);
        }
        coerced(&self.inner, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.takes)(types) {
            true => self.own.return_type(types),
            false => self.inner.return_type(types),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match (self.takes)(&types_of(args.arg_fields)) {
            true => self.own.return_field_from_args(args),
            false => self.inner.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.takes)(&types_of(&args.arg_fields)) {
            true => self.own.invoke_with_args(args),
            false => self.inner.invoke_with_args(args),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let types = args.iter().map(|arg| info.get_data_type(arg));
        match (self.takes)(&types.collect::<Result<Vec<_>>>()?) {
            true => Ok(ExprSimplifyResult::Original(args)),
            false => self.inner.simplify(args, info),
        }
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }
}
