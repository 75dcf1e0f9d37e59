//! `postrider secrets rotate`: everything sealed, wrapped by the current secret key.

use clap::Subcommand;

use super::{Failure, Out};
use crate::store::{Rewrapped, Store};

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Wrap everything that secret_key_previous sealed by secret_key; API keys stay good.
    Rotate,
}

/// Wraps everything anew.
///
/// # Errors
///
/// When there is no key before this one, something opens with neither, or the store is out of reach.
pub async fn run(
    command: &SecretsCommand,
    store: &Store,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let SecretsCommand::Rotate = command;
    if !store.has_previous_key() {
        return Err(Failure::config(
            "there is no key to rotate from: set POSTRIDER_SECRET_KEY to the new key and \
             POSTRIDER_SECRET_KEY_PREVIOUS to the old one, restart every process with both, then \
             run this",
        ));
    }
    let did = store.rewrap().await?;
    let Rewrapped { rewrapped, current, unreadable } = did;
    if out.is_json() {
        out.json(&did)?;
    } else {
        out.line(format!("{rewrapped} secrets are wrapped anew, {current} were already."))?;
    }
    if unreadable > 0 {
        return Err(Failure::data(format!(
            "{unreadable} secrets open with neither key; the log names them. Apply their mailboxes or \
             endpoints again, or rotate from the key that sealed them"
        )));
    }
    if !out.is_json() {
        out.line("secret_key_previous can be emptied now.")?;
    }
    Ok(())
}
