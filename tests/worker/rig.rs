//! A queue of its own for each test, with workers over it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use jobs::contract::{Catalogue, Job, JobId, LaneName, Ports, TenantId, fakes};
use postrider::{
    queue::{
        Ask, Cancelled, Claimed, Enqueued, JobFilter, JobRecord, NewJob, Priority, Queue,
        QueueError, Submission,
    },
    worker::{QueueClock, WorkerConfig, Workers},
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::kinds::{
    Comes, Counted, DecodesBadly, DropsBadly, Held, Inline, Panics, Slow, Snoozes, Spawned, Steps,
};
pub use crate::support::eventually;
use crate::support::{Faults, Faulty, embedded_queue, eventually_ok};

/// How long a job may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Rig {
    name: &'static str,
    queue: Arc<dyn Queue>,
    config: WorkerConfig,
    faults: Arc<Faults>,
    /// Where the embedded queue lies, for as long as it is needed.
    _dir: Option<tempfile::TempDir>,
}

/// Workers at work, until they are stopped.
pub struct AtWork {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl AtWork {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn catalogue() -> Catalogue {
    Catalogue::empty()
        .with::<Comes>()
        .with::<Counted>()
        .with::<DecodesBadly>()
        .with::<DropsBadly>()
        .with::<Held>()
        .with::<Inline>()
        .with::<Panics>()
        .with::<Slow>()
        .with::<Snoozes>()
        .with::<Spawned>()
        .with::<Steps>()
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

impl Rig {
    pub async fn new(name: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig = Self::over(name, embedded_queue(dir.path()).await);
        Self { _dir: Some(dir), ..rig }
    }

    /// The same over a queue of the caller's.
    pub fn over(name: &'static str, queue: Arc<dyn Queue>) -> Self {
        let config = WorkerConfig {
            queues: Vec::new(),
            concurrency: 8,
            concurrency_by_queue: std::collections::BTreeMap::new(),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            max_crashes: 3,
        };
        let faults = Arc::new(Faults::default());
        let queue = Arc::new(Faulty::new(queue, Arc::clone(&faults)));
        Self { name, queue, config, faults, _dir: None }
    }

    pub fn tenant(&self) -> TenantId {
        tenant()
    }

    pub fn slots(mut self, queue: &str, slots: u32) -> Self {
        self.config.concurrency_by_queue.insert(queue.to_owned(), slots);
        self
    }

    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// The next settlements are answered "not available".
    pub fn refuse_settlements(self, times: u32) -> Self {
        self.faults.settlements.store(times, Ordering::SeqCst);
        self
    }

    /// From now on nobody answers what becomes of these jobs.
    pub fn silence(&self, jobs: impl IntoIterator<Item = JobId>) {
        *self.faults.silent.lock().unwrap() = jobs.into_iter().collect();
    }

    pub fn work(&self) -> AtWork {
        let shutdown = CancellationToken::new();
        let workers = Workers::new(
            self.config.clone(),
            "worker-1".into(),
            Arc::clone(&self.queue),
            catalogue(),
            Arc::new(Ports {
                clock: Arc::new(QueueClock(Arc::clone(&self.queue))),
                ..(*fakes::Fakes::default().ports()).clone()
            }),
        );
        AtWork { task: tokio::spawn(workers.run(shutdown.clone())), shutdown }
    }

    pub async fn submit<J: Job>(&self) -> JobId {
        self.submit_on::<J>(self.name).await
    }

    pub async fn submit_on<J: Job>(&self, stage: &str) -> JobId {
        self.submit_to(J::QUEUE, J::KIND, &json!({"stage": stage}).to_string()).await
    }

    pub async fn submit_payload(&self, kind: &str, payload: &str) -> JobId {
        self.submit_to(kind, kind, payload).await
    }

    async fn submit_to(&self, queue: &str, kind: &str, payload: &str) -> JobId {
        self.try_submit_to(queue, kind, payload).await.unwrap()
    }

    /// Submits a job to a queue that may be out of reach.
    pub async fn try_submit<J: Job>(&self) -> Result<JobId, QueueError> {
        self.try_submit_to(J::QUEUE, J::KIND, &json!({"stage": self.name}).to_string()).await
    }

    async fn try_submit_to(
        &self,
        queue: &str,
        kind: &str,
        payload: &str,
    ) -> Result<JobId, QueueError> {
        let job = NewJob {
            id: JobId::generate(),
            kind: kind.to_owned(),
            queue: queue.to_owned(),
            lane: LaneName::tenant(),
            policy: Arc::default(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            priority: Priority::Normal,
            run_at: None,
            max_attempts: 3,
            unique: None,
            total_items: 1,
            tags: Vec::new(),
            request_id: "test".into(),
            callback: Vec::new(),
        };
        let id = job.id;
        let submission = Submission { tenant: tenant(), jobs: vec![job], idempotency: None };
        assert_eq!(self.queue.enqueue(submission).await?, Enqueued::Fresh(vec![id]));
        Ok(id)
    }

    /// Waits until a worker has asked for jobs of this queue.
    pub async fn until_asked_for(&self, queue: &str) {
        eventually_ok("a worker asks for jobs", || async {
            let known = self.queue.queues().await.unwrap();
            if known.iter().any(|known| known.name == queue) { Ok(()) } else { Err(known) }
        })
        .await;
    }

    pub async fn job(&self, id: JobId) -> JobRecord {
        self.queue.job(&tenant(), id).await.unwrap().expect("the job is there")
    }

    pub async fn jobs(&self) -> Vec<JobRecord> {
        self.queue.jobs(&JobFilter { limit: 1_000, ..JobFilter::default() }).await.unwrap()
    }

    /// The job, as soon as it is as wished.
    pub async fn until(&self, id: JobId, wished: impl Fn(JobRecord) -> bool) -> JobRecord {
        let mut seen = postrider::queue::Seen::default();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            seen = self.queue.changed(seen, Duration::from_secs(1)).await;
            let job = self.job(id).await;
            if wished(job.clone()) {
                return job;
            }
            assert!(tokio::time::Instant::now() < deadline, "the job does not get there: {job:?}");
        }
    }

    pub async fn finished(&self, id: JobId) -> JobRecord {
        self.until(id, |job| job.status.is_final()).await
    }

    pub async fn cancel(&self, id: JobId) -> Cancelled {
        self.queue.cancel(&tenant(), id, "test").await.unwrap()
    }

    /// Rescues again and again until so many lease lengths have passed.
    pub async fn rescue_until(&self, enough: impl Fn(u32) -> bool) {
        let mut lengths = 0;
        let mut beat = tokio::time::interval(self.config.lease);
        while !enough(lengths) {
            beat.tick().await;
            assert_eq!(self.queue.rescue(100, 3).await.unwrap(), [], "a held job was rescued");
            lengths += 1;
        }
    }

    /// Takes the job over, after its worker's renewals did not get through for a lease.
    pub async fn steal(&self, id: JobId) -> Claimed {
        self.faults.renewals.store(true, Ordering::SeqCst);
        let mut beat = tokio::time::interval(self.config.lease / 3);
        while self.queue.rescue(100, 3).await.unwrap().is_empty() {
            beat.tick().await;
        }
        let ask = Ask {
            queue: "held".into(),
            worker: "thief".into(),
            max: 1,
            lease: Duration::from_secs(60),
        };
        let stolen = self.queue.claim(&ask).await.unwrap().jobs.pop().expect("the job is free");
        assert_eq!(stolen.lease.id, id);
        self.faults.renewals.store(false, Ordering::SeqCst);
        stolen
    }
}
