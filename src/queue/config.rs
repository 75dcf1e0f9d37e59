//! The section `[queue]` of the configuration.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// The section `[queue]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// How long a write of the embedded queue waits for other processes' writes.
    #[serde(deserialize_with = "busy_timeout")]
    pub busy_timeout: Duration,
    /// How often the embedded queue looks for what other processes wrote, while somebody waits.
    #[serde(deserialize_with = "poll")]
    pub poll: Duration,
    /// Connections of a process that read the embedded queue.
    #[serde(deserialize_with = "readers")]
    pub readers: u32,
    /// How far the wall clock may be from the embedded queue's clock before that follows it.
    #[serde(deserialize_with = "clock_tolerance")]
    pub clock_tolerance: Duration,
}

fn busy_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, "1s to 5m", Duration::from_secs(1)..=Duration::from_secs(300))
}

fn poll<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, "1ms to 1s", Duration::from_millis(1)..=Duration::from_secs(1))
}

fn clock_tolerance<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    span(from, "100ms to 1m", Duration::from_millis(100)..=Duration::from_secs(60))
}

fn readers<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let count = u32::deserialize(from)?;
    if (1..=64).contains(&count) {
        Ok(count)
    } else {
        Err(de::Error::custom(format!("expected 1 to 64 connections, got {count}")))
    }
}

fn span<'de, D: Deserializer<'de>>(
    from: D,
    words: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    let got = crate::config::duration(from)?;
    if range.contains(&got) {
        Ok(got)
    } else {
        Err(de::Error::custom(format!("expected {words}, got {} ms", got.as_millis())))
    }
}
