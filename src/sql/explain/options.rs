//! The options of EXPLAIN.

use crate::error::{Error, Result, sqlstate};
use crate::sql::variables::boolean;

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum PlanFormat {
    /// Lines, an operator a line.
    #[default]
    Text,
    /// Lines that draw a tree.
    Tree,
    /// One JSON document.
    Json,
}

/// What EXPLAIN shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExplainOptions {
    /// ANALYZE: runs the statement and shows what happened.
    pub analyze: bool,
    /// VERBOSE: shows the logical plan too.
    pub verbose: bool,
    /// COSTS: shows the numbers of rows that are expected.
    pub costs: bool,
    /// TIMING: shows times of operators.
    pub timing: Option<bool>,
    /// SUMMARY: shows the times of planning and running; by default with ANALYZE.
    pub summary: Option<bool>,
    /// SETTINGS: shows the variables that the session has set.
    pub settings: bool,
    /// FORMAT.
    pub format: PlanFormat,
}

impl ExplainOptions {
    /// Sets an option by its name, as in `EXPLAIN (name value)`.
    ///
    /// # Errors
    /// 42601 for an unknown option, 22023 for a value that it cannot have, 0A000 for a format that we do not write.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let on = || {
            boolean(value).ok_or_else(|| {
                let message = format!("{name} requires a Boolean value");
                Error::invalid(sqlstate::SYNTAX_ERROR, message)
            })
        };
        match name {
            "analyze" => self.analyze = on()?,
            "verbose" => self.verbose = on()?,
            "costs" => self.costs = on()?,
            "timing" => self.timing = Some(on()?),
            "summary" => self.summary = Some(on()?),
            "settings" => self.settings = on()?,
            // There are neither shared buffers nor records of a write-ahead log to count.
            "buffers" | "wal" => drop(on()?),
            "format" => self.set_format(value)?,
            _ => {
                let message = format!("unrecognized EXPLAIN option \"{name}\"");
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        }
        Ok(())
    }

    /// Sets the format by its name.
    ///
    /// # Errors
    /// 22023 for an unknown one, 0A000 for one that we do not write.
    pub fn set_format(&mut self, name: &str) -> Result<()> {
        self.format = match name.to_ascii_lowercase().as_str() {
            "text" | "indent" => PlanFormat::Text,
            "tree" => PlanFormat::Tree,
            "json" | "pgjson" => PlanFormat::Json,
            "xml" | "yaml" => {
                let message = format!("EXPLAIN (FORMAT {name}) is not supported");
                return Err(
                    Error::unsupported(message).with_hint("The formats are TEXT, TREE and JSON.")
                );
            }
            _ => {
                let message =
                    format!("unrecognized value for EXPLAIN option \"format\": \"{name}\"");
                return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        };
        Ok(())
    }

    /// That the options go together.
    ///
    /// # Errors
    /// 22023 for TIMING without ANALYZE.
    pub fn check(&self) -> Result<()> {
        if self.timing == Some(true) && !self.analyze {
            let message = "EXPLAIN option TIMING requires ANALYZE";
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        Ok(())
    }

    /// Whether the times of planning and running are shown.
    pub fn summarizes(&self) -> bool {
        self.summary.unwrap_or(self.analyze)
    }
}
