//! How the model's jobs end, and come back.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::{JobId, Moment, Verdict};
use postrider::queue::{
    Cancelled, Changed, Hold, LeaseRef, ParkReason, Settled, Status, WaitingFor,
};

use super::{Job, Model, State};

impl Model {
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
        let overruled = job.cancel_requested && !matches!(verdict, Verdict::Complete { .. });
        if overruled {
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
        if overruled || *verdict == Verdict::Cancel { Settled::Cancelled } else { Settled::Done }
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
