//! The section `[redis]` of the configuration.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{keys::MOST_SHARDS, server::Place};
use crate::config::Ranges;

/// What an acknowledged job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Whatever the server survives by its own file.
    Local,
    /// The loss of the server as well: a replica has it, too.
    Replicated,
}

/// The shared queue.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Where it is; empty: the embedded queue.
    pub url: String,
    /// Certificates that are trusted instead of the system's; empty: the system's.
    pub ca_file: PathBuf,
    /// The certificate by which this process is known; empty: none.
    pub client_certificate: PathBuf,
    /// The key of that certificate.
    pub client_key: PathBuf,
    /// The user at the sentinels; empty: the default one.
    pub sentinel_user: String,
    /// The password at the sentinels; empty: none.
    pub sentinel_password: SecretString,
    /// What all keys begin with.
    pub prefix: String,
    /// Among how many shards tenants are spread.
    pub shards: u16,
    /// What an acknowledged job survives.
    pub durability: Durability,
    /// How long a submission waits for a replica.
    #[serde(deserialize_with = "crate::config::duration")]
    pub replica_timeout: Duration,
    /// The part of the server's memory at which submissions are refused.
    pub high_water: f64,
    /// How long a worker's or scheduler's call waits for its answer.
    #[serde(deserialize_with = "crate::config::duration")]
    pub response_timeout: Duration,
    /// How long a caller's or operator's call waits for its answer.
    #[serde(deserialize_with = "crate::config::duration")]
    pub submit_timeout: Duration,
}

impl RedisConfig {
    /// Names every option whose value lies outside its range.
    pub fn ranges(&self, ranges: &mut Ranges) {
        if !self.url.is_empty()
            && let Err(words) = Place::parse(&self.url)
        {
            ranges.problem("redis.url", words);
        }
        ranges.number("redis.shards", self.shards, 1..=MOST_SHARDS);
        ranges.number("redis.high_water", self.high_water, 0.1..=1.0);
        let ms = Duration::from_millis;
        let longest = ms(60_000);
        ranges.duration("redis.response_timeout", self.response_timeout, ms(1_000)..=longest);
        ranges.duration("redis.submit_timeout", self.submit_timeout, ms(50)..=longest);
        if self.durability == Durability::Replicated {
            // Whoever gives up first must be the server, which then says how many replicas have it.
            let most = self.submit_timeout.saturating_sub(ms(10));
            ranges.duration("redis.replica_timeout", self.replica_timeout, ms(1)..=most);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(fits) {
            let words = "expected 1 to 64 letters, digits, '-', '_', '.' or ':'";
            ranges.problem("redis.prefix", format!("{words}, got {:?}", self.prefix));
        }
    }
}

impl std::fmt::Debug for RedisConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("shards", &self.shards)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
