//! Arrow files of anybody: what they say of their own lengths is checked before memory is taken for it.
//!
//! An Arrow file is a stream between two magic words, with a table of its batches behind: it is read as the stream that
//! it is. arrow's own readers take as much memory as a damaged file asks for, and a process that asks for too much is
//! ended.

use std::collections::HashMap;
use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{Message, MessageHeader, MetadataVersion, root_as_message};
use arrow::record_batch::{RecordBatch, RecordBatchReader};

type Result<T> = std::result::Result<T, ArrowError>;

/// What a file begins with; a stream does not.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// What comes before the length of a message since version 0.15.
const CONTINUATION: u32 = u32::MAX;
/// The bytes before a compressed buffer that say how long it was.
const LENGTH_BYTES: usize = 8;
/// The most bytes of one buffer that was compressed: what 32-bit offsets of texts reach.
const BUFFER_BYTES_MAX: i64 = i32::MAX as i64;

/// The batches of an Arrow file or stream.
pub(super) struct ArrowReader<R> {
    input: R,
    /// A file ends with a mark, a stream where its bytes end.
    is_file: bool,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    ended: bool,
}

impl<R: Read> ArrowReader<BufReader<std::io::Chain<Cursor<Vec<u8>>, R>>> {
    /// Reads the schema.
    ///
    /// # Errors
    /// When this is no Arrow file.
    pub(super) fn try_new(mut input: R) -> Result<Self> {
        let mut head = Vec::new();
        input
            .by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut head)?;
        let is_file = head == MAGIC;
        if is_file {
            head.clear();
        }
        let mut input = BufReader::new(Cursor::new(head).chain(input));
        let mut word = read_word(&mut input)?;
        while is_file && word == Some(0) {
            // Zeros that bring the first message to an even address.
            word = read_word(&mut input)?;
        }
        let first = RawMessage::read_behind(word, &mut input, is_file)?;
        let first = first.ok_or_else(|| broken("it is empty"))?;
        let schema = first.message()?.header_as_schema();
        let schema = schema.ok_or_else(|| broken("it does not begin with a schema"))?;
        let schema = without_panic::<_, ArrowError>(|| Ok(fb_to_schema(schema)))?;
        Ok(Self {
            input,
            is_file,
            schema: Arc::new(schema),
            dictionaries: HashMap::new(),
            ended: false,
        })
    }
}

impl<R: Read> ArrowReader<R> {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(raw) = RawMessage::read(&mut self.input, self.is_file)? {
            let message = raw.message()?;
            match message.header_type() {
                MessageHeader::RecordBatch => return self.batch(&message, &raw.body).map(Some),
                MessageHeader::DictionaryBatch => self.dictionary(&message, &raw.body)?,
                other => {
                    let kind = other.variant_name().unwrap_or("unknown");
                    return Err(broken(format!(
                        "a message of the kind {kind} among its batches"
                    )));
                }
            }
        }
        Ok(None)
    }

    fn batch(&self, message: &Message, body: &Buffer) -> Result<RecordBatch> {
        let batch = message.header_as_record_batch();
        let batch = batch.ok_or_else(|| broken("a message without its batch"))?;
        check_lengths(&batch, body)?;
        let schema = Arc::clone(&self.schema);
        let version: MetadataVersion = message.version();
        let known = &self.dictionaries;
        without_panic(|| read_record_batch(body, batch, schema, known, None, &version))
    }

    fn dictionary(&mut self, message: &Message, body: &Buffer) -> Result<()> {
        let dictionary = message.header_as_dictionary_batch();
        let dictionary = dictionary.ok_or_else(|| broken("a message without its dictionary"))?;
        if let Some(values) = dictionary.data() {
            check_lengths(&values, body)?;
        }
        let version = message.version();
        let known = &mut self.dictionaries;
        without_panic(|| read_dictionary(body, dictionary, &self.schema, known, &version))
    }
}

impl<R: Read> Iterator for ArrowReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_batch();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl<R: Read> RecordBatchReader for ArrowReader<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A message as it lies in the file.
struct RawMessage {
    metadata: Vec<u8>,
    body: Buffer,
}

impl RawMessage {
    /// The next message; `None` at the mark of the end, and where a stream ends without one.
    fn read(input: &mut impl Read, is_file: bool) -> Result<Option<Self>> {
        let word = read_word(input)?;
        Self::read_behind(word, input, is_file)
    }

    /// [`RawMessage::read`] of a message whose first word has been read.
    fn read_behind(
        mut word: Option<u32>,
        input: &mut impl Read,
        is_file: bool,
    ) -> Result<Option<Self>> {
        if word == Some(CONTINUATION) {
            word = read_word(input)?;
        }
        let length = match word {
            Some(0) => return Ok(None),
            None if !is_file => return Ok(None),
            None => return Err(cut_off()),
            Some(length) => length,
        };
        let metadata = read_exactly(input, u64::from(length))?;
        let length = message_of(&metadata)?.bodyLength();
        let length = u64::try_from(length).map_err(|_| broken("a message of negative length"))?;
        let body = Buffer::from_vec(read_exactly(input, length)?);
        Ok(Some(Self { metadata, body }))
    }

    fn message(&self) -> Result<Message<'_>> {
        message_of(&self.metadata)
    }
}

fn message_of(metadata: &[u8]) -> Result<Message<'_>> {
    root_as_message(metadata).map_err(|e| broken(format!("a message cannot be read: {e}")))
}

/// Four bytes as a number; `None` when there are none left.
fn read_word(input: &mut impl Read) -> Result<Option<u32>> {
    let mut bytes = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut bytes)?;
    match bytes.as_slice() {
        [] => Ok(None),
        [a, b, c, d] => Ok(Some(u32::from_le_bytes([*a, *b, *c, *d]))),
        _ => Err(cut_off()),
    }
}

/// The next `length` bytes. Memory grows with the bytes that are there, not with those that are said to be.
fn read_exactly(input: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(cut_off()),
    }
}

/// Whether all buffers lie in the body, and those that were compressed were not longer than any can be.
fn check_lengths(batch: &arrow::ipc::RecordBatch, body: &[u8]) -> Result<()> {
    let is_compressed = batch.compression().is_some();
    for buffer in batch.buffers().into_iter().flatten() {
        let bytes =
            bytes_of(buffer, body).ok_or_else(|| broken("a buffer outside of its batch"))?;
        let Some(length) = bytes
            .first_chunk::<LENGTH_BYTES>()
            .filter(|_| is_compressed)
        else {
            continue;
        };
        let length = i64::from_le_bytes(*length);
        if length > BUFFER_BYTES_MAX {
            return Err(broken(format!(
                "a buffer is said to have {length} bytes, more than {BUFFER_BYTES_MAX}"
            )));
        }
    }
    Ok(())
}

fn bytes_of<'a>(buffer: &arrow::ipc::Buffer, body: &'a [u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(buffer.offset()).ok()?;
    let length = usize::try_from(buffer.length()).ok()?;
    body.get(start..start.checked_add(length)?)
}

/// What arrow makes of bytes; it panics at types that it does not know and at some that do not fit their buffers.
pub(super) fn without_panic<T, E: From<ArrowError>>(
    read: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(broken("its types do not fit").into()))
}

fn cut_off() -> ArrowError {
    broken("it is cut off")
}

fn broken(what: impl Into<String>) -> ArrowError {
    ArrowError::IpcError(what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

    use super::*;

    /// Batches of numbers, texts and a dictionary that is replaced.
    fn batches() -> Vec<RecordBatch> {
        let batch = |first: i64| {
            let texts: Vec<String> = (0..500).map(|i| format!("text {}", i + first)).collect();
            let words: DictionaryArray<Int32Type> =
                (0..500).map(|i| ["a", "b", "c"][i % 3]).collect();
            RecordBatch::try_from_iter([
                (
                    "n",
                    Arc::new(Int64Array::from_iter_values(first..first + 500)) as ArrayRef,
                ),
                ("t", Arc::new(StringArray::from(texts)) as ArrayRef),
                ("w", Arc::new(words) as ArrayRef),
            ])
            .unwrap()
        };
        vec![batch(0), batch(500)]
    }

    fn written(is_file: bool, compression: Option<CompressionType>) -> Vec<u8> {
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .unwrap();
        let (batches, mut bytes) = (batches(), Vec::new());
        let schema = batches[0].schema();
        if is_file {
            let mut writer =
                FileWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
            batches.iter().for_each(|b| writer.write(b).unwrap());
            writer.finish().unwrap();
        } else {
            let mut writer =
                StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
            batches.iter().for_each(|b| writer.write(b).unwrap());
            writer.finish().unwrap();
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
        ArrowReader::try_new(bytes)?.collect()
    }

    #[test]
    fn files_and_streams_give_what_was_written() {
        let compressions = [
            None,
            Some(CompressionType::LZ4_FRAME),
            Some(CompressionType::ZSTD),
        ];
        for (is_file, compression) in [true, false]
            .into_iter()
            .flat_map(|f| compressions.map(|c| (f, c)))
        {
            assert_eq!(read(&written(is_file, compression)).unwrap(), batches());
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let file = written(true, Some(CompressionType::ZSTD));
        let end = file.len() - 10 - footer_length(&file);
        for length in 0..end {
            assert!(
                read(&file[..length]).is_err(),
                "{length} of {} bytes",
                file.len()
            );
        }
        // The mark is optional in a stream, as the format has it.
        let stream = written(false, None);
        assert_eq!(read(&stream[..stream.len() - 8]).unwrap(), batches());
    }

    fn footer_length(file: &[u8]) -> usize {
        let at = file.len() - 10;
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
    }

    #[test]
    fn lengths_that_cannot_be_take_no_memory() {
        let whole = written(true, Some(CompressionType::ZSTD));
        let mut refused = 0;
        for at in 0..whole.len() - 8 {
            let mut damaged = whole.clone();
            damaged[at + 4..at + 8].copy_from_slice(&[0x7f; 4]);
            refused += usize::from(read(&damaged).is_err());
        }
        assert!(refused > 0);
    }
}
