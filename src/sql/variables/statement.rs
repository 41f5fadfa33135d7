//! The plans of SET, RESET and DISCARD.

use datafusion::logical_expr::LogicalPlan;

use crate::error::Result;
use crate::sql::session::{Session, Tag, done};
use crate::sql::transaction::{Modes, TransactionStatus};

/// `SET [LOCAL] name = value` or `RESET name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement {
    /// The tag of the answer: the word that was said.
    pub tag: &'static str,
    /// The variable, in any case.
    pub name: String,
    /// Whether the value ends with the transaction block.
    pub local: bool,
    /// What it becomes.
    pub value: SetValue,
}

/// What a variable becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// What the session began with.
    Default,
    /// Values one by one; most variables take one.
    List(Vec<String>),
    /// All values as one text.
    Text(String),
}

/// What DISCARD forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscardKind {
    /// All state of the session.
    All,
    /// Kept plans.
    Plans,
    /// What sequences gave to the session.
    Sequences,
    /// Temporary tables.
    Temp,
}

impl DiscardKind {
    /// The tag of the answer.
    pub fn tag(self) -> &'static str {
        match self {
            Self::All => "DISCARD ALL",
            Self::Plans => "DISCARD PLANS",
            Self::Sequences => "DISCARD SEQUENCES",
            Self::Temp => "DISCARD TEMP",
        }
    }
}

/// SET and RESET of one variable.
pub fn set(session: &Session, set: SetStatement) -> Result<(Tag, LogicalPlan)> {
    let label = format!("Set: {}", set.name);
    act(session, set.tag, label, move |session| {
        session.set_variable(&set.name, &set.value, set.local)
    })
}

/// RESET ALL.
pub fn reset_all(session: &Session) -> Result<(Tag, LogicalPlan)> {
    act(session, "RESET", "ResetAll".to_string(), |session| {
        session.reset_variables();
        Ok(())
    })
}

/// SET SESSION CHARACTERISTICS: the modes of transactions to come.
pub fn set_default_modes(session: &Session, modes: Modes) -> Result<(Tag, LogicalPlan)> {
    let on = |on: Option<bool>| on.map(|on| if on { "on" } else { "off" }.to_string());
    let values = [
        (
            "default_transaction_isolation",
            modes.isolation.map(|level| level.as_str().to_string()),
        ),
        ("default_transaction_read_only", on(modes.read_only)),
        ("default_transaction_deferrable", on(modes.deferrable)),
    ];
    let label = "SetSessionCharacteristics".to_string();
    act(session, "SET", label, move |session| {
        for (name, value) in &values {
            if let Some(value) = value {
                session.set_variable(name, &SetValue::List(vec![value.clone()]), false)?;
            }
        }
        Ok(())
    })
}

/// DISCARD.
pub fn discard(session: &Session, kind: DiscardKind) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    done(kind.tag(), "Discard".to_string(), move || {
        let session = session.clone();
        async move {
            // Plans look at the definitions again anyway.
            if matches!(kind, DiscardKind::All | DiscardKind::Sequences) {
                session.inner.given.forget();
            }
            if kind == DiscardKind::All {
                session.inner.locks.unlock_all();
                session.discard_all();
            }
            match kind {
                DiscardKind::All | DiscardKind::Temp => session.drop_temporary().await,
                DiscardKind::Plans | DiscardKind::Sequences => Ok(()),
            }
        }
    })
}

fn act(
    session: &Session,
    tag: &'static str,
    label: String,
    act: impl Fn(&Session) -> Result<()> + Send + Sync + 'static,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    done(tag, label, move || {
        let done = act(&session);
        async move { done }
    })
}

impl Session {
    fn discard_all(&self) {
        debug_assert_eq!(self.transaction_status(), TransactionStatus::Idle);
        self.inner.cursors.close_all();
        self.unlisten(None);
        self.forget_statements();
        self.reset_user();
        self.reset_variables();
    }
}
