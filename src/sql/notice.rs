//! Notices: what a statement says besides its answer.

use parking_lot::Mutex;

/// Notices that wait for [`Notices::take`]; those after them are dropped.
const WAITING_MAX: usize = 1_000;
/// The SQLSTATE of a notice that has none of its own.
const SUCCESSFUL_COMPLETION: &str = "00000";
/// The SQLSTATE of a warning that has none of its own.
const WARNING: &str = "01000";

/// How much a notice matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For whoever looks into the database.
    Debug,
    /// For the operator.
    Log,
    /// What is good to know.
    Notice,
    /// What is likely to be a mistake.
    Warning,
    /// What was asked for: sent whatever the client wants to hear.
    Info,
}

impl Severity {
    /// The word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Log => "LOG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
        }
    }
}

/// What a statement says besides its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// The five characters of its SQLSTATE.
    pub sqlstate: &'static str,
    /// What it says.
    pub message: String,
    /// What the message leaves out.
    pub detail: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

impl Notice {
    fn new(severity: Severity, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// Something that was asked for.
    pub fn info(message: impl Into<String>) -> Self {
        Self::new(Severity::Info, SUCCESSFUL_COMPLETION, message)
    }

    /// Something that is likely to be a mistake.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, WARNING, message)
    }

    /// Gives it a SQLSTATE of its own.
    pub fn with_sqlstate(mut self, sqlstate: &'static str) -> Self {
        self.sqlstate = sqlstate;
        self
    }

    /// Adds what the message leaves out.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what the user can do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<String> for Notice {
    fn from(message: String) -> Self {
        Self::new(Severity::Notice, SUCCESSFUL_COMPLETION, message)
    }
}

impl From<&str> for Notice {
    fn from(message: &str) -> Self {
        Self::new(Severity::Notice, SUCCESSFUL_COMPLETION, message)
    }
}

/// The notices of a session that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: Mutex<Vec<Notice>>,
}

impl Notices {
    /// Keeps a notice that matters at least as much as `least`.
    pub(super) fn push(&self, notice: Notice, least: Severity) {
        let mut waiting = self.waiting.lock();
        if notice.severity >= least && waiting.len() < WAITING_MAX {
            waiting.push(notice);
        }
    }

    pub(super) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_hear_what_they_want_to_hear() {
        let notices = Notices::default();
        notices.push("quiet".into(), Severity::Warning);
        notices.push(Notice::warning("loud"), Severity::Warning);
        notices.push(Notice::info("asked for"), Severity::Warning);
        let taken: Vec<_> = notices.take().into_iter().map(|n| n.message).collect();
        assert_eq!(taken, ["loud", "asked for"]);
        assert_eq!(notices.take(), []);
    }

    #[test]
    fn notices_that_nobody_takes_do_not_pile_up() {
        let notices = Notices::default();
        (0..WAITING_MAX + 5).for_each(|n| notices.push(n.to_string().into(), Severity::Notice));
        assert_eq!(notices.take().len(), WAITING_MAX);
    }
}
