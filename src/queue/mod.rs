//! The queue: what is still to be done.
//!
//! This file is the port. It has few verbs and speaks Postrider's words; no adapter's type is in a
//! signature. Its adapters sit one exam (`tests/queue`): [`sqlite`], the embedded default, and
//! [`redis`], for a fleet.
//!
//! Jobs of a tenant wait in lanes of a queue. [`Queue::claim`] walks tenants, and inside a tenant
//! its lanes, in turns; it takes what *all* limits of a lane admit, and otherwise parks the lane
//! until the moment at which its next job may go. Time is the adapter's, never the caller's.

mod answer;
mod bounds;
mod config;
mod ending;
pub mod redis;
pub mod sqlite;
mod types;

use std::time::Duration;

use async_trait::async_trait;
use jobs::contract::{Cursor, JobId, Moment, TenantId};

pub use self::{answer::with_ids, config::QueueConfig, types::*};

/// The verbs that move jobs.
///
/// Every verb is one atomic step of the adapter, or a bounded series of such steps that may be
/// repeated: a caller that gets [`QueueError::Unavailable`] may ask again.
///
/// An adapter of several parts, of which some do not answer, goes on with the others: what schedulers and
/// workers do to all of them ([`Queue::claim`], [`Queue::extend`], [`Queue::settle`], [`Queue::promote`],
/// [`Queue::rescue`], [`Queue::prune`], [`Inspect::untold`]) fails only when no part answers.
#[async_trait]
pub trait Queue: Inspect + Send + Sync {
    /// Takes jobs in: all of the submission or nothing. What is remembered as its answer has the ids
    /// that were answered (see [`with_ids`]).
    async fn enqueue(&self, submission: Submission) -> Result<Enqueued, QueueError>;

    /// Takes up to `ask.max` jobs that may run now, in turns, each under a lease and a new fence.
    async fn claim(&self, ask: &Ask) -> Result<Claims, QueueError>;

    /// Renews leases by `lease` from now, and says of each whether it is still held.
    async fn extend(&self, leases: &[LeaseRef], lease: Duration) -> Result<Vec<Hold>, QueueError>;

    /// Carries verdicts out, each under its fence, and says of each whether it was still in time.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError>;

    /// Stores how far a running job has got; `false` when the lease is lost.
    async fn checkpoint(&self, lease: &LeaseRef, cursor: &Cursor) -> Result<bool, QueueError>;

    /// Moves at most `max` later jobs that are due into their lanes, and unparks lanes that are due.
    /// Answers how many it moved; an adapter whose claim sees due jobs by itself answers 0.
    async fn promote(&self, max: u32) -> Result<u32, QueueError>;

    /// Takes back at most `max` jobs whose lease ran out: queued again with one more crash, or
    /// failed when that makes `max_crashes`, or cancelled when that was asked for.
    async fn rescue(&self, max: u32, max_crashes: u32) -> Result<Vec<Rescued>, QueueError>;

    /// Removes at most `max` finished jobs, idempotency records and spent permits past their time,
    /// and answers how many.
    async fn prune(&self, max: u32, keep: &Retention) -> Result<u32, QueueError>;

    /// Cancels a job: at once while it waits, as soon as its worker hears of it while it runs.
    async fn cancel(&self, tenant: &TenantId, id: JobId, by: &str)
    -> Result<Cancelled, QueueError>;

    /// Puts a dead or cancelled job back in its lane, with all its attempts and no crashes.
    async fn retry(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError>;

    /// Deletes a finished job.
    async fn discard(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError>;

    /// Parks a lane until a moment: none of its jobs is claimed before. A lane that is parked for
    /// longer stays so.
    async fn park(
        &self,
        lane: &LaneRef,
        until: Moment,
        reason: &ParkReason,
    ) -> Result<(), QueueError>;

    /// Stops (`true`) or resumes (`false`) claims from a queue, or from one lane; leases are kept. A lane
    /// that is resumed is not parked any more, whoever wished that.
    async fn pause(&self, what: &PauseTarget, paused: bool) -> Result<Changed, QueueError>;

    /// Replaces what a lane may draw on, and frees it if it was parked by a limit.
    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError>;

    /// Takes note that the end which a job had at this version of its record was told, so that it is no
    /// longer [`Inspect::untold`]. Changes nothing where the job has gone on since.
    async fn told(&self, tenant: &TenantId, id: JobId, version: u64) -> Result<(), QueueError>;

    /// Draws one permit of `limit` for the tenant, apart from any lane, if there is one.
    async fn draw(&self, tenant: &TenantId, limit: &Limit) -> Result<Drawn, QueueError>;

    /// Waits until something may have become claimable in `queue` since `seen`, or until `until`.
    /// May return early; never sleeps through a change.
    async fn wait(&self, queue: &str, seen: Seen, until: Option<Moment>);

    /// The adapter's time.
    fn now(&self) -> Moment;
}

/// The verbs that only read.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// A job of the tenant, if it has it.
    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<JobRecord>, QueueError>;

    /// Jobs that match, newest first, at most `filter.limit`.
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, QueueError>;

    /// At most `max` finished jobs whose end is to be told and was not yet, however they ended, those
    /// that ended first. A job that is retried or discarded before has no end to tell.
    async fn untold(&self, max: u32) -> Result<Vec<JobRecord>, QueueError>;

    /// How many jobs of each queue are in which status, oldest waiting job, paused or not.
    async fn queues(&self) -> Result<Vec<QueueRecord>, QueueError>;

    /// Lanes that match, in the order of queue, tenant and name, at most `filter.limit`.
    async fn lanes(&self, filter: &LaneFilter) -> Result<Vec<LaneRecord>, QueueError>;

    /// Waits until any job may have changed since `seen`, or `at_most` this long; the new version.
    async fn changed(&self, seen: Seen, at_most: Duration) -> Seen;

    /// Proves that the queue can be reached and written to, at least in part; answers with what it lacks
    /// all the same.
    async fn ready(&self) -> Result<Vec<Lack>, QueueError>;
}
