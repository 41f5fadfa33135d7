//! From a socket to a session: startup, login, greeting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::{BackendKeyData, SecretKey};
use tokio_rustls::TlsAcceptor;

use super::auth::tls::TlsFiles;
use super::auth::{Attempt, Login, Peer, Policy, Rules, Step, Throttle, Tls, Welcome};
use super::config::Config;
use super::connection::Connection;
use super::frame::{Broken, Frontend, violation};
use super::listen::Shared;
use super::respond::{self, Severity};
use super::startup::{Beginning, Startup, begin};
use super::transport::{Gone, Io, Received, Transport};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::sql::backends::{Entry, Identity};
use crate::sql::{FileAccess, Session};
use crate::storage::access::Rights;

/// The database that tools connect to when they are not told one; here it is the only one under another name.
const MAINTENANCE_DATABASE: &str = "postgres";

/// How clients show who they are.
pub struct Access {
    policy: Policy,
    throttle: Arc<Throttle>,
    tls: Option<Tls>,
    acceptor: Option<Arc<TlsAcceptor>>,
}

impl Access {
    /// By the rules and the certificate of another configuration. Who failed to log in before is not forgotten.
    ///
    /// # Errors
    /// Those of [`Access::new`].
    pub fn reloaded(&self, config: &Config) -> Result<Self> {
        Ok(Self {
            throttle: Arc::clone(&self.throttle),
            ..Self::new(config)?
        })
    }

    /// By the rules and the certificate of a configuration.
    ///
    /// # Errors
    /// F0000 for a certificate that does not work or a rule that trusts the wrong ones.
    pub fn new(config: &Config) -> Result<Self> {
        let rules = match &config.auth {
            Some(entries) => {
                let lines: Vec<String> = entries.iter().map(ToString::to_string).collect();
                Rules::parse(lines.iter().map(String::as_str))?
            }
            None => Rules::default(),
        };
        let tls = match (&config.tls.cert_file, &config.tls.key_file) {
            (Some(certificate), Some(key)) => Some(Tls::load(&TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: config.tls.client_ca_file.clone(),
            })?),
            _ => None,
        };
        let acceptor = tls
            .as_ref()
            .map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
        Ok(Self {
            policy: Policy::new(rules),
            throttle: Arc::default(),
            acceptor: acceptor.map(Arc::new),
            tls,
        })
    }
}

/// Serves a socket up to its session; `None` where the client wanted or got none.
///
/// # Errors
/// When the client went.
pub async fn enter(
    shared: &Arc<Shared>,
    io: Box<dyn Io>,
    address: Option<SocketAddr>,
) -> Result<Option<Connection>, Gone> {
    let server = &shared.config.server;
    let login_bytes_max = server.login_message_max_size.0 as usize;
    let metrics = || Arc::clone(&shared.metrics);
    let wrap = |io| Transport::new(io, server.write_timeout, login_bytes_max, metrics());
    let access = shared.access();
    let acceptor = access.acceptor.as_ref();
    let (mut transport, startup) = match begin(wrap(io), acceptor, wrap).await? {
        Ok(Beginning::Session(transport, startup)) => (transport, startup),
        Ok(Beginning::Cancel { pid, key }) => {
            shared.database.backends().cancel(pid, &key);
            return Ok(None);
        }
        Err((None, e)) => {
            tracing::debug!(?address, error = %e, "refused");
            return Ok(None);
        }
        Err((Some(transport), e)) => return refuse(shared, transport, address, &e).await,
    };
    let welcome = match log_in(shared, &access, &mut transport, &startup, address).await? {
        Ok(welcome) => welcome,
        Err(e) => return refuse(shared, transport, address, &e).await,
    };
    match open(shared, &startup, &welcome, address) {
        Ok((session, entry)) => {
            transport.set_frame_bytes_max(server.message_max_size.0 as usize);
            greet(&mut transport, &welcome, &entry)?;
            let shared = Arc::clone(shared);
            Ok(Some(Connection::new(transport, shared, session, entry)))
        }
        Err(e) => refuse(shared, transport, address, &e).await,
    }
}

async fn refuse(
    shared: &Shared,
    mut transport: Transport,
    address: Option<SocketAddr>,
    e: &Error,
) -> Result<Option<Connection>, Gone> {
    tracing::info!(?address, sqlstate = e.sqlstate(), error = %e, "connection refused");
    shared.metrics.connection_refused(e.sqlstate());
    let message = respond::error(e, Severity::Fatal, "", 0);
    if transport.put(&message).is_ok() {
        transport.close().await;
    }
    Ok(None)
}

/// Lets a client show who it is. The outer error is the client's going, the inner one the refusal.
async fn log_in(
    shared: &Shared,
    access: &Access,
    transport: &mut Transport,
    startup: &Startup,
    address: Option<SocketAddr>,
) -> Result<Result<Welcome>, Gone> {
    if shared.config.tls.required && address.is_some() && !startup.encrypted {
        let sqlstate = sqlstate::INVALID_AUTHORIZATION_SPECIFICATION;
        let e = Error::new(ErrorKind::Denied, sqlstate, "connections must be encrypted");
        return Ok(Err(e.with_hint("Connect with sslmode=require.")));
    }
    let attempt = Attempt {
        user: startup.user.clone(),
        database: startup.database.clone(),
        peer: address.map_or(Peer::Unix, |address| Peer::Ip(address.ip())),
        tls: access
            .tls
            .as_ref()
            .filter(|_| startup.encrypted)
            .map(|tls| tls.scram.clone()),
    };
    let backends = shared.database.backends();
    let sessions = |role| {
        let all = backends.list();
        all.iter().filter(|b| b.identity.role == role).count()
    };
    let snapshot = || shared.database.engine().committer.snapshot();
    let (mut login, mut step) = Login::start(&access.policy, &snapshot(), attempt, &sessions);
    loop {
        match step {
            Step::Done(welcome) => {
                if let Some(address) = address {
                    access.throttle.succeeded(address.ip());
                }
                return Ok(Ok(welcome));
            }
            Step::Refuse(e) => {
                if let Some(address) =
                    address.filter(|_| e.sqlstate() == sqlstate::INVALID_PASSWORD)
                {
                    let wait = access.throttle.failed(address.ip(), Instant::now());
                    tokio::time::sleep(wait).await;
                }
                return Ok(Err(e));
            }
            Step::Send(message) => {
                put(transport, &message)?;
                transport.flush().await?;
            }
        }
        let payload = match transport.receive().await? {
            Received::Message(Frontend::Password(payload)) => payload,
            Received::Message(Frontend::Terminate) => return Err(Gone::Closed),
            Received::Message(_) => return Ok(Err(violation("expected a SASL response"))),
            Received::Broken(Broken::Message(e) | Broken::Stream(e)) => return Ok(Err(e)),
        };
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now_ms.as_millis()).unwrap_or(i64::MAX);
        step = login.answer(&snapshot(), &payload, &sessions, now_ms);
    }
}

/// Makes the session of a client that has logged in.
fn open(
    shared: &Shared,
    startup: &Startup,
    welcome: &Welcome,
    address: Option<SocketAddr>,
) -> Result<(Session, Entry)> {
    let name = &shared.config.server.database.0;
    if ![name, MAINTENANCE_DATABASE].contains(&startup.database.as_str()) {
        let message = format!("database \"{}\" does not exist", startup.database);
        let sqlstate = sqlstate::INVALID_CATALOG_NAME;
        let hint = format!("The database is called \"{name}\", by server.database.");
        return Err(Error::new(ErrorKind::NotFound, sqlstate, message).with_hint(hint));
    }
    let identity = Identity {
        role: welcome.role,
        user: welcome.name.clone(),
        database: name.clone(),
        pid: 0,
        address,
        encrypted: startup.encrypted,
    };
    let entry = reserve(shared, identity)?;
    let files = FileAccess::Below(shared.config.server.file_directories.clone());
    let session = shared.database.connect(&entry, files);
    let server = &shared.config.server;
    for (name, limit) in [
        ("statement_timeout", server.statement_timeout),
        ("idle_session_timeout", server.idle_session_timeout),
        (
            "idle_in_transaction_session_timeout",
            server.idle_in_transaction_session_timeout,
        ),
    ] {
        session.set_at_startup(name, &limit.as_millis().to_string())?;
    }
    set_as_role_wants(shared, &session, welcome);
    for (name, value) in &startup.settings {
        session.set_at_startup(name, value)?;
    }
    Ok((session, entry))
}

/// A place among the sessions. The last places are for superusers, who can end other sessions.
fn reserve(shared: &Shared, identity: Identity) -> Result<Entry> {
    let server = &shared.config.server;
    let all = server.max_connections as usize;
    let reserved = server.superuser_reserved_connections as usize;
    let snapshot = shared.database.engine().committer.snapshot();
    let places = match Rights::new(&snapshot, identity.role).is_superuser() {
        true => all,
        false => all - reserved.min(all),
    };
    let backends = shared.database.backends();
    backends.enter_if_room(identity, places).ok_or_else(|| {
        let message = match backends.count() < all {
            true => {
                "remaining connection slots are reserved for non-replication superuser connections"
            }
            false => "sorry, too many clients already",
        };
        Error::limit(sqlstate::TOO_MANY_CONNECTIONS, message)
    })
}

/// Sets what ALTER ROLE .. SET says. A setting that cannot be had by now keeps nobody out.
fn set_as_role_wants(shared: &Shared, session: &Session, welcome: &Welcome) {
    let snapshot = shared.database.engine().committer.snapshot();
    let Some(role) = snapshot.role(welcome.role) else {
        return;
    };
    for (name, value) in &role.settings {
        if let Err(error) = session.set_at_startup(name, value) {
            tracing::warn!(role = role.name, name, %error, "a setting of the role is passed over");
        }
    }
}

fn greet(transport: &mut Transport, welcome: &Welcome, entry: &Entry) -> Result<(), Gone> {
    for message in &welcome.messages {
        put(transport, message)?;
    }
    let backend = entry.backend();
    let key = SecretKey::I32(i32::from_be_bytes(backend.cancel_key()));
    let key = BackendKeyData::new(backend.identity.pid, key);
    put(transport, &PgWireBackendMessage::BackendKeyData(key))
}

fn put(transport: &mut Transport, message: &PgWireBackendMessage) -> Result<(), Gone> {
    let encoded = transport.put_message(message);
    encoded.map_err(|e| Gone::Failed(io::Error::other(e)))
}
