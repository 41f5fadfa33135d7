//! A client of the wire protocol that can send anything.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::TestServer;

/// A socket that has logged in.
pub struct Raw(pub TcpStream);

/// A message of the server: its kind and its body.
pub type Message = (u8, Bytes);

impl Raw {
    pub async fn connect(server: &TestServer) -> Self {
        let mut raw = Self(TcpStream::connect(server.address).await.unwrap());
        let parameters = b"user\0shelfmark\0database\0shelfmark\0\0";
        let mut startup = BytesMut::new();
        startup.put_i32(parameters.len() as i32 + 8);
        startup.put_i32(3 << 16);
        startup.put_slice(parameters);
        raw.0.write_all(&startup).await.unwrap();
        assert!(raw.until(b'Z').await.iter().any(|(kind, _)| *kind == b'K'));
        raw
    }

    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        let mut frame = BytesMut::new();
        put_frame(&mut frame, kind, body);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Messages up to the first of that kind; ends early when the server closes.
    pub async fn until(&mut self, last: u8) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        while messages.last().is_none_or(|(kind, _)| *kind != last) {
            let Ok(kind) = self.0.read_u8().await else {
                break;
            };
            let length = self.0.read_u32().await.unwrap() as usize - 4;
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            messages.push((kind, body.into()));
        }
        messages
    }

    /// Runs a statement by the simple protocol.
    pub async fn simple(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat()).await;
        self.until(b'Z').await
    }

    /// Runs a statement without parameters by the extended protocol.
    pub async fn extended(&mut self, sql: &str) -> Vec<Message> {
        let mut frames = BytesMut::new();
        put_frame(
            &mut frames,
            b'P',
            &[b"\0", sql.as_bytes(), b"\0\0\0"].concat(),
        );
        put_frame(&mut frames, b'B', b"\0\0\0\0\0\0\0\0");
        put_frame(&mut frames, b'D', b"P\0");
        put_frame(&mut frames, b'E', b"\0\0\0\0\0");
        put_frame(&mut frames, b'S', b"");
        self.0.write_all(&frames).await.unwrap();
        self.until(b'Z').await
    }
}

fn put_frame(frames: &mut BytesMut, kind: u8, body: &[u8]) {
    frames.put_u8(kind);
    frames.put_i32(body.len() as i32 + 4);
    frames.put_slice(body);
}

/// The kinds of messages, as a word.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| *kind as char).collect()
}

/// The body of the first message of a kind.
pub fn body(messages: &[Message], kind: u8) -> Option<Bytes> {
    let found = messages.iter().find(|(k, _)| *k == kind);
    found.map(|(_, body)| body.clone())
}

/// A field of an ErrorResponse: `C` is the SQLSTATE, `M` the message, `H` the hint.
pub fn field(error: &Bytes, field: u8) -> Option<String> {
    let mut fields = error.split(|byte| *byte == 0);
    let found = fields.find_map(|f| f.strip_prefix(&[field]))?;
    Some(String::from_utf8(found.to_vec()).unwrap())
}

/// The SQLSTATE of the error among messages.
pub fn sqlstate(messages: &[Message]) -> String {
    let error = body(messages, b'E').expect("an error");
    field(&error, b'C').unwrap()
}

/// The names of a RowDescription.
pub fn names(mut description: Bytes) -> Vec<String> {
    let count = description.get_i16();
    let mut name = || {
        let end = description.iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8(description.split_to(end).to_vec()).unwrap();
        // The zero, and the column's numbers.
        description.advance(19);
        name
    };
    (0..count).map(|_| name()).collect()
}

/// The values of a DataRow.
pub fn values(mut row: Bytes) -> Vec<Option<Bytes>> {
    let count = row.get_i16();
    let mut value = || match row.get_i32() {
        -1 => None,
        length => Some(row.split_to(length as usize)),
    };
    (0..count).map(|_| value()).collect()
}
