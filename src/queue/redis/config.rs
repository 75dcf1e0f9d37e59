//! The section `[redis]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

use super::keys::MOST_SHARDS;
use crate::config::Ranges;

/// The shared queue.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Where it is; empty: the embedded queue.
    pub url: String,
    /// What all keys begin with.
    pub prefix: String,
    /// Among how many shards tenants are spread.
    pub shards: u16,
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
        ranges.number("redis.shards", self.shards, 1..=MOST_SHARDS);
        let ms = Duration::from_millis;
        let longest = ms(60_000);
        ranges.duration("redis.response_timeout", self.response_timeout, ms(1_000)..=longest);
        ranges.duration("redis.submit_timeout", self.submit_timeout, ms(50)..=longest);
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
            .finish_non_exhaustive()
    }
}
