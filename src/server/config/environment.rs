//! Keys of the configuration in environment variables: `SHELFMARK_SERVER_LISTEN` is `server.listen`.

use super::suggest::nearest;
use super::{Config, Error, Result, sqlstate};

const PREFIX: &str = "SHELFMARK_";

/// Variables of ours that are no keys.
const OTHERS: [&str; 2] = ["SHELFMARK_CONFIG", "SHELFMARK_LOG"];

/// The variable of a key.
fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_ascii_uppercase())
}

/// Whether Kubernetes makes a variable of that name for a service that is called `shelfmark` or `shelfmark-server`.
fn is_service_link(variable: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
        .iter()
        .any(|suffix| variable.ends_with(suffix))
        || ["_PORT_", "_SERVICE_PORT_"]
            .iter()
            .any(|infix| variable.contains(infix))
}

/// Sets what the variables say.
///
/// # Errors
/// 42704 for a variable with our prefix that is no key, 22023 for a value that its key cannot have.
pub(super) fn apply(config: &mut Config, variables: &[(String, String)]) -> Result<()> {
    let names: Vec<String> = config.options().into_iter().map(|o| o.name).collect();
    let keys: Vec<String> = names.iter().map(|name| variable(name)).collect();
    for (variable, text) in variables {
        if !variable.starts_with(PREFIX)
            || OTHERS.contains(&variable.as_str())
            || is_service_link(variable)
        {
            continue;
        }
        let Some(at) = keys.iter().position(|key| key == variable) else {
            return Err(unknown(variable, &keys));
        };
        config
            .set(&names[at], text)
            .map_err(|e| e.context(variable))?;
    }
    Ok(())
}

fn unknown(variable: &str, keys: &[String]) -> Error {
    let message = format!("the environment variable {variable} is no configuration parameter");
    let error = Error::not_found(sqlstate::UNDEFINED_OBJECT, message);
    error.with_hint(match nearest(variable, keys.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("Variables that begin with {PREFIX} are SHELFMARK_SECTION_KEY."),
    })
}
