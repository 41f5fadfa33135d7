//! PostgreSQL's views over its catalogs: `pg_tables`, `pg_views`, `pg_indexes`, `pg_stats`, `pg_stat_user_tables`, ...

use super::access::owner_name;
use super::class::{bytes_of, has_indexes, number_type};
use super::context::PgContext;
use super::definition::{index_definition, quote_ident};
use super::objects::{Objects, Relation, Source};
use super::oid;
use super::rows::{Rows, Value};
use crate::storage::collection::Collection;

pub(super) fn pg_tables(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for relation in objects
        .relations
        .iter()
        .filter(|r| matches!(r.kind(), "r" | "p"))
    {
        let collection = relation.collection();
        let has_indexes = collection.is_some_and(|c| has_indexes(c));
        rows.push(&[
            ("schemaname", relation.schema.as_str().into()),
            ("tablename", relation.name.as_str().into()),
            ("tableowner", owner_name(context, relation).into()),
            ("hasindexes", has_indexes.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
}

pub(super) fn pg_views(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for relation in objects.relations.iter().filter(|r| r.kind() == "v") {
        rows.push(&[
            ("schemaname", relation.schema.as_str().into()),
            ("viewname", relation.name.as_str().into()),
            ("viewowner", owner_name(context, relation).into()),
            ("definition", definition(relation).into()),
        ]);
    }
}

pub(super) fn pg_matviews(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for relation in objects.relations.iter().filter(|r| r.kind() == "m") {
        let Some(collection) = relation.collection() else {
            continue;
        };
        rows.push(&[
            ("schemaname", relation.schema.as_str().into()),
            ("matviewname", relation.name.as_str().into()),
            ("matviewowner", owner_name(context, relation).into()),
            ("hasindexes", has_indexes(collection).into()),
            ("ispopulated", collection.is_populated().into()),
            ("definition", definition(relation).into()),
        ]);
    }
}

pub(super) fn pg_sequences(rows: &mut Rows, context: &PgContext, objects: &Objects) {
    for relation in &objects.relations {
        let Source::Sequence(sequence) = &relation.source else {
            continue;
        };
        let position = context.sequences.position(sequence);
        rows.push(&[
            ("schemaname", relation.schema.as_str().into()),
            ("sequencename", relation.name.as_str().into()),
            ("sequenceowner", owner_name(context, relation).into()),
            ("data_type", number_type(&sequence.data_type).into()),
            ("start_value", sequence.start.into()),
            ("min_value", sequence.min.into()),
            ("max_value", sequence.max.into()),
            ("increment_by", sequence.increment.into()),
            ("cycle", sequence.cycle.into()),
            ("cache_size", sequence.cache.into()),
            (
                "last_value",
                position.is_called.then_some(position.last).into(),
            ),
        ]);
    }
}

/// The query of a view, with the semicolon that PostgreSQL ends it with.
pub(super) fn definition(relation: &Relation) -> Option<String> {
    match &relation.source {
        Source::View(view) if view.partition.is_some() => None,
        Source::View(view) => Some(format!("{};", view.query)),
        Source::Collection(collection) => {
            let of = collection.materialized.as_ref()?;
            let names = collection.schema.columns.iter().map(|c| c.name.as_str());
            if names.clone().eq(of.names.iter().map(String::as_str)) {
                return Some(format!("{};", of.query));
            }
            // Columns that have names of their own get them again.
            let names: Vec<String> = names.map(quote_ident).collect();
            let names = names.join(", ");
            Some(format!("SELECT * FROM ({}) AS q ({names});", of.query))
        }
        _ => None,
    }
}

pub(super) fn pg_indexes(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        if let Source::KeyIndex(collection) | Source::Index(collection, _) = &relation.source {
            rows.push(&[
                ("schemaname", relation.schema.as_str().into()),
                ("tablename", collection.name.name.as_str().into()),
                ("indexname", relation.name.as_str().into()),
                ("indexdef", index_definition(relation).into()),
            ]);
        }
    }
}

pub(super) fn pg_stat_user_tables(rows: &mut Rows, objects: &Objects) {
    for (relation, collection) in collections(objects) {
        let sealed: u64 = collection.segments().map(|s| s.rows).sum();
        let growing: u64 = collection.growing().iter().map(|g| g.rows).sum();
        let live = collection.live_rows();
        let zeros = [
            "seq_scan",
            "seq_tup_read",
            "n_tup_ins",
            "n_tup_upd",
            "n_tup_del",
            "n_tup_hot_upd",
            "n_mod_since_analyze",
            "n_ins_since_vacuum",
            "vacuum_count",
            "autovacuum_count",
            "analyze_count",
            "autoanalyze_count",
        ];
        let mut cells: Vec<(&str, Value)> = zeros.map(|name| (name, Value::Int(0))).into();
        cells.extend([
            ("relid", relation.oid.into()),
            ("schemaname", relation.schema.as_str().into()),
            ("relname", relation.name.as_str().into()),
            ("n_live_tup", number(live)),
            (
                "n_dead_tup",
                number((sealed + growing).saturating_sub(live)),
            ),
        ]);
        rows.push(&cells);
    }
}

/// `pg_statio_user_tables`: nothing is counted, but every collection is there.
pub(super) fn pg_statio_user_tables(rows: &mut Rows, objects: &Objects) {
    for (relation, collection) in collections(objects) {
        rows.push(&[
            ("relid", relation.oid.into()),
            ("schemaname", relation.schema.as_str().into()),
            ("relname", relation.name.as_str().into()),
            ("heap_blks_read", number(bytes_of(collection) / 8192)),
            ("heap_blks_hit", Value::Int(0)),
        ]);
    }
}

pub(super) fn pg_stat_user_indexes(rows: &mut Rows, objects: &Objects) {
    for relation in &objects.relations {
        if let Source::KeyIndex(collection) | Source::Index(collection, _) = &relation.source {
            rows.push(&[
                ("relid", oid::collection(collection.id).into()),
                ("indexrelid", relation.oid.into()),
                ("schemaname", relation.schema.as_str().into()),
                ("relname", collection.name.name.as_str().into()),
                ("indexrelname", relation.name.as_str().into()),
                ("idx_scan", Value::Int(0)),
                ("idx_tup_read", Value::Int(0)),
                ("idx_tup_fetch", Value::Int(0)),
            ]);
        }
    }
}

/// `pg_stats`: the share of NULLs of each column, from the statistics of its segments.
pub(super) fn pg_stats(rows: &mut Rows, objects: &Objects) {
    for (relation, collection) in collections(objects) {
        let total: u64 = collection.segments().map(|s| s.rows).sum();
        if total == 0 {
            continue;
        }
        for column in &collection.schema.columns {
            let of = |s: &crate::storage::collection::Segment| {
                s.stats.column(column.id).map(|stats| stats.null_count)
            };
            let nulls = collection.segments().map(|s| of(s)).sum::<Option<u64>>();
            rows.push(&[
                ("schemaname", relation.schema.as_str().into()),
                ("tablename", relation.name.as_str().into()),
                ("attname", column.name.as_str().into()),
                ("inherited", false.into()),
                ("null_frac", nulls.map(|n| n as f64 / total as f64).into()),
            ]);
        }
    }
}

fn collections(objects: &Objects) -> impl Iterator<Item = (&Relation, &Collection)> {
    let relations = objects.relations.iter();
    relations.filter_map(|r| Some((r, r.collection()?.as_ref())))
}

fn number(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
