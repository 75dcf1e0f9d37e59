//! `postrider bench`: how fast the queue, its workers and the façade are, measured on this machine.
//!
//! One file is one measurement: `enqueue`, `drain`, `life` (beside `ceiling`, what bare Lua reaches with
//! the same data), `latency`, `later`, `lanes`, `waiting`, `fairness`, `memory`, `idle`. They work in a
//! `place` (a server, or embedded), each on fresh `ground`, with jobs of kind `noop` from `load`, which
//! a `crew` of worker processes carries out; `figures` are shown by `report` and drawn by `plot`.
//! `webhooks` (to a `sink`) and `bulk` (beside a `postgres`) have the whole program there, a `house`.
//! `facade` is for itself: callers, and the façade that they ask.

mod bulk;
mod ceiling;
mod crew;
mod drain;
mod enqueue;
mod facade;
mod fairness;
mod figures;
mod ground;
mod house;
mod idle;
mod lanes;
mod latency;
mod later;
mod life;
mod load;
mod memory;
mod noop;
mod parts;
mod place;
mod plan;
mod plot;
mod postgres;
mod progress;
mod report;
mod server;
mod sink;
mod waiting;
mod webhooks;

use std::io::{self, Write};

use clap::{Args, Subcommand};

pub use self::{
    facade::FacadeArgs,
    parts::{EnqueueArgs, LatencyArgs, WorkerArgs},
    plan::{Adapter, Measurement, Plan},
};
use self::{
    figures::{Figure, Figures},
    place::Place,
};
use super::{Failure, Globals, Out, signals};

/// What to measure, or which part to play for somebody else who measures.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = HELP)]
pub struct BenchArgs {
    /// Only these measurements.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT,…")]
    pub only: Vec<Measurement>,
    /// How thoroughly.
    #[command(flatten)]
    pub plan: Plan,
    /// The façade, or a part to play.
    #[command(subcommand)]
    pub part: Option<Part>,
}

const HELP: &str = "\
Without redis.url, a private redis-server is started in a temporary directory, without persistence; it \
is gone afterwards. On a server of yours, everything lies under a prefix of its own and is removed \
afterwards; other traffic on it falsifies the figures. Jobs are no-ops with a payload of 200 bytes, and \
take the way of all jobs: leases, a limited lane, fences, retries, status and history.

webhooks are measured beside a loop of hyper and nothing else, with as many connections as deliveries are \
made at once. It is about twice as fast as one of reqwest.

bulk has no no-ops: one job changes --records in SQLite, and in the Postgres at store.url, or a private \
one if one is installed, in a schema of its own that is removed afterwards.

enqueue, latency and worker play one part each, for a harness that compares engines: `worker` appends \
`<unix time> <jobs done>` lines to $CNT/<pid>.cnt, and writes what each job waited, in ms, to \
$CNT/lat.json when it ends; $RPORT names a Redis on 127.0.0.1.";

/// What is measured by itself, and parts of a measurement for a harness that compares engines.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Measure a façade at which thousands of callers wait: its memory, and how long submissions take.
    Facade(FacadeArgs),
    /// Measure bulk jobs only: the same as --only bulk.
    Bulk(Plan),
    /// Measure webhooks only: the same as --only webhooks.
    Webhooks(Plan),
    /// Enqueue no-op jobs and print `RATE <jobs a second>`.
    Enqueue(EnqueueArgs),
    /// Enqueue no-op jobs one by one, each with the moment at which it was submitted.
    Latency(LatencyArgs),
    /// Carry no-op jobs out until a signal, and count them.
    Worker(WorkerArgs),
}

/// Measures, or plays a part.
///
/// # Errors
///
/// Why there are no figures.
pub async fn run(args: &BenchArgs, globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    match &args.part {
        Some(Part::Facade(args)) => facade::run(args, globals, out).await,
        Some(Part::Bulk(plan)) => measure(&[Measurement::Bulk], plan, globals, out).await,
        Some(Part::Webhooks(plan)) => measure(&[Measurement::Webhooks], plan, globals, out).await,
        Some(Part::Enqueue(args)) => parts::enqueue(args, globals, out).await,
        Some(Part::Latency(args)) => parts::latency(args, globals).await,
        Some(Part::Worker(args)) => parts::worker(args, globals).await,
        None => measure(&args.only, &args.plan, globals, out).await,
    }
}

/// Measures what the plan names, and says what it found.
async fn measure(
    only: &[Measurement],
    plan: &Plan,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let measurements = plan.measurements(only)?;
    let shutdown = signals::shutdown()?;
    let place = Place::open(plan.queue, globals).await?;
    note(format!("measuring on {}", place.describe()));
    let measured = tokio::select! {
        figures = take(&measurements, plan, &place) => figures,
        () = shutdown.cancelled() => Err(Failure::job("the benchmark was stopped")),
    };
    // Also when something went wrong: nothing is left on a server that others use.
    let cleared = place.clear().await;
    let figures = measured?;
    cleared?;
    report::tell(plan, &place.describe(), &figures, out)?;
    plan.plot.as_ref().map_or(Ok(()), |file| plot::write(file, &figures))
}

/// Every measurement, as often as the plan says; a round at a time, so that a busy minute of the machine
/// meets all of them.
async fn take(
    measurements: &[Measurement],
    plan: &Plan,
    place: &Place,
) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for round in 1..=plan.runs {
        for what in measurements {
            note(format!("round {round} of {}: {}", plan.runs, what.name()));
            let found: Vec<Figure> = Box::pin(what.take(plan, place)).await?;
            figures.add(*what, found);
        }
    }
    Ok(figures)
}

/// Says what happens now, to who looks on.
fn note(words: impl AsRef<str>) {
    // Where standard error is closed, nobody looks on.
    let _ = writeln!(io::stderr(), "postrider bench: {}", words.as_ref());
}
