//! A pool: the slots of one queue in this process, and the task that fills them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{WorkerConfig, buffer::Buffer, perform::Performer, run::Run};
use crate::queue::{Ask, Claims, QueueError};

/// Jobs claimed in one call.
const BATCH: u32 = 100;
/// The pause after a first failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The slots of one queue.
pub(super) struct Pool {
    /// The worker's name, as kept with each lease.
    worker: String,
    /// The queue it claims from.
    queue: String,
    slots: Arc<Semaphore>,
    size: u32,
    performer: Arc<Performer>,
    /// Claimed and not begun.
    pub(super) buffer: Arc<Buffer<Box<Run>>>,
}

impl Pool {
    pub(super) fn new(
        worker: &str,
        queue: &str,
        config: &WorkerConfig,
        performer: Arc<Performer>,
    ) -> Self {
        Self {
            worker: worker.to_owned(),
            queue: queue.to_owned(),
            slots: Arc::new(Semaphore::new(config.slots(queue) as usize)),
            size: config.slots(queue),
            performer,
            buffer: Arc::new(Buffer::new()),
        }
    }

    /// A name for its apalis worker.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.worker, self.queue)
    }

    /// Fills free slots until `shutdown`, then gives back what has not begun.
    pub(super) async fn fetch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let Some(slots) = self.free_slots(&shutdown).await else { break };
            match self.claim(&slots).await {
                Ok(claims) => {
                    pause = FIRST_PAUSE;
                    self.fill(slots, claims, &shutdown).await;
                }
                Err(error) => {
                    tracing::warn!(queue = self.queue, %error, "jobs could not be claimed");
                    drop(slots);
                    let _ = shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        for run in self.buffer.close() {
            self.performer.give_back(*run);
        }
        // A slot is free when its verdict is stored: with all of them, nothing is left to write.
        let all = self.slots.acquire_many(self.size).await;
        drop(all.expect("the semaphore is never closed"));
    }

    /// Waits for a free slot and takes all that are free, up to a batch.
    async fn free_slots(&self, shutdown: &CancellationToken) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = Arc::clone(&self.slots).acquire_owned();
        let first = shutdown.run_until_cancelled(first).await?;
        let mut slots = vec![first.expect("the semaphore is never closed")];
        while slots.len() < BATCH as usize {
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(slot) => slots.push(slot),
                Err(_) => break,
            }
        }
        Some(slots)
    }

    async fn claim(&self, slots: &[OwnedSemaphorePermit]) -> Result<Claims, QueueError> {
        let ask = Ask {
            queue: self.queue.clone(),
            worker: self.worker.clone(),
            max: u32::try_from(slots.len()).unwrap_or(BATCH),
            lease: self.performer.leases.length(),
        };
        self.performer.queue.claim(&ask).await
    }

    /// Hands claimed jobs on; when there were none, waits until there may be.
    async fn fill(
        &self,
        slots: Vec<OwnedSemaphorePermit>,
        claims: Claims,
        shutdown: &CancellationToken,
    ) {
        let nothing = claims.jobs.is_empty();
        let interrupts = self.performer.leases.watch(claims.jobs.iter().map(|job| job.lease));
        for ((job, interrupt), slot) in claims.jobs.into_iter().zip(interrupts).zip(slots) {
            if let Err(run) = self.buffer.push(Box::new(Run { job, interrupt, slot })) {
                self.performer.give_back(*run);
            }
        }
        // Slots that were not needed are free again here, before the wait.
        if nothing {
            let arrival = self.performer.queue.wait(&self.queue, claims.seen, claims.next_at);
            let _ = shutdown.run_until_cancelled(arrival).await;
        }
    }
}
