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
    keys::SEPARATOR,
    reply::Fields,
    scripts::DRAW_SHARED,
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
    for (bucket, (limits, askers)) in &buckets {
        let asking: Vec<usize> =
            askers.iter().copied().filter(|asker| refusals[*asker].is_none()).collect();
        let permits: Vec<String> = asking.iter().map(|asker| heads[*asker].permit()).collect();
        let (drawn, refusal) = draw(server, bucket, limits, &permits).await;
        for asker in &asking[drawn..] {
            refusals[*asker].clone_from(&refusal);
        }
    }
    give_permits_back(server, &heads, &buckets, &refusals).await;
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

/// Draws permits of a bucket; how many of them, and why not more.
async fn draw(
    server: &Server,
    bucket: &str,
    limits: &[Limit],
    permits: &[String],
) -> (usize, Option<Refusal>) {
    if permits.is_empty() {
        return (0, None);
    }
    match try_draw(server, bucket, limits, permits).await {
        Ok(drawn) => drawn,
        Err(error) => {
            tracing::warn!(%error, "a shared limit could not be asked");
            let limit = limits.first().map_or_else(String::new, |limit| limit.label.clone());
            (0, Some(Refusal { until: server.now().plus(UNKNOWN), limit }))
        }
    }
}

async fn try_draw(
    server: &Server,
    bucket: &str,
    limits: &[Limit],
    permits: &[String],
) -> Result<(usize, Option<Refusal>), QueueError> {
    let mut arguments = vec![serde_json::to_string(limits).map_err(|e| corrupt("a limit", e))?];
    arguments.extend_from_slice(permits);
    let shard = server.shards.of_bucket(bucket);
    let answer = server.call(&DRAW_SHARED, shard, Patience::Worker, &arguments).await?;
    let mut fields = Fields::of(answer)?;
    let drawn: usize = fields.number()?;
    if drawn >= permits.len() {
        return Ok((permits.len(), None));
    }
    Ok((drawn, Some(Refusal { until: fields.moment()?, limit: fields.text()? })))
}

/// Gives back what refused jobs drew on other buckets. What is lost on the way only makes them wait.
async fn give_permits_back(
    server: &Server,
    heads: &[Head],
    buckets: &Buckets,
    refusals: &[Option<Refusal>],
) {
    for (bucket, (_, askers)) in buckets {
        let refused = askers.iter().filter(|asker| refusals[**asker].is_some());
        let permits: Vec<String> = refused.map(|asker| heads[*asker].permit()).collect();
        if permits.is_empty() || buckets.len() == 1 {
            continue;
        }
        let shard = server.shards.of_bucket(bucket);
        let base = server.shards.base(shard);
        let mut command = redis::cmd("ZREM");
        command.arg(format!("{base}permits{SEPARATOR}{SEPARATOR}{bucket}")).arg(permits);
        if let Err(error) = server.query(shard, &command, Patience::Worker).await {
            tracing::warn!(%error, "permits of a shared limit could not be given back");
        }
    }
}
