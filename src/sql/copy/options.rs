//! Options of COPY.

use std::path::Path;

use datafusion::common::parsers::CompressionTypeVariant;

use crate::error::{Error, Result, sqlstate};

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values, with quotes as Postgres and RFC 4180 have them.
    Csv,
    /// JSON: one object a line, or one array of objects.
    Json,
    /// Arrow IPC, file or stream.
    Arrow,
}

impl Format {
    /// The name by which DataFusion knows the format.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }
}

/// Options of COPY; `None` is the default of the format.
#[derive(Debug, Clone, Default)]
pub(super) struct CopyOptions {
    pub(super) format: Option<Format>,
    pub(super) header: Option<bool>,
    pub(super) delimiter: Option<u8>,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    /// The text that stands for NULL when it is not quoted.
    pub(super) null: Option<String>,
    pub(super) compression: Option<CompressionTypeVariant>,
}

impl CopyOptions {
    /// # Errors
    /// 42601 for an unknown option, 22023 for a value it cannot have.
    pub(super) fn parse(options: &[(String, String)]) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in options {
            match name.as_str() {
                "format" => parsed.format = Some(parse_format(value)?),
                "header" => parsed.header = Some(on_off(name, value)?),
                "delimiter" | "delim" | "sep" => parsed.delimiter = Some(one_byte(name, value)?),
                "quote" => parsed.quote = Some(one_byte(name, value)?),
                "escape" => parsed.escape = Some(one_byte(name, value)?),
                "null" | "nullstr" => parsed.null = Some(value.clone()),
                "compression" => parsed.compression = Some(parse_compression(value)?),
                _ => {
                    let message = format!("option \"{name}\" not recognized");
                    return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).with_hint(
                        "The options of COPY are FORMAT, HEADER, DELIMITER, QUOTE, ESCAPE, NULL \
                         and COMPRESSION.",
                    ));
                }
            }
        }
        Ok(parsed)
    }

    /// The format of a file: the option, or what the file's name says.
    ///
    /// # Errors
    /// 22023 where neither says it.
    pub(super) fn format_of(&self, path: &Path) -> Result<Format> {
        if let Some(format) = self.format {
            return Ok(format);
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
            Some("parquet") => Ok(Format::Parquet),
            Some("csv" | "tsv") => Ok(Format::Csv),
            Some("json" | "ndjson" | "jsonl") => Ok(Format::Json),
            Some("arrow" | "arrows" | "feather" | "ipc") => Ok(Format::Arrow),
            _ => {
                let message = format!("the format of file \"{}\" is unknown", path.display());
                Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                    .with_hint("Say it: COPY .. WITH (FORMAT csv)."))
            }
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

    /// The byte between fields of a file.
    pub(super) fn delimiter_of(&self, path: &Path) -> u8 {
        let tabs = path.to_string_lossy().to_lowercase().contains(".tsv");
        self.delimiter.unwrap_or(if tabs { b'\t' } else { b',' })
    }
}

fn parse_format(value: &str) -> Result<Format> {
    match value.to_lowercase().as_str() {
        "parquet" => Ok(Format::Parquet),
        "csv" => Ok(Format::Csv),
        "json" | "ndjson" | "jsonl" => Ok(Format::Json),
        "arrow" | "feather" | "ipc" => Ok(Format::Arrow),
        _ => Err(bad_value("format", value).with_hint("It is parquet, csv, json or arrow.")),
    }
}

fn parse_compression(value: &str) -> Result<CompressionTypeVariant> {
    match value.to_lowercase().as_str() {
        "gz" | "gzip" => Ok(CompressionTypeVariant::GZIP),
        "zst" | "zstd" => Ok(CompressionTypeVariant::ZSTD),
        "bz2" | "bzip2" => Ok(CompressionTypeVariant::BZIP2),
        "xz" => Ok(CompressionTypeVariant::XZ),
        "none" | "uncompressed" => Ok(CompressionTypeVariant::UNCOMPRESSED),
        _ => Err(bad_value("compression", value).with_hint("It is gzip, zstd, bzip2, xz or none.")),
    }
}

fn bad_value(name: &str, value: &str) -> Error {
    let message = format!("invalid value \"{value}\" for COPY option \"{name}\"");
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn on_off(name: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "true" | "on" | "1" | "match" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(bad_value(name, value)),
    }
}

fn one_byte(name: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] => Ok(*byte),
        b"\\t" => Ok(b'\t'),
        _ => Err(bad_value(name, value).with_hint("It is one single-byte character.")),
    }
}
