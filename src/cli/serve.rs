//! `shelfmark serve`: the server in the foreground.

use std::process::ExitCode;

use shelfmark::server::{Config, Server};
use shelfmark::{Database, Error, Result};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Threads of sockets; they only move bytes.
const NETWORK_THREADS: usize = 2;
/// Bytes of a query thread's stack. Parsing and planning recurse as deep as a statement nests; only touched pages count.
const QUERY_STACK_BYTES: usize = 64 << 20;

/// Serves until the process is told to stop.
///
/// # Errors
/// When the database does not open or an address cannot be listened on.
pub fn run(config: Config) -> Result<ExitCode> {
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
    let served = network.block_on(serve(config, database.clone(), &queries));
    // Sessions hold the database until their last statement let go.
    network.shutdown_background();
    queries.block_on(async { drop(database) });
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
        None => Database::temporary(config.settings.clone()).await,
    }
}

async fn serve(config: Config, database: Database, queries: &Runtime) -> Result<()> {
    let server = Server::bind(config, database, queries.handle().clone()).await?;
    for address in server.addresses()? {
        tracing::info!(%address, "listening");
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let signal = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    server.run(shutdown).await;
    signal.abort();
    Ok(())
}
