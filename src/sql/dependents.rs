//! What needs an object that is to be dropped: the views that read it, and those that read these.

use std::sync::Arc;

use super::access::view::as_view;
use super::create::plan_view;
use super::notice::Notice;
use super::origins::{Origin, Reads};
use super::session::{Planning, Session};
use crate::catalog::pg;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionId, Column};

/// What is to be dropped.
#[derive(Debug, Clone)]
pub(super) struct Dropped {
    what: What,
    /// In words, as `table book`.
    words: String,
}

#[derive(Debug, Clone)]
enum What {
    /// By its OID.
    Relation(u32),
    Column(Origin),
}

impl Dropped {
    /// A collection.
    pub(super) fn collection(collection: &Collection) -> Self {
        Self {
            what: What::Relation(pg::collection_oid(collection.id)),
            words: format!("table {}", collection.name),
        }
    }

    /// A view.
    pub(super) fn view(name: &QualifiedName) -> Self {
        Self {
            what: What::Relation(pg::view_oid(name)),
            words: format!("view {name}"),
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
            words: format!("column {} of table {}", column.name, collection.name),
        }
    }

    fn is_read_by(&self, reads: &Reads) -> bool {
        match &self.what {
            What::Relation(relation) => reads.relations.contains(relation),
            What::Column(origin) => reads.columns.contains(origin),
        }
    }
}

/// What is dropped by changes.
pub(super) fn dropped_by(planning: &Planning<'_>, changes: &[Change]) -> Vec<Dropped> {
    let collection = |id: &CollectionId| planning.snapshot.collection_by_id(*id);
    let dropped = changes.iter().filter_map(|change| match change {
        Change::DropCollection(id) => collection(id).map(|c| Dropped::collection(c)),
        Change::DropView(name) => Some(Dropped::view(name)),
        _ => None,
    });
    dropped.collect()
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
        let what = match dropped {
            [one] => one.words.as_str(),
            _ => "desired object(s)",
        };
        let them = if dropped.len() == 1 { "it" } else { "them" };
        let depends = found
            .iter()
            .map(|(view, on)| format!("view {view} depends on {on}"));
        return Err(needed(what, them, depends));
    }
    let cascades = found.iter().map(|(view, _)| format!("view {view}"));
    notice_cascade(planning.session, &cascades.collect::<Vec<_>>());
    let drops = found.into_iter().map(|(view, _)| Change::DropView(view));
    Ok(drops.collect())
}

/// A view that reads a column, itself or by other views.
pub(super) async fn first_reader(
    planning: &Planning<'_>,
    column: &Dropped,
) -> Result<Option<QualifiedName>> {
    let found = dependents(planning, std::slice::from_ref(column)).await?;
    Ok(found.into_iter().next().map(|(view, _)| view))
}

/// Leaves each view to be dropped once, and those alone that are dropped otherwise.
pub(super) fn each_view_once(changes: &mut Vec<Change>) {
    let mut seen = Vec::new();
    changes.retain(|change| match change {
        Change::DropView(name) if seen.contains(name) => false,
        Change::DropView(name) => {
            seen.push(name.clone());
            true
        }
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

/// The views that read what is dropped, each with the words for what it reads of it, in the order in which they must go.
async fn dependents(
    planning: &Planning<'_>,
    dropped: &[Dropped],
) -> Result<Vec<(QualifiedName, String)>> {
    if dropped.is_empty() || planning.snapshot.views().next().is_none() {
        return Ok(Vec::new());
    }
    let goes = |view: &View| {
        let relation = pg::view_oid(&view.name);
        let mut all = dropped.iter();
        all.any(|d| matches!(d.what, What::Relation(r) if r == relation))
    };
    let others = planning.snapshot.views().filter(|view| !goes(view));
    let others: Vec<Arc<View>> = others.cloned().collect();
    let mut readers = Vec::with_capacity(others.len());
    for view in others {
        let reads = reads_of(planning, &view).await?;
        readers.push((view, reads));
    }
    let mut found: Vec<(QualifiedName, String)> = Vec::new();
    let mut waiting: Vec<Dropped> = dropped.iter().rev().cloned().collect();
    while let Some(next) = waiting.pop() {
        let of_next = readers.extract_if(.., |(_, reads)| next.is_read_by(reads));
        for (view, _) in of_next {
            waiting.insert(0, Dropped::view(&view.name));
            found.push((view.name.clone(), next.words.clone()));
        }
    }
    Ok(found)
}

/// What the query of a view reads; nothing where it cannot be planned by now.
async fn reads_of(planning: &Planning<'_>, view: &View) -> Result<Reads> {
    let owner = planning
        .snapshot
        .access(&Object::View(view.name.clone()))
        .owner;
    let snapshot = Arc::clone(&planning.snapshot);
    let Ok(plan) = plan_view(&planning.state, snapshot, view, owner).await else {
        return Ok(Reads::default());
    };
    match as_view(&plan) {
        Some(node) => Ok(Reads::of(node.query())?),
        None => Ok(Reads::default()),
    }
}
