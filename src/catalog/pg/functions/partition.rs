//! Functions about partitions.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{Call, Definition, Gives, RegType};
use crate::catalog::computed::{Computed, ComputedRows};
use crate::catalog::pg::context::PgContext;
use crate::catalog::pg::partitions::{ancestors, condition_of, key_of, tree};
use crate::catalog::pg::relation::Kind;
use crate::catalog::pg::rows::{Value, array};
use crate::catalog::routing::hashes;
use crate::storage::partition::HASH_FUNCTION;

/// The function that gives an array of what `pg_partition_ancestors` gives as rows.
pub const ANCESTORS: &str = "partition_ancestors";

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("pg_get_partkeydef", 1..=1, Gives::Text, |c| {
        Ok(c.relation(0)?.and_then(key_of).into())
    }),
    Definition::new(
        "pg_get_partition_constraintdef",
        1..=1,
        Gives::Text,
        constraint,
    ),
    Definition::new("pg_partition_root", 1..=1, Gives::Oid("regclass"), root),
    Definition::new(ANCESTORS, 1..=1, Gives::Oids("regclass"), |c| {
        let found = c.relation(0)?;
        let all = found.map(|found| ancestors(c.context.objects(), found.oid));
        Ok(all.unwrap_or_default().into())
    }),
];

fn constraint(call: &Call<'_>) -> Result<Value> {
    let relation = call.relation(0)?;
    let condition = relation.and_then(|r| condition_of(call.context.objects(), r));
    Ok(condition.map(|text| format!("({text})")).into())
}

fn root(call: &Call<'_>) -> Result<Value> {
    let Some(relation) = call.relation(0)? else {
        return Ok(Value::Null);
    };
    let all = ancestors(call.context.objects(), relation.oid);
    Ok(all.last().copied().into())
}

/// `satisfies_hash_partition(table, modulus, remainder, value, ..)`: whether values belong to a remainder.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SatisfiesHash {
    signature: Signature,
}

impl SatisfiesHash {
    pub fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SatisfiesHash {
    fn name(&self) -> &str {
        HASH_FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments.len() < 4 {
            return plan_err!("{HASH_FUNCTION} takes a table, a modulus, a remainder and values");
        }
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let number = |place: usize| -> Result<Option<u64>> {
            let array = args.args[place].to_array(1)?;
            let array = arrow::compute::cast(&array, &DataType::UInt64)?;
            let array = array.as_any().downcast_ref::<UInt64Array>();
            Ok(array.and_then(|numbers| numbers.iter().next().flatten()))
        };
        let (Some(modulus), Some(remainder)) = (number(1)?, number(2)?) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let modulus = modulus.max(1);
        let values = args.args[3..].iter().map(|value| value.to_array(rows));
        let values: Vec<ArrayRef> = values.collect::<Result<_>>()?;
        let belongs: BooleanArray = hashes(&values)?
            .into_iter()
            .map(|hash| Some(hash % modulus == remainder))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(belongs)))
    }
}

/// `pg_partition_tree(regclass)`: a table with its partitions.
#[derive(Debug, Clone, Copy)]
pub struct PartitionTree;

impl PartitionTree {
    /// The name of the function.
    pub const NAME: &str = "pg_partition_tree";

    fn columns() -> [(&'static str, Kind); 4] {
        [
            ("relid", Kind::Oid("regclass")),
            ("parentrelid", Kind::Oid("regclass")),
            ("isleaf", Kind::Bool),
            ("level", Kind::Int4),
        ]
    }

    fn schema() -> SchemaRef {
        let fields = Self::columns().map(|(name, kind)| kind.field(name));
        Arc::new(Schema::new(fields.to_vec()))
    }

    /// The rows for a relation.
    fn rows(context: &PgContext, relation: u32) -> Result<RecordBatch> {
        let branches = tree(context.objects(), relation).into_iter();
        let rows = branches.map(|branch| -> [Value; 4] {
            [
                branch.relation.into(),
                branch.parent.into(),
                branch.is_leaf.into(),
                branch.level.into(),
            ]
        });
        let rows: Vec<[Value; 4]> = rows.collect();
        let column = |(place, (_, kind)): (usize, (&str, Kind))| {
            let values: Vec<Value> = rows.iter().map(|row| row[place].clone()).collect();
            array(&kind, &values)
        };
        let columns = Self::columns().into_iter().enumerate().map(column);
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}

impl TableFunctionImpl for PartitionTree {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [relation] = args.exprs() else {
            return plan_err!("{}() takes one argument", Self::NAME);
        };
        let relation = relation.clone();
        Ok(Arc::new(Computed(OfRelation { relation })))
    }
}

/// The rows of a function for a relation, which is looked up when they are read.
#[derive(Debug)]
pub(crate) struct OfRelation {
    relation: Expr,
}

impl OfRelation {
    /// The OID of the relation.
    fn relation(&self, state: &dyn Session, context: &PgContext) -> Result<Option<u32>> {
        let relation = state.create_physical_expr(self.relation.clone(), &DFSchema::empty())?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let value = relation.evaluate(&row)?.into_array(1)?;
        let value = ScalarValue::try_from_array(&value, 0)?;
        if value.is_null() {
            return Ok(None);
        }
        match value.to_string().parse::<u32>() {
            Ok(oid) => Ok(Some(oid)),
            Err(_) => {
                let text = value.to_string();
                RegType::Class
                    .read(context, state.config_options(), &text)
                    .map(Some)
            }
        }
    }
}

#[async_trait]
impl ComputedRows for OfRelation {
    fn schema(&self) -> SchemaRef {
        PartitionTree::schema()
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        let context = PgContext::of(state.config_options())?;
        match self.relation(state, context)? {
            Some(relation) => PartitionTree::rows(context, relation),
            None => Ok(RecordBatch::new_empty(self.schema())),
        }
    }
}
