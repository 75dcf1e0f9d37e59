//! Telling the log of deliveries what became of jobs that ended without a run.

use std::{sync::Arc, time::Duration};

use jobs::contract::{
    Fault,
    ports::{Clock, DeliveryState},
};

use crate::{
    clock::SystemClock,
    queue::{Queue, Status},
    store::{Store, WaitingDelivery},
};

/// Deliveries that are looked at in one step.
const BATCH: u32 = 200;
/// A delivery that was tried a moment ago has a run that writes its end down.
const SETTLED: Duration = Duration::from_secs(60);

/// Walks over the deliveries that wait, a step at a time, and begins again at the end.
pub(super) struct Strays {
    store: Store,
    queue: Arc<dyn Queue>,
    at: Option<WaitingDelivery>,
}

impl Strays {
    pub(super) fn new(store: Store, queue: Arc<dyn Queue>) -> Self {
        Self { store, queue, at: None }
    }

    /// Looks at the next ones.
    pub(super) async fn look(&mut self) {
        if let Err(fault) = self.step().await {
            // The next beat tries again.
            tracing::warn!(%fault, "deliveries that wait could not be looked at");
        }
    }

    async fn step(&mut self) -> Result<(), Fault> {
        let now = SystemClock.now();
        let before = now.minus(SETTLED);
        let waiting = self.store.waiting_deliveries(self.at.as_ref(), before, BATCH).await?;
        for delivery in &waiting {
            if let Some(state) = self.end_of(delivery).await? {
                self.store.end_delivery(delivery, state, before, now).await?;
            }
        }
        let full = waiting.len() == BATCH as usize;
        self.at = waiting.into_iter().next_back().filter(|_| full);
        Ok(())
    }

    /// How it stands if its job is at its end. One that the queue has forgotten counts as failed: it can be
    /// replayed then.
    async fn end_of(&self, delivery: &WaitingDelivery) -> Result<Option<DeliveryState>, Fault> {
        let Some(id) = delivery.job() else { return Ok(Some(DeliveryState::Failed)) };
        let job = self.queue.job(&delivery.tenant, id).await;
        let job = job.map_err(|e| Fault::transient("queue_unavailable", e.to_string()))?;
        Ok(match job.map(|job| job.status) {
            // The endpoint took it, and the log could not be written then.
            Some(Status::Completed) => Some(DeliveryState::Delivered),
            Some(status) if !status.is_final() => None,
            Some(_) | None => Some(DeliveryState::Failed),
        })
    }
}
