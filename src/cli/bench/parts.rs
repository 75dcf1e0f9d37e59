//! Single parts, for a harness that compares engines: enqueue, measure latency, work.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use jobs::contract::{Ports, fakes::Fakes};
use serde_json::json;

use super::{
    Adapter, Failure,
    ground::Address,
    load::{self, Lot},
    noop,
    progress::Teller,
};
use crate::{
    cli::{Globals, Out, signals},
    config::Config,
    telemetry,
    worker::{QueueClock, WorkerConfig, Workers},
};

/// The pause between two jobs whose latency is measured.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the jobs of a part are.
#[derive(Debug, Args)]
pub struct Where {
    /// Which queue.
    #[arg(long, value_enum, default_value_t = Adapter::Redis)]
    pub queue: Adapter,
    /// What its keys in Redis begin with.
    #[arg(long, default_value = "postrider:bench", value_name = "TEXT")]
    pub prefix: String,
}

/// What to enqueue.
#[derive(Debug, Args)]
pub struct EnqueueArgs {
    /// How many jobs.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Jobs of a submission.
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch: u32,
    /// Submissions under way at once.
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub at_once: u16,
    /// Where.
    #[command(flatten)]
    pub place: Where,
}

/// Whose latency to measure.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// How many jobs.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Where.
    #[command(flatten)]
    pub place: Where,
}

/// How to work.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Jobs that run at once.
    #[arg(long, default_value_t = 400, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Where.
    #[command(flatten)]
    pub place: Where,
}

impl Where {
    fn address(&self, config: &Config) -> Result<Address, Failure> {
        if self.queue == Adapter::Sqlite {
            return Ok(Address::Sqlite { dir: config.data_dir.clone() });
        }
        let url = match std::env::var("RPORT") {
            Ok(port) => format!("redis://127.0.0.1:{port}"),
            Err(_) if config.redis.url.is_empty() => {
                return Err(Failure::config(
                    "there is no server: set redis.url, or RPORT to the port of one on 127.0.0.1, \
                     or say --queue sqlite",
                ));
            }
            Err(_) => config.redis.url.clone(),
        };
        Ok(Address::Redis { url, prefix: self.prefix.clone() })
    }
}

/// Enqueues, and prints how fast.
pub(super) async fn enqueue(
    args: &EnqueueArgs,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let config = globals.read(&[])?;
    let queue = args.place.address(&config)?.open(&config).await?;
    let lots = [Lot::limited()];
    let took = load::bring(&*queue, &lots, args.count, args.batch, args.at_once.into()).await?;
    let rate = f64::from(args.count) / took.as_secs_f64();
    if out.is_json() {
        return Ok(out.json(&json!({"rate": rate.round()}))?);
    }
    Ok(out.line(format!("RATE {rate:.0}"))?)
}

/// Enqueues jobs that measure how long they waited.
pub(super) async fn latency(args: &LatencyArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.read(&[])?;
    let queue = args.place.address(&config)?.open(&config).await?;
    one_by_one(&*queue, args.count).await
}

/// Brings jobs in one by one, with a pause after each, that measure how long they wait.
pub(super) async fn one_by_one(queue: &dyn crate::queue::Queue, count: u32) -> Result<(), Failure> {
    for _ in 0..count {
        let lot = Lot::limited().since(noop::now_ms());
        load::bring(queue, &[lot], 1, 1, 1).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Works until a signal, and says in `$CNT` how far it has got.
pub(super) async fn worker(args: &WorkerArgs, globals: &Globals) -> Result<(), Failure> {
    let config = globals.read(&[])?;
    telemetry::init(&config.log).map_err(|error| Failure::config(error.to_string()))?;
    let queue = args.place.address(&config)?.open(&config).await?;
    let stop = signals::shutdown()?;
    let worker = WorkerConfig {
        queues: Vec::new(),
        concurrency: args.concurrency,
        concurrency_by_queue: std::collections::BTreeMap::new(),
        ..config.worker
    };
    // No port but the clock is ever asked.
    let ports = Ports {
        clock: Arc::new(QueueClock(Arc::clone(&queue))),
        ..(*Fakes::default().ports()).clone()
    };
    let name = format!("bench-{}", std::process::id());
    let workers = Workers::new(worker, name, queue, noop::catalogue(), Arc::new(ports));
    let Some(counts) = std::env::var_os("CNT").map(PathBuf::from) else {
        workers.run(stop).await;
        return Ok(());
    };
    let wrong = |e| Failure::cannot_create(format!("cannot count in {}: {e}", counts.display()));
    let teller = Teller::new(&counts).map_err(wrong)?;
    let ((), told) = tokio::join!(workers.run(stop.clone()), teller.tell(stop));
    told.and_then(|teller| teller.end(&counts)).map_err(wrong)
}
