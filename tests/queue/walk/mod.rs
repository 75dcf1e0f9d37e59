//! Random walks through the verbs, side by side with the model: workers that crash, processes that
//! come and go, clocks that step.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jobs::contract::{JobId, LaneName, Moment};
use postrider::queue::{
    Ask, JobFilter, LeaseRef, NewJob, ParkReason, PauseTarget, Queue, Retention, Settlement,
    WaitingFor,
};
use proptest::prelude::*;

mod steps;

use self::steps::{LANES, LEASE, MOST_CRASHES, Step, TENANTS, policy, steps};
use super::{
    clock::{START, TestClock},
    exam::Adapter,
    jobs::{QUEUE, SECOND, done, job, lane, limit, submission, tenant, together},
    model::{Job, Model, State},
};

/// The adapter and the model, and what the walk remembers of both.
struct Walk<'a> {
    adapter: &'a dyn Adapter,
    /// Two processes; every step is taken by the next one.
    queues: [Arc<dyn Queue>; 2],
    clock: TestClock,
    wall: Moment,
    model: Model,
    leases: Vec<LeaseRef>,
    ids: Vec<(JobId, &'static str)>,
}

impl Walk<'_> {
    async fn take(&mut self, step: Step) {
        self.queues.swap(0, 1);
        let queue = Arc::clone(&self.queues[0]);
        match step {
            Step::Enqueue { .. } => self.enqueue(step).await,
            Step::Claim { max } => self.claim(max).await,
            Step::Extend { .. } | Step::Settle { .. } => self.with_lease(step).await,
            Step::ExtendLast { count } => self.extend_last(count).await,
            Step::CompleteLast { count } => self.complete_last(count).await,
            Step::Cancel { .. } | Step::Retry { .. } | Step::Discard { .. } => {
                self.with_job(step).await;
            }
            Step::PauseQueue(_)
            | Step::PauseLane { .. }
            | Step::Park { .. }
            | Step::Policy { .. } => {
                self.with_lane(step).await;
            }
            Step::Draw { tenant: of } => {
                let limit = limit("b", 3, SECOND * 15);
                let drawn = queue.draw(&tenant(TENANTS[of]), &limit).await.unwrap();
                assert_eq!(drawn.granted, self.model.draw(TENANTS[of], &limit));
            }
            Step::Rescue => {
                let rescued = queue.rescue(1_000, MOST_CRASHES).await.unwrap();
                let rescued: BTreeMap<_, _> = rescued.iter().map(|r| (r.id, r.status)).collect();
                assert_eq!(rescued, self.model.rescue(MOST_CRASHES));
            }
            Step::Prune { secs, dead } => {
                let keep = Duration::from_secs(secs);
                let keep = Retention {
                    completed: keep,
                    cancelled: keep * 2,
                    failed: keep * 3,
                    failed_max: dead,
                };
                let removed = queue.prune(10_000, &keep).await.unwrap();
                // Besides, permits that no window counts: several may be kept as one.
                assert!(removed as usize >= self.model.prune(&keep));
            }
            Step::Pass { ms } => {
                self.clock.advance(Duration::from_millis(ms));
                self.wall = self.wall.plus(Duration::from_millis(ms));
                self.model.now = self.model.now.plus(Duration::from_millis(ms));
            }
            Step::SetWall { ms } => self.step_wall(ms).await,
            Step::Reopen => self.queues[1] = self.adapter.open().await.0,
        }
    }

    async fn enqueue(&mut self, step: Step) {
        let Step::Enqueue { of, count, priority, delay, policy: index, as_one, spread } = step
        else {
            return;
        };
        let (of, name) = (TENANTS[of.0], of.1);
        let now = self.model.now;
        let run_at = delay.map(|delay| now.plus(Duration::from_millis(delay)));
        let policy = Arc::new(policy(index));
        let lane_of = |n| LANES[(name + if spread { n } else { 0 }) % LANES.len()];
        let new = |n| NewJob { priority, run_at, policy: Arc::clone(&policy), ..job(lane_of(n)) };
        let batch: Vec<NewJob> = (0..count).map(new).collect();
        let batch = if as_one { together(batch) } else { batch };
        for (n, job) in batch.iter().enumerate() {
            let later = run_at.filter(|at| *at > now);
            self.ids.push((job.id, of));
            let job = Job {
                id: job.id,
                tenant: of.into(),
                lane: lane_of(n).into(),
                priority,
                run_at: later.unwrap_or(now),
                why: later.map_or(WaitingFor::Turn, |_| WaitingFor::Schedule),
                state: State::Waiting,
                attempt: 0,
                crashes: 0,
                fence: 0,
                cancel_requested: false,
                retryable: false,
                completed_at: None,
            };
            self.model.enqueue(job, &policy);
        }
        self.queues[0].enqueue(submission(of, batch)).await.unwrap();
    }

    async fn claim(&mut self, max: usize) {
        let most = u32::try_from(max).unwrap();
        let ask = Ask { queue: QUEUE.into(), worker: "w".into(), max: most, lease: LEASE };
        let got = self.queues[0].claim(&ask).await.unwrap();
        let (expected, next_at) = self.model.claim(max, ask.run() as usize, LEASE);
        let leases: Vec<LeaseRef> = got.jobs.iter().map(|c| c.lease).collect();
        assert_eq!(leases, expected);
        assert_eq!(got.next_at, next_at);
        self.leases.extend(leases);
    }

    /// Leases of the past are tried as well: workers that were given up come back.
    async fn with_lease(&mut self, step: Step) {
        let (Step::Extend { lease } | Step::Settle { lease, .. }) = step else { return };
        let Some(lease) = self.leases.get(lease % self.leases.len().max(1)).copied() else {
            return;
        };
        let queue = &self.queues[0];
        if let Step::Settle { verdict, refund, .. } = step {
            let verdict = verdict.verdict(self.model.now);
            let expected = self.model.settle(lease, &verdict, refund);
            let settled = queue.settle(vec![Settlement { lease, verdict, refund }]).await.unwrap();
            assert_eq!(settled, [expected]);
        } else {
            let held = queue.extend(&[lease], LEASE).await.unwrap();
            assert_eq!(held, [self.model.extend(lease, LEASE)]);
        }
    }

    fn last_leases(&self, count: usize) -> Vec<LeaseRef> {
        let from = self.leases.len().saturating_sub(count);
        self.leases[from..].to_vec()
    }

    async fn extend_last(&mut self, count: usize) {
        let leases = self.last_leases(count);
        let held = self.queues[0].extend(&leases, LEASE).await.unwrap();
        let expected: Vec<_> = leases.iter().map(|l| self.model.extend(*l, LEASE)).collect();
        assert_eq!(held, expected);
    }

    async fn complete_last(&mut self, count: usize) {
        let leases = self.last_leases(count);
        let settlement = |lease| Settlement { lease, verdict: done(), refund: false };
        let settled = self.queues[0].settle(leases.iter().copied().map(settlement).collect()).await;
        let expected: Vec<_> =
            leases.iter().map(|l| self.model.settle(*l, &done(), false)).collect();
        assert_eq!(settled.unwrap(), expected);
    }

    async fn with_job(&mut self, step: Step) {
        let (Step::Cancel { job } | Step::Retry { job } | Step::Discard { job }) = step else {
            return;
        };
        let Some((id, of)) = self.ids.get(job % self.ids.len().max(1)).copied() else { return };
        let (queue, of) = (&self.queues[0], tenant(of));
        match step {
            Step::Cancel { .. } => {
                let cancelled = queue.cancel(&of, id, "ada").await.unwrap();
                assert_eq!(cancelled, self.model.cancel(id));
            }
            Step::Retry { .. } => {
                assert_eq!(queue.retry(&of, id).await.unwrap(), self.model.retry(id));
            }
            _ => assert_eq!(queue.discard(&of, id).await.unwrap(), self.model.discard(id)),
        }
    }

    async fn with_lane(&mut self, step: Step) {
        let queue = &self.queues[0];
        let names = |(of, name): (usize, usize)| (TENANTS[of], LANES[name]);
        match step {
            Step::PauseQueue(paused) => {
                queue.pause(&PauseTarget::Queue(QUEUE.into()), paused).await.unwrap();
                self.model.pause_queue(paused);
            }
            Step::PauseLane { of, paused } => {
                let (of, name) = names(of);
                queue.pause(&PauseTarget::Lane(lane(of, name)), paused).await.unwrap();
                self.model.pause_lane(of, name, paused);
            }
            Step::Park { of, secs, limit } => {
                let (of, name) = names(of);
                let why = "because".to_owned();
                let reason = if limit { ParkReason::Limit(why) } else { ParkReason::Snooze(why) };
                let until = self.model.now.plus(Duration::from_secs(secs));
                if self.model.knows(of, name) {
                    queue.park(&lane(of, name), until, &reason).await.unwrap();
                    self.model.park(of, name, until, &reason);
                }
            }
            Step::Policy { of, policy: index } => {
                let (of, name) = names(of);
                queue.set_policy(&lane(of, name), &policy(index)).await.unwrap();
                self.model.policy(of, name, &policy(index));
            }
            _ => {}
        }
    }

    async fn step_wall(&mut self, ms: i64) {
        self.clock.step_wall(ms);
        self.wall = Moment::from_millis(self.wall.millis() + ms);
        self.queues[0].promote(1_000).await.unwrap();
        if self.wall.since(self.model.now).max(self.model.now.since(self.wall)) > SECOND {
            self.model.follow(self.wall);
        }
    }

    /// Both tell the same of every job.
    async fn compare(&self) {
        let filter = JobFilter { limit: 10_000, ..JobFilter::default() };
        let told = self.queues[0].jobs(&filter).await.unwrap();
        let told: BTreeMap<JobId, String> = told
            .into_iter()
            .map(|r| {
                let waiting = r.waiting.map(|w| (w.what, w.until));
                let seen = (r.lane, r.status, r.attempt, r.crashes, r.run_at, r.completed_at);
                (r.id, format!("{seen:?} {} {} {waiting:?}", r.cancel_requested, r.retryable))
            })
            .collect();
        let expected: BTreeMap<JobId, String> = self
            .model
            .jobs
            .iter()
            .map(|j| {
                let status = self.model.status(j);
                let name = LaneName::custom(&j.lane);
                let seen = (name, status, j.attempt, j.crashes, j.run_at, j.completed_at);
                let waiting = self.model.waiting(j);
                (j.id, format!("{seen:?} {} {} {waiting:?}", j.cancel_requested, j.retryable))
            })
            .collect();
        assert_eq!(told, expected);
    }
}

/// Takes the steps one by one, and compares after each.
async fn walk(adapter: &dyn Adapter, steps: Vec<Step>) {
    let (first, clock) = adapter.open().await;
    let (second, _) = adapter.open().await;
    // A queue can be paused once it is known.
    let ask = Ask { queue: QUEUE.into(), worker: "w".into(), max: 1, lease: LEASE };
    first.claim(&ask).await.unwrap();
    let mut walk = Walk {
        adapter,
        queues: [first, second],
        clock,
        wall: START,
        model: Model::at(START),
        leases: Vec::new(),
        ids: Vec::new(),
    };
    for step in steps {
        walk.take(step).await;
        walk.compare().await;
    }
}

/// Enough for every day; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 24;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_walk_goes_as_the_model_says(steps in steps()) {
        run(&super::sqlite::Sqlite::new(), steps);
    }

    /// A server's clock is the queue's own: there is no other one for it to follow.
    #[test]
    fn any_walk_in_redis_goes_as_the_model_says(mut steps in steps()) {
        steps.retain(|step| !matches!(step, Step::SetWall { .. }));
        run(&super::redis::Redis::new(), steps);
    }

    #[test]
    fn any_walk_in_a_cluster_goes_as_the_model_says(mut steps in steps()) {
        steps.retain(|step| !matches!(step, Step::SetWall { .. }));
        run(&runtime().block_on(super::redis::cluster::in_one_slot()), steps);
    }
}

fn run(adapter: &dyn Adapter, steps: Vec<Step>) {
    runtime().block_on(walk(adapter, steps));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
