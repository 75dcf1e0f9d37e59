//! Taking jobs out: from every shard, beginning with another one each time.

use std::time::Duration;

use jobs::contract::{JobId, Moment};
use serde::Deserialize;

use super::{
    keys::{job_of, lane_of, outer_fence, short},
    reply::{Fields, parsed},
    scripts::CLAIM,
    server::{Patience, Server},
    shared,
    submitted::{self, Submitted},
};
use crate::queue::{Ask, Claimed, LeaseRef, QueueError};

/// Jobs that one script call takes at most.
const BATCH: u32 = 100;
/// Lanes that a call wakes at most, and promises that it corrects.
const MOST_LANES: &str = "100";
/// The length of an id.
const ID: usize = 26;
/// How often claimed jobs are read again, and the pause before that, which grows.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

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
        let heads = fields.texts().map(|head| Head::read(&head?)).collect::<Result<Vec<_>, _>>()?;
        let got = heads.len();
        let heads = shared::admit(server, shard, heads).await?;
        jobs.extend(met(server, shard, heads, now.plus(ask.lease)).await?);
        if got < want as usize || missing <= BATCH {
            return Ok(next_at);
        }
    }
}

/// What the script says of a job that it took.
pub(super) struct Head {
    pub(super) id: JobId,
    pub(super) again: Again,
}

/// The same, from its second claim on, or from a lane with shared limits.
#[derive(Deserialize)]
pub(super) struct Again {
    pub(super) fence: u64,
    attempt: u32,
    crashes: u32,
    due_at: Option<i64>,
    cursor: Option<String>,
    /// Limits that all tenants share (JSON).
    pub(super) shared: Option<String>,
}

const FIRST: Again =
    Again { fence: 1, attempt: 1, crashes: 0, due_at: None, cursor: None, shared: None };

impl Head {
    /// What its claim is called where permits are counted.
    pub(super) fn permit(&self) -> String {
        format!("{}:{}", short(self.id), self.again.fence)
    }

    fn read(text: &str) -> Result<Self, QueueError> {
        let (id, again) = text.split_at_checked(ID).unwrap_or((text, ""));
        let again = if again.is_empty() { FIRST } else { parsed("a job", again)? };
        Ok(Self { id: job_of(id)?, again })
    }

    fn with(
        self,
        shard: usize,
        submitted: Submitted,
        until: Moment,
    ) -> Result<Claimed, QueueError> {
        let Self { id, again } = self;
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
            lease_until: until,
            cursor: again.cursor.map(|text| parsed("a cursor", &text)).transpose()?,
            request_id: submitted.fixed.request_id,
            callback: !submitted.fixed.callback.is_empty(),
        })
    }
}

/// The claimed jobs, with what was submitted of them.
async fn met(
    server: &Server,
    shard: usize,
    heads: Vec<Head>,
    until: Moment,
) -> Result<Vec<Claimed>, QueueError> {
    let ids: Vec<JobId> = heads.iter().map(|head| head.id).collect();
    let mut tries = 0;
    let texts = loop {
        match submitted::read(server, shard, &ids).await {
            // They are held by now: what cannot be read would wait for its lease to end.
            Err(QueueError::Unavailable(_)) if tries < TRIES => tries += 1,
            texts => break texts?,
        }
        tokio::time::sleep(PAUSE * tries).await;
    };
    heads.into_iter().zip(texts).map(|(head, text)| head.with(shard, text, until)).collect()
}
