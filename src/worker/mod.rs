//! Workers: claim jobs, perform them through apalis, judge how each run ended, settle.
//!
//! A worker process has one pool a queue, and three things that all its pools share: the lease
//! keeper, the settler and the performer. A job's way through them:
//!
//! `pool` claims it as soon as a slot is free or will be (`pace`), `leases` keeps its lease, `apalis` hands it on,
//! `perform` runs it and asks the contract's judge, `settle` stores the verdict; then it is `held` no
//! more, and whoever wants to hear of the end is told.

mod apalis;
mod buffer;
mod held;
mod last_chance;
mod leases;
mod pace;
mod panics;
mod perform;
mod pool;
mod ports;
mod run;
mod settle;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jobs::contract::{Catalogue, Ports};
use serde::Deserialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::ports::QueueClock;
use self::{
    last_chance::LastChance, leases::Leases, perform::Performer, pool::Pool, ports::QueueProgress,
    settle::Settler,
};
use crate::{callback::Teller, config::Ranges, queue::Queue};

/// How long the last verdicts may take to be stored once every run has ended.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// The section `[worker]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// The queues to work on; empty: all that the catalogue knows.
    pub queues: Vec<String>,
    /// Jobs of a queue that run at once, where `concurrency_by_queue` says nothing.
    pub concurrency: u32,
    /// The same for single queues.
    pub concurrency_by_queue: BTreeMap<String, u32>,
    /// How long a claim holds a job unless it is renewed.
    #[serde(deserialize_with = "crate::config::duration")]
    pub lease: Duration,
    /// How long running jobs get to end when the process is asked to stop.
    #[serde(deserialize_with = "crate::config::duration")]
    pub grace: Duration,
    /// Vanished workers after which a job is quarantined.
    pub max_crashes: u32,
}

impl WorkerConfig {
    /// Names the options whose values make no sense.
    pub fn ranges(&self, ranges: &mut Ranges) {
        let known = jobs::catalogue().queues();
        for queue in self.queues.iter().filter(|queue| !known.contains(&queue.as_str())) {
            let words = format!("expected some of {}, got {queue:?}", known.join(", "));
            ranges.problem("worker.queues", words);
        }
        ranges.number("worker.concurrency", self.concurrency, 1..=10_000);
        for (queue, slots) in &self.concurrency_by_queue {
            ranges.number(&format!("worker.concurrency_by_queue.{queue}"), *slots, 1..=10_000);
        }
        let second = Duration::from_secs(1);
        ranges.duration("worker.lease", self.lease, second * 5..=second * 300);
        ranges.duration("worker.grace", self.grace, Duration::ZERO..=second * 3_600);
        ranges.number("worker.max_crashes", self.max_crashes, 1..=100);
    }

    fn slots(&self, queue: &str) -> u32 {
        self.concurrency_by_queue.get(queue).copied().unwrap_or(self.concurrency).max(1)
    }
}

/// The workers of one process.
pub struct Workers {
    config: WorkerConfig,
    name: String,
    queue: Arc<dyn Queue>,
    catalogue: Catalogue,
    ports: Arc<Ports>,
}

impl Workers {
    /// Workers that call themselves `name` and perform the kinds of `catalogue` with `ports`.
    pub fn new(
        config: WorkerConfig,
        name: String,
        queue: Arc<dyn Queue>,
        catalogue: Catalogue,
        ports: Arc<Ports>,
    ) -> Self {
        Self { config, name, queue, catalogue, ports }
    }

    /// The queues that these workers work on.
    pub fn queues(&self) -> Vec<String> {
        if self.config.queues.is_empty() {
            self.catalogue.queues().into_iter().map(str::to_owned).collect()
        } else {
            self.config.queues.clone()
        }
    }

    /// Works until `shutdown`, then drains: claiming stops at once, what was claimed but not begun
    /// goes back, running jobs get their grace, the rest go back too. No attempt is spent by that.
    pub async fn run(self, shutdown: CancellationToken) {
        panics::hush();
        let drained = CancellationToken::new();
        let background = TaskTracker::new();
        let performer = Arc::new(self.performer(&background, &drained));
        background.spawn(performer.leases.clone().keep(drained.clone()));
        background.spawn(limit_the_drain(
            performer.leases.clone(),
            self.config.grace,
            shutdown.clone(),
            drained.clone(),
        ));
        tracing::info!(worker.name = self.name, worker.queues = ?self.queues(), "the workers are at work");
        tokio::select! {
            () = self.work(&performer, shutdown) => {}
            () = drained.cancelled() => {
                tracing::warn!("the queue did not take all verdicts in time; leases will run out");
            }
        }
        // Every run has ended and is settled: nothing is left to renew or to write.
        drained.cancel();
        background.close();
        background.wait().await;
        tracing::info!(worker.name = self.name, "the workers have stopped");
    }

    fn performer(&self, background: &TaskTracker, drained: &CancellationToken) -> Performer {
        let leases = Leases::new(Arc::clone(&self.queue), self.config.lease);
        let teller = Teller::new(Arc::clone(&self.queue), Arc::clone(&self.ports.follow_ups));
        background.spawn(teller.clone().run(drained.clone()));
        Performer {
            queue: Arc::clone(&self.queue),
            progress: Arc::new(QueueProgress(Arc::clone(&self.queue))),
            catalogue: self.catalogue.clone(),
            ports: Arc::clone(&self.ports),
            settler: Settler::start(Arc::clone(&self.queue), teller, background, drained.clone()),
            leases,
            last_chance: LastChance::new(self.config.max_crashes),
            max_crashes: self.config.max_crashes,
        }
    }

    /// Claims and performs until `shutdown`, and returns when everything claimed is settled.
    async fn work(&self, performer: &Arc<Performer>, shutdown: CancellationToken) {
        let pools: Vec<Arc<Pool>> = self
            .queues()
            .iter()
            .map(|queue| {
                Arc::new(Pool::new(&self.name, queue, &self.config, Arc::clone(performer)))
            })
            .collect();
        let fetchers = TaskTracker::new();
        for pool in &pools {
            fetchers.spawn(Arc::clone(pool).fetch(shutdown.clone()));
        }
        apalis::run(&pools, performer, shutdown).await;
        fetchers.close();
        fetchers.wait().await;
    }
}

/// Ends the runs that outlive their grace, and the drain itself when the queue is out of reach.
async fn limit_the_drain(
    leases: Leases,
    grace: Duration,
    shutdown: CancellationToken,
    drained: CancellationToken,
) {
    shutdown.cancelled().await;
    let over = async {
        tokio::time::sleep(grace).await;
        leases.stop_all();
        tokio::time::sleep(LAST_WRITES).await;
    };
    tokio::select! {
        () = over => drained.cancel(),
        () = drained.cancelled() => {}
    }
}
