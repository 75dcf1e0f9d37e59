//! What jobs ask of the engine while they run, answered by the queue.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jobs::contract::{
    Cursor, Fault, Moment, RunInfo,
    ports::{Clock, Progress},
};

use crate::queue::{LeaseRef, Queue};

/// The progress of jobs, stored with them.
pub(super) struct QueueProgress(pub(super) Arc<dyn Queue>);

#[async_trait]
impl Progress for QueueProgress {
    async fn checkpoint(&self, run: &RunInfo, cursor: &Cursor) -> Result<(), Fault> {
        let lease = LeaseRef { id: run.job, fence: run.fence };
        match self.0.checkpoint(&lease, cursor).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::transient("lease_lost", "the job belongs to another worker")),
            Err(error) => Err(Fault::transient("queue_unavailable", error.to_string())),
        }
    }
}

/// The queue's time, for jobs: lanes, limits and jobs all live by one clock.
pub struct QueueClock(pub Arc<dyn Queue>);

#[async_trait]
impl Clock for QueueClock {
    fn now(&self) -> Moment {
        self.0.now()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
