//! The sockets: accepting connections, their number, and their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::entrance::{Access, enter};
use super::log;
use super::metrics::ServerMetrics;
use super::transport::Io;
use super::waiting::WaitingRoom;
use crate::database::Database;
use crate::error::{Error, Result};

/// The port in the name of a Unix socket where no address has one.
const DEFAULT_PORT: u16 = 5433;
/// How long accepting rests after it failed, so that a lack of file descriptors does not make it spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that may be on their way to log in, to be told that there is no room, or to send a cancel request.
const WAITING_MAX: usize = 1_000;
/// How long sessions may take to say goodbye when they are ended.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections of a server share.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub database: Database,
    /// The runtime of queries.
    pub queries: Handle,
    /// What is counted.
    pub metrics: Arc<ServerMetrics>,
    /// Is cancelled when the server begins to stop: sessions then end as soon as they wait for their clients.
    pub draining: CancellationToken,
    /// Is cancelled when the server shall not wait for anybody any more.
    at_once: CancellationToken,
    /// How clients show who they are.
    access: RwLock<Arc<Access>>,
    waiting: Arc<WaitingRoom>,
}

impl Shared {
    /// How clients show who they are, as the configuration says now.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read())
    }
}

/// A hand on a running server.
#[derive(Clone)]
pub struct Controls {
    shared: Arc<Shared>,
}

impl Controls {
    /// Takes the certificate and the rules of access of another configuration, for those who connect from now on.
    ///
    /// # Errors
    /// F0000 for a certificate or a rule that is wrong; nothing changes then.
    pub fn reload(&self, config: &Config) -> Result<()> {
        let access = self.shared.access().reloaded(config)?;
        *self.shared.access.write() = Arc::new(access);
        Ok(())
    }

    /// Ends a server that is stopping without waiting for its running statements.
    pub fn stop_at_once(&self) {
        self.shared.at_once.cancel();
    }

    /// What the server counts.
    pub fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.shared.metrics
    }
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
            metrics: Arc::default(),
            draining: CancellationToken::new(),
            at_once: CancellationToken::new(),
            access: RwLock::new(Arc::new(Access::new(&config)?)),
            waiting: Arc::new(WaitingRoom::new(WAITING_MAX)),
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

    /// What controls the server while it runs.
    pub fn controls(&self) -> Controls {
        Controls {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Serves clients until `shutdown`. Then sessions end that wait for their clients; statements that run may go on
    /// until the configured time is over or [`Controls::stop_at_once`] is called.
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
        connections.close();
        drain(&self.shared, &connections).await;
    }
}

/// Ends all sessions: those that run a statement after it, within limits.
async fn drain(shared: &Shared, connections: &TaskTracker) {
    shared.draining.cancel();
    let limit = shared.config.server.drain_timeout;
    let drained = tokio::select! {
        () = connections.wait() => true,
        () = shared.at_once.cancelled() => false,
        () = tokio::time::sleep(limit) => false,
    };
    if drained {
        return;
    }
    let open = connections.len();
    tracing::warn!(connections = open, "running statements are canceled");
    for backend in shared.database.backends().list() {
        backend.terminate();
    }
    let ended = tokio::time::timeout(END_TIMEOUT, connections.wait()).await;
    if ended.is_err() {
        tracing::warn!("connections are closed without a word");
    }
}

fn bind_unix(path: &std::path::Path) -> Result<UnixListener> {
    let what = || format!("listen on {}", path.display());
    // What a server that ended left behind may be taken; a server that answers may not be robbed.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::io(what(), io::ErrorKind::AddrInUse.into()));
    }
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
    shared.metrics.connections.add(1);
    let place = shared.waiting.enter();
    let limit = shared.config.server.authentication_timeout;
    let entered = tokio::select! {
        entered = tokio::time::timeout(limit, enter(&shared, io, address)) => entered,
        () = shared.draining.cancelled() => return,
        () = place.lost.cancelled() => {
            tracing::debug!(?address, "there are too many clients that have not logged in");
            return;
        }
    };
    drop(place);
    match entered {
        Ok(Ok(Some(connection))) => {
            let backend = Arc::clone(connection.backend());
            log::connected(&shared.config.log, &backend);
            let gone = connection.serve().await;
            log::disconnected(&shared.config.log, &backend, &gone);
        }
        Ok(Ok(None)) => {}
        Ok(Err(gone)) => tracing::debug!(?address, %gone, "went before login"),
        Err(_) => tracing::debug!(?address, "did not log in in time"),
    }
}
