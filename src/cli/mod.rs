//! The command line: `shelfmark sql`, `serve`, `inspect` and `verify`.
//!
//! `args` is what can be given; `script` cuts input into statements and meta commands; `shell` runs them one by
//! one, with its `variables`; `print` shows rows, `copy` moves the bytes of COPY; `interactive` and `complete` are the
//! prompt.

mod args;
mod complete;
mod copy;
mod inspect;
mod interactive;
mod interrupt;
mod meta;
mod print;
mod progress;
mod report;
mod script;
mod serve;
mod shell;
mod variables;
mod verify;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use shelfmark::storage::backup::restore;
use shelfmark::{Database, Error, Result};
use tracing_subscriber::EnvFilter;

use args::{Args, Command, SqlArgs};
use shell::{Failure, Shell, Stop};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if !matches!(args.command, Command::Serve(_)) {
        log_to_stderr();
    }
    let done = match args.command {
        Command::Sql(args) => sql(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Inspect(args) => {
            let shown = inspect::run(&args.directory, args.format);
            ended(shown.map(|()| ExitCode::SUCCESS))
        }
        Command::Restore(args) => restored(&args.backup, &args.directory),
        Command::Verify(args) => ended(verify::run(&args.directory, args.format)),
    };
    done.unwrap_or_else(|e| {
        report::error(&e, None);
        ExitCode::FAILURE
    })
}

fn restored(backup: &Path, directory: &Path) -> Result<ExitCode> {
    let copied = restore(backup, directory)?;
    println!(
        "version {} restored: {} files, {} bytes",
        copied.version, copied.files, copied.bytes
    );
    Ok(ExitCode::SUCCESS)
}

/// An output that is closed is no failure.
fn ended(ended: Result<ExitCode, Failure>) -> Result<ExitCode> {
    match ended {
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Stop(_)) => Ok(ExitCode::SUCCESS),
        Ok(code) => Ok(code),
    }
}

fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("SHELFMARK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

fn sql(args: &SqlArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("start the runtime", e))?;
    let database = runtime.block_on(async {
        match &args.data {
            Some(directory) => Database::open(directory, args.settings()?).await,
            None => Database::temporary(args.settings()?).await,
        }
    })?;
    let mut shell = Shell::new(runtime.handle().clone(), database.session(), args);
    let stopped = run(&mut shell, args);
    drop(shell);
    runtime.block_on(async { drop(database) });
    Ok(match stopped {
        Err(Stop::Failed) => ExitCode::FAILURE,
        Ok(()) | Err(Stop::Quit | Stop::OutputClosed) => ExitCode::SUCCESS,
    })
}

fn run(shell: &mut Shell, args: &SqlArgs) -> Result<(), Stop> {
    for text in &args.command {
        shell.text(text)?;
    }
    for file in &args.file {
        shell.file(file)?;
    }
    if !args.command.is_empty() || !args.file.is_empty() {
        return Ok(());
    }
    if std::io::stdin().is_terminal() {
        return interactive::run(shell);
    }
    shell.standard_input()
}
