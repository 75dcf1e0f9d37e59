//! What is to be measured, and how thoroughly.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    Failure, bulk, drain, enqueue, fairness, figures::Figure, idle, lanes, latency, later, life,
    memory, place::Place, waiting, webhooks,
};

/// How thoroughly to measure.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Jobs of each measurement.
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub jobs: u32,
    /// Jobs that wait behind, where a measurement is about a long queue.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    pub waiting: u32,
    /// Records that a bulk job changes.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub records: u32,
    /// Rounds; figures are medians.
    #[arg(long, default_value_t = 3, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// Jobs that a worker process has at once.
    #[arg(long, default_value_t = 400, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Which queue.
    #[arg(long, value_enum, default_value_t = Adapter::Redis)]
    pub queue: Adapter,
    /// Draw the rates as a bar chart.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Which queue is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Adapter {
    /// The shared queue.
    Redis,
    /// The embedded queue.
    Sqlite,
}

impl Adapter {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
        }
    }
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Measurement {
    /// Jobs taken in a second: one by one, 64 at once, in batches of 100 and 1,000.
    Enqueue,
    /// Jobs carried out a second by one and by two worker processes, and the CPU that takes.
    Drain,
    /// From submission to a status that is read, beside bare Lua with the same data.
    Life,
    /// From submission to the run, by a worker that has nothing else to do.
    Latency,
    /// How late delayed jobs are.
    Later,
    /// 10,000 limited lanes against one unlimited lane.
    Lanes,
    /// What a claim costs with a million jobs waiting, and the slowest script.
    Waiting,
    /// How long small tenants wait beside one with a million jobs.
    Fairness,
    /// Bytes in Redis of a waiting job.
    Memory,
    /// Memory of an idle worker, and how fast it starts.
    Idle,
    /// Webhooks delivered a second, beside a bare loop of requests; and beside one that hangs.
    Webhooks,
    /// Records that a bulk job changes a second, beside a loop of UPDATEs written by hand.
    Bulk,
}

impl Measurement {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Drain => "drain",
            Self::Life => "life",
            Self::Latency => "latency",
            Self::Later => "later",
            Self::Lanes => "lanes",
            Self::Waiting => "waiting",
            Self::Fairness => "fairness",
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::Webhooks => "webhooks",
            Self::Bulk => "bulk",
        }
    }

    /// Whether it asks the Redis server itself.
    fn needs_redis(self) -> bool {
        matches!(self, Self::Waiting | Self::Memory)
    }

    /// Takes it once.
    pub(super) async fn take(self, plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
        match self {
            Self::Enqueue => enqueue::measure(plan, place).await,
            Self::Drain => drain::measure(plan, place).await,
            Self::Life => life::measure(plan, place).await,
            Self::Latency => latency::measure(plan, place).await,
            Self::Later => later::measure(plan, place).await,
            Self::Lanes => lanes::measure(plan, place).await,
            Self::Waiting => waiting::measure(plan, place).await,
            Self::Fairness => fairness::measure(plan, place).await,
            Self::Memory => memory::measure(plan, place).await,
            Self::Idle => idle::measure(place).await,
            Self::Webhooks => webhooks::measure(plan, place).await,
            Self::Bulk => bulk::measure(plan, place).await,
        }
    }
}

impl Plan {
    /// What to measure: what was named, else all that the queue has.
    pub(super) fn measurements(&self, only: &[Measurement]) -> Result<Vec<Measurement>, Failure> {
        let fits = |what: &Measurement| self.queue == Adapter::Redis || !what.needs_redis();
        if let Some(what) = only.iter().find(|what| !fits(what)) {
            return Err(Failure::data(format!(
                "--only {} asks the Redis server itself: there is none with --queue sqlite",
                what.name()
            )));
        }
        let all = Measurement::value_variants().iter().copied();
        let named = |what: &Measurement| only.is_empty() || only.contains(what);
        Ok(all.filter(|what| named(what) && fits(what)).collect())
    }
}
