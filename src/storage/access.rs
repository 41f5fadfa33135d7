//! Owners and grants of objects, and the question that all checks come down to: may this role do that to this object?

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::QualifiedName;
use super::role::{Role, RoleId};
use super::schema::{CollectionId, FunctionId, SequenceId, TypeId};
use super::snapshot::{DEFAULT_SCHEMA, Snapshot, TEMPORARY_SCHEMA};

/// What has an owner and grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// The database.
    Database,
    /// A SQL schema.
    Schema(String),
    /// A collection.
    Collection(CollectionId),
    /// A view.
    View(QualifiedName),
    /// A sequence.
    Sequence(SequenceId),
    /// A type.
    Type(TypeId),
    /// A function or procedure.
    Function(FunctionId),
}

/// A thing that may be done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Privilege {
    /// Adding rows.
    Insert,
    /// Reading rows.
    Select,
    /// Changing rows.
    Update,
    /// Removing rows.
    Delete,
    /// Removing all rows at once.
    Truncate,
    /// Kept for scripts; there are no foreign keys.
    References,
    /// Kept for scripts; there are no triggers.
    Trigger,
    /// Naming what a schema holds.
    Usage,
    /// Making things in a schema or database.
    Create,
    /// Kept for scripts; there are no temporary tables.
    Temporary,
    /// Connecting to the database.
    Connect,
    /// Calling a function.
    Execute,
}

impl Privilege {
    /// Every privilege, with its letter in access control lists and its name in GRANT; in the order of the lists.
    pub const ALL: [(Self, char, &'static str); 12] = [
        (Self::Insert, 'a', "INSERT"),
        (Self::Select, 'r', "SELECT"),
        (Self::Update, 'w', "UPDATE"),
        (Self::Delete, 'd', "DELETE"),
        (Self::Truncate, 'D', "TRUNCATE"),
        (Self::References, 'x', "REFERENCES"),
        (Self::Trigger, 't', "TRIGGER"),
        (Self::Usage, 'U', "USAGE"),
        (Self::Create, 'C', "CREATE"),
        (Self::Temporary, 'T', "TEMPORARY"),
        (Self::Connect, 'c', "CONNECT"),
        (Self::Execute, 'X', "EXECUTE"),
    ];

    /// Its name in GRANT.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// The privilege of that name in upper case.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = if name == "TEMP" { "TEMPORARY" } else { name };
        let found = Self::ALL.iter().find(|(.., known)| *known == name);
        found.map(|(privilege, ..)| *privilege)
    }
}

/// A set of privileges; its text has PostgreSQL's letters.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Privileges(u16);

impl Privileges {
    /// No privilege.
    pub const NONE: Self = Self(0);

    /// Whether it is in the set.
    pub fn has(self, privilege: Privilege) -> bool {
        self.0 & (1 << privilege as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of either.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that `other` does not have.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The privileges in the order of their letters.
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        let all = Privilege::ALL.into_iter().map(|(privilege, ..)| privilege);
        all.filter(move |p| self.has(*p))
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        let bits = privileges.into_iter().map(|p| 1 << p as u8);
        Self(bits.fold(0, |all, bit: u16| all | bit))
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Privilege::ALL.iter().filter(|(p, ..)| self.has(*p));
        held.map(|(_, letter, _)| *letter)
            .collect::<String>()
            .fmt(f)
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Privileges({self})")
    }
}

impl From<Privileges> for String {
    fn from(privileges: Privileges) -> Self {
        privileges.to_string()
    }
}

impl TryFrom<String> for Privileges {
    type Error = String;

    fn try_from(letters: String) -> Result<Self, String> {
        let privilege = |letter| {
            let found = Privilege::ALL.iter().find(|(_, known, _)| *known == letter);
            found.map(|(privilege, ..)| *privilege)
        };
        let read: Option<Self> = letters.chars().map(privilege).collect();
        read.ok_or_else(|| format!("\"{letters}\" is no set of privileges"))
    }
}

impl Object {
    /// The word for its kind in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Schema(_) => "schema",
            Self::Collection(_) => "table",
            Self::View(_) => "view",
            Self::Sequence(_) => "sequence",
            Self::Type(_) => "type",
            Self::Function(_) => "function",
        }
    }

    /// All privileges that there are on it.
    pub fn privileges(&self) -> Privileges {
        use Privilege::{
            Connect, Create, Delete, Execute, Insert, References, Select, Temporary, Trigger,
            Truncate, Update, Usage,
        };
        match self {
            Self::Database => [Create, Temporary, Connect].into_iter().collect(),
            Self::Schema(_) => [Usage, Create].into_iter().collect(),
            Self::Sequence(_) => [Usage, Select, Update].into_iter().collect(),
            Self::Type(_) => [Usage].into_iter().collect(),
            Self::Function(_) => [Execute].into_iter().collect(),
            Self::Collection(_) | Self::View(_) => [
                Insert, Select, Update, Delete, Truncate, References, Trigger,
            ]
            .into_iter()
            .collect(),
        }
    }

    /// What everybody may do to it as long as nobody has granted or revoked anything.
    fn of_everybody(&self) -> Privileges {
        match self {
            Self::Database => [Privilege::Temporary, Privilege::Connect]
                .into_iter()
                .collect(),
            Self::Schema(name) if name == DEFAULT_SCHEMA => {
                [Privilege::Usage].into_iter().collect()
            }
            // It is one session's, whoever that is at the moment.
            Self::Schema(name) if name == TEMPORARY_SCHEMA => self.privileges(),
            Self::Type(_) | Self::Function(_) => self.privileges(),
            _ => Privileges::NONE,
        }
    }
}

/// Privileges that somebody gave to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom; `None` is everybody (PUBLIC).
    pub grantee: Option<RoleId>,
    /// Who gave them.
    pub grantor: RoleId,
    /// What.
    pub privileges: Privileges,
    /// Those of them that the grantee may give on.
    pub grantable: Privileges,
}

/// The owner and the grants of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Who made it, or was made its owner.
    pub owner: RoleId,
    /// The grants; `None` as long as nobody has granted or revoked anything, which has its own meaning for each kind.
    pub grants: Option<Vec<Grant>>,
}

impl Access {
    /// The access of an object of that owner that nobody has granted anything on.
    pub fn owned_by(owner: RoleId) -> Self {
        Self {
            owner,
            grants: None,
        }
    }

    /// The grants, with those that hold where there are none.
    pub fn grants_of(&self, object: &Object) -> Vec<Grant> {
        if let Some(grants) = &self.grants {
            return grants.clone();
        }
        let grant = |grantee, privileges| Grant {
            grantee,
            grantor: self.owner,
            privileges,
            grantable: Privileges::NONE,
        };
        let mut grants = vec![grant(Some(self.owner), object.privileges())];
        if !object.of_everybody().is_empty() {
            grants.insert(0, grant(None, object.of_everybody()));
        }
        grants
    }
}

/// A role in a snapshot: what it may do.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    snapshot: &'a Snapshot,
    role: RoleId,
}

impl<'a> Rights<'a> {
    /// The rights of `role`; a role that is gone has none.
    pub fn new(snapshot: &'a Snapshot, role: RoleId) -> Self {
        Self { snapshot, role }
    }

    /// The role, if it is not gone.
    pub fn role(&self) -> Option<&'a Arc<Role>> {
        self.snapshot.role(self.role)
    }

    /// Whether nothing holds it back.
    pub fn is_superuser(&self) -> bool {
        self.role().is_some_and(|r| r.superuser)
    }

    /// The role and those whose privileges it has: those it belongs to, as far as each member on the way inherits.
    pub fn acting(&self) -> BTreeSet<RoleId> {
        self.closure(|role| role.inherit)
    }

    /// The role and all it belongs to.
    pub fn roles(&self) -> BTreeSet<RoleId> {
        self.closure(|_| true)
    }

    fn closure(&self, passes: impl Fn(&Role) -> bool) -> BTreeSet<RoleId> {
        let mut found = BTreeSet::new();
        let mut next = vec![self.role];
        while let Some(id) = next.pop() {
            let Some(role) = self.snapshot.role(id).filter(|_| found.insert(id)) else {
                continue;
            };
            if passes(role) {
                next.extend(role.member_of.iter().map(|m| m.role));
            }
            if self.snapshot.access(&Object::Database).owner == id {
                next.push(RoleId::DATABASE_OWNER);
            }
        }
        found
    }

    /// Whether it has the privileges of `role` without `SET ROLE`.
    pub fn acts_as(&self, role: RoleId) -> bool {
        self.is_superuser() || self.acting().contains(&role)
    }

    /// Whether it may `SET ROLE role`.
    pub fn is_member_of(&self, role: RoleId) -> bool {
        self.is_superuser() || self.roles().contains(&role)
    }

    /// Whether it may let others into `role`.
    pub fn may_admit_to(&self, role: RoleId) -> bool {
        if self.is_superuser() {
            return true;
        }
        let roles = self.roles();
        let members = roles.iter().filter_map(|id| self.snapshot.role(*id));
        members
            .flat_map(|m| &m.member_of)
            .any(|m| m.role == role && m.admin_option)
    }

    /// Whether it is the owner, or has the owner's privileges.
    pub fn owns(&self, object: &Object) -> bool {
        self.acts_as(self.snapshot.access(object).owner)
    }

    /// Whether it may do that to the object.
    pub fn may(&self, object: &Object, privilege: Privilege) -> bool {
        self.is_superuser() || self.privileges(object).has(privilege)
    }

    /// All that it may do to the object.
    pub fn privileges(&self, object: &Object) -> Privileges {
        if self.is_superuser() {
            return object.privileges();
        }
        let acting = self.acting();
        let access = self.snapshot.access(object);
        let grants = access.grants_of(object).into_iter();
        let mine = grants.filter(|g| g.grantee.is_none_or(|role| acting.contains(&role)));
        let granted = mine.fold(Privileges::NONE, |all, g| all.with(g.privileges));
        granted.with(of_predefined(&acting, object))
    }

    /// What it may grant on the object: the owner everything.
    pub fn grantable(&self, object: &Object) -> Privileges {
        if self.owns(object) {
            return object.privileges();
        }
        let acting = self.acting();
        let access = self.snapshot.access(object);
        let grants = access.grants_of(object).into_iter();
        let mine = grants.filter(|g| g.grantee.is_some_and(|role| acting.contains(&role)));
        mine.fold(Privileges::NONE, |all, g| all.with(g.grantable))
    }
}

/// What the roles for reading and writing everything may do to the object.
fn of_predefined(acting: &BTreeSet<RoleId>, object: &Object) -> Privileges {
    use Privilege::{Delete, Insert, Select, Update, Usage};
    let reads = acting.contains(&RoleId::READ_ALL_DATA);
    let writes = acting.contains(&RoleId::WRITE_ALL_DATA);
    let mut held = Vec::new();
    match object {
        Object::Database | Object::Type(_) | Object::Function(_) => {}
        Object::Schema(_) if reads || writes => held.push(Usage),
        Object::Schema(_) => {}
        Object::Sequence(_) => {
            if reads {
                held.push(Select);
            }
            if writes {
                held.extend([Usage, Update]);
            }
        }
        Object::Collection(_) | Object::View(_) => {
            if reads {
                held.push(Select);
            }
            if writes {
                held.extend([Insert, Update, Delete]);
            }
        }
    }
    held.into_iter().collect()
}
