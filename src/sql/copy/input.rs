//! The bytes that a client sends to COPY .. FROM STDIN, on their way to the statement that reads them.

use std::fmt;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::dialect::{Dialect, Header};
use crate::error::{Error, ErrorKind, sqlstate};

/// Bytes that are collected before they travel: clients send single rows.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the statement; a client that is faster waits.
const PIECES_AHEAD: usize = 4;

/// The format of the bytes of COPY on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyFormat {
    /// Lines of characters: text and csv.
    Text,
    /// PostgreSQL's binary format.
    Binary,
}

/// What a client has to know of a COPY: CopyInResponse and CopyOutResponse say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CopyShape {
    /// The format of all columns.
    pub format: CopyFormat,
    /// How many columns.
    pub columns: usize,
    /// Whether one of the values that COPY .. TO STDOUT gives is no row: the line of a header, the binary trailer.
    pub extra: bool,
}

impl CopyShape {
    /// The shape of that many columns in a format.
    pub(super) fn of(dialect: &Dialect, columns: usize) -> Self {
        let (format, extra) = match dialect {
            Dialect::Lines(format) => (CopyFormat::Text, format.header != Header::None),
            Dialect::Binary => (CopyFormat::Binary, true),
        };
        Self {
            format,
            columns,
            extra,
        }
    }

    /// The rows among the `values` that COPY .. TO STDOUT gave: the number in its tag.
    pub fn rows(&self, values: u64) -> u64 {
        values.saturating_sub(u64::from(self.extra))
    }
}

/// Where the bytes of a COPY .. FROM STDIN go in.
///
/// The statement runs while its stream of rows is polled, so that writing and polling have to go on side by side.
/// An input that is dropped fails the statement; all rows come in by [`CopyInput::finish`], or none.
pub struct CopyInput {
    sender: mpsc::Sender<Piece>,
    waiting: BytesMut,
}

impl CopyInput {
    /// Sends bytes, cut anywhere. Waits while the statement is behind.
    ///
    /// Whether more is wanted: `false` when the statement has failed, and its stream says why.
    pub async fn write(&mut self, bytes: Bytes) -> bool {
        if self.waiting.is_empty() && bytes.len() >= PIECE_BYTES {
            return self.send(Piece::Bytes(bytes)).await;
        }
        self.waiting.extend_from_slice(&bytes);
        if self.waiting.len() < PIECE_BYTES {
            return !self.sender.is_closed();
        }
        self.flush().await
    }

    /// Says that all bytes were sent.
    pub async fn finish(mut self) {
        if self.flush().await {
            self.send(Piece::End).await;
        }
    }

    /// Fails the statement: 57014, with the client's reason.
    pub async fn fail(self, reason: &str) {
        self.send(Piece::Failed(failed(reason))).await;
    }

    /// Fails the statement by an error of another kind, such as a client that breaks the protocol.
    pub async fn refuse(self, error: Error) {
        self.send(Piece::Failed(error)).await;
    }

    /// Waits until the statement takes no more bytes: it has failed.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    async fn flush(&mut self) -> bool {
        let piece = self.waiting.split().freeze();
        self.send(Piece::Bytes(piece)).await
    }

    async fn send(&self, piece: Piece) -> bool {
        self.sender.send(piece).await.is_ok()
    }
}

impl fmt::Debug for CopyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyInput").finish_non_exhaustive()
    }
}

enum Piece {
    Bytes(Bytes),
    End,
    Failed(Error),
}

fn failed(reason: &str) -> Error {
    let message = format!("COPY from stdin failed: {reason}");
    Error::new(ErrorKind::Cancelled, sqlstate::QUERY_CANCELED, message)
}

/// The other end, which the statement finds in the configuration of its execution and takes once.
#[derive(Debug)]
pub(in crate::sql) struct CopyPipe(Mutex<Option<CopyReceiver>>);

impl CopyPipe {
    /// A new pipe, and where bytes go in.
    pub(in crate::sql) fn new() -> (CopyInput, Self) {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let input = CopyInput {
            sender,
            waiting: BytesMut::new(),
        };
        (input, Self(Mutex::new(Some(CopyReceiver { receiver }))))
    }

    /// The bytes that come out; `None` when they were taken already.
    pub(super) fn take(&self) -> Option<CopyReceiver> {
        self.0.lock().take()
    }
}

/// Bytes as they come.
pub(super) struct CopyReceiver {
    receiver: mpsc::Receiver<Piece>,
}

impl CopyReceiver {
    /// The next bytes; `None` at their end.
    ///
    /// # Errors
    /// 57014 when the client gave up or is gone.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => Ok(None),
            Some(Piece::Failed(error)) => Err(error),
            None => Err(failed("the client closed its input")),
        }
    }
}

impl fmt::Debug for CopyReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyReceiver").finish_non_exhaustive()
    }
}
