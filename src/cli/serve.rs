//! `shelfmark serve`: the server in the foreground.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use shelfmark::server::config::Sources;
use shelfmark::server::http::{self, State};
use shelfmark::server::listen::Controls;
use shelfmark::server::log::Log;
use shelfmark::server::metrics::Exporter;
use shelfmark::server::process::{Signals, Stop, raise_open_files, ready};
use shelfmark::server::{Access, Config, Server};
use shelfmark::{Database, Error, Result};
use tokio::runtime::{Builder, Runtime};

use super::args::ServeArgs;

/// Threads of sockets; they only move bytes.
const NETWORK_THREADS: usize = 2;
/// Bytes of a query thread's stack. Parsing and planning recurse as deep as a statement nests; only touched pages count.
const QUERY_STACK_BYTES: usize = 64 << 20;
/// How long what runs for clients that are gone may take to let go.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until the process is told to stop.
///
/// # Errors
/// When the configuration is wrong, the database does not open or an address cannot be listened on.
pub fn run(args: &ServeArgs) -> Result<ExitCode> {
    let sources = args.sources()?;
    let config = sources.load()?;
    if args.check_config {
        Access::new(&config)?;
        println!("the configuration is right");
        return Ok(ExitCode::SUCCESS);
    }
    let log = Log::start(&config.log)?;
    raise_open_files(config.server.max_connections);
    let queries = runtime(
        Builder::new_multi_thread()
            .thread_name("query")
            .thread_stack_size(QUERY_STACK_BYTES),
    )?;
    let network = runtime(
        Builder::new_multi_thread()
            .thread_name("network")
            .worker_threads(NETWORK_THREADS),
    )?;
    let database = queries.block_on(open(&config))?;
    let reloading = Reloading { sources, log };
    let served = network.block_on(serve(config, database.clone(), &queries, reloading));
    // Sessions hold the database until their last statement let go.
    network.shutdown_background();
    queries.block_on(async { drop(database) });
    // A statement that never pauses must not keep the process from ending.
    queries.shutdown_timeout(END_TIMEOUT);
    served.map(|()| ExitCode::SUCCESS)
}

fn runtime(builder: &mut Builder) -> Result<Runtime> {
    builder
        .enable_all()
        .build()
        .map_err(|e| Error::io("start a runtime", e))
}

async fn open(config: &Config) -> Result<Database> {
    match &config.server.data {
        Some(directory) => Database::open(directory, config.settings.clone()).await,
        None => {
            tracing::warn!("the database is temporary: server.data names no directory");
            Database::temporary(config.settings.clone()).await
        }
    }
}

async fn serve(
    config: Config,
    database: Database,
    queries: &Runtime,
    reloading: Reloading,
) -> Result<()> {
    let signals = Signals::new()?;
    let http_listen = config.server.http_listen.clone();
    let server = Server::bind(config, database.clone(), queries.handle().clone()).await?;
    let (controls, stop) = (server.controls(), Stop::default());
    let metrics = Arc::clone(controls.metrics());
    let state = Arc::new(State {
        exporter: Exporter::new(database.clone(), metrics),
        database,
        stopping: stop.announced.clone(),
    });
    let mut watched = tokio::task::JoinSet::new();
    for address in &http_listen {
        let listener = http::bind(address).await?;
        let address = listener.local_addr();
        let address = address.map_err(|e| Error::io("read the address of a socket", e))?;
        tracing::info!(%address, "listening for HTTP");
        watched.spawn(http::serve(listener, Arc::clone(&state)));
    }
    for address in server.addresses()? {
        tracing::info!(%address, "listening");
    }
    let reload = controls.clone();
    watched.spawn(signals.follow(stop.clone(), controls, move || reloading.reload(&reload)));
    ready();
    server.run(stop.begun).await;
    tracing::info!("stopped");
    Ok(())
}

/// What the configuration is read from again.
struct Reloading {
    sources: Sources,
    log: Log,
}

impl Reloading {
    /// Reads the configuration again and takes what can change: certificates, rules of access, levels of the log. A
    /// configuration with a mistake changes nothing.
    fn reload(&self, controls: &Controls) {
        let reloaded = self.sources.load().and_then(|config| {
            controls.reload(&config)?;
            self.log.set_level(&config.log.level)
        });
        match reloaded {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!(%error, "the configuration was not taken"),
        }
    }
}
