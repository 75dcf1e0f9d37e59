//! The settler: stores verdicts in batches, and does not give up while they may still count.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::queue::{Queue, Settled, Settlement};

/// Verdicts stored in one call.
const BATCH: usize = 200;
/// The pause after a first failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

type Item = (Settlement, oneshot::Sender<Settled>);

/// Where runs hand in their verdicts.
#[derive(Clone)]
pub(super) struct Settler {
    items: mpsc::UnboundedSender<Item>,
}

impl Settler {
    /// Starts the task that stores verdicts; it ends when all is drained.
    pub(super) fn start(
        queue: Arc<dyn Queue>,
        tasks: &TaskTracker,
        drained: CancellationToken,
    ) -> Self {
        // Not bounded by itself: there are never more verdicts than slots.
        let (items, inbox) = mpsc::unbounded_channel();
        tasks.spawn(store(queue, inbox, drained));
        Self { items }
    }

    /// Stores a verdict and says whether it was in time. Does not return before the queue answered.
    pub(super) async fn settle(&self, settlement: Settlement) -> Settled {
        let (tell, told) = oneshot::channel();
        if self.items.send((settlement, tell)).is_err() {
            return Settled::Lost;
        }
        told.await.unwrap_or(Settled::Lost)
    }
}

async fn store(
    queue: Arc<dyn Queue>,
    mut inbox: mpsc::UnboundedReceiver<Item>,
    drained: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            _ = inbox.recv_many(&mut batch, BATCH) => {}
            () = drained.cancelled() => return,
        }
        let (settlements, tells): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let answers = insist(&*queue, settlements, &drained).await;
        for (tell, answer) in tells.into_iter().zip(answers) {
            // A run that was dropped does not ask; its verdict is stored all the same.
            let _ = tell.send(answer);
        }
    }
}

/// Asks until the queue answers. A lease that ran out meanwhile is answered `Lost` by its fence.
async fn insist(
    queue: &dyn Queue,
    settlements: Vec<Settlement>,
    drained: &CancellationToken,
) -> Vec<Settled> {
    let mut pause = FIRST_PAUSE;
    loop {
        match drained.run_until_cancelled(queue.settle(settlements.clone())).await {
            None => return Vec::new(),
            Some(Ok(answers)) => return answers,
            Some(Err(error)) => {
                tracing::warn!(%error, settlements = settlements.len(), "verdicts could not be stored yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = drained.cancelled() => return Vec::new(),
        }
    }
}
