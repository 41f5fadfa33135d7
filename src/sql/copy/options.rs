//! Options of COPY: their values as PostgreSQL reads them, and which go together.

use std::path::Path;

use datafusion::common::parsers::CompressionTypeVariant;

use super::dialect::{Dialect, Header, LineFormat, Quoting};
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::ClientEncoding;
use crate::sql::statement::CopyValue;

/// The format of what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// PostgreSQL's text: tabs between fields, `\N`, backslashes before what is special.
    Text,
    /// Comma-separated values, with quotes as PostgreSQL and RFC 4180 have them.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
    /// Apache Parquet.
    Parquet,
    /// JSON: one object a line, or one array of objects.
    Json,
    /// Arrow IPC, file or stream.
    Arrow,
}

impl Format {
    /// Whether the format is PostgreSQL's, rows of fields by place, rather than a file with columns of its own.
    pub(super) fn is_rows(self) -> bool {
        matches!(self, Self::Text | Self::Csv | Self::Binary)
    }

    /// The name by which DataFusion knows the format of a file with columns of its own.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Binary => "binary",
            Self::Parquet => "parquet",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }
}

/// Which columns FORCE_QUOTE, FORCE_NOT_NULL or FORCE_NULL is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Force {
    #[default]
    Nothing,
    All,
    Columns(Vec<String>),
}

/// Which way rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    From,
    To,
}

/// Options of COPY; `None` is the default of the format.
#[derive(Debug, Clone, Default)]
pub(super) struct CopyOptions {
    pub(super) format: Option<Format>,
    /// Whether the format was named the way of DataFusion (STORED AS), whose csv has a header.
    stored_as: bool,
    header: Option<Header>,
    delimiter: Option<String>,
    /// The text that stands for NULL when it is not quoted.
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Force,
    force_not_null: Force,
    force_null: Force,
    compression: Option<CompressionTypeVariant>,
    encoding: Option<ClientEncoding>,
}

impl CopyOptions {
    /// The same, for text in the client's encoding where no option says another one.
    pub(super) fn of_client(mut self, encoding: ClientEncoding) -> Self {
        self.encoding.get_or_insert(encoding);
        self
    }

    /// # Errors
    /// 42601 for an unknown option, one given twice, or a value of the wrong kind; 22023 or 0A000 for a value that an
    /// option cannot have.
    pub(super) fn parse(options: &[(String, CopyValue)], direction: Direction) -> Result<Self> {
        let mut parsed = Self::default();
        for (at, (name, value)) in options.iter().enumerate() {
            let twice = options[..at].iter().any(|(other, _)| other == name);
            if twice {
                let message = "conflicting or redundant options";
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
            parsed.set(name, value, direction)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: &CopyValue, direction: Direction) -> Result<()> {
        match name {
            "format" => self.format = Some(parse_format(text(name, value)?)?),
            "stored as" => {
                self.format = Some(parse_format(text(name, value)?)?);
                self.stored_as = true;
            }
            "header" => self.header = Some(header(value, direction)?),
            "delimiter" => self.delimiter = Some(text(name, value)?.to_string()),
            "null" => self.null = Some(text(name, value)?.to_string()),
            "quote" => self.quote = Some(text(name, value)?.to_string()),
            "escape" => self.escape = Some(text(name, value)?.to_string()),
            "force_quote" => {
                self.force_quote = match value {
                    CopyValue::Star => Force::All,
                    value => Force::Columns(names(name, value)?),
                }
            }
            "force_not_null" => self.force_not_null = Force::Columns(names(name, value)?),
            "force_null" => self.force_null = Force::Columns(names(name, value)?),
            // Rows are durable and visible at once in either case.
            "freeze" => drop(boolean(name, value)?),
            "encoding" => self.encoding = Some(parse_encoding(text(name, value)?)?),
            "compression" => self.compression = Some(parse_compression(text(name, value)?)?),
            _ => {
                let message = format!("option \"{name}\" not recognized");
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        }
        Ok(())
    }

    /// The format of a file: the option, or what the file's name says; text where it says nothing.
    pub(super) fn format_of(&self, path: &Path) -> Format {
        if let Some(format) = self.format {
            return format;
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let plain = [".gz", ".zst", ".bz2", ".xz"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        match plain.rsplit_once('.').map(|(_, extension)| extension) {
            Some("parquet") => Format::Parquet,
            Some("csv" | "tsv") => Format::Csv,
            Some("json" | "ndjson" | "jsonl") => Format::Json,
            Some("arrow" | "arrows" | "feather" | "ipc") => Format::Arrow,
            _ => Format::Text,
        }
    }

    /// The compression of a file: the option, or what the file's name says.
    pub(super) fn compression_of(&self, path: &Path) -> CompressionTypeVariant {
        if let Some(compression) = self.compression {
            return compression;
        }
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        parse_compression(&extension).unwrap_or(CompressionTypeVariant::UNCOMPRESSED)
    }

    /// What standard input or output is written like.
    ///
    /// # Errors
    /// 0A000 for a file format, and those of [`CopyOptions::dialect`].
    pub(super) fn stream_dialect(&self, direction: Direction) -> Result<Dialect> {
        let format = self.format.unwrap_or(Format::Text);
        if !format.is_rows() {
            let message = format!("COPY format \"{}\" needs a file", format.name());
            return Err(Error::unsupported(message)
                .with_hint("Standard input and output take text, csv and binary."));
        }
        self.dialect(format, self.clone(), direction)
    }

    /// What a file is written like. A csv file whose format only its name says, or STORED AS, has a header unless
    /// the statement says otherwise.
    ///
    /// # Errors
    /// Those of [`CopyOptions::dialect`].
    pub(super) fn file_dialect(&self, path: &Path, direction: Direction) -> Result<Dialect> {
        let format = self.format_of(path);
        let mut options = self.clone();
        if format == Format::Csv && (self.format.is_none() || self.stored_as) {
            options.header.get_or_insert(Header::Line);
            let tabs = path.to_string_lossy().to_lowercase().contains(".tsv");
            if tabs {
                options.delimiter.get_or_insert_with(|| "\t".to_string());
            }
        }
        self.dialect(format, options, direction)
    }

    /// The options as a whole, with PostgreSQL's checks in its order.
    ///
    /// # Errors
    /// 42601, 0A000 or 22023 for options that do not go together.
    fn dialect(&self, format: Format, options: Self, direction: Direction) -> Result<Dialect> {
        let syntax = |message: &str| Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        let csv = format == Format::Csv;
        if format == Format::Binary {
            if options.delimiter.is_some() {
                return syntax("cannot specify DELIMITER in BINARY mode");
            }
            if options.null.is_some() {
                return syntax("cannot specify NULL in BINARY mode");
            }
        }
        let delimiter = options.delimiter.as_deref();
        let delimiter = delimiter.unwrap_or(if csv { "," } else { "\t" });
        let null = options.null.as_deref();
        let null = null.unwrap_or(if csv { "" } else { "\\N" });
        let delimiter = check_delimiter(delimiter, null, csv)?;
        let header = options.header.unwrap_or(Header::None);
        if format == Format::Binary && header != Header::None {
            return Err(Error::unsupported("cannot specify HEADER in BINARY mode"));
        }
        let quoting = options.quoting(csv, delimiter)?;
        options.check_force(csv, direction)?;
        if null.as_bytes().contains(&delimiter) {
            let message = "COPY delimiter must not appear in the NULL specification";
            return Err(Error::unsupported(message));
        }
        if quoting.is_some_and(|q| null.as_bytes().contains(&q.quote)) {
            let message = "CSV quote character must not appear in the NULL specification";
            return Err(Error::unsupported(message));
        }
        let encoding = options.encoding.unwrap_or_default();
        if format == Format::Binary {
            if direction == Direction::From && encoding.converts() {
                let message = format!(
                    "COPY FROM in BINARY mode from {} is not supported",
                    encoding.name()
                );
                return Err(Error::unsupported(message)
                    .with_hint("Use the formats text or csv, or SET client_encoding TO UTF8."));
            }
            return Ok(Dialect::Binary);
        }
        Ok(Dialect::Lines(LineFormat {
            delimiter,
            null: null.to_string(),
            header,
            quoting,
            force_quote: options.force_quote,
            force_not_null: options.force_not_null,
            force_null: options.force_null,
            encoding,
        }))
    }

    fn quoting(&self, csv: bool, delimiter: u8) -> Result<Option<Quoting>> {
        let unsupported = |message: &str| Err(Error::unsupported(message));
        if !csv {
            return match (&self.quote, &self.escape) {
                (Some(_), _) => unsupported("COPY quote available only in CSV mode"),
                (_, Some(_)) => unsupported("COPY escape available only in CSV mode"),
                (None, None) => Ok(None),
            };
        }
        let quote = self.quote.as_deref().unwrap_or("\"");
        let &[quote] = quote.as_bytes() else {
            return unsupported("COPY quote must be a single one-byte character");
        };
        if quote == delimiter {
            return Err(bad_value("COPY delimiter and quote must be different"));
        }
        let escape = self.escape.as_deref().map(str::as_bytes);
        let &[escape] = escape.unwrap_or(&[quote]) else {
            return unsupported("COPY escape must be a single one-byte character");
        };
        Ok(Some(Quoting { quote, escape }))
    }

    fn check_force(&self, csv: bool, direction: Direction) -> Result<()> {
        let checks = [
            (&self.force_quote, "quote", Direction::To),
            (&self.force_not_null, "not null", Direction::From),
            (&self.force_null, "null", Direction::From),
        ];
        for (force, name, way) in checks {
            if *force == Force::Nothing {
                continue;
            }
            if !csv {
                let message = format!("COPY force {name} available only in CSV mode");
                return Err(Error::unsupported(message));
            }
            if direction != way {
                let way = if way == Direction::To { "TO" } else { "FROM" };
                let message = format!("COPY force {name} only available using COPY {way}");
                return Err(Error::unsupported(message));
            }
        }
        Ok(())
    }
}

fn check_delimiter(delimiter: &str, null: &str, csv: bool) -> Result<u8> {
    let &[byte] = delimiter.as_bytes() else {
        let message = "COPY delimiter must be a single one-byte character";
        return Err(Error::unsupported(message));
    };
    if delimiter.contains(['\r', '\n']) {
        let message = "COPY delimiter cannot be newline or carriage return";
        return Err(bad_value(message));
    }
    if null.contains(['\r', '\n']) {
        let message = "COPY null representation cannot use newline or carriage return";
        return Err(bad_value(message));
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&byte) {
        return Err(bad_value(format!(
            "COPY delimiter cannot be \"{delimiter}\""
        )));
    }
    Ok(byte)
}

fn bad_value(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn text<'a>(name: &str, value: &'a CopyValue) -> Result<&'a str> {
    match value {
        CopyValue::Text(text) => Ok(text),
        CopyValue::Star => Ok("*"),
        CopyValue::None => {
            let message = format!("{name} requires a parameter");
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
        CopyValue::List(_) => {
            let message = format!("{name} requires a single value");
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
    }
}

fn names(name: &str, value: &CopyValue) -> Result<Vec<String>> {
    match value {
        CopyValue::List(names) => Ok(names.clone()),
        _ => Err(bad_value(format!(
            "argument to option \"{name}\" must be a list of column names"
        ))),
    }
}

fn on_off(value: &CopyValue) -> Option<bool> {
    match value {
        CopyValue::None => Some(true),
        CopyValue::Text(text) => match text.to_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        CopyValue::Star | CopyValue::List(_) => None,
    }
}

fn boolean(name: &str, value: &CopyValue) -> Result<bool> {
    on_off(value).ok_or_else(|| {
        let message = format!("{name} requires a Boolean value");
        Error::invalid(sqlstate::SYNTAX_ERROR, message)
    })
}

fn header(value: &CopyValue, direction: Direction) -> Result<Header> {
    match (on_off(value), value) {
        (Some(true), _) => Ok(Header::Line),
        (Some(false), _) => Ok(Header::None),
        (None, CopyValue::Text(text)) if text.eq_ignore_ascii_case("match") => match direction {
            Direction::From => Ok(Header::Match),
            Direction::To => Err(Error::unsupported(
                "cannot use \"match\" with HEADER in COPY TO",
            )),
        },
        _ => {
            let message = "header requires a Boolean value or \"match\"";
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
    }
}

fn parse_format(value: &str) -> Result<Format> {
    match value.to_lowercase().as_str() {
        "text" => Ok(Format::Text),
        "csv" => Ok(Format::Csv),
        "binary" => Ok(Format::Binary),
        "parquet" => Ok(Format::Parquet),
        "json" | "ndjson" | "jsonl" => Ok(Format::Json),
        "arrow" | "feather" | "ipc" => Ok(Format::Arrow),
        _ => Err(bad_value(format!("COPY format \"{value}\" not recognized"))
            .with_hint("It is text, csv or binary, and for files also parquet, json or arrow.")),
    }
}

fn parse_compression(value: &str) -> Result<CompressionTypeVariant> {
    match value.to_lowercase().as_str() {
        "gz" | "gzip" => Ok(CompressionTypeVariant::GZIP),
        "zst" | "zstd" => Ok(CompressionTypeVariant::ZSTD),
        "bz2" | "bzip2" => Ok(CompressionTypeVariant::BZIP2),
        "xz" => Ok(CompressionTypeVariant::XZ),
        "none" | "uncompressed" => Ok(CompressionTypeVariant::UNCOMPRESSED),
        _ => Err(
            bad_value(format!("COPY compression \"{value}\" not recognized"))
                .with_hint("It is gzip, zstd, bzip2, xz or none."),
        ),
    }
}

/// # Errors
/// 22023 for a name of no encoding, 0A000 for one that we do not have.
fn parse_encoding(value: &str) -> Result<ClientEncoding> {
    let encoding = ClientEncoding::of_name(value).ok_or_else(|| {
        bad_value("argument to option \"encoding\" must be a valid encoding name")
    })?;
    if !encoding.is_supported() {
        let message = format!("COPY encoding \"{value}\" is not supported");
        return Err(Error::unsupported(message));
    }
    Ok(encoding)
}
