//! The parts of a unique key that are no plain columns: expressions, and the predicate of a partial index.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::DFSchema;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::physical_expr::PhysicalExpr;

use crate::catalog::typed::compiled;
use crate::error::{Error, Result};
use crate::storage::index::IndexPart;
use crate::storage::schema::{CollectionSchema, FieldId};
use crate::storage::unique::{KeyParts, UniqueKey};

/// The functions that expressions of keys may call. They depend on their arguments alone, so that those of any session
/// serve all.
static FUNCTIONS: OnceLock<SessionState> = OnceLock::new();

/// Lets expressions of keys call the functions of a session.
pub fn know_functions(session: &SessionState) {
    FUNCTIONS.get_or_init(|| {
        let mut builder = SessionStateBuilder::new().with_default_features();
        let scalar = builder.scalar_functions().get_or_insert_with(Vec::new);
        scalar.extend(session.scalar_functions().values().cloned());
        let planners = session.expr_planners().to_vec();
        let mut builder = shelfmark_udfs::with_vector_support(builder.with_expr_planners(planners));
        // Nothing of the session itself is kept: it would keep its database open.
        let config = builder.config().get_or_insert_with(Default::default);
        config.options_mut().sql_parser = session.config_options().sql_parser.clone();
        builder.build()
    });
}

/// How the values of a key are computed from the columns that it reads.
pub(super) struct ComputedParts {
    parts: Vec<Arc<dyn PhysicalExpr>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    types: Vec<DataType>,
    names: Vec<String>,
}

impl fmt::Debug for ComputedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

impl ComputedParts {
    /// Those of a key; `None` for one of plain columns.
    ///
    /// # Errors
    /// When an expression cannot be read, which it could when the index was made.
    pub fn of(key: &UniqueKey, schema: &CollectionSchema) -> Result<Option<Self>> {
        let Some(KeyParts { parts, predicate }) = key.computed.as_deref() else {
            return Ok(None);
        };
        let columns = Columns::new(key, schema)?;
        let exprs = parts.iter().map(|part| match part {
            IndexPart::Column(field) => columns.column(*field, schema),
            IndexPart::Expression(text) => columns.compiled(text),
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let types = exprs.iter().map(|e| Ok(e.data_type(columns.arrow())?));
        let name = |part: &IndexPart| match part {
            IndexPart::Column(field) => schema.names_of(&[*field]),
            IndexPart::Expression(text) => text.clone(),
        };
        let predicate = predicate.as_ref().map(|text| columns.compiled(text));
        Ok(Some(Self {
            types: types.collect::<Result<_>>()?,
            parts: exprs,
            predicate: predicate.transpose()?,
            names: parts.iter().map(name).collect(),
        }))
    }

    /// The types of the values.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// What the values are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values for rows of the columns that the key reads. A row that does not fulfil the predicate has NULLs, which
    /// are like no others.
    pub fn values(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let left_out = self.left_out(rows)?;
        let parts = self.parts.iter();
        let values = parts.map(|part| {
            let values = part.evaluate(rows)?.into_array(rows.num_rows())?;
            match &left_out {
                Some(left_out) => Ok(nullif(&values, left_out)?),
                None => Ok(values),
            }
        });
        values.collect()
    }

    /// Which rows do not fulfil the predicate; `None` where there is none.
    fn left_out(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(predicate) = &self.predicate else {
            return Ok(None);
        };
        let holds = predicate.evaluate(rows)?.into_array(rows.num_rows())?;
        let holds = holds.as_boolean();
        let left_out = (0..holds.len()).map(|row| Some(!holds.is_valid(row) || !holds.value(row)));
        Ok(Some(left_out.collect()))
    }
}

/// The columns that a key reads, as its expressions see them.
struct Columns {
    row: DFSchema,
}

impl Columns {
    fn new(key: &UniqueKey, schema: &CollectionSchema) -> Result<Self> {
        let columns = key.fields.iter();
        let columns = columns.filter_map(|id| schema.column_by_id(*id));
        let fields: Vec<_> = columns.map(|column| column.arrow_field()).collect();
        let row = DFSchema::try_from(Schema::new(fields))?;
        Ok(Self { row })
    }

    fn arrow(&self) -> &Schema {
        self.row.as_arrow()
    }

    fn column(&self, field: FieldId, schema: &CollectionSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let name = schema.names_of(&[field]);
        let column = datafusion::physical_expr::expressions::col(&name, self.arrow())?;
        Ok(column)
    }

    fn compiled(&self, text: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let functions = FUNCTIONS.get();
        let functions =
            functions.ok_or_else(|| Error::internal("expressions of keys know no functions"))?;
        Ok(compiled(text, &self.row, functions)?)
    }
}
