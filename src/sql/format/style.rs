//! The settings of a session that text output follows.

use super::ClientEncoding;
pub use crate::catalog::zone::DateOrder;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};

/// How dates are written; all read the same, in the order that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateStyle {
    /// `1997-12-17 07:37:16-08`
    #[default]
    Iso,
    /// `12/17/1997 07:37:16.00 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16.00 PST`
    German,
}

/// How intervals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntervalStyle {
    /// `1 year 2 mons -3 days +04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons -3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 -3 +4:05:06`
    SqlStandard,
    /// `P1Y2M-3DT4H5M6S`
    Iso8601,
}

/// How `bytea` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteaOutput {
    /// `\xdeadbeef`
    #[default]
    Hex,
    /// Printable characters as they are, the others as `\336`.
    Escape,
}

/// The settings of a session that text output follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// First part of `DateStyle`.
    pub date_style: DateStyle,
    /// Second part of `DateStyle`.
    pub date_order: DateOrder,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
    /// `TimeZone`.
    pub zone: Zone,
    /// `bytea_output`.
    pub bytea_output: ByteaOutput,
    /// `extra_float_digits`, -15 to 3; above 0 the shortest text that reads back exactly.
    pub extra_float_digits: i32,
    /// `client_encoding`.
    pub encoding: ClientEncoding,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            date_style: DateStyle::default(),
            date_order: DateOrder::default(),
            interval_style: IntervalStyle::default(),
            zone: Zone::utc(),
            bytea_output: ByteaOutput::default(),
            extra_float_digits: 1,
            encoding: ClientEncoding::default(),
        }
    }
}

impl Style {
    /// Sets `datestyle`, `intervalstyle`, `timezone`, `bytea_output`, `extra_float_digits` or `client_encoding` (in any
    /// case); answers whether the name is one of these.
    ///
    /// # Errors
    /// 22023 for a value that the setting does not take, 0A000 for an encoding that we do not have; nothing is changed
    /// then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        let lower = value.trim().to_ascii_lowercase();
        match name.to_ascii_lowercase().as_str() {
            "datestyle" => self.set_date_style(value)?,
            "intervalstyle" => {
                self.interval_style = match lower.as_str() {
                    "postgres" => IntervalStyle::Postgres,
                    "postgres_verbose" => IntervalStyle::PostgresVerbose,
                    "sql_standard" => IntervalStyle::SqlStandard,
                    "iso_8601" => IntervalStyle::Iso8601,
                    _ => {
                        let hint =
                            "Available values: postgres, postgres_verbose, sql_standard, iso_8601.";
                        return Err(invalid("IntervalStyle", value).with_hint(hint));
                    }
                }
            }
            "timezone" => {
                let zone = Zone::parse(value).ok_or_else(|| invalid("TimeZone", value))?;
                self.zone = zone.with_date_order(self.date_order);
            }
            "bytea_output" => {
                self.bytea_output = match lower.as_str() {
                    "hex" => ByteaOutput::Hex,
                    "escape" => ByteaOutput::Escape,
                    _ => {
                        let error = invalid("bytea_output", value);
                        return Err(error.with_hint("Available values: escape, hex."));
                    }
                }
            }
            "extra_float_digits" => {
                let digits = lower.parse::<i32>();
                let digits = digits.map_err(|_| invalid("extra_float_digits", value))?;
                if !(-15..=3).contains(&digits) {
                    let message = format!(
                        "{digits} is outside the valid range for parameter \"extra_float_digits\" (-15 .. 3)"
                    );
                    return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
                }
                self.extra_float_digits = digits;
            }
            "client_encoding" => {
                let encoding = ClientEncoding::of_name(value);
                let encoding = encoding.ok_or_else(|| invalid("client_encoding", value))?;
                if !encoding.is_supported() {
                    let name = encoding.name();
                    let message = format!("conversion between {name} and UTF8 is not supported");
                    return Err(Error::unsupported(message));
                }
                self.encoding = encoding;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The value of a setting as SHOW writes it.
    pub fn show(&self, name: &str) -> Option<String> {
        Some(match name.to_ascii_lowercase().as_str() {
            "datestyle" => {
                let style = match self.date_style {
                    DateStyle::Iso => "ISO",
                    DateStyle::Sql => "SQL",
                    DateStyle::Postgres => "Postgres",
                    DateStyle::German => "German",
                };
                let order = match self.date_order {
                    DateOrder::Mdy => "MDY",
                    DateOrder::Dmy => "DMY",
                    DateOrder::Ymd => "YMD",
                };
                format!("{style}, {order}")
            }
            "intervalstyle" => match self.interval_style {
                IntervalStyle::Postgres => "postgres",
                IntervalStyle::PostgresVerbose => "postgres_verbose",
                IntervalStyle::SqlStandard => "sql_standard",
                IntervalStyle::Iso8601 => "iso_8601",
            }
            .to_string(),
            "timezone" => self.zone.name().to_string(),
            "bytea_output" => match self.bytea_output {
                ByteaOutput::Hex => "hex",
                ByteaOutput::Escape => "escape",
            }
            .to_string(),
            "extra_float_digits" => self.extra_float_digits.to_string(),
            "client_encoding" => self.encoding.name().to_string(),
            _ => return None,
        })
    }

    /// `ISO, MDY`: a style, an order, or both; what is not named stays.
    fn set_date_style(&mut self, value: &str) -> Result<()> {
        let (mut style, mut order) = (None, None);
        let conflict =
            || invalid("DateStyle", value).with_detail("Conflicting \"datestyle\" specifications.");
        for word in value.split(',') {
            let word = word.trim().to_ascii_lowercase();
            let (new_style, new_order) = match word.as_str() {
                "iso" => (Some(DateStyle::Iso), None),
                "sql" => (Some(DateStyle::Sql), None),
                "german" => (Some(DateStyle::German), None),
                word if word.starts_with("postgres") => (Some(DateStyle::Postgres), None),
                "ymd" => (None, Some(DateOrder::Ymd)),
                "dmy" | "european" | "euro" => (None, Some(DateOrder::Dmy)),
                "mdy" | "us" | "noneuropean" | "noneuro" => (None, Some(DateOrder::Mdy)),
                "default" => (
                    Some(Self::default().date_style),
                    Some(Self::default().date_order),
                ),
                word => {
                    let detail = format!("Unrecognized key word: \"{word}\".");
                    return Err(invalid("DateStyle", value).with_detail(detail));
                }
            };
            take(&mut style, new_style).ok_or_else(conflict)?;
            take(&mut order, new_order).ok_or_else(conflict)?;
        }
        if style == Some(DateStyle::German) && order.is_none() {
            order = Some(DateOrder::Dmy);
        }
        self.date_style = style.unwrap_or(self.date_style);
        self.date_order = order.unwrap_or(self.date_order);
        self.zone = self.zone.clone().with_date_order(self.date_order);
        Ok(())
    }
}

/// Keeps the newer of two values; `None` when they differ.
fn take<T: PartialEq>(slot: &mut Option<T>, new: Option<T>) -> Option<()> {
    match (slot.as_ref(), new) {
        (Some(old), Some(new)) if *old != new => None,
        (_, Some(new)) => {
            *slot = Some(new);
            Some(())
        }
        (_, None) => Some(()),
    }
}

fn invalid(name: &str, value: &str) -> Error {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn date_style_keeps_what_is_not_named() {
        let mut style = Style::default();
        for (value, shown) in [
            ("sql, dmy", "SQL, DMY"),
            ("iso", "ISO, DMY"),
            ("german", "German, DMY"),
            ("us", "German, MDY"),
            ("Postgres,European", "Postgres, DMY"),
            ("DEFAULT", "ISO, MDY"),
        ] {
            assert!(style.set("DateStyle", value).unwrap());
            assert_eq!(style.show("datestyle").unwrap(), shown, "{value}");
        }
        for bad in ["iso, sql", "dmy, mdy", "martian", ""] {
            let error = style.set("datestyle", bad).unwrap_err();
            assert_eq!(error.sqlstate(), "22023", "{bad}");
        }
        assert_eq!(style, Style::default());
    }

    #[test]
    fn other_settings() {
        let mut style = Style::default();
        for (name, value, shown) in [
            ("IntervalStyle", "ISO_8601", "iso_8601"),
            ("bytea_output", "escape", "escape"),
            ("extra_float_digits", "-3", "-3"),
            ("timezone", "europe/berlin", "Europe/Berlin"),
        ] {
            assert!(style.set(name, value).unwrap());
            assert_eq!(style.show(name).unwrap(), shown);
        }
        assert!(!style.set("work_mem", "1").unwrap());
        for (name, bad) in [
            ("IntervalStyle", "x"),
            ("bytea_output", "base64"),
            ("extra_float_digits", "4"),
            ("extra_float_digits", "a"),
            ("timezone", "Mars/Base"),
        ] {
            assert_eq!(style.set(name, bad).unwrap_err().sqlstate(), "22023");
        }
    }
}
