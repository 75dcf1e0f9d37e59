//! What a claim costs with a million jobs waiting, and the slowest script.

use std::time::Duration;

use jobs::contract::{Job, Verdict};
use serde_json::Value;

use super::{
    Failure, Plan,
    figures::{Figure, Promise, percentile},
    ground::Ground,
    load::{self, Lot},
    noop::Noop,
    place::Place,
    server::Server,
};
use crate::queue::{Ask, JobFilter, LaneFilter, Retention, Settlement};

/// Jobs of a claim, and claims that are measured.
const CLAIM: u32 = 100;
const CLAIMS: u32 = 100;
const LEASE: Duration = Duration::from_secs(60);
/// What a scheduler asks for in one call.
const TENDED: u32 = 500;

/// Submissions as large as there are, of which the dearest is looked for.
const LARGE: u32 = 20;

/// Claims from a queue in which nothing waits behind, and from one with a long backlog; then every other
/// script over that, and submissions into many lanes.
///
/// What a call costs is told by the server's CPU, which a busy machine does not stretch; it includes
/// reading the call and writing its answer. The slow log of a private server tells the same by the clock.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let server = place.needed_server();
    let ground = place.fresh().await?;
    let empty = rounds(&ground, server).await?;
    ground.clear().await?;
    let ground = place.fresh().await?;
    load::backlog(&*ground.queue, &[Lot::limited()], plan.waiting).await?;
    if place.is_private() {
        server.watch_slow().await?;
    }
    let full = rounds(&ground, server).await?;
    let enqueue = large(&ground, server, &[Lot::limited()]).await?;
    let others = everything_else(&ground, server).await?;
    let slowest = server.slowest().await?;
    let lanes: Vec<Lot> = (0..load::BATCH).map(|n| Lot::unlimited().in_lane(n)).collect();
    // The first of them finds the lanes new.
    let spread = large(&ground, server, &lanes).await?;
    ground.clear().await?;
    let each = |costs: &[f64]| percentile(costs, 50) * 1e3 / f64::from(CLAIM);
    let (few, many) = (each(&empty.claims), each(&full.claims));
    let dearest = |name, costs: &[f64]| {
        let most = costs.iter().copied().fold(0.0, f64::max);
        Figure::new(name, most, "ms CPU")
    };
    let mut figures = vec![
        Figure::new("claim, empty queue", few, "µs/job"),
        Figure::new("claim, long queue", many, "µs/job"),
        Figure::new("ratio", many / few.max(1e-3), "×").promised(Promise::AtMost(1.3)),
        dearest("dearest enqueue of 1,000", &enqueue).promised(Promise::AtMost(5.0)),
        // Each lane is read and written: what is in many lanes is many times as dear.
        dearest("dearest enqueue into 1,000 lanes", &spread).promised(Promise::AtMost(5.0)),
        Figure::new("enqueue into known lanes", percentile(&spread, 50), "ms CPU"),
        dearest("dearest claim of 100", &full.claims).promised(Promise::AtMost(5.0)),
        dearest("dearest settle of 100", &full.settles).promised(Promise::AtMost(5.0)),
        // Some of these are several scripts.
        dearest("dearest other call", &others),
    ];
    // Another's server remembers other calls than ours.
    if place.is_private() {
        figures.push(Figure::new("slowest script by the clock", slowest, "ms"));
    }
    Ok(figures)
}

/// What calls cost, in ms of the server's CPU.
#[derive(Debug, Default)]
struct Costs {
    claims: Vec<f64>,
    settles: Vec<f64>,
}

/// Makes a call; its answer, and what it cost.
async fn cost<T, E>(
    server: &Server,
    call: impl Future<Output = Result<T, E>>,
) -> Result<(T, f64), Failure>
where
    Failure: From<E>,
{
    let before = server.cpu().await?;
    let answer = call.await?;
    Ok((answer, (server.cpu().await? - before) * 1e3))
}

/// Claims and settles, each after as many jobs came in.
async fn rounds(ground: &Ground, server: &Server) -> Result<Costs, Failure> {
    let ask = Ask { queue: Noop::QUEUE.into(), worker: "bench".into(), max: CLAIM, lease: LEASE };
    let mut costs = Costs::default();
    for _ in 0..CLAIMS {
        load::bring(&*ground.queue, &[Lot::limited()], CLAIM, CLAIM, 1).await?;
        let (claims, claim) = cost(server, ground.queue.claim(&ask)).await?;
        let settlements: Vec<_> = claims
            .jobs
            .iter()
            .map(|job| Settlement {
                lease: job.lease,
                verdict: Verdict::Complete { result: Value::Null, skipped: None },
                refund: false,
            })
            .collect();
        if settlements.len() != CLAIM as usize {
            let got = settlements.len();
            return Err(Failure::unavailable(format!("a claim of {CLAIM} jobs gave {got}")));
        }
        let (_, settle) = cost(server, ground.queue.settle(settlements)).await?;
        costs.claims.push(claim);
        costs.settles.push(settle);
    }
    Ok(costs)
}

/// Submissions as large as there are, of these lots in turns.
async fn large(ground: &Ground, server: &Server, lots: &[Lot]) -> Result<Vec<f64>, Failure> {
    let mut costs = Vec::new();
    for _ in 0..LARGE {
        let brought = load::bring(&*ground.queue, lots, load::BATCH, load::BATCH, 1);
        costs.push(cost(server, brought).await?.1);
    }
    Ok(costs)
}

/// Every other script that is called by itself or by people, once.
async fn everything_else(ground: &Ground, server: &Server) -> Result<Vec<f64>, Failure> {
    let queue = &*ground.queue;
    let lot = Lot::limited();
    let id = load::submit(queue, lot.submission(1)).await?[0];
    let jobs = JobFilter { limit: 100, ..JobFilter::default() };
    let lanes = LaneFilter { limit: 100, ..LaneFilter::default() };
    // All that is finished is old: pruning works as hard as it ever does.
    let keep = Retention {
        completed: Duration::ZERO,
        cancelled: Duration::ZERO,
        failed: Duration::ZERO,
        failed_max: 0,
    };
    Ok(vec![
        cost(server, queue.job(lot.tenant(), id)).await?.1,
        cost(server, queue.jobs(&jobs)).await?.1,
        cost(server, queue.queues()).await?.1,
        cost(server, queue.lanes(&lanes)).await?.1,
        cost(server, queue.promote(TENDED)).await?.1,
        cost(server, queue.rescue(TENDED, 3)).await?.1,
        cost(server, queue.prune(TENDED, &keep)).await?.1,
        cost(server, queue.cancel(lot.tenant(), id, "bench")).await?.1,
        cost(server, queue.retry(lot.tenant(), id)).await?.1,
    ])
}
