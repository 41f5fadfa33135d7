//! SHOW, and the rows of `pg_settings`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use super::layers::Source;
use super::name::Variable;
use super::parameter::{Kind, Parameter};
use crate::error::Result;
use crate::settings::Scope;
use crate::sql::command::CommandNode;
use crate::sql::session::{Session, Tag};

/// A row of `pg_settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// The name.
    pub name: String,
    /// The value, a number in `unit`.
    pub setting: String,
    /// The unit of a number.
    pub unit: Option<&'static str>,
    /// The chapter of the manual.
    pub category: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Who may change it.
    pub context: &'static str,
    /// bool, integer, real, enum or string.
    pub kind: &'static str,
    /// Where the value comes from.
    pub source: &'static str,
    /// The least value.
    pub min: Option<String>,
    /// The greatest value.
    pub max: Option<String>,
    /// The values of an enum.
    pub values: Option<Vec<&'static str>>,
    /// The value where nobody set one.
    pub boot: String,
    /// The value after RESET.
    pub reset: String,
}

/// SHOW name. The value is read when the plan is executed.
pub fn show(session: &Session, name: &str) -> Result<(Tag, LogicalPlan)> {
    let variable = Variable::find(name)?;
    // Made-up names may have no value: that is an error of SHOW, not of its execution.
    session.shown(&variable)?;
    let schema = texts(&[variable.name()]);
    let label = format!("Show: {}", variable.name());
    let (session, answered) = (session.clone(), Arc::clone(&schema));
    let rows = move || {
        let value = session.shown(&variable)?;
        let column: ArrayRef = Arc::new(StringArray::from(vec![value]));
        Ok(RecordBatch::try_new(Arc::clone(&answered), vec![column])?)
    };
    command(label, schema, rows)
}

/// SHOW ALL.
pub fn show_all(session: &Session) -> Result<(Tag, LogicalPlan)> {
    let schema = texts(&["name", "setting", "description"]);
    let (session, answered) = (session.clone(), Arc::clone(&schema));
    let rows = move || {
        let settings = session.settings();
        let shown = |row: &SettingRow| match Parameter::find(&row.name) {
            Some(parameter) => parameter.show(&row.setting),
            None => row.setting.clone(),
        };
        let names = StringArray::from_iter_values(settings.iter().map(|s| &s.name));
        let values = StringArray::from_iter_values(settings.iter().map(shown));
        let descriptions = StringArray::from_iter_values(settings.iter().map(|s| s.description));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(names), Arc::new(values), Arc::new(descriptions)];
        Ok(RecordBatch::try_new(Arc::clone(&answered), columns)?)
    };
    command("Show: all".to_string(), schema, rows)
}

fn texts(names: &[&str]) -> Arc<Schema> {
    let field = |name: &&str| Field::new(*name, DataType::Utf8, false);
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

fn command(
    label: String,
    schema: Arc<Schema>,
    rows: impl Fn() -> Result<RecordBatch> + Send + Sync + 'static,
) -> Result<(Tag, LogicalPlan)> {
    let action = move || {
        let rows = rows();
        async move { rows }.boxed()
    };
    let plan = CommandNode::plan(label, schema, Arc::new(action))?;
    Ok((Tag::Shown("SHOW"), plan))
}

impl Session {
    /// The rows of `pg_settings`: PostgreSQL's parameters, our settings, and the names that were made up.
    pub fn settings(&self) -> Vec<SettingRow> {
        let parameters = Parameter::all().iter().filter(|p| !p.hidden);
        let mut rows: Vec<SettingRow> = parameters.map(|p| self.parameter_row(p)).collect();
        rows.extend(self.own_rows());
        rows.extend(self.custom_rows());
        rows.sort_by_cached_key(|row| row.name.to_ascii_lowercase());
        rows
    }

    /// The parameters that the session has set, as EXPLAIN (SETTINGS) lists them.
    pub(in crate::sql) fn changed_settings(&self) -> Vec<String> {
        let set = Source::Session.as_str();
        let rows = self.settings().into_iter().filter(|row| row.source == set);
        rows.map(|row| {
            let value = match Parameter::find(&row.name) {
                Some(parameter) => parameter.show(&row.setting),
                None => row.setting,
            };
            format!("{} = '{value}'", row.name)
        })
        .collect()
    }

    fn parameter_row(&self, parameter: &Parameter) -> SettingRow {
        let (source, reset) = self.origin(parameter);
        let (min, max) = match &parameter.kind {
            Kind::Integer { min, max, .. } => (Some(min.to_string()), Some(max.to_string())),
            Kind::Real { min, max, .. } => (Some(min.to_string()), Some(format!("{max:e}"))),
            _ => (None, None),
        };
        SettingRow {
            name: parameter.name.to_string(),
            setting: self.raw(parameter.name),
            unit: parameter.unit(),
            category: parameter.category,
            description: parameter.description,
            context: parameter.context.as_str(),
            kind: parameter.type_name(),
            source: source.as_str(),
            min,
            max,
            values: match &parameter.kind {
                Kind::Enum(values) => Some(values.clone()),
                _ => None,
            },
            boot: parameter.default.clone(),
            reset,
        }
    }

    fn own_rows(&self) -> Vec<SettingRow> {
        let settings = &self.inner.core.engine.settings;
        let row = |info: crate::settings::SettingInfo| {
            let name = format!("shelfmark.{}", info.name);
            let now = self.shown(&Variable::Option(name.clone()));
            let context = match info.scope {
                Scope::Session => "user",
                Scope::Global | Scope::Collection => "postmaster",
            };
            text_row(
                name,
                now.unwrap_or_else(|_| info.value.clone()),
                context,
                info.description,
            )
            .with_values(info.default, info.value)
        };
        settings.list().into_iter().map(row).collect()
    }

    fn custom_rows(&self) -> Vec<SettingRow> {
        let variables = self.inner.variables.lock();
        let names = variables.names().into_iter();
        let custom = names.filter(|name| matches!(Variable::find(name), Ok(Variable::Custom(_))));
        let row = |name: String| {
            let (value, source) = variables.get(&name);
            let value = value.unwrap_or_default().to_string();
            let row = text_row(name, value, "user", "");
            SettingRow {
                source: source.as_str(),
                ..row
            }
        };
        custom.map(row).collect()
    }
}

fn text_row(
    name: String,
    setting: String,
    context: &'static str,
    description: &'static str,
) -> SettingRow {
    SettingRow {
        name,
        setting,
        unit: None,
        category: "Customized Options",
        description,
        context,
        kind: "string",
        source: Source::Default.as_str(),
        min: None,
        max: None,
        values: None,
        boot: String::new(),
        reset: String::new(),
    }
}

impl SettingRow {
    fn with_values(self, boot: String, reset: String) -> Self {
        let source = match self.setting == reset {
            true => Source::Default,
            false => Source::Session,
        };
        Self {
            source: source.as_str(),
            boot,
            reset,
            ..self
        }
    }
}
