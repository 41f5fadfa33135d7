//! The sockets: accepting connections, their number, and their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::entrance::{Access, enter};
use super::transport::Io;
use crate::database::Database;
use crate::error::{Error, Result};

/// The port in the name of a Unix socket where no address has one.
const DEFAULT_PORT: u16 = 5433;
/// How long accepting rests after it failed, so that a lack of file descriptors does not make it spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections beyond the limit that may be on their way to being told so, or to send a cancel request.
const STARTING_MAX: usize = 100;

/// What all connections of a server share.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub database: Database,
    /// The runtime of queries.
    pub queries: Handle,
    /// How clients show who they are.
    pub(super) access: Access,
    /// One permit per connection that has not logged in.
    starting: Arc<Semaphore>,
}

/// A server whose sockets are open.
pub struct Server {
    shared: Arc<Shared>,
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

impl Server {
    /// Opens the sockets. Queries run on the runtime `queries`, everything else on the caller's.
    ///
    /// # Errors
    /// 58030 when an address cannot be listened on, F0000 for a certificate or a rule of access that is wrong.
    pub async fn bind(config: Config, database: Database, queries: Handle) -> Result<Self> {
        let mut tcp = Vec::new();
        for address in &config.server.listen {
            let host = (address.host.as_str(), address.port);
            let listener = TcpListener::bind(host).await;
            let what = || format!("listen on {}:{}", address.host, address.port);
            tcp.push(listener.map_err(|e| Error::io(what(), e))?);
        }
        let port = config
            .server
            .listen
            .first()
            .map_or(DEFAULT_PORT, |a| a.port);
        let unix = match &config.server.unix_socket_directory {
            Some(directory) => Some(bind_unix(&directory.join(format!(".s.PGSQL.{port}")))?),
            None => None,
        };
        let shared = Shared {
            starting: Arc::new(Semaphore::new(STARTING_MAX)),
            access: Access::new(&config)?,
            config,
            database,
            queries,
        };
        Ok(Self {
            shared: Arc::new(shared),
            tcp,
            unix,
        })
    }

    /// The addresses it listens on; ports that were given as 0 are known here.
    ///
    /// # Errors
    /// 58030 when the system does not tell.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let addresses = self.tcp.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<_>>();
        addresses.map_err(|e| Error::io("read the address of a socket", e))
    }

    /// Serves clients until `shutdown`, then ends their sessions.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let mut accepting = tokio::task::JoinSet::new();
        for listener in self.tcp {
            let (shared, connections) = (Arc::clone(&self.shared), connections.clone());
            accepting.spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((socket, address)) => tcp(&shared, &connections, socket, address),
                        Err(e) => pause(&e).await,
                    }
                }
            });
        }
        if let Some(listener) = self.unix {
            let (shared, connections) = (Arc::clone(&self.shared), connections.clone());
            accepting.spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((socket, _)) => {
                            connections.spawn(connect(Arc::clone(&shared), Box::new(socket), None));
                        }
                        Err(e) => pause(&e).await,
                    }
                }
            });
        }
        shutdown.cancelled().await;
        accepting.shutdown().await;
        for backend in self.shared.database.backends().list() {
            backend.terminate();
        }
        connections.close();
        let drained =
            tokio::time::timeout(self.shared.config.server.drain_timeout, connections.wait());
        if drained.await.is_err() {
            tracing::warn!("connections were still open when the time to end them was over");
        }
    }
}

fn bind_unix(path: &std::path::Path) -> Result<UnixListener> {
    let what = || format!("listen on {}", path.display());
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(what(), e)),
        _ => {}
    }
    UnixListener::bind(path).map_err(|e| Error::io(what(), e))
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "could not accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn tcp(shared: &Arc<Shared>, connections: &TaskTracker, socket: TcpStream, address: SocketAddr) {
    let server = &shared.config.server;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(server.tcp_keepalives_idle)
        .with_interval(server.tcp_keepalives_interval)
        .with_retries(server.tcp_keepalives_count);
    let mut set = socket.set_nodelay(true);
    if !server.tcp_keepalives_idle.is_zero() {
        set = set.and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keepalive));
    }
    if let Err(error) = set {
        tracing::debug!(%error, %address, "a socket went before it was served");
        return;
    }
    connections.spawn(connect(Arc::clone(shared), Box::new(socket), Some(address)));
}

/// Serves one socket.
async fn connect(shared: Arc<Shared>, io: Box<dyn Io>, address: Option<SocketAddr>) {
    // Sockets that wait for a permit cost a descriptor and nothing else; the time limit ends them.
    let limit = shared.config.server.authentication_timeout;
    let starting = async {
        let _permit = Arc::clone(&shared.starting).acquire_owned().await;
        enter(&shared, io, address).await
    };
    match tokio::time::timeout(limit, starting).await {
        Ok(Ok(Some(connection))) => {
            let gone = connection.serve().await;
            tracing::debug!(?address, %gone, "disconnected");
        }
        Ok(Ok(None)) => {}
        Ok(Err(gone)) => tracing::debug!(?address, %gone, "went before login"),
        Err(_) => tracing::debug!(?address, "did not log in in time"),
    }
}
