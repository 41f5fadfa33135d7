//! Whether jobs may run at all.

use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::change::JobKind;
use crate::storage::collection::Collection;

/// That jobs of the kind may run at all for the collection.
///
/// # Errors
/// 55000 when they are turned off.
pub fn check_enabled(kind: JobKind, collection: &Collection, settings: &Settings) -> Result<()> {
    let own = collection.options.settings(settings);
    let (message, hint) = if let Some((what, setting)) = turned_off(kind, settings) {
        let hint = format!("Open the database with {setting} = on.");
        (format!("{what} is turned off"), hint)
    } else if let Some((what, setting)) = turned_off(kind, &own) {
        let name = &collection.name;
        let hint = format!("ALTER TABLE {name} RESET ({setting}) turns it on.");
        (format!("{what} of \"{name}\" is turned off"), hint)
    } else {
        return Ok(());
    };
    let code = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
    Err(Error::invalid(code, message).with_hint(hint))
}

/// Whether it is the collection's own settings that allow no jobs of the kind.
pub fn disables_itself(kind: JobKind, collection: &Collection, settings: &Settings) -> bool {
    let own = collection.options.settings(settings);
    turned_off(kind, settings).is_none() && turned_off(kind, &own).is_some()
}

/// What is turned off, and by which setting.
fn turned_off(kind: JobKind, settings: &Settings) -> Option<(&'static str, &'static str)> {
    match kind {
        JobKind::Seal => None,
        _ if !settings.compaction_enable => Some(("compaction", "compaction.enable")),
        JobKind::Cluster if !settings.compaction_clustering_enable => {
            Some(("clustering", "compaction.clustering.enable"))
        }
        _ => None,
    }
}
