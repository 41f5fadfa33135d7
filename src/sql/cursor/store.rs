//! The cursors of a session by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::rows::{Rows, Scroll};
use crate::error::{Error, Result, sqlstate};
use crate::sql::output_names::OutputNames;
use crate::sql::session::Session;

/// The most cursors of a session.
const CURSORS_MAX: usize = 1_000;

/// A row of `pg_cursors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRow {
    /// Its name.
    pub name: String,
    /// The statement that declared it.
    pub statement: String,
    /// Whether it outlives its transaction.
    pub is_holdable: bool,
    /// Whether its values are fetched in binary.
    pub is_binary: bool,
    /// Whether it goes back.
    pub is_scrollable: bool,
    /// When it was declared.
    pub created: SystemTime,
}

/// An open cursor.
#[derive(Clone)]
pub(in crate::sql) struct Cursor {
    pub(super) shown: CursorRow,
    pub(super) schema: SchemaRef,
    /// The names of its columns.
    pub(in crate::sql) names: OutputNames,
    pub(super) rows: Arc<tokio::sync::Mutex<Rows>>,
    /// Of the block that declared it, how many savepoints it had; `None` when that block has ended.
    savepoints: Option<usize>,
}

impl Cursor {
    pub(super) fn new(
        shown: CursorRow,
        (schema, names): (SchemaRef, OutputNames),
        rows: Rows,
        savepoints: Option<usize>,
    ) -> Self {
        Self {
            shown,
            schema,
            names,
            rows: Arc::new(tokio::sync::Mutex::new(rows)),
            savepoints,
        }
    }
}

/// The open cursors of a session.
#[derive(Default)]
pub(in crate::sql) struct Cursors {
    open: Mutex<BTreeMap<String, Cursor>>,
}

impl Cursors {
    /// That a cursor of that name can be declared.
    ///
    /// # Errors
    /// 42P03 when there is one, 54000 when there are too many.
    pub(super) fn check_new(&self, name: &str) -> Result<()> {
        let open = self.open.lock();
        if open.contains_key(name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(Error::exists(sqlstate::DUPLICATE_CURSOR, message));
        }
        if open.len() >= CURSORS_MAX {
            let message = format!("a session can have at most {CURSORS_MAX} cursors");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        Ok(())
    }

    pub(super) fn insert(&self, name: &str, cursor: Cursor) {
        self.open.lock().insert(name.to_string(), cursor);
    }

    /// The cursor of that name.
    ///
    /// # Errors
    /// 34000 when there is none.
    pub(in crate::sql) fn get(&self, name: &str) -> Result<Cursor> {
        let found = self.open.lock().get(name).cloned();
        found.ok_or_else(|| unknown(name))
    }

    /// CLOSE.
    ///
    /// # Errors
    /// 34000 when there is none.
    pub(super) fn close(&self, name: &str) -> Result<()> {
        let closed = self.open.lock().remove(name);
        closed.map(drop).ok_or_else(|| unknown(name))
    }

    /// CLOSE ALL.
    pub(in crate::sql) fn close_all(&self) {
        self.open.lock().clear();
    }

    /// Ends the block: what it declared goes, but for cursors WITH HOLD of a block that commits.
    pub(in crate::sql) fn end_block(&self, commit: bool) {
        self.open.lock().retain(|_, cursor| {
            let stays = cursor.savepoints.is_none() || commit && cursor.shown.is_holdable;
            cursor.savepoints = None;
            stays
        });
    }

    /// Forgets all but the first `kept` savepoints.
    pub(in crate::sql) fn release(&self, kept: usize) {
        for cursor in self.open.lock().values_mut() {
            cursor.savepoints = cursor.savepoints.map(|savepoints| savepoints.min(kept));
        }
    }

    /// Closes what was declared after the last of the first `kept` savepoints.
    pub(in crate::sql) fn roll_back_to(&self, kept: usize) {
        let mut open = self.open.lock();
        open.retain(|_, cursor| cursor.savepoints.is_none_or(|savepoints| savepoints < kept));
    }

    fn rows(&self) -> Vec<CursorRow> {
        let open = self.open.lock();
        open.values().map(|cursor| cursor.shown.clone()).collect()
    }
}

impl Session {
    /// The rows of `pg_cursors`.
    pub fn cursors(&self) -> Vec<CursorRow> {
        self.inner.cursors.rows()
    }

    /// The columns of an open cursor, which clients may describe like a portal.
    ///
    /// # Errors
    /// 34000 when there is none of that name.
    pub fn cursor_schema(&self, name: &str) -> Result<SchemaRef> {
        let cursor = self.inner.cursors.get(name)?;
        Ok(cursor.names.apply(&cursor.schema))
    }
}

impl Scroll {
    /// Whether `pg_cursors` says that the cursor goes back.
    pub(super) fn is_scrollable(self) -> bool {
        self != Self::Never
    }
}

fn unknown(name: &str) -> Error {
    let message = format!("cursor \"{name}\" does not exist");
    Error::not_found(sqlstate::INVALID_CURSOR_NAME, message)
}
