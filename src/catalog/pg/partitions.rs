//! Partitioned tables and their partitions in the catalogs: `pg_inherits`, `pg_partitioned_table`.

use super::class::operator_class;
use super::definition::quote_ident;
use super::objects::{Attribute, Objects, Relation, Source, attribute_number};
use super::oid;
use super::rows::{Rows, Value};
use crate::storage::collection::Collection;
use crate::storage::partition::{Partition, PartitionBound, Strategy, condition};

impl Relation {
    /// What it is a partition by, if it is one.
    pub fn partition(&self) -> Option<&Partition> {
        match &self.source {
            Source::View(view) => view.partition.as_deref(),
            _ => None,
        }
    }

    /// Its collection, if that is divided.
    pub fn divided(&self) -> Option<&Collection> {
        let collection = self.collection()?;
        collection.schema.partitioning.as_ref()?;
        Some(collection)
    }
}

/// The OIDs of a table's partitions, in the order of their names.
pub(super) fn partitions_of(collection: &Collection) -> impl Iterator<Item = u32> {
    let partitions = collection.partitions().iter();
    partitions.map(|view| oid::view(&view.name.schema, &view.name.name))
}

/// The columns of a partition: those of its table, without what these have of their own.
pub(super) fn columns_of(relation: u32, parent: &[Attribute]) -> Vec<Attribute> {
    let columns = parent.iter().zip(1..);
    let of = |(column, number): (&Attribute, i16)| Attribute {
        number,
        default: column
            .default
            .as_ref()
            .map(|(_, text)| (oid::default_of_view(relation, number), text.clone())),
        identity: "",
        ..column.clone()
    };
    columns.map(of).collect()
}

pub(super) fn pg_inherits(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        if let Some(partition) = relation.partition() {
            rows.push(&[
                ("inhrelid", relation.oid.into()),
                ("inhparent", oid::collection(partition.parent).into()),
                ("inhseqno", Value::Int(1)),
                ("inhdetachpending", false.into()),
            ]);
        }
    }
}

pub(super) fn pg_partitioned_table(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        let Some(collection) = relation.divided() else {
            continue;
        };
        let Some(partitioning) = &collection.schema.partitioning else {
            continue;
        };
        let numbers = partitioning.columns.iter().map(|id| attribute_number(*id));
        let numbers: Vec<i16> = numbers.collect();
        let of = |number: &i16| relation.columns.iter().find(|c| c.number == *number);
        let types = numbers.iter().filter_map(of).map(|c| c.pg_type.oid);
        let types: Vec<u32> = types.collect();
        let is_default = |view: &&std::sync::Arc<crate::storage::change::View>| {
            let partition = view.partition.as_ref();
            partition.is_some_and(|of| of.bound == PartitionBound::Default)
        };
        let default = collection.partitions().iter().find(is_default);
        let default = default.map_or(0, |view| oid::view(&view.name.schema, &view.name.name));
        let collations: Vec<u32> = types.iter().map(|t| oid::collation_of(*t)).collect();
        let classes: Vec<u32> = types.iter().map(|t| operator_class(*t)).collect();
        rows.push(&[
            ("partrelid", relation.oid.into()),
            ("partstrat", letter(partitioning.strategy).into()),
            ("partnatts", (numbers.len() as i64).into()),
            ("partdefid", default.into()),
            ("partattrs", numbers.into()),
            ("partclass", classes.into()),
            ("partcollation", collations.into()),
        ]);
    }
}

fn letter(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::List => "l",
        Strategy::Range => "r",
        Strategy::Hash => "h",
    }
}

/// `RANGE (key)`; none for a table that is not divided.
pub(super) fn key_of(relation: &Relation) -> Option<String> {
    let collection = relation.divided()?;
    let partitioning = collection.schema.partitioning.as_ref()?;
    Some(partitioning.definition(&collection.schema, quote_ident))
}

/// The condition for the rows of a partition.
pub(super) fn condition_of(objects: &Objects, relation: &Relation) -> Option<String> {
    let partition = relation.partition()?;
    let parent = objects.relation(oid::collection(partition.parent))?;
    let parent = parent.collection()?;
    let bounds = parent.partitions().iter();
    let bounds = bounds.filter_map(|view| Some(view.partition.as_ref()?.bound.clone()));
    condition(parent, &partition.bound, &bounds.collect::<Vec<_>>())
}

/// A partition, or a table that is divided, in the tree of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    /// Its OID.
    pub relation: u32,
    /// That of its table.
    pub parent: Option<u32>,
    /// Whether it is not divided.
    pub is_leaf: bool,
    /// How far it is from the root of the tree.
    pub level: i64,
}

/// A relation and its partitions; nothing for one that neither is one nor has some.
pub(super) fn tree(objects: &Objects, relation: u32) -> Vec<Branch> {
    let Some(relation) = objects.relation(relation) else {
        return Vec::new();
    };
    let parent = relation.partition().map(|of| oid::collection(of.parent));
    let own = Branch {
        relation: relation.oid,
        parent,
        is_leaf: true,
        level: 0,
    };
    if parent.is_some() {
        return vec![own];
    }
    let Some(collection) = relation.divided() else {
        return Vec::new();
    };
    let parts = partitions_of(collection).map(|part| Branch {
        relation: part,
        parent: Some(relation.oid),
        is_leaf: true,
        level: 1,
    });
    let root = Branch {
        is_leaf: false,
        ..own
    };
    std::iter::once(root).chain(parts).collect()
}

/// A relation and those that it is a part of; nothing for one that neither is a partition nor has some.
pub(super) fn ancestors(objects: &Objects, relation: u32) -> Vec<u32> {
    let Some(found) = objects.relation(relation) else {
        return Vec::new();
    };
    match found.partition() {
        Some(partition) => vec![relation, oid::collection(partition.parent)],
        None if found.divided().is_some() => vec![relation],
        None => Vec::new(),
    }
}
