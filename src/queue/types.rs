//! The words of the queue port.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use jobs::contract::{Cause, Cursor, JobId, LaneName, Moment, TenantId, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a verb of the queue could not be carried out. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The queue cannot be reached, or is busy or full; the same call may work later.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// The queue's data or schema is not what this program expects; trying again does not help.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
}

/// A lane, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneRef {
    /// The queue it belongs to.
    pub queue: String,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name.
    pub name: LaneName,
}

/// At most `count` permits in every sliding window of length `window`.
///
/// Limits of one tenant with the same `bucket` draw on one log of permits: the three windows of a
/// mailbox, or lanes that share an allowance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is counted, within the tenant: `mailbox:dev@example.com`.
    pub bucket: String,
    /// What people call it: `mailbox 40/h`.
    pub label: String,
    /// Permits in a window; at least 1.
    pub count: u32,
    /// The window, in milliseconds.
    pub window_ms: u64,
}

/// What a lane may draw on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePolicy {
    /// All of them must admit a job.
    pub limits: Vec<Limit>,
    /// How many of the lane's jobs may run at once.
    pub in_flight: Option<u32>,
}

/// High before normal before low, inside a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else in the lane.
    High,
    /// In the order of arrival.
    #[default]
    Normal,
    /// When nothing else waits in the lane.
    Low,
}

/// A job to take in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, made by the submitter.
    pub id: JobId,
    /// The wire name of its kind.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// The lane it waits in.
    pub lane: LaneName,
    /// What the lane may draw on; used when the lane is new.
    pub policy: Arc<LanePolicy>,
    /// The payload, JSON.
    pub payload: Bytes,
    /// Its priority in the lane.
    pub priority: Priority,
    /// Not before this moment; now, when it is none or past.
    pub run_at: Option<Moment>,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// While an unfinished job of this tenant and kind has this key, that job is answered instead.
    pub unique: Option<String>,
    /// How many items it is about.
    pub total_items: u64,
    /// The submitter's own words, for finding it again.
    pub tags: Vec<String>,
    /// The request that submitted it: `req_…`, `cron:<name>`, `cli`.
    pub request_id: String,
}

/// Jobs to take in together.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whose jobs they are.
    pub tenant: TenantId,
    /// The jobs, at least one; taken in all or none.
    pub jobs: Vec<NewJob>,
    /// Remembers the submission, so that the same one again changes nothing.
    pub idempotency: Option<Idempotency>,
}

/// Remembers a submission by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key within the tenant; `http:…` for callers' keys, `cron:…` for ticks.
    pub key: String,
    /// SHA-256 of the request, to tell a repetition from another request under the same key.
    pub fingerprint: [u8; 32],
    /// What to answer to a repetition, byte for byte.
    pub answer: Bytes,
    /// How long it is remembered from its first use.
    pub keep: Duration,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// Taken in. The ids in the order given: the job's own, or that of the unfinished job with the
    /// same uniqueness key.
    Fresh(Vec<JobId>),
    /// Taken in earlier under the same key: the answer of then.
    Replayed(Bytes),
    /// The key was used for another request.
    KeyReused,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// From which queue.
    pub queue: String,
    /// The worker's name, kept with the lease.
    pub worker: String,
    /// How many at most.
    pub max: u32,
    /// For how long, from now.
    pub lease: Duration,
}

/// What a claim took.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The jobs, in the order in which their turns came.
    pub jobs: Vec<Claimed>,
    /// When nothing more may run now: the moment at which something may, if that is known.
    pub next_at: Option<Moment>,
    /// The version that the claim saw, for [`super::Queue::wait`].
    pub seen: Seen,
}

/// A job under a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The job and the fence under which it is held.
    pub lease: LeaseRef,
    /// Whose job it is.
    pub tenant: TenantId,
    /// The wire name of its kind.
    pub kind: String,
    /// The lane it came from.
    pub lane: LaneName,
    /// The payload, JSON.
    pub payload: Bytes,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// Workers that vanished under it.
    pub crashes: u32,
    /// When it was submitted.
    pub created_at: Moment,
    /// When it first was to run.
    pub due_at: Moment,
    /// When the lease ends, unless it is renewed.
    pub lease_until: Moment,
    /// Where an earlier run had got to.
    pub cursor: Option<Cursor>,
    /// The request that submitted it.
    pub request_id: String,
}

/// A job and the fence under which somebody holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    /// The job.
    pub id: JobId,
    /// The number of its claim; it rises with each claim.
    pub fence: u64,
}

/// Whether a lease is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is, and was renewed.
    Held,
    /// It is, and was renewed, but the job is to be cancelled.
    CancelRequested,
    /// It is not: the job belongs to somebody else, or is gone.
    Lost,
}

/// A verdict to carry out.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The job and the fence.
    pub lease: LeaseRef,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Gives back what the claim drew on the lane's limits: nothing outside was touched.
    pub refund: bool,
}

/// Whether a verdict was in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Carried out.
    Done,
    /// The fence was stale: nothing was written.
    Lost,
}

/// What became of a job whose worker vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// The job.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The worker that vanished.
    pub worker: String,
    /// The status it has now.
    pub status: Status,
}

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job waited and is cancelled now.
    AtOnce,
    /// The job runs; its worker is told.
    Requested,
    /// The job was finished already, in this status.
    TooLate(Status),
    /// The tenant has no such job.
    Unknown,
}

/// What an operator's verb did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// What was asked.
    Done,
    /// The thing is there, but not in a state in which that could be done (or it was done already).
    NotApplicable,
    /// There is no such thing.
    Unknown,
}

/// Why a lane is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkReason {
    /// This limit admits nothing before then.
    Limit(String),
    /// A job asked for it, with these words.
    Snooze(String),
}

/// What a pause is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseTarget {
    /// A whole queue.
    Queue(String),
    /// One lane.
    Lane(LaneRef),
}

/// What drawing a permit gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Whether there was one.
    pub granted: bool,
    /// How many are left now.
    pub remaining: u32,
    /// When the log of the window will be empty if nothing more is drawn; when refused, the moment
    /// at which the next permit comes free.
    pub reset_at: Moment,
}

/// A version of the queue, as of some read: anything newer is a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen(pub u64);

/// How long things are kept after their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Completed jobs.
    pub completed: Duration,
    /// Cancelled jobs.
    pub cancelled: Duration,
    /// Failed jobs: the dead set.
    pub failed: Duration,
    /// How many failed jobs of a tenant are kept at most; the oldest go first.
    pub failed_max: u32,
}

/// The statuses that callers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// Waits for a moment.
    Scheduled,
    /// Runs.
    Processing,
    /// Done.
    Completed,
    /// In the dead set.
    Failed,
    /// Called off.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Scheduled,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word for it, in HTTP, on the command line and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("expected one of {known}, got {text:?}")
        })
    }
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// From 1. A snoozed run keeps its number for the next.
    pub number: u32,
    /// When it was claimed.
    pub started_at: Moment,
    /// When it was settled.
    pub ended_at: Option<Moment>,
    /// `completed`, `retried`, `snoozed`, `failed`, `cancelled`, `released`, `vanished`.
    pub outcome: Option<String>,
    /// The error, or the words of a snooze.
    pub error: Option<Cause>,
    /// The worker that ran it.
    pub worker: String,
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What it waits for.
    #[serde(rename = "for")]
    pub what: WaitingFor,
    /// In words: the limit's label, the words of the snooze, the last error's code.
    pub reason: Option<String>,
    /// Until when, if that is known.
    pub until: Option<Moment>,
}

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// Its turn; nothing holds it back.
    Turn,
    /// The moment for which it was scheduled.
    Schedule,
    /// Its next attempt.
    Retry,
    /// A moment that the job itself asked for.
    Snooze,
    /// A limit of its lane.
    Limit,
    /// Other jobs of its lane that run.
    InFlight,
    /// Its lane, parked by one of the lane's jobs.
    Lane,
    /// An operator.
    Paused,
}

/// All that the queue knows of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The wire name of its kind.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// The lane it waits in.
    pub lane: LaneName,
    /// Where it stands.
    pub status: Status,
    /// Its priority.
    pub priority: Priority,
    /// Attempts begun and not given back.
    pub attempt: u32,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// Workers that vanished under it.
    pub crashes: u32,
    /// How far it has got; `total` is always set.
    pub cursor: Cursor,
    /// What it answered.
    pub result: Option<Value>,
    /// Why it was skipped, when it was.
    pub skipped: Option<String>,
    /// The last error.
    pub error: Option<Cause>,
    /// Its attempts, oldest first; the last 50.
    pub attempts: Vec<AttemptRecord>,
    /// Why it waits; none unless it is queued or scheduled.
    pub waiting: Option<Waiting>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
    /// A cancel was asked for while it ran.
    pub cancel_requested: bool,
    /// Whether retrying it makes sense by policy; only for failed jobs.
    pub retryable: bool,
    /// When it is, or was last, to run.
    pub run_at: Moment,
    /// When it was taken in.
    pub created_at: Moment,
    /// When it was first claimed.
    pub started_at: Option<Moment>,
    /// When it got its final status.
    pub completed_at: Option<Moment>,
    /// The submitter's own words.
    pub tags: Vec<String>,
    /// The request that submitted it.
    pub request_id: String,
    /// Rises with every change of this record.
    pub version: u64,
}

impl JobRecord {
    /// How many of its items are done. A job that never said how far it got is done with all of them
    /// once it has finished.
    pub fn processed(&self) -> u64 {
        let Cursor { processed, failed, total, .. } = self.cursor;
        let finished = self.status == Status::Completed && self.skipped.is_none();
        if finished && processed == 0 && failed == 0 { total } else { processed }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this lane.
    pub lane: Option<LaneName>,
    /// In this status.
    pub status: Option<Status>,
    /// With this tag.
    pub tag: Option<String>,
    /// Older than this job, for the next page.
    pub before: Option<JobId>,
    /// How many at most.
    pub limit: u32,
}

/// A queue, counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueRecord {
    /// Its name.
    pub name: String,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Jobs by status.
    pub counts: std::collections::BTreeMap<Status, u64>,
    /// When the oldest queued job became due.
    pub oldest_due_at: Option<Moment>,
}

/// Which lanes to list.
#[derive(Debug, Clone, Default)]
pub struct LaneFilter {
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Only lanes that wait for something other than a turn.
    pub held: bool,
    /// How many at most.
    pub limit: u32,
}

/// A lane, as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneRecord {
    /// Which lane.
    pub lane: LaneRef,
    /// Jobs that wait in it, scheduled ones included.
    pub waiting: u64,
    /// Jobs of it that run.
    pub in_flight: u64,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Until when it is parked, and why; none when it is not.
    pub parked: Option<(Moment, ParkReason)>,
    /// What it may draw on.
    pub policy: LanePolicy,
}
