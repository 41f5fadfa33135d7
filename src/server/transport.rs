//! The bytes of a connection: frames in, messages out, over TCP, a Unix socket or TLS.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pgwire::messages::{Message, PgWireBackendMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{self, Broken, Frontend};
use super::message;
use super::metrics::ServerMetrics;
use crate::error::{Error, Result};
use crate::sql::format::ClientEncoding;

/// Bytes of answers that are gathered before they are written.
const OUTPUT_BYTES: usize = 32 * 1024;
/// How long the last bytes may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that are read ahead while a statement runs; more wait in the socket.
const READ_AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Buffers that grew beyond this are given back when they are empty.
const KEPT_BYTES_MAX: usize = 128 * 1024;

/// Both directions of a socket.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for T {}

/// Why a connection ends without a word.
#[derive(Debug)]
pub enum Gone {
    /// The client closed it, in order or not.
    Closed,
    /// The session was ended, and the client did not read that.
    Ended,
    /// The socket failed, or the client did not read for too long.
    Failed(io::Error),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the client"),
            Self::Ended => f.write_str("ended"),
            Self::Failed(e) => write!(f, "{e}"),
        }
    }
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// What came from a client.
pub enum Received {
    /// A message.
    Message(Frontend),
    /// Something that broke the protocol.
    Broken(Broken),
}

/// A socket with its buffers.
pub struct Transport {
    io: Box<dyn Io>,
    input: BytesMut,
    output: BytesMut,
    write_timeout: Duration,
    /// The longest frame that is taken.
    frame_bytes_max: usize,
    /// What the client's text is in.
    encoding: ClientEncoding,
    metrics: Arc<ServerMetrics>,
}

impl Transport {
    /// Over `io`. A client that does not read for `write_timeout` is gone, unless that is zero; frames have at most `frame_bytes_max`.
    pub fn new(
        io: Box<dyn Io>,
        write_timeout: Duration,
        frame_bytes_max: usize,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            output: BytesMut::new(),
            write_timeout,
            frame_bytes_max,
            encoding: ClientEncoding::default(),
            metrics,
        }
    }

    /// The socket, for another protocol above it, and whether it is clean of bytes that were read already.
    pub fn into_io(self) -> (Box<dyn Io>, bool) {
        (self.io, self.input.is_empty())
    }

    /// Changes the longest frame that is taken.
    pub fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.frame_bytes_max = bytes;
    }

    /// Changes what the client's text is in, from the next message on.
    pub fn set_encoding(&mut self, encoding: ClientEncoding) {
        self.encoding = encoding;
    }

    /// The bytes that were read and not taken.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Waits for the next message.
    pub async fn receive(&mut self) -> Result<Received, Gone> {
        loop {
            match frame::decode(&mut self.input, self.frame_bytes_max, self.encoding) {
                Ok(Some(message)) => return Ok(Received::Message(message)),
                Err(broken) => return Ok(Received::Broken(broken)),
                Ok(None) => self.fill().await?,
            }
        }
    }

    /// Waits for the next message, and tells its kind without taking it.
    pub async fn peek(&mut self) -> Result<u8, Gone> {
        while self.input.is_empty() {
            self.fill().await?;
        }
        Ok(self.input[0])
    }

    /// The next message, if it is here already.
    pub fn received(&mut self) -> Option<Received> {
        match frame::decode(&mut self.input, self.frame_bytes_max, self.encoding) {
            Ok(message) => message.map(Received::Message),
            Err(broken) => Some(Received::Broken(broken)),
        }
    }

    /// Reads more bytes. May be dropped while it waits: no byte is lost.
    pub async fn fill(&mut self) -> Result<(), Gone> {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_BYTES);
        match self.io.read_buf(&mut self.input).await {
            Ok(0) => Err(Gone::Closed),
            Ok(bytes) => {
                self.metrics.received_bytes.add(bytes as u64);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Err(Gone::Closed),
            Err(e) => Err(Gone::Failed(e)),
        }
    }

    /// Waits until the client is gone, reading ahead what it sends meanwhile.
    pub async fn watch(&mut self) -> Gone {
        loop {
            if self.input.len() >= READ_AHEAD_BYTES_MAX {
                return std::future::pending().await;
            }
            if let Err(gone) = self.fill().await {
                return gone;
            }
        }
    }

    /// Adds a message to the answers.
    ///
    /// # Errors
    /// XX000 for a message above the protocol's limits.
    pub fn put(&mut self, message: &impl Message) -> Result<()> {
        put(&mut self.output, message, self.encoding)
    }

    /// Adds a message of any kind to the answers.
    ///
    /// # Errors
    /// XX000 for a message above the protocol's limits.
    pub fn put_message(&mut self, message: &PgWireBackendMessage) -> Result<()> {
        message
            .encode(&mut self.output)
            .map_err(|e| Error::internal(format!("could not encode an answer: {e}")))
    }

    /// Adds encoded messages to the answers, and writes when they are many.
    pub async fn put_bytes(&mut self, bytes: BytesMut) -> Result<(), Gone> {
        if self.output.is_empty() {
            self.output = bytes;
        } else {
            self.output.extend_from_slice(&bytes);
        }
        if self.output.len() >= OUTPUT_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes the answers. May be dropped while it waits: no byte is lost, or written twice.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        let writing = async {
            while self.output.has_remaining() {
                let written = self.io.write(&self.output).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.output.advance(written);
                self.metrics.sent_bytes.add(written as u64);
            }
            self.io.flush().await
        };
        match self.write_timeout {
            Duration::ZERO => writing.await?,
            limit => tokio::time::timeout(limit, writing).await.map_err(|_| {
                let message = "the client does not read its answers";
                io::Error::new(io::ErrorKind::TimedOut, message)
            })??,
        }
        if self.output.capacity() > KEPT_BYTES_MAX {
            self.output = BytesMut::new();
        } else {
            self.output.clear();
        }
        Ok(())
    }

    /// Says goodbye to the socket; a client that is gone already, or reads nothing, does not matter.
    pub async fn close(mut self) {
        let closing = async {
            if self.flush().await.is_ok() {
                let _closed = self.io.shutdown().await;
            }
        };
        let _late = tokio::time::timeout(CLOSE_LIMIT, closing).await;
    }
}

/// Encodes a message, its text in an encoding: with a question mark for each character that this does not have, so that what
/// is wrong can always be told.
///
/// # Errors
/// XX000 for a message above the protocol's limits.
pub fn put(output: &mut BytesMut, message: &impl Message, encoding: ClientEncoding) -> Result<()> {
    let start = output.len();
    message
        .encode(output)
        .map_err(|e| Error::internal(format!("could not encode an answer: {e}")))?;
    if encoding.converts() {
        message::convert(output, start, encoding);
    }
    Ok(())
}
