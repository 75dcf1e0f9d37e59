//! Limits that all tenants share: a relay, a provider.
//!
//! Their permits lie in a shard of their own, and a script works inside one shard. So a claim takes jobs
//! by the limits of their tenant, and draws on the shared ones in a second call; what these do not admit
//! is given back, and its lane parked until they do.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use jobs::contract::{JobId, Moment};

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

/// Gives those of the claimed jobs back that the shared limits of their lanes do not admit; which ones.
pub(super) async fn refuse(
    server: &Server,
    shard: usize,
    heads: &[&Head],
) -> Result<HashSet<JobId>, QueueError> {
    let buckets = buckets_of(heads)?;
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
    let (mut orders, mut refused) = (Vec::new(), HashSet::new());
    for (head, refusal) in heads.iter().zip(&refusals) {
        if let Some(Refusal { until, limit }) = refusal.clone() {
            orders.push(Order::not_before(head.id, head.again.fence, until, limit)?);
            refused.insert(head.id);
        }
    }
    if !orders.is_empty() {
        carry_out(server, shard, orders.iter()).await?;
    }
    Ok(refused)
}

/// The limits of each bucket, and who asks for a permit of it.
type Buckets = BTreeMap<String, (Vec<Limit>, Vec<usize>)>;

fn buckets_of(heads: &[&Head]) -> Result<Buckets, QueueError> {
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
