//! CREATE, DROP and ALTER INDEX.

mod create;
mod grammar;
mod method;
mod name;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};

pub(super) use create::{check_index, create};
pub(super) use grammar::{parse_alter, parse_create, parse_drop};
pub(super) use name::name_of_copy;

use super::alter::moved_comment;
use super::constraint::rename_column;
use super::create::name_primary_key;
use super::ddl::qualify;
use super::parser::fold;
use super::session::{Session, Tag, done};
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{AlterCollection, Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::index::{Index, IndexPart};
use crate::storage::schema::CollectionSchema;
use crate::storage::snapshot::Snapshot;

/// CREATE INDEX.
#[derive(Debug, Clone)]
pub struct CreateIndex {
    /// Its name; made from the columns when there is none.
    pub name: Option<Ident>,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// UNIQUE.
    pub is_unique: bool,
    /// NULLS NOT DISTINCT.
    pub nulls_equal: bool,
    /// Whether the statement returns before existing segments are covered.
    pub concurrently: bool,
    /// The collection.
    pub table: ObjectName,
    /// USING method.
    pub method: Option<Ident>,
    /// What is indexed.
    pub keys: Vec<KeyDefinition>,
    /// INCLUDE.
    pub include: Vec<Ident>,
    /// WITH (option = value, ..).
    pub options: Vec<(String, String)>,
    /// WHERE, as its author wrote it.
    pub predicate: Option<String>,
}

/// One part of the key of CREATE INDEX.
#[derive(Debug, Clone)]
pub struct KeyDefinition {
    /// What it is.
    pub subject: KeySubject,
    /// The operator class.
    pub operator_class: Option<String>,
    /// ASC or DESC, where it was said.
    pub descending: Option<bool>,
    /// NULLS FIRST or NULLS LAST, where it was said.
    pub nulls_first: Option<bool>,
}

/// What a part of an index's key is.
#[derive(Debug, Clone)]
pub enum KeySubject {
    /// A column.
    Column(Ident),
    /// An expression, and as its author wrote it.
    Expression(Box<Expr>, String),
}

/// DROP INDEX.
#[derive(Debug, Clone)]
pub struct DropIndex {
    /// Which.
    pub names: Vec<ObjectName>,
    /// Whether missing ones are fine.
    pub if_exists: bool,
}

/// ALTER INDEX .. RENAME TO.
#[derive(Debug, Clone)]
pub struct RenameIndex {
    /// Which.
    pub name: ObjectName,
    /// Whether a missing one is fine.
    pub if_exists: bool,
    /// Its new name.
    pub to: Ident,
}

/// DROP INDEX.
pub(super) fn drop(session: &Session, drop: DropIndex) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let names: Vec<String> = drop.names.iter().map(ToString::to_string).collect();
    let drop = Arc::new(drop);
    done(
        "DROP INDEX",
        format!("DropIndex: {}", names.join(", ")),
        move || {
            let (session, drop) = (session.clone(), Arc::clone(&drop));
            async move {
                let _ddl = session.inner.core.ddl.lock().await;
                let snapshot = session.snapshot();
                let mut changes = Vec::new();
                for name in &drop.names {
                    let name = qualify(name, &session.search_path())?;
                    match snapshot.index(&name) {
                        Some((collection, index)) => {
                            session.check_owns_index(&snapshot, collection, &index.name)?;
                            check_free(collection, index)?;
                            changes.push(Change::DropIndex(collection.id, index.id));
                        }
                        None if drop.if_exists && !is_relation(&snapshot, &name) => {
                            session.notice(format!("index \"{name}\" does not exist, skipping"));
                        }
                        None => return Err(not_an_index(&snapshot, &name, "index")),
                    }
                }
                session.commit(&snapshot, changes).await
            }
        },
    )
}

/// The changes by which the texts of a collection's indexes name a column that has another name.
///
/// # Errors
/// When a text cannot be read, which it could when the index was made.
pub(super) fn column_renamed(collection: &Collection, from: &str, to: &str) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for index in collection.indexes() {
        let mut next = Index::clone(index);
        let expressions = next.keys.iter_mut().filter_map(|key| match &mut key.part {
            IndexPart::Expression(text) => Some(text),
            IndexPart::Column(_) => None,
        });
        for text in expressions.chain(next.predicate.as_mut()) {
            if let Some(renamed) = rename_column_in(text, from, to)? {
                *text = renamed;
            }
        }
        if next != **index {
            changes.push(Change::DropIndex(collection.id, index.id));
            changes.push(Change::CreateIndex(collection.id, next));
        }
    }
    Ok(changes)
}

/// The text with a column's new name; `None` of one that does not name it.
fn rename_column_in(text: &str, from: &str, to: &str) -> Result<Option<String>> {
    let renamed = rename_column(text, from, to)?;
    Ok((renamed != rename_column(text, from, from)?).then_some(renamed))
}

/// That no constraint needs the index.
fn check_free(collection: &Collection, index: &Index) -> Result<()> {
    if !index.is_constraint {
        return Ok(());
    }
    let (name, table) = (&index.name, &collection.name.name);
    let message =
        format!("cannot drop index {name} because constraint {name} on table {table} requires it");
    let hint = format!("You can drop constraint {name} on table {table} instead.");
    Err(Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message).with_hint(hint))
}

/// ALTER INDEX .. RENAME TO.
pub(super) fn rename(session: &Session, rename: RenameIndex) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let rename = Arc::new(rename);
    done(
        "ALTER INDEX",
        format!("RenameIndex: {}", rename.name),
        move || {
            let (session, rename) = (session.clone(), Arc::clone(&rename));
            async move {
                let _ddl = session.inner.core.ddl.lock().await;
                let snapshot = session.snapshot();
                let name = qualify(&rename.name, &session.search_path())?;
                if let Some(collection) = snapshot.keyed(&name) {
                    return rename_key(&session, collection, &rename.to).await;
                }
                let Some((collection, index)) = snapshot.index(&name) else {
                    if rename.if_exists && !is_relation(&snapshot, &name) {
                        session.notice(format!("relation \"{name}\" does not exist, skipping"));
                        return Ok(());
                    }
                    return Err(not_an_index(&snapshot, &name, "relation"));
                };
                session.check_owns_index(&snapshot, collection, &index.name)?;
                let change = Change::RenameIndex(collection.id, index.id, fold(&rename.to));
                session.commit(&snapshot, vec![change]).await
            }
        },
    )
}

/// Gives the index of a primary key, and so the key, another name.
async fn rename_key(session: &Session, collection: &Arc<Collection>, to: &Ident) -> Result<()> {
    let snapshot = session.snapshot();
    session.check_owns(&snapshot, collection)?;
    let mut schema = CollectionSchema::clone(&collection.schema);
    schema.primary_key_name = Some(fold(to));
    name_primary_key(&snapshot, &collection.name, &mut schema)?;
    let change = Change::AlterCollection(AlterCollection {
        id: collection.id,
        name: None,
        schema: Some(schema),
        options: None,
    });
    let before = collection.schema.key_name(&collection.name.name);
    let comment = moved_comment(&snapshot, collection, &before, &fold(to));
    session
        .commit(&snapshot, std::iter::once(change).chain(comment).collect())
        .await
}

fn is_relation(snapshot: &Snapshot, name: &QualifiedName) -> bool {
    snapshot.collection(name).is_some() || snapshot.view(name).is_some()
}

/// The error for a name that is no index: that of a table or view, or of nothing.
fn not_an_index(snapshot: &Snapshot, name: &QualifiedName, called: &str) -> Error {
    if is_relation(snapshot, name) {
        let kind = match snapshot.view(name) {
            Some(view) if view.partition.is_none() => "VIEW to remove a view",
            _ => "TABLE to remove a table",
        };
        let message = format!("\"{name}\" is not an index");
        return Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
            .with_hint(format!("Use DROP {kind}."));
    }
    let code = match called {
        "index" => sqlstate::UNDEFINED_OBJECT,
        _ => sqlstate::UNDEFINED_TABLE,
    };
    Error::not_found(code, format!("{called} \"{name}\" does not exist"))
}
