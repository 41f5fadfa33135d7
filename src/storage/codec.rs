//! Bytes of records: JSON for what is small and named, binary attachments for rows and bitmaps.
//!
//! ```text
//! record  = json length u32 | attachments u32 | json | pad | attachment*       pad to 8 bytes, all little-endian
//! attachment = length u64 | bytes | pad
//! commit  = version u64 | timestamp i64 | changes u64 | record*                one record per change
//! ```
//! Rows are an Arrow IPC stream of one batch; deletes are a bitmap in roaring's portable format.
//! A checksum guards these bytes from outside, so a record that cannot be read was never written by us: every
//! length is checked against the bytes that are there, and what does not fit is XX001.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow::record_batch::RecordBatch;
use roaring::RoaringBitmap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::change::{Change, Commit, NewSegment};
use super::key_model::KeyModel;
use super::schema::Version;
use crate::error::{Error, Result, sqlstate};

/// Bytes that attachments start at a multiple of, so that Arrow can use them where they lie.
const ALIGNMENT: usize = 8;
/// The most bytes that one record's JSON may have.
const JSON_BYTES_MAX: usize = 1 << 30;
/// The end of an Arrow IPC stream: a message of no bytes.
const STREAM_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

thread_local! {
    /// The schema of the rows that the thread encoded last, and how streams of it begin: rows of a collection come again
    /// and again, few at a time, and their schema takes longer than they do.
    static LAST_SCHEMA: RefCell<Option<(SchemaRef, Vec<u8>)>> = const { RefCell::new(None) };
}

/// A record as it will be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    json: Vec<u8>,
    attachments: Vec<Vec<u8>>,
}

impl Record {
    /// A record of `value` with the given attachments.
    pub(super) fn new(value: &impl Serialize, attachments: Vec<Vec<u8>>) -> Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|e| Error::internal(format!("could not encode a log record: {e}")))?;
        if json.len() > JSON_BYTES_MAX {
            let message = "a change is too large for one commit";
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        Ok(Self { json, attachments })
    }

    /// A change as the log has it.
    pub(super) fn of_change(change: &Change) -> Result<Self> {
        let attachments = match change {
            Change::Append(append) => vec![encode_rows(&append.rows)?],
            Change::Delete(_, _, rows) => vec![encode_bitmap(rows)],
            Change::AddSegments(_, segments) => encode_deletes(segments),
            Change::Replace(replace) => encode_deletes(&replace.outputs),
            Change::Train(_, training) => vec![training.model.bytes()],
            _ => Vec::new(),
        };
        Self::new(change, attachments)
    }

    /// The record of a change that differs from the one this record was made of, but has the same rows.
    pub(super) fn with_change(self, change: &Change) -> Result<Self> {
        match change {
            Change::Append(_) => Self::new(change, self.attachments),
            _ => Self::of_change(change),
        }
    }

    /// Bytes that the record takes.
    pub(super) fn len(&self) -> usize {
        let attachments = self.attachments.iter().map(|a| 8 + padded(a.len()));
        8 + padded(self.json.len()) + attachments.sum::<usize>()
    }

    /// Puts the record at the end of `out`, whose length is a multiple of 8.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.json.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.attachments.len() as u32).to_le_bytes());
        put_padded(out, &self.json);
        for attachment in &self.attachments {
            out.extend_from_slice(&(attachment.len() as u64).to_le_bytes());
            put_padded(out, attachment);
        }
    }
}

/// Puts a commit at the end of `out`.
pub(super) fn write_commit(
    out: &mut Vec<u8>,
    version: Version,
    timestamp_ms: i64,
    records: &[Record],
) {
    out.extend_from_slice(&version.0.to_le_bytes());
    out.extend_from_slice(&timestamp_ms.to_le_bytes());
    out.extend_from_slice(&(records.len() as u64).to_le_bytes());
    records.iter().for_each(|r| r.write(out));
}

/// The commits of a frame's payload.
///
/// # Errors
/// XX001 for anything that [`write_commit`] would not have written.
pub(super) fn read_commits(payload: Buffer) -> Result<Vec<Commit>> {
    let mut reader = Reader::new(payload);
    let mut commits = Vec::new();
    while !reader.is_empty() {
        commits.push(read_commit(&mut reader)?);
    }
    Ok(commits)
}

fn read_commit(reader: &mut Reader) -> Result<Commit> {
    let version = Version(reader.u64()?);
    let timestamp_ms = reader.u64()? as i64;
    let count = reader.u64()?;
    let mut changes = Vec::new();
    for _ in 0..count {
        changes.push(read_change(reader)?);
    }
    Ok(Commit {
        version,
        timestamp_ms,
        changes,
    })
}

fn read_change(reader: &mut Reader) -> Result<Change> {
    let (mut change, mut attachments) = reader.record::<Change>()?;
    match &mut change {
        Change::Append(append) => append.rows = attachments.rows()?,
        Change::Delete(_, _, rows) => *rows = attachments.bitmap()?,
        Change::AddSegments(_, segments) => attachments.deletes(segments)?,
        Change::Replace(replace) => attachments.deletes(&mut replace.outputs)?,
        Change::Train(_, training) => attachments.model(&mut training.model)?,
        _ => {}
    }
    attachments.end()?;
    Ok(change)
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Buffer,
}

impl Reader {
    /// A reader of all of `bytes`.
    pub(super) fn new(bytes: Buffer) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next record: its JSON, and what is attached.
    pub(super) fn record<T: DeserializeOwned>(&mut self) -> Result<(T, Attachments)> {
        let lengths = self.u64()?;
        let (json, attachments) = (lengths as u32 as usize, (lengths >> 32) as u32);
        let json = self.padded(json)?;
        let value = serde_json::from_slice(&json)
            .map_err(|e| Error::corrupted(format!("a record cannot be read: {e}")))?;
        let mut read = Vec::new();
        for _ in 0..attachments {
            let length = usize::try_from(self.u64()?).map_err(|_| short())?;
            read.push(self.padded(length)?);
        }
        Ok((
            value,
            Attachments {
                rest: read.into_iter(),
            },
        ))
    }

    fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        let bytes: [u8; 8] = bytes.as_slice().try_into().map_err(|_| short())?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn padded(&mut self, length: usize) -> Result<Buffer> {
        let padding = length.next_multiple_of(ALIGNMENT).checked_sub(length);
        let bytes = self.take(length)?;
        self.take(padding.ok_or_else(short)?)?;
        Ok(bytes)
    }

    fn take(&mut self, length: usize) -> Result<Buffer> {
        if length > self.rest.len() {
            return Err(short());
        }
        let bytes = self.rest.slice_with_length(0, length);
        self.rest = self.rest.slice(length);
        Ok(bytes)
    }
}

/// What is attached to a record, taken in the order in which it was attached.
#[derive(Debug)]
pub(super) struct Attachments {
    rest: std::vec::IntoIter<Buffer>,
}

impl Attachments {
    /// The next attachment as rows.
    pub(super) fn rows(&mut self) -> Result<RecordBatch> {
        decode_rows(self.next()?)
    }

    /// The next attachment as a bitmap.
    pub(super) fn bitmap(&mut self) -> Result<RoaringBitmap> {
        let bytes = self.next()?;
        RoaringBitmap::deserialize_from(bytes.as_slice())
            .map_err(|e| Error::corrupted(format!("a bitmap cannot be read: {e}")))
    }

    /// The next attachment as what a model has besides its JSON.
    pub(super) fn model(&mut self, model: &mut KeyModel) -> Result<()> {
        model.set_bytes(&self.next()?)
    }

    /// How many attachments are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// That nothing is left.
    pub(super) fn end(mut self) -> Result<()> {
        match self.rest.next() {
            None => Ok(()),
            Some(_) => Err(Error::corrupted(
                "a record has more attachments than its kind",
            )),
        }
    }

    fn deletes(&mut self, segments: &mut [NewSegment]) -> Result<()> {
        for segment in segments {
            segment.deletes = self.bitmap()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Buffer> {
        self.rest
            .next()
            .ok_or_else(|| Error::corrupted("a record lacks an attachment"))
    }
}

/// Rows as an Arrow IPC stream of one batch; fields keep their metadata.
pub(super) fn encode_rows(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut stream = begin_stream(rows.schema_ref())?;
    let options = IpcWriteOptions::default();
    // No column has a dictionary.
    let mut dictionaries = DictionaryTracker::new(false);
    let mut context = IpcWriteContext::default();
    let generator = IpcDataGenerator::default();
    let (_, batch) = generator.encode(rows, &mut dictionaries, &options, &mut context)?;
    write_message(&mut stream, batch, &options)?;
    stream.extend_from_slice(&STREAM_END);
    Ok(stream)
}

/// The beginning of an Arrow IPC stream: its schema.
fn begin_stream(schema: &SchemaRef) -> Result<Vec<u8>> {
    LAST_SCHEMA.with_borrow_mut(|last| match last {
        Some((known, begin)) if Arc::ptr_eq(known, schema) => Ok(begin.clone()),
        _ => {
            let (_, begin) = last.insert((Arc::clone(schema), encode_schema(schema)?));
            Ok(begin.clone())
        }
    })
}

fn encode_schema(schema: &SchemaRef) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let generator = IpcDataGenerator::default();
    let message =
        generator.schema_to_bytes_with_dictionary_tracker(schema, &mut dictionaries, &options);
    let mut bytes = Vec::new();
    write_message(&mut bytes, message, &options)?;
    Ok(bytes)
}

fn decode_rows(bytes: Buffer) -> Result<RecordBatch> {
    let wrong = |why: &str| Error::corrupted(format!("rows cannot be read: {why}"));
    // Arrow's reader asserts some of what it expects; behind our checksum only bytes made on purpose come so far.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_stream(bytes)));
    match decoded {
        Ok(Ok(Some(rows))) => Ok(rows),
        Ok(Ok(None)) => Err(wrong("there is not exactly one batch")),
        Ok(Err(e)) => Err(wrong(&e.to_string())),
        Err(_) => Err(wrong("they are malformed")),
    }
}

/// The only batch of a stream. The push decoder allocates by what is there, never by what a length says.
fn decode_stream(
    mut bytes: Buffer,
) -> std::result::Result<Option<RecordBatch>, arrow::error::ArrowError> {
    let mut decoder = StreamDecoder::new();
    let first = decoder.decode(&mut bytes)?;
    let second = decoder.decode(&mut bytes)?;
    decoder.finish()?;
    Ok(first.filter(|_| second.is_none()))
}

/// A bitmap in roaring's portable format.
pub(super) fn encode_bitmap(rows: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bytes)
        .expect("invariant: a vector takes all bytes");
    bytes
}

fn encode_deletes(segments: &[NewSegment]) -> Vec<Vec<u8>> {
    segments.iter().map(|s| encode_bitmap(&s.deletes)).collect()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn put_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len() + padded(bytes.len()) - bytes.len(), 0);
}

fn short() -> Error {
    Error::corrupted("a record is longer than its bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{ArrayRef, StringArray};
    use arrow::ipc::writer::StreamWriter;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::change::{Append, Replace};
    use crate::storage::schema::{CollectionId, SegmentId};
    use crate::storage::testing::{new_collection, new_segment, rows, training};

    fn sample() -> Vec<Change> {
        let mut output = new_segment(9, 100);
        output.deletes = (3..7).collect();
        vec![
            Change::CreateCollection(new_collection(1, "book")),
            Change::Append(Append {
                collection: CollectionId(1),
                segment: SegmentId(2),
                rows: rows(&[1, 2, 3]),
            }),
            Change::Delete(CollectionId(1), SegmentId(2), [0, 70_000].into()),
            Change::Train(CollectionId(1), training()),
            Change::Replace(Replace {
                collection: CollectionId(1),
                inputs: vec![SegmentId(2)],
                outputs: vec![output, new_segment(10, 1)],
            }),
        ]
    }

    #[test]
    fn rows_are_a_stream_as_arrow_writes_it_whatever_was_encoded_before() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let others = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        for rows in [&rows(&[1, 2]), &others, &others, &rows(&[]), &rows(&[3])] {
            let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
            writer.write(rows).unwrap();
            writer.finish().unwrap();
            let stream = writer.into_inner().unwrap();
            assert_eq!(encode_rows(rows).unwrap(), stream);
        }
    }

    fn encode(changes: &[Change]) -> Vec<u8> {
        let records: Vec<_> = changes
            .iter()
            .map(|c| Record::of_change(c).unwrap())
            .collect();
        let mut bytes = Vec::new();
        write_commit(&mut bytes, Version(7), -5, &records);
        let length: usize = records.iter().map(Record::len).sum();
        assert_eq!(bytes.len(), 24 + length);
        bytes
    }

    #[test]
    fn a_commit_reads_back_with_rows_metadata_and_deletes() {
        let changes = sample();
        let mut bytes = encode(&changes);
        bytes.extend(encode(&changes[..1]));
        let commits = read_commits(Buffer::from(bytes)).unwrap();
        assert_eq!(commits.len(), 2);
        assert_eq!(
            (commits[0].version, commits[0].timestamp_ms),
            (Version(7), -5)
        );
        for (found, expected) in commits[0].changes.iter().zip(&changes) {
            match (found, expected) {
                (Change::Append(found), Change::Append(expected)) => {
                    assert_eq!(found.segment, expected.segment);
                    assert_eq!(found.rows, expected.rows);
                    assert_eq!(found.rows.schema(), expected.rows.schema());
                }
                _ => assert_eq!(format!("{found:?}"), format!("{expected:?}")),
            }
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = encode(&sample());
        for length in 1..bytes.len() {
            let error = read_commits(Buffer::from(&bytes[..length])).unwrap_err();
            assert_eq!(error.sqlstate(), "XX001", "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn malformed_bytes_never_panic(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..9)) {
            let mut damaged = encode(&sample());
            let at = at.index(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged[at..end].copy_from_slice(&bytes[..end - at]);
            if let Err(error) = read_commits(Buffer::from(damaged)) {
                prop_assert_eq!(error.sqlstate(), "XX001");
            }
        }
    }
}
