//! `[[endpoints]]`: where events go.

use std::collections::BTreeMap;

use jobs::contract::ports::Format;
use secrecy::SecretString;

use super::entry::{Entry, Env};
use crate::{
    config::Rate,
    store::EndpointSettings,
    webhooks::{SecondSignature, SigningSecret, Target},
};

/// Reads one endpoint. Where its URL leads is checked later: that needs to ask.
pub(super) fn endpoint(
    mut entry: Entry<'_>,
    env: Env<'_>,
    problems: &mut Vec<String>,
) -> Option<EndpointSettings> {
    let line = entry.line;
    if !entry.has("id") {
        entry.wrong("id", line, "expected a name of your own; it is missing");
    }
    let id = entry.take::<String>("id").map(|(id, _)| id).unwrap_or_default();
    let names_url = entry.has("url") || entry.has("url_env");
    let url = entry.take_secret_of("url", "url_env", env);
    if !names_url {
        entry.wrong("url", line, "expected a URL in url, or the variable that has it in url_env");
    }
    let url: SecretString = url.unwrap_or_default().into();
    let secret = entry.take_secret_of("secret", "secret_env", env);
    let secret = secret.and_then(|text| {
        let read = SigningSecret::read(&text.into());
        read.map_err(|words| entry.wrong("secret", line, words)).ok()
    });
    let format = entry.take::<Format>("format").map(|(format, _)| format);
    let headers = entry.take::<BTreeMap<String, SecretString>>("headers");
    let settings = EndpointSettings {
        description: entry.take::<String>("description").map(|(text, _)| text),
        format: format.unwrap_or_else(|| Target::format_of(&url)),
        events: entry.take("events").map_or_else(|| vec!["*".to_owned()], |(events, _)| events),
        headers: headers.map(|(headers, _)| headers).unwrap_or_default(),
        second: entry.take::<SecondSignature>("signature").map(|(signature, _)| signature),
        rate: entry.take::<Rate>("rate").map(|(rate, _)| rate),
        enabled: entry.take::<bool>("enabled").map(|(enabled, _)| enabled),
        id,
        url,
        secret,
    };
    for (option, words) in settings.flaws() {
        // A name that is missing was told of already.
        if option != "id" || !settings.id.is_empty() {
            entry.wrong(option, line, words);
        }
    }
    entry.finish(problems).then_some(settings)
}
