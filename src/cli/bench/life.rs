//! The full life of a job, beside what bare Lua reaches with the same data.

use std::time::Instant;

use jobs::contract::JobId;

use super::{
    Failure, Plan,
    ceiling::{self, Ceiling},
    drain::carry_out,
    figures::{Figure, Promise},
    ground::{Address, Ground},
    load::{self, Lot},
    place::Place,
};
use crate::queue::Status;

/// Jobs whose status is read at the end.
const SAMPLE: usize = 500;
/// Jobs of a submission, and submissions under way at once: those of the yardstick.
const BATCH: u32 = 100;
const AT_ONCE: usize = 4;

/// All in, all carried out, and the status of some read and checked; then the same by bare Lua.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let ground = place.fresh().await?;
    let count = f64::from(plan.jobs);
    let cpu = ground.server_cpu().await?;
    let sample = load::submit(&*ground.queue, Lot::limited().submission(BATCH)).await?;
    let rest = plan.jobs.saturating_sub(BATCH);
    let took = load::bring(&*ground.queue, &[Lot::limited()], rest, BATCH, AT_ONCE).await?;
    let enqueue = f64::from(rest.max(1)) / took.as_secs_f64();
    let enqueue_us = (ground.server_cpu().await? - cpu) * 1e6 / count;
    let drained = carry_out(&ground, plan, 1).await?;
    let read = read(&ground, &sample).await?;
    let rate = 1.0 / (1.0 / enqueue + 1.0 / drained.rate);
    let mut figures =
        vec![Figure::rate("full life", rate), Figure::new("a status read", read, "µs")];
    if let (Address::Redis { prefix, .. }, Some(server)) = (&ground.address, place.server()) {
        let bare = ceiling::measure(server, prefix, plan.jobs).await?;
        figures.extend(beside(&bare, rate, enqueue_us, drained.server_us));
    }
    ground.clear().await?;
    Ok(figures)
}

/// The yardstick, and how much of it was reached.
fn beside(bare: &Ceiling, rate: f64, enqueue_us: f64, drain_us: f64) -> Vec<Figure> {
    let percent = |part: f64| part * 100.0;
    vec![
        Figure::rate("bare Lua, full life", bare.rate),
        Figure::new("of bare Lua, by the clock", percent(rate / bare.rate), "%")
            .promised(Promise::AtLeast(60.0)),
        Figure::new(
            "of bare Lua, by Redis CPU",
            percent(bare.server_us() / (enqueue_us + drain_us)),
            "%",
        )
        .promised(Promise::AtLeast(60.0)),
        Figure::new("Redis CPU, enqueue", enqueue_us, "µs/job"),
        Figure::new("Redis CPU, drain", drain_us, "µs/job"),
        Figure::new("Redis CPU, bare enqueue", bare.enqueue_us, "µs/job"),
        Figure::new("Redis CPU, bare claim", bare.claim_us, "µs/job"),
        Figure::new("Redis CPU, bare settle", bare.settle_us, "µs/job"),
    ]
}

/// Reads the status of some jobs, which must be completed; µs for each.
async fn read(ground: &Ground, sample: &[JobId]) -> Result<f64, Failure> {
    let lot = Lot::limited();
    let since = Instant::now();
    for at in 0..SAMPLE {
        let id = sample[at % sample.len()];
        let job = ground.queue.job(lot.tenant(), id).await?;
        if job.as_ref().is_none_or(|job| job.status != Status::Completed) {
            let status = job.map_or("not there", |job| job.status.as_str());
            return Err(Failure::unavailable(format!("{id} was carried out and is {status}")));
        }
    }
    Ok(since.elapsed().as_secs_f64() * 1e6 / SAMPLE as f64)
}
