//! The kind that only the benchmark knows: a job that does nothing but be counted.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use jobs::contract::{Catalogue, Context, Done, Job, Outcome, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a payload.
pub(super) const PAYLOAD: usize = 200;

/// A job that does nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noop {
    /// From when on it waits, in milliseconds since the Unix epoch; only where that is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<f64>,
    /// What makes the payload as long as payloads are.
    pad: String,
}

/// A run knows its payload and the world, and nothing of who counts it: counts are the process's.
static DONE: AtomicU64 = AtomicU64::new(0);
static WAITED: Mutex<Vec<f64>> = Mutex::new(Vec::new());

impl Job for Noop {
    const KIND: &'static str = "noop";
    const RETRY: Retry = Retry { max_attempts: 5, waits: &[Duration::from_secs(10)], jitter: 0.2 };
    const TIMEOUT: Duration = Duration::from_secs(30);
    const PATIENCE: Duration = Duration::from_secs(86_400);
    const WAITS: bool = false;

    async fn perform(self, _: &Context) -> Outcome {
        if let Some(since) = self.since {
            WAITED.lock().unwrap_or_else(PoisonError::into_inner).push(now_ms() - since);
        }
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(Done::Finished(Value::Null))
    }
}

/// The catalogue of the benchmark.
pub(super) fn catalogue() -> Catalogue {
    Catalogue::empty().with::<Noop>()
}

/// How many this process has done.
pub(super) fn done() -> u64 {
    DONE.load(Ordering::Relaxed)
}

/// How many of them measured what they waited.
pub(super) fn measured() -> usize {
    WAITED.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// What the jobs that measure it waited, in milliseconds, in the order in which they ran.
pub(super) fn waited() -> Vec<f64> {
    WAITED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A payload of [`PAYLOAD`] bytes.
pub(super) fn payload(since: Option<f64>) -> Bytes {
    let written = |pad: usize| {
        let job = Noop { since, pad: "x".repeat(pad) };
        serde_json::to_vec(&job).expect("numbers and text can be written as JSON")
    };
    written(PAYLOAD.saturating_sub(written(0).len())).into()
}

/// This host's time, in milliseconds since the Unix epoch.
pub(super) fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_of_one_length_and_decode() {
        for since in [None, Some(1_795_253_583_123.5)] {
            let payload = payload(since);
            assert_eq!(payload.len(), PAYLOAD);
            assert!(catalogue().find("noop").unwrap().decode(&payload).is_ok());
        }
    }
}
