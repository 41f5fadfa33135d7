//! The work of a search, taken by whoever is free.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::scan::RowGroup;
use crate::storage::collection::Segment;
use crate::storage::growing::GrowingSegment;
use crate::storage::segment::SegmentReader;
use crate::storage::vectors::VectorPages;

/// A segment to search, by its place among them.
#[derive(Debug, Clone)]
pub(super) enum Unit {
    Growing(Arc<GrowingSegment>),
    Sealed(Arc<Segment>),
}

/// A sealed segment whose file is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub unit: u32,
    pub segment: Arc<Segment>,
    pub reader: Arc<SegmentReader>,
    /// The vectors, where the file has them in raw pages.
    pub pages: Option<Arc<VectorPages>>,
}

/// Candidates that are measured together.
#[derive(Debug)]
pub(super) struct Piece {
    /// The cell of the segment that they are in, if it has cells.
    pub cell: Option<usize>,
    /// Ascending.
    pub rows: Vec<Range<u32>>,
}

impl Piece {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.iter().map(ExactSizeIterator::len).sum()
    }
}

/// A piece of work, short enough that others wait for it.
#[derive(Debug)]
pub(super) enum Task {
    /// To open a segment and see which row groups may have candidates, or to search a growing one.
    Open(u32),
    /// To find the candidates of a row group.
    Find(Arc<Opened>, RowGroup),
    /// To measure candidates, the nearest first.
    Measure(Arc<Opened>, Vec<Piece>),
}

/// Tasks that wait. What is nearer to its end comes first, so that few wait.
#[derive(Debug)]
pub(super) struct Pool {
    tasks: Mutex<Tasks>,
    changed: Notify,
}

#[derive(Debug)]
struct Tasks {
    open: VecDeque<u32>,
    find: VecDeque<Task>,
    measure: VecDeque<Task>,
    /// Tasks that somebody works on; they may lead to more.
    taken: usize,
}

impl Tasks {
    fn pop(&mut self) -> Option<Task> {
        let next = self.measure.pop_front().or_else(|| self.find.pop_front());
        next.or_else(|| self.open.pop_front().map(Task::Open))
    }
}

impl Pool {
    /// The segments to search, in the order in which they are opened.
    pub fn new(units: impl IntoIterator<Item = u32>) -> Self {
        let tasks = Tasks {
            open: units.into_iter().collect(),
            find: VecDeque::new(),
            measure: VecDeque::new(),
            taken: 0,
        };
        Self {
            tasks: Mutex::new(tasks),
            changed: Notify::new(),
        }
    }

    /// The next task, which [`Pool::done`] must follow; waits while others may still add tasks.
    pub async fn next(&self) -> Option<Task> {
        loop {
            // Made before the look at the tasks, so that no change between the two is missed.
            let changed = self.changed.notified();
            {
                let mut tasks = self.tasks.lock();
                if let Some(task) = tasks.pop() {
                    tasks.taken += 1;
                    return Some(task);
                }
                if tasks.taken == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Adds tasks that a task led to.
    pub fn add(&self, added: impl IntoIterator<Item = Task>) {
        let mut tasks = self.tasks.lock();
        for task in added {
            match task {
                Task::Open(unit) => tasks.open.push_back(unit),
                Task::Find(..) => tasks.find.push_back(task),
                Task::Measure(..) => tasks.measure.push_back(task),
            }
        }
        drop(tasks);
        self.changed.notify_waiters();
    }

    /// A task is done.
    pub fn done(&self) {
        let mut tasks = self.tasks.lock();
        tasks.taken -= 1;
        if tasks.taken == 0 {
            self.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_free_waits_for_what_others_add() {
        let pool = Arc::new(Pool::new([0]));
        assert!(matches!(pool.next().await, Some(Task::Open(0))));
        let idle = Arc::clone(&pool);
        let waiting = tokio::spawn(async move {
            let next = idle.next().await;
            idle.done();
            (next.is_some(), idle.next().await.is_none())
        });
        tokio::task::yield_now().await;
        pool.add([Task::Open(1)]);
        pool.done();
        assert_eq!(waiting.await.unwrap(), (true, true));
    }
}
