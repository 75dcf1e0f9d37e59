//! Schedulers: promote, rescue, prune, tell how jobs ended, and the crontab.
//!
//! Any number of them may run: every verb they use is atomic in the queue, and a tick of the crontab
//! is submitted under a key of its own, so that it fires once however many saw it.

mod config;
mod cron;
mod crontab;
mod expression;
mod tend;
mod ticks;
mod timetable;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jobs::contract::ports::{Clock, FollowUps};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::{
    config::{KeepConfig, SchedulerConfig},
    crontab::{Crontab, CrontabError, Entry, Missed},
    expression::Expression,
    ticks::Ticks,
    timetable::Timetable,
};
use self::{cron::Cron, tend::Tending};
use crate::{callback::Teller, intake::Intake, queue::Queue};

/// What a scheduler works with.
#[derive(Clone)]
pub struct SchedulerDeps {
    /// The queue it tends.
    pub queue: Arc<dyn Queue>,
    /// The door for the crontab's jobs.
    pub intake: Intake,
    /// The door for what follows from jobs.
    pub follow_ups: Arc<dyn FollowUps>,
    /// Where it is kept how far each entry has got.
    pub ticks: Arc<dyn Ticks>,
    /// Vanished workers after which a job is quarantined: `worker.max_crashes`.
    pub max_crashes: u32,
    /// The time by which the crontab fires.
    pub clock: Arc<dyn Clock>,
}

/// One scheduler.
pub struct Scheduler {
    config: SchedulerConfig,
    tending: Tending,
    cron: Cron,
    failing: AtomicBool,
}

impl Scheduler {
    /// A scheduler of this crontab.
    pub fn new(config: SchedulerConfig, crontab: Crontab, deps: SchedulerDeps) -> Self {
        let teller = Teller::new(Arc::clone(&deps.queue), Arc::clone(&deps.follow_ups));
        let tending =
            Tending::new(config.clone(), Arc::clone(&deps.queue), teller, deps.max_crashes);
        let cron = Cron::new(&config, crontab, deps);
        Self { config, tending, cron, failing: AtomicBool::new(false) }
    }

    /// Takes a turn every `scheduler.tick` until `shutdown`. A queue or store that is out of reach is
    /// waited out.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // A turn is not cut off: every step of it is bounded, and the last one is the promise.
            self.turn().await;
        }
    }

    /// Tends the queue once and fires what is due now; a failure is logged when it begins and when
    /// it is over, not every second between.
    pub async fn turn(&self) {
        let tended = self.tending.turn().await.map_err(|error| error.to_string());
        // Its ticks go to the shards of its tenants, which may well take them.
        let fired = self.cron.turn().await;
        let outcome = tended.and(fired);
        match outcome {
            Err(words) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!(error = %words, "the scheduler cannot do its work and keeps trying");
            }
            Err(_) => {}
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                info!("the scheduler works again");
            }
            Ok(()) => {}
        }
    }
}
