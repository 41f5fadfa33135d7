//! Where a statement is executed: as a task on the runtime of queries; where its connection is served, if it takes less
//! than to wake another thread.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::connection::panicked;
use super::running::Ended;
use crate::error::Error;

/// How long a stopped statement may take to let go before the client is answered without it.
const STOP_GRACE: Duration = Duration::from_millis(50);
/// What has computed for longer than this was thought quick by mistake, and goes on elsewhere.
const COMPUTED_MAX: Duration = Duration::from_millis(1);

/// A statement that has begun; it is stopped when this is dropped.
pub struct Execution {
    quick: Option<Quick>,
    ended: Option<Ended>,
    task: Option<JoinHandle<Ended>>,
    queries: Handle,
}

impl Execution {
    /// The statement as a task on `queries`.
    pub fn spawned(
        statement: impl Future<Output = Ended> + Send + 'static,
        queries: Handle,
    ) -> Self {
        Self {
            quick: None,
            ended: None,
            task: Some(queries.spawn(statement)),
            queries,
        }
    }

    /// A statement that has begun here.
    pub fn here(quick: Quick) -> Self {
        Self {
            queries: quick.queries.clone(),
            quick: Some(quick),
            ended: None,
            task: None,
        }
    }

    /// Goes on with what runs here, until it has ended or goes on as a task; does not come back from a task.
    pub async fn progress(&mut self) {
        let Some(quick) = &mut self.quick else {
            return std::future::pending().await;
        };
        match quick.await {
            Some(ended) => {
                self.quick = None;
                self.ended = Some(ended);
            }
            None => self.leave(),
        }
    }

    /// Lets what runs here go on as a task.
    fn leave(&mut self) {
        if let Some(quick) = self.quick.take() {
            self.task = Some(self.queries.spawn(quick.running));
        }
    }

    /// Stops it, and waits a little so that what it holds is usually free when the client hears of it.
    pub async fn stop(&mut self, reason: Error) -> Error {
        self.leave();
        if let Some(task) = &mut self.task {
            task.abort();
            let _late = tokio::time::timeout(STOP_GRACE, task).await;
        }
        reason
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Ended {
        self.leave();
        match (self.ended.take(), &mut self.task) {
            (Some(ended), _) => ended,
            (None, Some(task)) => Ended::or_panicked(task.await),
            (None, None) => Ended::or_panicked(Err(())),
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Ended {
    fn or_panicked<E>(ended: Result<Self, E>) -> Self {
        ended.unwrap_or_else(|_| Self {
            bytes: BytesMut::new(),
            end: Err(panicked()),
        })
    }
}

/// A statement that is expected to end soon. It gives its end, or `None` when it turns out not to be quick.
pub struct Quick {
    running: BoxFuture<'static, Ended>,
    queries: Handle,
    computed: Duration,
}

impl Quick {
    /// The statement; what it spawns runs on `queries`.
    pub fn new(running: impl Future<Output = Ended> + Send + 'static, queries: Handle) -> Self {
        let running = AssertUnwindSafe(running).catch_unwind();
        Self {
            running: running.map(Ended::or_panicked).boxed(),
            queries,
            computed: Duration::ZERO,
        }
    }
}

impl Future for Quick {
    type Output = Option<Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let quick = &mut *self;
        let _queries = quick.queries.enter();
        let begun = Instant::now();
        let polled = quick.running.poll_unpin(context);
        quick.computed += begun.elapsed();
        match polled {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if quick.computed > COMPUTED_MAX => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::running::End;

    fn ended() -> Ended {
        Ended {
            bytes: BytesMut::new(),
            end: Ok(End::Complete("SELECT 1".to_string())),
        }
    }

    #[tokio::test]
    async fn what_waits_stays_and_what_computes_goes() {
        let queries = Handle::current;
        let waits = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            ended()
        };
        assert!(Quick::new(waits, queries()).await.is_some());
        let computes = async {
            std::thread::sleep(COMPUTED_MAX * 2);
            tokio::task::yield_now().await;
            ended()
        };
        let mut execution = Execution::here(Quick::new(computes, queries()));
        execution.progress().await;
        assert!(execution.task.is_some());
        assert!(execution.end().await.end.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_the_statements_alone() {
        let panics = async { panic!("planned") };
        let ended = Quick::new(panics, Handle::current()).await.unwrap();
        assert_eq!(ended.end.err().unwrap().sqlstate(), "XX000");
    }
}
