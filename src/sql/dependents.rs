//! What needs an object that is to be dropped: the views that read it, and those that read these.

use std::collections::HashSet;
use std::sync::Arc;

use super::access::view::as_view;
use super::create::plan_view;
use super::notice::Notice;
use super::origins::{Origin, Reads};
use super::session::{Planning, Session};
use crate::catalog::pg;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{Change, View};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionId, Column};
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

    fn is_read_by(&self, reads: &Reads) -> bool {
        match &self.what {
            What::Relation(relation) => reads.relations.contains(relation),
            What::Column(origin) => reads.columns.contains(origin),
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

/// Leaves each view to be dropped once, and those alone that are dropped otherwise.
pub(super) fn each_view_once(changes: &mut Vec<Change>) {
    let (mut views, mut collections) = (HashSet::new(), HashSet::new());
    changes.retain(|change| match change {
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

/// What reads relations: a view, or a materialized view.
struct Reader {
    view: Arc<View>,
    /// Of a materialized view.
    collection: Option<CollectionId>,
}

impl Reader {
    /// All of a version.
    fn all(snapshot: &Snapshot) -> Vec<Self> {
        // Partitions are parts of their table.
        let views = snapshot.views().filter(|view| view.partition.is_none());
        let views = views.map(|view| Self {
            view: Arc::clone(view),
            collection: None,
        });
        let collections = snapshot.collections().filter_map(|collection| {
            let of = collection.materialized.as_ref()?;
            Some(Self {
                view: Arc::new(of.view(&collection.name)),
                collection: Some(collection.id),
            })
        });
        views.chain(collections).collect()
    }

    fn words(&self) -> String {
        match self.collection {
            Some(_) => format!("materialized view {}", self.view.name),
            None => format!("view {}", self.view.name),
        }
    }

    fn oid(&self) -> u32 {
        match self.collection {
            Some(id) => pg::collection_oid(id),
            None => pg::view_oid(&self.view.name),
        }
    }

    fn as_dropped(&self) -> Dropped {
        Dropped {
            what: What::Relation(self.oid()),
            words: self.words(),
            is_part: false,
        }
    }

    fn drop(&self) -> Change {
        match self.collection {
            Some(id) => Change::DropCollection(id),
            None => Change::DropView(self.view.name.clone()),
        }
    }
}

/// The views that read what is dropped, each with the words for what it reads of it, in the order in which they must go.
async fn dependents(planning: &Planning<'_>, dropped: &[Dropped]) -> Result<Vec<(Reader, String)>> {
    let all = match dropped.is_empty() {
        true => Vec::new(),
        false => Reader::all(&planning.snapshot),
    };
    let goes = |reader: &Reader| {
        let relation = reader.oid();
        let mut all = dropped.iter();
        all.any(|d| matches!(d.what, What::Relation(r) if r == relation))
    };
    let mut readers = Vec::with_capacity(all.len());
    for reader in all.into_iter().filter(|reader| !goes(reader)) {
        let reads = reads_of(planning, &reader).await?;
        readers.push((reader, reads));
    }
    let mut found: Vec<(Reader, String)> = Vec::new();
    let mut waiting: Vec<Dropped> = dropped.iter().rev().cloned().collect();
    while let Some(next) = waiting.pop() {
        let of_next = readers.extract_if(.., |(_, reads)| next.is_read_by(reads));
        for (reader, _) in of_next {
            waiting.insert(0, reader.as_dropped());
            found.push((reader, next.words.clone()));
        }
    }
    Ok(found)
}

/// What the query of a view reads; nothing where it cannot be planned by now.
async fn reads_of(planning: &Planning<'_>, reader: &Reader) -> Result<Reads> {
    let object = match reader.collection {
        Some(id) => Object::Collection(id),
        None => Object::View(reader.view.name.clone()),
    };
    let owner = planning.snapshot.access(&object).owner;
    let snapshot = Arc::clone(&planning.snapshot);
    let Ok(plan) = plan_view(&planning.state, snapshot, &reader.view, owner).await else {
        return Ok(Reads::default());
    };
    match as_view(&plan) {
        Some(node) => Ok(Reads::of(node.query())?),
        None => Ok(Reads::default()),
    }
}
