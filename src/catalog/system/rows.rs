//! The rows of each system table.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::columns::Columns;
use crate::catalog::index_definition::{definition, part_text};
use crate::settings::Settings;
use crate::storage::access::{Object, Privilege, Rights};
use crate::storage::collection::{Collection, Segment};
use crate::storage::committer::VersionInfo;
use crate::storage::growing::GrowingSegment;
use crate::storage::index::Index;
use crate::storage::role::RoleId;
use crate::storage::schema::{CollectionOptions, CollectionSchema, Column, FieldId, SegmentId};
use crate::storage::snapshot::Snapshot;
use crate::storage::stats::{Bound, ColumnStats, VectorStats};
use crate::storage::store::Store;

pub(super) fn collections(snapshot: &Snapshot) -> Columns {
    let all = || snapshot.collections();
    let rows = |c: &Collection| -> u64 {
        let sealed: u64 = c.segments().map(|s| s.rows).sum();
        sealed + c.growing().iter().map(|g| g.rows).sum::<u64>()
    };
    let bytes = |c: &Collection| -> u64 {
        let sealed: u64 = c.segments().map(|s| s.bytes).sum();
        sealed + c.growing().iter().map(|g| g.bytes).sum::<u64>()
    };
    Columns::default()
        .text("collection", all().map(|c| c.name.name.clone()))
        .text("schema_name", all().map(|c| c.name.schema.clone()))
        .number("collection_id", all().map(|c| c.id.0))
        .number("rows", all().map(|c| rows(c)))
        .number("live_rows", all().map(|c| c.live_rows()))
        .number("segments", all().map(|c| c.segments().len() as u64))
        .number("growing_segments", all().map(|c| c.growing().len() as u64))
        .number("bytes", all().map(|c| bytes(c)))
        .text(
            "clustering_key",
            all().map(|c| names(&c.schema, &c.schema.clustering_key)),
        )
        .text(
            "primary_key",
            all().map(|c| names(&c.schema, &c.schema.primary_key)),
        )
        .text(
            "partition_key",
            all().map(|c| names(&c.schema, c.schema.partition_key.as_slice())),
        )
        .number("schema_version", all().map(|c| c.schema_version.0))
        .text("options", all().map(|c| options(&c.options)))
}

/// The names of some columns; `None` for none.
fn names(schema: &CollectionSchema, fields: &[FieldId]) -> Option<String> {
    let names = schema.names_of(fields);
    (!names.is_empty()).then_some(names)
}

fn options(options: &CollectionOptions) -> String {
    let texts = options
        .list()
        .map(|(name, value)| format!("{name}={value}"));
    texts.collect::<Vec<_>>().join(", ")
}

/// A segment of either kind.
enum AnySegment<'a> {
    Growing(&'a GrowingSegment),
    Sealed(&'a Segment),
}

impl AnySegment<'_> {
    fn id(&self) -> SegmentId {
        match self {
            Self::Growing(s) => s.id,
            Self::Sealed(s) => s.id,
        }
    }

    fn rows(&self) -> u64 {
        match self {
            Self::Growing(s) => s.rows,
            Self::Sealed(s) => s.rows,
        }
    }

    fn live_rows(&self) -> u64 {
        match self {
            Self::Growing(s) => s.live_rows(),
            Self::Sealed(s) => s.live_rows(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Growing(s) => s.bytes,
            Self::Sealed(s) => s.bytes,
        }
    }

    fn state(&self) -> String {
        let state = match self {
            Self::Growing(_) => "growing",
            Self::Sealed(_) => "sealed",
        };
        state.to_string()
    }

    fn sealed(&self) -> Option<&Segment> {
        match self {
            Self::Growing(_) => None,
            Self::Sealed(s) => Some(s),
        }
    }
}

pub(super) fn segments(snapshot: &Snapshot, store: Option<&Store>) -> Columns {
    let of = |c| {
        let sealed = Collection::segments(c).map(move |s| (c, AnySegment::Sealed(s)));
        let growing = c.growing().iter();
        sealed.chain(growing.map(move |g| (c, AnySegment::Growing(g))))
    };
    let all: Vec<_> = snapshot.collections().flat_map(|c| of(c)).collect();
    let path = |c: &Collection, s: &Segment| {
        let store = store?;
        let path = store.segment_path(c.id, s.id);
        let relative = path.strip_prefix(store.root()).unwrap_or(&path);
        Some(relative.display().to_string())
    };
    let sorted_by = |c: &Collection, s: &Segment| names(&c.schema, &s.sorted_by);
    let each = || all.iter();
    Columns::default()
        .text("collection", each().map(|(c, _)| c.name.to_string()))
        .number("segment_id", each().map(|(_, s)| s.id().0))
        .text("state", each().map(|(_, s)| s.state()))
        .number("rows", each().map(|(_, s)| s.rows()))
        .number("live_rows", each().map(|(_, s)| s.live_rows()))
        .number(
            "deleted_rows",
            each().map(|(_, s)| s.rows() - s.live_rows()),
        )
        .number("bytes", each().map(|(_, s)| s.bytes()))
        .text("sorted_by", each().map(|(c, s)| sorted_by(c, s.sealed()?)))
        .number("run", each().map(|(_, s)| s.sealed()?.run.map(|run| run.0)))
        .number(
            "level",
            each().map(|(_, s)| s.sealed().map(|s| u64::from(s.level))),
        )
        .number(
            "created_version",
            each().map(|(_, s)| s.sealed().map(|s| s.created.0)),
        )
        .text("file", each().map(|(c, s)| path(c, s.sealed()?)))
}

/// The statistics of one column of one segment.
enum AnyStats<'a> {
    Scalar(&'a ColumnStats),
    Vector(&'a VectorStats),
}

/// Bounds are values of rows: who may not read a collection does not see them.
pub(super) fn partition_stats(snapshot: &Snapshot, user: Option<RoleId>) -> Columns {
    let may_read = |collection: &Collection| {
        let object = Object::Collection(collection.id);
        user.is_none_or(|user| Rights::new(snapshot, user).may(&object, Privilege::Select))
    };
    let mut all: Vec<(&Collection, &Segment, &Column, AnyStats)> = Vec::new();
    for collection in snapshot.collections().filter(|c| may_read(c)) {
        for segment in collection.segments() {
            for column in &collection.schema.columns {
                let vectors = segment.stats.vectors.iter();
                let vector = vectors.into_iter().find(|v| v.field == column.id);
                let scalar = segment.stats.column(column.id).map(AnyStats::Scalar);
                if let Some(stats) = scalar.or(vector.map(AnyStats::Vector)) {
                    all.push((collection, segment, column, stats));
                }
            }
        }
    }
    let scalar = |stats: &AnyStats<'_>| match stats {
        AnyStats::Scalar(stats) => Some((*stats).clone()),
        AnyStats::Vector(_) => None,
    };
    let bound = |column: &Column, bound: Option<Bound>| {
        bound.and_then(|b| bound_text(&b, &column.column_type.arrow_type()))
    };
    let nulls = |stats: &AnyStats<'_>| match stats {
        AnyStats::Scalar(stats) => stats.null_count,
        AnyStats::Vector(stats) => stats.null_count,
    };
    let radius = |stats: &AnyStats<'_>| match stats {
        AnyStats::Scalar(_) => None,
        AnyStats::Vector(stats) => Some(stats.radius),
    };
    let each = || all.iter();
    Columns::default()
        .text("collection", each().map(|(c, ..)| c.name.to_string()))
        .number("segment_id", each().map(|(_, s, ..)| s.id.0))
        .text("column_name", each().map(|(_, _, c, _)| c.name.clone()))
        .text(
            "min_value",
            each().map(|(_, _, c, s)| bound(c, scalar(s)?.min)),
        )
        .text(
            "max_value",
            each().map(|(_, _, c, s)| bound(c, scalar(s)?.max)),
        )
        .flag(
            "min_exact",
            each().map(|(.., s)| scalar(s).map(|s| s.min_exact)),
        )
        .flag(
            "max_exact",
            each().map(|(.., s)| scalar(s).map(|s| s.max_exact)),
        )
        .number("null_count", each().map(|(.., s)| nulls(s)))
        .number(
            "nan_count",
            each().map(|(.., s)| scalar(s).map(|s| s.nan_count)),
        )
        .number("rows", each().map(|(_, s, ..)| s.rows))
        .double("radius", each().map(|(.., s)| radius(s)))
}

/// A bound as a query would show the value.
pub(crate) fn bound_text(bound: &Bound, data_type: &DataType) -> Option<String> {
    if let Bound::Bytes(bytes) = bound {
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        return Some(format!("\\x{digits}"));
    }
    let value = bound.to_scalar(data_type).ok()?;
    match value.cast_to(&DataType::Utf8).ok()? {
        ScalarValue::Utf8(text) => text,
        _ => None,
    }
}

pub(super) fn versions(versions: &[VersionInfo]) -> Columns {
    let all = || versions.iter();
    Columns::default()
        .number("version", all().map(|v| v.version.0))
        .instant("created_at", all().map(|v| v.timestamp_ms))
        .text("summary", all().map(|v| v.summary.clone()))
        .flag("retained", all().map(|v| Some(v.retained)))
}

pub(super) fn settings(settings: &Settings) -> Columns {
    let list = settings.list();
    let all = || list.iter();
    Columns::default()
        .text("name", all().map(|s| format!("shelfmark.{}", s.name)))
        .text("value", all().map(|s| s.value.clone()))
        .text("default", all().map(|s| s.default.clone()))
        .text("scope", all().map(|s| s.scope.name().to_string()))
        .text("description", all().map(|s| s.description.to_string()))
}

pub(super) fn indexes(snapshot: &Snapshot) -> Columns {
    let of = |c| {
        Collection::indexes(c)
            .iter()
            .map(move |index| (c, &**index))
    };
    let all: Vec<(&Collection, &Index)> = snapshot.collections().flat_map(|c| of(c)).collect();
    let columns = |c: &Collection, index: &Index| {
        let parts = index.keys.iter().map(|key| part_text(c, &key.part));
        parts.collect::<Vec<_>>().join(", ")
    };
    let covered: Vec<_> = all.iter().map(|(c, index)| Covered::of(c, index)).collect();
    let each = || all.iter();
    Columns::default()
        .text("index_name", each().map(|(_, i)| i.name.clone()))
        .text("schema_name", each().map(|(c, _)| c.name.schema.clone()))
        .text("collection", each().map(|(c, _)| c.name.name.clone()))
        .number("index_id", each().map(|(_, i)| i.id.0))
        .text("method", each().map(|(_, i)| i.method.clone()))
        .text("columns", each().map(|(c, i)| columns(c, i)))
        .flag("is_unique", each().map(|(_, i)| Some(i.is_unique)))
        .text("state", covered.iter().map(|c| c.state().to_string()))
        .number("segments", covered.iter().map(|c| c.segments))
        .number("segments_covered", covered.iter().map(|c| c.covered))
        .number("filter_bytes", covered.iter().map(|c| c.bytes))
        .text("definition", each().map(|(c, i)| definition(c, i)))
}

/// How far the bloom filters of an index are built.
struct Covered {
    has_filters: bool,
    segments: u64,
    covered: u64,
    bytes: u64,
}

impl Covered {
    fn of(collection: &Collection, index: &Index) -> Self {
        let fields: Vec<FieldId> = index.filter_fields(&collection.schema).collect();
        let segments = || collection.segments().map(|s| &**s);
        let is_covered = |s: &&Segment| fields.iter().all(|f| s.filter(*f).is_some());
        let filters = |s| fields.iter().filter_map(move |f| Segment::filter(s, *f));
        Self {
            has_filters: !fields.is_empty(),
            segments: segments().count() as u64,
            covered: segments().filter(is_covered).count() as u64,
            bytes: segments().flat_map(filters).map(|f| f.bytes).sum(),
        }
    }

    /// `recorded` is an index that needs nothing to be built.
    fn state(&self) -> &'static str {
        match self.has_filters {
            false => "recorded",
            true if self.covered < self.segments => "building",
            true => "ready",
        }
    }
}
