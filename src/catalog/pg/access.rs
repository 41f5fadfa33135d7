//! Owners and grants, as the catalogs, the information schema and the functions beside them show them.

use super::context::PgContext;
use super::objects::{Relation, Source};
use super::roles::{OWNER, name_of, oid_of};
use super::rows::Value;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::{Grant, Object, Privilege, Privileges, Rights};
use crate::storage::role::RoleId;

impl Relation {
    /// What its owner and its privileges are those of; none for one of the system's own.
    pub fn object(&self) -> Option<Object> {
        match &self.source {
            Source::Collection(collection)
            | Source::KeyIndex(collection)
            | Source::Index(collection, _) => Some(Object::Collection(collection.id)),
            Source::View(view) => Some(Object::View(view.name.clone())),
            Source::Sequence(sequence) => Some(Object::Sequence(sequence.id)),
            Source::System(_) | Source::Engine => None,
        }
    }
}

/// The OID of an object's owner; what the system has belongs to the first superuser.
pub(super) fn owner(context: &PgContext, object: Option<&Object>) -> u32 {
    object.map_or(OWNER, |object| {
        context.snapshot().access(object).owner.oid()
    })
}

/// The name of a relation's owner.
pub(super) fn owner_name(context: &PgContext, relation: &Relation) -> Option<String> {
    name_of(context, owner(context, relation.object().as_ref()))
}

/// The access control list of an object; NULL as long as nobody has granted or revoked anything.
pub(super) fn acl(context: &PgContext, object: Option<&Object>) -> Value {
    let access = object.map(|object| context.snapshot().access(object));
    let grants = access.as_ref().and_then(|access| access.grants.as_ref());
    grants.map_or(Value::Null, |grants| {
        let items = grants.iter().map(|grant| item(context, grant).into());
        Value::List(items.collect())
    })
}

/// A grant as PostgreSQL writes it: `grantee=privileges/grantor`, with a star behind what the grantee may give on.
fn item(context: &PgContext, grant: &Grant) -> String {
    let letter = |privilege: Privilege| {
        let letter = Privileges::from_iter([privilege]).to_string();
        match grant.grantable.has(privilege) {
            true => letter + "*",
            false => letter,
        }
    };
    let letters: String = grant.privileges.iter().map(letter).collect();
    let grantee = grant.grantee.map(|role| role.oid());
    let grantee = grantee.map_or(String::new(), |oid| written(context, oid));
    format!(
        "{grantee}={letters}/{}",
        written(context, grant.grantor.oid())
    )
}

/// A role's name in a list, quoted where it has other characters than those of words; its number where it is gone.
fn written(context: &PgContext, oid: u32) -> String {
    let Some(name) = name_of(context, oid) else {
        return oid.to_string();
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match name.chars().all(is_word) {
        true => name,
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// What `acldefault` says: the list that NULL stands for, of the kind of object that a letter means. None for another letter.
pub(super) fn default_acl(context: &PgContext, kind: &str, owner: u32) -> Option<Value> {
    let (everybody, own) = match kind {
        "c" => ("", ""),
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "L" => ("", "rw"),
        "n" => ("", "UC"),
        "p" => ("", "sA"),
        "t" => ("", "C"),
        "F" | "S" => ("", "U"),
        _ => return None,
    };
    let owner = written(context, owner);
    let item = |(grantee, letters): (&str, &str)| -> Option<Value> {
        let item = || format!("{grantee}={letters}/{owner}");
        (!letters.is_empty()).then(|| item().into())
    };
    let items = [("", everybody), (owner.as_str(), own)];
    Some(Value::List(items.into_iter().filter_map(item).collect()))
}

/// One privilege that somebody has on an object by a grant.
#[derive(Debug)]
pub(super) struct Granted {
    pub grantor: Option<String>,
    /// `PUBLIC` for everybody.
    pub grantee: Option<String>,
    pub privilege: Privilege,
    /// Whether the grantee may give it on, as an owner always may.
    pub grantable: bool,
}

/// The privileges on an object that the role of the session gave or has, and those that everybody has where `of_everybody`.
pub(super) fn granted(context: &PgContext, object: &Object, of_everybody: bool) -> Vec<Granted> {
    let snapshot = context.snapshot();
    let access = snapshot.access(object);
    let me = Rights::new(snapshot, context.user.current());
    let concerns = |grant: &Grant| {
        let is_mine = |role: RoleId| me.acts_as(role);
        is_mine(grant.grantor) || grant.grantee.map_or(of_everybody, is_mine)
    };
    let grants = access.grants_of(object).into_iter().filter(concerns);
    grants
        .flat_map(|grant| {
            let owns = |role| Rights::new(snapshot, role).acts_as(access.owner);
            let owns = grant.grantee.is_some_and(owns);
            let grantor = name_of(context, grant.grantor.oid());
            let grantee = match grant.grantee {
                None => Some("PUBLIC".to_string()),
                Some(role) => name_of(context, role.oid()),
            };
            let privileges = grant.privileges.iter();
            privileges
                .map(move |privilege| Granted {
                    grantor: grantor.clone(),
                    grantee: grantee.clone(),
                    privilege,
                    grantable: owns || grant.grantable.has(privilege),
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// One privilege of an item of a list, with the OIDs of who gave it and who has it; 0 is everybody.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AclItem {
    pub grantor: u32,
    pub grantee: u32,
    pub privilege: Privilege,
    pub grantable: bool,
}

/// The privileges of an item as [`acl`] and [`default_acl`] write it.
///
/// # Errors
/// 22P02 for another text, 42704 for a role that does not exist.
pub(super) fn explode(context: &PgContext, text: &str) -> Result<Vec<AclItem>> {
    let malformed = || {
        let message = format!("invalid input syntax for type aclitem: \"{text}\"");
        Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    };
    let (grantee, rest) = role_in(text).ok_or_else(malformed)?;
    let rest = rest.strip_prefix('=').ok_or_else(malformed)?;
    let (letters, rest) = rest.split_once('/').ok_or_else(malformed)?;
    let (grantor, rest) = role_in(rest).ok_or_else(malformed)?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let oid = |name: &str| -> Result<u32> {
        let known = oid_of(context, name).or_else(|| name.parse().ok());
        known.ok_or_else(|| {
            let message = format!("role \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        })
    };
    let grantee = match grantee.is_empty() {
        true => 0,
        false => oid(&grantee)?,
    };
    let grantor = oid(&grantor)?;
    let mut items: Vec<AclItem> = Vec::new();
    for letter in letters.chars() {
        if letter == '*' {
            items.last_mut().ok_or_else(malformed)?.grantable = true;
            continue;
        }
        let privileges = Privileges::try_from(letter.to_string()).map_err(|_| malformed())?;
        items.extend(privileges.iter().map(|privilege| AclItem {
            grantor,
            grantee,
            privilege,
            grantable: false,
        }));
    }
    Ok(items)
}

/// The name of a role at the beginning of a text, and what is behind it.
fn role_in(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['=', '/']).unwrap_or(text.len());
        return Some((text[..end].to_string(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roles_are_read_with_their_quotes() {
        assert_eq!(role_in("bob=r/x"), Some(("bob".into(), "=r/x")));
        assert_eq!(role_in("=r/x"), Some((String::new(), "=r/x")));
        let quoted = Some(("a \"b\"=".into(), "=r/x"));
        assert_eq!(role_in("\"a \"\"b\"\"=\"=r/x"), quoted);
        assert_eq!(role_in("\"a"), None);
    }
}
