//! What the queue does when nobody looks: promote, rescue, tell, prune.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::warn;

use super::SchedulerConfig;
use crate::{
    callback::Teller,
    queue::{Queue, QueueError, Status},
};

/// How often one turn repeats a step that came back full. What is left waits for the next turn, so
/// that a large backlog of one step does not starve the others.
const ROUNDS: u32 = 20;

/// Tends one queue.
pub(super) struct Tending {
    config: SchedulerConfig,
    queue: Arc<dyn Queue>,
    teller: Teller,
    max_crashes: u32,
    pruned: Mutex<Option<Instant>>,
}

impl Tending {
    pub(super) fn new(
        config: SchedulerConfig,
        queue: Arc<dyn Queue>,
        teller: Teller,
        max_crashes: u32,
    ) -> Self {
        Self { config, queue, teller, max_crashes, pruned: Mutex::new(None) }
    }

    /// One turn of each step, whatever became of those before it; the first failure.
    pub(super) async fn turn(&self) -> Result<(), QueueError> {
        let promoted = self.promote().await;
        let rescued = self.rescue().await;
        // After that: what is quarantined has ended, and what a worker that vanished had stored was
        // perhaps not told.
        let told = self.teller.turn().await;
        let pruned = if self.prune_is_due() { self.prune().await } else { Ok(()) };
        promoted.and(rescued).and(told).and(pruned)
    }

    async fn promote(&self) -> Result<(), QueueError> {
        for _ in 0..ROUNDS {
            if self.queue.promote(self.config.batch).await? < self.config.batch {
                break;
            }
        }
        Ok(())
    }

    async fn rescue(&self) -> Result<(), QueueError> {
        let batch = self.config.batch;
        for _ in 0..ROUNDS {
            let rescued = self.queue.rescue(batch, self.max_crashes).await?;
            for job in &rescued {
                let words = match job.status {
                    Status::Failed => "a job was quarantined: its workers keep vanishing",
                    Status::Cancelled => "a job was cancelled: its worker vanished before it heard",
                    _ => "a job was taken back from a worker that vanished",
                };
                warn!(
                    job.id = %job.id,
                    job.status = %job.status,
                    tenant = %job.tenant,
                    worker = %job.worker,
                    "{words}"
                );
            }
            if rescued.len() < usize::try_from(batch).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(())
    }

    async fn prune(&self) -> Result<(), QueueError> {
        let keep = self.config.keep.retention();
        for _ in 0..ROUNDS {
            if self.queue.prune(self.config.batch, &keep).await? < self.config.batch {
                // Only a finished prune rests: one that came back full goes on at the next turn.
                *self.pruned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                break;
            }
        }
        Ok(())
    }

    fn prune_is_due(&self) -> bool {
        let pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        pruned.is_none_or(|at| at.elapsed() >= self.config.prune_every)
    }
}
