//! DataFusion's errors about limits of memory and temporary files, in our words.

use std::io;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use super::{Error, sqlstate};

/// How DataFusion begins its error, an I/O error without a kind, when temporary files grow past their limit.
const TEMP_LIMIT: &str = "The used disk space during the spilling process has exceeded";

/// The error for what DataFusion says of a limit that was reached: 53200 for memory, 53400 for the limit of temporary
/// files, 53100 for a full disk; none for other errors.
pub(super) fn limit_error(root: &DataFusionError) -> Option<Error> {
    match root {
        DataFusionError::ResourcesExhausted(message) => Some(out_of_memory(message)),
        DataFusionError::IoError(error) => no_space(error),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::IoError(_, error) => no_space(error),
            _ => None,
        },
        _ => None,
    }
}

fn out_of_memory(message: &str) -> Error {
    // Before its last line, the message lists the largest users of memory: those of other sessions too.
    let request = message.rsplit("Error: ").next().unwrap_or(message);
    Error::limit(sqlstate::OUT_OF_MEMORY, "out of memory")
        .with_detail(request.trim())
        .with_hint("All queries together may use the memory that the setting memory_limit allows.")
}

fn no_space(error: &io::Error) -> Option<Error> {
    if error.to_string().contains(TEMP_LIMIT) {
        let message = "temporary file size exceeds temp_limit";
        let error = Error::limit(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message);
        let hint = "The temporary files of all queries together may use the disk space that the setting temp_limit \
                    allows.";
        return Some(error.with_hint(hint));
    }
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let message = format!("could not write a temporary file: {error}");
    full.then(|| Error::limit(sqlstate::DISK_FULL, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_pool_have_their_own_codes() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let arrow = ArrowError::IoError("spill".into(), full());
        for error in [DataFusionError::IoError(full()), arrow.into()] {
            assert_eq!(Error::from(error).sqlstate(), "53100");
        }
        let other = DataFusionError::IoError(io::ErrorKind::PermissionDenied.into());
        assert_eq!(Error::from(other).sqlstate(), "58030");
        let message = "Additional allocation failed for A with top memory consumers as:\n  B#1\nError: Failed for A";
        let error = Error::from(DataFusionError::ResourcesExhausted(message.into()));
        assert_eq!(error.sqlstate(), "53200");
        assert_eq!(error.message(), "out of memory");
        assert_eq!(error.detail(), Some("Failed for A"));
        assert!(error.hint().unwrap().contains("memory_limit"));
    }
}
