//! Roles: who may connect, what they may do to the database as a whole, and in whose place they act.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A role for its whole life, whatever its name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RoleId(pub u64);

/// Bit of the ids that are the same in every database; the rest of such an id is PostgreSQL's OID of the role.
const SYSTEM: u64 = 1 << 32;
/// OIDs below are PostgreSQL's own.
const FIRST_OID: u64 = 16_384;

impl RoleId {
    /// The superuser that every database has from the start.
    pub const BOOTSTRAP: Self = Self(SYSTEM | 10);
    /// `pg_database_owner`, whose member is the owner of the database.
    pub const DATABASE_OWNER: Self = Self(SYSTEM | 6171);
    /// `pg_read_all_data`.
    pub const READ_ALL_DATA: Self = Self(SYSTEM | 6181);
    /// `pg_write_all_data`.
    pub const WRITE_ALL_DATA: Self = Self(SYSTEM | 6182);
    /// `pg_monitor`.
    pub const MONITOR: Self = Self(SYSTEM | 3373);
    /// `pg_read_all_settings`.
    pub const READ_ALL_SETTINGS: Self = Self(SYSTEM | 3374);
    /// `pg_read_all_stats`.
    pub const READ_ALL_STATS: Self = Self(SYSTEM | 3375);
    /// `pg_signal_backend`.
    pub const SIGNAL_BACKEND: Self = Self(SYSTEM | 4200);
    /// `pg_read_server_files`.
    pub const READ_SERVER_FILES: Self = Self(SYSTEM | 4569);
    /// `pg_write_server_files`.
    pub const WRITE_SERVER_FILES: Self = Self(SYSTEM | 4570);

    /// Whether every database has the role: it is not made, changed or dropped by statements.
    pub fn is_system(self) -> bool {
        self.0 & SYSTEM != 0
    }

    /// The number that clients know the role by.
    pub fn oid(self) -> u32 {
        match self.is_system() {
            true => self.0 as u32,
            false => u32::try_from(self.0 + FIRST_OID).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for RoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.oid().fmt(f)
    }
}

/// The name of [`RoleId::BOOTSTRAP`].
pub const BOOTSTRAP_ROLE: &str = "shelfmark";

/// What proves that a client knows a password, without telling it: `SCRAM-SHA-256$iterations:salt$stored:server`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(String);

impl Verifier {
    /// The verifier of that text, which the caller has checked.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Whoever has it can try passwords offline: it is for nobody's eyes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// That a role belongs to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The role that it belongs to.
    pub role: RoleId,
    /// Whether it may let others in.
    pub admin_option: bool,
    /// Who let it in.
    pub grantor: RoleId,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its identity.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// Whether no check of privileges holds it back.
    pub superuser: bool,
    /// Whether it has the privileges of the roles it belongs to without `SET ROLE`.
    pub inherit: bool,
    /// Whether it may make, change and drop roles.
    pub create_role: bool,
    /// Whether it may make databases.
    pub create_db: bool,
    /// Whether it may connect.
    pub login: bool,
    /// Kept for `pg_roles`; there is no replication.
    pub replication: bool,
    /// Kept for `pg_roles`; there are no row policies.
    pub bypass_rls: bool,
    /// The most sessions it may have at a time; `None` for no limit.
    pub connection_limit: Option<u32>,
    /// How it proves itself; `None` refuses every password.
    pub verifier: Option<Verifier>,
    /// When its password stops to be good, milliseconds since 1970 UTC.
    pub valid_until_ms: Option<i64>,
    /// Settings that its sessions begin with.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The roles it belongs to.
    #[serde(default)]
    pub member_of: Vec<Membership>,
}

impl Role {
    /// A role as `CREATE ROLE name` makes it.
    pub fn new(id: RoleId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: None,
            verifier: None,
            valid_until_ms: None,
            settings: BTreeMap::new(),
            member_of: Vec::new(),
        }
    }

    fn member_of(mut self, role: RoleId) -> Self {
        self.member_of.push(Membership {
            role,
            admin_option: false,
            grantor: RoleId::BOOTSTRAP,
        });
        self
    }

    /// The roles of a new database.
    pub fn system() -> Vec<Self> {
        let bootstrap = Self {
            superuser: true,
            create_role: true,
            create_db: true,
            login: true,
            replication: true,
            bypass_rls: true,
            ..Self::new(RoleId::BOOTSTRAP, BOOTSTRAP_ROLE)
        };
        let monitor = Self::new(RoleId::MONITOR, "pg_monitor")
            .member_of(RoleId::READ_ALL_SETTINGS)
            .member_of(RoleId::READ_ALL_STATS);
        let plain = [
            (RoleId::DATABASE_OWNER, "pg_database_owner"),
            (RoleId::READ_ALL_DATA, "pg_read_all_data"),
            (RoleId::WRITE_ALL_DATA, "pg_write_all_data"),
            (RoleId::READ_ALL_SETTINGS, "pg_read_all_settings"),
            (RoleId::READ_ALL_STATS, "pg_read_all_stats"),
            (RoleId::SIGNAL_BACKEND, "pg_signal_backend"),
            (RoleId::READ_SERVER_FILES, "pg_read_server_files"),
            (RoleId::WRITE_SERVER_FILES, "pg_write_server_files"),
        ];
        let plain = plain.into_iter().map(|(id, name)| Self::new(id, name));
        [bootstrap, monitor].into_iter().chain(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_oids_that_do_not_meet() {
        assert_eq!(RoleId::BOOTSTRAP.oid(), 10);
        assert_eq!(RoleId(0).oid(), 16_384);
        assert_eq!(RoleId(7).oid(), 16_391);
        let mut oids: Vec<u32> = Role::system().iter().map(|r| r.id.oid()).collect();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), Role::system().len());
    }

    #[test]
    fn a_verifier_does_not_show() {
        let mut role = Role::new(RoleId(1), "ann");
        role.verifier = Some(Verifier::new(
            "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
        ));
        assert!(!format!("{role:?}").contains("SCRAM"));
    }
}
