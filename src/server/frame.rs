//! The frames of a client: checked decoding of frontend messages.
//!
//! The library's decoders trust lengths and counts, and replace invalid UTF-8; these never read past a frame, never
//! allocate by a number that a client sent, and refuse what is not UTF-8. What they give borrows nothing.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Result, sqlstate};
use crate::sql::format::ClientEncoding;

/// Bytes before the body of a frame: its kind and its length.
pub(super) const HEADER: usize = 5;

/// A message of a client after the startup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontend {
    /// One string of statements.
    Query(String),
    /// Makes a prepared statement.
    Parse {
        /// The statement's name; empty is the unnamed one.
        name: String,
        /// Its text.
        text: String,
        /// The OIDs that the client says its parameters have; 0 leaves it to us.
        types: Vec<u32>,
    },
    /// Makes a portal of a statement and its parameters.
    Bind {
        /// The portal's name; empty is the unnamed one.
        portal: String,
        /// The statement's name.
        statement: String,
        /// Formats of the parameters: none, one for all, or one each.
        formats: Vec<i16>,
        /// The parameters; `None` is NULL.
        parameters: Vec<Option<Bytes>>,
        /// Formats of the results: none, one for all, or one each.
        results: Vec<i16>,
    },
    /// Asks for the columns of a statement or portal.
    Describe(Target),
    /// Forgets a statement or portal.
    Close(Target),
    /// Runs a portal.
    Execute {
        /// Its name.
        portal: String,
        /// The most rows to send; zero or less is all.
        rows: i32,
    },
    /// The end of a run of extended messages.
    Sync,
    /// Asks for the answers so far.
    Flush,
    /// A password or a SASL message.
    Password(Bytes),
    /// Bytes of a COPY.
    CopyData(Bytes),
    /// The end of a COPY.
    CopyDone,
    /// A COPY that the client gave up, and why.
    CopyFail(String),
    /// The call of a function by its OID, which only ancient clients send.
    FunctionCall,
    /// The client goes.
    Terminate,
}

/// What Describe and Close name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

/// A message that broke the protocol.
#[derive(Debug)]
pub enum Broken {
    /// The frame's end is known: the connection can go on after an error.
    Message(Error),
    /// It is not known where the next frame begins.
    Stream(Error),
}

/// Takes the next whole frame out of `buffer`, whose text is in an encoding; `None` until more bytes come.
///
/// # Errors
/// [`Broken`]; the frame is taken away where its end is known.
pub fn decode(
    buffer: &mut BytesMut,
    bytes_max: usize,
    encoding: ClientEncoding,
) -> Result<Option<Frontend>, Broken> {
    if buffer.len() < HEADER {
        return Ok(None);
    }
    let kind = buffer[0];
    if !b"QPBDCESHpdcfFX".contains(&kind) {
        let message = format!("invalid frontend message type {kind}");
        return Err(Broken::Stream(violation(message)));
    }
    let length = i32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]);
    let Ok(length) = usize::try_from(length) else {
        return Err(Broken::Stream(violation("invalid message length")));
    };
    if length < 4 {
        return Err(Broken::Stream(violation("invalid message length")));
    }
    if length > bytes_max {
        let message = format!("a message of {length} bytes is above the limit of {bytes_max}");
        let error = Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
            .with_hint("Send the rows by COPY, or in several statements.");
        return Err(Broken::Stream(error));
    }
    if buffer.len() < length + 1 {
        return Ok(None);
    }
    let mut frame = buffer.split_to(length + 1).freeze();
    frame.advance(HEADER);
    let mut body = Body {
        rest: frame,
        encoding,
    };
    let message = message(kind, &mut body).map_err(Broken::Message)?;
    body.end().map_err(Broken::Message)?;
    Ok(Some(message))
}

fn message(kind: u8, body: &mut Body) -> Result<Frontend> {
    Ok(match kind {
        b'Q' => Frontend::Query(body.string()?),
        b'P' => Frontend::Parse {
            name: body.string()?,
            text: body.string()?,
            types: body.list(4, |body| Ok(body.integer()? as u32))?,
        },
        b'B' => Frontend::Bind {
            portal: body.string()?,
            statement: body.string()?,
            formats: body.list(2, Body::short)?,
            parameters: body.list(4, Body::value)?,
            results: body.list(2, Body::short)?,
        },
        b'D' => Frontend::Describe(body.target()?),
        b'C' => Frontend::Close(body.target()?),
        b'E' => Frontend::Execute {
            portal: body.string()?,
            rows: body.integer()?,
        },
        b'S' => Frontend::Sync,
        b'H' => Frontend::Flush,
        b'p' => Frontend::Password(body.rest()),
        b'd' => Frontend::CopyData(body.rest()),
        b'c' => Frontend::CopyDone,
        b'f' => Frontend::CopyFail(body.string()?),
        b'F' => {
            body.rest();
            Frontend::FunctionCall
        }
        _ => {
            body.rest();
            Frontend::Terminate
        }
    })
}

/// 08P01.
pub fn violation(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::PROTOCOL_VIOLATION, message)
}

fn short_of_bytes() -> Error {
    violation("insufficient data left in message")
}

/// The rest of a frame's body.
struct Body {
    rest: Bytes,
    encoding: ClientEncoding,
}

impl Body {
    fn take(&mut self, bytes: usize) -> Result<Bytes> {
        if self.rest.len() < bytes {
            return Err(short_of_bytes());
        }
        Ok(self.rest.split_to(bytes))
    }

    fn rest(&mut self) -> Bytes {
        self.rest.split_to(self.rest.len())
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(violation("invalid message format"))
    }

    fn short(&mut self) -> Result<i16> {
        Ok(self.take(2)?.get_i16())
    }

    fn integer(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    /// A string that a zero byte ends.
    fn string(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| violation("invalid string in message"))?;
        let bytes = self.rest.split_to(end);
        self.rest.advance(1);
        match self.encoding.converts() {
            true => self.encoding.decode(&bytes),
            false => utf8(&bytes).map(ToString::to_string),
        }
    }

    /// A count of 16 bits, then so many things of at least `bytes_min` bytes.
    fn list<T>(
        &mut self,
        bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.short()? as u16 as usize;
        if self.rest.len() < count * bytes_min {
            return Err(short_of_bytes());
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// A length of 32 bits and so many bytes; -1 is NULL.
    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.integer()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| short_of_bytes())?;
                self.take(length).map(Some)
            }
        }
    }

    fn target(&mut self) -> Result<Target> {
        match self.take(1)?[0] {
            b'S' => Ok(Target::Statement(self.string()?)),
            b'P' => Ok(Target::Portal(self.string()?)),
            other => Err(violation(format!(
                "invalid DESCRIBE or CLOSE target {other}"
            ))),
        }
    }
}

/// The text of bytes from a client.
///
/// # Errors
/// 22021 as Postgres words it, with the bytes that are not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let from = e.valid_up_to();
        let bad: Range<usize> = from..(from + e.error_len().unwrap_or(1)).min(bytes.len());
        ClientEncoding::default().malformed(&bytes[bad])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: usize = 1 << 20;
    const UTF8: fn() -> ClientEncoding = ClientEncoding::default;

    fn frame(kind: u8, body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.put_u8(kind);
        buffer.put_i32(body.len() as i32 + 4);
        buffer.put_slice(body);
        buffer
    }

    fn sqlstate_of(kind: u8, body: &[u8]) -> &'static str {
        match decode(&mut frame(kind, body), BYTES_MAX, UTF8()) {
            Err(Broken::Message(e)) => e.sqlstate(),
            other => panic!("expected a broken message, got {other:?}"),
        }
    }

    #[test]
    fn frames_wait_for_their_last_byte() {
        let whole = frame(b'Q', b"SELECT 1\0");
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            assert!(
                matches!(decode(&mut part, BYTES_MAX, UTF8()), Ok(None)),
                "{end}"
            );
            assert_eq!(part.len(), end);
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        let query = Frontend::Query("SELECT 1".into());
        assert_eq!(decode(&mut two, BYTES_MAX, UTF8()).unwrap(), Some(query));
        assert_eq!(two, whole);
    }

    #[test]
    fn bind_has_formats_values_and_nulls() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x00";
        let bind = decode(&mut frame(b'B', body), BYTES_MAX, UTF8()).unwrap();
        let expected = Frontend::Bind {
            portal: "p".into(),
            statement: "s".into(),
            formats: vec![1],
            parameters: vec![Some(Bytes::from_static(b"ab")), None],
            results: vec![],
        };
        assert_eq!(bind, Some(expected));
    }

    #[test]
    fn short_and_long_bodies_break_the_message_alone() {
        assert_eq!(sqlstate_of(b'Q', b"SELECT 1"), "08P01");
        assert_eq!(sqlstate_of(b'Q', b"SELECT 1\0x"), "08P01");
        assert_eq!(sqlstate_of(b'B', b"\0\0\xff\xff"), "08P01");
        assert_eq!(
            sqlstate_of(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            "08P01"
        );
        assert_eq!(
            sqlstate_of(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe"),
            "08P01"
        );
        assert_eq!(sqlstate_of(b'D', b"Xname\0"), "08P01");
        assert_eq!(sqlstate_of(b'Q', b"SELECT '\xc3\x28'\0"), "22021");
    }

    #[test]
    fn unknown_kinds_and_lengths_break_the_stream() {
        for bytes in [
            &b"z\0\0\0\x04"[..],
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"Q\x7f\xff\xff\xff",
        ] {
            let broken = decode(&mut BytesMut::from(bytes), BYTES_MAX, UTF8());
            assert!(matches!(broken, Err(Broken::Stream(_))), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, kind in 0..14_usize) {
            let mut buffer = frame(b"QPBDCESHpdcfFX"[kind], &bytes);
            let length = buffer.len();
            let _ = decode(&mut buffer, BYTES_MAX, UTF8());
            prop_assert!(buffer.is_empty() && length == bytes.len() + HEADER);
            let mut raw = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut raw, BYTES_MAX, UTF8()) {}
        }
    }
}
