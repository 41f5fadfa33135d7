//! Functions by the names that statements have for them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::define::value_type;
use super::{RoutineKind, Signature};
use crate::catalog::pg::format_type;
use crate::catalog::pg_type::{enum_array_oid, enum_oid, info, type_of};
use crate::catalog::{domains::row_of, search_path};
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::qualified_parts;
use crate::sql::session::Planning;
use crate::storage::change::QualifiedName;
use crate::storage::function::{Function, ValueType};
use crate::storage::schema::ColumnType;
use crate::storage::snapshot::Snapshot;

/// The OID of the type of values.
pub(super) fn oid_of(of: &ValueType) -> u32 {
    match &of.column_type {
        ColumnType::Enum(of) => enum_oid(of.id),
        ColumnType::Array(element) => match element.as_ref() {
            ColumnType::Enum(of) => enum_array_oid(of.id),
            _ => type_of(row_of(&of.column_type).field(0)).oid,
        },
        column_type => type_of(row_of(column_type).field(0)).oid,
    }
}

/// The name of a type in messages and definitions.
pub(crate) fn type_name(snapshot: &Snapshot, of: &ValueType) -> String {
    if let Some(name) = of.domain.and_then(|id| snapshot.type_name(id)) {
        return name.to_string();
    }
    match &of.column_type {
        ColumnType::Enum(of) => of.to_string(),
        ColumnType::Array(element) if element.enum_type().is_some() => format!("{element}[]"),
        _ => format_type(oid_of(of)),
    }
}

/// The name of a function with the types of its arguments.
pub(in crate::sql) fn signature(snapshot: &Snapshot, function: &Function) -> String {
    let types = function
        .inputs()
        .map(|p| type_name(snapshot, &p.value_type));
    let types: Vec<String> = types.collect();
    format!("{}({})", function.name, types.join(","))
}

/// The functions that a name means along a path: of those with the same arguments the first.
pub(super) fn named(
    snapshot: &Snapshot,
    path: &[String],
    name: &ObjectName,
) -> Result<Vec<Arc<Function>>> {
    let (schema, last) = qualified_parts(name)?;
    let path = match schema {
        Some(schema) => vec![search_path::own_name(&schema).to_string()],
        None => path.to_vec(),
    };
    let mut found: Vec<Arc<Function>> = Vec::new();
    for schema in path {
        let name = QualifiedName::new(schema, last.as_str());
        for function in snapshot.functions_named(&name) {
            let mut unnamed = Function::clone(function);
            let is_hidden = found.iter().any(|known| {
                unnamed.name = known.name.clone();
                known.is_called_as(&unnamed)
            });
            if !is_hidden {
                found.push(Arc::clone(function));
            }
        }
    }
    Ok(found)
}

/// The function of that name and those arguments.
///
/// # Errors
/// 42883 where there is none, 42725 where several have the name and no arguments are said, 42704 for a type that does not
/// exist.
pub(in crate::sql) fn find(
    planning: &Planning<'_>,
    kind: RoutineKind,
    wanted: &Signature,
) -> Result<Arc<Function>> {
    let path = planning.session.search_path().into_schemas();
    let mut found = named(&planning.snapshot, &path, &wanted.name)?;
    found.retain(|_| kind.is_made());
    let word = kind.word();
    let Some(arguments) = &wanted.arguments else {
        return match found.as_slice() {
            [one] => Ok(Arc::clone(one)),
            [] => {
                let message = format!("could not find a {word} named \"{}\"", wanted.name);
                Err(Error::not_found(sqlstate::UNDEFINED_FUNCTION, message))
            }
            _ => {
                let message = format!("{word} name \"{}\" is not unique", wanted.name);
                let hint = format!("Specify the argument list to select the {word} unambiguously.");
                Err(Error::invalid(sqlstate::AMBIGUOUS_FUNCTION, message).with_hint(hint))
            }
        };
    };
    let mut types = Vec::with_capacity(arguments.len());
    for argument in arguments {
        types.push(value_type(planning, argument)?);
    }
    let oids: Vec<u32> = types.iter().map(oid_of).collect();
    let has_them = |function: &&Arc<Function>| {
        let inputs = function.inputs().map(|p| oid_of(&p.value_type));
        inputs.eq(oids.iter().copied())
    };
    let function = found.iter().find(has_them).cloned();
    function.ok_or_else(|| {
        let names = types.iter().map(|of| type_name(&planning.snapshot, of));
        let names: Vec<String> = names.collect();
        let message = format!(
            "{word} {}({}) does not exist",
            wanted.name,
            names.join(", ")
        );
        Error::not_found(sqlstate::UNDEFINED_FUNCTION, message)
    })
}

/// The OID of the type of an array's elements.
pub(super) fn element_of(oid: u32) -> Option<u32> {
    let array = info(oid).filter(|of| of.array_oid == oid);
    array.map(|of| of.oid)
}

/// The name of the type of an OID, as messages have it.
pub(super) fn name_of_oid(snapshot: &Snapshot, oid: u32) -> String {
    let of = snapshot.types().find(|of| enum_oid(of.id) == oid);
    match of {
        Some(of) => of.to_string(),
        None if info(oid).is_some() => format_type(oid),
        None => "unknown".to_string(),
    }
}
