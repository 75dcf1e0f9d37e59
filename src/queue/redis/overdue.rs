//! Shards whose answer to a claim is overdue.
//!
//! A claim asks one shard after the other. One that does not answer soon is left behind: its call goes on
//! by itself, the shard is not asked again meanwhile, and what the call takes in the end is handed to the
//! next claim from that queue, since those jobs are held and nobody else can have them. A shard that
//! answers with an error rests for a while. So a server that hangs holds up its own shards and no others.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jobs::contract::Moment;

use crate::queue::{Claimed, QueueError};

/// How long a claim waits for one shard before it goes on to the next.
pub(super) const SOON: Duration = Duration::from_millis(100);
/// How long a shard rests after a first failure, and at most: work goes on within 5 s after an outage.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Shards that are left out of claims, and what came too late for one.
#[derive(Default)]
pub(super) struct Overdue(Mutex<Known>);

#[derive(Default)]
struct Known {
    left_out: HashMap<(String, usize), LeftOut>,
    late: HashMap<String, VecDeque<Claimed>>,
}

/// Why a shard is not asked, by a queue's claims.
#[derive(Debug, Clone, Copy)]
enum LeftOut {
    /// It was asked, and has not answered.
    Asked { rest: Duration },
    /// It could not be asked; it is again from then on.
    Rests { until: Instant, rest: Duration },
}

/// Whether a claim asks a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It does.
    Ask,
    /// Not now; perhaps again after this long, or when its answer has come.
    LeaveOut(Option<Duration>),
}

impl Overdue {
    /// Whether a claim from `queue` asks the shard.
    pub(super) fn turn(&self, queue: &str, shard: usize) -> Turn {
        match self.lock().left_out.get(&(queue.to_owned(), shard)) {
            None => Turn::Ask,
            Some(LeftOut::Asked { .. }) => Turn::LeaveOut(None),
            Some(LeftOut::Rests { until, .. }) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() { Turn::Ask } else { Turn::LeaveOut(Some(left)) }
            }
        }
    }

    /// The shard has not answered soon enough: it is left out until it has.
    pub(super) fn leave_behind(&self, queue: &str, shard: usize) {
        let mut known = self.lock();
        let entry = known.left_out.entry((queue.to_owned(), shard));
        let left_out = entry.or_insert(LeftOut::Asked { rest: Duration::ZERO });
        *left_out = LeftOut::Asked { rest: left_out.rest() };
    }

    /// What a shard answered that was left behind.
    pub(super) fn came(&self, queue: &str, shard: usize, answer: Result<Vec<Claimed>, QueueError>) {
        match answer {
            Ok(jobs) => {
                self.answered(queue, shard);
                self.lock().late.entry(queue.to_owned()).or_default().extend(jobs);
            }
            Err(error) => self.failed(queue, shard, &error),
        }
    }

    /// The shard answers.
    pub(super) fn answered(&self, queue: &str, shard: usize) {
        if self.lock().left_out.remove(&(queue.to_owned(), shard)).is_some() {
            tracing::info!(queue, shard, "a shard answers claims again");
        }
    }

    /// The shard could not be asked: it rests.
    pub(super) fn failed(&self, queue: &str, shard: usize, error: &QueueError) {
        let mut known = self.lock();
        let left_out = known.left_out.get(&(queue.to_owned(), shard)).copied();
        let before = left_out.map_or(Duration::ZERO, |left_out| left_out.rest());
        let rest = (before * 2).clamp(FIRST_REST, LONGEST_REST);
        let rests = LeftOut::Rests { until: Instant::now() + rest, rest };
        known.left_out.insert((queue.to_owned(), shard), rests);
        if before.is_zero() {
            tracing::warn!(queue, shard, %error, "a shard does not answer claims; the others go on");
        }
    }

    /// Jobs that came too late for the claim that took them, at most so many; those whose leases are
    /// over belong to others by now.
    pub(super) fn late(&self, queue: &str, most: u32, now: Moment) -> Vec<Claimed> {
        let mut known = self.lock();
        let Some(late) = known.late.get_mut(queue) else { return Vec::new() };
        late.retain(|job| job.lease_until > now);
        let most = late.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        late.drain(..most).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeftOut {
    fn rest(self) -> Duration {
        match self {
            Self::Asked { rest } | Self::Rests { rest, .. } => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jobs::contract::{JobId, LaneName};

    use super::*;
    use crate::queue::LeaseRef;

    fn job(number: u128) -> Claimed {
        let now = Moment::default();
        Claimed {
            lease: LeaseRef { id: JobId::from_u128(number), fence: 1 },
            tenant: "acme".parse().unwrap(),
            kind: "send".into(),
            lane: LaneName::tenant(),
            payload: Bytes::new(),
            attempt: 1,
            max_attempts: 1,
            crashes: 0,
            created_at: now,
            due_at: now,
            lease_until: now.plus(SOON * u32::try_from(number).unwrap()),
            cursor: None,
            request_id: "test".into(),
            callback: false,
        }
    }

    fn gone() -> QueueError {
        QueueError::Unavailable("gone".into())
    }

    #[test]
    fn a_shard_that_was_left_behind_is_asked_again_once_it_has_answered() {
        let overdue = Overdue::default();
        overdue.leave_behind("send", 1);
        assert_eq!(overdue.turn("send", 1), Turn::LeaveOut(None));
        assert_eq!([overdue.turn("send", 0), overdue.turn("other", 1)], [Turn::Ask, Turn::Ask]);
        overdue.came("send", 1, Ok(vec![job(1), job(2), job(3)]));
        assert_eq!(overdue.turn("send", 1), Turn::Ask);
        let ids = |jobs: Vec<Claimed>| -> Vec<JobId> { jobs.iter().map(|j| j.lease.id).collect() };
        let now = Moment::default();
        assert_eq!(ids(overdue.late("send", 1, now)), [JobId::from_u128(1)]);
        assert_eq!(ids(overdue.late("other", 2, now)), []);
        // The lease of the second one ends.
        assert_eq!(ids(overdue.late("send", 2, now.plus(SOON * 2))), [JobId::from_u128(3)]);
        assert_eq!(ids(overdue.late("send", 2, now)), []);
    }

    #[test]
    fn a_shard_that_fails_rests_longer_each_time_up_to_a_bound() {
        let overdue = Overdue::default();
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            overdue.failed("send", 0, &gone());
            let Turn::LeaveOut(Some(left)) = overdue.turn("send", 0) else { panic!("it rests") };
            assert!(left >= before.min(LONGEST_REST / 2) && left <= LONGEST_REST, "{left:?}");
            before = left;
        }
        // Left behind when it is asked again, it is not taken for new.
        overdue.leave_behind("send", 0);
        overdue.came("send", 0, Err(gone()));
        let Turn::LeaveOut(Some(left)) = overdue.turn("send", 0) else { panic!("it rests") };
        assert!(left > LONGEST_REST / 2, "{left:?}");
        overdue.answered("send", 0);
        overdue.failed("send", 0, &gone());
        let Turn::LeaveOut(Some(left)) = overdue.turn("send", 0) else { panic!("it rests") };
        assert!(left <= FIRST_REST, "{left:?}");
    }
}
