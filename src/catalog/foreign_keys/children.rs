//! The keys that rows which go take from those that refer to them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array, new_empty_array};
use arrow::compute::{filter, take};
use arrow::datatypes::Field;

use super::act::{Act, Deed};
use super::brought::referring_columns;
use super::check::{Check, Side};
use super::parents::{fields_of, in_order_of};
use super::values::{joined, rows_as};
use super::violations::is_referred_to;
use super::{Links, Moment};
use crate::catalog::keys::{KeyColumns, NewKeys, Removed, short};
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::fetch::{growing_rows, sealed_rows};
use crate::storage::foreign_key::{ForeignKey, ReferentialAction};
use crate::storage::schema::{FieldId, SegmentId};
use crate::storage::unique::KeyId;

/// The keys that a statement takes from a collection that others refer to: those of rows that go, but for those that
/// come again with the same row.
pub(super) struct Taken {
    columns: KeyColumns,
    /// The columns of the keys, in the order of the unique key.
    values: Vec<ArrayRef>,
    hashes: Vec<u64>,
    fates: Vec<Fate>,
    /// The columns of the keys that come in place of some.
    new: Vec<ArrayRef>,
}

/// What becomes of a key that is taken.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Whether no other row has it now.
    is_gone: bool,
    /// The place among new keys of the one that the row has now, unless the row is deleted.
    becomes: Option<usize>,
}

impl Taken {
    /// The keys of one of the collection's unique keys. Reads files.
    ///
    /// # Errors
    /// 40001 when the key is gone, XX001 or 58030 for segments that cannot be read.
    pub fn of(links: &Links, collection: &Collection, key: KeyId) -> Result<Self> {
        let columns = KeyColumns::of(collection, key)?;
        let empty = |field: Field| new_empty_array(field.data_type());
        let empty = fields_of(collection, columns.fields())
            .into_iter()
            .map(empty);
        let mut parts: Vec<Vec<ArrayRef>> = vec![empty.collect()];
        let new = links.replaced.rows.iter().map(|rows| columns.of_rows(rows));
        let new: Vec<Vec<ArrayRef>> = new.collect::<Result<_>>()?;
        let new = joined(parts.iter().chain(&new))?;
        let new_hashes = columns.hash(&new)?;
        let come = links.new_keys(key);
        let (mut hashes, mut fates) = (Vec::new(), Vec::new());
        for (segment, places) in links
            .removed
            .iter()
            .filter(|(_, places)| !places.is_empty())
        {
            let places: Vec<u32> = places.iter().collect();
            let rows = rows_at(
                &links.engine,
                collection,
                columns.fields(),
                *segment,
                &places,
            )?;
            let values = columns.of_rows(&rows)?;
            let mut is_taken = Vec::with_capacity(places.len());
            for (row, hash) in columns.hash(&values)?.into_iter().enumerate() {
                let becomes = links.replaced.place(*segment, places[row]);
                // Nothing refers to a key with a NULL.
                let counts = values.iter().all(|column| column.is_valid(row));
                let is_gone = !come.is_some_and(|come| come.has(hash));
                let stays = match becomes {
                    Some(new) => new_hashes[new] == hash,
                    None => !is_gone,
                };
                is_taken.push(counts && !stays);
                if counts && !stays {
                    hashes.push(short(hash));
                    fates.push(Fate { is_gone, becomes });
                }
            }
            let is_taken = BooleanArray::from(is_taken);
            let taken = values.iter().map(|column| Ok(filter(column, &is_taken)?));
            parts.push(taken.collect::<Result<Vec<ArrayRef>>>()?);
        }
        Ok(Self {
            values: joined(&parts)?,
            columns,
            hashes,
            fates,
            new,
        })
    }

    /// Of which unique key.
    pub fn key(&self) -> KeyId {
        self.columns.key()
    }

    /// The sorted hashes by which the committer finds transactions that need one of them.
    pub fn hashes(taken: &[Self]) -> Arc<Vec<u64>> {
        let all = taken.iter().flat_map(|taken| &taken.hashes);
        let mut all: Vec<u64> = all.copied().collect();
        all.sort_unstable();
        Arc::new(all)
    }

    /// What a foreign key does about rows that refer to some of the keys.
    ///
    /// # Errors
    /// None in practice.
    pub fn acts(&self, child: &Collection, key: &ForeignKey, depth: u32) -> Result<Vec<Act>> {
        let mut acts = Vec::new();
        let on_delete = |fate: &Fate| fate.becomes.is_none() && !key.on_delete.refuses();
        let deleted = self.places(on_delete);
        if !deleted.is_empty() {
            let deed = match (key.on_delete, key.set_on_delete.as_slice()) {
                (ReferentialAction::Cascade, _) => Deed::Delete,
                (action, []) => Deed::Set(action, key.columns.clone()),
                (action, some) => Deed::Set(action, some.to_vec()),
            };
            let values = self.in_order_of(key, &self.values, &deleted)?;
            acts.push(Act::new(child.id, key, values, deed, depth));
        }
        let on_update = |fate: &Fate| fate.becomes.is_some() && !key.on_update.refuses();
        let updated = self.places(on_update);
        if !updated.is_empty() {
            let deed = match key.on_update {
                ReferentialAction::Cascade => {
                    let new = updated
                        .iter()
                        .filter_map(|at| self.fates[*at as usize].becomes);
                    let new: Vec<u64> = new.map(|place| place as u64).collect();
                    Deed::Follow(self.in_order_of(key, &self.new, &new)?)
                }
                action => Deed::Set(action, key.columns.clone()),
            };
            let values = self.in_order_of(key, &self.values, &updated)?;
            acts.push(Act::new(child.id, key, values, deed, depth));
        }
        Ok(acts)
    }

    /// The keys that a foreign key does not let go as long as something refers to them, by an action that is as asked.
    pub fn refused(
        &self,
        key: &ForeignKey,
        asked: impl Fn(ReferentialAction) -> bool,
    ) -> Result<Option<Vec<ArrayRef>>> {
        let refuses = |fate: &Fate| {
            let action = match fate.becomes {
                Some(_) => key.on_update,
                None => key.on_delete,
            };
            fate.is_gone && action.refuses() && asked(action)
        };
        match self.places(refuses) {
            places if places.is_empty() => Ok(None),
            places => self.in_order_of(key, &self.values, &places).map(Some),
        }
    }

    fn places(&self, is: impl Fn(&Fate) -> bool) -> Vec<u64> {
        let fates = (0..).zip(&self.fates);
        fates
            .filter(|(_, fate)| is(fate))
            .map(|(at, _)| at)
            .collect()
    }

    /// Some of the keys, their columns in the order of the foreign key.
    fn in_order_of(
        &self,
        key: &ForeignKey,
        values: &[ArrayRef],
        places: &[u64],
    ) -> Result<Vec<ArrayRef>> {
        let places = UInt64Array::from(places.to_vec());
        let some = values.iter().map(|column| Ok(take(column, &places, None)?));
        let some = some.collect::<Result<Vec<ArrayRef>>>()?;
        in_order_of(&key.referred, self.columns.fields(), &some)
    }
}

/// That no row of `child`, those of `removed` apart, refers to one of these keys of `parent`, whose columns are in the
/// order of the foreign key. Reads files.
///
/// # Errors
/// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
pub(super) fn check_unreferred(
    engine: &Engine,
    parent: &Collection,
    child: &Collection,
    key: &ForeignKey,
    values: &[ArrayRef],
    removed: &Removed,
) -> Result<()> {
    let names = key.referred.iter();
    let names = names.filter_map(|id| parent.schema.column_by_id(*id));
    let names = names.map(|column| column.name.clone()).collect();
    let columns = referring_columns(child, key)?.under_names(names);
    let keys = keys_of_child(child, key, columns, values)?;
    match keys.present(engine, child, removed)? {
        Some(text) => Err(is_referred_to(parent, child, key, &text)),
        None => Ok(()),
    }
}

/// Keys as the columns of a child have them that refer to them, sorted: those that these columns can have.
///
/// # Errors
/// None in practice.
pub(super) fn keys_of_child(
    child: &Collection,
    key: &ForeignKey,
    columns: KeyColumns,
    values: &[ArrayRef],
) -> Result<NewKeys> {
    let (rows, _) = rows_of_child(child, key, values)?;
    let mut keys = NewKeys::new(columns);
    keys.add(&rows)?;
    keys.sort();
    Ok(keys)
}

/// Keys as rows of the columns of a child that refer to them: those that these columns can have, and of each key
/// whether it is among them.
///
/// # Errors
/// None in practice.
pub(super) fn rows_of_child(
    child: &Collection,
    key: &ForeignKey,
    values: &[ArrayRef],
) -> Result<(RecordBatch, BooleanArray)> {
    rows_as(fields_of(child, &key.columns), values)
}

/// Columns of rows of a segment; the places ascend. Reads files.
///
/// # Errors
/// XX001 or 58030 for a segment that cannot be read.
fn rows_at(
    engine: &Engine,
    collection: &Collection,
    fields: &[FieldId],
    segment: SegmentId,
    places: &[u32],
) -> Result<RecordBatch> {
    if let Some(growing) = collection.growing_segment(segment) {
        return growing_rows(growing, &collection.schema, fields, places);
    }
    let sealed = collection.segment(segment).ok_or_else(|| {
        let name = &collection.name;
        Error::conflict(format!("segment {segment} of \"{name}\" is gone"))
    })?;
    let reader = engine.open_segment(collection, sealed)?;
    Ok(sealed_rows(&reader, &collection.schema, fields, places)?.0)
}

impl Links {
    /// What RESTRICT says of the keys that are taken: it waits for nothing but the other parts of the statement.
    ///
    /// # Errors
    /// 23503 for what is looked at now, and refuses.
    pub(super) fn check_restricted(
        &self,
        collection: &Collection,
        (child, key): (&Collection, &ForeignKey),
        taken: &Taken,
        moment: &Moment,
    ) -> Result<Option<Check>> {
        let restricts = |action| action == ReferentialAction::Restrict;
        let Some(values) = taken.refused(key, restricts)? else {
            return Ok(None);
        };
        if moment.has_parts {
            return Ok(Some(Check::new(Side::Parent, child.id, key, values)));
        }
        let none = Removed::new();
        let is_own = child.id == collection.id;
        let removed = if is_own { &*self.removed } else { &none };
        check_unreferred(&self.engine, collection, child, key, &values, removed).map(|()| None)
    }

    /// What NO ACTION says of the keys that are taken, and when.
    ///
    /// # Errors
    /// 23503 for what is looked at now, and refuses.
    pub(super) fn check_taken(
        &self,
        collection: &Collection,
        (child, key): (&Collection, &ForeignKey),
        taken: &Taken,
        waits: bool,
    ) -> Result<Option<Check>> {
        let none = Removed::new();
        let is_own = child.id == collection.id;
        let removed = if is_own { &*self.removed } else { &none };
        let now = |values: &[ArrayRef]| {
            check_unreferred(&self.engine, collection, child, key, values, removed)
        };
        match taken.refused(key, |action| action == ReferentialAction::NoAction)? {
            Some(values) if waits => Ok(Some(Check::new(Side::Parent, child.id, key, values))),
            Some(values) => now(&values).map(|()| None),
            None => Ok(None),
        }
    }
}
