//! The section `[webhooks]` of the configuration.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use crate::config::{Ranges, duration};

/// The section `[webhooks]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Certificates to trust beside the system's, as a PEM file; empty: none.
    pub ca_file: PathBuf,
    /// How long a connection waits for the next delivery to its endpoint.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
    /// How long a rotated secret goes on signing, unless the operator says otherwise.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// How long the log is kept, and what is in it can be replayed.
    #[serde(deserialize_with = "duration")]
    pub log_keep: Duration,
    /// How long the steps of a request may take.
    pub deadlines: DeadlinesConfig,
    /// Where requests may go.
    pub egress: EgressConfig,
}

/// How long the steps of a request may take.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlinesConfig {
    /// Looking the name up.
    #[serde(deserialize_with = "duration")]
    pub dns: Duration,
    /// Connecting to one address; the same again for TLS.
    #[serde(deserialize_with = "duration")]
    pub connect: Duration,
    /// All of it, the body of the answer included.
    #[serde(deserialize_with = "duration")]
    pub total: Duration,
}

/// Where requests may go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressConfig {
    /// Whether endpoints without TLS are admitted.
    pub allow_http: bool,
    /// Networks that are admitted though they are not public.
    #[serde(deserialize_with = "networks")]
    pub allow_cidrs: Vec<IpNet>,
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let read = |text: &String| {
        text.parse().map_err(|_| {
            let words = "expected networks such as 10.1.0.0/16 or fd00::/8, got";
            de::Error::custom(format!("{words} {text:?}"))
        })
    };
    Vec::<String>::deserialize(from)?.iter().map(read).collect()
}

impl WebhooksConfig {
    /// Names the options whose values make no sense.
    pub fn ranges(&self, ranges: &mut Ranges) {
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let (hour, day) = (second * 3_600, second * 86_400);
        let DeadlinesConfig { dns, connect, total } = self.deadlines;
        ranges.duration("webhooks.deadlines.dns", dns, milli * 10..=second * 30);
        ranges.duration("webhooks.deadlines.connect", connect, milli * 10..=second * 30);
        ranges.duration("webhooks.deadlines.total", total, milli * 10..=second * 60);
        ranges.duration("webhooks.keep", self.keep, Duration::ZERO..=hour);
        ranges.duration("webhooks.grace", self.grace, Duration::ZERO..=day * 7);
        ranges.duration("webhooks.log_keep", self.log_keep, hour..=day * 365);
    }
}
