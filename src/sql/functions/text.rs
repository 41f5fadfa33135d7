//! Functions of texts.

use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, texts};

use Kind::{Text, Texts};

pub(super) const FUNCTIONS: Group = &[(
    "string_to_table",
    &[Overload::new(&[Text, Text, Text], Texts, split)
        .optional(1)
        .with_nulls()],
)];

/// Those that give rows.
pub(super) const SETS: &[&str] = &["string_to_table"];

/// The parts between separators, single characters where that is NULL; parts equal to the third argument are NULL.
fn split(call: &Call<'_>) -> Result<ScalarValue> {
    if call.values[0].is_null() {
        return call.null();
    }
    let subject = call.text(0);
    let parts: Vec<&str> = match (call.values[1].is_null(), call.text(1)) {
        _ if subject.is_empty() => Vec::new(),
        (true, _) => subject.split("").filter(|part| !part.is_empty()).collect(),
        (false, "") => vec![subject],
        (false, separator) => subject.split(separator).collect(),
    };
    let null = call.values.get(2).filter(|value| !value.is_null());
    let is_null = |part: &str| null.is_some() && part == call.text(2);
    let parts = parts.into_iter();
    Ok(texts(
        parts.map(|part| (!is_null(part)).then(|| part.to_string())),
    ))
}
