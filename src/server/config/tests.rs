//! The configuration as its users meet it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::settings::ByteSize;

const EXAMPLE: &str = include_str!("../../../examples/shelfmark.toml");

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs.map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

fn read(text: &str) -> Result<Config> {
    let mut config = Config::default();
    config.read(text).map(|()| config)
}

#[test]
fn the_example_has_every_key_with_its_default_and_a_comment() {
    let config = read(EXAMPLE).unwrap();
    assert_eq!(config.options(), Config::default().options());
    let parsed = file::parse(EXAMPLE).unwrap();
    let given: BTreeSet<&str> = parsed.assignments.iter().map(|a| a.name.as_str()).collect();
    let options = config.options();
    let known: BTreeSet<&str> = options.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(given, known);
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for assignment in parsed.assignments {
        let before = lines[assignment.line - 2];
        assert!(
            before.starts_with("# "),
            "{} has no comment",
            assignment.name
        );
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shelfmark.toml");
    let text = "memory_limit = '1GiB'\n[server]\nmax_connections = 10\nlisten = ['a:1', '[::1]:2']\n\
                drain_timeout = '1min'\n[segment]\nmax_rows = 7";
    std::fs::write(&path, text).unwrap();
    let sources = Sources {
        file: Some(path),
        environment: pairs(&[
            ("SHELFMARK_SERVER_MAX_CONNECTIONS", "20"),
            ("SHELFMARK_SERVER_LISTEN", "b:3,c:4"),
            ("SHELFMARK_SEGMENT_MAX_ROWS", "8"),
            ("SHELFMARK_CONFIG", "elsewhere"),
            ("SHELFMARK_SERVICE_HOST", "10.0.0.1"),
            ("SHELFMARK_PORT_5433_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
        ]),
        flags: pairs(&[("server.max_connections", "30")]),
    };
    let config = sources.load().unwrap();
    assert_eq!(config.server.max_connections, 30);
    let listen: Vec<String> = config.server.listen.iter().map(|a| a.to_string()).collect();
    assert_eq!(listen, ["b:3", "c:4"]);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(60));
    assert_eq!(config.settings.segment_max_rows, 8);
    assert_eq!(config.settings.memory_limit, ByteSize::mib(1_024));
}

#[test]
fn unknown_keys_are_refused_with_their_place_and_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shelfmark.toml");
    std::fs::write(&path, "\n[server]\nmax_conections = 10\n").unwrap();
    let sources = Sources {
        file: Some(path.clone()),
        ..Sources::default()
    };
    let error = sources.load().unwrap_err();
    let expected = format!(
        "{}: line 3: unrecognized configuration parameter \"server.max_conections\"",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.sqlstate(), "42704");
    assert_eq!(
        error.hint(),
        Some("Did you mean \"server.max_connections\"?")
    );

    let hint = |text: &str| read(text).unwrap_err().hint().unwrap().to_string();
    assert_eq!(hint("listen = 'a:1'"), "Did you mean \"server.listen\"?");
    assert_eq!(
        hint("[log]\nlevels = 'info'"),
        "Did you mean \"log.level\"?"
    );
    assert_eq!(
        hint("memory_limits = '1GB'"),
        "Did you mean \"memory_limit\"?"
    );
    assert_eq!(hint("x = 1"), "examples/shelfmark.toml has all of them.");
    assert_eq!(
        hint("[[auth]]\nmetod = 'trust'"),
        "Did you mean \"method\"?"
    );
}

#[test]
fn unknown_variables_are_refused() {
    let load = |name: &str, value: &str| {
        let environment = pairs(&[(name, value)]);
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        sources.load().unwrap_err()
    };
    let error = load("SHELFMARK_SERVER_LISTENS", "a:1");
    assert_eq!(error.sqlstate(), "42704");
    assert_eq!(error.hint(), Some("Did you mean SHELFMARK_SERVER_LISTEN?"));
    let error = load("SHELFMARK_SERVER_DRAIN_TIMEOUT", "soon");
    assert_eq!(error.sqlstate(), "22023");
    assert!(
        error
            .message()
            .starts_with("SHELFMARK_SERVER_DRAIN_TIMEOUT: ")
    );
}

#[test]
fn values_that_cannot_be_are_refused_with_their_line() {
    for (text, line) in [
        ("[server]\nmax_connections = 0", 2),
        ("[server]\nmax_connections = 1e3", 2),
        ("\n\n[server]\ndrain_timeout = 30", 4),
        ("[server]\nlisten = ['127.0.0.1']", 2),
        ("[server]\nlisten = [1.5, ['a:1']]", 2),
        ("[server]\nfile_directories = ['/a,b']", 2),
        ("[log]\nformat = 'xml'", 2),
        ("[log]\nlevel = ''", 2),
        ("[tls]\nrequired = 'maybe'", 2),
        ("[server\n", 1),
        ("[log]\nlevel = 'info'\nlevel = 'warn'", 3),
        ("memory_limit = '1MB'", 1),
        ("\nserver = 1", 2),
        ("[[auth]]\ntype = 'host'", 1),
        ("auth = ['host']", 1),
    ] {
        let error = read(text).unwrap_err();
        assert!(
            error.message().starts_with(&format!("line {line}: ")),
            "{text}: {error}"
        );
        assert!(["22023", "42704"].contains(&error.sqlstate()), "{text}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for flags in [
        &[("server.max_connections", "3")][..],
        &[("server.listen", "")],
        &[("tls.cert_file", "a.pem")],
        &[("tls.key_file", "a.key")],
        &[("tls.required", "on")],
        &[("tls.client_ca_file", "ca.pem")],
    ] {
        let sources = Sources {
            flags: pairs(flags),
            ..Sources::default()
        };
        assert_eq!(sources.load().unwrap_err().sqlstate(), "22023", "{flags:?}");
    }
}

#[test]
fn rules_of_authentication_keep_their_order() {
    let config = read(
        "[[auth]]\ntype = 'local'\nmethod = 'trust'\n\n[[auth]]\ntype = 'hostssl'\ndatabase = ['a', 'b']\n\
         user = 'ada'\naddress = '10.0.0.0/8'\nmethod = 'scram-sha-256'",
    )
    .unwrap();
    let rules = config.auth.unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!((rules[0].line, rules[1].line), (1, 5));
    assert_eq!(
        (rules[0].kind.as_str(), rules[0].address.as_str()),
        ("local", "all")
    );
    assert_eq!(rules[1].database, "a, b");
    assert_eq!(rules[1].method, "scram-sha-256");
}

#[test]
fn every_option_reads_back_its_own_text() {
    let mut config = Config::default();
    for option in config.options() {
        config.set(&option.name, &option.value).unwrap();
        assert!(!option.description.is_empty());
    }
    assert_eq!(config, Config::default());
}
