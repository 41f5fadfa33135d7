//! GRANT and REVOKE of privileges.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::command::Acting;
use super::statement::{GrantPrivileges, Target};
use crate::error::{Error, Result, sqlstate};
use crate::sql::notice::Notice;
use crate::storage::access::{Access, Grant, Object, Privileges};
use crate::storage::change::Change;
use crate::storage::role::RoleId;

/// The name of an object in messages.
pub(super) fn name_of(acting: &Acting<'_>, object: &Object) -> String {
    let snapshot = acting.snapshot;
    match object {
        Object::Database => acting.session.identity().database.clone(),
        Object::Schema(name) => name.clone(),
        Object::Collection(id) => snapshot
            .collection_by_id(*id)
            .map_or_else(|| id.to_string(), |c| c.name.name.clone()),
        Object::View(name) => name.name.clone(),
        Object::Sequence(id) => snapshot
            .sequence(*id)
            .map_or_else(|| id.to_string(), |s| s.name.name.clone()),
        Object::Function(id) => snapshot
            .function(*id)
            .map_or_else(|| id.to_string(), |function| function.name.name.clone()),
        Object::Type(id) => snapshot
            .type_name(*id)
            .map_or_else(|| id.to_string(), |name| name.name.clone()),
    }
}

/// GRANT .. ON .. TO, REVOKE .. ON .. FROM.
pub(super) fn change(acting: &Acting<'_>, grant: &GrantPrivileges) -> Result<Vec<Change>> {
    let grantees: Vec<Option<RoleId>> = grant
        .grantees
        .iter()
        .map(|name| name.as_ref().map(|n| Ok(acting.role(n)?.id)).transpose())
        .collect::<Result<_>>()?;
    if grant.grant_option && !grant.revoke && grantees.contains(&None) {
        let message = "grant options can only be granted to roles";
        return Err(Error::invalid(sqlstate::INVALID_GRANT_OPERATION, message));
    }
    let mut changes = Vec::new();
    for object in objects(acting, &grant.target)? {
        let before = acting.snapshot.access(&object);
        let mut access = Access::clone(&before);
        let wanted = wanted(&object, grant)?;
        let Some((grantor, privileges)) = grantor(acting, &object, wanted, grant.revoke)? else {
            continue;
        };
        let mut grants = access.grants_of(&object);
        for grantee in &grantees {
            match grant.revoke {
                false => give(
                    &mut grants,
                    grantor,
                    *grantee,
                    privileges,
                    grant.grant_option,
                ),
                true => {
                    let owner = access.owner;
                    let taken = Taken {
                        grantor,
                        grantee: *grantee,
                        privileges,
                        option_only: grant.grant_option,
                    };
                    take(&mut grants, owner, &taken, grant.cascade)?;
                }
            }
        }
        access.grants = Some(grants);
        if access != *before && !changes.iter().any(|c| sets(c, &object)) {
            changes.push(Change::SetAccess(object, access));
        }
    }
    Ok(changes)
}

fn sets(change: &Change, object: &Object) -> bool {
    matches!(change, Change::SetAccess(other, _) if other == object)
}

fn objects(acting: &Acting<'_>, target: &Target) -> Result<Vec<Object>> {
    let each = |names: &[ObjectName], of: &dyn Fn(&ObjectName) -> Result<Object>| {
        names.iter().map(of).collect::<Result<Vec<_>>>()
    };
    match target {
        Target::Tables(names) => each(names, &|n| acting.relation(n)),
        Target::Sequences(names) => each(names, &|n| acting.sequence(n)),
        Target::SequencesIn(schemas) => {
            let schemas = each(schemas, &|n| acting.schema(n))?;
            let inside = |name: &str| schemas.contains(&Object::Schema(name.to_string()));
            let sequences = acting.snapshot.sequences();
            let sequences = sequences.filter(|s| inside(&s.name.schema));
            Ok(sequences.map(|s| Object::Sequence(s.id)).collect())
        }
        Target::Routines(kind, named) => {
            let found = named.iter().map(|named| acting.routine(*kind, named));
            found.collect()
        }
        Target::RoutinesIn(kind, schemas) => {
            let schemas = each(schemas, &|n| acting.schema(n))?;
            let inside = |name: &str| schemas.contains(&Object::Schema(name.to_string()));
            let functions = acting.snapshot.functions();
            let functions = functions.filter(|f| kind.is_made() && inside(&f.name.schema));
            Ok(functions.map(|f| Object::Function(f.id)).collect())
        }
        Target::Schemas(names) => each(names, &|n| acting.schema(n)),
        Target::Databases(names) => each(names, &|n| acting.database(n)),
        Target::TablesIn(schemas) => {
            let schemas = each(schemas, &|n| acting.schema(n))?;
            let inside = |name: &str| schemas.contains(&Object::Schema(name.to_string()));
            let collections = acting.snapshot.collections();
            let collections = collections
                .filter(|c| inside(&c.name.schema))
                .map(|c| Object::Collection(c.id));
            let views = acting.snapshot.views().filter(|v| inside(&v.name.schema));
            let views = views.map(|v| Object::View(v.name.clone()));
            Ok(collections.chain(views).collect())
        }
    }
}

/// The privileges that a statement names, all of which the kind of object must have.
fn wanted(object: &Object, grant: &GrantPrivileges) -> Result<Privileges> {
    let known = object.privileges();
    if grant.privileges.is_empty() {
        return Ok(known);
    }
    if let Some(unknown) = grant.privileges.iter().find(|p| !known.has(**p)) {
        let kind = match object {
            Object::Collection(_) | Object::View(_) => "table",
            Object::Database
            | Object::Schema(_)
            | Object::Sequence(_)
            | Object::Type(_)
            | Object::Function(_) => object.kind(),
        };
        let message = format!("invalid privilege type {} for {kind}", unknown.name());
        return Err(Error::invalid(sqlstate::INVALID_GRANT_OPERATION, message));
    }
    Ok(grant.privileges.iter().copied().collect())
}

/// In whose name privileges are granted, and which of those that are wanted; `None` when nothing is left to do.
///
/// # Errors
/// 42501 for somebody who has nothing to do with the object.
fn grantor(
    acting: &Acting<'_>,
    object: &Object,
    wanted: Privileges,
    revoke: bool,
) -> Result<Option<(RoleId, Privileges)>> {
    if acting.rights.owns(object) {
        return Ok(Some((acting.snapshot.access(object).owner, wanted)));
    }
    let name = name_of(acting, object);
    let grantable = acting.rights.grantable(object).and(wanted);
    if grantable.is_empty() && acting.rights.privileges(object).is_empty() {
        let message = format!("permission denied for {} {name}", object.kind());
        return Err(Error::denied(message));
    }
    if grantable != wanted {
        let part = if grantable.is_empty() {
            "no"
        } else {
            "not all"
        };
        let message = match revoke {
            true => format!("{part} privileges could be revoked for \"{name}\""),
            false => format!("{part} privileges were granted for \"{name}\""),
        };
        acting.session.notice(Notice::warning(message));
    }
    if grantable.is_empty() {
        return Ok(None);
    }
    // The role of theirs that has the options grants: they themselves, or one they belong to.
    let grants = acting.snapshot.access(object).grants_of(object);
    let roles = acting.rights.acting();
    let mut able = grants
        .iter()
        .filter(|g| !g.grantable.and(grantable).is_empty());
    let own = able.clone().find(|g| g.grantee == Some(acting.user));
    let granting = own.or_else(|| able.find(|g| g.grantee.is_some_and(|id| roles.contains(&id))));
    let grantor = granting.and_then(|g| g.grantee).unwrap_or(acting.user);
    Ok(Some((grantor, grantable)))
}

fn give(
    grants: &mut Vec<Grant>,
    grantor: RoleId,
    grantee: Option<RoleId>,
    privileges: Privileges,
    grant_option: bool,
) {
    let grantable = if grant_option {
        privileges
    } else {
        Privileges::NONE
    };
    let same = |g: &&mut Grant| g.grantee == grantee && g.grantor == grantor;
    match grants.iter_mut().find(same) {
        Some(grant) => {
            grant.privileges = grant.privileges.with(privileges);
            grant.grantable = grant.grantable.with(grantable);
        }
        None => grants.push(Grant {
            grantee,
            grantor,
            privileges,
            grantable,
        }),
    }
}

/// What is taken from whom.
struct Taken {
    grantor: RoleId,
    grantee: Option<RoleId>,
    privileges: Privileges,
    /// Whether only the right to grant on is taken.
    option_only: bool,
}

/// Takes privileges away, and with `cascade` what was granted on by their right.
///
/// # Errors
/// 2BP01 without `cascade` when something was granted on.
fn take(grants: &mut Vec<Grant>, owner: RoleId, taken: &Taken, cascade: bool) -> Result<()> {
    let same = |g: &&mut Grant| g.grantee == taken.grantee && g.grantor == taken.grantor;
    let Some(grant) = grants.iter_mut().find(same) else {
        return Ok(());
    };
    let lost = grant.grantable.and(taken.privileges);
    grant.grantable = grant.grantable.without(taken.privileges);
    if !taken.option_only {
        grant.privileges = grant.privileges.without(taken.privileges);
    }
    grants.retain(|g| !g.privileges.is_empty());
    let Some(grantee) = taken.grantee.filter(|id| *id != owner && !lost.is_empty()) else {
        return Ok(());
    };
    let others = grants.iter().filter(|g| g.grantee == Some(grantee));
    let still = others.fold(Privileges::NONE, |all, g| all.with(g.grantable));
    let lost = lost.without(still);
    let depends = |g: &&Grant| g.grantor == grantee && !g.privileges.and(lost).is_empty();
    let dependent: Vec<Option<RoleId>> = grants.iter().filter(depends).map(|g| g.grantee).collect();
    if !dependent.is_empty() && !cascade {
        let message = "dependent privileges exist";
        return Err(
            Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
                .with_hint("Use CASCADE to revoke them too."),
        );
    }
    for further in dependent {
        let taken = Taken {
            grantor: grantee,
            grantee: further,
            privileges: lost,
            option_only: false,
        };
        take(grants, owner, &taken, cascade)?;
    }
    Ok(())
}
