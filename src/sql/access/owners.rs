//! ALTER .. OWNER TO, REASSIGN OWNED and DROP OWNED.

use super::command::Acting;
use super::grants::name_of;
use super::statement::{Owned, RoleName};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::sql::session::Session;
use crate::storage::access::{Access, Grant, Object, Privilege};
use crate::storage::change::Change;
use crate::storage::role::{Role, RoleId};
use crate::storage::schema::SequenceId;
use crate::storage::snapshot::Snapshot;

impl Session {
    /// The role that is to own something new.
    ///
    /// # Errors
    /// 42704 where there is none, 42501 for one that the user does not belong to.
    pub(in crate::sql) fn new_owner(&self, snapshot: &Snapshot, name: &RoleName) -> Result<RoleId> {
        let acting = Acting::new(self, snapshot);
        let owner = acting.role(name)?;
        check_member(&acting, owner)?;
        Ok(owner.id)
    }
}

fn check_member(acting: &Acting<'_>, owner: &Role) -> Result<()> {
    if acting.rights.is_member_of(owner.id) {
        return Ok(());
    }
    let message = format!("must be member of role \"{}\"", owner.name);
    Err(Error::denied(message))
}

/// ALTER .. OWNER TO.
pub(super) fn alter(
    acting: &Acting<'_>,
    object: &Owned,
    if_exists: bool,
    owner: &RoleName,
) -> Result<Vec<Change>> {
    let found = match find(acting, object) {
        Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
            acting.session.notice(format!("{}, skipping", e.message()));
            return Ok(Vec::new());
        }
        found => found?,
    };
    let owner = acting.role(owner)?;
    let access = acting.snapshot.access(&found);
    if access.owner == owner.id {
        return Ok(Vec::new());
    }
    if !acting.rights.owns(&found) {
        let name = name_of(acting, &found);
        return Err(Error::denied(format!(
            "must be owner of {} {name}",
            found.kind()
        )));
    }
    check_member(acting, owner)?;
    check_place(acting, &found)?;
    let access = with_owner(&access, owner.id);
    Ok(vec![Change::SetAccess(found, access)])
}

fn find(acting: &Acting<'_>, object: &Owned) -> Result<Object> {
    match object {
        Owned::Table(name) => acting.relation(name),
        Owned::Sequence(name) => acting.sequence(name),
        Owned::Type(name) => acting.type_named(name),
        Owned::Schema(name) => acting.schema(name),
        Owned::Database(name) => acting.database(name),
        Owned::Routine(kind, named) => acting.routine(*kind, named),
        Owned::MaterializedView(name) => {
            let found = acting.relation(name)?;
            let collection = match &found {
                Object::Collection(id) => acting.snapshot.collection_by_id(*id),
                _ => None,
            };
            match collection.is_some_and(|c| c.materialized.is_some()) {
                true => Ok(found),
                false => {
                    let name = name_of(acting, &found);
                    let message = format!("\"{name}\" is not a materialized view");
                    Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message))
                }
            }
        }
        Owned::View(name) => match acting.relation(name)? {
            view @ Object::View(_) => Ok(view),
            other => {
                let name = name_of(acting, &other);
                let message = format!("\"{name}\" is not a view");
                Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message))
            }
        },
    }
}

/// That the user may make such a thing where it is.
fn check_place(acting: &Acting<'_>, object: &Object) -> Result<()> {
    let place = match object {
        Object::Database => return Ok(()),
        Object::Schema(_) => Object::Database,
        Object::View(name) => Object::Schema(name.schema.clone()),
        Object::Sequence(id) => match acting.snapshot.sequence(*id) {
            Some(sequence) => Object::Schema(sequence.name.schema.clone()),
            None => return Ok(()),
        },
        Object::Type(id) => match acting.snapshot.type_name(*id) {
            Some(name) => Object::Schema(name.schema.clone()),
            None => return Ok(()),
        },
        Object::Function(id) => match acting.snapshot.function(*id) {
            Some(function) => Object::Schema(function.name.schema.clone()),
            None => return Ok(()),
        },
        Object::Collection(id) => match acting.snapshot.collection_by_id(*id) {
            Some(collection) => Object::Schema(collection.name.schema.clone()),
            None => return Ok(()),
        },
    };
    if acting.rights.may(&place, Privilege::Create) {
        return Ok(());
    }
    let name = name_of(acting, &place);
    Err(Error::denied(format!(
        "permission denied for {} {name}",
        place.kind()
    )))
}

/// The new owner takes the place of the old one in the grants as well.
fn with_owner(access: &Access, owner: RoleId) -> Access {
    let moved = |id: RoleId| if id == access.owner { owner } else { id };
    let grants = access.grants.as_ref().map(|grants| {
        let mut merged: Vec<Grant> = Vec::new();
        for grant in grants {
            let (grantee, grantor) = (grant.grantee.map(moved), moved(grant.grantor));
            let same = |g: &&mut Grant| g.grantee == grantee && g.grantor == grantor;
            match merged.iter_mut().find(same) {
                Some(known) => {
                    known.privileges = known.privileges.with(grant.privileges);
                    known.grantable = known.grantable.with(grant.grantable);
                }
                None => merged.push(Grant {
                    grantee,
                    grantor,
                    ..grant.clone()
                }),
            }
        }
        merged
    });
    Access { owner, grants }
}

/// REASSIGN OWNED BY .. TO.
pub(super) fn reassign(
    acting: &Acting<'_>,
    from: &[RoleName],
    to: &RoleName,
) -> Result<Vec<Change>> {
    let from = owners(acting, from, "reassign ownership of")?;
    let to = acting.role(to)?;
    if !acting.rights.acts_as(to.id) {
        return Err(Error::denied("permission denied to reassign objects"));
    }
    let mut changes = Vec::new();
    for owner in from {
        let owned = acting
            .snapshot
            .objects_of(owner)
            .filter(|(_, a)| a.owner == owner);
        changes.extend(
            owned.map(|(object, access)| {
                Change::SetAccess(object.clone(), with_owner(access, to.id))
            }),
        );
    }
    Ok(changes)
}

/// DROP OWNED BY: what the roles own goes, and what was granted to them.
pub(super) fn drop(acting: &Acting<'_>, owners: &[RoleName]) -> Result<Vec<Change>> {
    let owners = self::owners(acting, owners, "drop")?;
    let (mut relations, mut types) = (Vec::new(), Vec::new());
    let (mut schemas, mut others) = (Vec::new(), Vec::new());
    for (object, access) in owners.iter().flat_map(|id| acting.snapshot.objects_of(*id)) {
        match object {
            _ if !owners.contains(&access.owner) || *object == Object::Database => {
                let mut access = Access::clone(access);
                let of_them = |g: &Grant| {
                    g.grantee.is_some_and(|id| owners.contains(&id)) || owners.contains(&g.grantor)
                };
                access
                    .grants
                    .iter_mut()
                    .for_each(|g| g.retain(|g| !of_them(g)));
                others.push(Change::SetAccess(object.clone(), access));
            }
            Object::Collection(id) => relations.push(Change::DropCollection(*id)),
            Object::View(name) => relations.push(Change::DropView(name.clone())),
            Object::Function(id) => relations.push(Change::DropFunction(*id)),
            Object::Sequence(id) if is_owned(acting, *id) => {}
            Object::Sequence(id) => relations.push(Change::DropSequence(*id)),
            Object::Type(id) if acting.snapshot.domain_by_id(*id).is_some() => {
                types.push(Change::DropDomain(*id));
            }
            Object::Type(id) => types.push(Change::DropType(*id)),
            Object::Schema(name) => schemas.push(Change::DropSchema(name.clone())),
            Object::Database => {}
        }
    }
    // Types go after the columns that have them.
    let changes = relations.into_iter().chain(types);
    Ok(changes.chain(schemas).chain(others).collect())
}

/// Whether the sequence goes with a column.
fn is_owned(acting: &Acting<'_>, id: SequenceId) -> bool {
    let sequence = acting.snapshot.sequence(id);
    sequence.is_some_and(|s| s.owner.is_some())
}

/// The roles, none of which is needed by the system.
fn owners(acting: &Acting<'_>, names: &[RoleName], what: &str) -> Result<Vec<RoleId>> {
    let mut owners = Vec::new();
    for name in names {
        let role = acting.role(name)?;
        if role.id.is_system() {
            let message = format!(
                "cannot {what} objects owned by role {} because they are required by the database system",
                role.name
            );
            let code = sqlstate::DEPENDENT_OBJECTS_STILL_EXIST;
            return Err(Error::invalid(code, message));
        }
        if !acting.rights.acts_as(role.id) {
            let message = format!("permission denied to {what} objects");
            return Err(Error::denied(message));
        }
        if !owners.contains(&role.id) {
            owners.push(role.id);
        }
    }
    Ok(owners)
}
