//! `clustering_information('book' [, 'column, ..'])`: how well a collection's segments are clustered, as one row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, TableReference};
use datafusion::logical_expr::Expr;

use super::computed::{Computed, ComputedRows};
use super::options::PinnedSnapshot;
use super::search_path;
use crate::compaction::depth::{ClusteringInformation, clustering_information};
use crate::error::{Error, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::FieldId;
use crate::storage::snapshot::{DEFAULT_SCHEMA, Snapshot};

/// The name under which [`ClusteringFunction`] is registered.
pub const CLUSTERING_INFORMATION: &str = "clustering_information";

/// The table function. Columns are named as by Databend and Snowflake, with segments for blocks and partitions.
#[derive(Debug)]
pub struct ClusteringFunction {
    engine: Arc<Engine>,
}

impl ClusteringFunction {
    /// The function over the collections of a database, for `SessionContext::register_udtf`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl TableFunctionImpl for ClusteringFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let texts: Option<Vec<&str>> = args.exprs().iter().map(text_of).collect();
        let (name, columns) = match texts.as_deref() {
            Some([name]) => (*name, None),
            Some([name, columns]) => (*name, Some((*columns).to_string())),
            _ => return Err(usage().into()),
        };
        let table = ClusteringTable {
            engine: Arc::clone(&self.engine),
            name: qualified(name),
            columns,
            schema: schema(),
        };
        table.measure(args.session())?;
        Ok(Arc::new(Computed(table)))
    }
}

fn usage() -> Error {
    let message = "clustering_information takes the name of a collection, and columns if need be";
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "For example clustering_information('book') or clustering_information('book', 'year, id').",
    )
}

/// The text of an argument that is one.
pub(super) fn text_of(argument: &Expr) -> Option<&str> {
    use ScalarValue::{LargeUtf8, Utf8, Utf8View};
    match argument {
        Expr::Literal(Utf8(text) | Utf8View(text) | LargeUtf8(text), _) => text.as_deref(),
        _ => None,
    }
}

/// The collection that a name means in a session, as SQL would read it.
///
/// # Errors
/// 42P01.
pub(super) fn qualified_in(
    session: &dyn Session,
    snapshot: &Snapshot,
    name: &str,
) -> Result<Arc<Collection>, Error> {
    let reference = TableReference::parse_str(name.trim());
    let path = &session.config_options().catalog.default_schema;
    let path = match reference.schema() {
        Some(schema) => vec![schema.to_string()],
        None => search_path::split(path).unwrap_or_else(|| vec![path.clone()]),
    };
    let named = |schema: String| QualifiedName::new(schema, reference.table());
    let found = path
        .into_iter()
        .find_map(|schema| snapshot.collection(&named(schema)));
    found.cloned().ok_or_else(|| {
        let message = format!("relation \"{name}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_TABLE, message)
    })
}

/// The name as SQL would read it: lower case where it is not quoted.
pub(crate) fn qualified(name: &str) -> QualifiedName {
    let reference = TableReference::parse_str(name.trim());
    QualifiedName::new(
        reference.schema().unwrap_or(DEFAULT_SCHEMA),
        reference.table(),
    )
}

fn schema() -> SchemaRef {
    let field = |(name, data_type)| Field::new(name, data_type, false);
    let fields = [
        ("cluster_by", DataType::Utf8),
        ("total_segments", DataType::Int64),
        ("constant_segments", DataType::Int64),
        ("unclustered_segments", DataType::Int64),
        ("average_overlaps", DataType::Float64),
        ("average_depth", DataType::Float64),
        ("max_depth", DataType::Int64),
        ("depth_histogram", DataType::Utf8),
    ];
    Arc::new(Schema::new(fields.map(field).to_vec()))
}

/// The one row, computed when it is read.
#[derive(Debug)]
pub(super) struct ClusteringTable {
    engine: Arc<Engine>,
    name: QualifiedName,
    columns: Option<String>,
    schema: SchemaRef,
}

impl ClusteringTable {
    fn measure(&self, session: &dyn Session) -> Result<(String, ClusteringInformation)> {
        let snapshot = PinnedSnapshot::or_newest(session.config(), &self.engine);
        let collection = find(&snapshot, &self.name)?;
        let key = match &self.columns {
            Some(columns) => named_columns(collection, columns)?,
            None => clustering_key(collection)?,
        };
        let cluster_by = format!("({})", collection.schema.names_of(&key));
        Ok((cluster_by, clustering_information(collection, &key)))
    }
}

fn find<'a>(snapshot: &'a Snapshot, name: &QualifiedName) -> Result<&'a Collection, Error> {
    let found = snapshot.collection(name).map(|c| &**c);
    found.ok_or_else(|| {
        let message = format!("relation \"{name}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_TABLE, message)
    })
}

fn clustering_key(collection: &Collection) -> Result<Vec<FieldId>, Error> {
    if !collection.schema.clustering_key.is_empty() {
        return Ok(collection.schema.clustering_key.clone());
    }
    let name = &collection.name;
    let message = format!("collection \"{name}\" has no clustering key");
    Err(
        Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint(format!(
            "Name columns: clustering_information('{name}', 'column'); or ALTER TABLE {name} CLUSTER BY (column)."
        )),
    )
}

/// Any columns with statistics, whether the collection is clustered by them or not.
fn named_columns(collection: &Collection, columns: &str) -> Result<Vec<FieldId>, Error> {
    let inside = columns.trim().trim_start_matches('(').trim_end_matches(')');
    let one = |text: &str| {
        let name = qualified(text).name;
        let column = collection.schema.column(&name).ok_or_else(|| {
            let message = format!(
                "column \"{name}\" of \"{}\" does not exist",
                collection.name
            );
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })?;
        if !column.column_type.is_scalar() {
            let message = format!(
                "column \"{name}\" of type {} has no order",
                column.column_type
            );
            return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message));
        }
        Ok(column.id)
    };
    inside.split(',').map(one).collect()
}

#[async_trait]
impl ComputedRows for ClusteringTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    async fn rows(&self, session: &dyn Session) -> Result<RecordBatch> {
        let (cluster_by, found) = self.measure(session)?;
        let number = |v: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![v as i64])) };
        let double = |v: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![v])) };
        let text = |v: String| -> ArrayRef { Arc::new(StringArray::from(vec![v])) };
        let columns = vec![
            text(cluster_by),
            number(found.total_segments),
            number(found.depth.constant),
            number(found.unclustered_segments),
            double(found.depth.average_overlaps),
            double(found.depth.average_depth),
            number(found.depth.max_depth),
            text(found.depth.histogram_json()),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::Int64Array;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::catalog::testing::{TestDb, clustered, column};
    use crate::storage::schema::ColumnType;

    async fn ask(db: &TestDb, sql: &str) -> Result<String, Error> {
        let context = SessionContext::new();
        let function = ClusteringFunction::new(Arc::clone(&db.engine));
        context.register_udtf(CLUSTERING_INFORMATION, Arc::new(function));
        let rows = context.sql(sql).await?.collect().await?;
        Ok(pretty_format_batches(&rows)?.to_string())
    }

    #[tokio::test]
    async fn databends_example_in_sql() {
        let db = TestDb::new();
        let schema = clustered(vec![column(1, "a", ColumnType::BigInt)]);
        let id = db.create("t", schema.clone()).await;
        for keys in [vec![2, 4], vec![3, 6], vec![5]] {
            let rows = RecordBatch::try_new(
                schema.arrow_schema(),
                vec![Arc::new(Int64Array::from(keys))],
            );
            db.add_segment(id, &rows.unwrap()).await;
        }
        let all = "SELECT cluster_by, total_segments, constant_segments, unclustered_segments, \
             round(average_overlaps, 4) AS average_overlaps, average_depth, max_depth, depth_histogram";
        let expected = "\
+------------+----------------+-------------------+----------------------+------------------+---------------+-----------+-----------------+
| cluster_by | total_segments | constant_segments | unclustered_segments | average_overlaps | average_depth | max_depth | depth_histogram |
+------------+----------------+-------------------+----------------------+------------------+---------------+-----------+-----------------+
| (a)        | 3              | 1                 | 3                    | 1.3333           | 2.0           | 2         | {\"00002\":3}     |
+------------+----------------+-------------------+----------------------+------------------+---------------+-----------+-----------------+";
        for call in ["'t'", "'public.T', '(a)'"] {
            let sql = format!("{all} FROM clustering_information({call})");
            assert_eq!(ask(&db, &sql).await.unwrap(), expected);
        }
        for (call, code) in [
            ("'nothing'", "42P01"),
            ("'t', 'b'", "42703"),
            ("", "42883"),
            ("1", "42883"),
        ] {
            let sql = format!("SELECT * FROM clustering_information({call})");
            assert_eq!(ask(&db, &sql).await.unwrap_err().sqlstate(), code, "{call}");
        }
    }
}
