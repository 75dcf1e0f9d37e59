//! 10,000 limited lanes, of one tenant and of many, against one unlimited lane.

use super::{
    Failure, Plan,
    drain::{Drained, carry_out, drain},
    figures::{Figure, Promise},
    load::{self, Lot},
    place::Place,
};

/// Lanes at most: no more than there are jobs.
const LANES: u32 = 10_000;
/// Lanes of a tenant, where each has a few of its own.
const OF_A_TENANT: u32 = 10;

/// The same jobs in one lane without limits, and spread over lanes with one each: those of one tenant, of which
/// a submission meets each at most once; and those of many, each of which submits for its own together.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let ground = place.fresh().await?;
    let one = drain(&ground, &[Lot::unlimited()], plan, 1).await?;
    ground.clear().await?;
    let lanes = LANES.min(plan.jobs);
    let lots: Vec<Lot> = (0..lanes).map(|n| Lot::unlimited().in_lane(n)).collect();
    let ground = place.fresh().await?;
    let in_turns = drain(&ground, &lots, plan, 1).await?;
    ground.clear().await?;
    let together = of_tenants(plan, place, lanes).await?;
    let slower = |many: &Drained| (1.0 - many.rate / one.rate) * 100.0;
    let promised =
        |name, many| Figure::new(name, slower(many), "%").promised(Promise::AtMost(15.0));
    let mut figures = vec![
        Figure::rate("one unlimited lane", one.rate),
        Figure::rate("10,000 limited lanes", in_turns.rate),
        promised("slower", &in_turns),
        Figure::rate("of 1,000 tenants", together.rate),
        promised("slower, of 1,000 tenants", &together),
    ];
    if place.server().is_some() {
        figures.push(Figure::new("Redis CPU, one lane", one.server_us, "µs/job"));
        figures.push(Figure::new("Redis CPU, 10,000 lanes", in_turns.server_us, "µs/job"));
        figures.push(Figure::new("Redis CPU, of 1,000 tenants", together.server_us, "µs/job"));
    }
    Ok(figures)
}

/// The same jobs in the same number of lanes, a few of which are each tenant's.
async fn of_tenants(plan: &Plan, place: &Place, lanes: u32) -> Result<Drained, Failure> {
    let ground = place.fresh().await?;
    let (tenants, mut left) = (lanes.div_ceil(OF_A_TENANT), plan.jobs);
    for tenant in 0..tenants {
        let own = tenant * OF_A_TENANT..lanes.min((tenant + 1) * OF_A_TENANT);
        let lots: Vec<Lot> =
            own.map(|lane| Lot::unlimited().in_lane(lane).of_tenant(tenant)).collect();
        let jobs = left / (tenants - tenant);
        load::backlog(&*ground.queue, &lots, jobs).await?;
        left -= jobs;
    }
    let drained = carry_out(&ground, plan, 1).await?;
    ground.clear().await?;
    Ok(drained)
}
