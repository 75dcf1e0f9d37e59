//! Failed jobs, as records: they lie in the queue, and can be retried and discarded.
//!
//! An action is a file and a line in [`ALL`].

mod discard;
mod retry;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use jobs::contract::{
    Fault, JobId, RunInfo, TenantId,
    ports::{Advance, Change, Changed, Chunk, ItemError, Planned},
    resource::{Filter, Resource},
};
use serde_json::{Value, json};

use crate::{
    queue::{JobFilter, JobRecord, Queue, QueueError, Status},
    store::{
        Store,
        records::{Apart, Before, Outcome, change_apart},
    },
};

/// Jobs that are asked for, or changed, at once.
const AT_ONCE: usize = 16;
/// Jobs read from the queue in one call.
const PAGE: u32 = 500;

/// Something that can be done to a failed job.
#[async_trait]
trait Deed: Sync {
    /// What a declaration calls it.
    fn name(&self) -> &'static str;

    /// Does it; `false` when the job is not there, or not failed, any more.
    async fn perform(
        &self,
        queue: &dyn Queue,
        tenant: &TenantId,
        id: JobId,
    ) -> Result<bool, QueueError>;
}

/// Every deed, in alphabetical order.
const ALL: [&dyn Deed; 2] = [&discard::Discard, &retry::Retry];

/// The names of all deeds.
pub(super) fn deeds() -> Vec<&'static str> {
    ALL.iter().map(|deed| deed.name()).collect()
}

/// The failed jobs of a queue.
#[derive(Clone)]
pub(super) struct DeadJobs {
    queue: Arc<dyn Queue>,
    store: Store,
}

impl DeadJobs {
    pub(super) fn new(queue: Arc<dyn Queue>, store: Store) -> Self {
        Self { queue, store }
    }

    pub(super) async fn count(&self, tenant: &TenantId, filter: &Filter) -> Result<u64, Fault> {
        let (mut count, mut before) = (0, None);
        loop {
            let jobs = self.dead(tenant, before).await?;
            let Some(last) = jobs.last() else { return Ok(count) };
            before = Some(last.id);
            count += jobs.iter().filter(|job| holds(filter, job)).count() as u64;
        }
    }

    /// The next jobs, newest first: the order in which the queue has them.
    pub(super) async fn page(
        &self,
        tenant: &TenantId,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Fault> {
        let mut before = after.and_then(|id| id.parse::<JobId>().ok());
        let mut found = Vec::new();
        let limit = limit as usize;
        while found.len() < limit {
            let jobs = self.dead(tenant, before).await?;
            let Some(last) = jobs.last() else { break };
            before = Some(last.id);
            let ids = jobs.iter().filter(|job| holds(filter, job)).map(|job| job.id.to_string());
            found.extend(ids);
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn dead(
        &self,
        tenant: &TenantId,
        before: Option<JobId>,
    ) -> Result<Vec<JobRecord>, Fault> {
        let filter = JobFilter {
            tenant: Some(tenant.clone()),
            status: Some(Status::Failed),
            before,
            limit: PAGE,
            ..JobFilter::default()
        };
        self.queue.jobs(&filter).await.map_err(|error| away(&error))
    }

    pub(super) async fn change(
        &self,
        run: &RunInfo,
        resource: &Resource,
        before: Before,
        chunk: &Chunk,
    ) -> Result<Advance, Fault> {
        let Some(deed) = ALL.into_iter().find(|deed| deed.name() == chunk.action.deed) else {
            let words = format!("nothing is known of {:?}", chunk.action.deed);
            return Err(Fault::permanent("unknown_action", words));
        };
        let mut change = JobChange { jobs: self, tenant: &run.tenant, deed };
        change_apart(&self.store, run, resource, before, chunk, &mut change).await
    }
}

/// A change to failed jobs of one tenant.
struct JobChange<'a> {
    jobs: &'a DeadJobs,
    tenant: &'a TenantId,
    deed: &'static dyn Deed,
}

impl JobChange<'_> {
    /// The job, while it is failed.
    async fn dead(&self, change: &Change) -> Result<Option<JobRecord>, Fault> {
        let Ok(id) = change.id.parse::<JobId>() else { return Ok(None) };
        let job = self.jobs.queue.job(self.tenant, id).await.map_err(|error| away(&error))?;
        Ok(job.filter(|job| job.status == Status::Failed))
    }

    async fn one(&self, change: &Change, planned: Option<&Planned>) -> Result<bool, Fault> {
        let planned = planned.filter(|planned| planned.ids.contains(&change.id));
        let Some(job) = self.dead(change).await? else { return Ok(planned.is_some()) };
        // It was retried, and has failed again since.
        if planned.is_some_and(|planned| job.completed_at.is_some_and(|at| at > planned.at)) {
            return Ok(true);
        }
        let done = self.deed.perform(&*self.jobs.queue, self.tenant, job.id).await;
        done.map_err(|error| away(&error))
    }
}

#[async_trait]
impl Apart for JobChange<'_> {
    async fn there(&self, chunk: &Chunk) -> Result<Vec<String>, Fault> {
        let mut there = Vec::with_capacity(chunk.changes.len());
        for some in chunk.changes.chunks(AT_ONCE) {
            for found in join_all(some.iter().map(|change| self.dead(change))).await {
                there.extend(found?.map(|job| job.id.to_string()));
            }
        }
        Ok(there)
    }

    async fn apply(&mut self, chunk: &Chunk, planned: Option<&Planned>) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        for some in chunk.changes.chunks(AT_ONCE) {
            let done = join_all(some.iter().map(|change| self.one(change, planned))).await;
            for (change, done) in some.iter().zip(done) {
                if done? {
                    let (ordinal, id) = (change.ordinal, change.id.clone());
                    outcome.done.push(Changed { ordinal, id });
                } else {
                    let message = "there is no failed job with this id".to_owned();
                    let error = ItemError { message, ..ItemError::not_found(change) };
                    outcome.errors.push(error);
                }
            }
        }
        Ok(outcome)
    }

    /// A job that is retried or discarded is no failed job any more.
    fn forgets(&self) -> bool {
        true
    }
}

fn holds(filter: &Filter, job: &JobRecord) -> bool {
    filter.holds(&|field| match field {
        "type" => json!(job.kind),
        "lane" => json!(job.lane),
        "code" => json!(job.error.as_ref().map(|error| &error.code)),
        "request_id" => json!(job.request_id),
        "created_at" => json!(job.created_at),
        "failed_at" => json!(job.completed_at),
        _ => Value::Null,
    })
}

/// The queue's own words go to the log: they may name hosts.
fn away(error: &QueueError) -> Fault {
    tracing::warn!(%error, "failed jobs could not be changed yet");
    Fault::transient("queue_unavailable", "the queue is not available")
}
