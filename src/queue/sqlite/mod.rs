//! The embedded queue: one SQLite file, shared by the processes of one host.
//!
//! Each process has one connection that writes, owned by a task (`writer`), and a few that read. A
//! verb of the port is one file here and runs inside a transaction (`tx`); verbs that come at the
//! same time share one. `migrations/queue` has the schema and says how lanes and turns are kept.
//!
//! * time: `clock`; who waits, and how news reach them: `wake`
//! * in: `enqueue`; out: `claim` by `turns`; back: `settle`, `rescue`
//! * what holds a lane back: `lanes`, `limits`

mod cancel;
mod claim;
mod clock;
mod dead;
mod enqueue;
mod error;
mod file;
mod inspect;
mod lanes;
mod leases;
mod limits;
mod park;
mod pause;
#[cfg(test)]
mod plans;
mod policy;
mod prune;
mod ready;
mod record;
mod rescue;
mod settle;
mod told;
mod turns;
mod tx;
mod wake;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use jobs::contract::{Cursor, JobId, Moment, TenantId};
use sqlx::{Sqlite, SqlitePool, pool::PoolConnection};
use tokio::task::AbortHandle;

pub use self::clock::{HostClock, SystemHostClock, Uptime};
use self::{
    clock::{Anchor, Kept},
    file::File,
    wake::{Log, Wake},
    writer::Writer,
};
use super::{
    Ask, Cancelled, Changed, Claims, Drawn, Enqueued, Hold, Inspect, JobFilter, JobRecord, Lack,
    LaneFilter, LanePolicy, LaneRecord, LaneRef, LeaseRef, Limit, ParkReason, PauseTarget, Queue,
    QueueConfig, QueueError, QueueRecord, Rescued, Retention, Seen, Settled, Settlement,
    Submission,
};

/// A queue in one SQLite file.
///
/// Opened inside a tokio runtime, on which its tasks live until the last call is answered and the
/// queue is dropped.
pub struct SqliteQueue {
    anchor: Arc<Anchor>,
    readers: SqlitePool,
    writer: Writer,
    wake: Arc<Wake>,
    poller: AbortHandle,
    clock_tolerance: Duration,
}

impl SqliteQueue {
    /// Opens the queue in the file at `path`, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// `Unusable` when the file cannot be made or is not a queue of a version that this program
    /// knows; `Unavailable` when it stays locked.
    pub async fn open(path: &Path, config: &QueueConfig) -> Result<Self, QueueError> {
        Self::open_with_clock(path, config, Arc::new(SystemHostClock::new())).await
    }

    /// The same by other clocks than the host's own; for tests.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn open_with_clock(
        path: &Path,
        config: &QueueConfig,
        clock: Arc<dyn HostClock>,
    ) -> Result<Self, QueueError> {
        let file = File { path, busy_timeout: config.busy_timeout };
        let conn = file.writer(&*clock).await?;
        let anchor = Arc::new(Anchor::new(clock));
        let wake = Arc::new(Wake::new());
        let poll = Arc::clone(&wake).poll(file.reader().await?, Log::of(path), config.poll);
        let queue = Self {
            readers: file.readers(config.readers),
            writer: Writer::start(conn, path, Arc::clone(&anchor), Arc::clone(&wake)),
            anchor,
            wake,
            poller: tokio::spawn(poll).abort_handle(),
            clock_tolerance: config.clock_tolerance,
        };
        // The first transaction reads the clock's offset, so that `now` is right from here on.
        queue.ready().await?;
        Ok(queue)
    }

    /// A connection to read from, and the time by the file's clock.
    async fn read(&self) -> Result<(PoolConnection<Sqlite>, Moment), QueueError> {
        let mut conn = self.readers.acquire().await?;
        let kept = Kept::load(&mut conn).await?;
        Ok((conn, self.anchor.observe(&kept)))
    }
}

impl Drop for SqliteQueue {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn enqueue(&self, submission: Submission) -> Result<Enqueued, QueueError> {
        self.writer.run(enqueue::Enqueue(submission)).await
    }

    async fn claim(&self, ask: &Ask) -> Result<Claims, QueueError> {
        self.writer.run(claim::Claim(ask.clone())).await
    }

    async fn extend(&self, leases: &[LeaseRef], lease: Duration) -> Result<Vec<Hold>, QueueError> {
        self.writer.run(leases::Extend { leases: leases.to_vec(), lease }).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        self.writer.run(settle::Settle(settlements)).await
    }

    async fn checkpoint(&self, lease: &LeaseRef, cursor: &Cursor) -> Result<bool, QueueError> {
        self.writer.run(leases::Checkpoint { lease: *lease, cursor: cursor.clone() }).await
    }

    /// A claim sees due jobs by itself; this only keeps the queue's clock, and answers 0.
    async fn promote(&self, _max: u32) -> Result<u32, QueueError> {
        let tend =
            clock::Tend { anchor: Arc::clone(&self.anchor), tolerance: self.clock_tolerance };
        self.writer.run(tend).await?;
        Ok(0)
    }

    async fn rescue(&self, max: u32, max_crashes: u32) -> Result<Vec<Rescued>, QueueError> {
        self.writer.run(rescue::Rescue { max, max_crashes }).await
    }

    async fn prune(&self, max: u32, keep: &Retention) -> Result<u32, QueueError> {
        self.writer.run(prune::Prune { max, keep: keep.clone() }).await
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        id: JobId,
        by: &str,
    ) -> Result<Cancelled, QueueError> {
        self.writer.run(cancel::Cancel { tenant: tenant.clone(), id, by: by.to_owned() }).await
    }

    async fn retry(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError> {
        self.writer.run(dead::Retry { tenant: tenant.clone(), id }).await
    }

    async fn discard(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError> {
        self.writer.run(dead::Discard { tenant: tenant.clone(), id }).await
    }

    async fn park(
        &self,
        lane: &LaneRef,
        until: Moment,
        reason: &ParkReason,
    ) -> Result<(), QueueError> {
        let (lane, reason) = (lane.clone(), reason.clone());
        self.writer.run(park::Park { lane, until, reason }).await
    }

    async fn pause(&self, what: &PauseTarget, paused: bool) -> Result<Changed, QueueError> {
        self.writer.run(pause::Pause { what: what.clone(), paused }).await
    }

    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError> {
        let (lane, policy) = (lane.clone(), policy.clone());
        self.writer.run(policy::SetPolicy { lane, policy }).await
    }

    async fn told(&self, tenant: &TenantId, id: JobId, version: u64) -> Result<(), QueueError> {
        self.writer.run(told::Told { tenant: tenant.clone(), id, version }).await
    }

    async fn draw(&self, tenant: &TenantId, limit: &Limit) -> Result<Drawn, QueueError> {
        self.writer.run(limits::Draw { tenant: tenant.clone(), limit: limit.clone() }).await
    }

    async fn wait(&self, queue: &str, seen: Seen, until: Option<Moment>) {
        self.wake.claimable(queue, seen, until, || self.anchor.now()).await;
    }

    fn now(&self) -> Moment {
        self.anchor.now()
    }
}

#[async_trait]
impl Inspect for SqliteQueue {
    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<JobRecord>, QueueError> {
        let (mut conn, now) = self.read().await?;
        inspect::job(&mut conn, tenant, id, now).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, QueueError> {
        let (mut conn, now) = self.read().await?;
        inspect::jobs(&mut conn, filter, now).await
    }

    async fn untold(&self, max: u32) -> Result<Vec<JobRecord>, QueueError> {
        let (mut conn, now) = self.read().await?;
        inspect::untold(&mut conn, max, now).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, QueueError> {
        let (mut conn, now) = self.read().await?;
        inspect::queues(&mut conn, now).await
    }

    async fn lanes(&self, filter: &LaneFilter) -> Result<Vec<LaneRecord>, QueueError> {
        let (mut conn, now) = self.read().await?;
        inspect::lanes(&mut conn, filter, now).await
    }

    async fn changed(&self, seen: Seen, at_most: Duration) -> Seen {
        self.wake.any(seen, at_most).await
    }

    async fn ready(&self) -> Result<Vec<Lack>, QueueError> {
        self.writer.run(ready::Ready).await.map(|()| Vec::new())
    }
}
