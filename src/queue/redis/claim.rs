//! Taking jobs out: from every shard, beginning with another one each time, and waiting long for none.

use std::{sync::Arc, time::Duration};

use jobs::contract::{JobId, Moment};
use redis::Value;
use serde::Deserialize;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    error::corrupt,
    keys::{self, job_of, outer_fence, short},
    overdue::{Overdue, SOON, Turn},
    reply::{Fields, parsed},
    scripts::CLAIM,
    server::{Patience, Server},
    shared,
    submitted::{self, Submitted},
    taken,
    wake::Wake,
};
use crate::queue::{Ask, Claimed, LeaseRef, QueueError};

/// Jobs that one script call takes at most.
const BATCH: u32 = 100;
/// Lanes that a call wakes at most, lanes that it meets, and promises that it corrects.
const MOST_LANES: &str = "50";
/// The length of an id.
const ID: usize = 26;
/// How often claimed jobs are read again, and the pause before that, which grows.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// What claims go by beside the ask.
pub(super) struct Claiming {
    pub(super) server: Arc<Server>,
    pub(super) overdue: Arc<Overdue>,
    pub(super) wake: Arc<Wake>,
}

/// Jobs, and when more may be had.
type Taken = (Vec<Claimed>, Option<Moment>);

impl Claiming {
    /// Takes up to `ask.max` jobs, and says when more may be had.
    pub(super) async fn claim(&self, ask: &Ask, begin: usize) -> Result<Taken, QueueError> {
        let shards = self.server.shards.all();
        let mut jobs = self.overdue.late(&ask.queue, ask.max, self.server.now());
        let (mut next_at, mut answers, mut failure) = (None::<Moment>, 0, None);
        let mut sooner = |at: Option<Moment>| next_at = [next_at, at].into_iter().flatten().min();
        for shard in shards.clone().map(|shard| (begin + shard) % shards.len()) {
            if let Turn::LeaveOut(rest) = self.overdue.turn(&ask.queue, shard) {
                sooner(rest.map(|rest| self.server.now().plus(rest)));
                continue;
            }
            let most = ask.max.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
            match self.ask(ask, shard, most).await {
                Some(Ok((taken, next))) => {
                    jobs.extend(taken);
                    sooner(next);
                    answers += 1;
                }
                // It will be asked again soon: claims go on without it.
                Some(Err(error)) => {
                    sooner(Some(self.server.now().plus(SOON)));
                    failure = Some(error);
                }
                None => {}
            }
        }
        match failure {
            Some(error) if jobs.is_empty() && answers == 0 => Err(error),
            _ => Ok((jobs, next_at)),
        }
    }

    /// Asks one shard; nothing when it does not answer soon.
    async fn ask(&self, ask: &Ask, shard: usize, most: u32) -> Option<Result<Taken, QueueError>> {
        let (server, asked) = (Arc::clone(&self.server), ask.clone());
        if server.shards.all().len() == 1 {
            // There is nobody to go on to.
            return Some(claim_from(&server, &asked, shard, most).await);
        }
        let call = async move { claim_from(&server, &asked, shard, most).await };
        // By itself: what it takes is held, whoever waits for it.
        let mut call = tokio::spawn(call);
        let Ok(ended) = timeout(SOON, &mut call).await else {
            self.leave_behind(ask, shard, call);
            return None;
        };
        let answer = ended.unwrap_or_else(|_| Err(stopping()));
        match &answer {
            Ok(_) => self.overdue.answered(&ask.queue, shard),
            Err(error) => self.overdue.failed(&ask.queue, shard, error),
        }
        Some(answer)
    }

    /// Goes on without a shard; its answer wakes whoever waits for jobs.
    fn leave_behind(&self, ask: &Ask, shard: usize, call: JoinHandle<Result<Taken, QueueError>>) {
        let (overdue, wake) = (Arc::clone(&self.overdue), Arc::clone(&self.wake));
        let queue = ask.queue.clone();
        overdue.leave_behind(&queue, shard);
        tokio::spawn(async move {
            let answer = call.await.unwrap_or_else(|_| Err(stopping()));
            overdue.came(&queue, shard, answer.map(|(jobs, _)| jobs));
            wake.look_again(&queue);
        });
    }
}

fn stopping() -> QueueError {
    QueueError::Unavailable("this process is stopping".into())
}

/// Takes at most so many jobs from one shard, in bounded batches.
async fn claim_from(
    server: &Server,
    ask: &Ask,
    shard: usize,
    most: u32,
) -> Result<Taken, QueueError> {
    let mut jobs = Vec::new();
    loop {
        let missing = most.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        match claim_batch(server, ask, shard, missing.min(BATCH)).await {
            Ok((some, more, next)) => {
                let is_enough = some.is_empty() || some.len() >= missing as usize;
                jobs.extend(some);
                if is_enough || !more {
                    return Ok((jobs, next));
                }
            }
            // What was claimed before is held by now, and must be worked on.
            Err(error) if !jobs.is_empty() => {
                tracing::warn!(%error, "more jobs of a shard could not be claimed");
                return Ok((jobs, Some(server.now())));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes at most `want` jobs in one call; the jobs, whether there may be more now, and when.
async fn claim_batch(
    server: &Server,
    ask: &Ask,
    shard: usize,
    want: u32,
) -> Result<(Vec<Claimed>, bool, Option<Moment>), QueueError> {
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
    let Answer { pieces, takes } = Answer::read(fields)?;
    let more = next_at.is_some_and(|at| at <= now);
    let pieces = admitted(server, shard, pieces).await?;
    let jobs = met(server, shard, pieces, &takes, now.plus(ask.lease)).await?;
    Ok((jobs, more, next_at))
}

/// What the script took, in the order of turns, and how that of bundles lies there.
#[derive(Default)]
struct Answer {
    pieces: Vec<Piece>,
    takes: Vec<taken::Taken>,
}

impl Answer {
    fn read(fields: Fields) -> Result<Self, QueueError> {
        let mut answer = Self::default();
        for text in fields.texts() {
            let text = text?;
            match text.as_bytes().first() {
                Some(b'*') => answer.takes.push(taken::Taken::read(&text[1..])?),
                Some(b'=') => answer.pieces.push(Piece::Together(taken::Few::read(&text[1..])?)),
                _ => answer.pieces.push(Piece::One(Head::read(&text)?)),
            }
        }
        Ok(answer)
    }
}

/// One job, or some of a bundle.
enum Piece {
    One(Head),
    Together(taken::Few),
}

/// Those that the limits which all tenants share admit; only what was claimed one by one has such limits.
async fn admitted(
    server: &Server,
    shard: usize,
    pieces: Vec<Piece>,
) -> Result<Vec<Piece>, QueueError> {
    let shared = |piece: &Piece| matches!(piece, Piece::One(head) if head.again.shared.is_some());
    if !pieces.iter().any(shared) {
        return Ok(pieces);
    }
    let heads = pieces.iter().filter_map(|piece| match piece {
        Piece::One(head) => Some(head),
        Piece::Together(_) => None,
    });
    let refused = shared::refuse(server, shard, &heads.collect::<Vec<_>>()).await?;
    let stays = |piece: &Piece| !matches!(piece, Piece::One(head) if refused.contains(&head.id));
    Ok(pieces.into_iter().filter(stays).collect())
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
        let lane = submitted.lane;
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
            callback: !submitted.fixed.callback.is_empty(),
        })
    }
}

/// The claimed jobs, with what was submitted of them.
async fn met(
    server: &Server,
    shard: usize,
    pieces: Vec<Piece>,
    takes: &[taken::Taken],
    until: Moment,
) -> Result<Vec<Claimed>, QueueError> {
    if pieces.is_empty() {
        return Ok(Vec::new());
    }
    let mut tries = 0;
    let (single, texts) = loop {
        match read(server, shard, &pieces, takes).await {
            // They are held by now: what cannot be read would wait for its lease to end.
            Err(QueueError::Unavailable(_)) if tries < TRIES => tries += 1,
            texts => break texts?,
        }
        tokio::time::sleep(PAUSE * tries).await;
    };
    let mut single = single.into_iter();
    let mut together = taken::Opened::of(takes, texts)?;
    let mut claimed = Vec::new();
    for one in pieces {
        match one {
            Piece::One(head) => {
                let text = single.next().ok_or_else(|| corrupt("a claim", "a job is missing"))?;
                claimed.push(head.with(shard, text, until)?);
            }
            Piece::Together(few) => {
                for (id, submitted) in together.take(&few)? {
                    claimed.push(Head { id, again: FIRST }.with(shard, submitted, until)?);
                }
            }
        }
    }
    Ok(claimed)
}

/// What was submitted: of those that were claimed one by one; and the part of each take's bundle.
async fn read(
    server: &Server,
    shard: usize,
    pieces: &[Piece],
    takes: &[taken::Taken],
) -> Result<(Vec<Submitted>, Fields), QueueError> {
    let base = server.shards.base(shard);
    let ids = pieces.iter().filter_map(|piece| match piece {
        Piece::One(head) => Some(head.id),
        Piece::Together(_) => None,
    });
    let single = submitted::read(server, shard, &ids.collect::<Vec<_>>()).await?;
    let parts = takes.iter().map(|taken| {
        let (first, last) = taken.range();
        let mut part = redis::cmd("GETRANGE");
        part.arg(keys::bundle(base, &taken.head)).arg(first).arg(last);
        part
    });
    let parts = if takes.is_empty() {
        Vec::new()
    } else {
        server.query_all(shard, &parts.collect::<Vec<_>>(), Patience::Worker).await?
    };
    Ok((single, Fields::of(Value::Array(parts))?))
}
