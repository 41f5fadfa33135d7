//! `avg` and `sum` that take vectors beside what they took before.
//!
//! DataFusion resolves an aggregate by its name alone, before any hook sees the argument's type. So
//! the name holds a function that looks at the type; the analyzer rule then puts the built-in
//! function back wherever the argument is no vector, so that every optimization for it applies.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use crate::aggregate::VectorAggregate;
use crate::signature::immutable;
use crate::types::is_float_list;

/// The types that the arguments of a built-in aggregate are made, where a function of our own stands before it.
///
/// # Errors
/// When it takes no such arguments.
pub fn coerced_types(builtin: &AggregateUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
    let fields: Vec<FieldRef> = types.iter().map(field).collect();
    let fields = fields_with_udf(&fields, builtin)?;
    Ok(fields.iter().map(|f| f.data_type().clone()).collect())
}

/// An aggregate for vectors under the name of a built-in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OverloadedAggregate {
    vector: VectorAggregate,
    builtin: Arc<AggregateUDF>,
    signature: Signature,
}

impl OverloadedAggregate {
    /// Overloads `builtin`, whose name and aliases it takes.
    pub fn new(vector: VectorAggregate, builtin: Arc<AggregateUDF>) -> Self {
        Self {
            vector,
            builtin,
            signature: immutable(),
        }
    }

    /// The built-in function below, when `function` is overloaded.
    pub fn builtin_of(function: &AggregateUDF) -> Option<&Arc<AggregateUDF>> {
        function
            .inner()
            .downcast_ref::<Self>()
            .map(|overloaded| &overloaded.builtin)
    }

    /// Whether the vector function takes arguments of these types.
    pub(crate) fn takes(types: &[DataType]) -> bool {
        matches!(types, [vector] if is_float_list(vector))
    }

    fn takes_fields(fields: &[FieldRef]) -> bool {
        matches!(fields, [field] if is_float_list(field.data_type()))
    }
}

impl AggregateUDFImpl for OverloadedAggregate {
    fn name(&self) -> &str {
        self.builtin.name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if Self::takes(types) {
            return self.vector.coerce_types(types);
        }
        coerced_types(&self.builtin, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if Self::takes(types) {
            return self.vector.return_type(types);
        }
        self.builtin.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match fields {
            [field] if is_float_list(field.data_type()) => {
                let data_type = self.vector.return_type(&[field.data_type().clone()])?;
                Ok(Arc::new(Field::new(self.name(), data_type, true)))
            }
            fields => self.builtin.return_field(fields),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if Self::takes_fields(args.input_fields) {
            return self.vector.state_fields(args);
        }
        self.builtin.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if Self::takes_fields(args.expr_fields) {
            return self.vector.accumulator(args);
        }
        self.builtin.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if Self::takes_fields(args.expr_fields) {
            return self.vector.accumulator(args);
        }
        self.builtin.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !Self::takes_fields(args.expr_fields) && self.builtin.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if Self::takes_fields(args.expr_fields) {
            return plan_err!("{} of vectors accumulates group by group", self.name());
        }
        self.builtin.create_groups_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.builtin.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
