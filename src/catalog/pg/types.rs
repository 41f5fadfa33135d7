//! The types that users made: their rows of `pg_type` and `pg_enum`, and their names.

use datafusion::config::ConfigOptions;

use super::access::{acl, owner};
use super::context::{PgContext, search_path};
use super::definition::{format_type, qualified, quote_ident};
use super::fixed::{named_type, type_of_name};
use super::objects::Objects;
use super::oid;
use super::rows::{Rows, Value};
use crate::catalog::domains::row_of;
use crate::catalog::pg_type::{enum_array_oid, enum_oid, type_of};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::domain::Domain;
use crate::storage::schema::TypeId;

/// The functions that read and write values of enums and arrays, by their OIDs in `pg_proc`.
const ENUM_FUNCTIONS: [u32; 4] = [3506, 3507, 3532, 3533];
const ARRAY_FUNCTIONS: [u32; 4] = [750, 751, 2400, 2401];
const ARRAY_SUBSCRIPTS: u32 = 6179;

/// A type that users made, or the type of its arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserType<'a> {
    pub qualified: &'a QualifiedName,
    id: TypeId,
    kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Enum,
    EnumArray,
    Domain(&'a Domain),
}

impl UserType<'_> {
    /// Whether its values are arrays.
    pub fn is_array(&self) -> bool {
        matches!(self.kind, Kind::EnumArray)
    }

    /// Its name in `pg_type`.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::EnumArray => format!("_{}", self.qualified.name),
            Kind::Enum | Kind::Domain(_) => self.qualified.name.clone(),
        }
    }

    /// What its owner and its privileges are those of.
    pub fn object(&self) -> Object {
        Object::Type(self.id)
    }

    fn oid(&self) -> u32 {
        match self.kind {
            Kind::EnumArray => enum_array_oid(self.id),
            Kind::Enum | Kind::Domain(_) => enum_oid(self.id),
        }
    }
}

impl Objects {
    /// The types of users, and those of their arrays.
    pub fn user_types(&self) -> impl Iterator<Item = UserType<'_>> {
        let enums = self.types.iter().flat_map(|of| {
            let kinds = [Kind::Enum, Kind::EnumArray].into_iter();
            kinds.map(move |kind| UserType {
                qualified: &of.name,
                id: of.id,
                kind,
            })
        });
        let domains = self.domains.iter().map(|domain| UserType {
            qualified: &domain.name,
            id: domain.id,
            kind: Kind::Domain(domain),
        });
        enums.chain(domains)
    }

    /// The type of a user of that OID.
    pub fn user_type(&self, oid: u32) -> Option<UserType<'_>> {
        self.user_types().find(|t| t.oid() == oid)
    }

    /// The OID of the type of a user that the name means; without a schema it is looked up along `path`.
    pub fn find_type(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<u32> {
        let in_schema = |schema: &str| {
            let mut types = self.user_types();
            types.find(|t| t.qualified.schema == schema && t.name() == name)
        };
        let found = match schema {
            Some(schema) => in_schema(schema),
            None => path.iter().find_map(|schema| in_schema(schema)),
        };
        found.map(|t| t.oid())
    }
}

/// Whether the type is the one that its bare name means.
pub(super) fn is_visible(objects: &Objects, config: &ConfigOptions, of: &UserType<'_>) -> bool {
    let name = &of.qualified.name;
    let found = objects.find_type(None, name, &search_path(config));
    found == Some(enum_oid(of.id)) && type_of_name(name).is_none()
}

/// A type as SQL writes it in the session, of users' types too; see [`format_type`].
pub(super) fn type_name(
    context: &PgContext,
    config: &ConfigOptions,
    oid: u32,
    typmod: Option<i32>,
) -> String {
    let Some(of) = context.objects().user_type(oid) else {
        return format_type(oid, typmod);
    };
    let UserType {
        qualified: of_name, ..
    } = of;
    let name = match is_visible(context.objects(), config, &of) {
        true => quote_ident(&of_name.name),
        false => qualified(&of_name.schema, &of_name.name),
    };
    match of.is_array() {
        true => format!("{name}[]"),
        false => name,
    }
}

/// The rows of `pg_type`.
pub(super) fn pg_type(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for user_type in objects.user_types() {
        let object = user_type.object();
        let mut cells = vec![
            ("oid", user_type.oid().into()),
            ("typname", user_type.name().into()),
            (
                "typnamespace",
                oid::schema(&user_type.qualified.schema).into(),
            ),
            ("typowner", owner(context, Some(&object)).into()),
            ("typacl", acl(context, Some(&object))),
            ("typisdefined", true.into()),
            ("typdelim", ",".into()),
        ];
        if let Kind::Domain(domain) = user_type.kind {
            cells.extend(domain_cells(domain));
            rows.push(&cells);
            continue;
        }
        let is_array = user_type.is_array();
        cells.extend([("typtypmod", Value::Int(-1)), ("typalign", "i".into())]);
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
                ("typelem", enum_oid(user_type.id).into()),
                ("typsubscript", ARRAY_SUBSCRIPTS.into()),
            ],
            false => [
                ("typlen", Value::Int(4)),
                ("typbyval", true.into()),
                ("typtype", "e".into()),
                ("typcategory", "E".into()),
                ("typstorage", "p".into()),
                ("typarray", enum_array_oid(user_type.id).into()),
                ("typsubscript", Value::Int(0)),
            ],
        });
        rows.push(&cells);
    }
}

/// What `pg_type` says of a domain: how its values are kept, and what they are of.
fn domain_cells(domain: &Domain) -> Vec<(&'static str, Value)> {
    let base = type_of(&row_of(&domain.base).fields()[0]);
    let named = named_type(base.oid);
    vec![
        ("typtype", "d".into()),
        ("typcategory", named.map_or("E", |of| of.category).into()),
        ("typbasetype", base.oid.into()),
        ("typtypmod", base.typmod.into()),
        ("typnotnull", (!domain.nullable).into()),
        ("typdefault", domain.default.as_deref().into()),
        ("typdefaultbin", domain.default.as_deref().into()),
        ("typlen", named.map_or(base.length, |of| of.length).into()),
        ("typbyval", named.is_none_or(|of| of.by_value).into()),
        ("typalign", named.map_or("i", |of| of.align).into()),
        ("typstorage", named.map_or("p", |of| of.storage).into()),
        ("typcollation", oid::collation_of(base.oid).into()),
    ]
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
