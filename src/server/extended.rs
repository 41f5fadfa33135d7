//! The extended protocol: prepared statements and portals.
//!
//! What comes between two Syncs is one transaction, as in PostgreSQL. A single statement before a Sync needs none: it
//! commits by itself, and is run again by itself when it met another.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::FieldRef;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use pgwire::messages::data::NoData;
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::{Connection, panicked};
use super::frame::{Target, violation};
use super::respond;
use super::running::{Answer, End, Rows, resume, start};
use super::transport::Gone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::{Format, Style, decode_parameter, in_utf8};
use crate::sql::{Named, Prepared, Session, split};

/// OIDs of parameters that leave the type to the server: unspecified, and `unknown`.
const UNKNOWN_OIDS: [u32; 2] = [0, 705];

/// A prepared statement. Clones share it.
#[derive(Clone)]
pub struct Statement {
    text: Arc<str>,
    /// `None` is the empty statement.
    prepared: Option<Arc<Prepared>>,
}

impl Statement {
    fn named(self) -> Named {
        Named {
            prepared: self.prepared,
            text: self.text,
            created: SystemTime::now(),
            from_sql: false,
        }
    }
}

/// A statement with its parameters, on its way through its rows.
pub struct Portal {
    statement: Statement,
    parameters: Vec<ScalarValue>,
    formats: Vec<Format>,
    progress: Progress,
}

impl Portal {
    /// The statement's text.
    pub fn text(&self) -> &Arc<str> {
        &self.statement.text
    }
}

enum Progress {
    New,
    Suspended(Box<Rows>),
    Done,
}

impl Connection {
    /// Parse. The outer error is the client's going, the inner one the statement's.
    pub(super) async fn parse(
        &mut self,
        name: String,
        text: &str,
        types: &[u32],
    ) -> Result<Result<()>, Gone> {
        self.active(text);
        let fields = self.check_name(&name);
        let fields = fields.and_then(|()| declared(&self.session, types));
        let prepared = match fields {
            Ok(fields) => match self.session.prepared_before(text, &fields) {
                Some(prepared) => Ok(Some(prepared)),
                None => match has_statement(text) {
                    Ok(true) => self.prepare(text, fields).await?.map(Some),
                    Ok(false) => Ok(None),
                    Err(e) => Err(e),
                },
            },
            Err(e) => Err(e),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Ok(Err(e)),
        };
        let statement = Statement {
            text: text.into(),
            prepared,
        };
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else if let Err(e) = self.session.name_statement(&name, statement.named()) {
            return Ok(Err(e));
        }
        self.put(&ParseComplete::new())?;
        Ok(Ok(()))
    }

    /// That a statement may have this name.
    fn check_name(&mut self, name: &str) -> Result<()> {
        if name.is_empty() {
            self.unnamed = None;
        } else if self.session.named_statement(name).is_ok() {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::exists(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                message,
            ));
        }
        let most = self.shared.config.server.prepared_statements_max as usize;
        if !name.is_empty() && self.session.count_statements() >= most {
            let message = format!("a session can have at most {most} prepared statements");
            return Err(
                Error::limit(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message)
                    .with_hint("Close statements that are not needed any more, or DEALLOCATE ALL."),
            );
        }
        Ok(())
    }

    async fn prepare(
        &mut self,
        text: &str,
        fields: Vec<Option<FieldRef>>,
    ) -> Result<Result<Arc<Prepared>>, Gone> {
        let (session, text) = (self.session.clone(), text.to_string());
        let task = async move { session.prepare(&text, &fields).await };
        let mut task = tokio_util::task::AbortOnDropHandle::new(self.shared.queries.spawn(task));
        let stop = self.stop();
        tokio::select! {
            biased;
            e = stop.happens() => Ok(Err(e)),
            prepared = &mut task => Ok(prepared.unwrap_or_else(|_| Err(panicked()))),
            gone = self.transport.watch() => Err(gone),
        }
    }

    /// Bind.
    pub(super) fn bind(
        &mut self,
        portal: String,
        statement: &str,
        formats: &[i16],
        parameters: &[Option<Bytes>],
        results: &[i16],
    ) -> Result<()> {
        let bound = self.statement(statement)?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            let message = format!("portal \"{portal}\" already exists");
            return Err(Error::exists(sqlstate::DUPLICATE_CURSOR, message));
        }
        let most = self.shared.config.server.portals_max as usize;
        if self.portals.len() >= most {
            let message = format!("a session can have at most {most} portals");
            return Err(Error::limit(
                sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                message,
            ));
        }
        let style = self.session.style();
        let parameters = decode_parameters(&bound, statement, formats, parameters, &style)?;
        let results = results.iter().map(|f| Format::from_code(*f));
        let mut results = results.collect::<Result<Vec<_>>>()?;
        if let Some(prepared) = answering(&bound) {
            results = Answer::formats_of(&results, prepared.schema().fields().len())?;
        }
        let made = Portal {
            statement: bound,
            parameters,
            formats: results,
            progress: Progress::New,
        };
        self.portals.insert(portal, made);
        self.put(&BindComplete::new()).map_err(no_answer)
    }

    fn statement(&self, name: &str) -> Result<Statement> {
        if !name.is_empty() {
            let Named { text, prepared, .. } = self.session.named_statement(name)?;
            return Ok(Statement { text, prepared });
        }
        self.unnamed.clone().ok_or_else(|| {
            let message = "unnamed prepared statement does not exist";
            Error::not_found(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    /// Describe.
    pub(super) fn describe(&mut self, target: &Target) -> Result<()> {
        let (statement, formats) = match target {
            Target::Statement(name) => {
                let statement = self.statement(name)?;
                let parameters = statement
                    .prepared
                    .as_deref()
                    .map_or(&[][..], Prepared::parameters);
                let description = respond::parameter_description(parameters);
                self.put(&description).map_err(no_answer)?;
                (statement, Vec::new())
            }
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) => (portal.statement.clone(), portal.formats.clone()),
                None => return self.describe_cursor(name),
            },
        };
        match answering(&statement) {
            Some(prepared) => self.put(&respond::row_description(prepared.schema(), &formats)),
            None => self.put(&NoData::new()),
        }
        .map_err(no_answer)
    }

    /// A cursor that was declared by SQL is a portal too: psycopg asks for its columns.
    fn describe_cursor(&mut self, name: &str) -> Result<()> {
        let schema = self.session.cursor_schema(name);
        let schema = schema.map_err(|_| no_portal(name))?;
        let description = respond::row_description(&schema, &[]);
        self.put(&description).map_err(no_answer)
    }

    /// Close. What does not exist is closed already.
    pub(super) fn close(&mut self, target: &Target) -> Result<()> {
        match target {
            Target::Statement(name) if name.is_empty() => self.unnamed = None,
            Target::Statement(name) => _ = self.session.forget_statement(name),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.put(&CloseComplete::new()).map_err(no_answer)
    }

    /// Execute. The outer error is the client's going, the inner one the statement's.
    pub(super) async fn execute(&mut self, name: &str, rows: i32) -> Result<Result<()>, Gone> {
        let Some(portal) = self.portals.get_mut(name) else {
            return Ok(Err(no_portal(name)));
        };
        let Some(prepared) = portal.statement.prepared.clone() else {
            self.put(&EmptyQueryResponse::new())?;
            return Ok(Ok(()));
        };
        let rows_max = u64::try_from(rows).ok().filter(|rows| *rows > 0);
        let text = Arc::clone(&portal.statement.text);
        let progress = std::mem::replace(&mut portal.progress, Progress::Done);
        let answer = Answer {
            formats: portal.formats.clone(),
            describe: false,
            rows_max,
        };
        let parameters = match progress {
            Progress::New => std::mem::take(&mut portal.parameters),
            _ => Vec::new(),
        };
        self.active(&text);
        let is_new = matches!(progress, Progress::New);
        if is_new && self.session.writes(&prepared) && !self.is_before_sync().await? {
            self.session.begin_implicit();
        }
        let end = match progress {
            Progress::New => {
                let session = self.session.clone();
                let is_quick = prepared.is_quick(&session);
                let start = |events| start(session, prepared, parameters, answer, events);
                match is_quick {
                    true => self.run_here(start).await?,
                    false => self.run(start).await?,
                }
            }
            Progress::Suspended(rows) => self.run(|events| resume(rows, rows_max, events)).await?,
            Progress::Done if prepared.tag().answers_rows() => {
                Ok(End::Complete(prepared.tag().text(0)))
            }
            Progress::Done => {
                let message = format!("portal \"{name}\" cannot be run");
                let sqlstate = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
                return Ok(Err(Error::invalid(sqlstate, message)));
            }
        };
        match self.complete(end)? {
            Ok(Some(End::Suspended(rows))) => {
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.progress = Progress::Suspended(rows);
                }
                self.put(&PortalSuspended::new())?;
                Ok(Ok(()))
            }
            Ok(_) => Ok(Ok(())),
            Err(e) => Ok(Err(e)),
        }
    }
}

/// Whether there is a statement in the text, which must not be more than one.
fn has_statement(text: &str) -> Result<bool> {
    let pieces = split(text);
    match pieces.complete.len() + usize::from(pieces.rest.is_some()) {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::invalid(
            sqlstate::SYNTAX_ERROR,
            "cannot insert multiple commands into a prepared statement",
        )),
    }
}

/// The types that a client declared for parameters.
fn declared(session: &Session, types: &[u32]) -> Result<Vec<Option<FieldRef>>> {
    let field = |(i, oid): (usize, &u32)| {
        if UNKNOWN_OIDS.contains(oid) {
            return Ok(None);
        }
        let field = session.field_of_oid(&format!("${}", i + 1), *oid);
        let unknown = || {
            let message = format!("type with OID {oid} does not exist");
            Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        };
        field.map(Some).ok_or_else(unknown)
    };
    types.iter().enumerate().map(field).collect()
}

/// The statement, if it answers with rows.
fn answering(statement: &Statement) -> Option<&Arc<Prepared>> {
    let prepared = statement.prepared.as_ref();
    prepared.filter(|prepared| prepared.tag().answers_rows())
}

/// The values of Bind; times without a zone are read on the clock of the style's zone.
fn decode_parameters(
    statement: &Statement,
    name: &str,
    formats: &[i16],
    values: &[Option<Bytes>],
    style: &Style,
) -> Result<Vec<ScalarValue>> {
    let fields = statement
        .prepared
        .as_deref()
        .map_or(&[][..], Prepared::parameters);
    if values.len() != fields.len() {
        return Err(violation(format!(
            "bind message supplies {} parameters, but prepared statement \"{name}\" requires {}",
            values.len(),
            fields.len()
        )));
    }
    if formats.len() > 1 && formats.len() != values.len() {
        return Err(violation(format!(
            "bind message has {} parameter formats but {} parameters",
            formats.len(),
            values.len()
        )));
    }
    let formats = formats.iter().map(|f| Format::from_code(*f));
    let formats = formats.collect::<Result<Vec<_>>>()?;
    let format = |i: usize| match formats.as_slice() {
        [] => Format::Text,
        [all] => *all,
        each => each[i],
    };
    let values = values.iter().zip(fields).enumerate();
    let value = |(i, (value, field)): (usize, (&Option<Bytes>, &FieldRef))| {
        let value = value.as_deref();
        let text = value.map(|bytes| in_utf8(field, format(i), bytes, style.encoding));
        let text = text.transpose()?;
        decode_parameter(field, format(i), text.as_deref(), &style.zone)
    };
    values.map(value).collect()
}

fn no_portal(name: &str) -> Error {
    let message = format!("portal \"{name}\" does not exist");
    Error::not_found(sqlstate::INVALID_CURSOR_NAME, message)
}

fn no_answer(gone: Gone) -> Error {
    Error::internal(format!("could not answer: {gone}"))
}
