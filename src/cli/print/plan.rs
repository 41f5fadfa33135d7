//! The answer of EXPLAIN as plain lines.

use std::io::Write;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

use super::no_text;
use crate::cli::shell::Failure;

/// Whether the rows are DataFusion's answer to EXPLAIN.
pub fn is_plan(schema: &Schema) -> bool {
    let names = schema.fields().iter().map(|f| f.name().as_str());
    names.eq(["plan_type", "plan"])
}

/// Prints each plan under its name.
pub fn write(batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
    let text = |i: usize| cast(batch.column(i), &DataType::Utf8).map_err(no_text);
    let (kinds, plans) = (text(0)?, text(1)?);
    for (kind, plan) in kinds
        .as_string::<i32>()
        .iter()
        .zip(plans.as_string::<i32>())
    {
        writeln!(out, "{}:", kind.unwrap_or_default().replace('_', " "))?;
        for line in plan.unwrap_or_default().trim_end().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}
