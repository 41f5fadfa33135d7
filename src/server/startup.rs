//! The first bytes of a connection: encryption, cancel requests, and the startup message.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use pgwire::messages::startup::NegotiateProtocolVersion;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::frame::{utf8, violation};
use super::transport::{Gone, Io, Transport};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// Bytes of the longest startup packet, as in Postgres.
const STARTUP_BYTES_MAX: usize = 10_000;
/// How often a client may ask for encryption before it must start.
const NEGOTIATIONS_MAX: usize = 2;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The protocol that is spoken: 3.0.
const PROTOCOL: u32 = 3 << 16;

/// How a connection begins.
pub enum Beginning {
    /// A session.
    Session(Transport, Startup),
    /// Another session's statement shall stop.
    Cancel {
        /// The number of the session.
        pid: i32,
        /// The key that it was given.
        key: Bytes,
    },
}

/// What a client says at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Settings for the session, those of `options` last.
    pub settings: Vec<(String, String)>,
}

/// A connection that is refused: what to tell its client, if anything.
pub type Refusal = (Option<Transport>, Error);

/// Reads up to the startup message, over TLS where the client asks for it.
///
/// # Errors
/// The refusal, or that the client is gone.
pub async fn begin(
    mut transport: Transport,
    tls: Option<&Arc<TlsAcceptor>>,
    rewrap: impl Fn(Box<dyn Io>) -> Transport,
) -> Result<Result<Beginning, Refusal>, Gone> {
    let mut encrypted = false;
    for _ in 0..=NEGOTIATIONS_MAX {
        let mut packet = match packet(&mut transport).await? {
            Ok(packet) => packet,
            // Whatever speaks here, it is not this protocol: it would not understand the answer.
            Err(e) => return Ok(Err((None, e))),
        };
        match packet.get_u32() {
            SSL_REQUEST if !encrypted => {
                let Some(acceptor) = tls else {
                    raw(&mut transport, b"N").await?;
                    continue;
                };
                transport = match encrypt(transport, acceptor, &rewrap).await? {
                    Ok(encrypted) => encrypted,
                    Err(e) => return Ok(Err((None, e))),
                };
                encrypted = true;
            }
            GSS_REQUEST => raw(&mut transport, b"N").await?,
            CANCEL_REQUEST => {
                if packet.len() < 8 {
                    return Ok(Err((None, violation("invalid length of cancel request"))));
                }
                let pid = packet.get_i32();
                return Ok(Ok(Beginning::Cancel { pid, key: packet }));
            }
            version if version >> 16 == PROTOCOL >> 16 => {
                return Ok(match startup(packet, version, encrypted, &mut transport) {
                    Ok(startup) => Ok(Beginning::Session(transport, startup)),
                    Err(e) => Err((Some(transport), e)),
                });
            }
            version => {
                let message = format!(
                    "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                    version >> 16,
                    version & 0xffff
                );
                return Ok(Err((Some(transport), Error::unsupported(message))));
            }
        }
    }
    let e = violation("too many requests for encryption");
    Ok(Err((Some(transport), e)))
}

/// The next packet without a kind: its body, at least the four bytes of its code.
async fn packet(transport: &mut Transport) -> Result<Result<Bytes>, Gone> {
    let length = loop {
        if let Some(bytes) = transport.input().first_chunk::<4>() {
            break u32::from_be_bytes(*bytes) as usize;
        }
        transport.fill().await?;
    };
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Ok(Err(violation("invalid length of startup packet")));
    }
    while transport.input().len() < length {
        transport.fill().await?;
    }
    let mut packet = transport.input().split_to(length).freeze();
    packet.advance(4);
    Ok(Ok(packet))
}

/// Writes one byte that is no message.
async fn raw(transport: &mut Transport, byte: &'static [u8]) -> Result<(), Gone> {
    transport.put_bytes(byte.into()).await?;
    transport.flush().await
}

/// Puts TLS below the connection.
///
/// What was sent before the handshake came from anybody on the way: a client that is not waiting for the answer is
/// refused, as since PostgreSQL 14.1 (CVE-2021-23214).
async fn encrypt(
    mut transport: Transport,
    acceptor: &TlsAcceptor,
    rewrap: &impl Fn(Box<dyn Io>) -> Transport,
) -> Result<Result<Transport>, Gone> {
    if !transport.input().is_empty() {
        let message = "received unencrypted data after SSL request";
        return Ok(Err(violation(message)));
    }
    raw(&mut transport, b"S").await?;
    let (mut io, clean) = transport.into_io();
    if !clean {
        return Err(Gone::Closed);
    }
    io.flush().await?;
    let stream = acceptor.accept(io).await?;
    Ok(Ok(rewrap(Box::new(stream))))
}

fn startup(
    packet: Bytes,
    version: u32,
    encrypted: bool,
    transport: &mut Transport,
) -> Result<Startup> {
    let mut parameters = parameters(&packet)?;
    let extensions: Vec<String> = parameters
        .keys()
        .filter(|name| name.starts_with("_pq_."))
        .cloned()
        .collect();
    if version != PROTOCOL || !extensions.is_empty() {
        // The newest version that is spoken, and the extensions that are not.
        transport.put(&NegotiateProtocolVersion::new(0, extensions))?;
    }
    parameters.retain(|name, _| !name.starts_with("_pq_."));
    let user = parameters.remove("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            sqlstate::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let database = parameters
        .remove("database")
        .filter(|name| !name.is_empty());
    let replication = parameters.remove("replication");
    if replication.is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(Error::unsupported(
            "replication connections are not supported",
        ));
    }
    let options = parameters.remove("options").unwrap_or_default();
    let mut settings: Vec<_> = parameters.into_iter().collect();
    settings.extend(command_line(&options)?);
    Ok(Startup {
        database: database.unwrap_or_else(|| user.clone()),
        user,
        encrypted,
        settings,
    })
}

/// Names and values, each ended by a zero byte, and a zero byte at the end.
fn parameters(packet: &[u8]) -> Result<BTreeMap<String, String>> {
    let layout = || violation("invalid startup packet layout: expected terminator as last byte");
    let body = packet.strip_suffix(&[0]).ok_or_else(layout)?;
    if body.is_empty() {
        return Ok(BTreeMap::new());
    }
    let body = body.strip_suffix(&[0]).ok_or_else(layout)?;
    let texts = body.split(|byte| *byte == 0).map(utf8);
    let texts = texts.collect::<Result<Vec<_>>>()?;
    if texts.len() % 2 != 0 {
        return Err(layout());
    }
    let pairs = texts.chunks_exact(2);
    Ok(pairs
        .map(|pair| (pair[0].to_string(), pair[1].to_string()))
        .collect())
}

/// The settings of `-c name=value` and `--name=value`; a backslash keeps the next character, as in Postgres.
fn command_line(options: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let Some(word) = words.last_mut() else { break };
        match character {
            '\\' => word.extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.push(String::new()),
            other => word.push(other),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(assignment) => assignment.to_string(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().unwrap_or_default(),
                Some(assignment) => assignment.to_string(),
                None => String::new(),
            },
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| {
            let message = format!("invalid command-line argument for server process: {word}");
            Error::invalid(sqlstate::SYNTAX_ERROR, message)
        })?;
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_pairs() {
        let read = parameters(b"user\0ada\0database\0books\0\0").unwrap();
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(
            read,
            BTreeMap::from([pair("user", "ada"), pair("database", "books")])
        );
        assert_eq!(parameters(b"\0").unwrap(), BTreeMap::new());
        for bad in [
            &b""[..],
            b"user",
            b"user\0ada",
            b"user\0\0",
            b"user\0ada\0",
            b"user\0a\0b\0\0",
        ] {
            assert_eq!(parameters(bad).unwrap_err().sqlstate(), "08P01", "{bad:?}");
        }
        assert_eq!(
            parameters(b"user\0\xff\0\0").unwrap_err().sqlstate(),
            "22021"
        );
    }

    #[test]
    fn options_are_settings() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let read = command_line("-c geqo=off  -cwork_mem=1MB --search-path=a\\ b").unwrap();
        let expected = [
            pair("geqo", "off"),
            pair("work_mem", "1MB"),
            pair("search_path", "a b"),
        ];
        assert_eq!(read, expected);
        assert_eq!(command_line("").unwrap(), []);
        assert_eq!(command_line("-z").unwrap_err().sqlstate(), "42601");
        assert_eq!(command_line("-c").unwrap_err().sqlstate(), "42601");
    }
}
