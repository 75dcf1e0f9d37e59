//! Jobs taken in a second.

use super::{
    Failure, Plan,
    figures::Figure,
    load::{self, Lot},
    place::Place,
};

/// One by one, 64 at once, and in batches of 100 and 1,000.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let tenth = plan.jobs.div_ceil(10);
    let ways = [
        ("single", "Redis CPU, single", tenth, 1, 1),
        ("64 at once", "Redis CPU, 64 at once", tenth, 1, 64),
        ("batches of 100", "Redis CPU, batches of 100", plan.jobs, 100, 1),
        ("batches of 1,000", "Redis CPU, batches of 1,000", plan.jobs, 1_000, 1),
    ];
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for (name, cost, count, batch, at_once) in ways {
        let ground = place.fresh().await?;
        let before = ground.server_cpu().await?;
        let took = load::bring(&*ground.queue, &[Lot::limited()], count, batch, at_once).await?;
        let cpu = ground.server_cpu().await? - before;
        rates.push(Figure::rate(name, f64::from(count) / took.as_secs_f64()));
        costs.push(Figure::new(cost, cpu * 1e6 / f64::from(count), "µs/job"));
        ground.clear().await?;
    }
    if place.server().is_some() {
        rates.append(&mut costs);
    }
    Ok(rates)
}
