//! How long small tenants wait beside a big one.

use jobs::contract::Job;

use super::{
    Failure, Plan,
    crew::Crew,
    figures::{Figure, Promise, percentile},
    load::{self, Lot},
    noop::{self, Noop},
    place::Place,
};
use crate::queue::PauseTarget;

/// The small tenants, and the jobs of each.
const SMALL: u32 = 99;
const EACH: u32 = 100;

/// The small tenants alone, and beside a big one whose jobs came first.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let alone = wait(plan, place, 0).await?;
    let beside = wait(plan, place, plan.waiting).await?;
    Ok(vec![
        Figure::new("p99 wait alone", alone, "ms"),
        Figure::new("p99 wait beside a big tenant", beside, "ms"),
        Figure::new("ratio", beside / alone.max(1e-3), "×").promised(Promise::AtMost(2.0)),
    ])
}

/// The p99 of what the small tenants' jobs wait, from the moment at which the queue is opened.
async fn wait(plan: &Plan, place: &Place, big: u32) -> Result<f64, Failure> {
    let ground = place.fresh().await?;
    if big > 0 {
        load::backlog(&*ground.queue, &[Lot::limited()], big).await?;
    }
    let submitted = noop::now_ms();
    for tenant in 1..=SMALL {
        let lot = Lot::limited().of_tenant(tenant).since(submitted);
        load::backlog(&*ground.queue, &[lot], EACH).await?;
    }
    let queue = PauseTarget::Queue(Noop::QUEUE.to_owned());
    ground.queue.pause(&queue, true).await?;
    let mut crew = Crew::start(&ground, 1, plan.concurrency).await?;
    let opened = noop::now_ms();
    ground.queue.pause(&queue, false).await?;
    crew.until(|progress| progress.measured >= f64::from(SMALL * EACH)).await?;
    let waited = crew.stop().await?.waited;
    ground.clear().await?;
    Ok(percentile(&waited, 99) - (opened - submitted))
}
