//! The section `[http]` of the configuration.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::origin::Network;
use crate::config::{Rate, duration};

/// The section `[http]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where the façade listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Where the admin listener listens, if anywhere.
    #[serde(deserialize_with = "optional_address")]
    pub admin_listen: Option<SocketAddr>,
    /// The proxies in front of the façade, whose word on where a request comes from is taken.
    pub proxies: Vec<Network>,
    /// Requests of a tenant.
    pub rate_limit: Rate,
    /// Requests without a good key, of each address.
    pub strangers: Rate,
    /// How long the head of a request may take, and how long an idle connection is kept.
    #[serde(deserialize_with = "patience")]
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    #[serde(deserialize_with = "patience")]
    pub body_timeout: Duration,
    /// How long requests may go on after a stop was asked for.
    #[serde(deserialize_with = "patience")]
    pub grace: Duration,
    /// How long a submission is remembered by its key.
    #[serde(deserialize_with = "keep")]
    pub idempotency_keep: Duration,
    /// How long a good key is trusted.
    #[serde(deserialize_with = "trust")]
    pub key_cache: Duration,
    /// Waiting callers of a tenant.
    #[serde(deserialize_with = "waiters")]
    pub waiters: usize,
    /// How often a stream of events says that it is alive.
    #[serde(deserialize_with = "patience")]
    pub stream_beat: Duration,
    /// Open connections.
    #[serde(deserialize_with = "connections")]
    pub connections: usize,
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let words = format!("expected an address such as 127.0.0.1:8080, got {text:?}");
        de::Error::custom(words)
    })
}

fn optional_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    address(de::IntoDeserializer::into_deserializer(text)).map(Some)
}

fn patience<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, Duration::from_millis(10)..=Duration::from_secs(300), "10ms to 5m")
}

fn keep<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, Duration::from_secs(3_600)..=Duration::from_secs(30 * 86_400), "1h to 30d")
}

fn trust<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, Duration::ZERO..=Duration::from_secs(5), "0s to 5s")
}

fn span<'de, D: Deserializer<'de>>(
    from: D,
    allowed: RangeInclusive<Duration>,
    words: &str,
) -> Result<Duration, D::Error> {
    let got = duration(from)?;
    if allowed.contains(&got) {
        Ok(got)
    } else {
        Err(de::Error::custom(format!("expected {words}, got {}ms", got.as_millis())))
    }
}

fn waiters<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, 1..=10_000)
}

fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count(from, 1..=100_000)
}

fn count<'de, D: Deserializer<'de>>(
    from: D,
    allowed: RangeInclusive<usize>,
) -> Result<usize, D::Error> {
    let got = usize::deserialize(from)?;
    if allowed.contains(&got) {
        Ok(got)
    } else {
        let (least, most) = (allowed.start(), allowed.end());
        Err(de::Error::custom(format!("expected {least} to {most}, got {got}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::Config;

    fn with(name: &str, value: &str) -> Result<Config, String> {
        let name = format!("POSTRIDER_HTTP__{name}");
        Config::load(None, [(name, value.to_owned())]).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_what_callers_were_promised() {
        let http = Config::load(None, []).unwrap().http;
        let seconds = |n| Duration::from_secs(n);
        assert_eq!(http.rate_limit, "60/min".parse().unwrap());
        assert_eq!((http.header_timeout, http.body_timeout), (seconds(10), seconds(10)));
        assert_eq!((http.idempotency_keep, http.key_cache), (seconds(86_400), seconds(5)));
        assert_eq!((http.waiters, http.stream_beat), (100, seconds(15)));
    }

    #[test]
    fn the_admin_listener_can_be_switched_off() {
        assert_eq!(with("ADMIN_LISTEN", "").unwrap().http.admin_listen, None);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_was_expected() {
        for (name, value, expected) in [
            ("LISTEN", "localhost", "http.listen: expected an address such as 127.0.0.1:8080"),
            ("ADMIN_LISTEN", "9090", "http.admin_listen: expected an address such as"),
            ("HEADER_TIMEOUT", "0s", "http.header_timeout: expected 10ms to 5m, got 0ms"),
            ("KEY_CACHE", "6s", "http.key_cache: expected 0s to 5s, got 6000ms"),
            ("IDEMPOTENCY_KEEP", "5m", "http.idempotency_keep: expected 1h to 30d"),
            ("WAITERS", "0", "http.waiters: expected 1 to 10000, got 0"),
            ("PROXIES", "[\"10.0.0.0/33\"]", "http.proxies[0]: expected an address or a network"),
            ("RATE_LIMIT", "lots", "http.rate_limit: expected a rate such as 60/min"),
        ] {
            let said = with(name, value).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
