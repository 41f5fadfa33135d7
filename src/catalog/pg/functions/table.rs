//! Functions that give a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};

use crate::catalog::pg::fixed::{KEYWORDS, lines};
use crate::storage::schema::SQL_TYPE_KEY;

/// `pg_get_keywords()`: PostgreSQL's words, which of them may be names.
#[derive(Debug)]
pub struct Keywords;

impl TableFunctionImpl for Keywords {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return plan_err!("pg_get_keywords() takes no arguments");
        }
        let text = |place: usize| -> ArrayRef {
            let cells: Vec<&str> = lines(KEYWORDS).map(|line| line[place]).collect();
            Arc::new(StringArray::from(cells))
        };
        let bare: BooleanArray = lines(KEYWORDS).map(|line| Some(line[2] == "t")).collect();
        let char = [(SQL_TYPE_KEY.to_string(), "char".to_string())].into();
        let schema = Arc::new(Schema::new(vec![
            Field::new("word", DataType::Utf8, false),
            Field::new("catcode", DataType::Utf8, false).with_metadata(char),
            Field::new("barelabel", DataType::Boolean, false),
            Field::new("catdesc", DataType::Utf8, false),
            Field::new("baredesc", DataType::Utf8, false),
        ]));
        let columns = vec![text(0), text(1), Arc::new(bare) as _, text(3), text(4)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}
