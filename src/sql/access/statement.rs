//! Statements about roles and privileges, as the parser understands them.

use datafusion::sql::sqlparser::ast::ObjectName;

use crate::sql::routine::{RoutineKind, Signature};
use crate::storage::access::Privilege;
use crate::storage::role::Verifier;

/// A role as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleName {
    /// By its name.
    Named(String),
    /// CURRENT_USER, CURRENT_ROLE
    CurrentUser,
    /// SESSION_USER
    SessionUser,
}

/// The word that CREATE or DROP has for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleWord {
    /// ROLE
    Role,
    /// USER: LOGIN is the default.
    User,
    /// GROUP
    Group,
}

/// An attribute of a role that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// SUPERUSER
    Superuser,
    /// INHERIT
    Inherit,
    /// CREATEROLE
    CreateRole,
    /// CREATEDB
    CreateDb,
    /// LOGIN
    Login,
    /// REPLICATION
    Replication,
    /// BYPASSRLS
    BypassRls,
}

impl Flag {
    /// Every flag with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Superuser, "SUPERUSER"),
        (Self::Inherit, "INHERIT"),
        (Self::CreateRole, "CREATEROLE"),
        (Self::CreateDb, "CREATEDB"),
        (Self::Login, "LOGIN"),
        (Self::Replication, "REPLICATION"),
        (Self::BypassRls, "BYPASSRLS"),
    ];
}

/// An option of CREATE ROLE or ALTER ROLE.
#[derive(Debug, Clone, PartialEq)]
pub enum RoleOption {
    /// A flag, on or off.
    Flag(Flag, bool),
    /// CONNECTION LIMIT; -1 is none.
    ConnectionLimit(i64),
    /// PASSWORD, hashed already; `None` takes it away.
    Password(Option<Verifier>),
    /// VALID UNTIL, as text.
    ValidUntil(String),
    /// IN ROLE: the roles that the new role belongs to.
    InRole(Vec<RoleName>),
    /// ROLE: those who belong to the new role.
    Members(Vec<RoleName>),
    /// ADMIN: those who belong to it and may let others in.
    Admins(Vec<RoleName>),
}

/// What privileges are granted on.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Tables and views.
    Tables(Vec<ObjectName>),
    /// ALL TABLES IN SCHEMA
    TablesIn(Vec<ObjectName>),
    /// Sequences.
    Sequences(Vec<ObjectName>),
    /// ALL SEQUENCES IN SCHEMA
    SequencesIn(Vec<ObjectName>),
    /// Schemas.
    Schemas(Vec<ObjectName>),
    /// Databases.
    Databases(Vec<ObjectName>),
    /// Functions and procedures.
    Routines(RoutineKind, Vec<Signature>),
    /// ALL FUNCTIONS IN SCHEMA and its like.
    RoutinesIn(RoutineKind, Vec<ObjectName>),
}

/// An object whose owner changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    /// A table or view: ALTER TABLE takes both.
    Table(ObjectName),
    /// A view.
    View(ObjectName),
    /// A materialized view.
    MaterializedView(ObjectName),
    /// A sequence.
    Sequence(ObjectName),
    /// A type.
    Type(ObjectName),
    /// A schema.
    Schema(ObjectName),
    /// The database.
    Database(ObjectName),
    /// A function or procedure.
    Routine(RoutineKind, Signature),
}

/// GRANT or REVOKE of privileges.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantPrivileges {
    /// Whether they are taken away.
    pub revoke: bool,
    /// Which; empty for ALL.
    pub privileges: Vec<Privilege>,
    /// On what.
    pub target: Target,
    /// To or from whom; `None` is PUBLIC.
    pub grantees: Vec<Option<RoleName>>,
    /// WITH GRANT OPTION, or GRANT OPTION FOR.
    pub grant_option: bool,
    /// Whether what was granted on goes as well.
    pub cascade: bool,
}

/// GRANT or REVOKE of membership.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRoles {
    /// Whether it is taken away.
    pub revoke: bool,
    /// In which roles.
    pub roles: Vec<RoleName>,
    /// Of whom.
    pub members: Vec<RoleName>,
    /// WITH ADMIN OPTION, or ADMIN OPTION FOR.
    pub admin_option: bool,
}

/// A statement about roles or privileges.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessStatement {
    /// CREATE ROLE, USER or GROUP.
    CreateRole {
        /// The word.
        word: RoleWord,
        /// The role.
        name: String,
        /// Its options.
        options: Vec<RoleOption>,
    },
    /// ALTER ROLE or USER.
    AlterRole {
        /// The role.
        role: RoleName,
        /// What changes.
        options: Vec<RoleOption>,
    },
    /// ALTER ROLE .. RENAME TO.
    RenameRole {
        /// The role.
        role: String,
        /// Its new name.
        to: String,
    },
    /// ALTER ROLE .. SET and RESET.
    RoleSetting {
        /// The role.
        role: RoleName,
        /// The setting; `None` for RESET ALL.
        name: Option<String>,
        /// Its value; `None` for RESET.
        value: Option<String>,
    },
    /// DROP ROLE, USER or GROUP.
    DropRoles {
        /// Which.
        names: Vec<RoleName>,
        /// Whether missing ones are fine.
        if_exists: bool,
    },
    /// GRANT or REVOKE of privileges.
    Grant(GrantPrivileges),
    /// GRANT or REVOKE of membership.
    GrantRoles(GrantRoles),
    /// ALTER .. OWNER TO.
    AlterOwner {
        /// What.
        object: Owned,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// Whose it will be.
        owner: RoleName,
    },
    /// REASSIGN OWNED BY .. TO.
    ReassignOwned {
        /// Whose.
        from: Vec<RoleName>,
        /// Whose it will be.
        to: RoleName,
    },
    /// DROP OWNED BY.
    DropOwned(Vec<RoleName>),
    /// SET ROLE; `None` is NONE, and RESET ROLE.
    SetRole(Option<String>),
    /// SET SESSION AUTHORIZATION; `None` is DEFAULT.
    SetSessionAuthorization(Option<String>),
    /// RESET SESSION AUTHORIZATION.
    ResetSessionAuthorization,
}

impl AccessStatement {
    /// The tag of its answer.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::CreateRole { .. } => "CREATE ROLE",
            Self::AlterRole { .. } | Self::RenameRole { .. } | Self::RoleSetting { .. } => {
                "ALTER ROLE"
            }
            Self::DropRoles { .. } => "DROP ROLE",
            Self::Grant(grant) if grant.revoke => "REVOKE",
            Self::Grant(_) => "GRANT",
            Self::GrantRoles(grant) if grant.revoke => "REVOKE ROLE",
            Self::GrantRoles(_) => "GRANT ROLE",
            Self::AlterOwner { object, .. } => match object {
                Owned::Table(_) => "ALTER TABLE",
                Owned::View(_) => "ALTER VIEW",
                Owned::MaterializedView(_) => "ALTER MATERIALIZED VIEW",
                Owned::Sequence(_) => "ALTER SEQUENCE",
                Owned::Type(_) => "ALTER TYPE",
                Owned::Schema(_) => "ALTER SCHEMA",
                Owned::Database(_) => "ALTER DATABASE",
                Owned::Routine(RoutineKind::Function, _) => "ALTER FUNCTION",
                Owned::Routine(RoutineKind::Procedure, _) => "ALTER PROCEDURE",
                Owned::Routine(RoutineKind::Any, _) => "ALTER ROUTINE",
            },
            Self::ReassignOwned { .. } => "REASSIGN OWNED",
            Self::DropOwned(_) => "DROP OWNED",
            Self::SetRole(None) | Self::ResetSessionAuthorization => "RESET",
            Self::SetRole(Some(_)) | Self::SetSessionAuthorization(_) => "SET",
        }
    }

    /// Whether it changes whose rights the session has, and nothing else.
    pub fn is_of_session(&self) -> bool {
        matches!(
            self,
            Self::SetRole(_) | Self::SetSessionAuthorization(_) | Self::ResetSessionAuthorization
        )
    }
}
