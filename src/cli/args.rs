//! What can be given on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use shelfmark::error::sqlstate;
use shelfmark::server::config::Sources;
use shelfmark::settings::Settings;
use shelfmark::{Error, Result};

/// A columnar SQL engine for filtered vector search and analytics over clustered collections.
#[derive(Debug, Parser)]
#[command(name = "shelfmark", version, about)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run SQL: a prompt, or statements from files, the command line or standard input.
    Sql(SqlArgs),
    /// Serve the database to clients of the Postgres protocol.
    Serve(ServeArgs),
    /// Show what a database directory holds, without writing to it.
    Inspect(InspectArgs),
    /// Read every byte of a database directory against its checksums, without writing to it.
    Verify(InspectArgs),
    /// Make a database directory from a backup, or from a copy of a directory that was not open.
    Restore(RestoreArgs),
}

#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// The new database directory, empty or made.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The database directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The database directory, made where there is none. Without it: a temporary database, removed at exit.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Addresses to listen on, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The configuration file; examples/shelfmark.toml shows all of it.
    #[arg(long, value_name = "FILE", env = "SHELFMARK_CONFIG")]
    pub config: Option<PathBuf>,
    /// A directory for a Unix socket.
    #[arg(long, value_name = "DIR")]
    pub unix_socket_directory: Option<PathBuf>,
    /// Addresses of HTTP (/healthz, /readyz, /metrics), separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// The server's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Which events are logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How lines of the log are written: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// One key of the configuration, over the file's; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Say whether the configuration is right, and exit.
    #[arg(long)]
    pub check_config: bool,
}

impl ServeArgs {
    /// Where the configuration comes from: the file, the environment and the flags.
    ///
    /// # Errors
    /// 22023 for a flag without a value.
    pub fn sources(&self) -> Result<Sources> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let own = [
            ("server.data", path(&self.data)),
            ("server.listen", self.listen.clone()),
            (
                "server.unix_socket_directory",
                path(&self.unix_socket_directory),
            ),
            ("server.http_listen", self.http_listen.clone()),
            ("tls.cert_file", path(&self.tls_cert)),
            ("tls.key_file", path(&self.tls_key)),
            ("log.level", self.log_level.clone()),
            ("log.format", self.log_format.clone()),
        ];
        let mut flags = assignments(&self.set)?;
        let given = own
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_string(), text?)));
        flags.extend(given);
        Ok(Sources {
            file: self.config.clone(),
            environment: environment(),
            flags,
        })
    }
}

#[derive(Debug, clap::Args)]
pub struct SqlArgs {
    /// Run the statements of a file and exit ("-" is standard input); may be given more than once.
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Run these statements and exit; may be given more than once, runs before files.
    #[arg(short, long, value_name = "SQL")]
    pub command: Vec<String>,
    /// The database directory, made where there is none. Without it: a temporary database, removed at exit.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE", env = "SHELFMARK_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, over the file's; may be given more than once. The table shelfmark.settings lists them.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Print rows and errors only.
    #[arg(short, long)]
    pub quiet: bool,
}

impl SqlArgs {
    /// The settings to open the database with: the defaults, then the file's, the environment's and the flags'.
    ///
    /// # Errors
    /// 42704 or 22023 for a setting that does not exist or a value that it cannot have, 58P01 for a missing file.
    pub fn settings(&self) -> Result<Settings> {
        let sources = Sources {
            file: self.config.clone(),
            environment: environment(),
            flags: assignments(&self.set)?,
        };
        Ok(sources.load()?.settings)
    }
}

/// The variables of the environment whose names and values are text.
fn environment() -> Vec<(String, String)> {
    let variables = std::env::vars_os();
    let texts = variables.map(|(n, v)| n.into_string().ok().zip(v.into_string().ok()));
    texts.flatten().collect()
}

/// Names and values of `--set`.
fn assignments(given: &[String]) -> Result<Vec<(String, String)>> {
    let pairs = given.iter().map(|assignment| {
        let (name, value) = assignment.split_once('=').ok_or_else(|| {
            let message = format!("--set {assignment} has no value");
            Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint("Write --set NAME=VALUE.")
        })?;
        let name = name.trim().trim_start_matches("shelfmark.");
        Ok((name.to_string(), value.to_string()))
    });
    pairs.collect()
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns; long values are shortened.
    #[default]
    Table,
    /// Comma-separated values with a header; NULL is empty, empty text is "".
    Csv,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// A Markdown table; long values are shortened.
    Markdown,
}

impl Format {
    /// Whether a person reads it: then tags and counts are printed too, and long values are shortened.
    pub fn is_for_reading(self) -> bool {
        matches!(self, Self::Table | Self::Markdown)
    }
}
