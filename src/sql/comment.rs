//! COMMENT ON.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{DataType, ObjectName};

use super::create::plan_view;
use super::ddl::{existing_database, existing_schema, no_relation, qualify};
use super::dml::no_column;
use super::parser::{Grammar, name_parts};
use super::routine::{RoutineKind, Signature, parse_signature};
use super::session::{Planning, Session, Tag, done};
use super::statement::Statement;
use super::{domains, enums, routine, sequence};
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;

/// COMMENT ON.
#[derive(Debug, Clone)]
pub struct Comment {
    kind: Kind,
    name: ObjectName,
    /// The types of a function's arguments.
    arguments: Option<Vec<DataType>>,
    /// The table of a constraint.
    table: Option<ObjectName>,
    /// The text; `None` is NULL.
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    View,
    MaterializedView,
    Column,
    Index,
    Constraint,
    Sequence,
    Schema,
    Type,
    Domain,
    Routine(RoutineKind),
    Database,
}

impl Kind {
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "TABLE" | "COLLECTION" => Self::Table,
            "VIEW" => Self::View,
            "MATERIALIZED" => Self::MaterializedView,
            "COLUMN" => Self::Column,
            "INDEX" => Self::Index,
            "CONSTRAINT" => Self::Constraint,
            "SEQUENCE" => Self::Sequence,
            "SCHEMA" => Self::Schema,
            "TYPE" => Self::Type,
            "DOMAIN" => Self::Domain,
            "DATABASE" => Self::Database,
            word => Self::Routine(RoutineKind::of_word(word)?),
        })
    }
}

/// Whether the next words comment on something whose comments are kept.
pub(super) fn is_comment(grammar: &Grammar<'_>) -> bool {
    grammar.word(0) == "COMMENT"
        && grammar.word(1) == "ON"
        && Kind::of_word(&grammar.word(2)).is_some()
}

/// `COMMENT ON kind name IS {'text' | NULL}`.
pub(super) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let kind = Kind::of_word(&grammar.word(2));
    let kind = kind.ok_or_else(|| grammar.unexpected("what the comment is on"))?;
    grammar.skip(3);
    if kind == Kind::MaterializedView {
        grammar.expect(&["VIEW"])?;
    }
    let (name, arguments) = match kind {
        Kind::Routine(_) => {
            let Signature { name, arguments } = parse_signature(grammar)?;
            (name, arguments)
        }
        _ => (grammar.name()?, None),
    };
    let table = match kind {
        Kind::Constraint => {
            grammar.expect(&["ON"])?;
            Some(grammar.name()?)
        }
        _ => None,
    };
    grammar.expect(&["IS"])?;
    let text = match grammar.accept(&["NULL"]) {
        true => None,
        false => Some(grammar.quoted_text("a text or NULL")?),
    };
    Ok(Statement::Comment(Box::new(Comment {
        kind,
        name,
        arguments,
        table,
        text,
    })))
}

/// COMMENT ON.
pub(super) fn plan(session: &Session, comment: Comment) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let comment = Arc::new(comment);
    done("COMMENT", format!("Comment: {}", comment.name), move || {
        let (session, comment) = (session.clone(), Arc::clone(&comment));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let planning = Planning::new(&session);
            let (on, object, name) = find(&planning, &comment).await?;
            session.check_owner(&planning.snapshot, &object, &name)?;
            // An empty text is none, as in PostgreSQL.
            let text = comment.text.clone().filter(|text| !text.is_empty());
            let changes = vec![Change::Comment(on, text)];
            session.commit(&planning.snapshot, changes).await
        }
    })
}

/// What the comment is on, the object whose owner may give it one, and its name.
async fn find(planning: &Planning<'_>, comment: &Comment) -> Result<(Commented, Object, String)> {
    let name = &comment.name;
    match comment.kind {
        Kind::Table | Kind::MaterializedView => {
            let kind = match comment.kind {
                Kind::Table => "table",
                _ => "materialized view",
            };
            let collection = match relation(planning, name)? {
                Found::Collection(found) if found.kind() == kind => found,
                Found::Collection(other) => return Err(no_kind(&other.name, kind)),
                Found::View(view) if view.kind() == kind => return Ok(of_view(view)),
                Found::View(view) => return Err(no_kind(&view.name, kind)),
            };
            let (id, name) = (collection.id, collection.name.name.clone());
            Ok((Commented::Collection(id), Object::Collection(id), name))
        }
        Kind::View => {
            let view = match relation(planning, name)? {
                Found::View(view) if view.kind() == "view" => view,
                Found::View(partition) => return Err(no_kind(&partition.name, "view")),
                Found::Collection(c) => return Err(no_kind(&c.name, "view")),
            };
            Ok(of_view(view))
        }
        Kind::Column => column(planning, name).await,
        Kind::Index => index(planning, name),
        Kind::Constraint => constraint(planning, comment),
        Kind::Sequence => {
            let found = sequence::find(planning.session, &planning.snapshot, name)?;
            let object = Object::Sequence(found.id);
            Ok((
                Commented::Sequence(found.id),
                object,
                found.name.name.clone(),
            ))
        }
        Kind::Schema => {
            let name = existing_schema(&planning.snapshot, name)?;
            let object = Object::Schema(name.clone());
            Ok((Commented::Schema(name.clone()), object, name))
        }
        Kind::Domain => {
            let domain = domains::find(planning, name)?;
            let object = Object::Type(domain.id);
            Ok((Commented::Type(domain.id), object, domain.name.name.clone()))
        }
        Kind::Type => {
            let of = enums::find(planning, name)?;
            let object = Object::Type(of.id);
            Ok((Commented::Type(of.id), object, of.name.name.clone()))
        }
        Kind::Routine(kind) => {
            let named = Signature {
                name: name.clone(),
                arguments: comment.arguments.clone(),
            };
            let function = routine::find(planning, kind, &named)?;
            let object = Object::Function(function.id);
            let name = function.name.name.clone();
            Ok((Commented::Function(function.id), object, name))
        }
        Kind::Database => {
            let name = existing_database(planning.session, name)?;
            Ok((Commented::Database, Object::Database, name))
        }
    }
}

enum Found<'a> {
    Collection(&'a Arc<Collection>),
    View(&'a Arc<View>),
}

fn relation<'a>(planning: &'a Planning<'_>, name: &ObjectName) -> Result<Found<'a>> {
    let name = qualify(name, &planning.session.search_path())?;
    if let Some(collection) = planning.snapshot.collection(&name) {
        return Ok(Found::Collection(collection));
    }
    let view = planning.snapshot.view(&name);
    view.map(Found::View).ok_or_else(|| no_relation(&name))
}

/// What a comment on a view or partition is on.
fn of_view(view: &View) -> (Commented, Object, String) {
    let name = view.name.clone();
    let object = Object::View(name.clone());
    (Commented::View(name.clone()), object, name.name)
}

fn no_kind(name: &QualifiedName, kind: &str) -> Error {
    let message = format!("\"{name}\" is not a {kind}");
    Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
}

/// A column of a collection or view, as `table.column`.
async fn column(planning: &Planning<'_>, name: &ObjectName) -> Result<(Commented, Object, String)> {
    let mut table = name.clone();
    table.0.pop();
    if table.0.is_empty() {
        let message = "column name must be qualified";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    let column = name_parts(name)?.pop().unwrap_or_default();
    match relation(planning, &table)? {
        Found::Collection(collection) => {
            let found = collection.schema.column(&column);
            let found = found.ok_or_else(|| no_column(&column, &collection.name))?;
            let (id, name) = (collection.id, collection.name.name.clone());
            let on = Commented::Column(id, found.id);
            Ok((on, Object::Collection(id), name))
        }
        Found::View(view) => {
            let object = Object::View(view.name.clone());
            let owner = planning.snapshot.access(&object).owner;
            let snapshot = Arc::clone(&planning.snapshot);
            let plan = plan_view(&planning.state, snapshot, view, owner).await?;
            let mut fields = plan.schema().fields().iter();
            let place = fields.position(|field| *field.name() == column);
            let number = place.and_then(|place| u32::try_from(place + 1).ok());
            let number = number.ok_or_else(|| no_column(&column, &view.name))?;
            let on = Commented::ViewColumn(view.name.clone(), number);
            Ok((on, object, view.name.name.clone()))
        }
    }
}

/// A constraint of a collection, whose owner is that of the collection.
fn constraint(planning: &Planning<'_>, comment: &Comment) -> Result<(Commented, Object, String)> {
    let table = comment.table.as_ref();
    let table = table.ok_or_else(|| Error::internal("a constraint of no table"))?;
    let collection = match relation(planning, table)? {
        Found::Collection(collection) => collection,
        Found::View(view) => return Err(no_kind(&view.name, "table")),
    };
    let name = name_parts(&comment.name)?.pop().unwrap_or_default();
    let table = collection.name.name.clone();
    if !collection.has_constraint(&collection.schema, &name) {
        let message = format!("constraint \"{name}\" for table \"{table}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message));
    }
    let on = Commented::Constraint(collection.id, name);
    Ok((on, Object::Collection(collection.id), table))
}

/// An index, that of a primary key too; its owner is that of the collection.
fn index(planning: &Planning<'_>, name: &ObjectName) -> Result<(Commented, Object, String)> {
    let (schema, last) = super::ddl::qualified_parts(name)?;
    let path = match schema {
        Some(schema) => vec![schema],
        None => planning.session.search_path().into_schemas(),
    };
    let found = path.iter().find_map(|schema| {
        let named = QualifiedName::new(schema.as_str(), last.as_str());
        if let Some((collection, index)) = planning.snapshot.index(&named) {
            return Some((Commented::Index(collection.id, index.id), collection.id));
        }
        let keyed = planning.snapshot.keyed(&named);
        keyed.map(|c| (Commented::PrimaryKey(c.id), c.id))
    });
    let (on, collection) = found.ok_or_else(|| {
        let message = format!("relation \"{last}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_TABLE, message)
    })?;
    Ok((on, Object::Collection(collection), last))
}
