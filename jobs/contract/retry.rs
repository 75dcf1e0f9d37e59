//! When a failed attempt is tried again.

use std::time::Duration;

/// A kind's retry policy: how many attempts, and how long to wait between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// The wait after the first, second, … failed attempt; the last entry repeats.
    pub waits: &'static [Duration],
    /// Each wait is drawn from `wait × (1 ± jitter)`, so that a burst of failures spreads out.
    pub jitter: f64,
}

impl Retry {
    /// The wait after failed attempt number `attempt` (from 1), for a `chance` drawn from `0.0..1.0`.
    pub fn wait(&self, attempt: u32, chance: f64) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = match self.waits {
            [] => Duration::ZERO,
            [.., last] => *self.waits.get(step).unwrap_or(last),
        };
        wait.mul_f64(1.0 + self.jitter * (2.0 * chance - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Retry = Retry {
        max_attempts: 5,
        waits: &[Duration::from_secs(10), Duration::from_secs(60)],
        jitter: 0.2,
    };

    #[test]
    fn waits_grow_and_the_last_one_repeats() {
        let waits: Vec<u64> = (1..=4).map(|n| POLICY.wait(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [10, 60, 60, 60]);
    }

    #[test]
    fn jitter_stays_in_its_band() {
        assert_eq!(POLICY.wait(1, 0.0), Duration::from_secs(8));
        assert!(POLICY.wait(1, 0.999_999) <= Duration::from_secs(12));
    }
}
