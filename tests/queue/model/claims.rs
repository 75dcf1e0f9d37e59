//! The model's turns and limits.

use std::time::Duration;

use jobs::contract::Moment;
use postrider::queue::{LeaseRef, Limit, ParkReason, WaitingFor};

use super::{Job, Lane, Model, Permit, State, window};

impl Model {
    /// How many permits of the bucket lie in the window that ends at `at`.
    pub(super) fn used(&self, tenant: &str, limit: &Limit, at: Moment) -> usize {
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
    pub(super) fn held(&self, lane: &Lane) -> Option<(Moment, bool)> {
        let limit = lane.policy.limits.iter().map(|l| self.opens(&lane.tenant, l)).max();
        let limit = limit.filter(|at| *at > self.now);
        let park = lane.park.as_ref().filter(|(until, _)| *until > self.now);
        match (park, limit) {
            (Some((until, _)), Some(at)) if at > *until => Some((at, true)),
            (Some((until, why)), _) => Some((*until, matches!(why, ParkReason::Limit(_)))),
            (None, limit) => limit.map(|at| (at, true)),
        }
    }

    pub(super) fn full(&self, lane: &Lane) -> bool {
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

    /// At most `max` jobs, and in a turn at most `run` of a lane.
    pub(crate) fn claim(
        &mut self,
        max: usize,
        run: usize,
        lease: Duration,
    ) -> (Vec<LeaseRef>, Option<Moment>) {
        if self.paused {
            return (Vec::new(), None);
        }
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(lane) = self.next() else { break };
            for _ in 0..run.min(max - taken.len()) {
                let Some(job) = self.next_of(&self.lanes[lane]) else { break };
                taken.push(self.lease(lane, job, lease));
            }
        }
        (taken, self.next_at())
    }

    /// The lane's next job, if it may give one.
    fn next_of(&self, lane: &Lane) -> Option<usize> {
        let open = !lane.paused && !self.full(lane) && self.held(lane).is_none();
        self.head(lane).filter(|_| open)
    }

    /// The lane whose turn it is.
    fn next(&self) -> Option<usize> {
        let ready = (0..self.lanes.len()).filter(|at| self.next_of(&self.lanes[*at]).is_some());
        ready.min_by_key(|at| {
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
}
