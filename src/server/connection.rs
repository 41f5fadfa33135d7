//! One client's connection after its login: messages in, answers out.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use pgwire::messages::copy::CopyInResponse;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, NotificationResponse};
use pgwire::messages::startup::ParameterStatus;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::execution::{Execution, Quick};
use super::extended::{Portal, Statement};
use super::frame::{Broken, Frontend, violation};
use super::listen::Shared;
use super::log::RunningStatement;
use super::respond::{self, Severity};
use super::running::{CHUNKS_MAX, End, Ended, Event, copy_formats, start_text};
use super::transport::{Gone, Received, Transport};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::sql::backends::{Backend, Entry, State};
use crate::sql::{CopyInput, CopyShape, Recall, Session, TransactionStatus, split};

/// A connection whose client has logged in.
pub struct Connection {
    pub(super) transport: Transport,
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
    /// The prepared statement without a name; those with names are the session's, which knows them in SQL too.
    pub(super) unnamed: Option<Statement>,
    pub(super) portals: HashMap<String, Portal>,
    entry: Entry,
    /// The statement that runs, until it has ended.
    running: Option<RunningStatement>,
    /// After an error in a run of extended messages, they are skipped up to the Sync.
    skipping: bool,
}

/// How long a session that shall end may take to say so to a client that may not be reading.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What to do after a message.
enum Next {
    Continue,
    Close,
}

impl Connection {
    /// Of a session that is entered among the backends.
    pub fn new(transport: Transport, shared: Arc<Shared>, session: Session, entry: Entry) -> Self {
        Self {
            transport,
            shared,
            session,
            unnamed: None,
            portals: HashMap::new(),
            entry,
            running: None,
            skipping: false,
        }
    }

    /// The session among the others.
    pub fn backend(&self) -> &Arc<Backend> {
        self.entry.backend()
    }

    /// Serves the client until it goes.
    pub async fn serve(mut self) -> Gone {
        let ended = self.entry.backend().ended().clone();
        let overdue = async {
            ended.cancelled().await;
            tokio::time::sleep(END_LIMIT).await;
        };
        let served = tokio::select! {
            served = self.messages() => served,
            () = overdue => return Gone::Ended,
        };
        match served {
            Ok(()) => {
                self.transport.close().await;
                Gone::Closed
            }
            Err(gone) => gone,
        }
    }

    async fn messages(&mut self) -> Result<(), Gone> {
        self.report_parameters()?;
        self.ready().await?;
        loop {
            let next = match self.receive().await? {
                Ok(Received::Message(message)) => self.message(message).await?,
                Ok(Received::Broken(Broken::Message(e))) => {
                    self.fail(&e, "", 0)?;
                    self.skipping = true;
                    Next::Continue
                }
                Ok(Received::Broken(Broken::Stream(e))) | Err(e) => {
                    self.fatal(&e)?;
                    Next::Close
                }
            };
            if matches!(next, Next::Close) {
                return Ok(());
            }
        }
    }

    /// The next message, or why the session must end without one.
    async fn receive(&mut self) -> Result<Result<Received>, Gone> {
        if let Some(received) = self.transport.received() {
            return Ok(Ok(received));
        }
        let expired = expire(self.idle_limit());
        tokio::pin!(expired);
        let ended = self.entry.backend().ended().clone();
        let draining = self.shared.draining.clone();
        let is_idle = self.session.transaction_status() == TransactionStatus::Idle;
        let session = self.session.clone();
        loop {
            tokio::select! {
                received = self.transport.receive() => return Ok(Ok(received?)),
                () = ended.cancelled() => return Ok(Err(terminated())),
                () = draining.cancelled() => return Ok(Err(terminated())),
                e = &mut expired => return Ok(Err(e)),
                () = session.notified(), if is_idle => {
                    self.tell_notifications()?;
                    self.transport.flush().await?;
                }
            }
        }
    }

    /// Sends what other sessions told this one.
    fn tell_notifications(&mut self) -> Result<(), Gone> {
        for told in self.session.take_notifications() {
            let (channel, payload) = (told.channel.to_string(), told.payload.to_string());
            self.put(&NotificationResponse::new(told.pid, channel, payload))?;
        }
        Ok(())
    }

    /// How long the session may now wait for its client.
    fn idle_limit(&self) -> Option<(Duration, Error)> {
        let timeouts = self.session.timeouts();
        let (limit, sqlstate, message) = match self.session.transaction_status() {
            TransactionStatus::Idle => (
                timeouts.idle_session,
                sqlstate::IDLE_SESSION_TIMEOUT,
                "terminating connection due to idle-session timeout",
            ),
            _ => (
                timeouts.idle_in_transaction,
                sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            ),
        };
        limit.map(|limit| (limit, Error::new(ErrorKind::Cancelled, sqlstate, message)))
    }

    async fn message(&mut self, message: Frontend) -> Result<Next, Gone> {
        match message {
            Frontend::Terminate => return Ok(Next::Close),
            Frontend::Sync => {
                self.skipping = false;
                if let Err(e) = self.end_implicit().await {
                    self.fail(&e, "", 0)?;
                }
                self.ready().await?;
            }
            // Also in a run that is skipped: the client waits for the error.
            Frontend::Flush => self.transport.flush().await?,
            // What a client still sends after its COPY failed.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => {}
            _ if self.skipping => {}
            Frontend::Query(text) => self.query(&text).await?,
            Frontend::Parse { name, text, types } => {
                let parsed = self.parse(name, &text, &types).await?;
                self.extended(parsed, &text)?;
            }
            Frontend::Bind {
                portal,
                statement,
                formats,
                parameters,
                results,
            } => {
                let bound = self.bind(portal, &statement, &formats, &parameters, &results);
                self.extended(bound, "")?;
            }
            Frontend::Describe(target) => {
                let described = self.describe(&target);
                self.extended(described, "")?;
            }
            Frontend::Close(target) => {
                let closed = self.close(&target);
                self.extended(closed, "")?;
            }
            Frontend::Execute { portal, rows } => {
                let executed = self.execute(&portal, rows).await?;
                let text = self.portals.get(&portal).map(|p| Arc::clone(p.text()));
                self.extended(executed, text.as_deref().unwrap_or_default())?;
            }
            Frontend::FunctionCall => {
                let e = Error::unsupported("function calls by OID are not supported");
                self.fail(&e, "", 0)?;
                self.ready().await?;
            }
            Frontend::Password(_) => {
                self.fatal(&violation("unexpected password message"))?;
                return Ok(Next::Close);
            }
        }
        if self.entry.backend().ended().is_cancelled() {
            self.fatal(&terminated())?;
            return Ok(Next::Close);
        }
        Ok(Next::Continue)
    }

    /// The end of an extended message: an error makes the rest of the run be skipped.
    fn extended(&mut self, done: Result<()>, text: &str) -> Result<(), Gone> {
        if let Err(e) = done {
            self.skipping = true;
            self.fail(&e, text, 0)?;
        }
        Ok(())
    }

    /// A string of statements: each is answered before the next begins, and the first error ends them. Several are
    /// one transaction, which is committed before the last of them is answered.
    async fn query(&mut self, text: &str) -> Result<(), Gone> {
        self.unnamed = None;
        self.portals.remove("");
        let recall = self.session.recall(text);
        if let Some(repeated) = &recall.repeated {
            let is_quick = repeated.prepared.is_quick(&self.session);
            return self.query_again(text, recall, is_quick).await;
        }
        // A text without others is what was looked for.
        let mut recall = Some(recall);
        let pieces = split(text);
        let pieces: Vec<_> = pieces.complete.into_iter().chain(pieces.rest).collect();
        if pieces.is_empty() {
            self.put(&EmptyQueryResponse::new())?;
        }
        let (together, last) = (pieces.len() > 1, pieces.len().saturating_sub(1));
        for (at, piece) in pieces.into_iter().enumerate() {
            if together {
                self.session.begin_implicit();
            }
            self.active(&piece.text);
            let (session, statement) = (self.session.clone(), piece.text);
            let recall = recall.take().filter(|_| !together);
            let recall = recall.unwrap_or_else(|| session.recall(&statement));
            let end = self
                .run(|events| start_text(session, statement, recall, events))
                .await?;
            let goes_on = self.answered(end, text, piece.offset, at == last).await?;
            if !goes_on {
                break;
            }
        }
        self.ready().await
    }

    /// A single statement that the session recalls.
    async fn query_again(
        &mut self,
        text: &str,
        recall: Recall,
        is_quick: bool,
    ) -> Result<(), Gone> {
        self.active(text.trim_end().trim_end_matches(';'));
        let (session, statement) = (self.session.clone(), text.to_string());
        let start = |events| start_text(session, statement, recall, events);
        let end = match is_quick {
            true => self.run_here(start).await?,
            false => self.run(start).await?,
        };
        self.answered(end, text, 0, true).await?;
        self.ready().await
    }

    /// The end of a statement that stands at byte `offset` of a query's text; gives whether the next one may begin.
    async fn answered(
        &mut self,
        mut end: Result<End>,
        text: &str,
        offset: usize,
        is_last: bool,
    ) -> Result<bool, Gone> {
        if end.is_ok() && is_last {
            end = self.end_implicit().await.and(end);
        }
        let Err(e) = self.complete(end)? else {
            return Ok(true);
        };
        self.fail(&e, text, offset)?;
        if let Err(e) = self.end_implicit().await {
            self.fail(&e, "", 0)?;
        }
        Ok(false)
    }

    /// Commits an implicit transaction, if there is one, on the runtime of queries; rolls it back when a statement of
    /// it has failed.
    async fn end_implicit(&mut self) -> Result<()> {
        if !self.session.is_implicit() {
            return Ok(());
        }
        let session = self.session.clone();
        let end = self
            .shared
            .queries
            .spawn(async move { session.end_implicit().await });
        end.await.unwrap_or_else(|_| Err(panicked()))
    }

    /// Whether the next message is a Sync. A client that waits for an answer has sent that or a Flush.
    pub(super) async fn is_before_sync(&mut self) -> Result<bool, Gone> {
        let ended = self.entry.backend().ended().clone();
        tokio::select! {
            kind = self.transport.peek() => Ok(kind? == b'S'),
            () = ended.cancelled() => Ok(true),
        }
    }

    /// Sends what stands at the end of a statement: notices, changed parameters, the tag.
    pub(super) fn complete(&mut self, end: Result<End>) -> Result<Result<Option<End>>, Gone> {
        for notice in self.session.take_notices() {
            self.put(&respond::notice(&notice))?;
        }
        self.report_parameters()?;
        match &end {
            Ok(End::Complete(tag)) => self.statement_ended(Ok(tag)),
            Ok(End::Suspended(_)) => {}
            Err(e) => self.statement_ended(Err(e)),
        }
        Ok(match end {
            Ok(End::Complete(tag)) => {
                self.put(&CommandComplete::new(tag))?;
                Ok(None)
            }
            Ok(suspended) => Ok(Some(suspended)),
            Err(e) => Err(e),
        })
    }

    fn report_parameters(&mut self) -> Result<(), Gone> {
        for (name, value) in self.session.take_changed_parameters() {
            if name == "application_name" {
                let value = value.clone();
                self.entry.backend().update(|a| a.application_name = value);
            }
            if name == "client_encoding" {
                self.transport.set_encoding(self.session.style().encoding);
            }
            self.put(&ParameterStatus::new(name, value))?;
        }
        Ok(())
    }

    /// Runs a task of the query runtime and writes what it hands over.
    ///
    /// The outer error is the client's going, the inner one the statement's.
    pub(super) async fn run<F>(
        &mut self,
        start: impl FnOnce(mpsc::Sender<Event>) -> F,
    ) -> Result<Result<End>, Gone>
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(CHUNKS_MAX);
        let task = Execution::spawned(start(sender), self.shared.queries.clone());
        self.attend(task, events).await
    }

    /// [`Connection::run`] of something that takes less than to wake another thread for it. If it computes for long after
    /// all, it goes on as a task.
    pub(super) async fn run_here<F>(
        &mut self,
        start: impl FnOnce(mpsc::Sender<Event>) -> F,
    ) -> Result<Result<End>, Gone>
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let (sender, mut events) = mpsc::channel(CHUNKS_MAX);
        let mut quick = Quick::new(start(sender), self.shared.queries.clone());
        let Some(Some(ended)) = (&mut quick).now_or_never() else {
            return self.attend(Execution::here(quick), events).await;
        };
        while let Ok(Event::Bytes(bytes)) = events.try_recv() {
            self.transport.put_bytes(bytes).await?;
        }
        self.transport.put_bytes(ended.bytes).await?;
        Ok(ended.end)
    }

    /// Writes what a statement hands over, until its end.
    async fn attend(
        &mut self,
        mut execution: Execution,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<Result<End>, Gone> {
        let stop = self.stop();
        loop {
            tokio::select! {
                biased;
                e = stop.happens() => return Ok(Err(execution.stop(e).await)),
                event = events.recv() => match event {
                    None => break,
                    Some(Event::Bytes(bytes)) => {
                        let written = async {
                            self.transport.put_bytes(bytes).await?;
                            self.transport.flush().await
                        };
                        // A client that does not read must not keep its statement from being stopped.
                        tokio::select! {
                            biased;
                            written = written => written?,
                            e = stop.happens() => return Ok(Err(execution.stop(e).await)),
                        }
                    }
                    Some(Event::CopyIn(shape, input)) => {
                        tokio::select! {
                            biased;
                            e = stop.happens() => return Ok(Err(execution.stop(e).await)),
                            fed = self.copy_in(shape, input) => fed?,
                        }
                    }
                },
                () = execution.progress() => {}
                gone = self.transport.watch() => return Err(gone),
            }
        }
        let ended = execution.end().await;
        self.transport.put_bytes(ended.bytes).await?;
        Ok(ended.end)
    }

    /// What may stop the statement that begins now.
    pub(super) fn stop(&self) -> Stop {
        Stop {
            cancelled: self.entry.backend().begin(),
            ended: self.entry.backend().ended().clone(),
            deadline: self
                .session
                .timeouts()
                .statement
                .map(|limit| Instant::now() + limit),
        }
    }

    /// Hands the client's data to a COPY until its end. A COPY that fails stops listening: then so do we.
    async fn copy_in(&mut self, shape: CopyShape, mut input: CopyInput) -> Result<(), Gone> {
        let (format, columns, formats) = copy_formats(shape);
        self.put(&CopyInResponse::new(format, columns, formats))?;
        self.transport.flush().await?;
        loop {
            let received = tokio::select! {
                received = self.transport.receive() => received?,
                () = input.closed() => return Ok(()),
            };
            match received {
                Received::Message(Frontend::CopyData(bytes)) => {
                    if !input.write(bytes).await {
                        return Ok(());
                    }
                }
                Received::Message(Frontend::CopyDone) => {
                    input.finish().await;
                    return Ok(());
                }
                Received::Message(Frontend::CopyFail(reason)) => {
                    input.fail(&reason).await;
                    return Ok(());
                }
                // Pipelined by clients that do not wait for the COPY to begin.
                Received::Message(Frontend::Flush | Frontend::Sync) => {}
                Received::Message(Frontend::Terminate) => return Err(Gone::Closed),
                Received::Message(_) => {
                    let message = "unexpected message type during COPY from stdin";
                    input.refuse(violation(message)).await;
                    return Ok(());
                }
                Received::Broken(Broken::Message(e) | Broken::Stream(e)) => {
                    input.refuse(e).await;
                    return Ok(());
                }
            }
        }
    }

    /// Sends an error; an open transaction block fails by it.
    pub(super) fn fail(&mut self, e: &Error, text: &str, offset: usize) -> Result<(), Gone> {
        self.session.statement_failed();
        self.statement_ended(Err(e));
        self.put(&respond::error(e, Severity::Error, text, offset))
    }

    fn fatal(&mut self, e: &Error) -> Result<(), Gone> {
        self.put(&respond::error(e, Severity::Fatal, "", 0))
    }

    pub(super) fn put(&mut self, message: &impl pgwire::messages::Message) -> Result<(), Gone> {
        self.transport
            .put(message)
            .map_err(|e| Gone::Failed(std::io::Error::other(e)))
    }

    /// The end of a query or of a run of extended messages: everything is written.
    async fn ready(&mut self) -> Result<(), Gone> {
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.tell_notifications()?;
        }
        self.put(&respond::ready(status))?;
        let state = match status {
            TransactionStatus::Idle => State::Idle,
            TransactionStatus::Open => State::IdleInTransaction,
            TransactionStatus::Failed => State::IdleInFailedTransaction,
        };
        let now = SystemTime::now();
        self.entry.backend().update(|activity| {
            activity.state = state;
            activity.state_change = now;
            activity.transaction_start = match status {
                TransactionStatus::Idle => None,
                _ => activity.transaction_start.or(Some(now)),
            };
        });
        self.transport.flush().await?;
        // The client has its answer: what is freed now keeps nobody waiting.
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.session.free_spent();
        Ok(())
    }

    /// Counts and logs the statement that ran: with its tag, or with the error that it ended by.
    fn statement_ended(&mut self, end: Result<&str, &Error>) {
        if let Some(running) = self.running.take() {
            let backend = self.entry.backend();
            running.ended(&self.shared.metrics, &self.shared.config.log, backend, end);
        }
    }

    /// A statement begins.
    pub(super) fn active(&mut self, text: &str) {
        self.running = Some(RunningStatement::new(text));
        let now = SystemTime::now();
        let text = super::activity_text(text);
        self.entry.backend().update(|activity| {
            activity.state = State::Active;
            activity.state_change = now;
            activity.query_start = Some(now);
            activity.query = text;
        });
    }
}

fn terminated() -> Error {
    let message = "terminating connection due to administrator command";
    Error::new(ErrorKind::Cancelled, sqlstate::ADMIN_SHUTDOWN, message)
}

/// The error, after its time; never without one.
async fn expire(limit: Option<(Duration, Error)>) -> Error {
    match limit {
        Some((limit, error)) => {
            tokio::time::sleep(limit).await;
            error
        }
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What may stop a statement: a cancel request, the session's end, its time limit.
pub struct Stop {
    cancelled: CancellationToken,
    ended: CancellationToken,
    deadline: Option<Instant>,
}

impl Stop {
    /// Waits until one of them happens.
    pub async fn happens(&self) -> Error {
        let canceled =
            |message| Error::new(ErrorKind::Cancelled, sqlstate::QUERY_CANCELED, message);
        tokio::select! {
            () = self.cancelled.cancelled() => {
                if self.ended.is_cancelled() {
                    terminated()
                } else {
                    canceled("canceling statement due to user request")
                }
            }
            () = reached(self.deadline) => canceled("canceling statement due to statement timeout"),
        }
    }
}

/// XX000 for a task that panicked: a fault of ours that costs this statement, and nobody else's. The panic's own words
/// are in the log already.
pub(super) fn panicked() -> Error {
    tracing::error!("a statement panicked");
    Error::internal("the statement failed by a fault of the server; its log says more")
}
