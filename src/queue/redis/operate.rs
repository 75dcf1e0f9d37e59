//! What people and schedulers do to jobs, lanes and queues.

use jobs::contract::{JobId, Moment, TenantId};

use super::{
    error::corrupt,
    keys::{lane_id, short},
    moment_arg,
    reply::{Fields, number, text},
    rounds::Rounds,
    scripts::{CANCEL, DISCARD, DRAW, PARK, PAUSE, POLICY, PROMOTE, PRUNE, RETRY, Script, TOLD},
    server::{Patience, Server},
};
use crate::queue::{
    Cancelled, Changed, Drawn, LanePolicy, LaneRef, Limit, ParkReason, PauseTarget, QueueError,
    Retention, Status,
};

/// Things that one script call moves or removes at most.
const BATCH: u32 = 200;

fn id_of(lane: &LaneRef) -> String {
    lane_id(&lane.queue, &lane.tenant, &lane.name)
}

/// Takes due jobs off the lists of scheduled ones; nobody has to be told.
pub(super) async fn promote(server: &Server, rounds: &Rounds, max: u32) -> Result<(), QueueError> {
    let most = [max.min(BATCH).to_string()];
    let ask = |shard| server.call(&PROMOTE, shard, Patience::Worker, &most);
    rounds.all(server, ask).await.map(drop)
}

/// Removes at most `max` things past their time: one shard after the other, without those that fail.
pub(super) async fn prune(
    server: &Server,
    rounds: &Rounds,
    max: u32,
    keep: &Retention,
) -> Result<u32, QueueError> {
    let (mut removed, mut answers) = (0, Vec::new());
    for shard in rounds.asked() {
        if removed == max {
            break;
        }
        let answer = prune_shard(server, shard, max - removed, keep).await;
        removed += answer.as_ref().copied().unwrap_or(0);
        answers.push((shard, answer));
    }
    rounds.take(answers).map(|_| removed)
}

async fn prune_shard(
    server: &Server,
    shard: usize,
    max: u32,
    keep: &Retention,
) -> Result<u32, QueueError> {
    let kept = [keep.completed, keep.cancelled, keep.failed].map(|keep| keep.as_millis());
    let mut removed = 0;
    loop {
        let want = (max - removed).min(BATCH);
        if want == 0 {
            return Ok(removed);
        }
        let mut arguments = vec![want.to_string()];
        arguments.extend(kept.iter().map(u128::to_string));
        arguments.push(keep.failed_max.to_string());
        let answer = server.call(&PRUNE, shard, Patience::Worker, &arguments).await?;
        let got: u32 = number(&answer)?;
        removed += got.min(want);
        if got < want {
            return Ok(removed);
        }
    }
}

/// Calls a job off.
pub(super) async fn cancel(
    server: &Server,
    tenant: &TenantId,
    id: JobId,
    by: &str,
) -> Result<Cancelled, QueueError> {
    let arguments = [tenant.as_str(), &short(id), by];
    let shard = server.shards.of(tenant);
    let word = text(server.call(&CANCEL, shard, Patience::Caller, &arguments).await?)?;
    Ok(match word.as_str() {
        "at_once" => Cancelled::AtOnce,
        "requested" => Cancelled::Requested,
        "" => Cancelled::Unknown,
        state => {
            let status: Status = state.parse().map_err(|e| corrupt("a job's state", e))?;
            Cancelled::TooLate(status)
        }
    })
}

/// Takes note that the end of a job was told.
pub(super) async fn told(
    server: &Server,
    tenant: &TenantId,
    id: JobId,
    version: u64,
) -> Result<(), QueueError> {
    let arguments = [short(id), version.to_string()];
    let shard = server.shards.of(tenant);
    server.call(&TOLD, shard, Patience::Worker, &arguments).await.map(drop)
}

/// Puts a dead or cancelled job back in its lane.
pub(super) async fn retry(
    server: &Server,
    tenant: &TenantId,
    id: JobId,
) -> Result<Changed, QueueError> {
    let arguments = [tenant.as_str(), &short(id)];
    change(server, &RETRY, server.shards.of(tenant), &arguments).await
}

/// Deletes a finished job.
pub(super) async fn discard(
    server: &Server,
    tenant: &TenantId,
    id: JobId,
) -> Result<Changed, QueueError> {
    let arguments = [tenant.as_str(), &short(id)];
    change(server, &DISCARD, server.shards.of(tenant), &arguments).await
}

/// Stops or resumes claims from a queue, in every shard, or from one lane.
pub(super) async fn pause(
    server: &Server,
    what: &PauseTarget,
    paused: bool,
) -> Result<Changed, QueueError> {
    let flag = if paused { "1" } else { "0" };
    match what {
        PauseTarget::Lane(lane) => {
            let arguments = ["lane", &id_of(lane), flag];
            change(server, &PAUSE, server.shards.of(&lane.tenant), &arguments).await
        }
        PauseTarget::Queue(queue) => {
            let mut changed = Changed::Unknown;
            for shard in server.shards.all() {
                let here = change(server, &PAUSE, shard, &["queue", queue.as_str(), flag]).await?;
                changed = match (changed, here) {
                    (Changed::Done, _) | (_, Changed::Done) => Changed::Done,
                    (Changed::NotApplicable, _) | (_, Changed::NotApplicable) => {
                        Changed::NotApplicable
                    }
                    _ => Changed::Unknown,
                };
            }
            Ok(changed)
        }
    }
}

async fn change(
    server: &Server,
    script: &Script,
    shard: usize,
    arguments: &[&str],
) -> Result<Changed, QueueError> {
    let word = text(server.call(script, shard, Patience::Caller, arguments).await?)?;
    match word.as_str() {
        "done" => Ok(Changed::Done),
        "not_applicable" => Ok(Changed::NotApplicable),
        "unknown" => Ok(Changed::Unknown),
        other => Err(corrupt("an answer", other)),
    }
}

/// Parks a lane until a moment.
pub(super) async fn park(
    server: &Server,
    lane: &LaneRef,
    until: Moment,
    reason: &ParkReason,
) -> Result<(), QueueError> {
    let reason = serde_json::to_string(reason).map_err(|e| corrupt("a reason for parking", e))?;
    let arguments = [id_of(lane), moment_arg(until), reason];
    let shard = server.shards.of(&lane.tenant);
    server.call(&PARK, shard, Patience::Caller, &arguments).await.map(drop)
}

/// Replaces what a lane may draw on.
pub(super) async fn set_policy(
    server: &Server,
    lane: &LaneRef,
    policy: &LanePolicy,
) -> Result<(), QueueError> {
    let policy = serde_json::to_string(policy).map_err(|e| corrupt("a lane's policy", e))?;
    let arguments = [id_of(lane), policy];
    let shard = server.shards.of(&lane.tenant);
    server.call(&POLICY, shard, Patience::Caller, &arguments).await.map(drop)
}

/// Draws one permit apart from any lane.
pub(super) async fn draw(
    server: &Server,
    tenant: &TenantId,
    limit: &Limit,
) -> Result<Drawn, QueueError> {
    let text = serde_json::to_string(limit).map_err(|e| corrupt("a limit", e))?;
    let owner = limit.owner(tenant);
    let shards = &server.shards;
    let shard = if limit.shared { shards.of_bucket(&limit.bucket) } else { shards.of(tenant) };
    let arguments = [owner, &text];
    let answer = server.call(&DRAW, shard, Patience::Caller, &arguments).await?;
    let mut fields = Fields::of(answer)?;
    Ok(Drawn {
        granted: fields.number::<i64>()? == 1,
        remaining: fields.number()?,
        reset_at: fields.moment()?,
    })
}
