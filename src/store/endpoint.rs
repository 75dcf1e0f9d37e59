//! What an endpoint is: what an operator says about it, and what became of it.

use std::collections::BTreeMap;

use jobs::{
    contract::{Moment, ports::Format},
    webhook_delivery::{is_name, is_subscription},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    config::Rate,
    webhooks::{SecondSignature, SigningSecret, headers},
};

/// The most endpoints of a tenant: an event reaches all of them within one run.
pub const MOST_ENDPOINTS: usize = 500;
/// The most subscriptions of an endpoint.
const MOST_SUBSCRIPTIONS: usize = 100;
/// The most rotated secrets that go on signing.
pub const MOST_OLD_SECRETS: usize = 2;

/// All that an operator says about an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Its name within the tenant.
    pub id: String,
    /// What it is for, in the operator's words.
    pub description: Option<String>,
    /// Where it is; checked by who registers it.
    pub url: SecretString,
    /// In which form it wants events.
    pub format: Format,
    /// What it subscribed to: `*`, `ticket.*`, `ticket.created`.
    pub events: Vec<String>,
    /// Further headers.
    pub headers: BTreeMap<String, SecretString>,
    /// A second signature header.
    pub second: Option<SecondSignature>,
    /// Its pace; as fast as it answers, if none is given.
    pub rate: Option<Rate>,
    /// Its signing secret; one is made, or kept, if none is given.
    pub secret: Option<SigningSecret>,
    /// Whether it may be delivered to; a new one may, and another stays as it is, if nothing is said.
    pub enabled: Option<bool>,
}

/// An endpoint with its secrets: for the adapter that delivers, never for jobs.
#[derive(Debug, Clone)]
pub struct EndpointRow {
    /// What an operator said; `secret` is the current one.
    pub settings: EndpointSettings,
    /// Rotated secrets, the newest first, and until when they sign.
    pub old_secrets: Vec<(SigningSecret, Moment)>,
    /// Why it is disabled, if it is.
    pub disabled: Option<String>,
    /// Since when no attempt succeeded.
    pub failing_since: Option<Moment>,
    /// Until when its circuit is open.
    pub circuit_until: Option<Moment>,
    /// When it was made.
    pub created_at: Moment,
}

impl EndpointSettings {
    /// Everything that is wrong with the settings, but for the URL: the option, and what was expected.
    pub fn flaws(&self) -> Vec<(&'static str, String)> {
        let mut flaws = Vec::new();
        if !is_name(&self.id) {
            let words = "expected 1 to 64 letters, digits, '-', '_' or '.'";
            flaws.push(("id", words.to_owned()));
        }
        let plain = |text: &String| text.len() <= 200 && !text.chars().any(char::is_control);
        if !self.description.as_ref().is_none_or(plain) {
            flaws.push(("description", "expected one line of at most 200 bytes".to_owned()));
        }
        if self.events.is_empty() || self.events.len() > MOST_SUBSCRIPTIONS {
            flaws.push(("events", format!("expected 1 to {MOST_SUBSCRIPTIONS} events")));
        }
        for event in self.events.iter().filter(|event| !is_subscription(event)) {
            let words =
                format!("expected an event such as ticket.created, ticket.* or *, got {event:?}");
            flaws.push(("events", words));
        }
        flaws.extend(headers::flaw(&self.headers).map(|words| ("headers", words)));
        let second = self.second.as_ref().and_then(SecondSignature::flaw);
        flaws.extend(second.map(|words| ("signature", words)));
        if let Some(SecondSignature { header, .. }) = &self.second
            && self.headers.keys().any(|name| name.eq_ignore_ascii_case(header))
        {
            let words = format!("expected a header of its own, got {header}, which is in headers");
            flaws.push(("signature", words));
        }
        flaws
    }
}

impl EndpointRow {
    /// The secrets that sign at `now`, the current one first.
    pub fn signing(&self, now: Moment) -> Vec<SigningSecret> {
        let old = self.old_secrets.iter().filter(|(_, until)| *until > now);
        self.settings.secret.iter().chain(old.map(|(secret, _)| secret)).cloned().collect()
    }

    /// Whether applying these settings would change nothing.
    pub(super) fn is_as(&self, wanted: &EndpointSettings) -> bool {
        let have = &self.settings;
        let plain = |headers: &BTreeMap<String, SecretString>| -> BTreeMap<String, String> {
            let pair = |(name, value): (&String, &SecretString)| {
                (name.clone(), value.expose_secret().to_owned())
            };
            headers.iter().map(pair).collect()
        };
        have.description == wanted.description
            && have.url.expose_secret() == wanted.url.expose_secret()
            && have.format == wanted.format
            && have.events == wanted.events
            && plain(&have.headers) == plain(&wanted.headers)
            && have.second == wanted.second
            && have.rate == wanted.rate
            && (wanted.secret.is_none() || have.secret == wanted.secret)
            && wanted.enabled.is_none_or(|enabled| enabled == self.disabled.is_none())
    }
}
