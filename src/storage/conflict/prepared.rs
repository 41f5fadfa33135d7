//! Transactions on their way to the one that judges them.

use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{Change, Replace};
use crate::storage::codec::Record;
use crate::storage::deletes::{Starts, check_map};
use crate::storage::log::FRAME_BYTES_MAX;
use crate::storage::schema::{SegmentId, Version};
use crate::storage::transaction::{Durability, KeyUse, RowMap, Transaction};

/// The most bytes that one transaction may bring: half a frame, so that those it is grouped with fit too.
const COMMIT_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// A transaction with its changes encoded by its caller's thread.
#[derive(Debug)]
pub(in crate::storage) struct Prepared {
    pub(super) read_version: Version,
    pub(super) changes: Vec<(Change, Record)>,
    pub(super) row_maps: Vec<RowMap>,
    pub(super) keys: KeyUse,
    pub(in crate::storage) durability: Durability,
    /// About how many bytes it takes in the log.
    pub(in crate::storage) bytes: usize,
}

impl Prepared {
    /// Encodes a transaction, and checks what needs no snapshot.
    pub(in crate::storage) fn new(transaction: Transaction) -> Result<Self> {
        let mut prepared = Self {
            read_version: transaction.read_version,
            changes: Vec::with_capacity(transaction.changes.len()),
            row_maps: transaction.row_maps,
            keys: transaction.keys,
            durability: transaction.durability,
            bytes: 0,
        };
        for change in transaction.changes {
            if let Change::Replace(replace) = &change {
                check_replace(replace, &prepared.row_maps)?;
            }
            let record = Record::of_change(&change)?;
            prepared.bytes += record.len();
            prepared.changes.push((change, record));
        }
        if prepared.bytes > COMMIT_BYTES_MAX {
            let bytes = prepared.bytes;
            let message = format!("the transaction has {bytes} bytes, too many for one commit");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Load large data with COPY, or split the transaction."));
        }
        Ok(prepared)
    }

    /// Whether there is nothing to do.
    pub(in crate::storage) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Where the rows of an input of its went.
    ///
    /// # Errors
    /// XX000 when it does not say so.
    pub(super) fn row_map(&self, input: SegmentId) -> Result<&RowMap> {
        let found = self.row_maps.iter().find(|m| m.input == input);
        found.ok_or_else(|| no_row_map(input))
    }
}

fn check_replace(replace: &Replace, row_maps: &[RowMap]) -> Result<()> {
    let written = Starts::of(&replace.outputs).rows();
    let mut carried = 0;
    for input in &replace.inputs {
        let found = row_maps.iter().find(|m| m.input == *input);
        let map = found.ok_or_else(|| no_row_map(*input))?;
        check_map(map, written)?;
        carried += map.to.rows() - map.read_deletes.len();
    }
    if carried == written {
        return Ok(());
    }
    let message = format!("a replace carries {carried} rows into segments of {written} rows");
    Err(Error::internal(message))
}

fn no_row_map(input: SegmentId) -> Error {
    Error::internal(format!("segment {input} is replaced without a row map"))
}
