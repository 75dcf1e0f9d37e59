//! Jobs that follow from other jobs: through the one door, under a key each.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jobs::contract::{
    Fault, JobId, RunInfo, TenantId,
    ports::{FollowUp, FollowUps},
};

use crate::{
    intake::{Intake, JobRequest, Producer, Rejection},
    queue::{Enqueued, Idempotency, NewJob, Queue, QueueError, Submission},
};

/// How long a key is remembered: longer than a job can be put off, and so be run again.
const KEEP: Duration = Duration::from_secs(15 * 86_400);

/// Takes jobs in that follow from other jobs.
#[derive(Clone)]
pub struct Followers {
    queue: Arc<dyn Queue>,
    intake: Intake,
}

impl Followers {
    /// Takes jobs in through this door.
    pub fn new(queue: Arc<dyn Queue>, intake: Intake) -> Self {
        Self { queue, intake }
    }

    /// Takes a job in that follows from job `from`, once for each `key` of the tenant.
    ///
    /// # Errors
    ///
    /// As [`FollowUps::submit`].
    pub async fn take_in(
        &self,
        tenant: &TenantId,
        from: JobId,
        key: &str,
        job: FollowUp,
    ) -> Result<JobId, Fault> {
        let jobs = self.prepare(tenant, from, vec![job]).await?;
        let id = jobs[0].id;
        let idempotency = Idempotency {
            key: format!("job:{key}"),
            // The key alone says what it is: whatever is found under it is the same again.
            fingerprint: [0; 32],
            answer: Bytes::from(id.to_string()),
            keep: KEEP,
        };
        let submission =
            Submission { tenant: tenant.clone(), jobs, idempotency: Some(idempotency) };
        match self.queue.enqueue(submission).await.map_err(|e| away(&e))? {
            Enqueued::Fresh(ids) => Ok(ids.first().copied().unwrap_or(id)),
            Enqueued::Replayed(answer) => {
                let known = std::str::from_utf8(&answer).ok().and_then(|id| id.parse().ok());
                Ok(known.unwrap_or(id))
            }
            Enqueued::KeyReused => Ok(id),
        }
    }
}

impl Followers {
    async fn prepare(
        &self,
        tenant: &TenantId,
        from: JobId,
        jobs: Vec<FollowUp>,
    ) -> Result<Vec<NewJob>, Fault> {
        let requests = jobs.into_iter().map(|job| JobRequest::new(job.kind, job.payload)).collect();
        let (now, from) = (self.queue.now(), from.to_string());
        let jobs = self.intake.prepare(tenant, Producer::Engine, requests, &from, now).await;
        jobs.map_err(refused)
    }
}

#[async_trait]
impl FollowUps for Followers {
    async fn submit(&self, run: &RunInfo, key: &str, job: FollowUp) -> Result<JobId, Fault> {
        self.take_in(&run.tenant, run.job, key, job).await
    }

    async fn submit_all(&self, run: &RunInfo, key: &str, jobs: Vec<FollowUp>) -> Result<(), Fault> {
        let jobs = self.prepare(&run.tenant, run.job, jobs).await?;
        let idempotency = Idempotency {
            key: format!("job:{key}"),
            fingerprint: [0; 32],
            answer: Bytes::new(),
            keep: KEEP,
        };
        let submission =
            Submission { tenant: run.tenant.clone(), jobs, idempotency: Some(idempotency) };
        self.queue.enqueue(submission).await.map(|_| ()).map_err(|e| away(&e))
    }
}

fn refused(rejection: Rejection) -> Fault {
    match rejection {
        Rejection::Unavailable(fault) => fault,
        Rejection::Invalid(problems) => {
            let words = problems.first().map(|p| format!("{}: {}", p.pointer, p.message));
            Fault::permanent("follow_up_refused", words.unwrap_or_default())
        }
    }
}

/// The queue's own words go to the log: they may name hosts.
fn away(error: &QueueError) -> Fault {
    tracing::warn!(%error, "a job that follows from another could not be taken in yet");
    Fault::transient("queue_unavailable", "the queue is not available")
}
