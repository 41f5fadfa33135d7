//! The catalogs of relations: `pg_class`, `pg_attribute`, `pg_attrdef`, `pg_index`, `pg_constraint`, `pg_rewrite`.

use super::access::{acl, owner};
use super::context::PgContext;
use super::fixed::{FUNCTIONS, TYPES, lines, named_type};
use super::objects::{Attribute, Objects, Relation, Source, attribute_number};
use super::oid;
use super::references::linked;
use super::rows::{Rows, Value};
use crate::catalog::pg_type::{self, PgType, enum_oid, is_enum_oid};
use crate::storage::collection::Collection;
use crate::storage::index::{IndexKey, IndexPart};
use crate::storage::schema::{CollectionOptions, ColumnType, FieldId};
use crate::storage::sequence::Generates;
use crate::storage::snapshot::TEMPORARY_SCHEMA;
use crate::storage::unique::KeyId;

/// Bytes of what PostgreSQL calls a page.
const PAGE_BYTES: u64 = 8192;

/// Bytes of a collection's segments, sealed and growing.
pub(super) fn bytes_of(collection: &Collection) -> u64 {
    let sealed: u64 = collection.segments().map(|s| s.bytes).sum();
    sealed + collection.growing().iter().map(|g| g.bytes).sum::<u64>()
}

pub(super) fn pg_class(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    let linked = linked(objects);
    for relation in &objects.relations {
        let collection = relation.collection();
        let is_view = relation.kind() == "v";
        let access_method = match &relation.source {
            _ if relation.divided().is_some() => 0,
            Source::Collection(_) | Source::System(_) if !is_view => oid::AM_SHELFMARK,
            Source::View(_) if !is_view => oid::AM_SHELFMARK,
            Source::KeyIndex(_) => oid::AM_BTREE,
            Source::Index(_, index) => method(&index.method),
            _ => 0,
        };
        let pages = collection.map_or(0, |c| bytes_of(c).div_ceil(PAGE_BYTES));
        let live = collection.map(|c| c.live_rows() as f64);
        let object = relation.object();
        let privileges = match relation.kind() {
            "i" => Value::Null,
            _ => acl(context, object.as_ref()),
        };
        rows.push(&[
            ("oid", relation.oid.into()),
            ("relname", relation.name.as_str().into()),
            ("relnamespace", relation.namespace.into()),
            ("relowner", owner(context, object.as_ref()).into()),
            ("relam", access_method.into()),
            ("relfilenode", if is_view { 0 } else { relation.oid }.into()),
            ("relpages", i64::try_from(pages).unwrap_or(i64::MAX).into()),
            ("reltuples", live.unwrap_or(0.0).into()),
            (
                "relhasindex",
                collection.is_some_and(|c| has_indexes(c)).into(),
            ),
            ("relpersistence", persistence(relation).into()),
            ("relkind", relation.kind().into()),
            (
                "relchecks",
                collection
                    .map_or(0, |c| c.schema.checks.len() as i64)
                    .into(),
            ),
            ("relnatts", (relation.columns.len() as i64).into()),
            ("relispartition", relation.partition().is_some().into()),
            (
                "relpartbound",
                relation.partition().map(|of| of.bound.definition()).into(),
            ),
            (
                "relhassubclass",
                collection
                    .is_some_and(|c| !c.partitions().is_empty())
                    .into(),
            ),
            ("relhasrules", (is_view || relation.kind() == "m").into()),
            ("relhastriggers", linked.contains(&relation.oid).into()),
            (
                "relispopulated",
                collection.is_none_or(|c| c.is_populated()).into(),
            ),
            (
                "relreplident",
                if collection.is_some() { "d" } else { "n" }.into(),
            ),
            ("relacl", privileges),
            ("reloptions", reloptions(relation).into()),
        ]);
    }
}

/// `t` for what one session has, `p` for others.
fn persistence(relation: &Relation) -> &'static str {
    match relation.schema == TEMPORARY_SCHEMA {
        true => "t",
        false => "p",
    }
}

/// Whether an index belongs to the collection.
pub(super) fn has_indexes(collection: &Collection) -> bool {
    !collection.schema.primary_key.is_empty() || !collection.indexes().is_empty()
}

/// The access method of that name.
fn method(name: &str) -> u32 {
    match name {
        "hash" => 405,
        "gist" => 783,
        "gin" => 2742,
        "spgist" => 4000,
        "brin" => 3580,
        "hnsw" => oid::AM_HNSW,
        "ivfflat" => oid::AM_IVFFLAT,
        _ => oid::AM_BTREE,
    }
}

fn reloptions(relation: &Relation) -> Option<Vec<String>> {
    match &relation.source {
        Source::Collection(collection) => options(collection),
        Source::Index(_, index) => written(&index.options),
        Source::View(view) => written(&view.options),
        _ => None,
    }
}

/// Options as they were written; `None` where there are none.
fn written(options: &[(String, String)]) -> Option<Vec<String>> {
    let texts = options
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    (!options.is_empty()).then(|| texts.collect())
}

/// Keys and options as `\d+` shows them; `None` when all is as by default.
fn options(collection: &Collection) -> Option<Vec<String>> {
    let names = |fields: &[FieldId]| collection.schema.names_of(fields);
    let text = |(name, value): (&str, String)| format!("{name}={value}");
    let mut options = Vec::new();
    let schema = &collection.schema;
    if !schema.clustering_key.is_empty() {
        options.push(format!("cluster_by=({})", names(&schema.clustering_key)));
    }
    if let Some(partition) = schema.partition_key {
        options.push(format!("partition_key={}", names(&[partition])));
    }
    let usual: Vec<_> = CollectionOptions::default().list().map(text).collect();
    let own = collection.options.list().map(text);
    options.extend(own.filter(|option| !usual.contains(option)));
    (!options.is_empty()).then_some(options)
}

pub(super) fn pg_attribute(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        for column in &relation.columns {
            rows.push(&attribute(relation, column));
        }
    }
}

fn attribute(relation: &Relation, column: &Attribute) -> [(&'static str, Value); 19] {
    let PgType { oid, typmod, .. } = column.pg_type;
    let described = named_type(oid);
    let is_array = column.pg_type.element().is_some();
    let domain = column.domain != 0;
    let (is_enum, is_list) = (is_enum_oid(oid), described.is_none() && is_array);
    [
        ("attrelid", relation.oid.into()),
        ("attname", column.name.as_str().into()),
        ("atttypid", if domain { column.domain } else { oid }.into()),
        ("attstattarget", Value::Int(-1)),
        (
            "attlen",
            described.map_or(column.pg_type.length, |t| t.length).into(),
        ),
        ("attnum", column.number.into()),
        ("attcacheoff", Value::Int(-1)),
        ("atttypmod", if domain { -1 } else { typmod }.into()),
        (
            "attndims",
            i64::from(is_list || described.is_some_and(|t| t.element != 0)).into(),
        ),
        ("attbyval", described.map_or(is_enum, |t| t.by_value).into()),
        ("attalign", described.map_or("i", |t| t.align).into()),
        (
            "attstorage",
            described
                .map_or(if is_list { "x" } else { "p" }, |t| t.storage)
                .into(),
        ),
        ("attcompression", "".into()),
        ("attnotnull", column.not_null.into()),
        ("atthasdef", column.default.is_some().into()),
        ("attidentity", column.identity.into()),
        (
            "attgenerated",
            if column.is_generated { "s" } else { "" }.into(),
        ),
        ("attislocal", true.into()),
        ("attcollation", oid::collation_of(oid).into()),
    ]
}

pub(super) fn pg_attrdef(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        for column in &relation.columns {
            if let Some((oid, text)) = &column.default {
                rows.push(&[
                    ("oid", (*oid).into()),
                    ("adrelid", relation.oid.into()),
                    ("adnum", column.number.into()),
                    ("adbin", text.as_str().into()),
                ]);
            }
        }
    }
}

/// The numbers of the primary key's columns.
fn key_numbers(collection: &Collection) -> Vec<i16> {
    let key = collection.schema.primary_key.iter();
    key.map(|id| attribute_number(*id)).collect()
}

pub(super) fn pg_index(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        match &relation.source {
            Source::KeyIndex(collection) => {
                let keys = key_numbers(collection);
                let mut cells = index_cells(relation, collection, keys.clone());
                cells.extend([
                    ("indisunique", true.into()),
                    ("indisprimary", true.into()),
                    ("indimmediate", true.into()),
                    ("indoption", vec![0_i16; keys.len()].into()),
                ]);
                rows.push(&cells);
            }
            Source::Index(collection, index) => {
                let number = |key: &IndexKey| match key.part {
                    IndexPart::Column(field) => attribute_number(field),
                    IndexPart::Expression(_) => 0,
                };
                let keys: Vec<i16> = index.keys.iter().map(number).collect();
                let included = index.include.iter().map(|field| attribute_number(*field));
                let all: Vec<i16> = keys.iter().copied().chain(included).collect();
                let mut cells = index_cells(relation, collection, keys);
                cells.retain(|(name, _)| !matches!(*name, "indkey" | "indnatts"));
                let expression = index.keys.iter().find_map(|key| match &key.part {
                    IndexPart::Expression(text) => Some(text.as_str()),
                    IndexPart::Column(_) => None,
                });
                let options = index.keys.iter().map(key_options);
                cells.extend([
                    ("indnatts", (all.len() as i64).into()),
                    ("indkey", all.into()),
                    ("indisunique", index.is_unique.into()),
                    ("indnullsnotdistinct", index.nulls_equal.into()),
                    ("indimmediate", true.into()),
                    ("indoption", options.collect::<Vec<_>>().into()),
                    ("indexprs", expression.into()),
                    ("indpred", index.predicate.as_deref().into()),
                ]);
                rows.push(&cells);
            }
            _ => {}
        }
    }
}

/// The bits of DESC and NULLS FIRST.
fn key_options(key: &IndexKey) -> i16 {
    const DESCENDING: i16 = 1;
    const NULLS_FIRST: i16 = 2;
    let nulls_first = key.nulls_first.unwrap_or(key.descending);
    i16::from(key.descending) * DESCENDING + i16::from(nulls_first) * NULLS_FIRST
}

/// What indexes of both kinds have in common.
fn index_cells(
    relation: &Relation,
    collection: &Collection,
    keys: Vec<i16>,
) -> Vec<(&'static str, Value)> {
    let types = relation.columns.iter().map(|c| c.pg_type.oid);
    let collations: Vec<u32> = types.clone().map(oid::collation_of).collect();
    vec![
        ("indexrelid", relation.oid.into()),
        ("indrelid", oid::collection(collection.id).into()),
        ("indnatts", (keys.len() as i64).into()),
        ("indnkeyatts", (keys.len() as i64).into()),
        ("indisvalid", true.into()),
        ("indisready", true.into()),
        ("indislive", true.into()),
        ("indkey", keys.into()),
        ("indcollation", collations.into()),
        (
            "indclass",
            types.map(operator_class).collect::<Vec<_>>().into(),
        ),
    ]
}

/// The default btree operator class of a type: those of `pg_opclass` are made alike.
pub(super) fn operator_class(type_oid: u32) -> u32 {
    const FIRST: u32 = 10_000;
    FIRST + type_oid % 10_000
}

fn domain_constraints(rows: &mut Rows, objects: &Objects) {
    for domain in &objects.domains {
        for check in &domain.checks {
            rows.push(&[
                ("oid", oid::domain_check(check.id).into()),
                ("conname", check.name.as_str().into()),
                ("connamespace", oid::schema(&domain.name.schema).into()),
                ("contype", "c".into()),
                ("convalidated", check.is_validated.into()),
                ("contypid", enum_oid(domain.id).into()),
                ("confupdtype", " ".into()),
                ("confdeltype", " ".into()),
                ("confmatchtype", " ".into()),
                ("conislocal", true.into()),
                ("conbin", check.condition.as_str().into()),
            ]);
        }
    }
}

pub(super) fn pg_constraint(rows: &mut Rows, objects: &Objects) {
    domain_constraints(rows, objects);
    for relation in &objects.relations {
        let Some(collection) = relation.collection() else {
            continue;
        };
        for check in &collection.schema.checks {
            let columns = check.columns.iter().map(|id| attribute_number(*id));
            rows.push(&[
                ("oid", oid::check(collection.id, &check.name).into()),
                ("conname", check.name.as_str().into()),
                ("connamespace", relation.namespace.into()),
                ("contype", "c".into()),
                ("convalidated", true.into()),
                ("conrelid", relation.oid.into()),
                ("confupdtype", " ".into()),
                ("confdeltype", " ".into()),
                ("confmatchtype", " ".into()),
                ("conislocal", true.into()),
                ("conkey", columns.collect::<Vec<i16>>().into()),
                ("conbin", check.condition.as_str().into()),
            ]);
        }
        let keys = collection.unique_keys().into_iter();
        for key in keys.filter(|key| key.is_constraint) {
            let (constraint, index, kind) = match key.id {
                KeyId::Primary => {
                    let id = collection.id;
                    (oid::key_constraint(id), oid::key_index(id), "p")
                }
                KeyId::Index(id) => (oid::index_constraint(id), oid::index(id), "u"),
            };
            let columns = key.fields.iter().map(|id| attribute_number(*id));
            rows.push(&[
                ("oid", constraint.into()),
                ("conname", key.name.as_str().into()),
                ("connamespace", relation.namespace.into()),
                ("contype", kind.into()),
                ("convalidated", true.into()),
                ("conrelid", relation.oid.into()),
                ("conindid", index.into()),
                ("confupdtype", " ".into()),
                ("confdeltype", " ".into()),
                ("confmatchtype", " ".into()),
                ("conislocal", true.into()),
                ("connoinherit", true.into()),
                ("conkey", columns.collect::<Vec<i16>>().into()),
            ]);
        }
    }
}

/// The type of a sequence's numbers.
pub(super) fn number_type(data_type: &ColumnType) -> u32 {
    match data_type {
        ColumnType::SmallInt => pg_type::oid::INT2,
        ColumnType::Integer => pg_type::oid::INT4,
        _ => pg_type::oid::INT8,
    }
}

pub(super) fn pg_sequence(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        let Source::Sequence(sequence) = &relation.source else {
            continue;
        };
        rows.push(&[
            ("seqrelid", relation.oid.into()),
            ("seqtypid", number_type(&sequence.data_type).into()),
            ("seqstart", sequence.start.into()),
            ("seqincrement", sequence.increment.into()),
            ("seqmax", sequence.max.into()),
            ("seqmin", sequence.min.into()),
            ("seqcache", sequence.cache.into()),
            ("seqcycle", sequence.cycle.into()),
        ]);
    }
}

pub(super) fn pg_rewrite(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        if let Source::View(view) = &relation.source
            && view.partition.is_none()
        {
            rows.push(&[
                ("oid", oid::rule(relation.oid).into()),
                ("rulename", "_RETURN".into()),
                ("ev_class", relation.oid.into()),
                ("ev_type", "1".into()),
                ("ev_enabled", "O".into()),
                ("is_instead", true.into()),
                ("ev_qual", "<>".into()),
                ("ev_action", view.query.as_str().into()),
            ]);
        }
    }
}

pub(super) fn pg_depend(rows: &mut Rows, objects: &Objects) {
    const INTERNAL: &str = "i";
    const NORMAL: &str = "n";
    const EXTENSION: &str = "e";
    let of_vector = |text, class: u32| {
        let oids = lines(text).filter_map(|line| line.first()?.parse::<u32>().ok());
        let own = oids.filter(|object| *object >= oid::FIRST_USER);
        own.map(move |object| (class, object))
    };
    let members = of_vector(TYPES, oid::PG_TYPE).chain(of_vector(FUNCTIONS, oid::PG_PROC));
    for (class, object) in members {
        rows.push(&[
            ("classid", class.into()),
            ("objid", object.into()),
            ("refclassid", oid::PG_EXTENSION.into()),
            ("refobjid", oid::EXTENSION_VECTOR.into()),
            ("deptype", EXTENSION.into()),
        ]);
    }
    for relation in &objects.relations {
        if let Source::Sequence(sequence) = &relation.source
            && let Some(owner) = sequence.owner
        {
            let identity = matches!(
                owner.generates,
                Some(Generates::ByDefault | Generates::Always)
            );
            rows.push(&[
                ("classid", oid::PG_CLASS.into()),
                ("objid", relation.oid.into()),
                ("refclassid", oid::PG_CLASS.into()),
                ("refobjid", oid::collection(owner.collection).into()),
                ("refobjsubid", attribute_number(owner.field).into()),
                ("deptype", if identity { INTERNAL } else { "a" }.into()),
            ]);
        }
        let constraint = match &relation.source {
            Source::KeyIndex(collection) => Some(oid::key_constraint(collection.id)),
            Source::Index(_, index) if index.is_constraint => Some(oid::index_constraint(index.id)),
            _ => None,
        };
        if let Some(constraint) = constraint {
            rows.push(&[
                ("classid", oid::PG_CLASS.into()),
                ("objid", relation.oid.into()),
                ("refclassid", oid::PG_CONSTRAINT.into()),
                ("refobjid", constraint.into()),
                ("deptype", INTERNAL.into()),
            ]);
        } else if relation.is_user() {
            rows.push(&[
                ("classid", oid::PG_CLASS.into()),
                ("objid", relation.oid.into()),
                ("refclassid", oid::PG_NAMESPACE.into()),
                ("refobjid", relation.namespace.into()),
                ("deptype", NORMAL.into()),
            ]);
        }
    }
}
