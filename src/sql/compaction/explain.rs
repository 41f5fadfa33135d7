//! EXPLAIN COMPACT: what the statement would do now, without doing it.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;
use serde_json::{Value, json};

use super::request::request;
use super::{label, targets};
use crate::catalog::system::bound_text;
use crate::compaction::depth::{Depth, Edge};
use crate::compaction::policy::{Choice, Request, choose, limits};
use crate::compaction::preview::{GroupPreview, Preview};
use crate::compaction::ranges::Limits;
use crate::compaction::scheduler::check_enabled;
use crate::error::Result;
use crate::settings::{ByteSize, Settings};
use crate::sql::command::CommandNode;
use crate::sql::explain::{PlanFormat, schema};
use crate::sql::session::Planning;
use crate::sql::statement::Compact;
use crate::storage::collection::Collection;
use crate::storage::committer::now_ms;
use crate::storage::key_model::KEY_TYPE;
use crate::storage::schema::{FieldId, SegmentId};
use crate::storage::stats::Bound;

/// The most inputs that are named one by one.
const INPUTS_NAMED_MAX: usize = 10;

/// The plan of EXPLAIN COMPACT, which answers in `format`.
///
/// # Errors
/// Those of the request.
pub(in crate::sql) fn explain(
    planning: &Planning<'_>,
    compact: &Compact,
    format: PlanFormat,
) -> Result<LogicalPlan> {
    let request = request(planning, compact)?;
    let schema = schema(format);
    let label = format!("Explain{}", label(compact));
    let (session, compact) = (planning.session.clone(), compact.clone());
    let answer = SchemaRef::clone(&schema);
    let action = move || {
        let (session, compact) = (session.clone(), compact.clone());
        let (request, schema) = (request.clone(), SchemaRef::clone(&answer));
        async move {
            let settings = &session.inner.core.engine.settings;
            let snapshot = session.newest();
            let mut explained = Vec::new();
            for collection in targets(&session, &snapshot, &compact, request.kind)? {
                check_enabled(request.kind, collection, settings)?;
                explained.push(Explained::new(collection, &request, settings)?);
            }
            let lines: Vec<String> = match format {
                PlanFormat::Json => {
                    let all = explained.iter().map(Explained::json).collect();
                    vec![format!("{:#}", Value::Array(all))]
                }
                PlanFormat::Text | PlanFormat::Tree => {
                    explained.iter().flat_map(Explained::lines).collect()
                }
            };
            let lines: ArrayRef = Arc::new(StringArray::from(lines));
            Ok(RecordBatch::try_new(schema, vec![lines])?)
        }
        .boxed()
    };
    CommandNode::plan(label, schema, Arc::new(action))
}

/// What would be done to one collection.
struct Explained<'a> {
    collection: &'a Collection,
    kind: &'static str,
    reason: String,
    limits: Limits,
    preview: Option<Preview>,
}

impl<'a> Explained<'a> {
    fn new(collection: &'a Collection, request: &Request, settings: &Settings) -> Result<Self> {
        let limits = limits(collection, request, settings);
        let (reason, preview) = match choose(collection, request, settings, now_ms())? {
            Choice::NothingToDo(reason) => (reason, None),
            Choice::Work(work) => {
                let preview = Preview::new(collection, &work, limits);
                (work.reason, Some(preview))
            }
        };
        Ok(Self {
            collection,
            kind: request.kind.as_str(),
            reason,
            limits,
            preview,
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("Compact: {}, {}", self.collection.name, self.kind)];
        let Some(preview) = &self.preview else {
            lines.push(format!("  Nothing to do: {}", self.reason));
            return lines;
        };
        let total = |of: fn(&GroupPreview) -> u64| preview.groups.iter().map(of).sum::<u64>();
        lines.push(format!("  Reason: {}", self.reason));
        lines.push(format!(
            "  Inputs: {} sealed and {} growing segments, {} rows, {}",
            total(|g| g.sealed.len() as u64),
            total(|g| g.growing.len() as u64),
            total(|g| g.weight.rows),
            about(total(|g| g.bytes)),
        ));
        lines.push(format!(
            "  Outputs: about {}, each of {} rows and {} at most",
            total(|g| g.outputs),
            self.limits.rows,
            ByteSize(self.limits.bytes),
        ));
        if let (Some(before), Some(after)) = (&preview.before, &preview.after) {
            lines.push(format!(
                "  Depth: {:.2}, expected {:.2}",
                before.average_depth, after.average_depth
            ));
            lines.push(format!(
                "  Overlaps: {:.2}, expected {:.2}",
                before.average_overlaps, after.average_overlaps
            ));
        }
        let groups = preview.groups.iter().enumerate();
        lines.extend(groups.map(|(i, group)| self.group_line(i + 1, group)));
        lines
    }

    fn group_line(&self, number: usize, group: &GroupPreview) -> String {
        let inputs = || group.sealed.iter().chain(&group.growing);
        let count = inputs().count();
        let named: Vec<String> = inputs()
            .take(INPUTS_NAMED_MAX)
            .map(SegmentId::to_string)
            .collect();
        let more = match count.saturating_sub(INPUTS_NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let keys = match &group.keys {
            Some((low, high)) => format!(", keys {} to {}", self.key(low), self.key(high)),
            None => String::new(),
        };
        format!(
            "  Group {number}: segments {}{more}{keys}, {}, into about {}",
            named.join(", "),
            about(group.bytes),
            group.outputs
        )
    }

    /// A key as a row of its columns.
    fn key(&self, edges: &[Edge]) -> String {
        let columns = self.collection.schema.clustering_key.iter();
        let is_computed = |field: &FieldId| self.collection.schema.computed_key(*field).is_some();
        let text = |(edge, field): (&Edge, &FieldId)| match edge {
            Edge::Null => "NULL".to_string(),
            Edge::Nan => "NaN".to_string(),
            Edge::Highest => "..".to_string(),
            // Of a segment that was not sorted by it.
            Edge::Value(Bound::Int(i64::MIN)) if is_computed(field) => "..".to_string(),
            Edge::Value(bound) => {
                let column = self.collection.schema.column_by_id(*field);
                let key_type = column.map_or(KEY_TYPE, |c| c.column_type.arrow_type());
                bound_text(bound, &key_type).unwrap_or_default()
            }
        };
        let texts: Vec<String> = edges.iter().zip(columns).map(text).collect();
        format!("({})", texts.join(", "))
    }

    fn json(&self) -> Value {
        let mut object = json!({
            "Collection": self.collection.name.to_string(),
            "Kind": self.kind,
            "Reason": self.reason,
            "Groups": [],
        });
        let Some(preview) = &self.preview else {
            return object;
        };
        let depth = |depth: &Option<Depth>| {
            depth.as_ref().map(|d| {
                json!({ "Average Depth": d.average_depth, "Average Overlaps": d.average_overlaps })
            })
        };
        let groups = preview.groups.iter().map(|group| {
            let ids = |ids: &[SegmentId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
            let keys = group.keys.as_ref();
            json!({
                "Sealed Segments": ids(&group.sealed),
                "Growing Segments": ids(&group.growing),
                "Rows": group.weight.rows,
                "Bytes": group.bytes,
                "Least Key": keys.map(|(low, _)| self.key(low)),
                "Greatest Key": keys.map(|(_, high)| self.key(high)),
                "Expected Outputs": group.outputs,
            })
        });
        object["Groups"] = groups.collect();
        object["Before"] = json!(depth(&preview.before));
        object["Expected"] = json!(depth(&preview.after));
        object
    }
}

/// A number of bytes with the digits that matter.
fn about(bytes: u64) -> ByteSize {
    let shift = [20, 10].into_iter().find(|s| bytes >= 10 << s);
    let shift = shift.unwrap_or(0);
    ByteSize(bytes >> shift << shift)
}
