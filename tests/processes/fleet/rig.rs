//! The fleet's processes, its servers, and what both say of its jobs.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jobs::contract::JobId;
use postrider::queue::{
    Inspect, JobRecord, Status,
    redis::{RedisConfig, RedisQueue},
};
use rustix::process::Signal;

use super::{
    account::Account,
    sink::Sink,
    submitter::{Accepted, Doors, Submitter},
};
use crate::{
    processes::{process::Process, rig::House},
    support::{eventually_ok, eventually_within, redis::Private},
};

/// How a production server keeps what it acknowledged.
pub const KEPT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];
/// The shortest lease there is, and some time for somebody to notice.
pub const TAKEN_OVER_AFTER: Duration = Duration::from_secs(8);
/// Records that are read at once.
const READERS: usize = 16;

/// How long an observer waits for an answer: the machine is shared with everything else that runs.
const PATIENT: Duration = Duration::from_secs(20);

/// How many of each role.
pub const FACADES: usize = 2;
pub const WORKERS: usize = 4;
pub const SCHEDULERS: usize = 2;

/// A façade, and where it serves.
pub struct Front {
    pub process: Process,
    pub url: String,
}

/// Servers and processes of one fleet.
pub struct Fleet {
    pub house: House,
    pub redis: Private,
    pub sink: Sink,
    pub doors: Arc<Doors>,
    pub fronts: Vec<Front>,
    pub workers: Vec<Process>,
    pub schedulers: Vec<Process>,
    /// Workers that were stopped, and when.
    pub asleep: Vec<(Process, Instant)>,
    key: String,
}

impl Fleet {
    /// Servers and a tenant, and no process yet.
    pub async fn found(options: &[(&str, &str)]) -> Self {
        let redis = Private::start(&KEPT).await;
        let url = redis.config().url;
        Self::behind(redis, &url, options).await
    }

    /// The same, with processes that reach their Redis at `url`.
    pub async fn behind(redis: Private, url: &str, options: &[(&str, &str)]) -> Self {
        let place = RedisConfig { url: url.to_owned(), ..redis.config() };
        let mut house = House::of_a_fleet(place).await;
        house.set("SCHEDULER__TICK", "200ms");
        // Processes are killed at random here: who was near is not to blame.
        house.set("WORKER__MAX_CRASHES", "100");
        house.set("MAIL__PAUSES__EFFECT_BUSY", "1s");
        house.set("REDIS__SUBMIT_TIMEOUT", "20s");
        options.iter().for_each(|(option, value)| house.set(option, value));
        let key = house.found().await;
        Self {
            house,
            redis,
            sink: Sink::start().await,
            doors: Arc::default(),
            fronts: Vec::new(),
            workers: Vec::new(),
            schedulers: Vec::new(),
            asleep: Vec::new(),
            key,
        }
    }

    /// The whole fleet.
    pub async fn start(options: &[(&str, &str)]) -> Self {
        let mut fleet = Self::found(options).await;
        fleet.man().await;
        fleet
    }

    /// Starts what is missing of every role.
    pub async fn man(&mut self) {
        while self.workers.len() < WORKERS {
            self.workers.push(self.house.worker());
        }
        while self.schedulers.len() < SCHEDULERS {
            self.schedulers.push(self.house.scheduler());
        }
        self.man_the_doors().await;
    }

    /// Starts the façades that are missing.
    pub async fn man_the_doors(&mut self) {
        while self.fronts.len() < FACADES {
            let (process, url) = self.house.serve().await;
            self.doors.open(&url);
            self.fronts.push(Front { process, url });
        }
    }

    /// Mailboxes that send into the sink, without a limit that anybody would feel.
    pub async fn mailboxes(&self, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|n| format!("box{n}@example.com")).collect();
        for name in &names {
            // A window of a second, so that what was drawn on it is soon forgotten.
            self.house.limited_mailbox(name, self.sink.addr(), "100000/s").await;
        }
        names
    }

    pub fn submitter(&self) -> Submitter {
        Submitter::new(&self.doors, &self.key)
    }

    /// The fleet's queue, seen from outside of its processes.
    pub async fn queue(&self) -> RedisQueue {
        let config = RedisConfig { submit_timeout: PATIENT, ..self.redis.config() };
        eventually_ok("the queue opens", || RedisQueue::open(&config)).await
    }

    /// kill -9 of a façade; its callers are not told.
    pub async fn kill_front(&mut self, index: usize) {
        let front = self.fronts.remove(index);
        front.process.kill().await;
        self.doors.close(&front.url);
    }

    /// A façade that is about to go.
    pub fn remove_front(&mut self, index: usize) -> Process {
        let front = self.fronts.remove(index);
        self.doors.close(&front.url);
        front.process
    }

    /// SIGSTOP of a worker.
    pub fn put_to_sleep(&mut self, index: usize) {
        let worker = self.workers.remove(index);
        worker.signal(Signal::STOP);
        self.asleep.push((worker, Instant::now()));
    }

    /// SIGCONT of those workers that slept for longer than their leases; a polite stop ends them.
    pub async fn wake_the_overdue(&mut self) {
        let overdue =
            self.asleep.extract_if(.., |(_, since)| since.elapsed() > TAKEN_OVER_AFTER).collect();
        for (worker, _) in Vec::from_iter::<Vec<_>>(overdue) {
            worker.signal(Signal::CONT);
            assert_eq!(worker.terminate().await, 0, "a worker that slept ends as any other");
        }
    }

    /// Whether every process of the fleet is there.
    pub fn is_up(&mut self) -> bool {
        let fronts = self.fronts.iter_mut().map(|front| &mut front.process);
        fronts.chain(&mut self.workers).chain(&mut self.schedulers).all(Process::is_up)
    }

    /// Waits until nothing is left to do.
    pub async fn drained(&self, within: Duration) {
        let queue = self.queue().await;
        eventually_within(within, "nothing is left to do", || async {
            let counted = queue.queues().await.map_err(|error| error.to_string())?;
            let left = |status| counted.iter().filter_map(|q| q.counts.get(&status)).sum::<u64>();
            match [Status::Queued, Status::Scheduled, Status::Processing].map(left) {
                [0, 0, 0] => Ok(()),
                left => Err(format!("{left:?} are queued, scheduled, processing")),
            }
        })
        .await;
    }

    /// What the queue knows of these jobs.
    pub async fn records(&self, jobs: &[Accepted]) -> HashMap<JobId, JobRecord> {
        let (queue, tenant) = (self.queue().await, "dev".parse().unwrap());
        let found = stream::iter(jobs.iter().map(|job| queue.job(&tenant, job.id)));
        let found: Vec<_> = found.buffer_unordered(READERS).collect().await;
        found.into_iter().filter_map(Result::unwrap).map(|job| (job.id, job)).collect()
    }

    pub async fn account(&self, accepted: &[Accepted]) -> Account {
        Account::of(accepted, &self.records(accepted).await, &self.sink.arrivals())
    }

    /// SIGTERM to everybody; each must end well.
    pub async fn stop(self) {
        let fronts = self.fronts.into_iter().map(|front| front.process);
        for process in fronts.chain(self.workers).chain(self.schedulers) {
            assert_eq!(process.terminate().await, 0);
        }
    }
}
