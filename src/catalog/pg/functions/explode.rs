//! Functions that make records of texts in an array: `aclexplode`, `pg_options_to_table`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::catalog::pg::PgContext;
use crate::catalog::pg::access::{AclItem, explode};
use crate::catalog::pg::relation::Kind;
use crate::catalog::pg::rows::{Value, array};

/// A function that gives records.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Explode {
    what: What,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// The items of an access control list, a record for each privilege.
    AclItems,
    /// Options as `name=value`.
    Options,
}

/// The functions in FROM whose rows are the records of the arrays that the scalar functions of their names give.
pub(crate) const RECORD_SETS: [&str; 2] = ["aclexplode", "pg_options_to_table"];

impl Explode {
    pub fn all() -> impl Iterator<Item = Self> {
        [What::AclItems, What::Options]
            .into_iter()
            .map(|what| Self {
                what,
                signature: Signature::any(1, Volatility::Stable),
            })
    }
}

impl What {
    fn columns(self) -> Vec<(&'static str, Kind)> {
        match self {
            Self::AclItems => vec![
                ("grantor", Kind::Oid("oid")),
                ("grantee", Kind::Oid("oid")),
                ("privilege_type", Kind::Text("text")),
                ("is_grantable", Kind::Bool),
            ],
            Self::Options => vec![
                ("option_name", Kind::Text("text")),
                ("option_value", Kind::Text("text")),
            ],
        }
    }

    fn fields(self) -> Fields {
        let columns = self.columns().into_iter();
        columns.map(|(name, kind)| kind.field(name)).collect()
    }

    fn element(self) -> FieldRef {
        Arc::new(Field::new_list_field(DataType::Struct(self.fields()), true))
    }

    /// The records of one text.
    ///
    /// # Errors
    /// 22P02 for what is no item of a list.
    fn records(self, context: &PgContext, text: &str) -> Result<Vec<Vec<Value>>> {
        Ok(match self {
            Self::AclItems => {
                let records = explode(context, text)?.into_iter();
                let record = |item: AclItem| {
                    vec![
                        item.grantor.into(),
                        item.grantee.into(),
                        item.privilege.name().into(),
                        item.grantable.into(),
                    ]
                };
                records.map(record).collect()
            }
            Self::Options => {
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (text, None),
                };
                vec![vec![name.into(), value.into()]]
            }
        })
    }
}

impl ScalarUDFImpl for Explode {
    fn name(&self) -> &str {
        let [acl, options] = RECORD_SETS;
        match self.what {
            What::AclItems => acl,
            What::Options => options,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(self.what.element()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let context = PgContext::of(&args.config_options)?;
        let lists = args.args[0].to_array(args.number_rows)?;
        let texts = DataType::new_list(DataType::Utf8, true);
        let lists = match lists.data_type() {
            DataType::Null | DataType::List(_) => cast(&lists, &texts)?,
            other => return exec_err!("{} takes an array, not {other}", self.name()),
        };
        let lists = lists.as_list::<i32>();
        let mut records = Vec::new();
        let mut lengths = Vec::with_capacity(lists.len());
        for list in lists.iter() {
            let before = records.len();
            let list = list.unwrap_or_else(|| lists.values().slice(0, 0));
            for text in list.as_string::<i32>().iter().flatten() {
                records.extend(self.what.records(context, text)?);
            }
            lengths.push(records.len() - before);
        }
        let valid: NullBuffer = (0..lists.len()).map(|i| lists.is_valid(i)).collect();
        let columns = self.what.columns().into_iter().enumerate();
        let columns = columns.map(|(place, (_, kind))| {
            let values: Vec<Value> = records.iter().map(|record| record[place].clone()).collect();
            array(&kind, &values)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let records = StructArray::try_new(self.what.fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let element = self.what.element();
        let list = ListArray::try_new(element, offsets, Arc::new(records), Some(valid))?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}
