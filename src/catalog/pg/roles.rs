//! Roles and memberships, as the catalogs show them.

use super::context::PgContext;
use super::rows::{Rows, Value};
use crate::storage::role::{Role, RoleId};

/// The OID of the role that owns what nobody else owns.
pub(super) const OWNER: u32 = RoleId::BOOTSTRAP.0 as u32;

/// The name of a role.
pub(super) fn name_of(context: &PgContext, oid: u32) -> Option<String> {
    let mut roles = context.snapshot().roles();
    roles.find(|r| r.id.oid() == oid).map(|r| r.name.clone())
}

/// The OID of a role.
pub(super) fn oid_of(context: &PgContext, name: &str) -> Option<u32> {
    context
        .snapshot()
        .role_named(name)
        .map(|role| role.id.oid())
}

/// `pg_roles` and `pg_authid`: no password ever shows.
pub(super) fn pg_roles(rows: &mut Rows, context: &PgContext) {
    for role in context.snapshot().roles() {
        rows.push(&[
            ("oid", role.id.oid().into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", role.inherit.into()),
            ("rolcreaterole", role.create_role.into()),
            ("rolcreatedb", role.create_db.into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", role.replication.into()),
            ("rolbypassrls", role.bypass_rls.into()),
            ("rolconnlimit", limit(role)),
            ("rolpassword", Value::Null),
        ]);
    }
}

/// -1 stands for none.
fn limit(role: &Role) -> Value {
    Value::Int(role.connection_limit.map_or(-1, i64::from))
}

/// `pg_user` and `pg_shadow`.
pub(super) fn pg_user(rows: &mut Rows, context: &PgContext) {
    for role in context.snapshot().roles().filter(|role| role.login) {
        rows.push(&[
            ("usename", role.name.as_str().into()),
            ("usesysid", role.id.oid().into()),
            ("usecreatedb", role.create_db.into()),
            ("usesuper", role.superuser.into()),
            ("userepl", role.replication.into()),
            ("usebypassrls", role.bypass_rls.into()),
        ]);
    }
}

/// `pg_auth_members`.
pub(super) fn pg_auth_members(rows: &mut Rows, context: &PgContext) {
    for role in context.snapshot().roles() {
        for membership in role.member_of.iter() {
            rows.push(&[
                ("roleid", membership.role.oid().into()),
                ("member", role.id.oid().into()),
                ("grantor", membership.grantor.oid().into()),
                ("admin_option", membership.admin_option.into()),
            ]);
        }
    }
}
