//! `postrider check-config`.

use serde_json::json;

use super::{Failure, Globals, Out};
use crate::scheduler::Crontab;

/// Reads the configuration and the crontab, and says that they are well.
///
/// # Errors
///
/// Everything that is wrong with them, one a line.
pub fn run(globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    let config = globals.read(&[])?;
    let crontab = Crontab::configured(&config, &jobs::catalogue())
        .map_err(|error| Failure::config(error.to_string()))?;
    let entries = crontab.entries().len();
    if out.is_json() {
        out.json(&json!({"ok": true, "crontab_entries": entries}))?;
    } else {
        out.line(format!("OK: the configuration is valid, with {entries} crontab entries."))?;
    }
    Ok(())
}
