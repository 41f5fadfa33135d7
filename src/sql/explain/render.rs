//! A plan as text.

use std::time::Duration;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::metrics::MetricCategory;
use serde_json::{Value, json};

use super::options::{ExplainOptions, PlanFormat};
use crate::error::{Error, Result};

/// What there is to show.
pub struct Explained<'a> {
    pub options: &'a ExplainOptions,
    pub logical: &'a LogicalPlan,
    pub physical: &'a dyn ExecutionPlan,
    /// The variables that the session has set, as `name = 'value'`.
    pub settings: &'a [String],
    pub planning: Duration,
    /// How long the statement ran, where it did.
    pub running: Option<Duration>,
}

impl Explained<'_> {
    /// The rows of the answer.
    ///
    /// # Errors
    /// XX000 for a plan that has no JSON.
    pub fn rows(&self) -> Result<Vec<String>> {
        match self.options.format {
            PlanFormat::Text | PlanFormat::Tree => Ok(self.lines()),
            PlanFormat::Json => Ok(vec![self.json()?]),
        }
    }

    fn lines(&self) -> Vec<String> {
        let physical = match self.options.format {
            PlanFormat::Tree => self.displayable().tree_render().to_string(),
            _ => self.displayable().indent(self.options.verbose).to_string(),
        };
        let mut lines = Vec::new();
        if self.options.verbose {
            lines.push("Logical plan:".to_string());
            let logical = self.logical.display_indent().to_string();
            lines.extend(logical.lines().map(|line| format!("  {line}")));
            lines.push("Physical plan:".to_string());
            lines.extend(physical.trim_end().lines().map(|line| format!("  {line}")));
        } else {
            lines.extend(physical.trim_end().lines().map(str::to_string));
        }
        if !self.settings.is_empty() {
            lines.push(format!("Settings: {}", self.settings.join(", ")));
        }
        if self.options.summarizes() {
            lines.push(format!(
                "Planning Time: {:.3} ms",
                milliseconds(self.planning)
            ));
            if let Some(running) = self.running {
                lines.push(format!("Execution Time: {:.3} ms", milliseconds(running)));
            }
        }
        lines
    }

    fn json(&self) -> Result<String> {
        let text = self.displayable().pgjson(self.options.verbose).to_string();
        let broken = |e| Error::internal("the plan has no JSON").with_source(e);
        let mut document: Value = serde_json::from_str(&text).map_err(broken)?;
        if let Some(root) = document.get_mut(0).and_then(Value::as_object_mut) {
            if !self.settings.is_empty() {
                let pairs = self.settings.iter().filter_map(|s| s.split_once(" = "));
                let pairs =
                    pairs.map(|(name, value)| (name.to_string(), json!(value.trim_matches('\''))));
                root.insert("Settings".to_string(), Value::Object(pairs.collect()));
            }
            if self.options.summarizes() {
                root.insert("Planning Time".to_string(), rounded(self.planning));
                if let Some(running) = self.running {
                    root.insert("Execution Time".to_string(), rounded(running));
                }
            }
        }
        serde_json::to_string_pretty(&document).map_err(broken)
    }

    fn displayable(&self) -> DisplayableExecutionPlan<'_> {
        let plan = match self.options.analyze {
            true => DisplayableExecutionPlan::with_metrics(self.physical),
            false => DisplayableExecutionPlan::new(self.physical),
        };
        let plan = plan.set_show_statistics(self.options.costs);
        match self.options.timing {
            Some(false) => plan.set_metric_categories(Some(vec![
                MetricCategory::Rows,
                MetricCategory::Bytes,
                MetricCategory::Uncategorized,
            ])),
            _ => plan,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Milliseconds to three digits.
fn rounded(time: Duration) -> Value {
    json!((milliseconds(time) * 1e3).round() / 1e3)
}
