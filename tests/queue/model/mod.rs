//! What a queue is, without any cleverness: lists, and loops over all of them.
//!
//! The oracle of the walks in [`super::walk`]: one queue, by its own clock.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::{JobId, Moment};
use postrider::queue::{LanePolicy, LeaseRef, Limit, ParkReason, Priority, Status, WaitingFor};

mod claims;
mod ends;
mod prune;

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
            self.policy(&job.tenant, &job.lane, policy);
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

    pub(crate) fn pause_queue(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn pause_lane(&mut self, tenant: &str, name: &str, paused: bool) {
        if let Some(lane) = self.lane(tenant, name) {
            let lane = &mut self.lanes[lane];
            lane.paused = paused;
            lane.park = lane.park.take().filter(|_| paused);
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
