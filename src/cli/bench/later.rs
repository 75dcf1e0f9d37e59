//! How late delayed jobs are.

use std::time::Duration;

use super::{
    Failure, Plan,
    crew::Crew,
    figures::{Figure, Promise, percentile},
    load::{self, Lot},
    place::Place,
};
use crate::queue::Submission;

/// Jobs that are measured at most.
const MOST: u32 = 2_000;
/// The first is due after this, the last this much later.
const FIRST: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(2);

/// Jobs that come due over two seconds, by one worker process.
///
/// Moments are the queue's, and lateness is told by this host: a server elsewhere must have its clock
/// in step.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let count = plan.jobs.min(MOST);
    let ground = place.fresh().await?;
    let mut crew = Crew::start(&ground, 1, plan.concurrency).await?;
    let first = ground.queue.now().plus(FIRST);
    let lots: Vec<Lot> = (0..count)
        .map(|n| first.plus(SPREAD * n / count))
        .map(|at| Lot::limited().since(at.millis() as f64).not_before(at))
        .collect();
    for some in lots.chunks(load::BATCH as usize) {
        let jobs = some.iter().map(Lot::job).collect();
        let submission = Submission { tenant: some[0].tenant().clone(), jobs, idempotency: None };
        load::submit(&*ground.queue, submission).await?;
    }
    crew.finish(&ground, count).await?;
    let late = crew.stop().await?.waited;
    ground.clear().await?;
    let earliest = late.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(vec![
        Figure::new("late, p50", percentile(&late, 50), "ms"),
        Figure::new("late, p99", percentile(&late, 99), "ms").promised(Promise::AtMost(100.0)),
        Figure::new("late, earliest", earliest, "ms").promised(Promise::AtLeast(0.0)),
    ])
}
