//! The parameters of PostgreSQL: their types, ranges, defaults, units, and who may change them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::number::{self, Unit};
use crate::error::{Error, Result, sqlstate};

/// The release of PostgreSQL whose behaviour clients may count on.
const POSTGRES_VERSION: &str = "15.18";
/// The same as one number.
const POSTGRES_VERSION_NUM: &str = "150018";

/// A line a parameter: name, context, type, unit, default, least, most, values, flags, category, description.
const TABLE: &str = include_str!("parameters.tsv");

/// Who may change a parameter, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Nobody.
    Internal,
    /// Whoever starts the server.
    Postmaster,
    /// A superuser, in a session.
    Superuser,
    /// Everybody, in a session.
    User,
}

impl Context {
    /// The word of `pg_settings`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::Superuser => "superuser",
            Self::User => "user",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Internal,
            Self::Postmaster,
            Self::Superuser,
            Self::User,
        ];
        all.into_iter().find(|context| context.as_str() == name)
    }
}

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// on or off.
    Bool,
    /// A whole number of a unit.
    Integer {
        /// The unit of a number without one.
        unit: Unit,
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// A number of a unit.
    Real {
        /// The unit of a number without one.
        unit: Unit,
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// One of some words.
    Enum(Vec<&'static str>),
    /// Any text; some names have rules of their own.
    Text,
}

/// A parameter that PostgreSQL knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name, in PostgreSQL's case.
    pub name: &'static str,
    /// Who may change it.
    pub context: Context,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where nobody set one.
    pub default: String,
    /// Whether clients are told of its value and of every change.
    pub reported: bool,
    /// Whether SHOW ALL leaves it out.
    pub hidden: bool,
    /// Whether it tunes an approximate index, which an exact search has no use for.
    pub tunes_approximation: bool,
    /// The chapter of PostgreSQL's manual.
    pub category: &'static str,
    /// What it is for, in PostgreSQL.
    pub description: &'static str,
}

/// All parameters, in the order of SHOW ALL.
static PARAMETERS: LazyLock<Vec<Parameter>> =
    LazyLock::new(|| rows().filter_map(Parameter::from_row).collect());

/// Parameters by lower-case name.
static BY_NAME: LazyLock<HashMap<String, &'static Parameter>> = LazyLock::new(|| {
    let entry = |p: &'static Parameter| (p.name.to_ascii_lowercase(), p);
    PARAMETERS.iter().map(entry).collect()
});

fn rows() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#'))
}

impl Parameter {
    /// All parameters, in the order of SHOW ALL.
    pub fn all() -> &'static [Self] {
        &PARAMETERS
    }

    /// The parameter of that name, in any case.
    pub fn find(name: &str) -> Option<&'static Self> {
        BY_NAME.get(&name.to_ascii_lowercase()).copied()
    }

    fn from_row(row: &'static str) -> Option<Self> {
        let columns: Vec<&str> = row.split('\t').collect();
        let [
            name,
            context,
            kind,
            unit,
            default,
            min,
            max,
            values,
            flags,
            category,
            description,
        ] = <[&str; 11]>::try_from(columns).ok()?;
        let unit = Unit::from_name(unit)?;
        let kind = match kind {
            "bool" => Kind::Bool,
            "integer" => Kind::Integer {
                unit,
                min: min.parse().unwrap_or(0),
                max: max.parse().unwrap_or(i64::from(i32::MAX)),
            },
            "real" => Kind::Real {
                unit,
                min: min.parse().ok()?,
                max: max.parse().ok()?,
            },
            "enum" => Kind::Enum(values.split(',').collect()),
            "string" => Kind::Text,
            _ => return None,
        };
        let default = match name {
            "server_version" => {
                format!(
                    "{POSTGRES_VERSION} (Shelfmark {})",
                    env!("CARGO_PKG_VERSION")
                )
            }
            "server_version_num" => POSTGRES_VERSION_NUM.to_string(),
            _ => default.to_string(),
        };
        let has = |flag: &str| flags.split(' ').any(|f| f == flag);
        Some(Self {
            name,
            context: Context::from_name(context)?,
            kind,
            default,
            reported: has("report"),
            hidden: has("hidden"),
            tunes_approximation: has("exact"),
            category,
            description,
        })
    }

    /// The word of `pg_settings` for its type.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "bool",
            Kind::Integer { .. } => "integer",
            Kind::Real { .. } => "real",
            Kind::Enum(_) => "enum",
            Kind::Text => "string",
        }
    }

    /// The unit of its value in `pg_settings`.
    pub fn unit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Integer { unit, .. } | Kind::Real { unit, .. } => unit.name(),
            _ => None,
        }
    }

    /// The value that `text` means, as `pg_settings` has it: numbers in the parameter's unit.
    ///
    /// # Errors
    /// 22023 for a value that it cannot have.
    pub fn parse(&self, text: &str) -> Result<String> {
        match &self.kind {
            Kind::Bool => match boolean(text) {
                Some(on) => Ok(if on { "on" } else { "off" }.to_string()),
                None => Err(invalid(format!(
                    "parameter \"{}\" requires a Boolean value",
                    self.name
                ))),
            },
            Kind::Integer { unit, min, max } => self.integer(text, *unit, *min, *max),
            Kind::Real { unit, min, max } => {
                let value =
                    number::parse(text, *unit).ok_or_else(|| self.no_number(text, *unit))?;
                if (*min..=*max).contains(&value) {
                    return Ok(value.to_string());
                }
                Err(self.outside(
                    &value.to_string(),
                    *unit,
                    &min.to_string(),
                    &max.to_string(),
                ))
            }
            Kind::Enum(values) => self.word(text, values),
            Kind::Text => Ok(text.to_string()),
        }
    }

    fn integer(&self, text: &str, unit: Unit, min: i64, max: i64) -> Result<String> {
        let value = number::parse(text, unit).ok_or_else(|| self.no_number(text, unit))?;
        let value = value.round_ties_even();
        if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value) {
            return Err(self.wrong(text).with_hint("Value exceeds integer range."));
        }
        let value = value as i64;
        if (min..=max).contains(&value) {
            return Ok(value.to_string());
        }
        Err(self.outside(&value.to_string(), unit, &min.to_string(), &max.to_string()))
    }

    fn word(&self, text: &str, values: &[&str]) -> Result<String> {
        let given = match boolean(text) {
            Some(true) if values.contains(&"on") => "on",
            Some(false) if values.contains(&"off") => "off",
            _ => text,
        };
        let found = values
            .iter()
            .find(|value| value.eq_ignore_ascii_case(given));
        found.map(ToString::to_string).ok_or_else(|| {
            let hint = format!("Available values: {}.", values.join(", "));
            self.wrong(text).with_hint(hint)
        })
    }

    /// The value as SHOW writes it: numbers with the largest unit that keeps them whole.
    pub fn show(&self, value: &str) -> String {
        match self.kind {
            Kind::Integer { unit, .. } => match value.parse() {
                Ok(number) => number::show(number, unit),
                Err(_) => value.to_string(),
            },
            Kind::Real { unit, .. } if value != "0" => {
                format!("{value}{}", unit.name().unwrap_or_default())
            }
            _ => value.to_string(),
        }
    }

    /// That a session may change it.
    ///
    /// # Errors
    /// 55P02 for one that is fixed, 42501 for one of superusers.
    pub fn check_changeable(&self, is_superuser: bool) -> Result<()> {
        let (code, why) = match self.context {
            Context::Internal => (sqlstate::CANT_CHANGE_RUNTIME_PARAM, "cannot be changed"),
            Context::Postmaster => (
                sqlstate::CANT_CHANGE_RUNTIME_PARAM,
                "cannot be changed without restarting the server",
            ),
            Context::Superuser if !is_superuser => {
                let message = format!("permission denied to set parameter \"{}\"", self.name);
                return Err(Error::invalid(sqlstate::INSUFFICIENT_PRIVILEGE, message));
            }
            Context::Superuser | Context::User => return Ok(()),
        };
        Err(Error::invalid(
            code,
            format!("parameter \"{}\" {why}", self.name),
        ))
    }

    /// That the value is not one the parameter can have.
    pub fn wrong(&self, text: &str) -> Error {
        wrong(self.name, text)
    }

    fn no_number(&self, text: &str, unit: Unit) -> Error {
        let error = self.wrong(text);
        let is_number_with_unit = number::leading(text).is_some_and(|(_, rest)| !rest.is_empty());
        match unit.hint() {
            Some(hint) if is_number_with_unit => error.with_hint(hint),
            _ => error,
        }
    }

    fn outside(&self, value: &str, unit: Unit, min: &str, max: &str) -> Error {
        let unit = unit
            .name()
            .map(|unit| format!(" {unit}"))
            .unwrap_or_default();
        invalid(format!(
            "{value}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})",
            self.name
        ))
    }
}

/// That `text` is no value of the parameter `name`.
pub fn wrong(name: &str, text: &str) -> Error {
    invalid(format!(
        "invalid value for parameter \"{name}\": \"{text}\""
    ))
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// A truth value as PostgreSQL reads it: any beginning of `true`, `false`, `yes` or `no`, and `on`, `off`, `1`, `0`.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    match text.as_str() {
        "on" | "1" => Some(true),
        "off" | "of" | "0" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_line_is_a_parameter_whose_default_it_takes() {
        assert_eq!(rows().count(), Parameter::all().len());
        for parameter in Parameter::all() {
            let value = parameter.parse(&parameter.default).unwrap();
            assert_eq!(value, parameter.default, "{}", parameter.name);
        }
        assert_eq!(Parameter::find("DATESTYLE").unwrap().name, "DateStyle");
    }

    /// What PostgreSQL 15 says.
    #[test]
    fn values_are_read_and_shown_as_postgres_does() {
        for (name, text, shown) in [
            ("work_mem", "1.5MB", "1536kB"),
            ("work_mem", "4096", "4MB"),
            ("work_mem", " 64 kB ", "64kB"),
            ("statement_timeout", "1.5s", "1500ms"),
            ("statement_timeout", "90s", "90s"),
            ("statement_timeout", "60000", "1min"),
            ("statement_timeout", "0", "0"),
            ("effective_cache_size", "524288", "4GB"),
            ("extra_float_digits", "-3", "-3"),
            ("extra_float_digits", "0x2", "2"),
            ("bytea_output", "HEX", "hex"),
            ("enable_seqscan", "F", "off"),
            ("jit", "tr", "on"),
            ("synchronous_commit", "false", "off"),
            ("cursor_tuple_fraction", ".5", "0.5"),
            ("vacuum_cost_delay", "2", "2ms"),
        ] {
            let parameter = Parameter::find(name).unwrap();
            let value = parameter.parse(text).unwrap();
            assert_eq!(parameter.show(&value), shown, "{name} = {text}");
        }
    }

    #[test]
    fn wrong_values_are_named_as_postgres_does() {
        for (name, text, message, hint) in [
            (
                "work_mem",
                "1kB",
                "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
                None,
            ),
            (
                "work_mem",
                "5 XX",
                "invalid value for parameter \"work_mem\": \"5 XX\"",
                Some(
                    "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
                ),
            ),
            (
                "work_mem",
                "abc",
                "invalid value for parameter \"work_mem\": \"abc\"",
                None,
            ),
            (
                "statement_timeout",
                "99999999999",
                "invalid value for parameter \"statement_timeout\": \"99999999999\"",
                Some("Value exceeds integer range."),
            ),
            (
                "extra_float_digits",
                "4",
                "4 is outside the valid range for parameter \"extra_float_digits\" (-15 .. 3)",
                None,
            ),
            (
                "extra_float_digits",
                "3ms",
                "invalid value for parameter \"extra_float_digits\": \"3ms\"",
                None,
            ),
            (
                "jit",
                "maybe",
                "parameter \"jit\" requires a Boolean value",
                None,
            ),
            (
                "xmloption",
                "foo",
                "invalid value for parameter \"xmloption\": \"foo\"",
                Some("Available values: content, document."),
            ),
            (
                "cursor_tuple_fraction",
                "2",
                "2 is outside the valid range for parameter \"cursor_tuple_fraction\" (0 .. 1)",
                None,
            ),
        ] {
            let error = Parameter::find(name).unwrap().parse(text).unwrap_err();
            assert_eq!((error.sqlstate(), error.message()), ("22023", message));
            assert_eq!(error.hint(), hint, "{message}");
        }
    }
}
