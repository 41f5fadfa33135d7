//! One client's way from its startup message to a session, as a state machine over messages.

use std::net::IpAddr;

use bytes::Bytes;
use pgwire::api::auth::sasl::scram::{
    ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal,
};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;

use super::rules::{Method, Question, Rules};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::sql::access::password;
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// On this machine, by a Unix socket.
    Unix,
    /// At an address.
    Ip(IpAddr),
}

/// What a client asked for, and over what.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who it says it is.
    pub user: String,
    /// The database it wants.
    pub database: String,
    /// Where it is.
    pub peer: Peer,
    /// What SCRAM binds to, of a connection with TLS.
    pub tls: Option<ScramServerAuth>,
}

/// What all logins of a server share.
#[derive(Debug)]
pub struct Policy {
    rules: Rules,
    /// What the salts of users that do not exist are made from.
    mock_key: [u8; 32],
}

impl Policy {
    /// Logins by these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            mock_key: rand::random(),
        }
    }
}

/// What the server does next.
#[derive(Debug)]
pub enum Step {
    /// Sends a message, and gives the client's answer to [`Login::answer`].
    Send(PgWireBackendMessage),
    /// Sends messages and begins the session.
    Done(Welcome),
    /// Sends the error as FATAL, after [`super::Throttle::failed`] where it is 28P01, and closes.
    Refuse(Error),
}

/// A client that has proved who it is.
#[derive(Debug)]
pub struct Welcome {
    /// Who.
    pub role: RoleId,
    /// The name of the role.
    pub name: String,
    /// What to send; the last is AuthenticationOk.
    pub messages: Vec<PgWireBackendMessage>,
}

/// A login under way.
#[derive(Debug)]
pub struct Login {
    attempt: Attempt,
    state: State,
}

#[derive(Debug)]
enum State {
    WaitsForFirst(Box<ScramSecret>),
    WaitsForFinal(Box<ScramServerAuthWaitingForClientFinal>),
    Ended,
}

impl Login {
    /// Finds the method for an attempt. `sessions` counts the sessions of a role; `now_ms` is the time in milliseconds
    /// since 1970 UTC.
    pub fn start(
        policy: &Policy,
        snapshot: &Snapshot,
        attempt: Attempt,
        sessions: &dyn Fn(RoleId) -> usize,
    ) -> (Self, Step) {
        let method = method(policy, snapshot, &attempt);
        let mut login = Self {
            attempt,
            state: State::Ended,
        };
        let step = match method {
            Err(error) => Step::Refuse(error),
            Ok(Method::Reject) => Step::Refuse(login.attempt.rejected()),
            Ok(Method::Trust) => login.admit(snapshot, sessions, Vec::new()),
            Ok(Method::Scram) => login.ask(policy, snapshot),
        };
        (login, step)
    }

    /// Takes the payload of the client's next password message.
    pub fn answer(
        &mut self,
        snapshot: &Snapshot,
        payload: &[u8],
        sessions: &dyn Fn(RoleId) -> usize,
        now_ms: i64,
    ) -> Step {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::WaitsForFirst(secret) => match self.first(payload, *secret) {
                Ok(message) => Step::Send(message),
                Err(error) => Step::Refuse(error),
            },
            State::WaitsForFinal(waiting) => {
                let proved = waiting.on_client_final_message(payload);
                // An expired password is told only to who has it, and in the same words as a wrong one.
                match proved {
                    Ok(message) if self.is_valid(snapshot, now_ms) => {
                        let message = Authentication::SASLFinal(Bytes::from(message));
                        let messages = vec![PgWireBackendMessage::Authentication(message)];
                        self.admit(snapshot, sessions, messages)
                    }
                    _ => Step::Refuse(self.attempt.failed()),
                }
            }
            State::Ended => Step::Refuse(violation("the login has ended")),
        }
    }

    /// Offers SCRAM. A user without a password, or that does not exist, is asked just like any other.
    fn ask(&mut self, policy: &Policy, snapshot: &Snapshot) -> Step {
        let user = &self.attempt.user;
        let role = snapshot.role_named(user);
        let verifier = role.and_then(|r| r.verifier.as_ref());
        let secret = verifier.and_then(|v| password::parse(v.as_str()));
        let secret = secret.unwrap_or_else(|| password::mock(user, &policy.mock_key));
        self.state = State::WaitsForFirst(Box::new(secret));
        let mut mechanisms = vec![SCRAM.to_string()];
        if self.attempt.tls.is_some() {
            mechanisms.insert(0, SCRAM_PLUS.to_string());
        }
        Step::Send(PgWireBackendMessage::Authentication(Authentication::SASL(
            mechanisms,
        )))
    }

    /// The client's first message chooses the mechanism.
    fn first(&mut self, payload: &[u8], secret: ScramSecret) -> Result<PgWireBackendMessage> {
        let (mechanism, data) = initial_response(payload)?;
        let binds = data.first() == Some(&b'p');
        let is_offered = match mechanism {
            SCRAM => true,
            SCRAM_PLUS => self.attempt.tls.is_some(),
            _ => false,
        };
        if !is_offered {
            return Err(violation(
                "client selected an invalid SASL authentication mechanism",
            ));
        }
        if binds != (mechanism == SCRAM_PLUS) {
            return Err(violation(
                "the SASL mechanism and the channel binding of the client contradict each other",
            ));
        }
        let server = self.attempt.tls.clone().unwrap_or_default();
        let (message, waiting) = server
            .on_client_first_message_with_secret(data, secret)
            .map_err(|_| violation("malformed SCRAM message"))?;
        self.state = State::WaitsForFinal(Box::new(waiting));
        let message = Authentication::SASLContinue(Bytes::from(message));
        Ok(PgWireBackendMessage::Authentication(message))
    }

    fn is_valid(&self, snapshot: &Snapshot, now_ms: i64) -> bool {
        let role = snapshot.role_named(&self.attempt.user);
        role.is_some_and(|r| r.valid_until_ms.is_none_or(|until| now_ms < until))
    }

    /// What is checked of everybody whose identity is clear.
    fn admit(
        &self,
        snapshot: &Snapshot,
        sessions: &dyn Fn(RoleId) -> usize,
        mut messages: Vec<PgWireBackendMessage>,
    ) -> Step {
        match self.attempt.admitted(snapshot, sessions) {
            Err(error) => Step::Refuse(error),
            Ok(role) => {
                messages.push(PgWireBackendMessage::Authentication(Authentication::Ok));
                Step::Done(Welcome {
                    role,
                    name: self.attempt.user.clone(),
                    messages,
                })
            }
        }
    }
}

fn method(policy: &Policy, snapshot: &Snapshot, attempt: &Attempt) -> Result<Method> {
    let user = snapshot.role_named(&attempt.user);
    let is_member = |team: &str| {
        let team = snapshot.role_named(team);
        // Superusers are members of everything, but a rule means those that were made so.
        user.zip(team)
            .is_some_and(|(user, team)| Rights::new(snapshot, user.id).roles().contains(&team.id))
    };
    let question = Question {
        peer: attempt.peer,
        is_encrypted: attempt.tls.is_some(),
        database: &attempt.database,
        user: &attempt.user,
        is_member: &is_member,
    };
    match policy.rules.find(&question) {
        Some(rule) => Ok(rule.method),
        None => Err(attempt.no_rule()),
    }
}

impl Attempt {
    fn admitted(&self, snapshot: &Snapshot, sessions: &dyn Fn(RoleId) -> usize) -> Result<RoleId> {
        let Some(role) = snapshot.role_named(&self.user) else {
            return Err(refused(format!("role \"{}\" does not exist", self.user)));
        };
        if !role.login {
            let message = format!("role \"{}\" is not permitted to log in", self.user);
            return Err(refused(message));
        }
        let limit = role.connection_limit.filter(|_| !role.superuser);
        if limit.is_some_and(|limit| sessions(role.id) >= limit as usize) {
            let message = format!("too many connections for role \"{}\"", self.user);
            return Err(Error::limit(sqlstate::TOO_MANY_CONNECTIONS, message));
        }
        if !Rights::new(snapshot, role.id).may(&Object::Database, Privilege::Connect) {
            let message = format!("permission denied for database \"{}\"", self.database);
            return Err(Error::denied(message).with_detail("User does not have CONNECT privilege."));
        }
        Ok(role.id)
    }

    fn failed(&self) -> Error {
        let message = format!("password authentication failed for user \"{}\"", self.user);
        Error::new(ErrorKind::Denied, sqlstate::INVALID_PASSWORD, message)
    }

    fn rejected(&self) -> Error {
        refused(format!("an access rule rejects connection for {self}"))
    }

    fn no_rule(&self) -> Error {
        refused(format!("no access rule for {self}"))
            .with_hint("The setting auth.rules says who may connect from where.")
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.peer {
            Peer::Unix => f.write_str("host \"[local]\"")?,
            Peer::Ip(address) => write!(f, "host \"{address}\"")?,
        }
        write!(
            f,
            ", user \"{}\", database \"{}\"",
            self.user, self.database
        )?;
        match &self.tls {
            Some(_) => f.write_str(", SSL encryption"),
            None => f.write_str(", no encryption"),
        }
    }
}

fn refused(message: String) -> Error {
    let code = sqlstate::INVALID_AUTHORIZATION_SPECIFICATION;
    Error::new(ErrorKind::Denied, code, message)
}

fn violation(message: &str) -> Error {
    Error::invalid(sqlstate::PROTOCOL_VIOLATION, message)
}

/// The mechanism and data of a SASLInitialResponse: a name that ends with a zero, a length, and so many bytes.
fn initial_response(payload: &[u8]) -> Result<(&str, &[u8])> {
    let malformed = || violation("malformed SASL message");
    let end = payload.iter().position(|b| *b == 0).ok_or_else(malformed)?;
    let mechanism = std::str::from_utf8(&payload[..end]).map_err(|_| malformed())?;
    let (length, data) = payload[end + 1..]
        .split_first_chunk::<4>()
        .ok_or_else(malformed)?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length == data.len() => Ok((mechanism, data)),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests;
