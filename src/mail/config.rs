//! The section `[mail]` of the configuration.

use std::{path::PathBuf, time::Duration};

use jobs::{
    Send,
    contract::{Job, ports::Pauses},
};
use serde::Deserialize;

use crate::config::duration;

/// The section `[mail]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Raw")]
pub struct MailConfig {
    /// How this host names itself to servers; empty: by its host name.
    pub hello: String,
    /// Certificates to trust beside the system's, as a PEM file; empty: none.
    pub ca_file: PathBuf,
    /// How long each step of the dialogue may take.
    pub deadlines: Deadlines,
    /// How connections are kept for the next mail.
    pub keep: KeepConfig,
    /// How long to wait after refusals.
    pub pauses: Pauses,
}

/// How long each step of the dialogue with a server may take (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Name look-up and TCP.
    #[serde(deserialize_with = "duration")]
    pub connect: Duration,
    /// The greeting, and the answer to EHLO.
    #[serde(deserialize_with = "duration")]
    pub greeting: Duration,
    /// STARTTLS and the TLS handshake.
    #[serde(deserialize_with = "duration")]
    pub tls: Duration,
    /// AUTH, with all its steps.
    #[serde(deserialize_with = "duration")]
    pub auth: Duration,
    /// MAIL FROM.
    #[serde(deserialize_with = "duration")]
    pub mail: Duration,
    /// RCPT TO.
    #[serde(deserialize_with = "duration")]
    pub rcpt: Duration,
    /// DATA.
    #[serde(deserialize_with = "duration")]
    pub data: Duration,
    /// Handing over the message up to its last line.
    #[serde(deserialize_with = "duration")]
    pub body: Duration,
    /// The answer to the final dot.
    #[serde(deserialize_with = "duration")]
    pub dot: Duration,
}

impl Deadlines {
    fn sum(&self) -> Duration {
        let Self { connect, greeting, tls, auth, mail, rcpt, data, body, dot } = *self;
        [connect, greeting, tls, auth, mail, rcpt, data, body, dot]
            .iter()
            .fold(Duration::ZERO, |sum, d| sum.saturating_add(*d))
    }
}

/// How connections are kept for the next mail of the same account.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Mails over one connection.
    pub mails: u32,
    /// The age at which a connection is given up.
    #[serde(deserialize_with = "duration")]
    pub age: Duration,
    /// How long a connection waits for a next mail.
    #[serde(deserialize_with = "duration")]
    pub idle: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hello: String,
    ca_file: PathBuf,
    deadlines: Deadlines,
    keep: KeepConfig,
    pauses: RawPauses,
}

#[derive(Deserialize)]
struct Span(#[serde(deserialize_with = "duration")] Duration);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPauses {
    server_away: Vec<Span>,
    greylisted: Vec<Span>,
    later: Vec<Span>,
    rate_limited: Vec<Span>,
    recipient_busy: Span,
    quota_spent: Span,
    connections_spent: Span,
    login_refused: Span,
    login_later: Span,
    misconfigured: Span,
    effect_busy: Span,
}

impl RawPauses {
    fn read(self) -> Result<Pauses, String> {
        Ok(Pauses {
            server_away: schedule("server_away", self.server_away)?,
            greylisted: schedule("greylisted", self.greylisted)?,
            later: schedule("later", self.later)?,
            rate_limited: schedule("rate_limited", self.rate_limited)?,
            recipient_busy: self.recipient_busy.0,
            quota_spent: self.quota_spent.0,
            connections_spent: self.connections_spent.0,
            login_refused: self.login_refused.0,
            login_later: self.login_later.0,
            misconfigured: self.misconfigured.0,
            effect_busy: self.effect_busy.0,
        })
    }
}

fn schedule(name: &str, spans: Vec<Span>) -> Result<Vec<Duration>, String> {
    // No wait at all would try again in a circle, as fast as the machine can.
    if spans.is_empty() || spans.iter().any(|span| span.0.is_zero()) {
        return Err(format!("pauses.{name}: expected one or more durations, none of them zero"));
    }
    Ok(spans.into_iter().map(|span| span.0).collect())
}

impl TryFrom<Raw> for MailConfig {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        // A run that is aborted while it waits for the last answer is a mail nobody knows about.
        let longest = Send::TIMEOUT.saturating_sub(Duration::from_secs(120));
        if raw.deadlines.sum() > longest {
            let (sum, longest) = (raw.deadlines.sum().as_secs(), longest.as_secs());
            return Err(format!(
                "deadlines: expected at most {longest} s for all of them together, got {sum} s"
            ));
        }
        if raw.keep.mails == 0 {
            return Err("keep.mails: expected 1 or more, got 0".into());
        }
        let hello = raw.hello.trim().to_owned();
        if !hello.bytes().all(|c| c.is_ascii_alphanumeric() || b".-[]:".contains(&c)) {
            return Err(format!("hello: expected a host name or an address, got {hello:?}"));
        }
        let Raw { ca_file, deadlines, keep, pauses, .. } = raw;
        Ok(Self { hello, ca_file, deadlines, keep, pauses: pauses.read()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(line: &str) -> Result<MailConfig, String> {
        let defaults: toml::Table = crate::config::DEFAULTS.parse().unwrap();
        let mut mail = defaults["mail"].as_table().unwrap().clone();
        let change: toml::Table = line.parse().unwrap();
        for (section, values) in change {
            match values {
                toml::Value::Table(values) => {
                    mail[&section].as_table_mut().unwrap().extend(values);
                }
                value => {
                    mail.insert(section, value);
                }
            }
        }
        toml::Value::Table(mail).try_into().map_err(|e: toml::de::Error| e.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        assert_eq!(with("").unwrap().pauses, Pauses::default());
    }

    #[test]
    fn wrong_values_say_what_was_expected() {
        for (line, word) in [
            ("deadlines = { dot = \"1h\" }", "2280 s"),
            ("deadlines = { dots = \"1m\" }", "unknown field"),
            ("keep = { mails = 0 }", "keep.mails"),
            ("pauses = { later = [] }", "pauses.later"),
            ("pauses = { greylisted = [\"0s\"] }", "pauses.greylisted"),
            ("pauses = { quota_spent = \"soon\" }", "duration"),
            ("hello = \"a b\"", "hello"),
        ] {
            let error = with(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
