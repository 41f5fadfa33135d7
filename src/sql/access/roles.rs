//! CREATE, ALTER and DROP ROLE.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;

use super::command::Acting;
use super::grammar::reserved;
use super::grants::name_of;
use super::members;
use super::statement::{Flag, RoleName, RoleOption};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::role::{Role, RoleId};

/// CREATE ROLE; `login` is the default of CREATE USER.
pub(super) fn create(
    acting: &Acting<'_>,
    login: bool,
    name: &str,
    options: &[RoleOption],
) -> Result<Vec<Change>> {
    check_flags(acting, options)?;
    if !acting.may_create_roles() {
        return Err(Error::denied("permission denied to create role"));
    }
    check_name(acting, name)?;
    let id = RoleId(acting.session.inner.core.engine.committer.allocate_id());
    let mut role = Role::new(id, name);
    role.login = login;
    for option in options {
        apply(acting, &mut role, option)?;
    }
    let mut changes = Vec::new();
    for option in options {
        match option {
            RoleOption::InRole(roles) => {
                for parent in roles {
                    let parent = acting.role(parent)?;
                    members::check_admits(acting, parent)?;
                    members::add(&mut role, parent.id, false, acting.user);
                }
            }
            RoleOption::Members(names) | RoleOption::Admins(names) => {
                let admin_option = matches!(option, RoleOption::Admins(_));
                for member in names {
                    let mut member = Role::clone(acting.role(member)?);
                    members::add(&mut member, id, admin_option, acting.user);
                    changes.push(Change::AlterRole(member));
                }
            }
            _ => {}
        }
    }
    changes.insert(0, Change::CreateRole(role));
    Ok(changes)
}

/// That a role may be made under that name.
fn check_name(acting: &Acting<'_>, name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        let detail = "Role names starting with \"pg_\" are reserved.";
        return Err(reserved(name).with_detail(detail));
    }
    if name.is_empty() || name.contains('\0') {
        let message = "the name of a role has at least one character, and no zero byte";
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    if acting.snapshot.role_named(name).is_some() {
        let message = format!("role \"{name}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    Ok(())
}

/// That who makes a role may give it such powers.
fn check_flags(acting: &Acting<'_>, options: &[RoleOption]) -> Result<()> {
    if acting.rights.is_superuser() {
        return Ok(());
    }
    for option in options {
        let whom = match option {
            RoleOption::Flag(Flag::Superuser, true) => "superusers",
            RoleOption::Flag(Flag::Replication, true) => "replication users",
            RoleOption::Flag(Flag::BypassRls, true) => "bypassrls users",
            _ => continue,
        };
        return Err(Error::denied(format!("must be superuser to create {whom}")));
    }
    Ok(())
}

/// What an option makes of a role, memberships aside.
fn apply(acting: &Acting<'_>, role: &mut Role, option: &RoleOption) -> Result<()> {
    match option {
        RoleOption::Flag(flag, on) => {
            let field = match flag {
                Flag::Superuser => &mut role.superuser,
                Flag::Inherit => &mut role.inherit,
                Flag::CreateRole => &mut role.create_role,
                Flag::CreateDb => &mut role.create_db,
                Flag::Login => &mut role.login,
                Flag::Replication => &mut role.replication,
                Flag::BypassRls => &mut role.bypass_rls,
            };
            *field = *on;
        }
        RoleOption::ConnectionLimit(limit) => role.connection_limit = u32::try_from(*limit).ok(),
        RoleOption::Password(verifier) => role.verifier.clone_from(verifier),
        RoleOption::ValidUntil(text) => role.valid_until_ms = instant(acting, text)?,
        RoleOption::InRole(_) | RoleOption::Members(_) | RoleOption::Admins(_) => {}
    }
    Ok(())
}

/// A point in time, in milliseconds since 1970 UTC; `None` is infinity.
fn instant(acting: &Acting<'_>, text: &str) -> Result<Option<i64>> {
    match text.trim().to_lowercase().as_str() {
        "infinity" => return Ok(None),
        "-infinity" => return Ok(Some(i64::MIN)),
        _ => {}
    }
    let wrong = || {
        let message = format!("invalid input syntax for type timestamp with time zone: \"{text}\"");
        Error::invalid(sqlstate::INVALID_DATETIME_FORMAT, message)
    };
    let state = acting.session.context().state();
    let zone = state.config_options().execution.time_zone.clone();
    let zone = Arc::from(zone.as_deref().unwrap_or("UTC"));
    let target = DataType::Timestamp(TimeUnit::Millisecond, Some(zone));
    let value = ScalarValue::from(text.trim())
        .cast_to(&target)
        .map_err(|_| wrong())?;
    match value {
        ScalarValue::TimestampMillisecond(Some(ms), _) => Ok(Some(ms)),
        _ => Err(wrong()),
    }
}

/// The role that a statement changes, if it may.
fn changeable(acting: &Acting<'_>, role: &Arc<Role>, options: &[RoleOption]) -> Result<()> {
    check_reserved(role)?;
    let changes = |flag| {
        let mut flags = options.iter();
        flags.any(|o| matches!(o, RoleOption::Flag(f, _) if *f == flag))
    };
    if !acting.rights.is_superuser() {
        let why = if role.superuser || changes(Flag::Superuser) {
            Some("alter superuser roles or change superuser attribute")
        } else if role.replication || changes(Flag::Replication) {
            Some("alter replication roles or change replication attribute")
        } else if changes(Flag::BypassRls) {
            Some("change bypassrls attribute")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Error::denied(format!("must be superuser to {why}")));
        }
    }
    let own_password = role.id == acting.user && matches!(options, [RoleOption::Password(_)]);
    if acting.may_create_roles() || own_password {
        return Ok(());
    }
    Err(Error::denied("permission denied"))
}

/// That a role is none of those that PostgreSQL has predefined.
fn check_reserved(role: &Role) -> Result<()> {
    if role.id.is_system() && role.id != RoleId::BOOTSTRAP {
        return Err(reserved(&role.name).with_detail("Cannot alter reserved roles."));
    }
    Ok(())
}

/// ALTER ROLE.
pub(super) fn alter(
    acting: &Acting<'_>,
    role: &RoleName,
    options: &[RoleOption],
) -> Result<Vec<Change>> {
    let role = acting.role(role)?;
    changeable(acting, role, options)?;
    if role.id == RoleId::BOOTSTRAP && options.contains(&RoleOption::Flag(Flag::Superuser, false)) {
        let message = "permission denied to alter role";
        return Err(Error::denied(message).with_detail("The bootstrap user must be superuser."));
    }
    let mut role = Role::clone(role);
    for option in options {
        apply(acting, &mut role, option)?;
    }
    Ok(vec![Change::AlterRole(role)])
}

/// ALTER ROLE .. RENAME TO.
pub(super) fn rename(acting: &Acting<'_>, role: &str, to: &str) -> Result<Vec<Change>> {
    let role = acting.role_named(role)?;
    check_reserved(role)?;
    let in_use = |what| {
        let message = format!("{what} cannot be renamed");
        Err(Error::unsupported(message))
    };
    if role.id == acting.session.user().session() {
        return in_use("session user");
    }
    if role.id == acting.user {
        return in_use("current user");
    }
    check_name(acting, to)?;
    if role.superuser && !acting.rights.is_superuser() {
        return Err(Error::denied("must be superuser to rename superusers"));
    }
    if !acting.may_create_roles() {
        return Err(Error::denied("permission denied to rename role"));
    }
    let mut role = Role::clone(role);
    role.name = to.to_string();
    Ok(vec![Change::AlterRole(role)])
}

/// ALTER ROLE .. SET and RESET; `None` resets all settings, or the one that is named.
pub(super) fn set(
    acting: &Acting<'_>,
    role: &RoleName,
    name: Option<&str>,
    value: Option<&str>,
) -> Result<Vec<Change>> {
    let role = acting.role(role)?;
    if role.id != acting.user {
        changeable(acting, role, &[])?;
    }
    let mut role = Role::clone(role);
    match (name, value) {
        (None, _) => role.settings.clear(),
        (Some(name), None) => {
            role.settings.remove(name);
        }
        (Some(name), Some(value)) => {
            role.settings.insert(name.to_string(), value.to_string());
        }
    }
    Ok(vec![Change::AlterRole(role)])
}

/// DROP ROLE.
pub(super) fn drop(
    acting: &Acting<'_>,
    names: &[RoleName],
    if_exists: bool,
) -> Result<Vec<Change>> {
    if !acting.may_create_roles() {
        return Err(Error::denied("permission denied to drop role"));
    }
    let mut changes = Vec::new();
    for name in names {
        match acting.role(name) {
            Ok(role) => {
                check_droppable(acting, role)?;
                changes.push(Change::DropRole(role.id));
            }
            Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
                acting.session.notice(format!("{}, skipping", e.message()));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(changes)
}

fn check_droppable(acting: &Acting<'_>, role: &Role) -> Result<()> {
    let in_use = |what: &str| {
        let message = format!("{what} cannot be dropped");
        Err(Error::invalid(sqlstate::OBJECT_IN_USE, message))
    };
    if role.id == acting.user {
        return in_use("current user");
    }
    if role.id == acting.session.user().session() {
        return in_use("session user");
    }
    if role.superuser && !acting.rights.is_superuser() {
        return Err(Error::denied("must be superuser to drop superusers"));
    }
    let objects = acting.snapshot.objects_of(role.id);
    let objects: Vec<String> = objects
        .map(|(object, access)| {
            let what = match access.owner == role.id {
                true => "owner of",
                false => "privileges for",
            };
            format!("{what} {} {}", object.kind(), name_of(acting, object))
        })
        .collect();
    if objects.is_empty() || role.id.is_system() {
        return Ok(()); // The change itself refuses roles of the system.
    }
    let message = format!(
        "role \"{}\" cannot be dropped because some objects depend on it",
        role.name
    );
    Err(
        Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_detail(objects.join("\n")),
    )
}
