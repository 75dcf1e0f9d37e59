//! 10,000 limited lanes against one unlimited lane.

use super::{
    Failure, Plan,
    drain::drain,
    figures::{Figure, Promise},
    load::Lot,
    place::Place,
};

/// Lanes at most: no more than there are jobs.
const LANES: u32 = 10_000;

/// The same jobs in one lane without limits, and spread over lanes with one each.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let ground = place.fresh().await?;
    let one = drain(&ground, &[Lot::unlimited()], plan, 1).await?;
    ground.clear().await?;
    let lots: Vec<Lot> = (0..LANES.min(plan.jobs)).map(|n| Lot::unlimited().in_lane(n)).collect();
    let ground = place.fresh().await?;
    let many = drain(&ground, &lots, plan, 1).await?;
    ground.clear().await?;
    let slower = (1.0 - many.rate / one.rate) * 100.0;
    let mut figures = vec![
        Figure::rate("one unlimited lane", one.rate),
        Figure::rate("10,000 limited lanes", many.rate),
        Figure::new("slower", slower, "%").promised(Promise::AtMost(15.0)),
    ];
    if place.server().is_some() {
        figures.push(Figure::new("Redis CPU, one lane", one.server_us, "µs/job"));
        figures.push(Figure::new("Redis CPU, 10,000 lanes", many.server_us, "µs/job"));
    }
    Ok(figures)
}
