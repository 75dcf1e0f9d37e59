//! The log of deliveries with one writer: what many runs write down at once is one transaction.

use std::time::Duration;

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Attempt, Deliveries, Delivery, Health},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Store, StoreError, deliveries::Entry};

/// The most entries of one transaction.
const BATCH: usize = 64;

type Item = (Entry, oneshot::Sender<Result<Health, Fault>>);

/// The log of deliveries, written in batches.
pub struct DeliveryWriter {
    store: Store,
    entries: mpsc::UnboundedSender<Item>,
    _task: AbortOnDropHandle<()>,
}

impl DeliveryWriter {
    /// Starts the task that writes; it ends when this is dropped.
    pub fn start(store: Store) -> Self {
        // Not bounded by itself: every run waits for its own entry.
        let (entries, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(write(store.clone(), inbox));
        Self { store, entries, _task: AbortOnDropHandle::new(task) }
    }
}

#[async_trait]
impl Deliveries for DeliveryWriter {
    async fn find(&self, tenant: &TenantId, id: &str) -> Result<Option<Delivery>, Fault> {
        Deliveries::find(&self.store, tenant, id).await
    }

    async fn record(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        attempt: Option<&Attempt>,
        span: Duration,
        now: Moment,
    ) -> Result<Health, Fault> {
        let (tell, told) = oneshot::channel();
        let entry = Entry::of(tenant, delivery, attempt, span, now);
        let gone = || Fault::transient("store_unavailable", "the log of deliveries has stopped");
        self.entries.send((entry, tell)).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

async fn write(store: Store, mut inbox: mpsc::UnboundedReceiver<Item>) {
    let mut batch = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        let (entries, tells): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match store.write_log(&entries).await {
            Ok(healths) => {
                for (tell, health) in tells.into_iter().zip(healths) {
                    // A run that was dropped does not ask.
                    let _ = tell.send(Ok(health));
                }
            }
            // One that cannot be written must not keep the others from it.
            Err(_) => one_by_one(&store, entries, tells).await,
        }
    }
}

async fn one_by_one(
    store: &Store,
    entries: Vec<Entry>,
    tells: Vec<oneshot::Sender<Result<Health, Fault>>>,
) {
    for (entry, tell) in entries.into_iter().zip(tells) {
        let written: Result<Vec<Health>, StoreError> = store.write_log(&[entry]).await;
        let health = written.map(|healths| healths.first().copied().unwrap_or_default());
        let _ = tell.send(health.map_err(Fault::from));
    }
}
