//! What a queue is, without any cleverness: lists, and loops over all of them.
//!
//! The oracle of the walks in [`super::walk`]: one queue, by its own clock.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::{JobId, Moment, Verdict};
use postrider::queue::{
    Cancelled, Changed, Hold, LanePolicy, LeaseRef, Limit, ParkReason, Priority, Retention,
    Settled, Status, WaitingFor,
};

/// A job, as the model knows it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) tenant: String,
    pub(crate) lane: String,
    pub(crate) priority: Priority,
    pub(crate) run_at: Moment,
    pub(crate) why: WaitingFor,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) fence: u64,
    pub(crate) cancel_requested: bool,
    pub(crate) retryable: bool,
    pub(crate) completed_at: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Running { until: Moment },
    Final(Status),
}

#[derive(Debug, Clone)]
struct Lane {
    tenant: String,
    name: String,
    policy: LanePolicy,
    paused: bool,
    park: Option<(Moment, ParkReason)>,
    turn: u64,
}

#[derive(Debug, Clone)]
struct Permit {
    tenant: String,
    bucket: String,
    at: Moment,
    claim: Option<LeaseRef>,
}

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: Moment,
    pub(crate) jobs: Vec<Job>,
    paused: bool,
    turn: u64,
    tenants: Vec<(String, u64)>,
    lanes: Vec<Lane>,
    permits: Vec<Permit>,
    /// The longest window that ever counted a bucket.
    windows: BTreeMap<(String, String), u64>,
}

fn window(limit: &Limit) -> Duration {
    Duration::from_millis(limit.window_ms)
}

impl Model {
    pub(crate) fn at(now: Moment) -> Self {
        Self { now, ..Self::default() }
    }

    pub(crate) fn enqueue(&mut self, job: Job, policy: &LanePolicy) {
        if self.lane(&job.tenant, &job.lane).is_none() {
            self.turn += 1;
            if !self.tenants.iter().any(|(name, _)| *name == job.tenant) {
                self.tenants.push((job.tenant.clone(), self.turn));
            }
            self.lanes.push(Lane {
                tenant: job.tenant.clone(),
                name: job.lane.clone(),
                policy: LanePolicy::default(),
                paused: false,
                park: None,
                turn: self.turn,
            });
            self.policy(&job.tenant.clone(), &job.lane.clone(), policy);
        }
        self.jobs.push(job);
    }

    fn lane(&self, tenant: &str, name: &str) -> Option<usize> {
        self.lanes.iter().position(|l| l.tenant == tenant && l.name == name)
    }

    pub(crate) fn policy(&mut self, tenant: &str, name: &str, policy: &LanePolicy) {
        let Some(lane) = self.lane(tenant, name) else { return };
        let lane = &mut self.lanes[lane];
        lane.policy = policy.clone();
        lane.park = lane.park.take().filter(|(_, why)| !matches!(why, ParkReason::Limit(_)));
        for limit in &policy.limits {
            self.widen(tenant, limit);
        }
    }

    fn widen(&mut self, tenant: &str, limit: &Limit) {
        let key = (tenant.to_owned(), limit.bucket.clone());
        let longest = self.windows.entry(key).or_default();
        *longest = limit.window_ms.max(*longest);
    }

    /// How many permits of the bucket lie in the window that ends at `at`.
    fn used(&self, tenant: &str, limit: &Limit, at: Moment) -> usize {
        let inside = |p: &&Permit| {
            p.tenant == tenant && p.bucket == limit.bucket && p.at.plus(window(limit)) > at
        };
        self.permits.iter().filter(inside).count()
    }

    /// The first moment from now on at which the window has room.
    fn opens(&self, tenant: &str, limit: &Limit) -> Moment {
        let mut moments: Vec<Moment> = self
            .permits
            .iter()
            .map(|p| p.at.plus(window(limit)))
            .filter(|at| *at > self.now)
            .collect();
        moments.push(self.now);
        moments.sort();
        let open = |at: &Moment| self.used(tenant, limit, *at) < limit.count as usize;
        moments.into_iter().find(open).expect("a window is empty in the end")
    }

    /// Until when the lane is held back, and whether by a limit.
    fn held(&self, lane: &Lane) -> Option<(Moment, bool)> {
        let limit = lane.policy.limits.iter().map(|l| self.opens(&lane.tenant, l)).max();
        let limit = limit.filter(|at| *at > self.now);
        let park = lane.park.as_ref().filter(|(until, _)| *until > self.now);
        match (park, limit) {
            (Some((until, _)), Some(at)) if at > *until => Some((at, true)),
            (Some((until, why)), _) => Some((*until, matches!(why, ParkReason::Limit(_)))),
            (None, limit) => limit.map(|at| (at, true)),
        }
    }

    fn full(&self, lane: &Lane) -> bool {
        let running = |j: &&Job| self.is_in(j, lane) && matches!(j.state, State::Running { .. });
        let running = self.jobs.iter().filter(running).count();
        lane.policy.in_flight.is_some_and(|most| running >= most as usize)
    }

    fn is_in(&self, job: &Job, lane: &Lane) -> bool {
        job.tenant == lane.tenant && job.lane == lane.name
    }

    /// The lane's next job in run order, if one is due.
    fn head(&self, lane: &Lane) -> Option<usize> {
        let due = |(_, j): &(usize, &Job)| {
            self.is_in(j, lane) && j.state == State::Waiting && j.run_at <= self.now
        };
        let order = |(index, j): &(usize, &Job)| (j.priority, j.run_at, *index);
        self.jobs.iter().enumerate().filter(due).min_by_key(order).map(|(index, _)| index)
    }

    pub(crate) fn claim(&mut self, max: usize, lease: Duration) -> (Vec<LeaseRef>, Option<Moment>) {
        if self.paused {
            return (Vec::new(), None);
        }
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((lane, job)) = self.next() else { break };
            taken.push(self.lease(lane, job, lease));
        }
        (taken, self.next_at())
    }

    /// Whose turn it is: the lane and the job.
    fn next(&self) -> Option<(usize, usize)> {
        let ready = self
            .lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| !lane.paused && !self.full(lane) && self.held(lane).is_none());
        let ready = ready.filter_map(|(at, lane)| Some((at, self.head(lane)?)));
        ready.min_by_key(|(at, _)| {
            let lane = &self.lanes[*at];
            let tenant = self.tenants.iter().find(|(name, _)| *name == lane.tenant).unwrap();
            (tenant.1, lane.turn)
        })
    }

    fn lease(&mut self, lane: usize, job: usize, lease: Duration) -> LeaseRef {
        self.turn += 1;
        self.lanes[lane].turn = self.turn;
        let tenant = self.lanes[lane].tenant.clone();
        self.tenants.iter_mut().find(|(name, _)| *name == tenant).unwrap().1 = self.turn;
        let until = self.now.plus(lease);
        let job = &mut self.jobs[job];
        job.state = State::Running { until };
        job.attempt += 1;
        job.fence += 1;
        job.why = WaitingFor::Turn;
        let held = LeaseRef { id: job.id, fence: job.fence };
        let mut buckets: Vec<String> =
            self.lanes[lane].policy.limits.iter().map(|l| l.bucket.clone()).collect();
        buckets.dedup();
        for bucket in buckets {
            let permit = Permit { tenant: tenant.clone(), bucket, at: self.now, claim: Some(held) };
            self.permits.push(permit);
        }
        held
    }

    fn next_at(&self) -> Option<Moment> {
        let open = self.lanes.iter().filter(|lane| !lane.paused && !self.full(lane));
        let moments = open.filter_map(|lane| {
            let waits = |j: &&Job| self.is_in(j, lane) && j.state == State::Waiting;
            let first = self.jobs.iter().filter(waits).map(|j| j.run_at).min()?;
            Some(self.held(lane).map_or(first, |(until, _)| until.max(first)).max(self.now))
        });
        moments.min()
    }

    fn running(&mut self, lease: LeaseRef) -> Option<&mut Job> {
        let holds = |j: &&mut Job| {
            j.id == lease.id && j.fence == lease.fence && matches!(j.state, State::Running { .. })
        };
        self.jobs.iter_mut().find(holds)
    }

    pub(crate) fn extend(&mut self, lease: LeaseRef, by: Duration) -> Hold {
        let new = self.now.plus(by);
        let Some(job) = self.running(lease) else { return Hold::Lost };
        let State::Running { until } = job.state else { return Hold::Lost };
        job.state = State::Running { until: until.max(new) };
        if job.cancel_requested { Hold::CancelRequested } else { Hold::Held }
    }

    pub(crate) fn settle(&mut self, lease: LeaseRef, verdict: &Verdict, refund: bool) -> Settled {
        let now = self.now;
        let Some(job) = self.running(lease) else { return Settled::Lost };
        if *verdict == Verdict::Nothing {
            return Settled::Lost;
        }
        let (tenant, lane) = (job.tenant.clone(), job.lane.clone());
        if job.cancel_requested && !matches!(verdict, Verdict::Complete { .. }) {
            job.end(Status::Cancelled, now);
        } else {
            job.apply(verdict, now);
            if let Verdict::SnoozeLane { until, why } = verdict {
                self.park(&tenant, &lane, *until, &ParkReason::Snooze(why.clone()));
            }
        }
        if refund || *verdict == Verdict::Release {
            self.permits.retain(|p| p.claim != Some(lease));
        }
        Settled::Done
    }

    pub(crate) fn rescue(&mut self, max_crashes: u32) -> BTreeMap<JobId, Status> {
        let now = self.now;
        let expired = |j: &&mut Job| matches!(j.state, State::Running { until } if until <= now);
        let mut rescued = BTreeMap::new();
        for job in self.jobs.iter_mut().filter(expired) {
            job.crashes += 1;
            let status = if job.cancel_requested {
                job.end(Status::Cancelled, now);
                Status::Cancelled
            } else if job.crashes >= max_crashes {
                job.end(Status::Failed, now);
                job.retryable = true;
                Status::Failed
            } else {
                job.state = State::Waiting;
                Status::Queued
            };
            rescued.insert(job.id, status);
        }
        rescued
    }

    pub(crate) fn cancel(&mut self, id: JobId) -> Cancelled {
        let now = self.now;
        let Some(job) = self.jobs.iter_mut().find(|j| j.id == id) else {
            return Cancelled::Unknown;
        };
        match job.state {
            State::Waiting => {
                job.end(Status::Cancelled, now);
                Cancelled::AtOnce
            }
            State::Running { .. } => {
                job.cancel_requested = true;
                Cancelled::Requested
            }
            State::Final(status) => Cancelled::TooLate(status),
        }
    }

    pub(crate) fn retry(&mut self, id: JobId) -> Changed {
        let now = self.now;
        let Some(job) = self.jobs.iter_mut().find(|j| j.id == id) else { return Changed::Unknown };
        if !matches!(job.state, State::Final(Status::Failed | Status::Cancelled)) {
            return Changed::NotApplicable;
        }
        job.state = State::Waiting;
        (job.attempt, job.crashes, job.run_at, job.why) = (0, 0, now, WaitingFor::Turn);
        (job.cancel_requested, job.retryable, job.completed_at) = (false, false, None);
        Changed::Done
    }

    pub(crate) fn discard(&mut self, id: JobId) -> Changed {
        let Some(at) = self.jobs.iter().position(|j| j.id == id) else { return Changed::Unknown };
        if !matches!(self.jobs[at].state, State::Final(_)) {
            return Changed::NotApplicable;
        }
        self.jobs.remove(at);
        Changed::Done
    }

    pub(crate) fn pause_queue(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn pause_lane(&mut self, tenant: &str, name: &str, paused: bool) {
        if let Some(lane) = self.lane(tenant, name) {
            self.lanes[lane].paused = paused;
        }
    }

    /// Parks a lane that is known.
    pub(crate) fn park(&mut self, tenant: &str, name: &str, until: Moment, reason: &ParkReason) {
        let Some(lane) = self.lane(tenant, name) else { return };
        let lane = &mut self.lanes[lane];
        let parked = lane.park.as_ref().map_or(self.now, |(at, _)| *at);
        if until > parked.max(self.now) {
            lane.park = Some((until, reason.clone()));
        }
    }

    pub(crate) fn knows(&self, tenant: &str, name: &str) -> bool {
        self.lane(tenant, name).is_some()
    }

    pub(crate) fn draw(&mut self, tenant: &str, limit: &Limit) -> bool {
        self.widen(tenant, limit);
        let granted = self.used(tenant, limit, self.now) < limit.count as usize;
        if granted {
            let (tenant, bucket) = (tenant.to_owned(), limit.bucket.clone());
            self.permits.push(Permit { tenant, bucket, at: self.now, claim: None });
        }
        granted
    }

    /// Forgets what is past its time, and says how many jobs, permits and lanes that were.
    pub(crate) fn prune(&mut self, keep: &Retention) -> usize {
        let now = self.now;
        let things = self.jobs.len() + self.permits.len() + self.lanes.len();
        let kept = |status| match status {
            Status::Completed => keep.completed,
            Status::Cancelled => keep.cancelled,
            _ => keep.failed,
        };
        self.jobs.retain(|job| match (job.state, job.completed_at) {
            (State::Final(status), Some(at)) => at > now.minus(kept(status)),
            _ => true,
        });
        for (tenant, _) in &self.tenants {
            self.jobs = thinned(std::mem::take(&mut self.jobs), tenant, keep.failed_max as usize);
        }
        let longest = |p: &Permit| self.windows[&(p.tenant.clone(), p.bucket.clone())];
        self.permits.retain(|p| p.at.plus(Duration::from_millis(longest(p))) > now);
        let jobs = &self.jobs;
        self.lanes.retain(|lane| {
            let used = jobs.iter().any(|j| j.tenant == lane.tenant && j.lane == lane.name);
            used || lane.paused || lane.park.as_ref().is_some_and(|(until, _)| *until > now)
        });
        self.tenants.retain(|(name, _)| self.lanes.iter().any(|lane| lane.tenant == *name));
        self.windows.retain(|(tenant, bucket), _| {
            let drawn = |p: &Permit| p.tenant == *tenant && p.bucket == *bucket;
            let named = |l: &Lane| {
                l.tenant == *tenant && l.policy.limits.iter().any(|limit| limit.bucket == *bucket)
            };
            self.permits.iter().any(drawn) || self.lanes.iter().any(named)
        });
        things - self.jobs.len() - self.permits.len() - self.lanes.len()
    }

    /// The wall clock stepped to `wall`, and the queue's time follows it.
    pub(crate) fn follow(&mut self, wall: Moment) {
        let step = wall.millis() - self.now.millis();
        let moved = |at: Moment| Moment::from_millis(at.millis() + step);
        self.now = wall;
        for job in &mut self.jobs {
            match &mut job.state {
                State::Running { until } => {
                    *until = moved(*until);
                    job.run_at = job.run_at.min(wall);
                }
                State::Waiting if job.why == WaitingFor::Turn => job.run_at = job.run_at.min(wall),
                _ => {}
            }
        }
        self.permits.iter_mut().for_each(|p| p.at = moved(p.at));
        for (until, reason) in self.lanes.iter_mut().filter_map(|lane| lane.park.as_mut()) {
            if matches!(reason, ParkReason::Limit(_)) {
                *until = moved(*until);
            }
        }
    }

    pub(crate) fn status(&self, job: &Job) -> Status {
        match job.state {
            State::Waiting if job.run_at > self.now => Status::Scheduled,
            State::Waiting => Status::Queued,
            State::Running { .. } => Status::Processing,
            State::Final(status) => status,
        }
    }

    /// What the job waits for, and until when.
    pub(crate) fn waiting(&self, job: &Job) -> Option<(WaitingFor, Option<Moment>)> {
        match self.status(job) {
            Status::Scheduled => return Some((job.why, Some(job.run_at))),
            Status::Queued => {}
            _ => return None,
        }
        let lane = &self.lanes[self.lane(&job.tenant, &job.lane).unwrap()];
        if self.paused || lane.paused {
            return Some((WaitingFor::Paused, None));
        }
        Some(match self.held(lane) {
            Some((until, true)) => (WaitingFor::Limit, Some(until)),
            Some((until, false)) => (WaitingFor::Lane, Some(until)),
            None if self.full(lane) => (WaitingFor::InFlight, None),
            None => (WaitingFor::Turn, None),
        })
    }
}

/// The jobs without the oldest dead of a tenant that has more than `most`.
fn thinned(jobs: Vec<Job>, tenant: &str, most: usize) -> Vec<Job> {
    let dead = |j: &&Job| j.tenant == tenant && j.state == State::Final(Status::Failed);
    let mut oldest: Vec<&Job> = jobs.iter().filter(dead).collect();
    oldest.sort_by_key(|j| j.completed_at); // stable: by arrival where that is equal
    let surplus = oldest.len().saturating_sub(most);
    let gone: Vec<JobId> = oldest[..surplus].iter().map(|j| j.id).collect();
    jobs.into_iter().filter(|j| !gone.contains(&j.id)).collect()
}

impl Job {
    fn end(&mut self, status: Status, now: Moment) {
        self.state = State::Final(status);
        self.completed_at = Some(now);
        self.retryable = false;
        self.why = WaitingFor::Turn;
    }

    fn apply(&mut self, verdict: &Verdict, now: Moment) {
        self.state = State::Waiting;
        match verdict {
            Verdict::Complete { .. } => self.end(Status::Completed, now),
            Verdict::Cancel => self.end(Status::Cancelled, now),
            Verdict::Retry { at, .. } => {
                self.run_at = now.max(*at);
                self.why = WaitingFor::Retry;
            }
            Verdict::SnoozeJob { until, .. } => {
                self.run_at = now.max(*until);
                self.why = WaitingFor::Snooze;
                self.attempt -= 1;
            }
            Verdict::SnoozeLane { .. } | Verdict::Release => self.attempt -= 1,
            Verdict::Fail { spent, retryable, .. } => {
                self.end(Status::Failed, now);
                self.retryable = *retryable;
                self.attempt -= u32::from(!spent);
            }
            Verdict::Rescue { .. } => self.crashes += 1,
            Verdict::Nothing => unreachable!("sorted out before"),
        }
    }
}
