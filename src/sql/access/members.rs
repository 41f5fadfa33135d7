//! GRANT and REVOKE of membership in roles.

use std::collections::BTreeMap;

use super::command::Acting;
use super::statement::GrantRoles;
use crate::error::{Error, Result, sqlstate};
use crate::sql::notice::Notice;
use crate::storage::access::Rights;
use crate::storage::change::Change;
use crate::storage::role::{Membership, Role, RoleId};

/// GRANT role TO role, REVOKE role FROM role.
pub(super) fn change(acting: &Acting<'_>, grant: &GrantRoles) -> Result<Vec<Change>> {
    // A member may be named with several roles: its changes are one.
    let mut changed: BTreeMap<RoleId, Role> = BTreeMap::new();
    for role in &grant.roles {
        let role = acting.role(role)?;
        check_admits(acting, role)?;
        for member in &grant.members {
            let member = acting.role(member)?;
            let entry = changed.entry(member.id);
            let member = entry.or_insert_with(|| Role::clone(member));
            match grant.revoke {
                true => remove(acting, member, role, grant.admin_option),
                false => admit(acting, member, role, grant.admin_option)?,
            }
        }
    }
    Ok(changed.into_values().map(Change::AlterRole).collect())
}

/// That the user may let others into the role.
pub(super) fn check_admits(acting: &Acting<'_>, role: &Role) -> Result<()> {
    if acting.rights.is_superuser() {
        return Ok(());
    }
    if role.superuser {
        return Err(Error::denied("must be superuser to alter superusers"));
    }
    let is_predefined = role.id.is_system();
    if acting.rights.may_admit_to(role.id) || acting.may_create_roles() && !is_predefined {
        return Ok(());
    }
    let message = format!("must have admin option on role \"{}\"", role.name);
    Err(Error::denied(message))
}

fn admit(acting: &Acting<'_>, member: &mut Role, role: &Role, admin_option: bool) -> Result<()> {
    let above = Rights::new(acting.snapshot, role.id);
    if above.roles().contains(&member.id) {
        let message = format!(
            "role \"{}\" is a member of role \"{}\"",
            role.name, member.name
        );
        return Err(Error::invalid(sqlstate::INVALID_GRANT_OPERATION, message));
    }
    let known = member.member_of.iter().find(|m| m.role == role.id);
    if known.is_some_and(|m| m.admin_option || !admin_option) {
        acting.session.notice(format!(
            "role \"{}\" is already a member of role \"{}\"",
            member.name, role.name
        ));
        return Ok(());
    }
    add(member, role.id, admin_option, acting.user);
    Ok(())
}

/// Puts a role into another.
pub(super) fn add(member: &mut Role, role: RoleId, admin_option: bool, grantor: RoleId) {
    member.member_of.retain(|m| m.role != role);
    member.member_of.push(Membership {
        role,
        admin_option,
        grantor,
    });
}

fn remove(acting: &Acting<'_>, member: &mut Role, role: &Role, admin_option: bool) {
    let known = member.member_of.iter_mut().find(|m| m.role == role.id);
    match known {
        None => acting.session.notice(Notice::warning(format!(
            "role \"{}\" is not a member of role \"{}\"",
            member.name, role.name
        ))),
        Some(membership) if admin_option => membership.admin_option = false,
        Some(_) => member.member_of.retain(|m| m.role != role.id),
    }
}
