//! The functions of a snapshot, and what changes do to them.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::comment::Commented;
use crate::storage::function::Function;
use crate::storage::schema::{FunctionId, TypeId, Version};

impl Snapshot {
    /// The functions in the order of their ids.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values().map(|(function, _)| function)
    }

    /// The function of that id.
    pub fn function(&self, id: FunctionId) -> Option<&Arc<Function>> {
        self.functions.get(&id).map(|(function, _)| function)
    }

    /// The functions of that name, each for other types of arguments.
    pub fn functions_named(&self, name: &QualifiedName) -> impl Iterator<Item = &Arc<Function>> {
        self.functions().filter(move |f| f.name == *name)
    }

    /// Whether a function has a parameter or a value of the type.
    pub fn type_has_functions(&self, id: TypeId) -> bool {
        self.functions().any(|function| {
            let mut types = function.types();
            types.any(|of| of.domain == Some(id) || of.column_type.is_of_enum(id))
        })
    }

    /// Whether the function was changed after `read`.
    pub(in crate::storage) fn function_changed_since(&self, id: FunctionId, read: Version) -> bool {
        let found = self.functions.get(&id);
        found.is_some_and(|(_, changed)| *changed > read)
    }

    pub(in crate::storage) fn put_function(&mut self, function: Function) {
        self.use_id(function.id.0);
        let version = self.version;
        self.functions
            .insert_mut(function.id, (Arc::new(function), version));
    }

    pub(super) fn create_function(&mut self, function: &Function) -> Result<()> {
        self.check_function(function)?;
        self.put_function(self.with_known_types(function)?);
        Ok(())
    }

    pub(super) fn alter_function(&mut self, function: &Function) -> Result<()> {
        if !self.functions.contains_key(&function.id) {
            return Err(gone());
        }
        self.check_function(function)?;
        self.put_function(self.with_known_types(function)?);
        Ok(())
    }

    pub(super) fn drop_function(&mut self, id: FunctionId) -> Result<()> {
        if !self.functions.remove_mut(&id) {
            return Err(gone());
        }
        self.authority.forget(&Object::Function(id));
        self.forget_comment(&Commented::Function(id));
        Ok(())
    }

    /// Functions know the newest definition of an enum.
    pub(super) fn tell_functions(&mut self, id: TypeId) -> Result<()> {
        let concerned = self.functions().filter(|function| {
            let mut types = function.types();
            types.any(|of| of.column_type.is_of_enum(id))
        });
        let concerned: Vec<Arc<Function>> = concerned.cloned().collect();
        for function in concerned {
            self.put_function(self.with_known_types(&function)?);
        }
        Ok(())
    }

    /// That no type goes which a function has.
    pub(super) fn check_no_function_of(&self, id: TypeId, name: &QualifiedName) -> Result<()> {
        if !self.type_has_functions(id) {
            return Ok(());
        }
        let message = format!("cannot drop type {name} because other objects depend on it");
        let code = sqlstate::DEPENDENT_OBJECTS_STILL_EXIST;
        Err(Error::invalid(code, message).with_hint("Drop the functions that use it first."))
    }

    fn check_function(&self, function: &Function) -> Result<()> {
        if !self.schemas.contains(&function.name.schema) {
            return Err(super::no_schema(&function.name.schema));
        }
        let mut others = self.functions().filter(|f| f.id != function.id);
        if others.any(|other| other.is_called_as(function)) {
            let message = format!(
                "function \"{}\" already exists with same argument types",
                function.name.name
            );
            return Err(Error::exists(sqlstate::DUPLICATE_FUNCTION, message));
        }
        Ok(())
    }

    /// The function with its types as they are now.
    fn with_known_types(&self, function: &Function) -> Result<Function> {
        let mut function = function.clone();
        for of in function.types_mut() {
            if of.domain.is_some_and(|id| self.domain_by_id(id).is_none()) {
                return Err(no_type());
            }
            if let Some(known) = of.column_type.enum_type() {
                let current = self.type_by_id(known.id).ok_or_else(no_type)?;
                of.column_type = of.column_type.with_enum(current);
            }
        }
        Ok(function)
    }
}

fn gone() -> Error {
    Error::conflict("the function was dropped by a concurrent commit")
}

fn no_type() -> Error {
    Error::conflict("the type was dropped by a concurrent commit")
}
