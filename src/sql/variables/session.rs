//! Setting and reading the variables of a session.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::check::check;
use super::effect::{option, switch};
use super::layers::{Source, Variables};
use super::list;
use super::name::{Variable, unknown};
use super::parameter::{Parameter, boolean, wrong};
use super::statement::SetValue;
use crate::database::session_config;
use crate::error::{Error, Result, sqlstate};
use crate::settings::{Scope, Settings};
use crate::sql::format::Style;
use crate::sql::notice::{Notice, Severity};
use crate::sql::session::Session;
use crate::sql::transaction::{Isolation, Modes, TransactionStatus};

/// Parameters that are modes of the transaction.
const ISOLATION: &str = "transaction_isolation";
const READ_ONLY: &str = "transaction_read_only";
const DEFERRABLE: &str = "transaction_deferrable";

/// What every statement follows of the variables.
#[derive(Debug)]
pub(in crate::sql) struct Followed {
    /// After how many changes of variables.
    changes: u64,
    timeouts: Timeouts,
    style: Style,
}

/// The reportable parameters as the client knows them.
#[derive(Debug, Default)]
pub(in crate::sql) struct Reported {
    /// After how many changes of variables they were looked at last.
    looked_at: Option<u64>,
    told: HashMap<&'static str, String>,
}

/// How long things may take in a session; `None` is without end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// A statement.
    pub statement: Option<Duration>,
    /// Waiting for a lock.
    pub lock: Option<Duration>,
    /// Waiting for the client, outside a transaction block.
    pub idle_session: Option<Duration>,
    /// Waiting for the client inside one.
    pub idle_in_transaction: Option<Duration>,
}

impl Session {
    /// Sets what a variable has when the session begins, and what RESET gives it back.
    ///
    /// # Errors
    /// As SET has them: 42704, 22023, 55P02, 42501.
    pub fn set_at_startup(&self, name: &str, value: &str) -> Result<()> {
        let variable = Variable::find(name)?;
        let value = self.checked(&variable, value)?;
        self.change(|variables| variables.set_startup(variable.name(), value));
        Ok(())
    }

    /// Tells the session who it belongs to.
    pub(crate) fn set_user(&self, user: &str, is_superuser: bool) {
        let on = if is_superuser { "on" } else { "off" };
        self.change(|variables| {
            variables.set_startup("session_authorization", user.to_string());
            variables.set_startup("is_superuser", on.to_string());
        });
    }

    /// How long things may take.
    pub fn timeouts(&self) -> Timeouts {
        self.followed().timeouts
    }

    /// How values are written as text.
    pub fn style(&self) -> Style {
        self.followed().style.clone()
    }

    /// What every statement follows, read from the variables when one has changed.
    fn followed(&self) -> Arc<Followed> {
        let changes = self.inner.variable_changes.load(Ordering::Relaxed);
        let mut followed = self.inner.followed.lock();
        match followed.as_ref().filter(|f| f.changes == changes) {
            Some(followed) => Arc::clone(followed),
            None => Arc::clone(followed.insert(Arc::new(Followed {
                changes,
                timeouts: self.read_timeouts(),
                style: self.read_style(),
            }))),
        }
    }

    fn read_timeouts(&self) -> Timeouts {
        let milliseconds = |name| {
            let value = self.raw(name).parse().unwrap_or(0);
            (value > 0).then(|| Duration::from_millis(value))
        };
        Timeouts {
            statement: milliseconds("statement_timeout"),
            lock: milliseconds("lock_timeout"),
            idle_session: milliseconds("idle_session_timeout"),
            idle_in_transaction: milliseconds("idle_in_transaction_session_timeout"),
        }
    }

    fn read_style(&self) -> Style {
        let mut style = Style::default();
        let names = [
            "DateStyle",
            "IntervalStyle",
            "TimeZone",
            "bytea_output",
            "extra_float_digits",
            "client_encoding",
        ];
        for name in names {
            // Each was checked by a style when it was set.
            let _ = style.set(name, &self.raw(name));
        }
        style
    }

    /// The reportable parameters that have changed since the last call, with their values; at first all of them.
    pub fn take_changed_parameters(&self) -> Vec<(String, String)> {
        let changes = self.inner.variable_changes.load(Ordering::Relaxed);
        let mut reported = self.inner.reported.lock();
        let Reported { looked_at, told } = &mut *reported;
        if looked_at.replace(changes) == Some(changes) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for parameter in Parameter::all().iter().filter(|p| p.reported) {
            let value = self.raw(parameter.name);
            if told.get(parameter.name) != Some(&value) {
                told.insert(parameter.name, value.clone());
                changed.push((parameter.name.to_string(), value));
            }
        }
        changed
    }

    /// The least severity of notices that the client wants to hear of.
    pub(in crate::sql) fn least_severity(&self) -> Severity {
        match self.raw("client_min_messages").as_str() {
            "notice" => Severity::Notice,
            "warning" => Severity::Warning,
            "error" => Severity::Info,
            "log" => Severity::Log,
            _ => Severity::Debug,
        }
    }

    /// The modes of transactions that name none.
    pub(in crate::sql) fn default_modes(&self) -> Modes {
        Modes {
            isolation: Isolation::from_name(&self.raw("default_transaction_isolation")),
            read_only: boolean(&self.raw("default_transaction_read_only")),
            deferrable: boolean(&self.raw("default_transaction_deferrable")),
        }
    }

    /// The modes of the block, or of a statement outside.
    fn modes(&self) -> Modes {
        match self.transaction_status() {
            TransactionStatus::Idle => self.default_modes(),
            _ => self.inner.block.lock().modes(),
        }
    }

    /// Whether no privilege holds the user back.
    pub(super) fn is_superuser(&self) -> bool {
        self.raw("is_superuser") == "on"
    }

    /// The value of one of PostgreSQL's parameters as `pg_settings` has it; empty for a name that is none.
    pub(super) fn raw(&self, name: &str) -> String {
        let on = |on: Option<bool>| if on == Some(true) { "on" } else { "off" }.to_string();
        match name {
            ISOLATION => {
                return self
                    .modes()
                    .isolation
                    .unwrap_or_default()
                    .as_str()
                    .to_string();
            }
            READ_ONLY => return on(self.modes().read_only),
            DEFERRABLE => return on(self.modes().deferrable),
            _ => {}
        }
        if let (Some(value), _) = self.inner.variables.lock().get(name) {
            return value.to_string();
        }
        Parameter::find(name)
            .map(|p| p.default.clone())
            .unwrap_or_default()
    }

    /// The value of a variable as SHOW writes it.
    ///
    /// # Errors
    /// 42704 for a name without a value.
    pub(super) fn shown(&self, variable: &Variable) -> Result<String> {
        match variable {
            Variable::Parameter(parameter) => Ok(parameter.show(&self.raw(parameter.name))),
            Variable::Option(name) => {
                let state = self.inner.context.state_ref();
                let value = option(state.read().config_options(), name);
                value.ok_or_else(|| unknown(name))
            }
            Variable::Custom(name) => {
                let variables = self.inner.variables.lock();
                variables
                    .get(name)
                    .0
                    .map(str::to_string)
                    .ok_or_else(|| unknown(name))
            }
        }
    }

    /// Where the value of a parameter comes from, and what RESET would make of it.
    pub(super) fn origin(&self, parameter: &Parameter) -> (Source, String) {
        let variables = self.inner.variables.lock();
        let reset = variables
            .reset_value(parameter.name)
            .unwrap_or(&parameter.default);
        (variables.get(parameter.name).1, reset.to_string())
    }

    /// SET, RESET and set_config().
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that it cannot have, 55P02 and 42501 where it cannot be changed.
    pub(super) fn set_variable(&self, name: &str, value: &SetValue, local: bool) -> Result<()> {
        let variable = Variable::find(name)?;
        let value = match value {
            SetValue::Default => None,
            SetValue::List(values) => Some(self.checked(&variable, &joined(&variable, values)?)?),
            SetValue::Text(text) => Some(self.checked(&variable, text)?),
        };
        if let Variable::Parameter(parameter) = variable
            && [ISOLATION, READ_ONLY, DEFERRABLE].contains(&parameter.name)
        {
            let value = value.unwrap_or_else(|| parameter.default.clone());
            return self.set_mode(parameter.name, &value);
        }
        if value.is_none() {
            self.check_changeable(&variable)?;
        }
        if local && self.transaction_status() == TransactionStatus::Idle {
            let message = "SET LOCAL can only be used in transaction blocks";
            let code = sqlstate::NO_ACTIVE_SQL_TRANSACTION;
            self.notice(Notice::warning(message).with_sqlstate(code));
            return Ok(());
        }
        let name = variable.name();
        self.change(|variables| match (value, &variable) {
            (Some(value), _) => variables.set(name, value, local),
            (None, Variable::Custom(_)) => variables.set(name, String::new(), local),
            (None, _) => variables.reset(name),
        });
        Ok(())
    }

    /// RESET ALL.
    pub(super) fn reset_variables(&self) {
        self.change(|variables| {
            for name in variables.names() {
                variables.reset(&name);
            }
        });
    }

    fn set_mode(&self, name: &str, value: &str) -> Result<()> {
        if self.transaction_status() == TransactionStatus::Idle {
            // It would be for the transaction of this statement alone.
            return Ok(());
        }
        let mut modes = Modes::default();
        match name {
            ISOLATION => modes.isolation = Isolation::from_name(value),
            READ_ONLY => modes.read_only = boolean(value),
            _ => modes.deferrable = boolean(value),
        }
        self.inner.block.lock().set_modes(modes)
    }

    fn check_changeable(&self, variable: &Variable) -> Result<()> {
        match variable {
            Variable::Parameter(parameter) => parameter.check_changeable(self.is_superuser()),
            Variable::Option(name) => check_session_option(name),
            Variable::Custom(_) => Ok(()),
        }
    }

    /// The value that a text means to a variable which may be changed.
    fn checked(&self, variable: &Variable, text: &str) -> Result<String> {
        self.check_changeable(variable)?;
        match variable {
            Variable::Parameter(parameter) => {
                if parameter.tunes_approximation {
                    self.note_exactness(parameter);
                }
                check(parameter, text, &self.raw(parameter.name))
            }
            Variable::Option(name) => {
                let value = switch(text);
                check_limits(name, &value)?;
                let mut config = session_config(&self.inner.core.engine);
                let set = config.options_mut().set(name, &value);
                set.map_err(|e| wrong(name, text).with_source(e))?;
                Ok(value)
            }
            Variable::Custom(_) => Ok(text.to_string()),
        }
    }

    fn note_exactness(&self, parameter: &Parameter) {
        if std::mem::replace(&mut *self.inner.noted_exactness.lock(), true) {
            return;
        }
        let message = format!(
            "vector search is exact, \"{}\" changes nothing",
            parameter.name
        );
        self.notice(message);
    }

    /// Changes variables, and tells DataFusion's configuration of every value that is another now.
    pub(in crate::sql) fn change<T>(&self, change: impl FnOnce(&mut Variables) -> T) -> T {
        let values = |variables: &Variables| -> BTreeMap<String, String> {
            let value = |name: &str| variables.get(name).0.unwrap_or_default().to_string();
            variables
                .names()
                .into_iter()
                .map(|n| (n.clone(), value(&n)))
                .collect()
        };
        let (before, answer, after) = {
            let mut variables = self.inner.variables.lock();
            let before = values(&variables);
            let answer = change(&mut variables);
            (before, answer, values(&variables))
        };
        let names = before.keys().chain(after.keys());
        for name in names.filter(|name| before.get(*name) != after.get(*name)) {
            self.apply(name, after.get(name).map(String::as_str));
        }
        answer
    }
}

/// A setting of the whole database is not a session's to change.
fn check_session_option(name: &str) -> Result<()> {
    let Some(own) = name.strip_prefix("shelfmark.") else {
        return Ok(());
    };
    match Settings::scope(own)? {
        Scope::Session => Ok(()),
        scope => {
            let message = format!("parameter \"{name}\" cannot be changed in a session");
            let error = Error::invalid(sqlstate::CANT_CHANGE_RUNTIME_PARAM, message);
            Err(error.with_hint(match scope {
                Scope::Collection => {
                    format!("It is given when the database is opened, or ALTER TABLE .. SET ({own} = ..).")
                }
                _ => "It is given when the database is opened.".to_string(),
            }))
        }
    }
}

/// Options of DataFusion's of which a large value is a burden on everybody, and the most that they take.
const LIMITS: [(&str, usize); 3] = [
    ("datafusion.execution.batch_size", 1 << 20),
    ("datafusion.execution.target_partitions", 1 << 10),
    ("datafusion.execution.planning_concurrency", 1 << 10),
];

fn check_limits(name: &str, value: &str) -> Result<()> {
    let Some((_, most)) = LIMITS.iter().find(|(limited, _)| *limited == name) else {
        return Ok(());
    };
    match value.parse::<usize>() {
        Ok(number) if (1..=*most).contains(&number) => Ok(()),
        Ok(_) => Err(wrong(name, value).with_hint(format!("It goes from 1 to {most}."))),
        Err(_) => Err(wrong(name, value)),
    }
}

/// The values of SET as one text.
fn joined(variable: &Variable, values: &[String]) -> Result<String> {
    match (variable.name(), values) {
        ("search_path", values) => {
            let quoted: Vec<String> = values.iter().map(|name| list::quote(name)).collect();
            Ok(quoted.join(", "))
        }
        ("DateStyle", values) => Ok(values.join(", ")),
        (_, [value]) => Ok(value.clone()),
        (name, _) => Err(Error::invalid(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("SET {name} takes only one argument"),
        )),
    }
}
