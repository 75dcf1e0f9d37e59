//! How fast the runs of a pool end.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How much of a new interval goes into the mean.
const WEIGHT: f64 = 0.1;
/// A longer interval says that there was nothing to do, and no more than that.
const LONGEST: Duration = Duration::from_millis(100);

/// The mean interval between the ends of runs.
pub(super) struct Pace(Mutex<Seen>);

struct Seen {
    last: Instant,
    mean: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Seen { last: now, mean: LONGEST }))
    }

    /// So many runs have ended since the last time, one at least.
    pub(super) fn ended(&self, count: usize, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let interval = now.saturating_duration_since(seen.last).min(LONGEST) / count;
        let kept = (1.0 - WEIGHT).powf(f64::from(count));
        seen.last = now;
        seen.mean = seen.mean.mul_f64(kept) + interval.mul_f64(1.0 - kept);
    }

    /// How many runs will end within so long, if they go on as they did.
    pub(super) fn within(&self, span: Duration, now: Instant) -> usize {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = now.saturating_duration_since(seen.last);
        let interval = seen.mean.max(silent).max(Duration::from_micros(1));
        usize::try_from(span.as_micros() / interval.as_micros()).unwrap_or(usize::MAX)
    }

    /// For how long no run has ended.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(seen.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_pool_that_has_just_begun_expects_nothing_soon() {
        let now = Instant::now();
        assert_eq!(Pace::new(now).within(MS * 20, now), 0);
    }

    #[test]
    fn what_ends_fast_is_expected_to_go_on_until_it_falls_silent() {
        let mut now = Instant::now();
        let pace = Pace::new(now);
        for _ in 0..200 {
            now += MS;
            pace.ended(1, now);
        }
        let soon = pace.within(MS * 20, now);
        assert!((15..=20).contains(&soon), "{soon}");
        // Nothing ends any more.
        assert_eq!(pace.within(MS * 20, now + MS * 30), 0);
        assert_eq!(pace.silent(now + MS * 30), MS * 30);
        // After a rest it is soon as it was.
        now += Duration::from_secs(600);
        for _ in 0..60 {
            pace.ended(1, now);
            now += MS;
        }
        assert!(pace.within(MS * 20, now) >= 10);
    }

    #[test]
    fn runs_that_end_together_count_as_if_they_ended_one_by_one() {
        let now = Instant::now();
        let (together, single) = (Pace::new(now), Pace::new(now));
        for group in 1..=20 {
            together.ended(10, now + MS * 10 * group);
            (1..=10).for_each(|one| single.ended(1, now + MS * (10 * (group - 1) + one)));
        }
        let soon = |pace: &Pace| pace.within(MS * 20, now + MS * 200);
        assert!((15..=20).contains(&soon(&together)), "{}", soon(&together));
        assert!(soon(&together).abs_diff(soon(&single)) <= 1);
    }
}
