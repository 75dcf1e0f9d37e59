//! Taking jobs out: from every shard, beginning with another one each time.

use jobs::contract::Moment;

use super::{
    enqueue::Fixed,
    error::corrupt,
    keys::{job_of, lane_of, outer_fence},
    reply::{Fields, parsed},
    scripts::CLAIM,
    server::{Patience, Server},
};
use crate::queue::{Ask, Claimed, LeaseRef, QueueError};

/// Jobs that one script call takes at most.
const BATCH: u32 = 100;
/// Lanes that a call wakes at most, and promises that it corrects.
const MOST_LANES: &str = "100";

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
            ask.lease.as_millis().to_string(),
            MOST_LANES.to_owned(),
        ];
        let answer = server.call(&CLAIM, shard, Patience::Worker, &arguments).await?;
        let mut fields = Fields::of(answer)?;
        server.observe(fields.moment()?);
        let next_at = fields.some_moment()?;
        let before = jobs.len();
        for row in fields.rows() {
            jobs.push(claimed(shard, row?)?);
        }
        let got = jobs.len() - before;
        if got < want as usize || missing <= BATCH {
            return Ok(next_at);
        }
    }
}

fn claimed(shard: usize, mut row: Fields) -> Result<Claimed, QueueError> {
    let id = job_of(&row.text()?)?;
    let fence = outer_fence(shard, row.number()?);
    let lane = lane_of(&row.text()?)?;
    let fixed: Fixed = row.json("a job")?;
    Ok(Claimed {
        lease: LeaseRef { id, fence },
        tenant: lane.tenant,
        kind: fixed.kind,
        lane: lane.name,
        payload: row.bytes().map_err(|_| corrupt("a job", "it has no payload"))?.into(),
        attempt: row.number()?,
        max_attempts: row.number()?,
        crashes: row.number()?,
        created_at: row.moment()?,
        due_at: row.moment()?,
        lease_until: row.moment()?,
        cursor: row.some_text()?.map(|text| parsed("a cursor", &text)).transpose()?,
        request_id: fixed.request_id,
    })
}
