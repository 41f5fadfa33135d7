//! What happens to rows whose parent goes: CASCADE, SET NULL and SET DEFAULT, as statements of their own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Schema};
use roaring::RoaringBitmap;

use super::brought::referring_columns;
use super::children::{keys_of_child, rows_of_child};
use super::replaced::Replaced;
use super::rules::ChildRules;
use crate::catalog::keys::{Found, Removed, look_up};
use crate::catalog::row_rules::RowRules;
use crate::catalog::sink::{NewRows, Sink};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::{ForeignKey, ReferentialAction};
use crate::storage::schema::{CollectionId, FieldId};
use crate::storage::snapshot::Snapshot;

/// How often new keys may be handed on: foreign keys may go in a circle.
const DEPTH_MAX: u32 = 100;

/// Something that is done about the rows which refer to some keys.
#[derive(Debug, Clone)]
pub struct Act {
    child: CollectionId,
    key: ForeignKey,
    /// The keys that were referred to, their columns in the order of the foreign key.
    values: Vec<ArrayRef>,
    deed: Deed,
    depth: u32,
}

/// What is done.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// They go.
    Delete,
    /// These columns become NULL, or their defaults.
    Set(ReferentialAction, Vec<FieldId>),
    /// They refer to the keys that come in place of those, in the same order.
    Follow(Vec<ArrayRef>),
}

/// What an act does, as a statement.
pub struct Done {
    /// The rows that come.
    pub new: NewRows,
    /// The rows that go.
    pub removed: Arc<Removed>,
    /// How often keys were handed on.
    pub depth: u32,
}

impl Act {
    pub(super) fn new(
        child: CollectionId,
        key: &ForeignKey,
        values: Vec<ArrayRef>,
        deed: Deed,
        depth: u32,
    ) -> Self {
        Self {
            child,
            key: key.clone(),
            values,
            deed,
            depth,
        }
    }

    /// The statement that does it to the rows of the snapshot; none where no row refers to the keys.
    ///
    /// # Errors
    /// 23502, 23514 or another for a row that may not become so, 54001 where foreign keys go in a circle, 53200, and those
    /// of reading and writing segments.
    pub async fn rows(
        &self,
        engine: &Arc<Engine>,
        snapshot: &Arc<Snapshot>,
        rules: &ChildRules,
        zone: Zone,
    ) -> Result<Option<Done>> {
        let child = snapshot.collection_by_id(self.child);
        let child = child.ok_or_else(|| Error::conflict("a table that refers was dropped"))?;
        let found = self.found(engine, child).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let removed = found.iter().map(|found| {
            let rows = found.rows.iter().map(|(row, _)| *row);
            (found.segment, rows.collect::<RoaringBitmap>())
        });
        let removed = Arc::new(removed.collect::<Removed>());
        let rows = match self.deed {
            Deed::Delete => RowRules::default(),
            _ => rules.rows(child)?,
        };
        let mut sink = Sink::try_new(Arc::clone(engine), Arc::clone(child), rows, zone)?;
        let mut replaced = Replaced::of(child, snapshot);
        if let Some(becomes) = self.becomes(child, rules)? {
            for found in &found {
                let stored = sink.push(&becomes.apply(child, found)?).await?;
                if !replaced.is_needless() {
                    let places = found.rows.iter();
                    let places = places.map(|(row, _)| Some((found.segment, *row)));
                    replaced.add(places, &stored, child)?;
                }
            }
        }
        let new = sink.finish().await?.in_place_of(replaced);
        // Rows that are deleted come to an end.
        let depth = self.depth + u32::from(!matches!(self.deed, Deed::Delete));
        if depth > DEPTH_MAX {
            let message = format!("keys are handed on more than {DEPTH_MAX} times");
            let hint = "Foreign keys with ON UPDATE CASCADE refer to each other in a circle.";
            return Err(Error::limit(sqlstate::STATEMENT_TOO_COMPLEX, message).with_hint(hint));
        }
        Ok(Some(Done {
            new,
            removed,
            depth,
        }))
    }

    /// The rows that refer to the keys; with all of their columns, unless they go.
    async fn found(&self, engine: &Arc<Engine>, child: &Arc<Collection>) -> Result<Vec<Found>> {
        let fields: Vec<FieldId> = match self.deed {
            Deed::Delete => Vec::new(),
            _ => child
                .schema
                .columns
                .iter()
                .map(|column| column.id)
                .collect(),
        };
        let columns = referring_columns(child, &self.key)?;
        let keys = keys_of_child(child, &self.key, columns, &self.values)?;
        let (engine, child) = (Arc::clone(engine), Arc::clone(child));
        let found = look_up(false, move || {
            keys.found(&engine, &child, &fields, &Removed::new())
        });
        let mut found = found.await?;
        found.retain(|found| !found.rows.is_empty());
        Ok(found)
    }

    fn becomes(&self, child: &Collection, rules: &ChildRules) -> Result<Option<Becomes>> {
        let columns = match &self.deed {
            Deed::Delete => return Ok(None),
            Deed::Set(ReferentialAction::SetNull, fields) => {
                fields.iter().map(|id| (*id, New::Null)).collect()
            }
            Deed::Set(_, fields) => {
                let default = |id: &FieldId| Ok((*id, New::Same(rules.default_of(child, *id)?)));
                fields.iter().map(default).collect::<Result<_>>()?
            }
            Deed::Follow(new) => {
                let pairs = self.key.columns.iter().zip(new);
                pairs
                    .map(|(id, new)| (*id, New::ByKey(Arc::clone(new))))
                    .collect()
            }
        };
        Ok(Some(Becomes {
            columns,
            places: self.places(child)?,
        }))
    }

    /// The place of each key by its hash, where keys have followers.
    fn places(&self, child: &Collection) -> Result<HashMap<u128, u32>> {
        if !matches!(self.deed, Deed::Follow(_)) {
            return Ok(HashMap::new());
        }
        let columns = referring_columns(child, &self.key)?;
        let (rows, fits) = rows_of_child(child, &self.key, &self.values)?;
        let hashes = columns.hash(&columns.of_rows(&rows)?)?;
        let fitting = (0..)
            .zip(fits.iter())
            .filter(|(_, fits)| *fits == Some(true));
        let places = hashes.into_iter().zip(fitting.map(|(place, _)| place));
        Ok(places.collect())
    }
}

/// What columns of a row become.
struct Becomes {
    columns: HashMap<FieldId, New>,
    places: HashMap<u128, u32>,
}

/// The new values of a column.
enum New {
    Null,
    /// One for all rows, as an array of one.
    Same(ArrayRef),
    /// By the place of the key that the row refers to.
    ByKey(ArrayRef),
}

impl Becomes {
    /// Rows with these columns as they become.
    fn apply(&self, child: &Collection, found: &Found) -> Result<RecordBatch> {
        let rows = found.rows.len();
        let places = found
            .rows
            .iter()
            .map(|(_, hash)| self.places.get(hash).copied());
        let places: UInt32Array = places.collect();
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (column, before) in child.schema.columns.iter().zip(found.columns.columns()) {
            let after = match self.columns.get(&column.id) {
                None => Arc::clone(before),
                Some(New::Null) => new_null_array(before.data_type(), rows),
                Some(New::Same(value)) => take(value, &UInt32Array::from(vec![0; rows]), None)?,
                Some(New::ByKey(values)) => take(values, &places, None)?,
            };
            let field = column.arrow_field().with_nullable(true);
            fields.push(Arc::new(field.with_data_type(after.data_type().clone())));
            columns.push(after);
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }
}
