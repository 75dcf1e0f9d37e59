//! Taking jobs in. Submissions that come while a call is on its way share the next one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use jobs::contract::{JobId, LaneName, TenantId};
use redis::Cmd;
use tokio::{sync::oneshot, time::timeout};

use super::{
    bundle,
    error::corrupt,
    keys::{self, job_of, lane_id, short},
    reply::Fields,
    scripts::ENQUEUE,
    server::{Patience, Server},
    submitted::{Given, INSIDE, rank},
};
use crate::queue::{Enqueued, NewJob, QueueError, Submission, bounds};

/// Jobs in one call at most, unless a single submission has more.
const MOST_JOBS: usize = 200;
/// Calls of a shard that are on their way at once: while one is carried out, the next is sent.
const CALLS: usize = 2;

/// How long a text stays that was set for a submission and not taken in, in milliseconds.
const STAGED_MS: u32 = 60_000;

type Answer = Result<Enqueued, QueueError>;

/// A submission that waits to be sent.
struct Pending {
    /// What is set before the script is called.
    texts: Vec<Cmd>,
    arguments: Vec<Vec<u8>>,
    ids: Vec<JobId>,
    answer: oneshot::Sender<Answer>,
}

/// What waits for one shard.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Pending>,
    calls: usize,
}

/// The way in: one line a shard.
pub(super) struct Entrance {
    server: Arc<Server>,
    lines: Vec<Arc<Mutex<Line>>>,
}

impl Entrance {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let lines = server.shards.all().map(|_| Arc::default()).collect();
        Self { server, lines }
    }

    /// Takes jobs in: all of the submission or nothing.
    pub(super) async fn enqueue(&self, submission: Submission) -> Answer {
        bounds::check(submission.jobs.len())?;
        let shard = self.server.shards.of(&submission.tenant);
        let ids = ids_of(&submission)?;
        let (answer, answered) = oneshot::channel();
        let (texts, arguments) = arguments_of(self.server.shards.base(shard), submission)?;
        let pending = Pending { texts, arguments, ids, answer };
        if self.join(shard, pending) {
            let (server, line) = (Arc::clone(&self.server), Arc::clone(&self.lines[shard]));
            tokio::spawn(async move { carry_in(&server, &line, shard).await });
        }
        // Who gives up before it was sent is not sent any more.
        match timeout(self.server.patience(Patience::Caller), answered).await {
            Ok(Ok(answer)) => answer,
            _ => Err(QueueError::Unavailable("Redis did not answer in time".into())),
        }
    }

    /// Joins the line; whether somebody has to begin calling.
    fn join(&self, shard: usize, pending: Pending) -> bool {
        let mut line = lock(&self.lines[shard]);
        line.waiting.push_back(pending);
        let begin = line.calls < CALLS;
        line.calls += usize::from(begin);
        begin
    }
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls until nobody waits any more.
async fn carry_in(server: &Server, line: &Mutex<Line>, shard: usize) {
    loop {
        let batch = next_batch(&mut lock(line));
        if batch.is_empty() {
            return;
        }
        call(server, shard, batch).await;
    }
}

/// What shares the next call; where there is nothing, the caller is taken off the list of calls.
fn next_batch(line: &mut Line) -> Vec<Pending> {
    let (mut batch, mut jobs) = (Vec::new(), 0);
    while let Some(next) = line.waiting.front() {
        if !batch.is_empty() && jobs + next.ids.len() > MOST_JOBS {
            break;
        }
        jobs += next.ids.len();
        batch.extend(line.waiting.pop_front().filter(|pending| !pending.answer.is_closed()));
    }
    line.calls -= usize::from(batch.is_empty());
    batch
}

async fn call(server: &Server, shard: usize, batch: Vec<Pending>) {
    let mut arguments = vec![batch.len().to_string().into_bytes()];
    let mut answers = Vec::with_capacity(batch.len());
    let mut texts = Vec::new();
    for pending in batch {
        texts.extend(pending.texts);
        arguments.extend(pending.arguments);
        answers.push((pending.answer, pending.ids));
    }
    let given = server.take_in(&ENQUEUE, shard, &texts, &arguments).await;
    match given.and_then(Fields::of) {
        Ok(fields) => {
            for ((answer, ids), row) in answers.into_iter().zip(fields.rows()) {
                let _ = answer.send(row.and_then(|row| enqueued(row, ids)));
            }
        }
        Err(error) => {
            for (answer, _) in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

/// The ids of the jobs, each of which is there once.
fn ids_of(submission: &Submission) -> Result<Vec<JobId>, QueueError> {
    let ids: Vec<JobId> = submission.jobs.iter().map(|job| job.id).collect();
    let mut seen = HashSet::with_capacity(ids.len());
    match ids.iter().find(|id| !seen.insert(**id)) {
        Some(twice) => Err(taken(*twice)),
        None => Ok(ids),
    }
}

fn taken(id: JobId) -> QueueError {
    QueueError::Unusable(format!("there is a job {id} already"))
}

/// What is large, to be set before, and the arguments of the script.
fn arguments_of(
    base: &str,
    submission: Submission,
) -> Result<(Vec<Cmd>, Vec<Vec<u8>>), QueueError> {
    let Submission { tenant, jobs, idempotency } = submission;
    let mut arguments: Vec<Vec<u8>> = Vec::with_capacity(9 + jobs.len());
    arguments.push(tenant.as_str().into());
    match idempotency {
        Some(known) => arguments.extend([
            known.key.into_bytes(),
            known.fingerprint.to_vec(),
            known.answer.to_vec(),
            known.keep.as_millis().to_string().into_bytes(),
        ]),
        None => arguments.resize(5, Vec::new()),
    }
    let mut lanes = Lanes::default();
    let sorted = bundle::sort(&jobs);
    let count = |number: usize| number.to_string().into_bytes();
    let mut rows = vec![count(sorted.bundles.len())];
    let mut texts = Vec::new();
    for bundle in &sorted.bundles {
        let head = short(jobs[bundle.head()].id);
        let key = keys::bundle(base, &head);
        rows.extend([head.into_bytes(), count(bundle.count()), count(bundle.parts.len())]);
        let mut of = Vec::with_capacity(bundle.parts.len());
        for part in &bundle.parts {
            let first = &jobs[part.places[0]];
            let lane = lanes.number(&tenant, first)?;
            of.push(lane);
            rows.extend([
                count(part.places.len()),
                format!("{lane:04}").into_bytes(),
                count(rank(first.priority).into()),
                count(part.before),
            ]);
        }
        texts.push(set(key, bundle::text(&tenant, &of, &jobs, bundle)?));
    }
    rows.push(count(sorted.single.len()));
    for index in sorted.single {
        let lane = lanes.number(&tenant, &jobs[index])?;
        let Given { text, unique, apart } = Given::of(&tenant, lane, index, &jobs[index], INSIDE)?;
        rows.push(text);
        rows.extend(unique);
        texts.extend(apart.map(|payload| set(keys::payload(base, jobs[index].id), payload)));
    }
    arguments.push(count(lanes.numbers.len()));
    arguments.append(&mut lanes.named);
    arguments.append(&mut rows);
    Ok((texts, arguments))
}

/// Sets a text, for a while and if it is not there.
fn set(key: String, text: Vec<u8>) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(text).arg("NX").arg("PX").arg(STAGED_MS);
    set
}

/// The lanes of a submission.
#[derive(Default)]
struct Lanes {
    numbers: HashMap<(String, LaneName), usize>,
    /// The id and the policy of each.
    named: Vec<Vec<u8>>,
}

impl Lanes {
    /// The number of the job's lane, from 1.
    fn number(&mut self, tenant: &TenantId, job: &NewJob) -> Result<usize, QueueError> {
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry((job.queue.clone(), job.lane.clone())).or_insert(next);
        if number == next {
            let policy = serde_json::to_vec(&*job.policy);
            self.named.push(lane_id(&job.queue, tenant, &job.lane).into_bytes());
            self.named.push(policy.map_err(|e| corrupt("a lane's policy", e))?);
        }
        Ok(number)
    }
}

fn enqueued(mut fields: Fields, asked: Vec<JobId>) -> Answer {
    match fields.text()?.as_str() {
        "fresh" if fields.is_empty() => Ok(Enqueued::Fresh(asked)),
        "fresh" => {
            let ids = fields.texts().map(|id| job_of(&id?)).collect::<Result<Vec<JobId>, _>>();
            Ok(Enqueued::Fresh(ids?))
        }
        "replayed" => Ok(Enqueued::Replayed(fields.bytes()?.into())),
        "reused" => Ok(Enqueued::KeyReused),
        "missing" => Err(QueueError::Unavailable("a part of the submission got lost".into())),
        "taken" => Err(taken(job_of(&fields.text()?)?)),
        other => Err(corrupt("an answer", other)),
    }
}
