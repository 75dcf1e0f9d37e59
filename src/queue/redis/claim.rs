//! Taking jobs out: from every shard, beginning with another one each time.

use jobs::contract::Moment;
use serde::Deserialize;

use super::{
    keys::{job_of, lane_of, outer_fence},
    reply::{Fields, parsed},
    scripts::CLAIM,
    server::{Patience, Server},
    submitted::Submitted,
};
use crate::queue::{Ask, Claimed, LeaseRef, QueueError};

/// Jobs that one script call takes at most.
const BATCH: u32 = 100;
/// Lanes that a call wakes at most, and promises that it corrects.
const MOST_LANES: &str = "100";
/// The length of an id.
const ID: usize = 26;

/// Takes up to `ask.max` jobs, and says when more may be had.
pub(super) async fn claim(
    server: &Server,
    ask: &Ask,
    begin: usize,
) -> Result<(Vec<Claimed>, Option<Moment>), QueueError> {
    let shards = server.shards.all();
    let (mut jobs, mut next_at) = (Vec::new(), None::<Moment>);
    for shard in shards.clone().map(|shard| (begin + shard) % shards.len()) {
        let found = claim_from(server, ask, shard, &mut jobs).await;
        match found {
            Ok(next) => next_at = [next_at, next].into_iter().flatten().min(),
            // What was claimed from the shards before is held by now, and must be worked on.
            Err(error) if !jobs.is_empty() => {
                tracing::warn!(%error, "jobs of a shard could not be claimed");
                return Ok((jobs, Some(server.now())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((jobs, next_at))
}

/// Takes what is missing from one shard, in bounded batches.
async fn claim_from(
    server: &Server,
    ask: &Ask,
    shard: usize,
    jobs: &mut Vec<Claimed>,
) -> Result<Option<Moment>, QueueError> {
    loop {
        let missing = ask.max.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        let want = missing.min(BATCH);
        let arguments = [
            ask.queue.clone(),
            ask.worker.clone(),
            want.to_string(),
            ask.run().to_string(),
            ask.lease.as_millis().to_string(),
            MOST_LANES.to_owned(),
        ];
        let answer = server.call(&CLAIM, shard, Patience::Worker, &arguments).await?;
        let mut fields = Fields::of(answer)?;
        let now = fields.moment()?;
        server.observe(now);
        let next_at = fields.some_moment()?;
        let before = jobs.len();
        let lease_until = now.plus(ask.lease);
        while !fields.is_empty() {
            jobs.push(claimed(shard, &mut fields, lease_until)?);
        }
        let got = jobs.len() - before;
        if got < want as usize || missing <= BATCH {
            return Ok(next_at);
        }
    }
}

/// What the script says of a job beside what was submitted, from its second claim on.
#[derive(Deserialize)]
struct Again {
    fence: u64,
    attempt: u32,
    crashes: u32,
    due_at: Option<i64>,
    cursor: Option<String>,
}

const FIRST: Again = Again { fence: 1, attempt: 1, crashes: 0, due_at: None, cursor: None };

fn claimed(
    shard: usize,
    fields: &mut Fields,
    lease_until: Moment,
) -> Result<Claimed, QueueError> {
    let head = fields.text()?;
    let (id, again) = head.split_at_checked(ID).unwrap_or((&head, ""));
    let id = job_of(id)?;
    let again = if again.is_empty() { FIRST } else { parsed("a job", again)? };
    let submitted = Submitted::read(id, fields.bytes()?)?;
    let lane = lane_of(&submitted.lane)?;
    Ok(Claimed {
        lease: LeaseRef { id, fence: outer_fence(shard, again.fence) },
        tenant: lane.tenant,
        kind: submitted.fixed.kind,
        lane: lane.name,
        payload: submitted.payload.into(),
        attempt: again.attempt,
        max_attempts: submitted.fixed.max_attempts,
        crashes: again.crashes,
        created_at: submitted.created_at,
        due_at: again.due_at.map_or(submitted.due_at, Moment::from_millis),
        lease_until,
        cursor: again.cursor.map(|text| parsed("a cursor", &text)).transpose()?,
        request_id: submitted.fixed.request_id,
    })
}
