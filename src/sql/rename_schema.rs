//! ALTER SCHEMA .. RENAME TO.
//!
//! A rename is made of other changes: the new schema comes, all that is in the old one moves, the old one goes. Objects keep
//! their ids, so a compaction that runs, foreign keys and sequences of columns are not touched; what knows the schema by
//! its name (views, grants and comments on it and on its views, texts of defaults, conditions and views) gets the
//! new one.

use datafusion::logical_expr::LogicalPlan;

use super::create::check_acceptable;
use super::ddl::{check_writable, is_reserved, no_schema};
use super::parser::{Grammar, fold};
use super::qualifier::Requalify;
use super::session::{Session, Tag, done};
use super::statement::Statement;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{AlterCollection, Change, QualifiedName, View};
use crate::storage::comment::Commented;
use crate::storage::domain::Domain;
use crate::storage::enum_type::EnumType;
use crate::storage::function::Function;
use crate::storage::materialized::Materialized;
use crate::storage::schema::CollectionSchema;
use crate::storage::sequence::Sequence;
use crate::storage::snapshot::{DEFAULT_SCHEMA, Snapshot, TEMPORARY_SCHEMA};

/// `ALTER SCHEMA name RENAME TO name`.
pub(super) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(2);
    let from = fold(&grammar.parser.parse_identifier()?);
    grammar.expect(&["RENAME", "TO"])?;
    let to = fold(&grammar.parser.parse_identifier()?);
    Ok(Statement::RenameSchema { from, to })
}

/// The plan of ALTER SCHEMA .. RENAME TO.
pub(super) fn plan(session: &Session, from: String, to: String) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    done("ALTER SCHEMA", format!("RenameSchema: {from}"), move || {
        let (session, from, to) = (session.clone(), from.clone(), to.clone());
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let snapshot = session.snapshot();
            check(&session, &snapshot, &from, &to)?;
            let rename = Requalify {
                from: &from,
                to: &to,
            };
            let changes = changes(&snapshot, rename)?;
            let committed = session.commit(&snapshot, changes).await;
            committed.map_err(|e| overtaken(e, &from))
        }
    })
}

/// In the order in which PostgreSQL looks.
fn check(session: &Session, snapshot: &Snapshot, from: &str, to: &str) -> Result<()> {
    check_writable(from)?;
    if from == TEMPORARY_SCHEMA || !snapshot.has_schema(from) {
        return Err(no_schema(from));
    }
    if snapshot.has_schema(to) || is_reserved(to) {
        let message = format!("schema \"{to}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_SCHEMA, message));
    }
    session.check_owner(snapshot, &Object::Schema(from.to_string()), from)?;
    session.check_creates_schemas(snapshot)?;
    check_acceptable(to)?;
    if from == DEFAULT_SCHEMA {
        let message = format!("schema \"{from}\" cannot be renamed");
        return Err(Error::unsupported(message));
    }
    Ok(())
}

/// A transaction that committed meanwhile put something into the schema, which keeps the old one from going.
fn overtaken(error: Error, from: &str) -> Error {
    if error.sqlstate() != sqlstate::DEPENDENT_OBJECTS_STILL_EXIST {
        return error;
    }
    let message = format!("schema \"{from}\" was changed by a concurrent commit");
    Error::conflict(message).with_source(error)
}

fn changes(snapshot: &Snapshot, rename: Requalify<'_>) -> Result<Vec<Change>> {
    let mut changes = vec![Change::CreateSchema(rename.to.to_string())];
    changes.extend(collections(snapshot, rename)?);
    let alone = snapshot.sequences().filter(|s| s.owner.is_none());
    changes.extend(alone.filter_map(|sequence| {
        let name = rename.moved(&sequence.name)?;
        let sequence = Sequence::clone(sequence);
        Some(Change::AlterSequence(Sequence { name, ..sequence }))
    }));
    changes.extend(snapshot.types().filter_map(|of| {
        let name = rename.moved(&of.name)?;
        let of = EnumType::clone(of);
        Some(Change::AlterType(EnumType { name, ..of }))
    }));
    changes.extend(snapshot.domains().filter_map(|domain| {
        let name = rename.moved(&domain.name)?;
        let domain = Domain::clone(domain);
        Some(Change::AlterDomain(Domain { name, ..domain }))
    }));
    changes.extend(snapshot.functions().filter_map(|function| {
        let mut next = Function::clone(function);
        if let Some(name) = rename.moved(&function.name) {
            next.name = name;
        }
        if let Some(path) = &mut next.search_path {
            *path = renamed_path(path, rename);
        }
        (next != **function).then(|| Change::AlterFunction(Box::new(next)))
    }));
    for collection in snapshot.collections() {
        let Some(of) = &collection.materialized else {
            continue;
        };
        let next = Materialized {
            query: rename.query(&of.query)?,
            search_path: renamed_path(&of.search_path, rename),
            ..Materialized::clone(of)
        };
        if next != **of {
            changes.push(Change::Materialize(collection.id, Box::new(next)));
        }
    }
    for view in snapshot.views() {
        changes.extend(changes_of_view(snapshot, view, rename)?);
    }
    let [old, new] = [rename.from, rename.to].map(|name| Object::Schema(name.to_string()));
    changes.extend(access_moves(snapshot, &old, new));
    changes.push(Change::DropSchema(rename.from.to_string()));
    let comments = snapshot.comments().filter_map(|(on, text)| {
        let on = moved_comment(on, rename)?;
        Some(Change::Comment(on, Some(text.to_string())))
    });
    changes.extend(comments);
    Ok(changes)
}

/// Collections of the schema get their new name, and all of them the schema's in their texts. Those of one session keep
/// theirs: they are in no commit.
fn collections(snapshot: &Snapshot, rename: Requalify<'_>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for collection in snapshot.collections().filter(|c| !c.is_temporary()) {
        let mut schema = (*collection.schema).clone();
        rename_texts(&mut schema, rename)?;
        let alter = AlterCollection {
            id: collection.id,
            name: rename.moved(&collection.name),
            schema: (schema != *collection.schema).then_some(schema),
            options: None,
        };
        if alter.name.is_some() || alter.schema.is_some() {
            changes.push(Change::AlterCollection(alter));
        }
    }
    Ok(changes)
}

fn rename_texts(schema: &mut CollectionSchema, rename: Requalify<'_>) -> Result<()> {
    for default in schema.columns.iter_mut().filter_map(|c| c.default.as_mut()) {
        *default = rename.expression(default)?;
    }
    for check in &mut schema.checks {
        check.condition = rename.expression(&check.condition)?;
    }
    Ok(())
}

fn renamed_path(path: &[String], rename: Requalify<'_>) -> Vec<String> {
    let in_path = |name: &String| match *name == rename.from {
        true => rename.to.to_string(),
        false => name.clone(),
    };
    path.iter().map(in_path).collect()
}

/// A view with the new name in it; it comes anew, with its grants, where it is in the schema.
fn changes_of_view(snapshot: &Snapshot, view: &View, rename: Requalify<'_>) -> Result<Vec<Change>> {
    let moved = rename.moved(&view.name);
    let next = View {
        name: moved.clone().unwrap_or_else(|| view.name.clone()),
        columns: view.columns.clone(),
        query: rename.query(&view.query)?,
        search_path: renamed_path(&view.search_path, rename),
        ..view.clone()
    };
    if next == *view {
        return Ok(Vec::new());
    }
    let Some(name) = moved else {
        return Ok(vec![Change::CreateView(next)]);
    };
    let access = access_moves(
        snapshot,
        &Object::View(view.name.clone()),
        Object::View(name),
    );
    let [kept, new] = access;
    Ok(vec![
        kept,
        Change::DropView(view.name.clone()),
        Change::CreateView(next),
        new,
    ])
}

/// Owner and grants of an object as they are, so that a commit which changed them meanwhile is a conflict, and of that
/// which takes its place.
fn access_moves(snapshot: &Snapshot, old: &Object, new: Object) -> [Change; 2] {
    let access = (*snapshot.access(old)).clone();
    let kept = Change::SetAccess(old.clone(), access.clone());
    [kept, Change::SetAccess(new, access)]
}

/// What a comment is on from now on; `None` where that stays.
fn moved_comment(on: &Commented, rename: Requalify<'_>) -> Option<Commented> {
    match on {
        Commented::Schema(name) if name == rename.from => {
            Some(Commented::Schema(rename.to.to_string()))
        }
        Commented::View(name) => rename.moved(name).map(Commented::View),
        Commented::ViewColumn(name, column) => {
            let name = rename.moved(name)?;
            Some(Commented::ViewColumn(name, *column))
        }
        _ => None,
    }
}

impl Requalify<'_> {
    /// The name of an object of the schema from now on; `None` for those of others.
    fn moved(&self, name: &QualifiedName) -> Option<QualifiedName> {
        (name.schema == self.from).then(|| QualifiedName::new(self.to, &name.name))
    }
}
