//! Functions that say what a role may do: `has_table_privilege('ann', 'book', 'SELECT, INSERT')`.
//!
//! The role comes first and may be left out: then it is the current one. A list of privileges asks for any of them.

use datafusion::common::Result;

use super::{Call, Definition, Gives, RegType, Value};
use crate::catalog::pg::access::default_acl;
use crate::catalog::pg::objects::{Relation, Source};
use crate::catalog::pg::oid;
use crate::catalog::pg::routines::function_of;
use crate::error::{Error, sqlstate};
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::role::RoleId;
use crate::storage::schema::CollectionId;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("has_table_privilege", 2..=3, Gives::Bool, table),
    Definition::new("has_any_column_privilege", 2..=3, Gives::Bool, table),
    Definition::new("has_column_privilege", 3..=4, Gives::Bool, column),
    Definition::new("has_schema_privilege", 2..=3, Gives::Bool, schema),
    Definition::new("has_database_privilege", 2..=3, Gives::Bool, database),
    Definition::new("has_sequence_privilege", 2..=3, Gives::Bool, sequence),
    Definition::new("has_function_privilege", 2..=3, Gives::Bool, routine),
    Definition::new("has_type_privilege", 2..=3, Gives::Bool, user_type),
    Definition::new("has_language_privilege", 2..=3, Gives::Bool, language),
    Definition::new("has_tablespace_privilege", 2..=3, Gives::Bool, |c| {
        superuser(c, &["CREATE"])
    }),
    Definition::new("has_parameter_privilege", 2..=3, Gives::Bool, |c| {
        superuser(c, &["SET", "ALTER SYSTEM"])
    }),
    Definition::new("has_server_privilege", 2..=3, Gives::Bool, |c| {
        missing(c, "server")
    }),
    Definition::new(
        "has_foreign_data_wrapper_privilege",
        2..=3,
        Gives::Bool,
        |c| missing(c, "foreign-data wrapper"),
    ),
    Definition::new("pg_has_role", 2..=3, Gives::Bool, member),
    Definition::new("acldefault", 2..=2, Gives::AclItems, default),
];

/// Who is asked about; `None` is PUBLIC.
type Grantee = Option<RoleId>;

/// The role of a call whose arguments behind it are `others`.
fn grantee(call: &Call<'_>, others: usize) -> Result<Grantee> {
    if call.len() == others {
        return Ok(Some(call.context.user.current()));
    }
    match call.text(0).as_deref() {
        Some("public") => Ok(None),
        _ => role(call, 0).map(Some),
    }
}

/// The role that an argument names, by OID or by name.
///
/// # Errors
/// 42704 for a name that no role has. A number that none has is one without rights, as in PostgreSQL.
fn role(call: &Call<'_>, place: usize) -> Result<RoleId> {
    let text = call.text(place).unwrap_or_default();
    let wanted = call.oid(place);
    let mut all = call.context.snapshot().roles();
    let found = all.find(|r| Some(r.id.oid()) == wanted || r.name == text);
    match (found, wanted) {
        (Some(role), _) => Ok(role.id),
        (None, Some(_)) => Ok(RoleId(u64::MAX)),
        (None, None) => {
            let message = format!("role \"{text}\" does not exist");
            Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message).into())
        }
    }
}

/// A privilege that is asked for, and whether the right to grant it is.
type Asked<'a> = (&'a str, bool);

/// The privileges that the last argument lists, all of them among `known`.
///
/// # Errors
/// 22023 for another.
fn asked<'a>(text: &'a str, known: &[&str]) -> Result<Vec<Asked<'a>>> {
    let one = |item: &'a str| {
        let name = item.trim();
        let upper = name.to_ascii_uppercase();
        let grant = upper.strip_suffix(" WITH GRANT OPTION");
        let word = grant.unwrap_or(&upper).trim_end();
        match known.contains(&word) {
            true => Ok((&name[..word.len()], grant.is_some())),
            false => {
                let message = format!("unrecognized privilege type: \"{name}\"");
                Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into())
            }
        }
    };
    text.split(',').map(one).collect()
}

/// Whether the role has one of the privileges on the object.
fn on_object(call: &Call<'_>, who: Grantee, object: &Object) -> Result<bool> {
    let text = call.text(call.len() - 1).unwrap_or_default();
    let known: Vec<&str> = object.privileges().iter().map(Privilege::name).collect();
    let known = match object {
        Object::Database => [known, vec!["TEMP"]].concat(),
        _ => known,
    };
    let asked = asked(&text, &known)?;
    let snapshot = call.context.snapshot();
    // Nobody is a member of a role that does not exist: what it has is what everybody has.
    let rights = Rights::new(snapshot, who.unwrap_or(RoleId(u64::MAX)));
    Ok(asked.into_iter().any(|(name, grantable)| {
        let privilege = Privilege::of_name(&name.to_ascii_uppercase());
        privilege.is_some_and(|privilege| match grantable {
            true => rights.grantable(object).has(privilege),
            false => rights.may(object, privilege),
        })
    }))
}

fn on_relation(call: &Call<'_>, who: Grantee, relation: &Relation) -> Result<bool> {
    if let Some(object) = relation.object() {
        return on_object(call, who, &object);
    }
    // Everybody reads the system's relations.
    let text = call.text(call.len() - 1).unwrap_or_default();
    let object = Object::Collection(CollectionId(0));
    let known: Vec<&str> = object.privileges().iter().map(Privilege::name).collect();
    let asked = asked(&text, &known)?;
    let reads = asked
        .iter()
        .any(|(name, grant)| !grant && name.eq_ignore_ascii_case("SELECT"));
    Ok(reads || is_superuser(call, who))
}

fn is_superuser(call: &Call<'_>, who: Grantee) -> bool {
    who.is_some_and(|role| Rights::new(call.context.snapshot(), role).is_superuser())
}

fn table(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    match call.relation(call.len() - 2)? {
        Some(relation) => Ok(on_relation(call, who, relation)?.into()),
        None => Ok(Value::Null),
    }
}

/// Grants are of whole tables.
fn column(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 3)?;
    let Some(relation) = call.relation(call.len() - 3)? else {
        return Ok(Value::Null);
    };
    let wanted = call.text(call.len() - 2).unwrap_or_default();
    let number = wanted.parse::<i16>().ok();
    // A view's columns are known to its plan alone.
    let is_there = matches!(relation.source, Source::View(_))
        || relation
            .columns
            .iter()
            .any(|c| Some(c.number) == number || c.name == wanted);
    match (is_there, number) {
        (true, _) => Ok(on_relation(call, who, relation)?.into()),
        (false, Some(_)) => Ok(Value::Null),
        (false, None) => {
            let relation = &relation.name;
            let message = format!("column \"{wanted}\" of relation \"{relation}\" does not exist");
            Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message).into())
        }
    }
}

/// The OID that an argument means by number or by name.
fn named(call: &Call<'_>, place: usize, reg: RegType) -> Result<u32> {
    let text = call.text(place).unwrap_or_default();
    reg.read(call.context, call.config, &text)
}

fn schema(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    let oid = named(call, call.len() - 2, RegType::Namespace)?;
    let Some(name) = call.context.objects().namespace(oid) else {
        return Ok(Value::Null);
    };
    let of_users = call.context.snapshot().schemas().any(|known| known == name);
    if of_users {
        return Ok(on_object(call, who, &Object::Schema(name.to_string()))?.into());
    }
    // Everybody uses the system's schemas.
    let text = call.text(call.len() - 1).unwrap_or_default();
    let asked = asked(&text, &["CREATE", "USAGE"])?;
    let uses = asked
        .iter()
        .any(|(name, grant)| !grant && name.eq_ignore_ascii_case("USAGE"));
    Ok((uses || is_superuser(call, who)).into())
}

fn database(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    let text = call.text(call.len() - 2).unwrap_or_default();
    match text.parse::<u32>() {
        Ok(number) if number != oid::DATABASE => return Ok(Value::Null),
        Err(_) if text != call.context.facts.database => {
            let message = format!("database \"{text}\" does not exist");
            return Err(Error::not_found(sqlstate::INVALID_CATALOG_NAME, message).into());
        }
        _ => {}
    }
    Ok(on_object(call, who, &Object::Database)?.into())
}

fn sequence(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    match call.relation(call.len() - 2)? {
        Some(relation) if relation.kind() == "S" => Ok(on_relation(call, who, relation)?.into()),
        Some(relation) => {
            let message = format!("\"{}\" is not a sequence", relation.name);
            Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message).into())
        }
        None => Ok(Value::Null),
    }
}

fn routine(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    let oid = named(call, call.len() - 2, RegType::Procedure)?;
    match function_of(call.context, oid) {
        Some(function) => Ok(on_object(call, who, &Object::Function(function.id))?.into()),
        None => everybody(call, who, "EXECUTE"),
    }
}

/// Nothing is granted on types.
fn user_type(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    named(call, call.len() - 2, RegType::Type)?;
    everybody(call, who, "USAGE")
}

/// What everybody may do with every object of the kind.
fn everybody(call: &Call<'_>, who: Grantee, privilege: &str) -> Result<Value> {
    let text = call.text(call.len() - 1).unwrap_or_default();
    let may = asked(&text, &[privilege])?.iter().any(|(_, grant)| !grant);
    Ok((may || is_superuser(call, who)).into())
}

fn language(call: &Call<'_>) -> Result<Value> {
    let who = grantee(call, 2)?;
    let text = call.text(call.len() - 2).unwrap_or_default();
    let known = matches!(text.as_str(), "sql" | "internal" | "12" | "14");
    if !known {
        return missing(call, "language");
    }
    let privileges = call.text(call.len() - 1).unwrap_or_default();
    let uses = asked(&privileges, &["USAGE"])?
        .iter()
        .any(|(_, grant)| !grant);
    Ok((uses && matches!(text.as_str(), "sql" | "14") || is_superuser(call, who)).into())
}

/// What only superusers may do.
fn superuser(call: &Call<'_>, known: &[&str]) -> Result<Value> {
    let who = grantee(call, 2)?;
    asked(&call.text(call.len() - 1).unwrap_or_default(), known)?;
    Ok(is_superuser(call, who).into())
}

/// There is no object of the kind.
///
/// # Errors
/// 42704, or NULL for a number.
fn missing(call: &Call<'_>, kind: &str) -> Result<Value> {
    let text = call.text(call.len() - 2).unwrap_or_default();
    if text.parse::<u32>().is_ok() {
        return Ok(Value::Null);
    }
    let message = format!("{kind} \"{text}\" does not exist");
    Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message).into())
}

/// `acldefault`: the access control list that stands for NULL.
///
/// # Errors
/// XX000 for a letter that means no kind of object, as in PostgreSQL.
fn default(call: &Call<'_>) -> Result<Value> {
    let kind = call.text(0).unwrap_or_default();
    let list = default_acl(call.context, &kind, call.oid(1).unwrap_or_default());
    list.ok_or_else(|| {
        let message = format!("unrecognized objtype abbreviation: {kind}");
        Error::internal(message).into()
    })
}

/// `pg_has_role`: whether a role belongs to another (MEMBER), or has its privileges at once (USAGE).
fn member(call: &Call<'_>) -> Result<Value> {
    let who = match call.len() {
        2 => call.context.user.current(),
        _ => role(call, 0)?,
    };
    let of = role(call, call.len() - 2)?;
    let text = call.text(call.len() - 1).unwrap_or_default();
    let rights = Rights::new(call.context.snapshot(), who);
    let mut any = false;
    for item in text.split(',') {
        let name = item.trim();
        any |= match name.to_ascii_uppercase().as_str() {
            "USAGE" => rights.acts_as(of),
            "MEMBER" => rights.is_member_of(of),
            "USAGE WITH GRANT OPTION"
            | "USAGE WITH ADMIN OPTION"
            | "MEMBER WITH GRANT OPTION"
            | "MEMBER WITH ADMIN OPTION" => rights.may_admit_to(of),
            _ => {
                let message = format!("unrecognized privilege type: \"{name}\"");
                let code = sqlstate::INVALID_PARAMETER_VALUE;
                return Err(Error::invalid(code, message).into());
            }
        };
    }
    Ok(any.into())
}
