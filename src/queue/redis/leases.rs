//! Leases: renewing them, saying under one how far a job has got, and taking jobs back when theirs ran
//! out.

use std::time::Duration;

use jobs::contract::{Cursor, End, Facts, JobId, Moment, Retry, TenantId, judge};

use super::{
    error::corrupt,
    keys::{job_of, short},
    reply::{Fields, number},
    scripts::{CHECKPOINT, EXPIRED, EXTEND},
    server::{Patience, Server},
    settle::{Became, Order, carry_out},
    submitted::Submitted,
};
use crate::queue::{Hold, LeaseRef, QueueError, Rescued, Status, ending::Ending};

/// Leases that one script call renews, or jobs that it takes back, at most.
const BATCH: usize = 100;

/// Renews leases by `lease` from now.
pub(super) async fn extend(
    server: &Server,
    leases: &[LeaseRef],
    lease: Duration,
) -> Result<Vec<Hold>, QueueError> {
    let mut holds = vec![Hold::Lost; leases.len()];
    for shard in server.shards.all() {
        let of_shard = leases.iter().enumerate().filter_map(|(index, lease)| {
            let (of, fence) = server.shards.of_lease(lease)?;
            (of == shard).then_some((index, lease.id, fence))
        });
        let mut left: Vec<_> = of_shard.collect();
        left.sort_unstable_by_key(|(_, id, _)| *id);
        while !left.is_empty() {
            let batch: Vec<_> = left.drain(..next_batch(&left)).collect();
            let mut arguments = vec![lease.as_millis().to_string()];
            for (_, id, fence) in &batch {
                arguments.extend([short(*id), fence.to_string()]);
            }
            let answer = server.call(&EXTEND, shard, Patience::Worker, &arguments).await?;
            for ((index, ..), word) in batch.iter().zip(Fields::of(answer)?.texts()) {
                holds[*index] = match word?.as_str() {
                    "held" => Hold::Held,
                    "cancel" => Hold::CancelRequested,
                    _ => Hold::Lost,
                };
            }
        }
    }
    Ok(holds)
}

/// How many leases one call renews. One lease may hold jobs of a bundle: these are not parted.
fn next_batch(leases: &[(usize, JobId, u64)]) -> usize {
    let head =
        |index: usize| leases.get(index).and_then(|(_, id, _)| id.place()).map(|(head, _)| head);
    let mut end = BATCH.min(leases.len());
    while end < leases.len() && head(end).is_some() && head(end) == head(end - 1) {
        end += 1;
    }
    end
}

/// Stores how far a running job has got; `false` when the lease is lost.
pub(super) async fn checkpoint(
    server: &Server,
    lease: &LeaseRef,
    cursor: &Cursor,
) -> Result<bool, QueueError> {
    let Some((shard, fence)) = server.shards.of_lease(lease) else { return Ok(false) };
    let cursor = serde_json::to_string(cursor).map_err(|e| corrupt("a cursor", e))?;
    let arguments = [short(lease.id), fence.to_string(), cursor];
    let answer = server.call(&CHECKPOINT, shard, Patience::Worker, &arguments).await?;
    Ok(number::<i64>(&answer)? == 1)
}

/// Takes back at most `max` jobs whose lease ran out. The script names them, the judge judges, and
/// each verdict is carried out only if the lease still is over.
pub(super) async fn rescue(
    server: &Server,
    max: u32,
    max_crashes: u32,
) -> Result<Vec<Rescued>, QueueError> {
    let mut rescued = Vec::new();
    for shard in server.shards.all() {
        loop {
            let left = (max as usize).saturating_sub(rescued.len()).min(BATCH);
            if left == 0 {
                return Ok(rescued);
            }
            let expired = expired(server, shard, left).await?;
            let all = expired.len() < left;
            let before = rescued.len();
            rescued.extend(take_back(server, shard, expired, max_crashes).await?);
            // Where others were faster, they may be at it still.
            if all || rescued.len() == before {
                break;
            }
        }
    }
    Ok(rescued)
}

/// A job whose worker was not heard of.
struct Expired {
    tenant: TenantId,
    worker: String,
    id: JobId,
    fence: u64,
    facts: Facts,
}

async fn expired(server: &Server, shard: usize, most: usize) -> Result<Vec<Expired>, QueueError> {
    let answer = server.call(&EXPIRED, shard, Patience::Worker, &[most.to_string()]).await?;
    let mut fields = Fields::of(answer)?;
    let now = fields.moment()?;
    server.observe(now);
    fields.rows().map(|row| Expired::read(row?, now)).collect()
}

impl Expired {
    fn read(mut row: Fields, now: Moment) -> Result<Self, QueueError> {
        let id = job_of(&row.text()?)?;
        let fence = row.number()?;
        let worker = row.text()?;
        let (attempt, crashes) = (row.number()?, row.number()?);
        let due_at = row.some_moment()?;
        let cancel_requested = row.number::<i64>()? == 1;
        let submitted = Submitted::of(id, row.bytes()?)?;
        let max_attempts = submitted.fixed.max_attempts;
        // Retry times and patience play no part in what becomes of a vanished worker's job.
        let facts = Facts {
            attempt,
            max_attempts,
            crashes,
            max_crashes: u32::MAX,
            now,
            due_at: due_at.unwrap_or(submitted.due_at),
            patience: Duration::MAX,
            retry: Retry { max_attempts, waits: &[], jitter: 0.0 },
            chance: 0.5,
            cancel_requested,
        };
        let tenant = submitted.lane.tenant;
        Ok(Self { tenant, worker, id, fence, facts })
    }
}

async fn take_back(
    server: &Server,
    shard: usize,
    expired: Vec<Expired>,
    max_crashes: u32,
) -> Result<Vec<Rescued>, QueueError> {
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    let mut orders = Vec::with_capacity(expired.len());
    for job in &expired {
        let facts = Facts { max_crashes, ..job.facts };
        let verdict = judge(End::Vanished, &facts);
        let ending = Ending::of(verdict, facts.cancel_requested, facts.now).vanished();
        orders.push(Order::new(job.id, job.fence, ending, false)?.if_vanished());
    }
    let became = carry_out(server, shard, orders.iter()).await?;
    let taken = expired.into_iter().zip(became);
    Ok(taken
        .filter_map(|(job, became)| {
            let status = match became {
                Became::Lost => return None,
                Became::Waiting => Status::Queued,
                Became::Completed => Status::Completed,
                Became::Failed => Status::Failed,
                Became::Cancelled => Status::Cancelled,
            };
            Some(Rescued { id: job.id, tenant: job.tenant, worker: job.worker, status })
        })
        .collect())
}
