//! From submission to the run.

use super::{
    Failure, Plan,
    crew::Crew,
    figures::{Figure, Promise, percentile},
    parts,
    place::Place,
};

/// Jobs that are measured at most, and those before that are not: connections warm up.
const MOST: u32 = 500;
const WARM_UP: u32 = 20;

/// By a worker process that has nothing else to do.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let count = plan.jobs.min(MOST) + WARM_UP;
    let ground = place.fresh().await?;
    let mut crew = Crew::start(&ground, 1, plan.concurrency).await?;
    parts::one_by_one(&*ground.queue, count).await?;
    crew.finish(&ground, count).await?;
    let waited = crew.stop().await?.waited;
    ground.clear().await?;
    let waited = waited.get(WARM_UP as usize..).unwrap_or_default();
    Ok(vec![
        Figure::new("p50", percentile(waited, 50), "ms").promised(Promise::AtMost(2.0)),
        Figure::new("p99", percentile(waited, 99), "ms").promised(Promise::AtMost(10.0)),
    ])
}
