//! What the queue says of jobs and queues when it is asked.

use jobs::contract::{Cause, Cursor, JobId, LaneName, Moment, TenantId};
use serde::Serialize;
use serde_json::Value;

use super::{Priority, Status};

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
    /// Endpoints to which its end is told.
    pub callback: Vec<String>,
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
