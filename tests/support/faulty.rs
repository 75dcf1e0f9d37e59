//! A queue whose answers can be made to fail, in front of a real one.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use jobs::contract::{Cursor, JobId, Moment, TenantId};
use postrider::queue::{
    Ask, Cancelled, Changed, Claims, Drawn, Enqueued, Hold, Inspect, JobFilter, JobRecord, Lack,
    LaneFilter, LanePolicy, LaneRecord, LaneRef, LeaseRef, Limit, ParkReason, PauseTarget, Queue,
    QueueError, QueueRecord, Rescued, Retention, Seen, Settled, Settlement, Submission,
};

/// What fails at the moment.
#[derive(Default)]
pub struct Faults {
    /// So many settlements more are refused.
    pub settlements: AtomicU32,
    /// So many notes more that an end was told are refused.
    pub tellings: AtomicU32,
    /// The part of the queue in which these jobs lie does not answer what becomes of them.
    pub silent: Mutex<HashSet<JobId>>,
    /// Renewals do not get through.
    pub renewals: AtomicBool,
}

/// A queue in front of which things fail.
pub struct Faulty {
    inner: Arc<dyn Queue>,
    faults: Arc<Faults>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Queue>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

fn away<T>() -> Result<T, QueueError> {
    Err(QueueError::Unavailable("a test says so".into()))
}

type Answer<T> = Result<T, QueueError>;

#[async_trait]
impl Queue for Faulty {
    async fn enqueue(&self, submission: Submission) -> Answer<Enqueued> {
        self.inner.enqueue(submission).await
    }

    async fn claim(&self, ask: &Ask) -> Answer<Claims> {
        self.inner.claim(ask).await
    }

    async fn extend(&self, leases: &[LeaseRef], lease: Duration) -> Answer<Vec<Hold>> {
        if self.faults.renewals.load(SeqCst) {
            return away();
        }
        self.inner.extend(leases, lease).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Answer<Vec<Settled>> {
        let left = &self.faults.settlements;
        if left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            return away();
        }
        let silent = self.faults.silent.lock().unwrap().clone();
        let heard = settlements.iter().filter(|s| !silent.contains(&s.lease.id)).cloned();
        let mut answers = self.inner.settle(heard.collect()).await?.into_iter();
        let answer = |settlement: &Settlement| match silent.contains(&settlement.lease.id) {
            true => Settled::Unknown,
            false => answers.next().expect("there is an answer for each"),
        };
        Ok(settlements.iter().map(answer).collect())
    }

    async fn checkpoint(&self, lease: &LeaseRef, cursor: &Cursor) -> Answer<bool> {
        self.inner.checkpoint(lease, cursor).await
    }

    async fn promote(&self, max: u32) -> Answer<u32> {
        self.inner.promote(max).await
    }

    async fn rescue(&self, max: u32, max_crashes: u32) -> Answer<Vec<Rescued>> {
        self.inner.rescue(max, max_crashes).await
    }

    async fn prune(&self, max: u32, keep: &Retention) -> Answer<u32> {
        self.inner.prune(max, keep).await
    }

    async fn cancel(&self, tenant: &TenantId, id: JobId, by: &str) -> Answer<Cancelled> {
        self.inner.cancel(tenant, id, by).await
    }

    async fn retry(&self, tenant: &TenantId, id: JobId) -> Answer<Changed> {
        self.inner.retry(tenant, id).await
    }

    async fn discard(&self, tenant: &TenantId, id: JobId) -> Answer<Changed> {
        self.inner.discard(tenant, id).await
    }

    async fn park(&self, lane: &LaneRef, until: Moment, reason: &ParkReason) -> Answer<()> {
        self.inner.park(lane, until, reason).await
    }

    async fn pause(&self, what: &PauseTarget, paused: bool) -> Answer<Changed> {
        self.inner.pause(what, paused).await
    }

    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Answer<()> {
        self.inner.set_policy(lane, policy).await
    }

    async fn told(&self, tenant: &TenantId, id: JobId, version: u64) -> Answer<()> {
        let left = &self.faults.tellings;
        if left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            return away();
        }
        self.inner.told(tenant, id, version).await
    }

    async fn draw(&self, tenant: &TenantId, limit: &Limit) -> Answer<Drawn> {
        self.inner.draw(tenant, limit).await
    }

    async fn wait(&self, queue: &str, seen: Seen, until: Option<Moment>) {
        self.inner.wait(queue, seen, until).await;
    }

    fn now(&self) -> Moment {
        self.inner.now()
    }
}

#[async_trait]
impl Inspect for Faulty {
    async fn job(&self, tenant: &TenantId, id: JobId) -> Answer<Option<JobRecord>> {
        self.inner.job(tenant, id).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Answer<Vec<JobRecord>> {
        self.inner.jobs(filter).await
    }

    async fn untold(&self, max: u32) -> Answer<Vec<JobRecord>> {
        self.inner.untold(max).await
    }

    async fn queues(&self) -> Answer<Vec<QueueRecord>> {
        self.inner.queues().await
    }

    async fn lanes(&self, filter: &LaneFilter) -> Answer<Vec<LaneRecord>> {
        self.inner.lanes(filter).await
    }

    async fn changed(&self, seen: Seen, at_most: Duration) -> Seen {
        self.inner.changed(seen, at_most).await
    }

    async fn ready(&self) -> Answer<Vec<Lack>> {
        self.inner.ready().await
    }
}
