//! The types that CREATE TYPE made: their rows of `pg_type` and `pg_enum`, and their names.

use std::sync::Arc;

use datafusion::config::ConfigOptions;

use super::context::{PgContext, search_path};
use super::definition::{format_type, qualified, quote_ident};
use super::fixed::type_of_name;
use super::objects::Objects;
use super::oid;
use super::rows::{Rows, Value};
use crate::catalog::pg_type::{enum_array_oid, enum_oid};
use crate::storage::access::Object;
use crate::storage::enum_type::EnumType;

/// The functions that read and write values of enums and arrays, by their OIDs in `pg_proc`.
const ENUM_FUNCTIONS: [u32; 4] = [3506, 3507, 3532, 3533];
const ARRAY_FUNCTIONS: [u32; 4] = [750, 751, 2400, 2401];
const ARRAY_SUBSCRIPTS: u32 = 6179;

/// A type that CREATE TYPE made, or the type of its arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserType<'a> {
    pub of: &'a Arc<EnumType>,
    pub is_array: bool,
}

impl UserType<'_> {
    /// Its name in `pg_type`.
    pub fn name(&self) -> String {
        match self.is_array {
            true => format!("_{}", self.of.name.name),
            false => self.of.name.name.clone(),
        }
    }

    fn oid(&self) -> u32 {
        match self.is_array {
            true => enum_array_oid(self.of.id),
            false => enum_oid(self.of.id),
        }
    }
}

impl Objects {
    /// The types of users, and those of their arrays.
    pub fn user_types(&self) -> impl Iterator<Item = UserType<'_>> {
        self.types.iter().flat_map(|of| {
            let kinds = [false, true].into_iter();
            kinds.map(move |is_array| UserType { of, is_array })
        })
    }

    /// The type of a user of that OID.
    pub fn user_type(&self, oid: u32) -> Option<UserType<'_>> {
        self.user_types().find(|t| t.oid() == oid)
    }

    /// The OID of the type of a user that the name means; without a schema it is looked up along `path`.
    pub fn find_type(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<u32> {
        let in_schema = |schema: &str| {
            let mut types = self.user_types();
            types.find(|t| t.of.name.schema == schema && t.name() == name)
        };
        let found = match schema {
            Some(schema) => in_schema(schema),
            None => path.iter().find_map(|schema| in_schema(schema)),
        };
        found.map(|t| t.oid())
    }
}

/// Whether the type is the one that its bare name means.
pub(super) fn is_visible(objects: &Objects, config: &ConfigOptions, of: &EnumType) -> bool {
    let found = objects.find_type(None, &of.name.name, &search_path(config));
    found == Some(enum_oid(of.id)) && type_of_name(&of.name.name).is_none()
}

/// A type as SQL writes it in the session, of users' types too; see [`format_type`].
pub(super) fn type_name(
    context: &PgContext,
    config: &ConfigOptions,
    oid: u32,
    typmod: Option<i32>,
) -> String {
    let Some(UserType { of, is_array }) = context.objects().user_type(oid) else {
        return format_type(oid, typmod);
    };
    let name = match is_visible(context.objects(), config, of) {
        true => quote_ident(&of.name.name),
        false => qualified(&of.name.schema, &of.name.name),
    };
    match is_array {
        true => format!("{name}[]"),
        false => name,
    }
}

/// The rows of `pg_type`.
pub(super) fn pg_type(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for user_type in objects.user_types() {
        let UserType { of, is_array } = user_type;
        let access = context.snapshot().access(&Object::Type(of.id));
        let mut cells = vec![
            ("oid", user_type.oid().into()),
            ("typname", user_type.name().into()),
            ("typnamespace", oid::schema(&of.name.schema).into()),
            ("typowner", access.owner.oid().into()),
            ("typisdefined", true.into()),
            ("typdelim", ",".into()),
            ("typtypmod", Value::Int(-1)),
            ("typalign", "i".into()),
        ];
        let functions = match is_array {
            true => ARRAY_FUNCTIONS,
            false => ENUM_FUNCTIONS,
        };
        let names = ["typinput", "typoutput", "typreceive", "typsend"];
        cells.extend(names.into_iter().zip(functions.map(Value::from)));
        cells.extend(match is_array {
            true => [
                ("typlen", Value::Int(-1)),
                ("typbyval", false.into()),
                ("typtype", "b".into()),
                ("typcategory", "A".into()),
                ("typstorage", "x".into()),
                ("typelem", enum_oid(of.id).into()),
                ("typsubscript", ARRAY_SUBSCRIPTS.into()),
            ],
            false => [
                ("typlen", Value::Int(4)),
                ("typbyval", true.into()),
                ("typtype", "e".into()),
                ("typcategory", "E".into()),
                ("typstorage", "p".into()),
                ("typarray", enum_array_oid(of.id).into()),
                ("typsubscript", Value::Int(0)),
            ],
        });
        rows.push(&cells);
    }
}

pub(super) fn pg_enum(rows: &mut Rows, objects: &Objects) {
    for of in &objects.types {
        for (place, label) in of.labels.iter().enumerate() {
            rows.push(&[
                ("oid", oid::enum_label(label.id).into()),
                ("enumtypid", enum_oid(of.id).into()),
                ("enumsortorder", (place as f64 + 1.0).into()),
                ("enumlabel", label.name.as_str().into()),
            ]);
        }
    }
}
