//! Jobs carried out a second.

use super::{
    Failure, Plan,
    crew::Crew,
    figures::Figure,
    ground::Ground,
    load::{self, Lot},
    place::Place,
    progress::Progress,
};

/// How a backlog was carried out.
pub(super) struct Drained {
    pub(super) progress: Progress,
    pub(super) rate: f64,
    /// µs of the server's CPU for a job.
    pub(super) server_us: f64,
}

/// By one and by two worker processes.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    let lots = [Lot::limited()];
    let ground = place.fresh().await?;
    let one = drain(&ground, &lots, plan, 1).await?;
    ground.clear().await?;
    figures.push(Figure::rate("1 process", one.rate));
    let ground = place.fresh().await?;
    let two = drain(&ground, &lots, plan, 2).await?;
    ground.clear().await?;
    figures.push(Figure::rate("2 processes", two.rate));
    figures.push(Figure::new("worker CPU, 1 process", one.progress.cpu_us(), "µs/job"));
    if place.server().is_some() {
        figures.push(Figure::new("Redis CPU, 1 process", one.server_us, "µs/job"));
        figures.push(Figure::new("Redis CPU, 2 processes", two.server_us, "µs/job"));
    }
    Ok(figures)
}

/// Brings the plan's jobs in and has `size` worker processes carry them out, every one.
pub(super) async fn drain(
    ground: &Ground,
    lots: &[Lot],
    plan: &Plan,
    size: usize,
) -> Result<Drained, Failure> {
    load::backlog(&*ground.queue, lots, plan.jobs).await?;
    carry_out(ground, plan, size).await
}

/// Has `size` worker processes carry out the plan's jobs, which wait already.
pub(super) async fn carry_out(
    ground: &Ground,
    plan: &Plan,
    size: usize,
) -> Result<Drained, Failure> {
    let before = ground.server_cpu().await?;
    let mut crew = Crew::start(ground, size, plan.concurrency).await?;
    crew.finish(ground, plan.jobs).await?;
    let server_us = (ground.server_cpu().await? - before) * 1e6 / f64::from(plan.jobs);
    let progress = crew.stop().await?.progress;
    Ok(Drained { rate: progress.rate(f64::from(plan.jobs)), progress, server_us })
}
