//! Disks that stop, fail and remember.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::storage::disk::{Disk, Files, Operation};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing: operations are counted.
    Count,
    /// From this operation on, the first being 0, none that changes anything happens: the process was killed.
    StopAt(u64),
    /// This operation does not happen, and answers with this error number; reads count too.
    FailAt(u64, i32),
    /// The names in a directory of segments do not become durable this time, the first being 0, for this error number.
    FailName(u64, i32),
}

/// A disk by plan. Nothing is ever synced: who reads the files again reads them from memory.
#[derive(Debug)]
pub(super) struct Rig {
    plan: Plan,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: u64,
    operations: u64,
    names: u64,
    failed: Option<String>,
}

impl Rig {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan,
            state: Mutex::default(),
        })
    }

    /// The files of this disk.
    pub(super) fn files(self: &Arc<Self>) -> Files {
        Files::on(Arc::clone(self) as _)
    }

    /// How many operations there were that change something.
    pub(super) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The operation that went wrong first.
    pub(super) fn failed(&self) -> Option<String> {
        self.state.lock().failed.clone()
    }

    fn judge(&self, operation: &Operation<'_>) -> io::Result<()> {
        let mut state = self.state.lock();
        let (change, any) = (state.changes, state.operations);
        let changes = is_change(operation);
        let (name, names) = (state.names, is_name_of_segment(operation));
        state.operations += 1;
        state.changes += u64::from(changes);
        state.names += u64::from(names);
        let error = match self.plan {
            Plan::StopAt(stop) if changes && change >= stop => io::Error::other("killed"),
            Plan::FailAt(place, code) if any == place => io::Error::from_raw_os_error(code),
            Plan::FailName(place, code) if names && name == place => {
                io::Error::from_raw_os_error(code)
            }
            _ => return Ok(()),
        };
        state.failed.get_or_insert_with(|| words(operation));
        Err(error)
    }
}

impl Disk for Rig {
    fn perform(
        &self,
        operation: Operation<'_>,
        act: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        self.judge(&operation)?;
        match operation {
            Operation::Sync(_) | Operation::SyncDirectory(_) => Ok(()),
            _ => act(),
        }
    }
}

fn is_change(operation: &Operation<'_>) -> bool {
    !matches!(operation, Operation::Read(_) | Operation::List(_))
}

/// A disk that can be closed: it holds who publishes a segment then, until it is opened.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum GateState {
    #[default]
    Open,
    /// So many segments may still be published.
    Closed(u32),
    /// Somebody stands before it.
    Holds,
}

impl Gate {
    /// The files of this disk.
    pub(super) fn files(self: &Arc<Self>) -> Files {
        Files::on(Arc::clone(self) as _)
    }

    /// Closes it behind so many segments.
    pub(super) fn close_after(&self, segments: u32) {
        self.turn(GateState::Closed(segments));
    }

    pub(super) fn open(&self) {
        self.turn(GateState::Open);
    }

    /// Waits until somebody stands before it; whether that was so in time.
    pub(super) fn wait_for_somebody(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        let stands = |state: &mut GateState| *state != GateState::Holds;
        let waited = self.moved.wait_while_for(&mut state, stands, limit);
        !waited.timed_out()
    }

    fn turn(&self, to: GateState) {
        *self.state.lock() = to;
        self.moved.notify_all();
    }
}

impl Disk for Gate {
    fn perform(
        &self,
        operation: Operation<'_>,
        act: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let publishes = matches!(operation, Operation::Link(_, to) if to.extension().is_some_and(|e| e == "parquet"));
        let mut state = self.state.lock();
        match *state {
            GateState::Closed(0) if publishes => {
                *state = GateState::Holds;
                self.moved.notify_all();
                let held = |state: &mut GateState| *state == GateState::Holds;
                self.moved.wait_while(&mut state, held);
            }
            GateState::Closed(left) if publishes => *state = GateState::Closed(left - 1),
            _ => {}
        }
        drop(state);
        match operation {
            Operation::Sync(_) | Operation::SyncDirectory(_) => Ok(()),
            _ => act(),
        }
    }
}

/// Whether names in the directory of a collection's segments become durable.
fn is_name_of_segment(operation: &Operation<'_>) -> bool {
    let Operation::SyncDirectory(directory) = operation else {
        return false;
    };
    let above = directory.parent();
    above.is_some_and(|above| above.ends_with("segments"))
}

/// An operation in a few words, without its bytes.
fn words(operation: &Operation<'_>) -> String {
    match operation {
        Operation::Write(path, at, bytes) => {
            format!("write {} bytes at {at} of {}", bytes.len(), path.display())
        }
        other => format!("{other:?}"),
    }
}

/// An operation that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// A new, empty file.
    Create(PathBuf),
    /// The file of that name is known by it from now on; made where there is none.
    Open(PathBuf),
    Write(PathBuf, u64, Content),
    SetLength(PathBuf, u64),
    Sync(PathBuf),
    SyncDirectory(PathBuf),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    CreateDirectory(PathBuf),
    RemoveDirectory(PathBuf),
}

/// What was written; zeros, with which logs are made longer, by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Zeros(u64),
    Bytes(Arc<[u8]>),
}

impl Content {
    fn new(bytes: &[u8]) -> Self {
        match bytes.iter().all(|b| *b == 0) {
            true => Self::Zeros(bytes.len() as u64),
            false => Self::Bytes(bytes.into()),
        }
    }
}

/// A disk that remembers what it did, by names below the root of the database.
#[derive(Debug)]
pub(super) struct Recorder {
    root: PathBuf,
    trace: Mutex<Vec<Done>>,
}

impl Recorder {
    pub(super) fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_path_buf(),
            trace: Mutex::default(),
        })
    }

    /// The files of this disk.
    pub(super) fn files(self: &Arc<Self>) -> Files {
        Files::on(Arc::clone(self) as _)
    }

    /// How many operations there were.
    pub(super) fn len(&self) -> usize {
        self.trace.lock().len()
    }

    /// All operations, in the order in which they ended.
    pub(super) fn trace(&self) -> Vec<Done> {
        self.trace.lock().clone()
    }

    fn done(&self, operation: Operation<'_>) -> Option<Done> {
        let path = |path: &Path| {
            let below = path.strip_prefix(&self.root);
            below.map_or_else(|_| PathBuf::from(".."), Path::to_path_buf)
        };
        Some(match operation {
            Operation::Create(file) => Done::Create(path(file)),
            Operation::Open(file) => Done::Open(path(file)),
            Operation::Write(file, at, bytes) => Done::Write(path(file), at, Content::new(bytes)),
            Operation::SetLength(file, bytes) => Done::SetLength(path(file), bytes),
            Operation::Sync(file) => Done::Sync(path(file)),
            Operation::SyncDirectory(directory) => Done::SyncDirectory(path(directory)),
            Operation::Link(from, to) => Done::Link(path(from), path(to)),
            Operation::Rename(from, to) => Done::Rename(path(from), path(to)),
            Operation::Remove(file) => Done::Remove(path(file)),
            Operation::CreateDirectory(directory) => Done::CreateDirectory(path(directory)),
            Operation::RemoveDirectory(directory) => Done::RemoveDirectory(path(directory)),
            Operation::Read(_) | Operation::List(_) => return None,
        })
    }
}

impl Disk for Recorder {
    fn perform(
        &self,
        operation: Operation<'_>,
        act: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        // Held while it happens: threads that change files take turns, so that the trace has their order.
        let mut trace = self.trace.lock();
        match operation {
            Operation::Sync(_) | Operation::SyncDirectory(_) => {}
            _ => act()?,
        }
        trace.extend(self.done(operation));
        Ok(())
    }
}
