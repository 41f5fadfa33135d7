//! The SQLSTATE of DataFusion's errors, which it tells by their texts alone, and PostgreSQL's words for some of them.

use std::io;

use arrow::error::ArrowError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::ErrorKind::{
    self, AlreadyExists, Cancelled, Corrupted, Internal, InvalidInput, LimitExceeded, NotFound,
    Unavailable, Unsupported,
};
use super::sqlstate as s;

type Code = (ErrorKind, &'static str);

/// Parts of a planner's messages, the first that is found counts.
const PLAN: &[(&[&str], Code)] = &[
    (&["table '", "not found"], (NotFound, s::UNDEFINED_TABLE)),
    (&["Invalid qualifier"], (NotFound, s::UNDEFINED_TABLE)),
    (&["Invalid function"], (NotFound, s::UNDEFINED_FUNCTION)),
    (
        &["table function", "not found"],
        (NotFound, s::UNDEFINED_FUNCTION),
    ),
    (
        &["No function matches"],
        (InvalidInput, s::UNDEFINED_FUNCTION),
    ),
    (&["does not support"], (InvalidInput, s::UNDEFINED_FUNCTION)),
    (&["Failed to coerce"], (InvalidInput, s::UNDEFINED_FUNCTION)),
    (
        &["Cannot coerce arithmetic"],
        (InvalidInput, s::UNDEFINED_FUNCTION),
    ),
    (
        &["Cannot infer common argument type"],
        (InvalidInput, s::UNDEFINED_FUNCTION),
    ),
    (&["already exists"], (AlreadyExists, s::DUPLICATE_TABLE)),
    (&["Cannot coerce"], (InvalidInput, s::DATATYPE_MISMATCH)),
    (
        &["Cannot infer common"],
        (InvalidInput, s::DATATYPE_MISMATCH),
    ),
    (&["Unsupported CAST"], (InvalidInput, s::CANNOT_COERCE)),
    (
        &["Step cannot be zero"],
        (InvalidInput, s::INVALID_PARAMETER_VALUE),
    ),
    (
        &["Invalid escape character"],
        (InvalidInput, s::INVALID_ESCAPE_SEQUENCE),
    ),
    (
        &["LIMIT must be"],
        (InvalidInput, s::INVALID_ROW_COUNT_IN_LIMIT),
    ),
    (
        &["OFFSET must be"],
        (InvalidInput, s::INVALID_ROW_COUNT_IN_OFFSET),
    ),
    (&["must be in GROUP BY"], (InvalidInput, s::GROUPING_ERROR)),
    (
        &["to grouping function is not in grouping columns"],
        (InvalidInput, s::GROUPING_ERROR),
    ),
    (
        &["Aggregate function calls cannot be nested"],
        (InvalidInput, s::GROUPING_ERROR),
    ),
    (
        &["must appear in the GROUP BY"],
        (InvalidInput, s::GROUPING_ERROR),
    ),
    (
        &["Aggregate functions are not allowed"],
        (InvalidInput, s::GROUPING_ERROR),
    ),
    (
        &["DISTINCT ON expressions must match"],
        (InvalidInput, s::INVALID_COLUMN_REFERENCE),
    ),
    (
        &["frame offsets for ROWS / GROUPS must be"],
        (InvalidInput, s::INVALID_PRECEDING_OR_FOLLOWING_SIZE),
    ),
    (
        &["start bound cannot be UNBOUNDED FOLLOWING"],
        (InvalidInput, s::WINDOWING_ERROR),
    ),
    (
        &["RANGE requires exactly one ORDER BY"],
        (InvalidInput, s::WINDOWING_ERROR),
    ),
    (
        &["GROUPS requires an ORDER BY"],
        (InvalidInput, s::WINDOWING_ERROR),
    ),
    (
        &["column out of bounds"],
        (InvalidInput, s::INVALID_COLUMN_REFERENCE),
    ),
    (
        &["Cannot find column with position"],
        (InvalidInput, s::INVALID_COLUMN_REFERENCE),
    ),
];

/// Parts of the messages of execution.
const EXECUTION: &[(&[&str], Code)] = &[
    (
        &["out of range"],
        (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE),
    ),
    (&["verflow"], (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE)),
    (
        &["subquery returned more than one row"],
        (InvalidInput, s::CARDINALITY_VIOLATION),
    ),
    (
        &["regex parse error"],
        (InvalidInput, s::INVALID_REGULAR_EXPRESSION),
    ),
    (
        &["square root of a negative"],
        (InvalidInput, s::INVALID_ARGUMENT_FOR_POWER_FUNCTION),
    ),
    (
        &["zero raised to a negative power"],
        (InvalidInput, s::INVALID_ARGUMENT_FOR_POWER_FUNCTION),
    ),
    (
        &["negative count not allowed"],
        (InvalidInput, s::SUBSTRING_ERROR),
    ),
    (
        &["field position must not be zero"],
        (InvalidInput, s::INVALID_PARAMETER_VALUE),
    ),
    (
        &["generate_series must not be 0"],
        (InvalidInput, s::INVALID_PARAMETER_VALUE),
    ),
    (
        &["step can't be 0"],
        (InvalidInput, s::INVALID_PARAMETER_VALUE),
    ),
    (
        &["NTILE requires a positive integer"],
        (InvalidInput, s::INVALID_ARGUMENT_FOR_NTILE),
    ),
    (
        &["invalid Unicode scalar value"],
        (LimitExceeded, s::PROGRAM_LIMIT_EXCEEDED),
    ),
];

const INTERNAL: Code = (Internal, s::INTERNAL_ERROR);

/// Parts of the messages of errors that DataFusion does not know, and that are those of the statement.
const WRONGLY_INTERNAL: &[(&[&str], Code)] = &[
    (
        &["regex parse error"],
        (InvalidInput, s::INVALID_REGULAR_EXPRESSION),
    ),
    (
        &["trying to unnest on invalid data type"],
        (InvalidInput, s::UNDEFINED_FUNCTION),
    ),
    (
        &["failed to convert size to usize"],
        (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE),
    ),
];

/// PostgreSQL's words, where its users look for them.
const WORDS: &[(&str, &str)] = &[
    ("LIMIT must be", "LIMIT must not be negative"),
    ("OFFSET must be", "OFFSET must not be negative"),
    (
        "subquery returned more than one row",
        "more than one row returned by a subquery used as an expression",
    ),
    (
        "negative count not allowed",
        "negative substring length not allowed",
    ),
    ("Divide by zero", "division by zero"),
    (
        "square root of a negative",
        "cannot take square root of a negative number",
    ),
    (
        "zero raised to a negative power",
        "zero raised to a negative power is undefined",
    ),
    (
        "invalid Unicode scalar value: 0",
        "null character not permitted",
    ),
    (
        "invalid Unicode scalar value",
        "requested character too large for encoding",
    ),
    ("Invalid escape character", "invalid escape string"),
    (
        "generate_series must not be 0",
        "step size cannot equal zero",
    ),
    (
        "NTILE requires a positive integer",
        "argument of ntile must be greater than zero",
    ),
    (
        "frame offsets for ROWS / GROUPS must be",
        "frame offset must not be negative",
    ),
    (
        "start bound cannot be UNBOUNDED FOLLOWING",
        "frame start cannot be UNBOUNDED FOLLOWING",
    ),
    (
        "RANGE requires exactly one ORDER BY",
        "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
    ),
    (
        "GROUPS requires an ORDER BY",
        "GROUPS mode requires an ORDER BY clause",
    ),
    ("Step cannot be zero", "step size cannot equal zero"),
    ("step can't be 0", "step size cannot equal zero"),
    (
        "Decimal overflow: rounded value exceeds",
        "value overflows numeric format",
    ),
];

/// The message that a user reads.
pub fn words(message: String) -> String {
    let known = WORDS.iter().find(|(part, _)| message.contains(part));
    known.map_or(message, |(_, words)| (*words).to_string())
}

/// The message of an error, in PostgreSQL's words where its users look for them.
pub fn message_of(error: &DataFusionError) -> Option<String> {
    let inner = match error {
        DataFusionError::SchemaError(inner, _) => inner,
        DataFusionError::NotImplemented(message) => {
            let name = message.strip_prefix("Unsupported SQL type ")?;
            let is_name = !name.starts_with('(');
            return is_name.then(|| format!("type \"{}\" does not exist", name.to_lowercase()));
        }
        _ => return None,
    };
    if let Some(table) = missing_table(inner) {
        return Some(format!("missing FROM-clause entry for table \"{table}\""));
    }
    match inner.as_ref() {
        SchemaError::FieldNotFound { field, .. } => Some(match &field.relation {
            Some(relation) => format!("column {}.{} does not exist", relation.table(), field.name),
            None => format!("column \"{}\" does not exist", field.name),
        }),
        SchemaError::AmbiguousReference { field } => {
            Some(format!("column reference \"{}\" is ambiguous", field.name))
        }
        _ => None,
    }
}

/// What its author may have meant, for a column that does not exist.
pub fn hint_of(error: &DataFusionError) -> Option<String> {
    let DataFusionError::SchemaError(inner, _) = error else {
        return None;
    };
    let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = inner.as_ref()
    else {
        return None;
    };
    let distance = |c: &Column| levenshtein(&c.name, &field.name);
    let near = valid_fields.iter().min_by_key(|c| distance(c))?;
    // As far as PostgreSQL lets a guess be off.
    if distance(near) > 3.min(field.name.chars().count() / 2) {
        return None;
    }
    let told = match &near.relation {
        Some(relation) => format!("{}.{}", relation.table(), near.name),
        None => near.name.clone(),
    };
    Some(format!(
        "Perhaps you meant to reference the column \"{told}\"."
    ))
}

/// The code of the innermost error.
pub fn code_of(error: &DataFusionError) -> Code {
    match error {
        DataFusionError::SQL(..) => (InvalidInput, s::SYNTAX_ERROR),
        DataFusionError::Plan(m) => find(PLAN, m).unwrap_or((InvalidInput, s::SYNTAX_ERROR)),
        DataFusionError::SchemaError(inner, _) => schema_code(inner),
        DataFusionError::NotImplemented(m) if m.contains("Unsupported SQL type") => {
            (NotFound, s::UNDEFINED_OBJECT)
        }
        DataFusionError::NotImplemented(_) => (Unsupported, s::FEATURE_NOT_SUPPORTED),
        DataFusionError::ArrowError(inner, _) => arrow_code(inner),
        DataFusionError::Execution(m) => {
            find(EXECUTION, m).unwrap_or((InvalidInput, s::DATA_EXCEPTION))
        }
        DataFusionError::Internal(m) => find(WRONGLY_INTERNAL, m).unwrap_or(INTERNAL),
        DataFusionError::External(e) => find(WRONGLY_INTERNAL, &e.to_string()).unwrap_or(INTERNAL),
        DataFusionError::Configuration(_) => (InvalidInput, s::INVALID_PARAMETER_VALUE),
        DataFusionError::ParquetError(_) => (Corrupted, s::DATA_CORRUPTED),
        DataFusionError::IoError(e) if e.kind() == io::ErrorKind::NotFound => {
            (NotFound, s::UNDEFINED_FILE)
        }
        DataFusionError::IoError(_) => (Unavailable, s::IO_ERROR),
        DataFusionError::ExecutionJoin(e) if e.is_cancelled() => (Cancelled, s::QUERY_CANCELED),
        DataFusionError::ObjectStore(_) => (Unavailable, s::IO_ERROR),
        _ => INTERNAL,
    }
}

fn find(table: &[(&[&str], Code)], message: &str) -> Option<Code> {
    let matches = |parts: &&[&str]| parts.iter().all(|part| message.contains(part));
    let found = table.iter().find(|(parts, _)| matches(parts));
    found.map(|(_, code)| *code)
}

/// The table of a column that is not there because its table is not in FROM.
fn missing_table(error: &SchemaError) -> Option<&str> {
    let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = error
    else {
        return None;
    };
    let table = field.relation.as_ref()?.table();
    let mut known = valid_fields.iter().filter_map(|f| f.relation.as_ref());
    (!known.any(|relation| relation.table() == table)).then_some(table)
}

fn schema_code(error: &SchemaError) -> Code {
    match error {
        error if missing_table(error).is_some() => (NotFound, s::UNDEFINED_TABLE),
        SchemaError::FieldNotFound { .. } => (NotFound, s::UNDEFINED_COLUMN),
        SchemaError::AmbiguousReference { .. } => (InvalidInput, s::AMBIGUOUS_COLUMN),
        _ => (InvalidInput, s::DUPLICATE_COLUMN),
    }
}

fn arrow_code(error: &ArrowError) -> Code {
    match error {
        ArrowError::DivideByZero => (InvalidInput, s::DIVISION_BY_ZERO),
        ArrowError::ArithmeticOverflow(_) => (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE),
        ArrowError::ComputeError(m) => {
            find(EXECUTION, m).unwrap_or((InvalidInput, s::DATA_EXCEPTION))
        }
        ArrowError::ParseError(m) if m.contains("type interval") => {
            (InvalidInput, s::INVALID_DATETIME_FORMAT)
        }
        ArrowError::CastError(m) if is_number_too_large(m) => {
            (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE)
        }
        ArrowError::CastError(_) | ArrowError::ParseError(_) => {
            (InvalidInput, s::INVALID_TEXT_REPRESENTATION)
        }
        ArrowError::InvalidArgumentError(m) if m.contains("too large to store") => {
            (InvalidInput, s::NUMERIC_VALUE_OUT_OF_RANGE)
        }
        ArrowError::NotYetImplemented(_) => (Unsupported, s::FEATURE_NOT_SUPPORTED),
        ArrowError::CsvError(_) | ArrowError::JsonError(_) => {
            (InvalidInput, s::BAD_COPY_FILE_FORMAT)
        }
        ArrowError::MemoryError(_) => (LimitExceeded, s::OUT_OF_MEMORY),
        ArrowError::IoError(..) => (Unavailable, s::IO_ERROR),
        _ => (InvalidInput, s::DATA_EXCEPTION),
    }
}

/// Whether what could not be cast is a number, or a text that is a whole number: then it does not fit, else it is none.
fn is_number_too_large(message: &str) -> bool {
    if message.starts_with("Can't cast value ") {
        return true;
    }
    let rest = message.split_once("Cannot cast string '");
    let text = rest.and_then(|(_, rest)| rest.split_once('\''));
    text.is_some_and(|(text, _)| {
        let digits = text.trim().trim_start_matches(['-', '+']);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_are_numbers() {
        assert!(is_number_too_large(
            "Cannot cast string '99999999999' to value of Int32 type"
        ));
        assert!(is_number_too_large(
            "Cannot cast string ' -129 ' to value of Int8 type"
        ));
        assert!(is_number_too_large("Can't cast value 40000 to type Int16"));
        assert!(!is_number_too_large(
            "Cannot cast string '1e5' to value of Int32 type"
        ));
        assert!(!is_number_too_large(
            "Cannot cast string '' to value of Int32 type"
        ));
    }

    #[test]
    fn texts_have_the_codes_of_postgres() {
        let plan = |m: &str| code_of(&DataFusionError::Plan(m.to_string())).1;
        assert_eq!(plan("LIMIT must be >= 0, '-1' was provided"), "2201W");
        assert_eq!(plan("table 'shelfmark.public.x' not found"), "42P01");
        assert_eq!(plan("something else"), "42601");
        let message = words("Arrow error: Divide by zero error".to_string());
        assert_eq!(message, "division by zero");
    }
}
