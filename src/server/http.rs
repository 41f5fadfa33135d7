//! HTTP for those who watch the server: `/healthz`, `/readyz` and `/metrics`.
//!
//! It asks for no password and tells nothing of the data; it answers GET and HEAD only. Headers, connections and the
//! time of a connection are bounded, so that it cannot be used against the server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::config::ListenAddress;
use super::metrics::Exporter;
use crate::database::Database;
use crate::error::{Error, Result};

/// The most connections at a time; those above are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of the largest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, with all its requests.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long accepting rests after it failed, so that a lack of file descriptors does not make it spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// What requests are answered from.
pub struct State {
    /// The database, which may have become read-only.
    pub database: Database,
    /// Is cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// The metrics.
    pub exporter: Exporter,
}

/// Opens the socket of an address.
///
/// # Errors
/// 58030 when it cannot be listened on.
pub async fn bind(address: &ListenAddress) -> Result<TcpListener> {
    let listener = TcpListener::bind((address.host.as_str(), address.port)).await;
    listener.map_err(|e| Error::io(format!("listen on {address}"), e))
}

/// Answers requests until it is dropped.
pub async fn serve(listener: TcpListener, state: Arc<State>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::debug!(%address, "too many connections over HTTP");
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            connection(socket, address, state).await;
            drop(permit);
        });
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "could not accept a connection over HTTP");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection(socket: TcpStream, address: SocketAddr, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&state, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(socket), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %address, "a connection over HTTP failed"),
        Err(_) => tracing::debug!(%address, "a connection over HTTP took too long"),
    }
}

fn answer(state: &State, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(state),
        "/metrics" => metrics(state),
        _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz, /metrics\n"),
    }
}

fn ready(state: &State) -> Response<Full<Bytes>> {
    if state.stopping.is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if state.database.engine().committer.is_read_only() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "read-only\n");
    }
    text(StatusCode::OK, "ready\n")
}

fn metrics(state: &State) -> Response<Full<Bytes>> {
    match state.exporter.text() {
        Ok(page) => respond(StatusCode::OK, Exporter::CONTENT_TYPE, page),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "could not be written\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
