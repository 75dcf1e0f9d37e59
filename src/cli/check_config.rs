//! `postrider check-config`.

use serde_json::json;

use super::{Failure, Globals, Out};
use crate::{
    config::Config,
    resources::{Compared, Declarations, Tables, compare},
    scheduler::Crontab,
    store::records::Hosts,
    tls,
};

/// What is wrong with the certificates that it names.
fn certificates(config: &Config) -> Result<(), String> {
    let mail = tls::trust("mail.ca_file", &config.mail.ca_file).map(drop);
    let webhooks = tls::trust("webhooks.ca_file", &config.webhooks.ca_file).map(drop);
    let wrong = [config.redis.check_certificates(), mail, webhooks];
    let words: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    if words.is_empty() { Ok(()) } else { Err(words.join("\n")) }
}

/// Reads the configuration, the resources and the crontab, compares the product's tables with what is
/// declared, and says that all is well.
///
/// # Errors
///
/// Everything that is wrong with them, one a line.
pub async fn run(globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    let config = globals.read(&[])?;
    certificates(&config).map_err(Failure::config)?;
    let declared =
        Declarations::configured(&config).map_err(|error| Failure::config(error.to_string()))?;
    let crontab = Crontab::configured(&config, &jobs::catalogue(), declared.resources())
        .map_err(|error| Failure::config(error.to_string()))?;
    compare_hosts(&declared).await?;
    let (entries, resources) = (crontab.entries().len(), declared.resources().names().count());
    if out.is_json() {
        let said = json!({"ok": true, "crontab_entries": entries, "resources": resources});
        out.json(&said)?;
    } else {
        out.line(format!(
            "OK: the configuration is valid, with {entries} crontab entries and {resources} resources."
        ))?;
    }
    Ok(())
}

/// Compares the product's tables with what is declared: Postrider's own may not be there yet.
///
/// # Errors
///
/// In what they differ, and which of them nobody could look at, one a line.
pub(super) async fn compare_hosts(declared: &Declarations) -> Result<(), Failure> {
    let hosts = Hosts::new(declared.databases()).map_err(Failure::config)?;
    let Compared { mismatches, away } = compare(declared, Tables::OfHosts(&hosts)).await;
    if !mismatches.is_empty() {
        return Err(Failure::config(mismatches.join("\n")));
    }
    if !away.is_empty() {
        return Err(Failure::unavailable(away.join("\n")));
    }
    Ok(())
}
