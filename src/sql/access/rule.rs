//! The last door: no plan is run by a session whose user may not, whichever way it came in. A plan that is kept is
//! analysed each time, and so checked each time.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use super::requirements::Requirements;
use crate::catalog::pg::PgContext;
use crate::catalog::user::CurrentUser;
use crate::storage::engine::Engine;

/// Checks privileges. The first rule of a session.
#[derive(Debug)]
pub struct AccessRule {
    engine: Arc<Engine>,
    user: Arc<CurrentUser>,
}

impl AccessRule {
    /// The rule of a session of that user.
    pub fn new(engine: Arc<Engine>, user: Arc<CurrentUser>) -> Self {
        Self { engine, user }
    }
}

impl AnalyzerRule for AccessRule {
    fn name(&self) -> &str {
        "access"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        // The newest rights count, unless the transaction has made objects or grants of its own.
        let own = PgContext::snapshot_of(config).filter(|snapshot| snapshot.is_pending());
        let snapshot = own.unwrap_or_else(|| self.engine.committer.snapshot());
        Requirements::of(&plan)?.check(&snapshot, self.user.current())?;
        Ok(plan)
    }
}
