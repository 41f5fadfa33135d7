//! What needs an object that is to be dropped: the views and functions that read it or call it, and those that read these.
//!
//! Functions whose body is a text need nothing: it is looked at when they are called.

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;

use super::access::view::as_view;
use super::create::plan_view;
use super::notice::Notice;
use super::origins::{Origin, Reads};
use super::routine::{noting_calls, plan_of, signature};
use super::session::{Planning, Session};
use super::stack::with_room;
use crate::catalog::pg;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{Change, View};
use crate::storage::collection::Collection;
use crate::storage::function::{Function, Returns};
use crate::storage::schema::{CollectionId, Column, FunctionId};
use crate::storage::snapshot::Snapshot;

/// What is to be dropped.
#[derive(Debug, Clone)]
pub(super) struct Dropped {
    what: What,
    /// In words, as `table book`.
    words: String,
    /// Whether it goes with something else that is dropped, whose part it is.
    is_part: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// By its OID.
    Relation(u32),
    Column(Origin),
    Function(FunctionId),
}

impl Dropped {
    /// A collection.
    pub(super) fn collection(collection: &Collection) -> Self {
        Self {
            what: What::Relation(pg::collection_oid(collection.id)),
            words: format!("{} {}", collection.kind(), collection.name),
            is_part: false,
        }
    }

    /// A view.
    pub(super) fn view(view: &View) -> Self {
        Self {
            what: What::Relation(pg::view_oid(&view.name)),
            words: format!("{} {}", view.kind(), view.name),
            is_part: false,
        }
    }

    /// A column of a collection.
    pub(super) fn column(collection: &Collection, column: &Column) -> Self {
        let origin = Origin {
            relation: pg::collection_oid(collection.id),
            column: column.id,
        };
        Self {
            what: What::Column(origin),
            words: format!(
                "column {} of {} {}",
                column.name,
                collection.kind(),
                collection.name
            ),
            is_part: false,
        }
    }

    /// A function or procedure.
    pub(super) fn function(snapshot: &Snapshot, function: &Function) -> Self {
        Self {
            what: What::Function(function.id),
            words: words_of(snapshot, function),
            is_part: false,
        }
    }

    fn is_needed_by(&self, needs: &Needs) -> bool {
        match &self.what {
            What::Relation(relation) => needs.reads.relations.contains(relation),
            What::Column(origin) => needs.reads.columns.contains(origin),
            What::Function(id) => needs.calls.contains(id),
        }
    }
}

/// What is dropped by changes.
pub(super) fn dropped_by(planning: &Planning<'_>, changes: &[Change]) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for change in changes {
        match change {
            Change::DropCollection(id) => {
                let collection = planning.snapshot.collection_by_id(*id);
                let Some(collection) = collection else {
                    continue;
                };
                dropped.push(Dropped::collection(collection));
                // Partitions go with their table.
                let partitions = collection.partitions().iter();
                dropped.extend(partitions.map(|view| Dropped {
                    is_part: true,
                    ..Dropped::view(view)
                }));
            }
            Change::DropView(name) => {
                let view = planning.snapshot.view(name);
                dropped.extend(view.map(|view| Dropped::view(view)));
            }
            Change::DropFunction(id) => {
                let function = planning.snapshot.function(*id);
                dropped.extend(function.map(|f| Dropped::function(&planning.snapshot, f)));
            }
            _ => {}
        }
    }
    dropped
}

/// The changes that drop the views which read what is dropped, itself or by other views.
///
/// # Errors
/// 2BP01 where there are such views, unless they go with it.
pub(super) async fn drop_dependents(
    planning: &Planning<'_>,
    dropped: &[Dropped],
    cascade: bool,
) -> Result<Vec<Change>> {
    let found = dependents(planning, dropped).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    if !cascade {
        let named: Vec<&Dropped> = dropped.iter().filter(|d| !d.is_part).collect();
        let (what, them) = match named.as_slice() {
            [one] => (one.words.as_str(), "it"),
            _ => ("desired object(s)", "them"),
        };
        let depends = found
            .iter()
            .map(|(reader, on)| format!("{} depends on {on}", reader.words()));
        return Err(needed(what, them, depends));
    }
    let cascades = found.iter().map(|(reader, _)| reader.words());
    notice_cascade(planning.session, &cascades.collect::<Vec<_>>());
    Ok(found.iter().map(|(reader, _)| reader.drop()).collect())
}

/// A view that reads a column, itself or by other views, in words.
pub(super) async fn first_reader(
    planning: &Planning<'_>,
    column: &Dropped,
) -> Result<Option<String>> {
    let found = dependents(planning, std::slice::from_ref(column)).await?;
    Ok(found.first().map(|(reader, _)| reader.words()))
}

fn words_of(snapshot: &Snapshot, function: &Function) -> String {
    format!("function {}", signature(snapshot, function))
}

/// Leaves each view to be dropped once, and those alone that are dropped otherwise.
pub(super) fn each_view_once(changes: &mut Vec<Change>) {
    let (mut views, mut collections) = (HashSet::new(), HashSet::new());
    let mut functions = HashSet::new();
    changes.retain(|change| match change {
        Change::DropFunction(id) => functions.insert(*id),
        Change::DropView(name) => views.insert(name.clone()),
        Change::DropCollection(id) => collections.insert(*id),
        _ => true,
    });
}

/// 2BP01: what depends on an object keeps it.
pub(super) fn needed(what: &str, it: &str, depends: impl Iterator<Item = String>) -> Error {
    let message = format!("cannot drop {what} because other objects depend on {it}");
    Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(depends.collect::<Vec<_>>().join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// Tells what is dropped too.
pub(super) fn notice_cascade(session: &Session, objects: &[String]) {
    let each = objects
        .iter()
        .map(|object| format!("drop cascades to {object}"));
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => {}
        [one] => session.notice(one.as_str()),
        several => {
            let message = format!("drop cascades to {} other objects", several.len());
            session.notice(Notice::from(message).with_detail(several.join("\n")));
        }
    }
}

/// What reads relations and calls functions.
enum Reader {
    View(Arc<View>),
    Materialized(Arc<View>, CollectionId),
    /// With its words.
    Function(Arc<Function>, String),
}

/// What a reader needs.
#[derive(Default)]
struct Needs {
    reads: Reads,
    calls: HashSet<FunctionId>,
}

impl Reader {
    /// All of a version.
    fn all(snapshot: &Snapshot) -> Vec<Self> {
        // Partitions are parts of their table.
        let views = snapshot.views().filter(|view| view.partition.is_none());
        let views = views.map(|view| Self::View(Arc::clone(view)));
        let collections = snapshot.collections().filter_map(|collection| {
            let of = collection.materialized.as_ref()?;
            let view = Arc::new(of.view(&collection.name));
            Some(Self::Materialized(view, collection.id))
        });
        let functions = snapshot.functions().filter(|function| {
            !function.body.is_late() || matches!(function.returns, Returns::Row(_))
        });
        let functions = functions.map(|f| Self::Function(Arc::clone(f), words_of(snapshot, f)));
        views.chain(collections).chain(functions).collect()
    }

    fn words(&self) -> String {
        match self {
            Self::View(view) => format!("view {}", view.name),
            Self::Materialized(view, _) => format!("materialized view {}", view.name),
            Self::Function(_, words) => words.clone(),
        }
    }

    fn what(&self) -> What {
        match self {
            Self::View(view) => What::Relation(pg::view_oid(&view.name)),
            Self::Materialized(_, id) => What::Relation(pg::collection_oid(*id)),
            Self::Function(function, _) => What::Function(function.id),
        }
    }

    fn as_dropped(&self) -> Dropped {
        Dropped {
            what: self.what(),
            words: self.words(),
            is_part: false,
        }
    }

    fn drop(&self) -> Change {
        match self {
            Self::View(view) => Change::DropView(view.name.clone()),
            Self::Materialized(_, id) => Change::DropCollection(*id),
            Self::Function(function, _) => Change::DropFunction(function.id),
        }
    }
}

/// The readers that need what is dropped, each with the words for what it needs of it, in the order in which they must go.
async fn dependents(planning: &Planning<'_>, dropped: &[Dropped]) -> Result<Vec<(Reader, String)>> {
    let all = match dropped.is_empty() {
        true => Vec::new(),
        false => Reader::all(&planning.snapshot),
    };
    let goes = |reader: &Reader| {
        let what = reader.what();
        dropped.iter().any(|d| d.what == what)
    };
    let mut readers = Vec::with_capacity(all.len());
    for reader in all.into_iter().filter(|reader| !goes(reader)) {
        let needs = with_room(needs_of(planning, &reader).boxed()).await?;
        readers.push((reader, needs));
    }
    let mut found: Vec<(Reader, String)> = Vec::new();
    let mut waiting: Vec<Dropped> = dropped.iter().rev().cloned().collect();
    while let Some(next) = waiting.pop() {
        let of_next = readers.extract_if(.., |(_, needs)| next.is_needed_by(needs));
        for (reader, _) in of_next {
            waiting.insert(0, reader.as_dropped());
            found.push((reader, next.words.clone()));
        }
    }
    Ok(found)
}

/// What a reader needs; nothing where it cannot be planned by now.
async fn needs_of(planning: &Planning<'_>, reader: &Reader) -> Result<Needs> {
    let (view, object) = match reader {
        Reader::View(view) => (view, Object::View(view.name.clone())),
        Reader::Materialized(view, id) => (view, Object::Collection(*id)),
        Reader::Function(function, _) => return needs_of_function(planning, function).await,
    };
    let owner = planning.snapshot.access(&object).owner;
    let snapshot = Arc::clone(&planning.snapshot);
    let planned = plan_view(&planning.state, snapshot, view, owner);
    let (planned, calls) = noting_calls(planned).await;
    let Ok(plan) = planned else {
        return Ok(Needs::default());
    };
    let reads = match as_view(&plan) {
        Some(node) => Reads::of(node.query())?,
        None => Reads::default(),
    };
    Ok(Needs { reads, calls })
}

async fn needs_of_function(planning: &Planning<'_>, function: &Arc<Function>) -> Result<Needs> {
    let mut needs = Needs::default();
    if !function.body.is_late() {
        let (planned, calls) = noting_calls(plan_of(planning, function)).await;
        if let Ok(plan) = planned {
            let query = as_view(&plan).map_or(&plan, |call| call.query());
            needs.reads = Reads::of(query)?;
            needs.calls = calls;
        }
    }
    if let Returns::Row(id) = &function.returns {
        needs.reads.relations.push(pg::collection_oid(*id));
    }
    Ok(needs)
}
