//! What a version of the database holds, as PostgreSQL's catalogs see it: schemas, and relations with their columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::comments::{self, Place};
use super::definition::quote_ident;
use super::oid;
use super::partitions::columns_of;
use super::relation::{self, SystemRelation};
use crate::catalog::pg_type::{self, PgType, enum_oid, type_of};
use crate::catalog::system::{SYSTEM_SCHEMA, system_tables};
use crate::storage::change::{QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::domain::Domain;
use crate::storage::enum_type::EnumType;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::{Column, FieldId};
use crate::storage::sequence::{Generates, Sequence};
use crate::storage::snapshot::{DEFAULT_SCHEMA, Snapshot};

/// What a relation is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A collection.
    Collection(Arc<Collection>),
    /// The index of a collection's primary key.
    KeyIndex(Arc<Collection>),
    /// An index that CREATE INDEX defined.
    Index(Arc<Collection>, Arc<Index>),
    /// A view of users.
    View(Arc<View>),
    /// A sequence.
    Sequence(Arc<Sequence>),
    /// A relation of PostgreSQL's.
    System(&'static SystemRelation),
    /// A table of the engine's own.
    Engine,
}

/// A relation: a row of `pg_class`.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub oid: u32,
    pub namespace: u32,
    pub schema: String,
    pub name: String,
    pub source: Source,
    /// Empty for a view until [`Objects::with_view_columns`].
    pub columns: Vec<Attribute>,
}

impl Relation {
    /// PostgreSQL's letter for the kind.
    pub fn kind(&self) -> &'static str {
        match &self.source {
            Source::Collection(collection) if collection.materialized.is_some() => "m",
            Source::Collection(_) if self.divided().is_some() => "p",
            Source::Collection(_) => "r",
            Source::KeyIndex(_) | Source::Index(..) => "i",
            Source::View(view) if view.partition.is_some() => "r",
            Source::View(_) | Source::Engine => "v",
            Source::Sequence(_) => "S",
            Source::System(system) => system.kind,
        }
    }

    /// The collection, for a collection.
    pub fn collection(&self) -> Option<&Arc<Collection>> {
        match &self.source {
            Source::Collection(collection) => Some(collection),
            _ => None,
        }
    }

    /// Whether it was made by users.
    pub fn is_user(&self) -> bool {
        matches!(
            self.source,
            Source::Collection(_)
                | Source::KeyIndex(_)
                | Source::Index(..)
                | Source::View(_)
                | Source::Sequence(_)
        )
    }
}

/// A column: a row of `pg_attribute`.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    /// From 1; a dropped column's number does not come back.
    pub number: i16,
    pub name: String,
    pub pg_type: PgType,
    pub not_null: bool,
    /// The DEFAULT as its author wrote it, with the OID of its row of `pg_attrdef`.
    pub default: Option<(u32, String)>,
    /// `a` for GENERATED ALWAYS AS IDENTITY, `d` for BY DEFAULT, empty for others.
    pub identity: &'static str,
    /// The OID of its domain; 0 for none.
    pub domain: u32,
    /// Whether it is a generated column, whose expression stands in the place of the default.
    pub is_generated: bool,
    /// Whether statements give it values.
    pub is_updatable: bool,
}

/// The columns of a view, and which of them statements give values.
pub(super) type ViewColumns = (Arc<Schema>, Vec<bool>);

/// Schemas and relations of one version.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    /// OIDs and names, in the order of the names.
    pub namespaces: Vec<(u32, String)>,
    pub relations: Vec<Relation>,
    /// The types of users.
    pub types: Vec<Arc<EnumType>>,
    /// The domains.
    pub domains: Vec<Arc<Domain>>,
    /// The comments that users made.
    pub comments: HashMap<Place, Arc<str>>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<(u32, String), usize>,
}

impl Objects {
    /// The objects of a version.
    pub fn of(snapshot: &Snapshot) -> Self {
        let system = ["information_schema", "pg_catalog", SYSTEM_SCHEMA];
        let users = snapshot.schemas().map(String::as_str);
        let mut names: Vec<&str> = users.chain(system).collect();
        names.sort_unstable();
        let namespaces = names.iter().map(|n| (oid::schema(n), (*n).to_string()));
        let mut relations = Vec::new();
        for collection in snapshot.collections() {
            relations.push(of_collection(collection, snapshot));
            if !collection.schema.primary_key.is_empty() {
                relations.push(of_key_index(collection, snapshot));
            }
            let indexes = collection.indexes().iter();
            relations.extend(indexes.map(|index| of_index(collection, index, snapshot)));
        }
        relations.extend(snapshot.views().map(|view| of_view(view, snapshot)));
        relations.extend(snapshot.sequences().map(of_sequence));
        relations.extend(system_tables().map(|(name, schema)| of_engine(name, &schema)));
        relations.extend(relation::all().iter().map(of_system));
        let by_oid = relations.iter().enumerate().map(|(i, r)| (r.oid, i));
        let named = |(i, r): (usize, &Relation)| ((r.namespace, r.name.clone()), i);
        Self {
            namespaces: namespaces.collect(),
            types: snapshot.types().cloned().collect(),
            domains: snapshot.domains().cloned().collect(),
            comments: comments::of(snapshot),
            by_oid: by_oid.collect(),
            by_name: relations.iter().enumerate().map(named).collect(),
            relations,
        }
    }

    /// The same with the columns of views: `columns` gives those of each, none for one that cannot be planned by now.
    pub fn with_view_columns(mut self, columns: &HashMap<u32, ViewColumns>) -> Self {
        for relation in &mut self.relations {
            let (Some((schema, updatable)), Source::View(view)) =
                (columns.get(&relation.oid), &relation.source)
            else {
                continue;
            };
            relation.columns = attributes(schema);
            for (place, column) in relation.columns.iter_mut().enumerate() {
                column.is_updatable = updatable.get(place).copied().unwrap_or_default();
                let default = view.defaults.get(&column.name).cloned();
                let oid = oid::default_of_view(relation.oid, column.number);
                column.default = default.map(|text| (oid, text));
            }
        }
        self
    }

    /// The relation of that OID.
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(*self.by_oid.get(&oid)?)
    }

    /// The relation of that name.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Relation> {
        let namespace = self.namespaces.iter().find(|(_, n)| n == schema)?.0;
        let place = self.by_name.get(&(namespace, name.to_string()))?;
        self.relations.get(*place)
    }

    /// The name of a schema.
    pub fn namespace(&self, oid: u32) -> Option<&str> {
        let found = self.namespaces.iter().find(|(o, _)| *o == oid);
        found.map(|(_, name)| name.as_str())
    }
}

fn of_collection(collection: &Arc<Collection>, snapshot: &Snapshot) -> Relation {
    let schema = collection.schema.arrow_schema();
    let columns = collection.schema.columns.iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        let (default, identity) = default_of(collection, column, snapshot);
        Attribute {
            number: attribute_number(column.id),
            name: column.name.clone(),
            pg_type: type_of(field),
            not_null: !column.nullable || collection.schema.primary_key.contains(&column.id),
            default: default.map(|text| (oid::default(collection.id, column.id), text)),
            identity,
            domain: column.domain.map_or(0, enum_oid),
            is_generated: column.generated.is_some(),
            is_updatable: true,
        }
    });
    Relation {
        oid: oid::collection(collection.id),
        namespace: oid::schema(&collection.name.schema),
        schema: collection.name.schema.clone(),
        name: collection.name.name.clone(),
        columns: columns.collect(),
        source: Source::Collection(Arc::clone(collection)),
    }
}

/// The default of a column, and its letter as an identity column.
fn default_of(
    collection: &Collection,
    column: &Column,
    snapshot: &Snapshot,
) -> (Option<String>, &'static str) {
    let sequence = snapshot.owned_sequence(collection.id, column.id);
    let generates = sequence.and_then(|s| Some((s, s.owner?.generates?)));
    match generates {
        None => {
            let generated = column.generated.as_ref().map(|g| g.expression.clone());
            (generated.or_else(|| column.default.clone()), "")
        }
        Some((_, Generates::Always)) => (None, "a"),
        Some((_, Generates::ByDefault)) => (None, "d"),
        Some((sequence, Generates::Default)) => {
            let name = quoted_name(&sequence.name).replace('\'', "''");
            (Some(format!("nextval('{name}'::regclass)")), "")
        }
    }
}

/// The name as SQL reads it; that of the default schema without it.
pub(super) fn quoted_name(name: &QualifiedName) -> String {
    match name.schema == DEFAULT_SCHEMA {
        true => quote_ident(&name.name),
        false => format!("{}.{}", quote_ident(&name.schema), quote_ident(&name.name)),
    }
}

/// The number of a column, for its whole life.
pub(super) fn attribute_number(id: FieldId) -> i16 {
    i16::try_from(id.0).unwrap_or(i16::MAX)
}

fn of_key_index(collection: &Arc<Collection>, snapshot: &Snapshot) -> Relation {
    let table = of_collection(collection, snapshot);
    let keys = collection.schema.primary_key.iter();
    let column = |(place, id): (usize, &FieldId)| {
        let number = attribute_number(*id);
        let column = table.columns.iter().find(|c| c.number == number)?;
        Some(Attribute {
            number: place as i16 + 1,
            not_null: false,
            default: None,
            identity: "",
            domain: 0,
            is_generated: false,
            ..column.clone()
        })
    };
    Relation {
        oid: oid::key_index(collection.id),
        name: collection.schema.key_name(&table.name),
        columns: keys.enumerate().filter_map(column).collect(),
        source: Source::KeyIndex(Arc::clone(collection)),
        ..table
    }
}

fn of_index(collection: &Arc<Collection>, index: &Arc<Index>, snapshot: &Snapshot) -> Relation {
    let table = of_collection(collection, snapshot);
    let column = |(place, key): (usize, &IndexKey)| {
        let number = place as i16 + 1;
        let plain = Attribute {
            number,
            name: "expr".to_string(),
            pg_type: PgType::of_oid(pg_type::oid::TEXT),
            not_null: false,
            default: None,
            identity: "",
            domain: 0,
            is_generated: false,
            is_updatable: false,
        };
        let IndexPart::Column(field) = key.part else {
            return plain;
        };
        let of = attribute_number(field);
        let column = table.columns.iter().find(|c| c.number == of);
        column.map_or(plain, |column| Attribute {
            number,
            not_null: false,
            default: None,
            identity: "",
            domain: 0,
            is_generated: false,
            ..column.clone()
        })
    };
    let columns = index.keys.iter().enumerate().map(column).collect();
    Relation {
        oid: oid::index(index.id),
        name: index.name.clone(),
        columns,
        source: Source::Index(Arc::clone(collection), Arc::clone(index)),
        ..table
    }
}

fn of_view(view: &Arc<View>, snapshot: &Snapshot) -> Relation {
    let oid = oid::view(&view.name.schema, &view.name.name);
    let parent = view.partition.as_ref();
    let parent = parent.and_then(|of| snapshot.collection_by_id(of.parent));
    let columns = parent.map(|parent| of_collection(parent, snapshot).columns);
    Relation {
        oid,
        namespace: oid::schema(&view.name.schema),
        schema: view.name.schema.clone(),
        name: view.name.name.clone(),
        source: Source::View(Arc::clone(view)),
        columns: columns.map_or_else(Vec::new, |columns| columns_of(oid, &columns)),
    }
}

fn of_sequence(sequence: &Arc<Sequence>) -> Relation {
    let columns = [
        ("last_value", pg_type::oid::INT8),
        ("log_cnt", pg_type::oid::INT8),
        ("is_called", pg_type::oid::BOOL),
    ];
    let columns = columns.into_iter().zip(1..);
    let columns = columns.map(|((name, pg_type), number)| Attribute {
        number,
        name: name.to_string(),
        pg_type: PgType::of_oid(pg_type),
        not_null: true,
        default: None,
        identity: "",
        domain: 0,
        is_generated: false,
        is_updatable: false,
    });
    Relation {
        oid: oid::sequence(sequence.id),
        namespace: oid::schema(&sequence.name.schema),
        schema: sequence.name.schema.clone(),
        name: sequence.name.name.clone(),
        source: Source::Sequence(Arc::clone(sequence)),
        columns: columns.collect(),
    }
}

fn of_engine(name: &str, schema: &Schema) -> Relation {
    Relation {
        oid: oid::view(SYSTEM_SCHEMA, name),
        namespace: oid::NAMESPACE_SHELFMARK,
        schema: SYSTEM_SCHEMA.to_string(),
        name: name.to_string(),
        source: Source::Engine,
        columns: attributes(schema),
    }
}

fn of_system(system: &'static SystemRelation) -> Relation {
    Relation {
        oid: system.oid,
        namespace: oid::schema(system.schema),
        schema: system.schema.to_string(),
        name: system.name.to_string(),
        source: Source::System(system),
        columns: attributes(&system.arrow),
    }
}

fn attributes(schema: &Schema) -> Vec<Attribute> {
    let fields = schema.fields().iter().enumerate();
    let attribute = |(i, field): (usize, &arrow::datatypes::FieldRef)| Attribute {
        number: i16::try_from(i + 1).unwrap_or(i16::MAX),
        name: field.name().clone(),
        pg_type: type_of(field),
        not_null: false,
        default: None,
        identity: "",
        domain: 0,
        is_generated: false,
        is_updatable: false,
    };
    fields.map(attribute).collect()
}
