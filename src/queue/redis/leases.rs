//! Leases: renewing them, saying under one how far a job has got, and taking jobs back when theirs ran
//! out.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use jobs::contract::{Cursor, End, Facts, JobId, Moment, Retry, TenantId, judge};

use super::{
    error::corrupt,
    keys::{job_of, short},
    reply::{Fields, number},
    rounds::Rounds,
    scripts::{CHECKPOINT, EXPIRED, EXTEND},
    server::{Patience, Server},
    settle::{Became, Order, carry_out},
    submitted::Submitted,
};
use crate::queue::{Hold, LeaseRef, QueueError, Rescued, Status, ending::Ending};

/// Leases that one script call renews, or jobs that it takes back, at most.
const BATCH: usize = 100;

/// A lease of a shard: its index among those that are renewed, its job and its fence there.
type OfShard = (usize, JobId, u64);

/// Renews leases by `lease` from now, in each shard by itself. `Unknown` where a shard does not answer;
/// an error only when none does.
pub(super) async fn extend(
    server: &Server,
    leases: &[LeaseRef],
    lease: Duration,
) -> Result<Vec<Hold>, QueueError> {
    let mut holds = vec![Hold::Lost; leases.len()];
    let mut shards: BTreeMap<usize, Vec<OfShard>> = BTreeMap::new();
    for (index, lease) in leases.iter().enumerate() {
        if let Some((shard, fence)) = server.shards.of_lease(lease) {
            shards.entry(shard).or_default().push((index, lease.id, fence));
        }
    }
    let calls = shards.into_iter().map(|(shard, mut left)| async move {
        left.sort_unstable_by_key(|(_, id, _)| *id);
        let answer = extend_in(server, shard, &left, lease).await;
        (left, answer)
    });
    let (mut answers, mut failure) = (0, None);
    for (left, answer) in join_all(calls).await {
        match answer {
            Ok(said) => {
                answers += 1;
                left.iter().zip(said).for_each(|((index, ..), hold)| holds[*index] = hold);
            }
            Err(error) => {
                left.iter().for_each(|(index, ..)| holds[*index] = Hold::Unknown);
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if answers == 0 => Err(error),
        Some(error) => {
            tracing::warn!(%error, "leases of a shard could not be renewed; those of the others were");
            Ok(holds)
        }
        None => Ok(holds),
    }
}

/// Renews leases of one shard, which are sorted by their jobs.
async fn extend_in(
    server: &Server,
    shard: usize,
    leases: &[OfShard],
    lease: Duration,
) -> Result<Vec<Hold>, QueueError> {
    let mut holds = Vec::with_capacity(leases.len());
    let mut left = leases;
    while !left.is_empty() {
        let (batch, rest) = left.split_at(next_batch(left));
        let mut arguments = vec![lease.as_millis().to_string()];
        for (_, id, fence) in batch {
            arguments.extend([short(*id), fence.to_string()]);
        }
        let answer = server.call(&EXTEND, shard, Patience::Worker, &arguments).await?;
        for word in Fields::of(answer)?.texts() {
            holds.push(match word?.as_str() {
                "held" => Hold::Held,
                "cancel" => Hold::CancelRequested,
                _ => Hold::Lost,
            });
        }
        left = rest;
    }
    Ok(holds)
}

/// How many leases one call renews. One lease may hold jobs of a bundle: these are not parted.
fn next_batch(leases: &[OfShard]) -> usize {
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
    rounds: &Rounds,
    max: u32,
    max_crashes: u32,
) -> Result<Vec<Rescued>, QueueError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut rescued = Vec::new();
    loop {
        let mut left = max - rescued.len();
        let most = left.min(BATCH);
        if most == 0 {
            return Ok(rescued);
        }
        let named = match rounds.all(server, |shard| expired(server, shard, most)).await {
            Err(error) if rescued.is_empty() => return Err(error),
            // What was taken back before is to be told.
            Err(_) => return Ok(rescued),
            Ok(named) => named,
        };
        let more = named.iter().any(|(_, expired)| expired.len() == most);
        let mut taking = Vec::new();
        for (shard, mut expired) in named {
            expired.truncate(left);
            left -= expired.len();
            taking.push((shard, take_back(server, shard, expired, max_crashes)));
        }
        let before = rescued.len();
        // A shard that failed meanwhile is left for the next beat.
        let taken = rounds.each(server, taking).await.unwrap_or_default();
        rescued.extend(taken.into_iter().flat_map(|(_, taken)| taken));
        // Where others were faster, they may be at it still.
        if !more || rescued.len() == before {
            return Ok(rescued);
        }
    }
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
        orders.push(Order::if_vanished(job.id, job.fence, ending)?);
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
