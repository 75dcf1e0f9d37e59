//! The lease keeper: renews what this process holds, and calls runs off that it holds no longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::run::Interrupt;
use crate::queue::{Hold, LeaseRef, Queue};

/// Leases renewed in one call.
const BATCH: usize = 500;

/// Keeps the leases of one process.
#[derive(Clone)]
pub(super) struct Leases {
    queue: Arc<dyn Queue>,
    lease: Duration,
    held: Arc<Mutex<HashMap<LeaseRef, Option<oneshot::Sender<Interrupt>>>>>,
}

impl Leases {
    pub(super) fn new(queue: Arc<dyn Queue>, lease: Duration) -> Self {
        Self { queue, lease, held: Arc::default() }
    }

    /// How long a lease is.
    pub(super) fn length(&self) -> Duration {
        self.lease
    }

    /// Begins to renew leases; the receivers, one for each, hear when their runs must end early.
    pub(super) fn watch(
        &self,
        leases: impl IntoIterator<Item = LeaseRef>,
    ) -> Vec<oneshot::Receiver<Interrupt>> {
        let mut held = self.lock();
        let watch = |lease| {
            let (tell, told) = oneshot::channel();
            held.insert(lease, Some(tell));
            told
        };
        leases.into_iter().map(watch).collect()
    }

    /// Ends the renewal of leases: their verdicts are stored, or they are lost.
    pub(super) fn forget(&self, leases: impl IntoIterator<Item = LeaseRef>) {
        let mut held = self.lock();
        for lease in leases {
            held.remove(&lease);
        }
    }

    /// Calls every run off because the process stops.
    pub(super) fn stop_all(&self) {
        for tell in self.lock().values_mut().filter_map(Option::take) {
            // A run that is over does not listen any more.
            let _ = tell.send(Interrupt::Stop);
        }
    }

    /// Renews all leases at a third of their length, also while the process drains.
    pub(super) async fn keep(self, drained: CancellationToken) {
        let mut beat = tokio::time::interval(self.lease / 3);
        // After a stall (SIGSTOP, a suspended host) one renewal is due, not all that were missed.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = drained.cancelled() => return,
            }
            // A queue that does not answer must not hold up the end of the drain.
            if drained.run_until_cancelled(self.renew()).await.is_none() {
                return;
            }
        }
    }

    async fn renew(&self) {
        let mut leases: Vec<LeaseRef> = self.lock().keys().copied().collect();
        // What was claimed together is renewed together.
        leases.sort_unstable_by_key(|lease| lease.id);
        for batch in leases.chunks(BATCH) {
            match self.queue.extend(batch, self.lease).await {
                Ok(holds) => {
                    for (lease, hold) in batch.iter().zip(holds) {
                        self.told(*lease, hold);
                    }
                }
                // The next beat tries again; until then nobody else can have claimed the jobs,
                // unless the leases run out, and then the queue will say so.
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
        }
    }

    fn told(&self, lease: LeaseRef, hold: Hold) {
        let interrupt = match hold {
            // Until the next beat nobody else can have claimed a job that was not renewed, either.
            Hold::Held | Hold::Unknown => return,
            Hold::CancelRequested => Interrupt::Cancel,
            Hold::Lost => Interrupt::Lost,
        };
        // Only the first word counts; a verdict that is being stored meanwhile has its own fence.
        if let Some(tell) = self.lock().get_mut(&lease).and_then(Option::take) {
            let _ = tell.send(interrupt);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseRef, Option<oneshot::Sender<Interrupt>>>> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
