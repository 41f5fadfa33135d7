//! What definitions need: to own what they change, and to be let into where they make something.

use super::requirements::require;
use crate::error::{Error, Result};
use crate::sql::session::Session;
use crate::storage::access::{Access, Object, Privilege, Rights};
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

impl Session {
    /// What the current user may do in `snapshot`.
    pub(in crate::sql) fn rights<'a>(&self, snapshot: &'a Snapshot) -> Rights<'a> {
        Rights::new(snapshot, self.user().current())
    }

    /// That the current user owns an object of that name.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_owner(
        &self,
        snapshot: &Snapshot,
        object: &Object,
        name: &str,
    ) -> Result<()> {
        if self.rights(snapshot).owns(object) {
            return Ok(());
        }
        let message = format!("must be owner of {} {name}", object.kind());
        Err(Error::denied(message))
    }

    /// That the current user owns the collection.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_owns(
        &self,
        snapshot: &Snapshot,
        collection: &Collection,
    ) -> Result<()> {
        let object = Object::Collection(collection.id);
        self.check_owner(snapshot, &object, &collection.name.name)
    }

    /// That the current user owns the collection of an index.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_owns_index(
        &self,
        snapshot: &Snapshot,
        collection: &Collection,
        index: &str,
    ) -> Result<()> {
        if self
            .rights(snapshot)
            .owns(&Object::Collection(collection.id))
        {
            return Ok(());
        }
        Err(Error::denied(format!("must be owner of index {index}")))
    }

    /// That the current user may drop the relation: as its owner, or as that of its schema.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_drops(
        &self,
        snapshot: &Snapshot,
        object: &Object,
        schema: &str,
        name: &str,
    ) -> Result<()> {
        let schema = Object::Schema(schema.to_string());
        match self.rights(snapshot).owns(&schema) {
            true => Ok(()),
            false => self.check_owner(snapshot, object, name),
        }
    }

    /// That the current user may make things in the schema.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_creates(&self, snapshot: &Snapshot, schema: &str) -> Result<()> {
        if !snapshot.has_schema(schema) {
            return Ok(()); // The change itself says so.
        }
        let object = Object::Schema(schema.to_string());
        require(&self.rights(snapshot), &object, Privilege::Create, schema)
    }

    /// That the current user may make schemas.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_creates_schemas(&self, snapshot: &Snapshot) -> Result<()> {
        let rights = self.rights(snapshot);
        let name = &self.identity().database;
        require(&rights, &Object::Database, Privilege::Create, name)
    }

    /// That the current user may do that to the rows of the collection.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_may(
        &self,
        snapshot: &Snapshot,
        collection: &Collection,
        privilege: Privilege,
    ) -> Result<()> {
        let rights = self.rights(snapshot);
        let schema = &collection.name.schema;
        require(
            &rights,
            &Object::Schema(schema.clone()),
            Privilege::Usage,
            schema,
        )?;
        let object = Object::Collection(collection.id);
        require(&rights, &object, privilege, &collection.name.name)
    }

    /// That the current user may do that to the rows of the view or partition.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::sql) fn check_may_view(
        &self,
        snapshot: &Snapshot,
        name: &QualifiedName,
        privilege: Privilege,
    ) -> Result<()> {
        let rights = self.rights(snapshot);
        let schema = Object::Schema(name.schema.clone());
        require(&rights, &schema, Privilege::Usage, &name.schema)?;
        require(&rights, &Object::View(name.clone()), privilege, &name.name)
    }

    /// The change that makes the current user the owner of something new; none where that is so without it.
    pub(in crate::sql) fn ownership(&self, object: Object) -> Option<Change> {
        owned_by(self.user().current(), object)
    }
}

/// The change that makes a role the owner of something new; none where that is so without it.
pub(in crate::sql) fn owned_by(owner: RoleId, object: Object) -> Option<Change> {
    let access = Access::owned_by(owner);
    (owner != RoleId::BOOTSTRAP).then_some(Change::SetAccess(object, access))
}
