//! Keeping the log of deliveries short.

use std::time::Duration;

use jobs::contract::ports::Clock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{clock::SystemClock, store::Store};

/// Deliveries removed in one step.
const BATCH: u32 = 500;

/// Removes what is older than `keep`, now and then, until `shutdown`. Any number of schedulers may.
pub(super) async fn prune(
    store: Store,
    keep: Duration,
    every: Duration,
    shutdown: CancellationToken,
) {
    let mut beat = tokio::time::interval(every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        loop {
            match store.prune_deliveries(SystemClock.now().minus(keep), BATCH).await {
                Ok(removed) if removed < u64::from(BATCH) => break,
                Ok(_) if shutdown.is_cancelled() => return,
                Ok(_) => {}
                // The next beat tries again.
                Err(error) => {
                    tracing::warn!(%error, "the log of deliveries could not be pruned");
                    break;
                }
            }
        }
    }
}
