//! The grammar of statements about roles and privileges.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::password;
use super::statement::{
    AccessStatement, Flag, GrantPrivileges, GrantRoles, Owned, RoleName, RoleOption, RoleWord,
    Target,
};
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::{Grammar, fold};
use crate::sql::routine::{RoutineKind, parse_signature};
use crate::storage::access::Privilege;

/// The statement, if its first words say that it is one about roles or privileges.
pub(in crate::sql) fn statement(g: &mut Grammar<'_>) -> Result<Option<AccessStatement>> {
    let word = |n| g.word(n);
    let (first, second, third) = (word(0), word(1), word(2));
    let words = [first.as_str(), second.as_str(), third.as_str()];
    let parsed = match words {
        ["CREATE", "ROLE" | "USER" | "GROUP", _] => create_role(g),
        ["ALTER", "ROLE" | "USER", _] => alter_role(g),
        ["ALTER", "GROUP", _] => alter_group(g),
        ["DROP", "ROLE" | "USER" | "GROUP", _] => drop_roles(g),
        ["DROP", "OWNED", "BY"] => drop_owned(g),
        ["REASSIGN", "OWNED", "BY"] => reassign_owned(g),
        ["ALTER", "DEFAULT", "PRIVILEGES"] => Err(Error::unsupported(
            "ALTER DEFAULT PRIVILEGES is not supported",
        )
        .with_hint("GRANT .. ON ALL TABLES IN SCHEMA grants on what is there already.")),
        [
            "ALTER",
            "TABLE" | "COLLECTION" | "VIEW" | "SCHEMA" | "DATABASE" | "SEQUENCE" | "TYPE"
            | "DOMAIN",
            _,
        ] if changes_owner(g, 2) => alter_owner(g),
        ["ALTER", "MATERIALIZED", "VIEW"] if changes_owner(g, 3) => alter_owner(g),
        ["ALTER", "FUNCTION" | "PROCEDURE" | "ROUTINE", _] => match routine_owner(g)? {
            Some(statement) => Ok(statement),
            None => return Ok(None),
        },
        ["GRANT", ..] => grant(g),
        ["REVOKE", ..] => revoke(g),
        ["SET", "ROLE", _] | ["SET", "SESSION" | "LOCAL", "ROLE"] => set_role(g),
        ["SET", "SESSION", "AUTHORIZATION"] => set_session_authorization(g, 3),
        ["SET", "SESSION" | "LOCAL", "SESSION"] if word(3) == "AUTHORIZATION" => {
            set_session_authorization(g, 4)
        }
        ["RESET", "ROLE", _] => {
            g.skip(2);
            Ok(AccessStatement::SetRole(None))
        }
        ["RESET", "SESSION", "AUTHORIZATION"] => {
            g.skip(3);
            Ok(AccessStatement::ResetSessionAuthorization)
        }
        _ => return Ok(None),
    };
    parsed.map(Some)
}

/// Whether `OWNER TO` follows the name in `ALTER kind [IF EXISTS] name OWNER TO`.
fn changes_owner(g: &Grammar<'_>, name: usize) -> bool {
    let mut at = name;
    if g.word(at) == "IF" && g.word(at + 1) == "EXISTS" {
        at += 2;
    }
    if g.word(at) == "ONLY" {
        at += 1;
    }
    while g.parser.peek_nth_token_ref(at + 1).token == Token::Period {
        at += 2;
    }
    g.word(at + 1) == "OWNER" && g.word(at + 2) == "TO"
}

/// `ALTER FUNCTION name [(types)] OWNER TO role`; for another change nothing is taken.
fn routine_owner(g: &mut Grammar<'_>) -> Result<Option<AccessStatement>> {
    let from = g.parser.index();
    let kind = RoutineKind::of_word(&g.word(1)).unwrap_or(RoutineKind::Any);
    g.skip(2);
    let signature = parse_signature(g)?;
    if !g.accept(&["OWNER", "TO"]) {
        while g.parser.index() > from {
            g.unskip();
        }
        return Ok(None);
    }
    Ok(Some(AccessStatement::AlterOwner {
        object: Owned::Routine(kind, signature),
        if_exists: false,
        owner: role(g)?,
    }))
}

fn identifier(g: &mut Grammar<'_>) -> Result<String> {
    Ok(fold(&g.parser.parse_identifier()?))
}

/// The name of a role that is to be.
fn new_role(g: &mut Grammar<'_>) -> Result<String> {
    match role(g)? {
        RoleName::Named(name) => Ok(name),
        RoleName::CurrentUser | RoleName::SessionUser => {
            let message = "CURRENT_USER and SESSION_USER cannot be used as a role name here";
            Err(Error::invalid(sqlstate::RESERVED_NAME, message))
        }
    }
}

/// A role by its name or a word for it.
///
/// # Errors
/// 42601, 42939 for a name that no role can have.
pub(in crate::sql) fn role(g: &mut Grammar<'_>) -> Result<RoleName> {
    if g.accept(&["CURRENT_USER"]) || g.accept(&["CURRENT_ROLE"]) {
        return Ok(RoleName::CurrentUser);
    }
    if g.accept(&["SESSION_USER"]) {
        return Ok(RoleName::SessionUser);
    }
    let name = identifier(g)?;
    if matches!(name.as_str(), "public" | "none") {
        return Err(reserved(&name));
    }
    Ok(RoleName::Named(name))
}

/// 42939: the name of a role that cannot be.
pub(super) fn reserved(name: &str) -> Error {
    let message = format!("role name \"{name}\" is reserved");
    Error::invalid(sqlstate::RESERVED_NAME, message)
}

fn roles(g: &mut Grammar<'_>) -> Result<Vec<RoleName>> {
    g.comma_separated(role)
}

fn role_word(g: &mut Grammar<'_>) -> RoleWord {
    let word = match g.word(1).as_str() {
        "USER" => RoleWord::User,
        "GROUP" => RoleWord::Group,
        _ => RoleWord::Role,
    };
    g.skip(2);
    word
}

fn create_role(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    let word = role_word(g);
    let name = new_role(g)?;
    g.accept(&["WITH"]);
    Ok(AccessStatement::CreateRole {
        word,
        name,
        options: options(g, true)?,
    })
}

fn alter_role(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(2);
    if g.word(0) == "ALL" && matches!(g.word(1).as_str(), "SET" | "RESET" | "IN") {
        let message = "settings of all roles are not supported";
        return Err(Error::unsupported(message)
            .with_hint("Name a role, or give the setting when the database is opened."));
    }
    let role = role(g)?;
    if g.accept(&["RENAME", "TO"]) {
        let RoleName::Named(role) = role else {
            return Err(g.unexpected("the name of a role"));
        };
        let to = new_role(g)?;
        return Ok(AccessStatement::RenameRole { role, to });
    }
    if g.accept(&["IN", "DATABASE"]) {
        identifier(g)?;
    }
    if g.accept(&["RESET", "ALL"]) {
        let (name, value) = (None, None);
        return Ok(AccessStatement::RoleSetting { role, name, value });
    }
    if g.accept(&["RESET"]) {
        let (name, value) = (Some(g.variable_name()?.to_lowercase()), None);
        return Ok(AccessStatement::RoleSetting { role, name, value });
    }
    if g.accept(&["SET"]) {
        let name = Some(g.variable_name()?.to_lowercase());
        if !g.parser.consume_token(&Token::Eq) {
            g.expect(&["TO"])?;
        }
        let value = match g.accept(&["DEFAULT"]) {
            true => None,
            false => Some(g.comma_separated(Grammar::set_word)?.join(", ")),
        };
        return Ok(AccessStatement::RoleSetting { role, name, value });
    }
    g.accept(&["WITH"]);
    let options = options(g, false)?;
    Ok(AccessStatement::AlterRole { role, options })
}

/// ALTER GROUP g ADD USER .. and DROP USER ..: membership by another name.
fn alter_group(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(2);
    let group = role(g)?;
    if g.accept(&["RENAME", "TO"]) {
        let RoleName::Named(role) = group else {
            return Err(g.unexpected("the name of a role"));
        };
        let to = new_role(g)?;
        return Ok(AccessStatement::RenameRole { role, to });
    }
    let revoke = match g.word(0).as_str() {
        "ADD" => false,
        "DROP" => true,
        _ => return Err(g.unexpected("ADD USER or DROP USER")),
    };
    g.skip(1);
    g.expect(&["USER"])?;
    Ok(AccessStatement::GrantRoles(GrantRoles {
        revoke,
        roles: vec![group],
        members: roles(g)?,
        admin_option: false,
    }))
}

fn drop_roles(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    role_word(g);
    let if_exists = g.if_exists();
    let names = roles(g)?;
    Ok(AccessStatement::DropRoles { names, if_exists })
}

fn options(g: &mut Grammar<'_>, creates: bool) -> Result<Vec<RoleOption>> {
    let mut options = Vec::new();
    while let Some(option) = option(g, creates)? {
        let same = |other: &RoleOption| match (other, &option) {
            (RoleOption::Flag(a, _), RoleOption::Flag(b, _)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        if options.iter().any(same) {
            let message = "conflicting or redundant options";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        options.push(option);
    }
    Ok(options)
}

fn option(g: &mut Grammar<'_>, creates: bool) -> Result<Option<RoleOption>> {
    let word = g.word(0);
    let flag = |word: &str| Flag::ALL.iter().find(|(_, w)| *w == word).map(|(f, _)| *f);
    let negated = word.strip_prefix("NO").and_then(flag);
    if let Some(found) = flag(&word)
        .map(|f| (f, true))
        .or(negated.map(|f| (f, false)))
    {
        g.skip(1);
        return Ok(Some(RoleOption::Flag(found.0, found.1)));
    }
    let found = match (word.as_str(), g.word(1).as_str()) {
        ("CONNECTION", "LIMIT") => {
            g.skip(2);
            RoleOption::ConnectionLimit(limit(g)?)
        }
        ("PASSWORD", _) => {
            g.skip(1);
            password(g)?
        }
        ("ENCRYPTED", "PASSWORD") => {
            g.skip(2);
            password(g)?
        }
        ("UNENCRYPTED", _) => {
            let message = "UNENCRYPTED PASSWORD is no longer supported";
            return Err(Error::unsupported(message)
                .with_hint("Remove UNENCRYPTED to store the password in encrypted form instead."));
        }
        ("VALID", "UNTIL") => {
            g.skip(2);
            RoleOption::ValidUntil(g.parser.parse_literal_string()?)
        }
        ("IN", "ROLE" | "GROUP") if creates => {
            g.skip(2);
            RoleOption::InRole(roles(g)?)
        }
        ("ROLE" | "USER", _) if creates => {
            g.skip(1);
            RoleOption::Members(roles(g)?)
        }
        ("ADMIN", _) if creates => {
            g.skip(1);
            RoleOption::Admins(roles(g)?)
        }
        ("SYSID", _) if creates => {
            g.skip(1);
            g.parser.parse_literal_uint()?;
            return option(g, creates);
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

fn limit(g: &mut Grammar<'_>) -> Result<i64> {
    let text = g.option_value()?;
    let limit = text
        .parse()
        .ok()
        .filter(|n| *n >= -1 && *n <= i64::from(i32::MAX));
    limit.ok_or_else(|| {
        let message = format!("invalid connection limit: {text}");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// Hashes the password before anything else can see it. An error does not show what stands there instead.
fn password(g: &mut Grammar<'_>) -> Result<RoleOption> {
    if g.accept(&["NULL"]) {
        return Ok(RoleOption::Password(None));
    }
    let text = g.parser.parse_literal_string().map_err(|_| {
        let message = "syntax error: PASSWORD takes a string in single quotes, or NULL";
        Error::invalid(sqlstate::SYNTAX_ERROR, message)
    })?;
    Ok(RoleOption::Password(password::verifier(&text)?))
}

fn drop_owned(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(3);
    let owners = roles(g)?;
    g.accept(&["CASCADE"]);
    g.accept(&["RESTRICT"]);
    Ok(AccessStatement::DropOwned(owners))
}

fn reassign_owned(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(3);
    let from = roles(g)?;
    g.expect(&["TO"])?;
    let to = role(g)?;
    Ok(AccessStatement::ReassignOwned { from, to })
}

fn alter_owner(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    let kind = g.word(1);
    g.skip(2);
    if kind == "MATERIALIZED" {
        g.skip(1);
    }
    let if_exists = g.if_exists();
    g.accept(&["ONLY"]);
    let name = g.name()?;
    g.expect(&["OWNER", "TO"])?;
    let object = match kind.as_str() {
        "VIEW" => Owned::View(name),
        "MATERIALIZED" => Owned::MaterializedView(name),
        "SEQUENCE" => Owned::Sequence(name),
        "TYPE" | "DOMAIN" => Owned::Type(name),
        "SCHEMA" => Owned::Schema(name),
        "DATABASE" => Owned::Database(name),
        _ => Owned::Table(name),
    };
    Ok(AccessStatement::AlterOwner {
        object,
        if_exists,
        owner: role(g)?,
    })
}

fn grant(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(1);
    if grants_roles(g) {
        let roles = roles(g)?;
        g.expect(&["TO"])?;
        let members = self::roles(g)?;
        let admin_option = g.accept(&["WITH", "ADMIN", "OPTION"]);
        granted_by(g)?;
        return Ok(AccessStatement::GrantRoles(GrantRoles {
            revoke: false,
            roles,
            members,
            admin_option,
        }));
    }
    let privileges = privileges(g)?;
    let target = target(g)?;
    g.expect(&["TO"])?;
    let grantees = grantees(g)?;
    let grant_option = g.accept(&["WITH", "GRANT", "OPTION"]);
    granted_by(g)?;
    Ok(AccessStatement::Grant(GrantPrivileges {
        revoke: false,
        privileges,
        target,
        grantees,
        grant_option,
        cascade: false,
    }))
}

fn revoke(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(1);
    let admin_option = g.accept(&["ADMIN", "OPTION", "FOR"]);
    if admin_option || grants_roles(g) {
        let roles = roles(g)?;
        g.expect(&["FROM"])?;
        let members = self::roles(g)?;
        granted_by(g)?;
        cascade(g);
        return Ok(AccessStatement::GrantRoles(GrantRoles {
            revoke: true,
            roles,
            members,
            admin_option,
        }));
    }
    let grant_option = g.accept(&["GRANT", "OPTION", "FOR"]);
    let privileges = privileges(g)?;
    let target = target(g)?;
    g.expect(&["FROM"])?;
    let grantees = grantees(g)?;
    granted_by(g)?;
    Ok(AccessStatement::Grant(GrantPrivileges {
        revoke: true,
        privileges,
        target,
        grantees,
        grant_option,
        cascade: cascade(g),
    }))
}

fn cascade(g: &mut Grammar<'_>) -> bool {
    let cascade = g.accept(&["CASCADE"]);
    g.accept(&["RESTRICT"]);
    cascade
}

/// `GRANTED BY` the current user changes nothing; nobody grants for another.
fn granted_by(g: &mut Grammar<'_>) -> Result<()> {
    if g.accept(&["GRANTED", "BY"]) && role(g)? != RoleName::CurrentUser {
        return Err(Error::unsupported("grantor must be current user"));
    }
    Ok(())
}

/// Whether TO or FROM comes before ON: then roles are granted, not privileges.
fn grants_roles(g: &Grammar<'_>) -> bool {
    let mut at = 0;
    loop {
        match g.word(at).as_str() {
            "ON" => return false,
            "TO" | "FROM" => return true,
            _ if g.parser.peek_nth_token_ref(at).token == Token::EOF => return false,
            _ => at += 1,
        }
    }
}

/// Empty for ALL [PRIVILEGES].
fn privileges(g: &mut Grammar<'_>) -> Result<Vec<Privilege>> {
    if g.accept(&["ALL"]) {
        g.accept(&["PRIVILEGES"]);
        no_columns(g)?;
        return Ok(Vec::new());
    }
    g.comma_separated(|g| {
        let name = g.word(0);
        let privilege = Privilege::of_name(&name).ok_or_else(|| match name.as_str() {
            "" => g.unexpected("a privilege"),
            _ => {
                let message = format!("unrecognized privilege type \"{}\"", name.to_lowercase());
                Error::invalid(sqlstate::SYNTAX_ERROR, message)
            }
        })?;
        g.skip(1);
        no_columns(g)?;
        Ok(privilege)
    })
}

fn no_columns(g: &Grammar<'_>) -> Result<()> {
    match g.parser.peek_token_ref().token {
        Token::LParen => Err(
            Error::unsupported("privileges of columns are not supported")
                .with_hint("Grant SELECT on a view that has the columns."),
        ),
        _ => Ok(()),
    }
}

fn target(g: &mut Grammar<'_>) -> Result<Target> {
    g.expect(&["ON"])?;
    if g.accept(&["ALL", "TABLES", "IN", "SCHEMA"]) {
        return Ok(Target::TablesIn(names(g)?));
    }
    if g.accept(&["ALL", "SEQUENCES", "IN", "SCHEMA"]) {
        return Ok(Target::SequencesIn(names(g)?));
    }
    let is_named = matches!(g.parser.peek_nth_token_ref(1).token, Token::Word(_));
    if is_named && !matches!(g.word(1).as_str(), "TO" | "FROM") && g.accept(&["SEQUENCE"]) {
        return Ok(Target::Sequences(names(g)?));
    }
    if g.word(0) == "ALL"
        && g.word(2) == "IN"
        && let Some(kind) = RoutineKind::of_word(g.word(1).trim_end_matches('S'))
    {
        g.skip(2);
        g.expect(&["IN", "SCHEMA"])?;
        return Ok(Target::RoutinesIn(kind, names(g)?));
    }
    if is_named
        && !matches!(g.word(1).as_str(), "TO" | "FROM")
        && let Some(kind) = RoutineKind::of_word(&g.word(0))
    {
        g.skip(1);
        let signatures = g.comma_separated(parse_signature)?;
        return Ok(Target::Routines(kind, signatures));
    }
    match g.word(0).as_str() {
        "ALL" | "LANGUAGE" | "TABLESPACE" | "TYPE" | "DOMAIN" | "FOREIGN" | "LARGE"
        | "PARAMETER"
            if matches!(g.parser.peek_nth_token_ref(1).token, Token::Word(_))
                && !matches!(g.word(1).as_str(), "TO" | "FROM") =>
        {
            let what = g.word(0);
            Err(Error::unsupported(format!(
                "GRANT and REVOKE ON {what} are not supported"
            )))
        }
        _ if g.accept(&["SCHEMA"]) => Ok(Target::Schemas(names(g)?)),
        _ if g.accept(&["DATABASE"]) => Ok(Target::Databases(names(g)?)),
        _ => {
            if !g.accept(&["TABLE"]) {
                g.accept(&["COLLECTION"]);
            }
            Ok(Target::Tables(names(g)?))
        }
    }
}

fn names(g: &mut Grammar<'_>) -> Result<Vec<ObjectName>> {
    g.comma_separated(Grammar::name)
}

fn grantees(g: &mut Grammar<'_>) -> Result<Vec<Option<RoleName>>> {
    g.comma_separated(|g| {
        g.accept(&["GROUP"]);
        match g.accept(&["PUBLIC"]) {
            true => Ok(None),
            false => role(g).map(Some),
        }
    })
}

/// A role's name, as a word or in quotes of either kind; NONE and DEFAULT are none.
fn role_or_none(g: &mut Grammar<'_>, none: &str) -> Result<Option<String>> {
    if g.accept(&[none]) {
        return Ok(None);
    }
    let text = match &g.parser.peek_token_ref().token {
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    };
    match text {
        Some(text) => {
            g.skip(1);
            Ok(Some(text).filter(|t| !t.eq_ignore_ascii_case(none)))
        }
        None => identifier(g).map(Some),
    }
}

fn set_role(g: &mut Grammar<'_>) -> Result<AccessStatement> {
    g.skip(1);
    if !g.accept(&["SESSION"]) {
        g.accept(&["LOCAL"]);
    }
    g.expect(&["ROLE"])?;
    if !g.parser.consume_token(&Token::Eq) {
        g.accept(&["TO"]);
    }
    Ok(AccessStatement::SetRole(role_or_none(g, "NONE")?))
}

fn set_session_authorization(g: &mut Grammar<'_>, words: usize) -> Result<AccessStatement> {
    g.skip(words);
    let role = role_or_none(g, "DEFAULT")?;
    Ok(AccessStatement::SetSessionAuthorization(role))
}
