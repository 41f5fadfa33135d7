//! The roles of a snapshot, and who owns and may do what.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::access::{Access, Object};
use super::role::{Role, RoleId};
use super::schema::Version;
use crate::error::{Error, Result, sqlstate};

/// A value, and the version that changed it last. Versions are not kept in checkpoints: transactions do not live as
/// long as a process.
#[derive(Debug, Clone)]
struct Known<T> {
    value: Arc<T>,
    changed: Version,
}

/// Roles, owners and grants at one version.
///
/// Invariants: names of roles are unique; every role that owns something, has a grant or a member exists.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    roles: RedBlackTreeMapSync<RoleId, Known<Role>>,
    access: RedBlackTreeMapSync<Object, Known<Access>>,
}

impl Authority {
    /// The roles of a new database, where everything belongs to its first superuser.
    pub(super) fn new() -> Self {
        let mut authority = Self {
            roles: RedBlackTreeMapSync::new_sync(),
            access: RedBlackTreeMapSync::new_sync(),
        };
        for role in Role::system() {
            authority.put_role(role, Version(0));
        }
        authority
    }

    pub(super) fn put_role(&mut self, role: Role, changed: Version) {
        let value = Arc::new(role);
        self.roles.insert_mut(value.id, Known { value, changed });
    }

    pub(super) fn put_access(&mut self, object: Object, access: Access, changed: Version) {
        let value = Arc::new(access);
        self.access.insert_mut(object, Known { value, changed });
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values().map(|k| &k.value)
    }

    pub(super) fn role(&self, id: RoleId) -> Option<&Arc<Role>> {
        self.roles.get(&id).map(|k| &k.value)
    }

    pub(super) fn role_named(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles().find(|r| r.name == name)
    }

    /// The accesses that statements have set.
    pub(super) fn accesses(&self) -> impl Iterator<Item = (&Object, &Arc<Access>)> {
        self.access.iter().map(|(object, k)| (object, &k.value))
    }

    /// The owner and grants of an object: what nobody has touched belongs to the first superuser.
    pub(super) fn access(&self, object: &Object) -> Arc<Access> {
        match self.access.get(object) {
            Some(known) => Arc::clone(&known.value),
            None => Arc::new(Access::owned_by(RoleId::BOOTSTRAP)),
        }
    }

    /// Whether the role was changed after `read`.
    pub(super) fn role_changed_since(&self, id: RoleId, read: Version) -> bool {
        self.roles.get(&id).is_some_and(|k| k.changed > read)
    }

    /// Whether the owner or grants of the object were changed after `read`.
    pub(super) fn access_changed_since(&self, object: &Object, read: Version) -> bool {
        self.access.get(object).is_some_and(|k| k.changed > read)
    }

    pub(super) fn create_role(&mut self, role: &Role, version: Version) -> Result<()> {
        self.check_name(role)?;
        self.check_members(role)?;
        self.put_role(role.clone(), version);
        Ok(())
    }

    pub(super) fn alter_role(&mut self, role: &Role, version: Version) -> Result<()> {
        if !self.roles.contains_key(&role.id) {
            return Err(gone());
        }
        self.check_name(role)?;
        self.check_members(role)?;
        self.put_role(role.clone(), version);
        Ok(())
    }

    /// Removes a role and its memberships.
    ///
    /// # Errors
    /// 2BP01 while it owns something, has grants, or is the first superuser.
    pub(super) fn drop_role(&mut self, id: RoleId, version: Version) -> Result<()> {
        let role = Arc::clone(self.role(id).ok_or_else(gone)?);
        let name = &role.name;
        let refuse = |message| Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message);
        if id.is_system() {
            return Err(refuse(format!(
                "cannot drop role {name} because it is required by the database system"
            )));
        }
        if self.accesses().any(|(_, access)| names(access, id)) {
            return Err(refuse(format!(
                "role \"{name}\" cannot be dropped because some objects depend on it"
            )));
        }
        let members: Vec<Role> = self
            .roles()
            .filter(|r| r.member_of.iter().any(|m| m.role == id || m.grantor == id))
            .map(|r| Role::clone(r))
            .collect();
        for mut member in members {
            member.member_of.retain(|m| m.role != id);
            let taken_over = member.member_of.iter_mut().filter(|m| m.grantor == id);
            taken_over.for_each(|m| m.grantor = RoleId::BOOTSTRAP);
            self.put_role(member, version);
        }
        self.roles.remove_mut(&id);
        Ok(())
    }

    pub(super) fn set_access(
        &mut self,
        object: &Object,
        access: &Access,
        version: Version,
    ) -> Result<()> {
        let mut named: Vec<RoleId> = vec![access.owner];
        for grant in access.grants.iter().flatten() {
            named.push(grant.grantor);
            named.extend(grant.grantee);
        }
        if named.iter().any(|id| !self.roles.contains_key(id)) {
            return Err(gone());
        }
        self.put_access(object.clone(), access.clone(), version);
        Ok(())
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&mut self, object: &Object) {
        self.access.remove_mut(object);
    }

    fn check_name(&self, role: &Role) -> Result<()> {
        match self.role_named(&role.name) {
            Some(other) if other.id != role.id => {
                let message = format!("role \"{}\" already exists", role.name);
                Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message))
            }
            _ => Ok(()),
        }
    }

    fn check_members(&self, role: &Role) -> Result<()> {
        let known = |id: &RoleId| *id == role.id || self.roles.contains_key(id);
        let mut named = role.member_of.iter().flat_map(|m| [&m.role, &m.grantor]);
        if named.all(known) {
            Ok(())
        } else {
            Err(gone())
        }
    }
}

/// Whether the role is the owner, or gave or was given something.
pub(super) fn names(access: &Access, role: RoleId) -> bool {
    let mut grants = access.grants.iter().flatten();
    access.owner == role || grants.any(|g| g.grantee == Some(role) || g.grantor == role)
}

fn gone() -> Error {
    Error::conflict("a role was dropped by a concurrent commit")
}

#[cfg(test)]
mod tests;
