//! Callbacks: telling endpoints how a job ended.
//!
//! A queue that stores an end remembers in the same step that it is to be told. Here it is told then:
//! one delivery for each endpoint, under a key that is the same whoever tells and however often, and
//! the queue takes note of it afterwards. A crash in between repeats what the key makes no delivery of;
//! nothing that ends a job (its worker, the rescuer, an operator) has to think of it.

use std::{sync::Arc, time::Duration};

use jobs::{
    WebhookDelivery,
    contract::{
        Fault, Job, RunInfo,
        ports::{FollowUp, FollowUps},
    },
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::queue::{JobRecord, Queue, QueueError, Status};

/// Ends that are told in one turn, at most.
const BATCH: u32 = 100;
/// How long a turn of a worker may take: a scheduler's next one does what is left.
const TURN: Duration = Duration::from_secs(5);
/// The largest result that is told, in bytes of JSON; of a larger one it is told that it is.
const LARGEST_RESULT: usize = 64 << 10;

/// Tells how jobs ended. Any number of them may do so at once.
#[derive(Clone)]
pub(crate) struct Teller {
    queue: Arc<dyn Queue>,
    follow_ups: Arc<dyn FollowUps>,
    ended: Arc<Notify>,
}

impl Teller {
    /// Tells the ends of this queue's jobs, by deliveries that are taken in there.
    pub(crate) fn new(queue: Arc<dyn Queue>, follow_ups: Arc<dyn FollowUps>) -> Self {
        Self { queue, follow_ups, ended: Arc::default() }
    }

    /// Says that an end was stored that is to be told.
    pub(crate) fn wake(&self) {
        self.ended.notify_one();
    }

    /// Tells whenever it is woken, until `shutdown`. What it cannot tell is left to a scheduler.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                // What is stored is told before the end.
                biased;
                () = self.ended.notified() => {}
                () = shutdown.cancelled() => return,
            }
            match timeout(TURN, self.turn()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the ends of jobs could not be told yet"),
                Err(_) => tracing::warn!("the ends of jobs are told too slowly"),
            }
        }
    }

    /// Tells what is to be told now, in bounded steps.
    ///
    /// # Errors
    ///
    /// When the queue is out of reach; what was not told is told the next time.
    pub(crate) async fn turn(&self) -> Result<(), QueueError> {
        loop {
            let untold = self.queue.untold(BATCH).await?;
            for job in &untold {
                self.tell(job).await?;
            }
            if untold.len() < BATCH as usize {
                return Ok(());
            }
        }
    }

    /// Tells one end to all endpoints that the job names, and takes note of it.
    async fn tell(&self, job: &JobRecord) -> Result<(), QueueError> {
        if let Some(news) = news(job) {
            for endpoint in &job.callback {
                let (key, delivery) = delivery(&news, endpoint, job);
                match self.follow_ups.submit(&origin(job), &key, delivery).await {
                    Ok(_) => {}
                    // The endpoint is gone: nobody is left to be told.
                    Err(fault @ Fault::Permanent(_)) => {
                        tracing::warn!(job.id = %job.id, endpoint, %fault, "a job's end is told to nobody");
                    }
                    Err(fault) => return Err(QueueError::Unavailable(fault.to_string())),
                }
            }
        }
        self.queue.told(&job.tenant, job.id, job.version).await
    }
}

/// What the delivery says; nothing while the job has not ended.
fn news(job: &JobRecord) -> Option<Value> {
    let (event, outcome) = match job.status {
        Status::Completed => ("job.completed", completed(job)),
        Status::Failed => ("job.failed", json!({"error": job.error})),
        Status::Cancelled => ("job.cancelled", json!({})),
        Status::Queued | Status::Scheduled | Status::Processing => return None,
    };
    let mut data = json!({
        "job_id": job.id,
        "type": job.kind,
        "status": job.status,
        "attempt": job.attempt,
        "created_at": job.created_at,
        "completed_at": job.completed_at,
    });
    if let (Value::Object(data), Value::Object(outcome)) = (&mut data, outcome) {
        data.extend(outcome);
    }
    Some(json!({"event": event, "data": data}))
}

fn completed(job: &JobRecord) -> Value {
    let result = job.result.as_ref().unwrap_or(&Value::Null);
    let large = result.to_string().len() > LARGEST_RESULT;
    let result = if large { &Value::Null } else { result };
    json!({"result": result, "result_omitted": large, "skipped": job.skipped})
}

/// The delivery that brings `news` to one endpoint, and the key under which it is taken in. A job that
/// is retried has another end, at another version.
fn delivery(news: &Value, endpoint: &str, job: &JobRecord) -> (String, FollowUp) {
    let mut payload = news.clone();
    payload["endpoint_id"] = json!(endpoint);
    let key = format!("callback:{}:{}:{endpoint}", job.id, job.version);
    (key, FollowUp { kind: WebhookDelivery::KIND, payload })
}

/// What the delivery follows from: the job's last run.
fn origin(job: &JobRecord) -> RunInfo {
    RunInfo {
        job: job.id,
        tenant: job.tenant.clone(),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        fence: 0,
        created_at: job.created_at,
        cursor: None,
    }
}
