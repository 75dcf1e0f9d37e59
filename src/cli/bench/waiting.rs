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

/// Claims from a queue in which nothing waits behind, and from one with a long backlog.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let server = place.needed_server();
    let ground = place.fresh().await?;
    let empty = claims(&ground, server).await?;
    ground.clear().await?;
    let ground = place.fresh().await?;
    if place.is_private() {
        server.watch_slow().await?;
    }
    load::backlog(&*ground.queue, &[Lot::limited()], plan.waiting).await?;
    let enqueue = server.slowest().await?;
    if place.is_private() {
        server.watch_slow().await?;
    }
    let full = claims(&ground, server).await?;
    let work = server.slowest().await?;
    if place.is_private() {
        server.watch_slow().await?;
    }
    everything_else(&ground).await?;
    let rest = server.slowest().await?;
    ground.clear().await?;
    let mut figures = vec![
        Figure::new("claim, empty queue", empty, "µs/job"),
        Figure::new("claim, long queue", full, "µs/job"),
        Figure::new("ratio", full / empty.max(1e-3), "×").promised(Promise::AtMost(1.3)),
    ];
    // Another's server remembers other calls than ours.
    if place.is_private() {
        let slowest = [
            ("slowest enqueue", enqueue),
            ("slowest claim or settle", work),
            ("slowest other script", rest),
        ];
        let figure = |(name, ms)| Figure::new(name, ms, "ms").promised(Promise::AtMost(5.0));
        figures.extend(slowest.map(figure));
    }
    Ok(figures)
}

/// µs of the server's CPU for a claimed job: the median over claims, each after as many jobs came in.
async fn claims(ground: &Ground, server: &Server) -> Result<f64, Failure> {
    let ask = Ask { queue: Noop::QUEUE.into(), worker: "bench".into(), max: CLAIM, lease: LEASE };
    let mut costs = Vec::new();
    for _ in 0..CLAIMS {
        load::bring(&*ground.queue, &[Lot::limited()], CLAIM, CLAIM, 1).await?;
        let before = server.cpu().await?;
        let claims = ground.queue.claim(&ask).await?;
        costs.push((server.cpu().await? - before) * 1e6 / f64::from(CLAIM));
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
            return Err(Failure::unavailable(format!(
                "a claim of {CLAIM} gave {}",
                claims.jobs.len()
            )));
        }
        ground.queue.settle(settlements).await?;
    }
    Ok(percentile(&costs, 50))
}

/// Every other script that is called by itself or by people, once.
async fn everything_else(ground: &Ground) -> Result<(), Failure> {
    let queue = &*ground.queue;
    let lot = Lot::limited();
    let ids = load::submit(queue, lot.submission(1)).await?;
    queue.job(lot.tenant(), ids[0]).await?;
    queue.jobs(&JobFilter { limit: 100, ..JobFilter::default() }).await?;
    queue.queues().await?;
    queue.lanes(&LaneFilter { limit: 100, ..LaneFilter::default() }).await?;
    queue.promote(TENDED).await?;
    queue.rescue(TENDED, 3).await?;
    // All that is finished is old: pruning works as hard as it ever does.
    let keep = Retention {
        completed: Duration::ZERO,
        cancelled: Duration::ZERO,
        failed: Duration::ZERO,
        failed_max: 0,
    };
    queue.prune(TENDED, &keep).await?;
    queue.cancel(lot.tenant(), ids[0], "bench").await?;
    queue.retry(lot.tenant(), ids[0]).await?;
    Ok(())
}
