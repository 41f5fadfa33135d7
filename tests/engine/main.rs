//! All integration tests in one binary, so that everything is linked once.
//!
//! `bombs` sends statements that are too complex; `copy` sends and takes the bytes of COPY;
//! `slt` runs `tests/slt`; `scripts`, `readme` and `examples` run what users are shown; `cli`, `kill` and `power` start the real program;
//! `formats` opens databases that earlier programs wrote; `login` comes in by password and TLS;
//! `fuzz` (in `tests/fuzz`) reads bytes that nobody meant; `integrity` damages files and restores backups;
//! `search` compares vector search with the plain plan;
//! `memory` looks at that of the program while it clusters; `day` plays a day of small commits and looks at the disk;
//! `layout` holds the shape of the sources; `limits` reaches those of memory and disk;
//! `ttl` compares a collection whose rows expire with a filter;
//! `wire` speaks to the server, `raw` is its client; `live` has sessions that look at each other; `clients` runs psql and
//! psycopg where they are installed.
#![allow(clippy::unwrap_used, missing_docs)]

mod bombs;
mod cli;
mod clients;
mod connections;
mod copy;
mod day;
mod examples;
mod formats;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod integrity;
mod kill;
mod layout;
mod limits;
mod live;
mod login;
mod memory;
mod operation;
mod power;
mod raw;
mod readme;
mod returning;
mod scripts;
mod search;
mod slt;
mod text;
mod transactions;
mod ttl;
mod types;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The real program, run from the root of the repository, without the variables that are meant for tests or for whoever
/// runs them.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shelfmark"));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHELFMARK_") {
            command.env_remove(name);
        }
    }
    command
}

/// The files below a directory whose names end so, in order.
fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
