//! What the model forgets.

use std::time::Duration;

use jobs::contract::JobId;
use postrider::queue::{Retention, Status};

use super::{Job, Lane, Model, Permit, State};

impl Model {
    /// Forgets what is past its time, and says how many jobs and lanes that were.
    pub(crate) fn prune(&mut self, keep: &Retention) -> usize {
        let now = self.now;
        let things = self.jobs.len() + self.lanes.len();
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
        things - self.jobs.len() - self.lanes.len()
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
