//! Taking jobs out: from every shard, beginning with another one each time.

use std::time::Duration;

use jobs::contract::{JobId, Moment};
use redis::Value;
use serde::Deserialize;

use super::{
    bundle,
    error::corrupt,
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
        let taken = fields.texts().map(|text| Taken::read(&text?));
        let taken = taken.collect::<Result<Vec<Taken>, _>>()?;
        let got: usize = taken.iter().map(Taken::count).sum();
        let taken = admitted(server, shard, taken).await?;
        jobs.extend(met(server, shard, taken, now.plus(ask.lease)).await?);
        if got < want as usize || missing <= BATCH {
            return Ok(next_at);
        }
    }
}

/// What the script took: one job, or some of a bundle.
enum Taken {
    One(Head),
    Together(bundle::Taken),
}

impl Taken {
    fn read(text: &str) -> Result<Self, QueueError> {
        match text.strip_prefix('*') {
            Some(together) => Ok(Self::Together(bundle::Taken::read(together)?)),
            None => Ok(Self::One(Head::read(text)?)),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Together(taken) => taken.count(),
        }
    }
}

/// Those that the limits which all tenants share admit; only what was claimed one by one has such limits.
async fn admitted(
    server: &Server,
    shard: usize,
    taken: Vec<Taken>,
) -> Result<Vec<Taken>, QueueError> {
    let shared = |taken: &Taken| matches!(taken, Taken::One(head) if head.again.shared.is_some());
    if !taken.iter().any(shared) {
        return Ok(taken);
    }
    let mut heads = Vec::new();
    let mut places = Vec::new();
    for one in taken {
        match one {
            Taken::One(head) => {
                places.push(None);
                heads.push(head);
            }
            together @ Taken::Together(_) => places.push(Some(together)),
        }
    }
    let order: Vec<JobId> = heads.iter().map(|head| head.id).collect();
    let mut admitted = shared::admit(server, shard, heads).await?.into_iter().peekable();
    let mut order = order.into_iter();
    let next = places.into_iter().filter_map(|place| match place {
        Some(together) => Some(together),
        None => {
            let id = order.next();
            admitted.next_if(|head| Some(head.id) == id).map(Taken::One)
        }
    });
    Ok(next.collect())
}

/// What the script says of a job that it took by itself.
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
            payload: submitted.payload,
            attempt: again.attempt,
            max_attempts: submitted.fixed.max_attempts,
            crashes: again.crashes,
            created_at: submitted.created_at,
            due_at: again.due_at.map_or(submitted.due_at, Moment::from_millis),
            lease_until: until,
            cursor: again.cursor.map(|text| parsed("a cursor", &text)).transpose()?,
            request_id: submitted.fixed.request_id,
        })
    }
}

/// The claimed jobs, with what was submitted of them.
async fn met(
    server: &Server,
    shard: usize,
    taken: Vec<Taken>,
    until: Moment,
) -> Result<Vec<Claimed>, QueueError> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut tries = 0;
    let (single, mut together) = loop {
        match read(server, shard, &taken).await {
            // They are held by now: what cannot be read would wait for its lease to end.
            Err(QueueError::Unavailable(_)) if tries < TRIES => tries += 1,
            texts => break texts?,
        }
        tokio::time::sleep(PAUSE * tries).await;
    };
    let mut single = single.into_iter();
    let mut claimed = Vec::new();
    for one in taken {
        match one {
            Taken::One(head) => {
                let text = single.next().ok_or_else(|| corrupt("a claim", "a job is missing"))?;
                claimed.push(head.with(shard, text, until)?);
            }
            Taken::Together(taken) => {
                for (id, submitted) in taken.jobs(together.bytes()?)? {
                    claimed.push(Head { id, again: FIRST }.with(shard, submitted, until)?);
                }
            }
        }
    }
    Ok(claimed)
}

/// What was submitted: of those that were claimed one by one; and the part of each bundle's text.
async fn read(
    server: &Server,
    shard: usize,
    taken: &[Taken],
) -> Result<(Vec<Submitted>, Fields), QueueError> {
    let base = server.shards.base(shard);
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    for one in taken {
        match one {
            Taken::One(head) => ids.push(head.id),
            Taken::Together(taken) => {
                let (first, last) = taken.range();
                let mut part = redis::cmd("GETRANGE");
                part.arg(bundle::key(base, &taken.head)).arg(first).arg(last);
                parts.push(part);
            }
        }
    }
    let single = submitted::read(server, shard, &ids).await?;
    let parts = if parts.is_empty() {
        Vec::new()
    } else {
        server.query_all(shard, &parts, Patience::Worker).await?
    };
    Ok((single, Fields::of(Value::Array(parts))?))
}
