//! Jobs that follow from other jobs.

use async_trait::async_trait;
use serde_json::Value;

use crate::contract::{Fault, JobId, RunInfo};

/// A job that follows from another one.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUp {
    /// The wire name of its kind.
    pub kind: &'static str,
    /// Its payload.
    pub payload: Value,
}

/// Taking jobs in that follow from a run.
#[async_trait]
pub trait FollowUps: Send + Sync {
    /// Takes a job in, once for each `key` of the tenant: a run that is repeated takes in nothing
    /// twice, and gets the id of then.
    ///
    /// # Errors
    ///
    /// A transient fault when the queue is out of reach, a permanent one when the job is refused.
    async fn submit(&self, run: &RunInfo, key: &str, job: FollowUp) -> Result<JobId, Fault>;

    /// The same for at most 1,000 jobs under one key: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`FollowUps::submit`].
    async fn submit_all(&self, run: &RunInfo, key: &str, jobs: Vec<FollowUp>) -> Result<(), Fault>;
}
