//! The one door for new jobs: every producer's request is checked here, whole, before any of it is
//! taken in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use jobs::contract::{
    Audience, Catalogue, Fault, JobId, Kind, LaneName, Moment, Problem, TenantId,
    resource::Resources,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    limits::Limits,
    queue::{LanePolicy, NewJob, Priority},
};

/// The furthest into the future that a job may be put off when it is submitted.
const FURTHEST: Duration = Duration::from_secs(366 * 86_400);
/// The most attempts that a submitter may ask for.
const MOST_ATTEMPTS: u32 = 100;
/// The most endpoints to which a job's end is told.
const MOST_CALLBACKS: usize = 5;
/// Items of which a payload is freed while its caller waits.
const FREED_AT_ONCE: u64 = 1_000;
/// The most tags, and the longest tag and lane name, in characters.
const MOST_TAGS: usize = 20;
const LONGEST_NAME: usize = 64;

/// A job as a producer asks for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The wire name of its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The payload, as its kind wants it.
    pub payload: Value,
    /// Not before then; the past is now.
    #[serde(default)]
    pub run_at: Option<Moment>,
    /// Its priority in the lane.
    #[serde(default)]
    pub priority: Priority,
    /// A lane of the producer's own, for kinds that have no narrower one.
    #[serde(default)]
    pub lane: Option<String>,
    /// Attempts it may have; the kind's policy when it is not given.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// The producer's own words, for finding it again.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Endpoints to which its end is told.
    #[serde(default)]
    pub callback: Vec<String>,
}

impl JobRequest {
    /// A request for a job of this kind, and nothing said beside its payload.
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        Self {
            kind: kind.into(),
            payload,
            run_at: None,
            priority: Priority::default(),
            lane: None,
            max_attempts: None,
            tags: Vec::new(),
            callback: Vec::new(),
        }
    }
}

/// Who submits, and what may therefore be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Producer {
    /// A caller of the façade: public kinds only.
    Caller,
    /// The crontab, the command line, a job: any kind.
    Engine,
}

/// Why requests were not turned into jobs.
#[derive(Debug, Clone, PartialEq)]
pub enum Rejection {
    /// What is wrong with them; pointers begin with the index of the request: `/3/payload/to`.
    Invalid(Vec<Problem>),
    /// They could not be checked now.
    Unavailable(Fault),
}

/// Checks requests and makes jobs of them.
#[derive(Clone)]
pub struct Intake {
    catalogue: Catalogue,
    limits: Limits,
    declared: Arc<Resources>,
}

impl Intake {
    /// An intake for these kinds and limits.
    pub fn new(catalogue: Catalogue, limits: Limits) -> Self {
        Self { catalogue, limits, declared: Arc::default() }
    }

    /// The same, for payloads that name these resources.
    #[must_use]
    pub fn declaring(self, declared: Arc<Resources>) -> Self {
        Self { declared, ..self }
    }

    /// The resources that payloads can name.
    pub fn declared(&self) -> &Resources {
        &self.declared
    }

    /// The kinds that are known.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Checks all requests and makes jobs of them, in their order; all or none.
    ///
    /// # Errors
    ///
    /// Every problem of every request, or that they could not be checked now.
    pub async fn prepare(
        &self,
        tenant: &TenantId,
        producer: Producer,
        requests: Vec<JobRequest>,
        request_id: &str,
        now: Moment,
    ) -> Result<Vec<NewJob>, Rejection> {
        let mut policies = HashMap::new();
        let mut jobs = Vec::with_capacity(requests.len());
        let mut problems = Vec::new();
        for (index, request) in requests.into_iter().enumerate() {
            let made = self.one(tenant, producer, request, request_id, now, &mut policies).await?;
            match made {
                Ok(job) => jobs.push(job),
                Err(found) => {
                    let at = format!("/{index}");
                    problems.extend(found.into_iter().map(|p| p.under(&at)));
                }
            }
        }
        if !problems.is_empty() {
            return Err(Rejection::Invalid(problems));
        }
        NewJob::name_together(&mut jobs);
        Ok(jobs)
    }

    async fn one(
        &self,
        tenant: &TenantId,
        producer: Producer,
        mut request: JobRequest,
        request_id: &str,
        now: Moment,
        policies: &mut HashMap<LaneName, Arc<LanePolicy>>,
    ) -> Result<Result<NewJob, Vec<Problem>>, Rejection> {
        let kind = match self.kind(producer, &request.kind) {
            Ok(kind) => kind,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let mut problems = envelope(&request, now);
        problems.extend(self.callbacks(tenant, &request).await?);
        let checked = match kind.check(&request.payload, &self.declared) {
            Ok(checked) => checked,
            Err(found) => {
                problems.extend(found.into_iter().map(|p| p.under("/payload")));
                return Ok(Err(problems));
            }
        };
        let_go(std::mem::take(&mut request.payload), checked.items);
        let lane = match lane(&request, checked.lane) {
            Ok(lane) => lane,
            Err(problem) => {
                problems.push(problem);
                return Ok(Err(problems));
            }
        };
        let policy = match policies.get(&lane) {
            Some(policy) => Arc::clone(policy),
            None => {
                match self.limits.resolve(tenant, &lane).await.map_err(Rejection::Unavailable)? {
                    Ok(policy) => {
                        let policy = Arc::new(policy);
                        policies.insert(lane.clone(), Arc::clone(&policy));
                        policy
                    }
                    Err(problem) => {
                        problems.push(problem.under("/payload"));
                        return Ok(Err(problems));
                    }
                }
            }
        };
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        Ok(Ok(NewJob {
            id: JobId::generate(),
            kind: kind.name.to_owned(),
            queue: kind.queue.to_owned(),
            lane,
            policy,
            payload: Bytes::from(checked.stored),
            priority: request.priority,
            run_at: request.run_at,
            max_attempts: request.max_attempts.unwrap_or(kind.retry.max_attempts),
            unique: checked.unique,
            total_items: checked.items,
            tags: request.tags,
            request_id: request_id.to_owned(),
            callback: request.callback,
        }))
    }

    /// What is wrong with the endpoints that a job's end is to be told to.
    async fn callbacks(
        &self,
        tenant: &TenantId,
        request: &JobRequest,
    ) -> Result<Vec<Problem>, Rejection> {
        let mut problems = Vec::new();
        if request.callback.len() > MOST_CALLBACKS {
            let words = format!("expected at most {MOST_CALLBACKS} endpoints");
            problems.push(Problem::new("/callback", "too_many", words));
            return Ok(problems);
        }
        for (index, id) in request.callback.iter().enumerate() {
            let lane = LaneName::endpoint(id);
            let found = self.limits.resolve(tenant, &lane).await.map_err(Rejection::Unavailable)?;
            if let Err(Problem { code, message, .. }) = found {
                problems.push(Problem::new(format!("/callback/{index}"), code, message));
            }
        }
        Ok(problems)
    }

    fn kind(&self, producer: Producer, name: &str) -> Result<&Kind, Problem> {
        let allowed = |k: &&Kind| producer == Producer::Engine || k.audience == Audience::Callers;
        self.catalogue.find(name).filter(allowed).ok_or_else(|| {
            let known = self.catalogue.public_names().join(", ");
            let words = format!("there is no kind {name:?}; the kinds are {known}");
            Problem::new("/type", "unknown_type", words)
        })
    }
}

/// Frees a payload that is stored as a text by now: one about many items is a tree of millions of parts, and
/// its caller need not wait for that.
fn let_go(payload: Value, items: u64) {
    if items > FREED_AT_ONCE {
        tokio::task::spawn_blocking(move || drop(payload));
    }
}

/// Everything wrong with a request beside its payload.
fn envelope(request: &JobRequest, now: Moment) -> Vec<Problem> {
    let mut problems = Vec::new();
    if request.run_at.is_some_and(|at| at > now.plus(FURTHEST)) {
        let words = "a job may be put off for at most one year";
        problems.push(Problem::new("/run_at", "too_far", words));
    }
    if request.max_attempts.is_some_and(|n| n == 0 || n > MOST_ATTEMPTS) {
        let words = format!("expected 1 to {MOST_ATTEMPTS} attempts");
        problems.push(Problem::new("/max_attempts", "out_of_range", words));
    }
    if request.tags.len() > MOST_TAGS {
        let words = format!("expected at most {MOST_TAGS} tags");
        problems.push(Problem::new("/tags", "too_many", words));
    }
    for (index, tag) in request.tags.iter().enumerate().filter(|(_, tag)| !is_name(tag)) {
        let words = format!(
            "expected 1 to {LONGEST_NAME} letters, digits, '-', '_', '.' or ':', got {tag:?}"
        );
        problems.push(Problem::new(format!("/tags/{index}"), "invalid_tag", words));
    }
    problems
}

fn lane(request: &JobRequest, own: LaneName) -> Result<LaneName, Problem> {
    match &request.lane {
        None => Ok(own),
        // A lane of the caller's own would let the job past the limits of its real one.
        Some(_) if !own.is_tenant() => {
            let words = format!("this job's lane is {own}; a lane of your own cannot be given");
            Err(Problem::new("/lane", "lane_not_allowed", words))
        }
        Some(name) if is_name(name) => Ok(LaneName::custom(name)),
        Some(name) => {
            let words = format!(
                "expected 1 to {LONGEST_NAME} letters, digits, '-', '_', '.' or ':', got {name:?}"
            );
            Err(Problem::new("/lane", "invalid_lane", words))
        }
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    (1..=LONGEST_NAME).contains(&text.chars().count()) && text.chars().all(fits)
}
