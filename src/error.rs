//! The one error type: a kind for what the caller does about it, and the SQLSTATE that Postgres would give.

mod codes;
mod objects;
mod resources;

use std::fmt;
use std::io;
use std::path::Path;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use shelfmark_udfs::VectorError;

pub use self::objects::Objects;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The statement or its data is wrong; change it.
    InvalidInput,
    /// A named thing does not exist.
    NotFound,
    /// A thing of that name exists already.
    AlreadyExists,
    /// A concurrent commit won; run the statement again.
    Conflict,
    /// The caller asked to stop, or a time limit passed.
    Cancelled,
    /// A limit (memory, disk, size, count) was reached.
    LimitExceeded,
    /// The database cannot be written or reached now; reopen it.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupted,
    /// The role has no right to it, or has not proved who it is.
    Denied,
    /// Understood, but not offered.
    Unsupported,
    /// A fault of ours.
    Internal,
}

/// SQLSTATE codes, named as in PostgreSQL's `errcodes.txt`.
pub mod sqlstate {
    #![allow(missing_docs)]
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const INVALID_GRANT_OPERATION: &str = "0LP01";
    pub const INVALID_ROLE_SPECIFICATION: &str = "0P000";
    pub const CARDINALITY_VIOLATION: &str = "21000";
    pub const DATA_EXCEPTION: &str = "22000";
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    pub const NULL_VALUE_NOT_ALLOWED: &str = "22004";
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    pub const INVALID_TIME_ZONE_DISPLACEMENT_VALUE: &str = "22009";
    pub const SUBSTRING_ERROR: &str = "22011";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PRECEDING_OR_FOLLOWING_SIZE: &str = "22013";
    pub const INVALID_ARGUMENT_FOR_NTILE: &str = "22014";
    pub const INVALID_ARGUMENT_FOR_NTH_VALUE: &str = "22016";
    pub const INTERVAL_FIELD_OVERFLOW: &str = "22015";
    pub const SEQUENCE_GENERATOR_LIMIT_EXCEEDED: &str = "2200H";
    pub const INVALID_USE_OF_ESCAPE_CHARACTER: &str = "2200C";
    pub const INVALID_REGULAR_EXPRESSION: &str = "2201B";
    pub const INVALID_ARGUMENT_FOR_LOGARITHM: &str = "2201E";
    pub const INVALID_ARGUMENT_FOR_POWER_FUNCTION: &str = "2201F";
    pub const INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION: &str = "2201G";
    pub const INVALID_ROW_COUNT_IN_LIMIT: &str = "2201W";
    pub const INVALID_ROW_COUNT_IN_OFFSET: &str = "2201X";
    pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_ESCAPE_SEQUENCE: &str = "22025";
    pub const STRING_DATA_LENGTH_MISMATCH: &str = "22026";
    pub const ARRAY_SUBSCRIPT_ERROR: &str = "2202E";
    pub const INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION: &str = "22031";
    pub const INVALID_SQL_JSON_SUBSCRIPT: &str = "22033";
    pub const NON_NUMERIC_SQL_JSON_ITEM: &str = "22036";
    pub const SINGLETON_SQL_JSON_ITEM_REQUIRED: &str = "22038";
    pub const SQL_JSON_ARRAY_NOT_FOUND: &str = "22039";
    pub const SQL_JSON_MEMBER_NOT_FOUND: &str = "2203A";
    pub const SQL_JSON_NUMBER_NOT_FOUND: &str = "2203B";
    pub const SQL_JSON_OBJECT_NOT_FOUND: &str = "2203C";
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    pub const BAD_COPY_FILE_FORMAT: &str = "22P04";
    pub const UNTRANSLATABLE_CHARACTER: &str = "22P05";
    pub const NOT_NULL_VIOLATION: &str = "23502";
    pub const FOREIGN_KEY_VIOLATION: &str = "23503";
    pub const UNIQUE_VIOLATION: &str = "23505";
    pub const CHECK_VIOLATION: &str = "23514";
    pub const INVALID_TRANSACTION_STATE: &str = "25000";
    pub const ACTIVE_SQL_TRANSACTION: &str = "25001";
    pub const READ_ONLY_SQL_TRANSACTION: &str = "25006";
    pub const NO_ACTIVE_SQL_TRANSACTION: &str = "25P01";
    pub const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: &str = "25P03";
    pub const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    pub const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
    pub const INVALID_CURSOR_NAME: &str = "34000";
    pub const INVALID_SAVEPOINT_SPECIFICATION: &str = "3B001";
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    pub const SERIALIZATION_FAILURE: &str = "40001";
    pub const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const SYNTAX_ERROR: &str = "42601";
    pub const INVALID_NAME: &str = "42602";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const DUPLICATE_OBJECT: &str = "42710";
    pub const DUPLICATE_ALIAS: &str = "42712";
    pub const GROUPING_ERROR: &str = "42803";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const INVALID_FOREIGN_KEY: &str = "42830";
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    pub const WINDOWING_ERROR: &str = "42P20";
    pub const CANNOT_COERCE: &str = "42846";
    pub const INVALID_COLUMN_DEFINITION: &str = "42611";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const RESERVED_NAME: &str = "42939";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    pub const DUPLICATE_CURSOR: &str = "42P03";
    pub const DUPLICATE_DATABASE: &str = "42P04";
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    pub const DUPLICATE_SCHEMA: &str = "42P06";
    pub const DUPLICATE_TABLE: &str = "42P07";
    pub const DUPLICATE_FUNCTION: &str = "42723";
    pub const AMBIGUOUS_FUNCTION: &str = "42725";
    pub const INVALID_FUNCTION_DEFINITION: &str = "42P13";
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    pub const GENERATED_ALWAYS: &str = "428C9";
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    pub const INVALID_OBJECT_DEFINITION: &str = "42P17";
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    pub const INVALID_RECURSION: &str = "42P19";
    pub const INSUFFICIENT_RESOURCES: &str = "53000";
    pub const DISK_FULL: &str = "53100";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    pub const TOO_MANY_ARGUMENTS: &str = "54023";
    pub const WITH_CHECK_OPTION_VIOLATION: &str = "44000";
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
    pub const OBJECT_IN_USE: &str = "55006";
    pub const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";
    pub const QUERY_CANCELED: &str = "57014";
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    pub const IDLE_SESSION_TIMEOUT: &str = "57P05";
    pub const IO_ERROR: &str = "58030";
    pub const UNDEFINED_FILE: &str = "58P01";
    pub const SNAPSHOT_TOO_OLD: &str = "72000";
    pub const CONFIG_FILE_ERROR: &str = "F0000";
    pub const INTERNAL_ERROR: &str = "XX000";
    pub const DATA_CORRUPTED: &str = "XX001";
}

/// What is said where the answer of a prepared statement would have other columns by now.
pub const PLAN_CHANGED: &str = "cached plan must not change result type";

/// An error with its kind, its SQLSTATE, and a message that says what to do.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    sqlstate: &'static str,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// Where in the data it happened.
    context_lines: Option<String>,
    objects: Objects,
    /// Line and column of the statement's text, both from 1.
    position: Option<(u64, u64)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with the given SQLSTATE.
    pub fn new(kind: ErrorKind, sqlstate: &'static str, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            context_lines: None,
            objects: Objects::default(),
            position: None,
            source: None,
        };
        Self {
            inner: Box::new(inner),
        }
    }

    /// The statement or its data is wrong.
    pub fn invalid(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, sqlstate, message)
    }

    /// Something named does not exist.
    pub fn not_found(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, sqlstate, message)
    }

    /// Something of that name exists.
    pub fn exists(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AlreadyExists, sqlstate, message)
    }

    /// A concurrent commit won: 40001.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(
            ErrorKind::Conflict,
            sqlstate::SERIALIZATION_FAILURE,
            message,
        )
    }

    /// The role has no right to it: 42501.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, sqlstate::INSUFFICIENT_PRIVILEGE, message)
    }

    /// A limit was reached.
    pub fn limit(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, sqlstate, message)
    }

    /// Stored bytes are not what was written: XX001.
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted, sqlstate::DATA_CORRUPTED, message)
    }

    /// Understood, but not offered: 0A000.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            sqlstate::FEATURE_NOT_SUPPORTED,
            message,
        )
    }

    /// A fault of ours: XX000.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, sqlstate::INTERNAL_ERROR, message)
    }

    /// An I/O error while doing `what` (for example "write log file log/0001"): 53100 when the disk is full, 53000 when
    /// too many files are open, else 58030.
    pub fn io(what: impl fmt::Display, source: io::Error) -> Self {
        /// EMFILE and ENFILE: of this process, and of the machine.
        const TOO_MANY_FILES: [i32; 2] = [24, 23];
        let too_many = source.raw_os_error();
        let (kind, sqlstate) = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (ErrorKind::LimitExceeded, sqlstate::DISK_FULL)
            }
            _ if too_many.is_some_and(|code| TOO_MANY_FILES.contains(&code)) => {
                (ErrorKind::LimitExceeded, sqlstate::INSUFFICIENT_RESOURCES)
            }
            _ => (ErrorKind::Unavailable, sqlstate::IO_ERROR),
        };
        Self::new(kind, sqlstate, format!("could not {what}: {source}")).with_source(source)
    }

    /// The error for a file that cannot be read: 58P01 where there is none, else 58030.
    pub fn unreadable(path: &Path, error: &io::Error) -> Self {
        let message = format!("could not read {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => Self::not_found(sqlstate::UNDEFINED_FILE, message),
            _ => Self::new(ErrorKind::Unavailable, sqlstate::IO_ERROR, message),
        }
    }

    /// Adds what the message leaves out, such as the key that is there already.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds what the user can do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds where it happened, as PostgreSQL's CONTEXT has it (`COPY book, line 2, column key: "abc"`).
    pub fn with_context_line(mut self, line: impl AsRef<str>) -> Self {
        let lines = self.inner.context_lines.get_or_insert_default();
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(line.as_ref());
        self
    }

    /// Adds the place in the statement's text (line and column, both from 1).
    pub fn with_position(mut self, line: u64, column: u64) -> Self {
        self.inner.position = Some((line, column));
        self
    }

    /// Adds the error below.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Puts `context` before the message ("file books.csv, line 7").
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// Puts a place behind the message (`column "id"`).
    pub fn with_place(mut self, place: impl fmt::Display) -> Self {
        self.inner.message = format!("{} ({place})", self.inner.message);
        self
    }

    /// The same error of the UDF crate.
    pub fn from_vector(error: &VectorError) -> Self {
        let new = Self::invalid(error.sqlstate, error.message.clone());
        match error.detail {
            Some(detail) => new.with_detail(detail),
            None => new,
        }
    }

    /// What a caller does about it.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The five characters of the SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        self.inner.sqlstate
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What the message leaves out, where there is more to say.
    pub fn detail(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    /// What the user can do, where we know it.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Where it happened, one place a line, the innermost first (field W of the protocol).
    pub fn context_lines(&self) -> Option<&str> {
        self.inner.context_lines.as_deref()
    }

    /// Line and column in the statement's text, where we know them.
    pub fn position(&self) -> Option<(u64, u64)> {
        self.inner.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|e| e as _)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Error::corrupted(format!("segment file: {error}")).with_source(error)
    }
}

impl From<ParserError> for Error {
    fn from(error: ParserError) -> Self {
        from_parser(&error)
    }
}

impl From<DataFusionError> for Error {
    /// Takes our own error out again where DataFusion carried one; otherwise chooses the SQLSTATE from the variant.
    fn from(error: DataFusionError) -> Self {
        match unwrap_external(error) {
            Ok(own) => own,
            Err(other) => classify(other),
        }
    }
}

/// Our own error (or the UDF crate's), wherever DataFusion's wrappers put it.
fn unwrap_external(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::Context(context, inner) => {
            unwrap_external(*inner).map_err(|e| DataFusionError::Context(context, Box::new(e)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => unwrap_external(*inner)
            .map_err(|e| DataFusionError::Diagnostic(diagnostic, Box::new(e))),
        DataFusionError::External(boxed) => external(boxed),
        // Of several, the first is told.
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            unwrap_external(errors.swap_remove(0))
        }
        DataFusionError::ArrowError(inner, trace) => match *inner {
            arrow::error::ArrowError::ExternalError(boxed) => external(boxed),
            inner => Err(DataFusionError::ArrowError(Box::new(inner), trace)),
        },
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => unwrap_external(inner),
            Err(shared) => Ok(copy_shared(&shared)),
        },
        other => Err(other),
    }
}

fn external(boxed: Box<dyn std::error::Error + Send + Sync>) -> Result<Error, DataFusionError> {
    let boxed = match boxed.downcast::<Error>() {
        Ok(own) => return Ok(*own),
        Err(boxed) => boxed,
    };
    let boxed = match boxed.downcast::<VectorError>() {
        Ok(vector) => return Ok(Error::from_vector(&vector)),
        Err(boxed) => boxed,
    };
    match boxed.downcast::<DataFusionError>() {
        Ok(inner) => unwrap_external(*inner),
        Err(boxed) => Err(DataFusionError::External(boxed)),
    }
}

/// A shared error cannot be moved out; its message and code can be copied.
fn copy_shared(shared: &DataFusionError) -> Error {
    let root = shared.find_root();
    if let DataFusionError::External(boxed) = root {
        if let Some(own) = boxed.downcast_ref::<Error>() {
            let mut copy = Error::new(own.kind(), own.sqlstate(), own.message());
            copy.inner.detail = own.inner.detail.clone();
            copy.inner.hint = own.inner.hint.clone();
            copy.inner.context_lines = own.inner.context_lines.clone();
            copy.inner.position = own.inner.position;
            return copy;
        }
        if let Some(vector) = boxed.downcast_ref::<VectorError>() {
            return Error::from_vector(vector);
        }
    }
    if let Some(limit) = resources::limit_error(root) {
        return limit;
    }
    let (kind, sqlstate) = codes::code_of(root);
    Error::new(kind, sqlstate, shared.message().into_owned())
}

fn from_parser(error: &ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => Error::limit(
            sqlstate::STATEMENT_TOO_COMPLEX,
            "the statement is nested too deeply",
        ),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            match position_in(message) {
                Some((text, line, column)) => {
                    Error::invalid(sqlstate::SYNTAX_ERROR, text).with_position(line, column)
                }
                None => Error::invalid(sqlstate::SYNTAX_ERROR, message.clone()),
            }
        }
    }
}

/// sqlparser ends its messages with " at Line: 3, Column: 14": what stands before, and the place.
fn position_in(message: &str) -> Option<(&str, u64, u64)> {
    let (text, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = |s: &str| {
        s.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    Some((
        text,
        digits(line).parse().ok()?,
        digits(column).parse().ok()?,
    ))
}

fn classify(error: DataFusionError) -> Error {
    if let DataFusionError::SQL(parser, _) = error.find_root() {
        return from_parser(parser);
    }
    let root = error.find_root();
    if let Some(limit) = resources::limit_error(root) {
        return limit.with_source(error);
    }
    let (kind, sqlstate) = codes::code_of(root);
    let message =
        codes::message_of(root).unwrap_or_else(|| codes::words(tidy(&root.strip_backtrace())));
    let mut told = Error::new(kind, sqlstate, message);
    if let Some(span) = error.diagnostic().and_then(|d| d.span) {
        told = told.with_position(span.start.line, span.start.column);
    }
    if let Some(hint) = codes::hint_of(root) {
        told = told.with_hint(hint);
    }
    told.with_source(error)
}

/// DataFusion's prefixes name its own layers, which tell a user nothing.
fn tidy(message: &str) -> String {
    const PREFIXES: [&str; 7] = [
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "Arrow error: ",
        "External error: ",
        "Cast error: ",
        "This feature is not implemented: ",
    ];
    let mut rest = message;
    while let Some(next) = PREFIXES.iter().find_map(|p| rest.strip_prefix(p)) {
        rest = next.trim_start_matches(['\n', ' ']);
    }
    rest.lines().next().unwrap_or(rest).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_error_survives_datafusion() {
        let own = Error::invalid(sqlstate::NOT_NULL_VIOLATION, "null value in column \"id\"");
        let wrapped = DataFusionError::from(own).context("while inserting");
        let back = Error::from(wrapped);
        assert_eq!(back.sqlstate(), "23502");
        assert_eq!(back.message(), "null value in column \"id\"");
    }

    #[test]
    fn parser_errors_carry_their_place() {
        let error = Error::from(ParserError::ParserError(
            "Expected: an expression, found: EOF at Line: 3, Column: 14".into(),
        ));
        assert_eq!(error.sqlstate(), sqlstate::SYNTAX_ERROR);
        assert_eq!(error.position(), Some((3, 14)));
    }

    #[test]
    fn division_by_zero_has_its_own_code() {
        let error = Error::from(arrow::error::ArrowError::DivideByZero);
        assert_eq!(error.sqlstate(), sqlstate::DIVISION_BY_ZERO);
    }
}
