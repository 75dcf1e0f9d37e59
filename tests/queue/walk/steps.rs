//! The steps of a walk, and how they are drawn.

use std::time::Duration;

use jobs::contract::{Moment, Verdict};
use postrider::queue::{LanePolicy, Priority};
use proptest::prelude::*;

use crate::queue::jobs::{MINUTE, SECOND, cause, done, limit};

pub(super) const TENANTS: [&str; 3] = ["a", "b", "c"];
pub(super) const LANES: [&str; 2] = ["x", "y"];
pub(super) const LEASE: Duration = Duration::from_secs(20);
pub(super) const MOST_CRASHES: u32 = 2;

/// One step of a walk. Indices are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Enqueue {
        of: (usize, usize),
        count: usize,
        priority: Priority,
        delay: Option<u64>,
        policy: usize,
        /// With ids that belong together, where a queue may keep jobs as one.
        as_one: bool,
        /// In the tenant's lanes in turns, beginning with that one.
        spread: bool,
    },
    Claim {
        max: usize,
    },
    Extend {
        lease: usize,
    },
    /// Renews, or ends, what was claimed last, in one call.
    ExtendLast {
        count: usize,
    },
    CompleteLast {
        count: usize,
    },
    Settle {
        lease: usize,
        verdict: Ending,
        refund: bool,
    },
    Cancel {
        job: usize,
    },
    Retry {
        job: usize,
    },
    Discard {
        job: usize,
    },
    PauseQueue(bool),
    PauseLane {
        of: (usize, usize),
        paused: bool,
    },
    Park {
        of: (usize, usize),
        secs: u64,
        limit: bool,
    },
    Policy {
        of: (usize, usize),
        policy: usize,
    },
    Draw {
        tenant: usize,
    },
    Rescue,
    Prune {
        secs: u64,
        dead: u32,
    },
    Pass {
        ms: u64,
    },
    SetWall {
        ms: i64,
    },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Complete,
    Retry(u64),
    SnoozeJob(u64),
    SnoozeLane(u64),
    Fail(bool, bool),
    Cancel,
    Release,
    Rescue,
    Nothing,
}

impl Ending {
    pub(super) fn verdict(self, now: Moment) -> Verdict {
        let after = |secs| now.plus(Duration::from_secs(secs));
        let why = "because".to_owned();
        match self {
            Self::Complete => done(),
            Self::Retry(secs) => Verdict::Retry { at: after(secs), error: cause() },
            Self::SnoozeJob(secs) => Verdict::SnoozeJob { until: after(secs), why },
            Self::SnoozeLane(secs) => Verdict::SnoozeLane { until: after(secs), why },
            Self::Fail(spent, retryable) => Verdict::Fail { error: cause(), spent, retryable },
            Self::Cancel => Verdict::Cancel,
            Self::Release => Verdict::Release,
            Self::Rescue => Verdict::Rescue { error: cause() },
            Self::Nothing => Verdict::Nothing,
        }
    }
}

pub(super) fn policy(index: usize) -> LanePolicy {
    let (limits, in_flight) = match index {
        0 => (vec![], None),
        1 => (vec![limit("b", 2, SECOND * 10)], None),
        2 => (vec![limit("b", 1, SECOND * 5), limit("b", 3, MINUTE)], Some(2)),
        3 => (vec![limit("b", 4, SECOND * 30), limit("c", 3, SECOND * 20)], None),
        _ => (vec![], Some(1)),
    };
    LanePolicy { limits, in_flight }
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(Ending::Complete),
        2 => (0..30_u64).prop_map(Ending::Retry),
        2 => (0..30_u64).prop_map(Ending::SnoozeJob),
        2 => (0..30_u64).prop_map(Ending::SnoozeLane),
        2 => any::<(bool, bool)>().prop_map(|(spent, retryable)| Ending::Fail(spent, retryable)),
        1 => Just(Ending::Cancel),
        1 => Just(Ending::Release),
        1 => Just(Ending::Rescue),
        1 => Just(Ending::Nothing),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = || (0..TENANTS.len(), 0..LANES.len());
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    let delay = prop_oneof![2 => Just(None), 1 => (0..40_000_u64).prop_map(Some)];
    let how = (any::<bool>(), any::<bool>());
    let enqueue = (of(), 1..8_usize, priority, delay, 0..5_usize, how).prop_map(
        |(of, count, priority, delay, policy, (as_one, spread))| Step::Enqueue {
            of,
            count,
            priority,
            delay,
            policy,
            as_one,
            spread,
        },
    );
    let any_index = || any::<usize>();
    let step = prop_oneof![
        5 => enqueue,
        8 => (0..9_usize).prop_map(|max| Step::Claim { max }),
        1 => (32..60_usize).prop_map(|max| Step::Claim { max }),
        2 => any_index().prop_map(|lease| Step::Extend { lease }),
        1 => (1..9_usize).prop_map(|count| Step::ExtendLast { count }),
        2 => (1..9_usize).prop_map(|count| Step::CompleteLast { count }),
        8 => (any_index(), ending(), any::<bool>())
            .prop_map(|(lease, verdict, refund)| Step::Settle { lease, verdict, refund }),
        2 => any_index().prop_map(|job| Step::Cancel { job }),
        2 => any_index().prop_map(|job| Step::Retry { job }),
        1 => any_index().prop_map(|job| Step::Discard { job }),
        1 => any::<bool>().prop_map(Step::PauseQueue),
        1 => (of(), any::<bool>()).prop_map(|(of, paused)| Step::PauseLane { of, paused }),
        1 => (of(), 0..40_u64, any::<bool>()).prop_map(|(of, secs, limit)| Step::Park { of, secs, limit }),
        2 => (of(), 0..5_usize).prop_map(|(of, policy)| Step::Policy { of, policy }),
        1 => (0..TENANTS.len()).prop_map(|tenant| Step::Draw { tenant }),
        2 => Just(Step::Rescue),
        1 => (0..60_u64, 0..4_u32).prop_map(|(secs, dead)| Step::Prune { secs, dead }),
        8 => (0..15_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (-90_000..90_000_i64).prop_map(|ms| Step::SetWall { ms }),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..80)
}
