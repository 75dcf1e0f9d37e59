//! Keeping the store short and true: the log of deliveries, the accounts of bulk jobs.

use std::sync::Arc;

use jobs::contract::ports::Clock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::strays::Strays;
use crate::{
    clock::SystemClock,
    config::Config,
    queue::Queue,
    store::{Store, StoreError},
};

/// Rows removed in one step.
const BATCH: u32 = 500;
/// Jobs whose errors are removed in one step: each may have a million.
const JOBS: u32 = 5;

/// Removes what is past its time, and looks for deliveries that wait for nothing, now and then, until
/// `shutdown`. Any number of schedulers may.
pub(super) async fn prune(
    store: Store,
    queue: Arc<dyn Queue>,
    config: &Config,
    shutdown: CancellationToken,
) {
    let mut strays = Strays::new(store.clone(), queue);
    let mut beat = tokio::time::interval(config.scheduler.prune_every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let log_keep = config.webhooks.log_keep;
    // Nobody asks for the errors of a job that the queue has forgotten.
    let keep = &config.scheduler.keep;
    let job_keep = keep.completed.max(keep.cancelled).max(keep.failed);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        strays.look().await;
        let deliveries = || store.prune_deliveries(SystemClock.now().minus(log_keep), BATCH);
        all(deliveries, BATCH, &shutdown).await;
        let accounts = || store.prune_accounts(SystemClock.now().minus(job_keep), JOBS);
        all(accounts, JOBS, &shutdown).await;
    }
}

/// Repeats a step while it comes back full.
async fn all<F>(step: impl Fn() -> F, full: u32, shutdown: &CancellationToken)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    while !shutdown.is_cancelled() {
        match step().await {
            Ok(removed) if removed < u64::from(full) => return,
            Ok(_) => {}
            // The next beat tries again.
            Err(error) => {
                tracing::warn!(%error, "the store could not be pruned");
                return;
            }
        }
    }
}
