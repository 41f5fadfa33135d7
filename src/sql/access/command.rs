//! Statements about roles and privileges as commands: one commit each, made under the lock of definitions.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::statement::{AccessStatement, RoleName, RoleWord};
use super::{grants, members, owners, roles};
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{existing_database, existing_schema, no_relation, qualify};
use crate::sql::routine::{RoutineKind, Signature};
use crate::sql::session::{Planning, Session, Tag, done};
use crate::sql::{domains, enums, routine, sequence};
use crate::storage::access::{Object, Rights};
use crate::storage::change::Change;
use crate::storage::role::{Role, RoleId};
use crate::storage::snapshot::Snapshot;

/// The plan of a statement. Its text in EXPLAIN has no password.
pub(in crate::sql) fn plan(
    session: &Session,
    statement: AccessStatement,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let statement = Arc::new(statement);
    let tag = statement.tag();
    done(tag, format!("Access: {tag}"), move || {
        let (session, statement) = (session.clone(), Arc::clone(&statement));
        async move { run(&session, &statement).await }
    })
}

async fn run(session: &Session, statement: &AccessStatement) -> Result<()> {
    let _ddl = session.inner.core.ddl.lock().await;
    let snapshot = session.snapshot();
    let acting = Acting::new(session, &snapshot);
    let changes = acting.changes(statement)?;
    if changes.is_empty() {
        return Ok(());
    }
    session.commit(&snapshot, changes).await
}

impl Session {
    /// Whose rights the session has is what it logged in with again, as DISCARD ALL has it.
    pub(in crate::sql) fn reset_user(&self) {
        let user = self.user();
        user.set_session(user.login());
        self.tell_user();
    }

    /// Puts into the variables whose rights the session has.
    fn tell_user(&self) {
        let (snapshot, user) = (self.snapshot(), self.user());
        let is_superuser = self.rights(&snapshot).is_superuser();
        let session = snapshot.role(user.session());
        let name = session.map_or_else(|| self.identity().user.clone(), |r| r.name.clone());
        self.set_user(&name, is_superuser);
    }
}

/// Who acts, and what the database is when they do.
pub(super) struct Acting<'a> {
    pub(super) session: &'a Session,
    pub(super) snapshot: &'a Snapshot,
    pub(super) rights: Rights<'a>,
    pub(super) user: RoleId,
}

impl<'a> Acting<'a> {
    pub(super) fn new(session: &'a Session, snapshot: &'a Snapshot) -> Self {
        let user = session.user().current();
        Self {
            session,
            snapshot,
            rights: Rights::new(snapshot, user),
            user,
        }
    }

    fn changes(&self, statement: &AccessStatement) -> Result<Vec<Change>> {
        match statement {
            AccessStatement::CreateRole {
                word,
                name,
                options,
            } => roles::create(self, *word == RoleWord::User, name, options),
            AccessStatement::AlterRole { role, options } => roles::alter(self, role, options),
            AccessStatement::RenameRole { role, to } => roles::rename(self, role, to),
            AccessStatement::RoleSetting { role, name, value } => {
                roles::set(self, role, name.as_deref(), value.as_deref())
            }
            AccessStatement::DropRoles { names, if_exists } => roles::drop(self, names, *if_exists),
            AccessStatement::Grant(grant) => grants::change(self, grant),
            AccessStatement::GrantRoles(grant) => members::change(self, grant),
            AccessStatement::AlterOwner {
                object,
                if_exists,
                owner,
            } => owners::alter(self, object, *if_exists, owner),
            AccessStatement::ReassignOwned { from, to } => owners::reassign(self, from, to),
            AccessStatement::DropOwned(owners) => owners::drop(self, owners),
            AccessStatement::SetRole(name) => self.set_role(name.as_deref()),
            AccessStatement::SetSessionAuthorization(name) => {
                self.set_session_authorization(name.as_deref())
            }
            AccessStatement::ResetSessionAuthorization => self.set_session_authorization(None),
        }
    }

    /// The role of that name.
    ///
    /// # Errors
    /// 42704 when there is none.
    pub(super) fn role(&self, name: &RoleName) -> Result<&'a Arc<Role>> {
        let found = match name {
            RoleName::Named(name) => return self.role_named(name),
            RoleName::CurrentUser => self.snapshot.role(self.user),
            RoleName::SessionUser => self.snapshot.role(self.session.user().session()),
        };
        found.ok_or_else(|| {
            let message = "the role of this session was dropped";
            Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        })
    }

    pub(super) fn role_named(&self, name: &str) -> Result<&'a Arc<Role>> {
        self.snapshot.role_named(name).ok_or_else(|| {
            let message = format!("role \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        })
    }

    /// Whether it may make and change roles that are no superusers.
    pub(super) fn may_create_roles(&self) -> bool {
        self.rights.is_superuser() || self.rights.role().is_some_and(|r| r.create_role)
    }

    /// The table or view of that name.
    pub(super) fn relation(&self, name: &ObjectName) -> Result<Object> {
        let name = qualify(name, &self.session.search_path())?;
        if let Some(collection) = self.snapshot.collection(&name) {
            return Ok(Object::Collection(collection.id));
        }
        if self.snapshot.view(&name).is_some() {
            return Ok(Object::View(name));
        }
        Err(no_relation(&name))
    }

    pub(super) fn sequence(&self, name: &ObjectName) -> Result<Object> {
        let sequence = sequence::find(self.session, self.snapshot, name)?;
        Ok(Object::Sequence(sequence.id))
    }

    pub(super) fn type_named(&self, name: &ObjectName) -> Result<Object> {
        let planning = Planning::new(self.session);
        match domains::find(&planning, name) {
            Ok(domain) => Ok(Object::Type(domain.id)),
            Err(_) => Ok(Object::Type(enums::find(&planning, name)?.id)),
        }
    }

    pub(super) fn routine(&self, kind: RoutineKind, named: &Signature) -> Result<Object> {
        let planning = Planning::new(self.session);
        Ok(Object::Function(routine::find(&planning, kind, named)?.id))
    }

    pub(super) fn schema(&self, name: &ObjectName) -> Result<Object> {
        existing_schema(self.snapshot, name).map(Object::Schema)
    }

    pub(super) fn database(&self, name: &ObjectName) -> Result<Object> {
        existing_database(self.session, name).map(|_| Object::Database)
    }

    fn set_role(&self, name: Option<&str>) -> Result<Vec<Change>> {
        let Some(name) = name else {
            self.session.user().set_role(None);
            self.session.tell_user();
            return Ok(Vec::new());
        };
        let role = self.existing(name)?;
        let session = Rights::new(self.snapshot, self.session.user().session());
        if !session.is_member_of(role) {
            return Err(Error::denied(format!(
                "permission denied to set role \"{name}\""
            )));
        }
        self.session.user().set_role(Some(role));
        self.session.tell_user();
        Ok(Vec::new())
    }

    fn set_session_authorization(&self, name: Option<&str>) -> Result<Vec<Change>> {
        let user = self.session.user();
        let role = match name {
            Some(name) => self.existing(name)?,
            None => user.login(),
        };
        if role != user.login() && !Rights::new(self.snapshot, user.login()).is_superuser() {
            let message = "permission denied to set session authorization";
            return Err(Error::denied(message));
        }
        user.set_session(role);
        self.session.tell_user();
        Ok(Vec::new())
    }

    /// A role as the value of a setting.
    fn existing(&self, name: &str) -> Result<RoleId> {
        let found = self.snapshot.role_named(name).map(|r| r.id);
        found.ok_or_else(|| {
            let message = format!("role \"{name}\" does not exist");
            Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
        })
    }
}
