//! `postrider bench facade`: what callers that wait cost a façade, and how long submissions take beside
//! them, and beside a flood of strangers.
//!
//! The façade is a process of its own (`served`), the callers are here (`callers`), over TCP on loopback.

mod callers;
mod served;

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use self::{
    callers::{Crowd, Flood, Line},
    served::Served,
};
use super::{
    Adapter, Failure,
    figures::{Figure, Promise, percentile},
    note,
    place::Place,
    report,
};
use crate::cli::{Globals, Out, signals};

/// What a façade with all its waiting callers may take, in MB.
const MOST_MEMORY: f64 = 300.0;
/// How long the slowest of a hundred submissions may take beside them, in ms.
const SLOWEST: f64 = 50.0;
/// The most jobs of one submission.
const BATCH: usize = 1_000;

/// How many callers come.
#[derive(Debug, Args)]
pub struct FacadeArgs {
    /// Callers that wait, each for a job of its own: half of them for its end, half follow its events.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub waiting: u16,
    /// Submissions of each measurement.
    #[arg(long, default_value_t = 3_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub submissions: u32,
    /// Callers that submit at once, one after the other each.
    #[arg(long, default_value_t = 4, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub callers: u32,
    /// Requests a second without a key, while there is a flood of them.
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub flood: u32,
    /// Which queue.
    #[arg(long, value_enum, default_value_t = Adapter::Redis)]
    pub queue: Adapter,
}

/// Measures, and says what it found.
pub(super) async fn run(
    args: &FacadeArgs,
    globals: &Globals,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let room = crate::app::room_for(usize::from(args.waiting));
    if room < usize::from(args.waiting) {
        let words = format!("this process may open {room} connections only: raise ulimit -n");
        return Err(Failure::config(words));
    }
    let shutdown = signals::shutdown()?;
    let place = Place::open(args.queue, globals).await?;
    note(format!("measuring a façade over {}", place.describe()));
    let measured = tokio::select! {
        figures = Box::pin(measure(args, &place)) => figures,
        () = shutdown.cancelled() => Err(Failure::job("the benchmark was stopped")),
    };
    let cleared = place.clear().await;
    let figures = measured?;
    cleared?;
    tell(args, &place.describe(), &figures, out)
}

async fn measure(args: &FacadeArgs, place: &Place) -> Result<Vec<Figure>, Failure> {
    let ground = place.fresh().await?;
    let served = Served::start(&ground, place, args.waiting).await?;
    let mut figures = vec![Figure::new("memory, nobody waits", served.memory_mb()?, "MB")];
    submit(args, &served, args.callers).await?;

    note("submissions");
    figures.extend(phase(args, &served, ["p50, alone", "p99, alone"]).await?);
    note("submissions, and a flood of strangers");
    let flood = Flood::begin(served.address, args.flood);
    figures.extend(phase(args, &served, ["p50, flood", "p99, flood"]).await?);
    figures.push(Figure::new("flood, alone", flood.end().await?, "requests/s"));

    note(format!("{} callers wait", args.waiting));
    let crowd = Crowd::gather(&served, &jobs(args, &served).await?).await?;
    let memory = Figure::new("memory, all wait", served.memory_mb()?, "MB");
    figures.push(memory.promised(Promise::AtMost(MOST_MEMORY)));
    note("submissions, while they wait");
    let mut waited = phase(args, &served, ["p50, all wait", "p99, all wait"]).await?;
    waited[1].promise = Some(Promise::AtMost(SLOWEST));
    figures.extend(waited);
    note("submissions, while they wait, and a flood of strangers");
    let flood = Flood::begin(served.address, args.flood);
    figures.extend(phase(args, &served, ["p50, all wait, flood", "p99, all wait, flood"]).await?);
    figures.push(Figure::new("flood, all wait", flood.end().await?, "requests/s"));
    let memory = Figure::new("memory, at its most", served.most_memory_mb()?, "MB");
    figures.push(memory.promised(Promise::AtMost(MOST_MEMORY)));
    crowd.still_there()?;
    served.stop().await?;
    ground.clear().await?;
    Ok(figures)
}

/// How long submissions take: the median and the slowest of a hundred.
async fn phase(
    args: &FacadeArgs,
    served: &Served,
    names: [&'static str; 2],
) -> Result<[Figure; 2], Failure> {
    let took = submit(args, served, args.submissions).await?;
    Ok([
        Figure::new(names[0], percentile(&took, 50), "ms"),
        Figure::new(names[1], percentile(&took, 99), "ms"),
    ])
}

/// Submits so many jobs, one a request; what each took, in ms.
async fn submit(args: &FacadeArgs, served: &Served, count: u32) -> Result<Vec<f64>, Failure> {
    let callers = args.callers.min(count);
    let submitting = (0..callers).map(|caller| {
        let share = count / callers + u32::from(caller < count % callers);
        let (address, key) = (served.address, served.key.clone());
        tokio::spawn(async move {
            let mut line = Line::open(address, callers::submitter(caller)).await?;
            let mut took = Vec::new();
            for _ in 0..share {
                let request = post(&key, &job().to_string());
                let began = tokio::time::Instant::now();
                line.ask(&request).await?.expect(202)?;
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, Failure>(took)
        })
    });
    let submitting: Vec<_> = submitting.collect();
    let mut took = Vec::new();
    for caller in submitting {
        took.extend(caller.await.map_err(|e| Failure::unavailable(e.to_string()))??);
    }
    Ok(took)
}

/// Jobs to wait for, one for each caller; none of them comes to its turn.
async fn jobs(args: &FacadeArgs, served: &Served) -> Result<Vec<String>, Failure> {
    let mut line = Line::open(served.address, callers::submitter(0)).await?;
    let mut ids = Vec::new();
    while ids.len() < usize::from(args.waiting) {
        let count = (usize::from(args.waiting) - ids.len()).min(BATCH);
        let body = json!({ "jobs": vec![job(); count] }).to_string();
        let said = line.ask(&post(&served.key, &body)).await?.expect(202)?;
        let said: serde_json::Value = serde_json::from_slice(&said.body).unwrap_or_default();
        let data = said["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        ids.extend(data.iter().filter_map(|job| Some(job["id"].as_str()?.to_owned())));
    }
    Ok(ids)
}

fn job() -> serde_json::Value {
    json!({"type": "send", "payload": {
        "channel": "email", "account": "dev@example.com",
        "to": {"email": "ada@example.org", "name": "Ada"},
        "content": {"subject": "Hello {{firstName}}", "text": "{Hi|Hello} {{firstName}}, …"},
        "merge": {"firstName": "Ada"},
    }})
}

fn post(key: &str, body: &str) -> Bytes {
    let name = ulid::Ulid::generate();
    let length = body.len();
    format!(
        "POST /jobs HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\nidempotency-key: {name}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into()
}

fn tell(
    args: &FacadeArgs,
    place: &str,
    figures: &[Figure],
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let FacadeArgs { waiting, submissions, callers, flood, queue } = args;
    if out.is_json() {
        let told = figures.iter().map(|figure| report::told("facade", figure, &[figure.value]));
        return Ok(out.json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "place": place,
            "queue": queue.name(),
            "waiting": waiting,
            "submissions": submissions,
            "callers": callers,
            "flood": flood,
            "figures": told.collect::<Vec<_>>(),
        }))?);
    }
    let rows: Vec<_> = figures.iter().map(|figure| report::row("facade", figure)).collect();
    out.table(report::HEAD, &rows)?;
    let words = format!(
        "\n{waiting} callers wait; {submissions} submissions by {callers} at once; on {place}"
    );
    Ok(out.line(words)?)
}

/// How long anything may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
