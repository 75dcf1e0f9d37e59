//! Bytes in Redis of a waiting job.

use super::{
    Failure, Plan,
    figures::{Figure, Promise},
    load::{self, Lot},
    noop::PAYLOAD,
    place::Place,
};

/// Without its payload.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let server = place.needed_server();
    let ground = place.fresh().await?;
    let before = server.memory().await?;
    load::backlog(&*ground.queue, &[Lot::limited()], plan.jobs).await?;
    let grown = server.memory().await? - before;
    ground.clear().await?;
    let each = grown / f64::from(plan.jobs) - PAYLOAD as f64;
    Ok(vec![Figure::new("waiting job", each, "bytes").promised(Promise::AtMost(600.0))])
}
