//! The shared queue: Redis 7, for as many processes on as many machines as wanted.
//!
//! A verb of the port is one Lua script, which moves jobs in one atomic step; what becomes of them is
//! decided here (`ending`). Tenants are spread over shards: all keys of a shard carry one tag, and
//! every script works inside one shard. Time is the server's.
//!
//! * the scripts: `lua/*.lua`, put together in one library in `scripts`; what they give: `reply`
//! * the server: `server`, and what is asked of one: `checks`; where things lie: `keys`
//! * who waits, and how news reach them: `wake`
//! * what is kept of a job: `submitted`, `record`; of jobs that came together: `bundle`
//! * in: `enqueue`; out: `claim`, `overdue`, `shared`; back: `settle`, `leases`; by people: `operate`, `inspect`
//! * what is done in all shards: `rounds`

mod bundle;
mod checks;
mod claim;
mod config;
mod enqueue;
mod error;
mod inspect;
mod keys;
mod leases;
mod operate;
mod overdue;
mod record;
mod reply;
mod rounds;
mod scripts;
mod server;
mod settle;
mod shared;
mod submitted;
mod taken;
mod wake;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jobs::contract::{Cursor, JobId, Moment, TenantId, ports::Clock};
use tokio::task::AbortHandle;

pub use self::{
    checks::{Finding, Weight},
    config::{Durability, RedisConfig},
};
use self::{
    claim::Claiming,
    enqueue::Entrance,
    rounds::Rounds,
    server::Server,
    wake::{Subscription, Wake, bring_news},
};
use super::{
    Ask, Cancelled, Changed, Claims, Drawn, Enqueued, Hold, Inspect, JobFilter, JobRecord, Lack,
    LaneFilter, LanePolicy, LaneRecord, LaneRef, LeaseRef, Limit, ParkReason, PauseTarget, Queue,
    QueueError, QueueRecord, Rescued, Retention, Seen, Settled, Settlement, Submission,
};

/// A queue in Redis.
///
/// Opened inside a tokio runtime, on which its subscription lives until the queue is dropped.
pub struct RedisQueue {
    server: Arc<Server>,
    entrance: Entrance,
    wake: Arc<Wake>,
    claiming: Claiming,
    rounds: Rounds,
    news: AbortHandle,
    /// The shard that the next claim begins with.
    turn: AtomicUsize,
}

impl RedisQueue {
    /// Opens the queue at `config.url`.
    ///
    /// # Errors
    ///
    /// `Unusable` when the server would lose jobs: an old version, a replica, one that evicts keys.
    /// `Unavailable` when it does not answer.
    pub async fn open(config: &RedisConfig) -> Result<Self, QueueError> {
        Self::open_by(config, None).await
    }

    /// The same by another clock than the server's; for tests.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn open_with_clock(
        config: &RedisConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, QueueError> {
        Self::open_by(config, Some(clock)).await
    }

    /// What is to be said about the servers at `config.url`, whether or not a queue would be opened
    /// there.
    ///
    /// # Errors
    ///
    /// `Unusable` when the configuration is wrong, `Unavailable` when a server does not answer.
    pub async fn examine(config: &RedisConfig) -> Result<Vec<Finding>, QueueError> {
        Server::at(config, None)?.examine().await
    }

    async fn open_by(
        config: &RedisConfig,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, QueueError> {
        let server = Arc::new(Server::connect(config, clock).await?);
        let wake = Arc::new(Wake::default());
        let first = Subscription::first(&server, &wake).await?;
        let news = bring_news(Arc::clone(&server), Arc::clone(&wake), first);
        let news = tokio::spawn(news).abort_handle();
        let entrance = Entrance::new(Arc::clone(&server));
        let claiming = Claiming {
            server: Arc::clone(&server),
            overdue: Arc::default(),
            wake: Arc::clone(&wake),
        };
        let (rounds, turn) = (Rounds::new(server.shards.all().len()), AtomicUsize::new(0));
        Ok(Self { server, entrance, wake, claiming, rounds, news, turn })
    }
}

impl Drop for RedisQueue {
    fn drop(&mut self) {
        self.news.abort();
    }
}

/// How long a look at a server's memory may take, of somebody who asks whether the queue is ready.
const LOOK: Duration = Duration::from_millis(500);
/// The latest moment that scripts are told: moments sort as texts of 13 digits.
const LATEST: i64 = 9_999_999_999_999;

fn clamped(at: Moment) -> i64 {
    at.millis().clamp(0, LATEST)
}

fn moment_arg(at: Moment) -> String {
    format!("{:013}", clamped(at))
}

#[async_trait]
impl Queue for RedisQueue {
    async fn enqueue(&self, submission: Submission) -> Result<Enqueued, QueueError> {
        self.entrance.enqueue(submission).await
    }

    async fn claim(&self, ask: &Ask) -> Result<Claims, QueueError> {
        // Asked before: what happens during the claim is news.
        let seen = self.wake.seen();
        let begin = self.turn.fetch_add(1, Ordering::Relaxed);
        let (jobs, next_at) = self.claiming.claim(ask, begin).await?;
        Ok(Claims { jobs, next_at, seen })
    }

    async fn extend(&self, leases: &[LeaseRef], lease: Duration) -> Result<Vec<Hold>, QueueError> {
        leases::extend(&self.server, leases, lease).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        settle::settle(&self.server, settlements, self.now()).await
    }

    async fn checkpoint(&self, lease: &LeaseRef, cursor: &Cursor) -> Result<bool, QueueError> {
        leases::checkpoint(&self.server, lease, cursor).await
    }

    /// A claim sees due jobs by itself; this only tidies what counts them, and answers 0.
    async fn promote(&self, max: u32) -> Result<u32, QueueError> {
        operate::promote(&self.server, &self.rounds, max).await.map(|()| 0)
    }

    async fn rescue(&self, max: u32, max_crashes: u32) -> Result<Vec<Rescued>, QueueError> {
        leases::rescue(&self.server, &self.rounds, max, max_crashes).await
    }

    async fn prune(&self, max: u32, keep: &Retention) -> Result<u32, QueueError> {
        operate::prune(&self.server, &self.rounds, max, keep).await
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        id: JobId,
        by: &str,
    ) -> Result<Cancelled, QueueError> {
        operate::cancel(&self.server, tenant, id, by).await
    }

    async fn retry(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError> {
        operate::retry(&self.server, tenant, id).await
    }

    async fn discard(&self, tenant: &TenantId, id: JobId) -> Result<Changed, QueueError> {
        operate::discard(&self.server, tenant, id).await
    }

    async fn park(
        &self,
        lane: &LaneRef,
        until: Moment,
        reason: &ParkReason,
    ) -> Result<(), QueueError> {
        operate::park(&self.server, lane, until, reason).await
    }

    async fn pause(&self, what: &PauseTarget, paused: bool) -> Result<Changed, QueueError> {
        operate::pause(&self.server, what, paused).await
    }

    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError> {
        operate::set_policy(&self.server, lane, policy).await
    }

    async fn told(&self, tenant: &TenantId, id: JobId, version: u64) -> Result<(), QueueError> {
        operate::told(&self.server, tenant, id, version).await
    }

    async fn draw(&self, tenant: &TenantId, limit: &Limit) -> Result<Drawn, QueueError> {
        operate::draw(&self.server, tenant, limit).await
    }

    async fn wait(&self, queue: &str, seen: Seen, until: Option<Moment>) {
        self.wake.claimable(queue, seen, until, self.now()).await;
    }

    fn now(&self) -> Moment {
        self.server.now()
    }
}

#[async_trait]
impl Inspect for RedisQueue {
    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<JobRecord>, QueueError> {
        inspect::job(&self.server, tenant, id).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, QueueError> {
        inspect::jobs(&self.server, filter).await
    }

    async fn untold(&self, max: u32) -> Result<Vec<JobRecord>, QueueError> {
        inspect::untold(&self.server, &self.rounds, max).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, QueueError> {
        inspect::queues(&self.server).await
    }

    async fn lanes(&self, filter: &LaneFilter) -> Result<Vec<LaneRecord>, QueueError> {
        inspect::lanes(&self.server, filter, self.now()).await
    }

    async fn changed(&self, seen: Seen, at_most: Duration) -> Seen {
        self.wake.any(seen, at_most).await
    }

    async fn ready(&self) -> Result<Vec<Lack>, QueueError> {
        let ready = wake::all_ready(&self.server).await?;
        let full = self.server.full(&ready.shards, LOOK).await;
        let mut lacks: Vec<Lack> = full.into_iter().map(Lack::Room).collect();
        if let Some(error) = ready.failure {
            let all = self.server.shards.all().len();
            let away = all - ready.shards.len();
            tracing::warn!(%error, "{away} of {all} shards do not answer");
            lacks.push(Lack::Parts(format!(
                "{away} of {all} shards do not answer: what lies in them is refused meanwhile"
            )));
        }
        Ok(lacks)
    }
}
