//! Scans for one key: where the predicate says what each column of a unique key is, the row is looked up.
//!
//! ```text
//! growing segment: index of hashes -> row, else the next segment
//! sealed segment:  PartitionStats, then the index of hashes where it is in memory -> row
//!                  without one: row groups by bounds and bloom filters, pages by bounds, as ever
//! ```
//! A segment that is searched often without an index is indexed beside the queries.
//! The row is read whatever else the predicate asks for, so that the filter above gives the same rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::ScanRequest;
use crate::catalog::expressions::constant;
use crate::catalog::keys::{KeyColumns, PointKey};
use crate::storage::collection::Collection;
use crate::storage::schema::{FieldId, field_id};
use crate::storage::unique::{KeyId, UniqueKey};

/// A unique key of a collection, and where a predicate says what it is.
#[derive(Debug)]
pub(super) struct BoundKey {
    key: KeyId,
    columns: Arc<KeyColumns>,
    /// For each column of the key the place of its comparison among the parts of the predicate.
    places: Vec<usize>,
}

/// What a scan looks for.
#[derive(Debug)]
pub(super) enum Sought {
    /// The row with a key.
    Key(PointKey),
    /// A key with a NULL, which equals nothing.
    Nothing,
}

impl BoundKey {
    /// The first unique key of which the predicate of a request binds all columns.
    pub fn of(collection: &Collection, request: &ScanRequest) -> Option<Self> {
        let predicate = request.predicate.as_ref().filter(|_| request.prune)?;
        let parts = split_conjunction(predicate);
        let compared = parts.iter().map(|part| {
            let (column, _) = comparison(part)?;
            field_of(column, &request.table)
        });
        let compared: Vec<Option<FieldId>> = compared.collect();
        let place = |field: &FieldId| compared.iter().position(|of| *of == Some(*field));
        let bound = |key: UniqueKey| {
            let places = key.fields.iter().map(place).collect::<Option<Vec<_>>>()?;
            Some(Self {
                key: key.id,
                columns: Arc::new(KeyColumns::try_new(collection, key).ok()?),
                places,
            })
        };
        let keys = collection.unique_keys().into_iter();
        keys.filter(|key| key.computed.is_none()).find_map(bound)
    }

    /// The name of the key's constraint.
    pub fn name(&self) -> &str {
        self.columns.name()
    }

    /// What to look for in a version of the collection, when the predicate has values; `None` when it has none (yet), and
    /// when the key is not there any more.
    pub fn sought(
        &self,
        collection: &Collection,
        predicate: &Arc<dyn PhysicalExpr>,
    ) -> Option<Sought> {
        if !self.is_key_of(collection) {
            return None;
        }
        let parts = split_conjunction(predicate);
        let mut values = Vec::with_capacity(self.places.len());
        for (place, field) in self.places.iter().zip(self.columns.fields()) {
            let (_, value) = comparison(parts.get(*place)?)?;
            let value = value_of(value)?;
            let column = collection.schema.column_by_id(*field)?;
            if value.data_type() != column.column_type.arrow_type() {
                return None;
            }
            if value.is_null() {
                return Some(Sought::Nothing);
            }
            values.push(value);
        }
        let key = PointKey::new(&self.columns, &values).ok()?;
        Some(Sought::Key(key))
    }

    fn is_key_of(&self, collection: &Collection) -> bool {
        let fields = self.columns.fields();
        match self.key {
            KeyId::Primary => collection.schema.primary_key == fields,
            KeyId::Index(id) => collection.indexes().iter().any(|i| i.id == id),
        }
    }
}

/// The sides of `column = value` or `value = column`, where the value is the same for all rows.
fn comparison(part: &Arc<dyn PhysicalExpr>) -> Option<(&Column, &Arc<dyn PhysicalExpr>)> {
    let equality = part.downcast_ref::<BinaryExpr>();
    let equality = equality.filter(|e| *e.op() == Operator::Eq)?;
    let sides = [
        (equality.left(), equality.right()),
        (equality.right(), equality.left()),
    ];
    sides.into_iter().find_map(|(column, value)| {
        let column = column.downcast_ref::<Column>()?;
        let is_value = collect_columns(value).is_empty() && !is_volatile(value);
        is_value.then_some((column, value))
    })
}

fn field_of(column: &Column, table: &SchemaRef) -> Option<FieldId> {
    field_id(table.fields().get(column.index())?)
}

fn value_of(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Some(literal.value().clone());
    }
    // What fails says so when the filter above is evaluated, if there is a row.
    constant(expr).ok()
}
