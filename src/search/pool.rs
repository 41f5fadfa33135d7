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

/// A task with the work that it stands for, as bytes of vectors that are compared in the same time.
pub(super) type Weighed = (Task, u64);

/// Tasks that wait. What is nearer to its end comes first, so that few wait.
#[derive(Debug)]
pub(super) struct Pool {
    tasks: Mutex<Tasks>,
    changed: Notify,
}

#[derive(Debug)]
struct Tasks {
    open: VecDeque<Weighed>,
    find: VecDeque<Weighed>,
    measure: VecDeque<Weighed>,
    /// What all that wait stand for.
    waiting_bytes: u64,
    /// Tasks that somebody works on; they may lead to more.
    taken: usize,
}

impl Tasks {
    fn pop(&mut self) -> Option<Task> {
        let next = self.measure.pop_front().or_else(|| self.find.pop_front());
        let (task, bytes) = next.or_else(|| self.open.pop_front())?;
        self.waiting_bytes -= bytes;
        Some(task)
    }

    fn push(&mut self, (task, bytes): Weighed) {
        self.waiting_bytes += bytes;
        let waiting = match task {
            Task::Open(_) => &mut self.open,
            Task::Find(..) => &mut self.find,
            Task::Measure(..) => &mut self.measure,
        };
        waiting.push_back((task, bytes));
    }
}

impl Pool {
    /// What there is to do at first; segments are opened in this order.
    pub fn new(first: impl IntoIterator<Item = Weighed>) -> Self {
        let mut tasks = Tasks {
            open: VecDeque::new(),
            find: VecDeque::new(),
            measure: VecDeque::new(),
            waiting_bytes: 0,
            taken: 0,
        };
        first.into_iter().for_each(|task| tasks.push(task));
        Self {
            tasks: Mutex::new(tasks),
            changed: Notify::new(),
        }
    }

    /// The work that nobody has taken yet.
    pub fn waiting_bytes(&self) -> u64 {
        self.tasks.lock().waiting_bytes
    }

    /// The next task; waits while others may still add tasks.
    pub async fn next(&self) -> Option<(Task, Taken<'_>)> {
        loop {
            // Made before the look at the tasks, so that no change between the two is missed.
            let changed = self.changed.notified();
            {
                let mut tasks = self.tasks.lock();
                if let Some(task) = tasks.pop() {
                    tasks.taken += 1;
                    return Some((task, Taken(self)));
                }
                if tasks.taken == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Adds tasks that a task led to.
    pub fn add(&self, added: impl IntoIterator<Item = Weighed>) {
        let mut tasks = self.tasks.lock();
        added.into_iter().for_each(|task| tasks.push(task));
        drop(tasks);
        self.changed.notify_waiters();
    }

    /// Forgets what waits: the search has failed.
    pub fn clear(&self) {
        let mut tasks = self.tasks.lock();
        tasks.measure.clear();
        tasks.find.clear();
        tasks.open.clear();
        tasks.waiting_bytes = 0;
    }
}

/// As long as it is held, its task may lead to more; a panic drops it too.
pub(super) struct Taken<'a>(&'a Pool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut tasks = self.0.tasks.lock();
        tasks.taken -= 1;
        if tasks.taken == 0 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_free_waits_for_what_others_add() {
        let pool = Arc::new(Pool::new([(Task::Open(0), 3)]));
        assert_eq!(pool.waiting_bytes(), 3);
        let (task, taken) = pool.next().await.unwrap();
        assert!(matches!(task, Task::Open(0)));
        let idle = Arc::clone(&pool);
        let waiting = tokio::spawn(async move {
            let is_some = idle.next().await.is_some();
            (is_some, idle.next().await.is_none())
        });
        tokio::task::yield_now().await;
        pool.add([(Task::Open(1), 4)]);
        drop(taken);
        assert_eq!(waiting.await.unwrap(), (true, true));
        assert_eq!(pool.waiting_bytes(), 0);
    }

    #[tokio::test]
    async fn what_was_forgotten_is_not_waited_for() {
        let pool = Pool::new([(Task::Open(0), 3), (Task::Open(1), 3)]);
        let taken = pool.next().await.unwrap();
        pool.clear();
        drop(taken);
        assert!(pool.next().await.is_none());
        assert_eq!(pool.waiting_bytes(), 0);
    }
}
