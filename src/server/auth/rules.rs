//! Rules that say by which method a client proves itself: the first that matches counts, and without one it is refused.
//!
//! ```text
//! local    databases users          method
//! host     databases users address  method      with or without TLS
//! hostssl  databases users address  method      with TLS only
//! hostnossl databases users address method      without TLS only
//! ```
//! Databases and users are names with commas between them, or `all`; `+team` is every member of a role, `sameuser` the
//! database of the user's name. Addresses are `all`, or IP addresses and networks such
//! as `10.0.0.0/8` with commas between them. Methods are
//! `scram-sha-256`, `reject`, and `trust`, which asks for nothing and is allowed for loopback addresses and Unix
//! sockets only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::login::Peer;
use crate::error::{Error, Result, sqlstate};

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It need not.
    Trust,
    /// By SCRAM-SHA-256, with channel binding where there is TLS.
    Scram,
    /// It cannot.
    Reject,
}

/// The connections that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

/// A name of a list of databases or users.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    All,
    SameUser,
    Member(String),
    Exact(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    kind: Kind,
    databases: Vec<Name>,
    users: Vec<Name>,
    /// `None` for every address.
    networks: Option<Vec<IpNet>>,
    /// How the client proves itself.
    pub method: Method,
}

/// What a rule is asked about.
pub struct Question<'a> {
    /// Where the client is.
    pub peer: Peer,
    /// Whether the connection has TLS.
    pub is_encrypted: bool,
    /// The database it wants.
    pub database: &'a str,
    /// Who it says it is.
    pub user: &'a str,
    /// Whether that user is a member of a role.
    pub is_member: &'a dyn Fn(&str) -> bool,
}

/// Rules in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Default for Rules {
    /// This machine is trusted; everybody else needs a password.
    fn default() -> Self {
        let lines = [
            "local all all trust",
            "host all all 127.0.0.1/32 trust",
            "host all all ::1/128 trust",
            "host all all all scram-sha-256",
        ];
        let rules = lines.iter().map(|line| line.parse());
        Self(
            rules
                .collect::<Result<_>>()
                .expect("invariant: our own rules are well formed"),
        )
    }
}

impl Rules {
    /// Rules of lines; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// F0000 for a line that is no rule, or that trusts somebody who may be anybody.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let lines = lines.into_iter().map(str::trim);
        let rules = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(rules.map(str::parse).collect::<Result<_>>()?).checked()
    }

    /// The same rules, if none trusts addresses of other machines.
    ///
    /// # Errors
    /// F0000 naming the rule.
    pub fn checked(self) -> Result<Self> {
        match self.0.iter().find(|rule| rule.trusts_others()) {
            None => Ok(self),
            Some(rule) => {
                let message = format!("access rule \"{rule}\" trusts addresses of other machines");
                Err(
                    Error::invalid(sqlstate::CONFIG_FILE_ERROR, message).with_hint(
                        "\"trust\" goes with \"local\" and loopback addresses; use scram-sha-256.",
                    ),
                )
            }
        }
    }

    /// The first rule that matches.
    pub fn find(&self, question: &Question<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.matches(question))
    }
}

impl Rule {
    fn matches(&self, question: &Question<'_>) -> bool {
        let kind = match (self.kind, question.peer) {
            (Kind::Local, peer) => peer == Peer::Unix,
            (_, Peer::Unix) => false,
            (Kind::Host, _) => true,
            (Kind::HostSsl, _) => question.is_encrypted,
            (Kind::HostNoSsl, _) => !question.is_encrypted,
        };
        let database = |name: &Name| match name {
            Name::All => true,
            Name::SameUser => question.database == question.user,
            Name::Member(role) => question.database == role,
            Name::Exact(name) => question.database == name,
        };
        let user = |name: &Name| match name {
            Name::All => true,
            Name::SameUser => question.user == "sameuser",
            Name::Member(role) => (question.is_member)(role),
            Name::Exact(name) => question.user == name,
        };
        kind && self.has_address(question.peer)
            && self.databases.iter().any(database)
            && self.users.iter().any(user)
    }

    fn has_address(&self, peer: Peer) -> bool {
        match (peer, &self.networks) {
            (Peer::Unix, _) | (_, None) => true,
            (Peer::Ip(address), Some(networks)) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
        }
    }

    fn trusts_others(&self) -> bool {
        let loopback = [
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        ];
        let is_loopback = |network: &IpNet| loopback.iter().any(|l| l.contains(network));
        self.method == Method::Trust
            && self.kind != Kind::Local
            && !self
                .networks
                .as_ref()
                .is_some_and(|all| all.iter().all(is_loopback))
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!("access rule \"{line}\": {why}");
            Error::invalid(sqlstate::CONFIG_FILE_ERROR, message)
                .with_hint("For example \"hostssl all all 10.0.0.0/8 scram-sha-256\".")
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let kind = match words.first() {
            Some(&"local") => Kind::Local,
            Some(&"host") => Kind::Host,
            Some(&"hostssl") => Kind::HostSsl,
            Some(&"hostnossl") => Kind::HostNoSsl,
            _ => return Err(wrong("it begins with local, host, hostssl or hostnossl")),
        };
        let (databases, users, address, method) = match (kind, words.as_slice()) {
            (Kind::Local, [_, databases, users, method]) => (databases, users, "all", method),
            (Kind::Local, _) => return Err(wrong("it has a kind, databases, users and a method")),
            (_, [_, databases, users, address, method]) => (databases, users, *address, method),
            _ => {
                return Err(wrong(
                    "it has a kind, databases, users, an address and a method",
                ));
            }
        };
        let networks = match address {
            "all" => None,
            _ => {
                let networks: Option<Vec<IpNet>> = address.split(',').map(network).collect();
                Some(networks.ok_or_else(|| wrong("it has no IP address or network"))?)
            }
        };
        let method = match *method {
            "trust" => Method::Trust,
            "scram-sha-256" => Method::Scram,
            "reject" => Method::Reject,
            _ => return Err(wrong("its method is not trust, scram-sha-256 or reject")),
        };
        Ok(Self {
            kind,
            databases: names(databases),
            users: names(users),
            networks,
            method,
        })
    }
}

fn names(list: &str) -> Vec<Name> {
    let name = |name: &str| match name {
        "all" => Name::All,
        "sameuser" => Name::SameUser,
        _ => match name.strip_prefix('+') {
            Some(role) => Name::Member(role.to_string()),
            None => Name::Exact(name.to_string()),
        },
    };
    list.split(',')
        .filter(|n| !n.is_empty())
        .map(name)
        .collect()
}

/// A network or a single address; IPv4 written as IPv6 is IPv4.
fn network(text: &str) -> Option<IpNet> {
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    let IpNet::V6(v6) = parsed else {
        return Some(parsed);
    };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(length)) => Ipv4Net::new(v4, length).ok().map(IpNet::V4),
        _ => Some(parsed),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Local => "local",
            Kind::Host => "host",
            Kind::HostSsl => "hostssl",
            Kind::HostNoSsl => "hostnossl",
        };
        write!(f, "{kind} {} {}", list(&self.databases), list(&self.users))?;
        match (self.kind, &self.networks) {
            (Kind::Local, _) => {}
            (_, None) => f.write_str(" all")?,
            (_, Some(networks)) => {
                let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
                write!(f, " {}", texts.join(","))?;
            }
        }
        f.write_str(match self.method {
            Method::Trust => " trust",
            Method::Scram => " scram-sha-256",
            Method::Reject => " reject",
        })
    }
}

fn list(names: &[Name]) -> String {
    let texts: Vec<String> = names
        .iter()
        .map(|name| match name {
            Name::All => "all".to_string(),
            Name::SameUser => "sameuser".to_string(),
            Name::Member(role) => format!("+{role}"),
            Name::Exact(name) => name.clone(),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RULES: [&str; 11] = [
        "# who              where            how",
        "local     all      admin            trust",
        "local     all      all              scram-sha-256",
        "host      all      mallory all      reject",
        "host      all      all     127.0.0.0/8 trust",
        "hostnossl all      all     192.168.7.0/24 reject",
        "hostssl   reports  ann,bob 10.1.0.0/16 scram-sha-256",
        "hostssl   all      +team   2001:db8::/32 scram-sha-256",
        "host      sameuser all     172.16.0.9 scram-sha-256",
        "hostnossl all      old     ::ffff:192.0.2.0/120 scram-sha-256",
        "hostssl   all      all     192.168.7.0/24 scram-sha-256",
    ];

    fn ask(address: &str, is_encrypted: bool, database: &str, user: &str) -> Option<Method> {
        let peer = match address {
            "unix" => Peer::Unix,
            _ => Peer::Ip(address.parse().unwrap()),
        };
        let is_member = |role: &str| role == "team" && user == "tom";
        let question = Question {
            peer,
            is_encrypted,
            database,
            user,
            is_member: &is_member,
        };
        Rules::parse(RULES)
            .unwrap()
            .find(&question)
            .map(|r| r.method)
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        use Method::{Reject, Scram, Trust};
        let cases = [
            ("unix", false, "shelfmark", "admin", Some(Trust)),
            ("unix", false, "shelfmark", "ann", Some(Scram)),
            ("unix", false, "shelfmark", "mallory", Some(Scram)),
            ("unix", true, "shelfmark", "admin", Some(Trust)),
            ("127.0.0.1", false, "shelfmark", "ann", Some(Trust)),
            ("127.0.0.1", true, "shelfmark", "ann", Some(Trust)),
            ("127.8.9.10", false, "x", "y", Some(Trust)),
            ("127.0.0.1", false, "shelfmark", "mallory", Some(Reject)),
            ("::ffff:127.0.0.1", false, "shelfmark", "ann", Some(Trust)),
            (
                "::ffff:127.0.0.1",
                true,
                "shelfmark",
                "mallory",
                Some(Reject),
            ),
            ("::1", false, "shelfmark", "ann", None),
            ("128.0.0.1", false, "shelfmark", "ann", None),
            ("126.255.255.255", true, "shelfmark", "ann", None),
            ("192.168.7.1", false, "shelfmark", "ann", Some(Reject)),
            ("192.168.7.1", true, "shelfmark", "ann", Some(Scram)),
            ("192.168.7.255", true, "shelfmark", "ann", Some(Scram)),
            ("192.168.8.0", true, "shelfmark", "ann", None),
            ("192.168.6.255", true, "shelfmark", "ann", None),
            (
                "::ffff:192.168.7.9",
                false,
                "shelfmark",
                "ann",
                Some(Reject),
            ),
            ("::ffff:192.168.7.9", true, "shelfmark", "ann", Some(Scram)),
            ("10.1.2.3", true, "reports", "ann", Some(Scram)),
            ("10.1.2.3", true, "reports", "bob", Some(Scram)),
            ("10.1.2.3", true, "reports", "eve", None),
            ("10.1.2.3", false, "reports", "ann", None),
            ("10.1.2.3", true, "shelfmark", "ann", None),
            ("10.2.0.0", true, "reports", "ann", None),
            ("10.1.2.3", true, "reports", "ANN", None),
            ("10.1.2.3", true, "reports", "ann,bob", None),
            ("2001:db8::7", true, "shelfmark", "tom", Some(Scram)),
            ("2001:db8::7", true, "shelfmark", "team", None),
            ("2001:db8::7", true, "shelfmark", "ann", None),
            ("2001:db8::7", false, "shelfmark", "tom", None),
            ("2001:db9::7", true, "shelfmark", "tom", None),
            ("172.16.0.9", false, "ann", "ann", Some(Scram)),
            ("172.16.0.9", true, "ann", "ann", Some(Scram)),
            ("172.16.0.9", true, "ann", "bob", None),
            ("172.16.0.8", true, "ann", "ann", None),
            ("192.0.2.77", false, "shelfmark", "old", Some(Scram)),
            ("192.0.2.77", true, "shelfmark", "old", None),
            ("::ffff:192.0.2.77", false, "shelfmark", "old", Some(Scram)),
            ("192.0.3.0", false, "shelfmark", "old", None),
            ("8.8.8.8", true, "shelfmark", "admin", None),
            ("8.8.8.8", true, "shelfmark", "mallory", Some(Reject)),
        ];
        assert!(cases.len() >= 40);
        for (address, tls, database, user, expected) in cases {
            let found = ask(address, tls, database, user);
            assert_eq!(
                found, expected,
                "{user} from {address}, tls {tls}, to {database}"
            );
        }
    }

    #[test]
    fn only_this_machine_may_be_trusted() {
        for line in [
            "local all all trust",
            "host all all 127.0.0.1 trust",
            "host all all 127.0.0.0/8 trust",
            "hostssl all all ::1/128 trust",
            "host all all 127.0.0.1,::1 trust",
            "host all all ::ffff:127.0.0.1 trust",
            "host all all all scram-sha-256",
        ] {
            Rules::parse([line]).unwrap();
        }
        for line in [
            "host all all all trust",
            "hostssl all all all trust",
            "host all all 0.0.0.0/0 trust",
            "host all all ::/0 trust",
            "host all all ::/127 trust",
            "host all all 126.0.0.0/7 trust",
            "host all all 10.0.0.1 trust",
            "host all all 127.0.0.1,10.0.0.1 trust",
            "host all all ::ffff:10.0.0.1 trust",
            "host all all ::ffff:0:0/96 trust",
            "hostnossl all ann 192.168.0.0/16 trust",
        ] {
            let error = Rules::parse([line]).unwrap_err();
            assert_eq!(error.sqlstate(), "F0000", "{line}");
            assert!(error.message().contains("trusts"), "{error}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for line in [
            "all",
            "local all all",
            "local all all all trust",
            "host all all trust",
            "host all all 127.0.0.1/32 md5",
            "host all all 127.0.0.1/32 password",
            "host all all 127.0.0.1/33 scram-sha-256",
            "host all all example.org scram-sha-256",
            "host all all 127.0.0.1, scram-sha-256",
            "host all all 127.0.0.1 scram-sha-256 clientcert=1",
            "peer all all 127.0.0.1 trust",
        ] {
            assert_eq!(
                Rules::parse([line]).unwrap_err().sqlstate(),
                "F0000",
                "{line}"
            );
        }
    }

    #[test]
    fn the_default_trusts_this_machine_and_asks_everybody_else() {
        let method = |peer| {
            let question = Question {
                peer,
                is_encrypted: false,
                database: "shelfmark",
                user: "ann",
                is_member: &|_| false,
            };
            Rules::default()
                .checked()
                .unwrap()
                .find(&question)
                .map(|r| r.method)
        };
        assert_eq!(method(Peer::Unix), Some(Method::Trust));
        assert_eq!(
            method(Peer::Ip("127.0.0.1".parse().unwrap())),
            Some(Method::Trust)
        );
        assert_eq!(
            method(Peer::Ip("::1".parse().unwrap())),
            Some(Method::Trust)
        );
        assert_eq!(
            method(Peer::Ip("127.0.0.2".parse().unwrap())),
            Some(Method::Scram)
        );
        assert_eq!(
            method(Peer::Ip("10.0.0.1".parse().unwrap())),
            Some(Method::Scram)
        );
    }
}
