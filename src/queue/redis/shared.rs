//! Limits that all tenants share: a relay, a provider.
//!
//! Their permits lie in a shard of their own, and a script works inside one shard. So a claim takes jobs
//! by the limits of their tenant, and draws on the shared ones in a second call; what these do not admit
//! is given back, and its lane parked until they do.

use std::{collections::BTreeMap, time::Duration};

use jobs::contract::Moment;

use super::{
    claim::Head,
    error::corrupt,
    reply::Fields,
    scripts::{DRAW_SHARED, RETURN_SHARED},
    server::{Patience, Server},
    settle::{Order, carry_out},
};
use crate::queue::{Limit, QueueError};

/// How long lanes wait when it cannot be told whether a limit admits them.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Why a job may not run yet.
#[derive(Clone)]
struct Refusal {
    until: Moment,
    limit: String,
}

/// Those of the claimed jobs that the shared limits of their lanes admit; the others are given back.
pub(super) async fn admit(
    server: &Server,
    shard: usize,
    heads: Vec<Head>,
) -> Result<Vec<Head>, QueueError> {
    if heads.iter().all(|head| head.again.shared.is_none()) {
        return Ok(heads);
    }
    let buckets = buckets_of(&heads)?;
    let mut refusals: Vec<Option<Refusal>> = vec![None; heads.len()];
    let mut drawn_at = BTreeMap::new();
    for (bucket, (limits, askers)) in &buckets {
        let asking: Vec<usize> =
            askers.iter().copied().filter(|asker| refusals[*asker].is_none()).collect();
        let (at, drawn, refusal) = draw(server, bucket, limits, asking.len()).await;
        drawn_at.insert(bucket, at);
        for asker in &asking[drawn..] {
            refusals[*asker].clone_from(&refusal);
        }
    }
    if buckets.len() > 1 {
        for (bucket, (_, askers)) in &buckets {
            let refused = askers.iter().filter(|asker| refusals[**asker].is_some());
            let permits: Vec<String> = refused.map(|asker| heads[*asker].permit()).collect();
            give_permits_back(server, bucket, drawn_at[bucket], permits).await;
        }
    }
    let mut orders = Vec::new();
    for (head, refusal) in heads.iter().zip(&refusals) {
        if let Some(Refusal { until, limit }) = refusal.clone() {
            orders.push(Order::not_before(head.id, head.again.fence, until, limit)?);
        }
    }
    if !orders.is_empty() {
        carry_out(server, shard, orders.iter()).await?;
    }
    let admitted = heads.into_iter().zip(refusals).filter(|(_, refusal)| refusal.is_none());
    Ok(admitted.map(|(head, _)| head).collect())
}

/// The limits of each bucket, and who asks for a permit of it.
type Buckets = BTreeMap<String, (Vec<Limit>, Vec<usize>)>;

fn buckets_of(heads: &[Head]) -> Result<Buckets, QueueError> {
    let mut buckets = Buckets::new();
    for (asker, head) in heads.iter().enumerate() {
        let Some(shared) = &head.again.shared else { continue };
        let limits: Vec<Limit> = serde_json::from_str(shared).map_err(|e| corrupt("a limit", e))?;
        for limit in limits {
            let (known, askers) = buckets.entry(limit.bucket.clone()).or_default();
            if !known.contains(&limit) {
                known.push(limit);
            }
            if askers.last() != Some(&asker) {
                askers.push(asker);
            }
        }
    }
    Ok(buckets)
}

/// Draws permits of a bucket; when, how many of them, and why not more.
async fn draw(
    server: &Server,
    bucket: &str,
    limits: &[Limit],
    permits: usize,
) -> (Moment, usize, Option<Refusal>) {
    if permits == 0 {
        return (server.now(), 0, None);
    }
    match try_draw(server, bucket, limits, permits).await {
        Ok(drawn) => drawn,
        Err(error) => {
            tracing::warn!(%error, "a shared limit could not be asked");
            let limit = limits.first().map_or_else(String::new, |limit| limit.label.clone());
            let now = server.now();
            (now, 0, Some(Refusal { until: now.plus(UNKNOWN), limit }))
        }
    }
}

async fn try_draw(
    server: &Server,
    bucket: &str,
    limits: &[Limit],
    permits: usize,
) -> Result<(Moment, usize, Option<Refusal>), QueueError> {
    let limits = serde_json::to_string(limits).map_err(|e| corrupt("a limit", e))?;
    let arguments = [limits, permits.to_string()];
    let shard = server.shards.of_bucket(bucket);
    let answer = server.call(&DRAW_SHARED, shard, Patience::Worker, &arguments).await?;
    let mut fields = Fields::of(answer)?;
    let (at, drawn) = (fields.moment()?, fields.number()?);
    if drawn >= permits {
        return Ok((at, permits, None));
    }
    Ok((at, drawn, Some(Refusal { until: fields.moment()?, limit: fields.text()? })))
}

/// Gives back what refused jobs drew. What is lost on the way only makes them wait.
async fn give_permits_back(server: &Server, bucket: &str, at: Moment, permits: Vec<String>) {
    if permits.is_empty() {
        return;
    }
    let shard = server.shards.of_bucket(bucket);
    let mut arguments = vec![bucket.to_owned(), at.millis().to_string()];
    arguments.extend(permits);
    if let Err(error) = server.call(&RETURN_SHARED, shard, Patience::Worker, &arguments).await {
        tracing::warn!(%error, "permits of a shared limit could not be given back");
    }
}
