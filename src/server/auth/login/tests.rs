#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_postgres::NoTls;
use tokio_postgres::config::Config;

use super::*;
use crate::storage::change::{Change, Commit};
use crate::storage::role::{BOOTSTRAP_ROLE, Role};
use crate::storage::schema::Version;

const NOW_MS: i64 = 1_800_000_000_000;

/// A snapshot with roles of every kind; the password of those that have one is `pencil`.
fn snapshot() -> Snapshot {
    let verifier = password::verifier("pencil").unwrap();
    let role = |id, name: &str, change: &dyn Fn(&mut Role)| {
        let mut role = Role::new(RoleId(id), name);
        role.login = true;
        role.verifier = verifier.clone();
        change(&mut role);
        Change::CreateRole(role)
    };
    let commit = Commit {
        version: Version(1),
        timestamp_ms: 0,
        changes: vec![
            role(1, "ann", &|_| {}),
            role(2, "late", &|r| r.valid_until_ms = Some(NOW_MS)),
            role(3, "early", &|r| r.valid_until_ms = Some(NOW_MS + 1)),
            role(4, "team", &|r| r.login = false),
            role(5, "few", &|r| r.connection_limit = Some(2)),
            role(6, "bare", &|r| r.verifier = None),
            role(7, "none", &|r| r.connection_limit = Some(0)),
        ],
    };
    Snapshot::empty().apply(&commit).unwrap()
}

fn attempt(user: &str, peer: Peer) -> Attempt {
    Attempt {
        user: user.to_string(),
        database: "shelfmark".to_string(),
        peer,
        tls: None,
    }
}

const REMOTE: Peer = Peer::Ip(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

/// Leads a login over a stream, as a server does.
async fn serve(mut stream: DuplexStream) -> std::result::Result<Welcome, Error> {
    let snapshot = snapshot();
    let sessions = |_| 1;
    let length = stream.read_u32().await.unwrap();
    let mut startup = vec![0; length as usize - 4];
    stream.read_exact(&mut startup).await.unwrap();
    let mut texts = startup[4..].split(|b| *b == 0);
    texts.find(|text| *text == b"user").unwrap();
    let user = String::from_utf8(texts.next().unwrap().to_vec()).unwrap();
    let policy = Policy::new(Rules::default());
    let (mut login, mut step) = Login::start(&policy, &snapshot, attempt(&user, REMOTE), &sessions);
    loop {
        match step {
            Step::Send(message) => {
                send(&mut stream, vec![message]).await;
                assert_eq!(stream.read_u8().await.unwrap(), b'p');
                let length = stream.read_u32().await.unwrap();
                let mut payload = vec![0; length as usize - 4];
                stream.read_exact(&mut payload).await.unwrap();
                step = login.answer(&snapshot, &payload, &sessions, NOW_MS);
            }
            Step::Done(mut welcome) => {
                let mut messages = std::mem::take(&mut welcome.messages);
                let ready = ReadyForQuery::new(TransactionStatus::Idle);
                messages.push(PgWireBackendMessage::ReadyForQuery(ready));
                send(&mut stream, messages).await;
                return Ok(welcome);
            }
            Step::Refuse(error) => return Err(error),
        }
    }
}

async fn send(stream: &mut DuplexStream, messages: Vec<PgWireBackendMessage>) {
    let mut bytes = BytesMut::new();
    for message in messages {
        message.encode(&mut bytes).unwrap();
    }
    stream.write_all(&bytes).await.unwrap();
}

/// What a real client and our server come to.
async fn connect(user: &str, password: &str) -> std::result::Result<Welcome, Error> {
    let (client, server) = tokio::io::duplex(4_096);
    let server = tokio::spawn(serve(server));
    let mut config = Config::new();
    config.user(user).password(password);
    let connected = config.connect_raw(client, NoTls).await;
    let served = server.await.unwrap();
    assert_eq!(connected.is_ok(), served.is_ok());
    served
}

#[tokio::test]
async fn who_knows_the_password_comes_in() {
    let welcome = connect("ann", "pencil").await.unwrap();
    assert_eq!((welcome.role, welcome.name.as_str()), (RoleId(1), "ann"));
    connect("early", "pencil").await.unwrap();
    connect("few", "pencil").await.unwrap();
}

#[tokio::test]
async fn everybody_else_gets_one_answer() {
    for (user, password) in [
        ("ann", "pencils"),
        ("ann", "Pencil"),
        ("nobody", "pencil"),
        ("bare", "pencil"),
        ("late", "pencil"),
        ("late", "wrong"),
        ("team", "wrong"),
        (BOOTSTRAP_ROLE, ""),
        (BOOTSTRAP_ROLE, "pencil"),
    ] {
        let error = connect(user, password).await.unwrap_err();
        assert_eq!(error.sqlstate(), "28P01", "{user}");
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(error.message(), expected);
    }
}

#[tokio::test]
async fn roles_are_checked_after_their_password() {
    let error = connect("team", "pencil").await.unwrap_err();
    assert_eq!(error.sqlstate(), "28000");
    assert_eq!(error.message(), "role \"team\" is not permitted to log in");
    let error = connect("none", "pencil").await.unwrap_err();
    assert_eq!(error.sqlstate(), "53300");
    assert_eq!(error.message(), "too many connections for role \"none\"");
}

fn start(rules: &[&str], user: &str, peer: Peer, sessions: usize) -> Step {
    let policy = Policy::new(Rules::parse(rules.iter().copied()).unwrap());
    Login::start(&policy, &snapshot(), attempt(user, peer), &|_| sessions).1
}

fn refusal(step: Step) -> (&'static str, String) {
    match step {
        Step::Refuse(error) => (error.sqlstate(), error.message().to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn trust_asks_for_no_password_but_for_a_role() {
    let trust = ["local all all trust"];
    assert!(matches!(start(&trust, "ann", Peer::Unix, 0), Step::Done(w) if w.role == RoleId(1)));
    assert!(matches!(start(&trust, "few", Peer::Unix, 1), Step::Done(_)));
    assert_eq!(refusal(start(&trust, "few", Peer::Unix, 2)).0, "53300");
    let (code, message) = refusal(start(&trust, "nobody", Peer::Unix, 0));
    assert_eq!(
        (code, message.as_str()),
        ("28000", "role \"nobody\" does not exist")
    );
}

#[test]
fn without_a_rule_the_answer_is_no() {
    let (code, message) = refusal(start(&["local all all trust"], "ann", REMOTE, 0));
    assert_eq!(code, "28000");
    let place = "host \"192.0.2.1\", user \"ann\", database \"shelfmark\", no encryption";
    assert_eq!(message, format!("no access rule for {place}"));
    let reject = ["host all ann all reject", "host all all all scram-sha-256"];
    let (code, message) = refusal(start(&reject, "ann", REMOTE, 0));
    assert_eq!(code, "28000");
    assert_eq!(
        message,
        format!("an access rule rejects connection for {place}")
    );
    assert!(matches!(start(&reject, "few", REMOTE, 0), Step::Send(_)));
    let tls_only = ["hostssl all all all scram-sha-256"];
    assert_eq!(refusal(start(&tls_only, "ann", REMOTE, 0)).0, "28000");
}

/// The first answer of a client, after which the server goes on or refuses.
fn first(mechanism: &str, data: &str) -> Step {
    let policy = Policy::new(Rules::default());
    let snapshot = snapshot();
    let (mut login, _) = Login::start(&policy, &snapshot, attempt("ann", REMOTE), &|_| 0);
    let mut payload = [mechanism.as_bytes(), &[0]].concat();
    payload.extend((data.len() as i32).to_be_bytes());
    payload.extend(data.as_bytes());
    login.answer(&snapshot, &payload, &|_| 0, NOW_MS)
}

#[test]
fn malformed_and_contradicting_messages_are_violations() {
    assert!(matches!(first(SCRAM, "n,,n=,r=abc"), Step::Send(_)));
    assert!(matches!(first(SCRAM, "y,,n=,r=abc"), Step::Send(_)));
    for (mechanism, data) in [
        (SCRAM_PLUS, "p=tls-server-end-point,,n=,r=abc"),
        (SCRAM, "p=tls-server-end-point,,n=,r=abc"),
        ("SCRAM-SHA-1", "n,,n=,r=abc"),
        ("", "n,,n=,r=abc"),
        (SCRAM, ""),
        (SCRAM, "n,,"),
        (SCRAM, "noise"),
    ] {
        assert_eq!(
            refusal(first(mechanism, data)).0,
            "08P01",
            "{mechanism} {data}"
        );
    }
    let policy = Policy::new(Rules::default());
    let snapshot = snapshot();
    for payload in [
        &b""[..],
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0\0",
        b"SCRAM-SHA-256\0\xff\xff\xff\xff",
        b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=a",
        b"SCRAM-SHA-256\0\0\0\0\x01n,,n=,r=a",
        b"\xff\0\0\0\0\0",
    ] {
        let (mut login, _) = Login::start(&policy, &snapshot, attempt("ann", REMOTE), &|_| 0);
        let step = login.answer(&snapshot, payload, &|_| 0, NOW_MS);
        assert_eq!(refusal(step).0, "08P01", "{payload:?}");
        let step = login.answer(&snapshot, payload, &|_| 0, NOW_MS);
        assert_eq!(refusal(step).0, "08P01", "an ended login stays ended");
    }
}

#[test]
fn a_replayed_or_made_up_proof_is_refused() {
    let policy = Policy::new(Rules::default());
    let snapshot = snapshot();
    for last in [
        "",
        "c=biws,r=abc,p=",
        "c=biws,r=abc,p=AAAA",
        "c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "c=eSws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "noise",
    ] {
        let (mut login, _) = Login::start(&policy, &snapshot, attempt("ann", REMOTE), &|_| 0);
        let first = b"SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc";
        let step = login.answer(&snapshot, first, &|_| 0, NOW_MS);
        assert!(matches!(step, Step::Send(_)));
        let step = login.answer(&snapshot, last.as_bytes(), &|_| 0, NOW_MS);
        assert_eq!(refusal(step).0, "28P01", "{last}");
    }
}
