//! A job's row, as callers see it.

use jobs::contract::{Cause, Cursor, LaneName, Moment};
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::{
    error::corrupt,
    lanes::{Hold, Lane},
};
use crate::queue::{
    AttemptRecord, JobRecord, ParkReason, Priority, QueueError, Status, Waiting, WaitingFor,
};

pub(super) const ATTEMPTS: &str = "
SELECT number, started_at, ended_at, outcome, error, worker
  FROM attempts WHERE job = $1 ORDER BY fence DESC LIMIT 50";

/// The columns of a job that callers see.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct JobRow {
    pub(super) seq: i64,
    pub(super) lane: i64,
    id: String,
    tenant: String,
    kind: String,
    pub(super) queue: String,
    lane_name: String,
    state: String,
    priority: i64,
    run_at: i64,
    wait: String,
    wait_reason: Option<String>,
    attempt: u32,
    max_attempts: u32,
    crashes: u32,
    items: i64,
    cursor: Option<String>,
    result: Option<String>,
    skipped: Option<String>,
    error: Option<String>,
    cancelled_by: Option<String>,
    cancel_requested: bool,
    retryable: bool,
    tags: String,
    request_id: String,
    created_at: i64,
    started_at: Option<i64>,
    completed_at: Option<i64>,
    callback: Option<String>,
    version: i64,
}

/// What holds the job's lane and queue back.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) queue_paused: bool,
    pub(super) lane: Lane,
    pub(super) hold: Hold,
}

impl JobRow {
    /// Where the job stands at `now`.
    pub(super) fn status(&self, now: Moment) -> Status {
        match self.state.as_str() {
            "waiting" if self.run_at > now.millis() => Status::Scheduled,
            "waiting" => Status::Queued,
            "processing" => Status::Processing,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            _ => Status::Cancelled,
        }
    }

    /// Why the job waits; none when it does not.
    pub(super) fn waiting(&self, around: &Surroundings, now: Moment) -> Option<Waiting> {
        let waits = |what, reason, until| Some(Waiting { what, reason, until });
        match self.status(now) {
            Status::Scheduled => {
                let what = match self.wait.as_str() {
                    "retry" => WaitingFor::Retry,
                    "snooze" => WaitingFor::Snooze,
                    _ => WaitingFor::Schedule,
                };
                waits(what, self.wait_reason.clone(), Some(Moment::from_millis(self.run_at)))
            }
            Status::Queued if around.queue_paused || around.lane.paused => {
                waits(WaitingFor::Paused, None, None)
            }
            Status::Queued => match &around.hold.parked {
                Some((until, ParkReason::Limit(label))) => {
                    waits(WaitingFor::Limit, Some(label.clone()), Some(*until))
                }
                Some((until, ParkReason::Snooze(words))) => {
                    waits(WaitingFor::Lane, Some(words.clone()), Some(*until))
                }
                None if around.hold.full => waits(WaitingFor::InFlight, None, None),
                None => waits(WaitingFor::Turn, None, None),
            },
            _ => None,
        }
    }

    pub(super) fn record(
        self,
        status: Status,
        attempts: Vec<AttemptRecord>,
        waiting: Option<Waiting>,
    ) -> Result<JobRecord, QueueError> {
        let total = u64::try_from(self.items).unwrap_or_default();
        let cursor: Option<Cursor> = parsed(self.cursor, "a cursor")?;
        Ok(JobRecord {
            id: self.id.parse().map_err(|e| corrupt("a job's id", e))?,
            tenant: self.tenant.parse().map_err(|e| corrupt("a tenant", e))?,
            kind: self.kind,
            queue: self.queue,
            lane: LaneName::from_text(self.lane_name),
            status,
            priority: match self.priority {
                0 => Priority::High,
                1 => Priority::Normal,
                _ => Priority::Low,
            },
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            crashes: self.crashes,
            cursor: cursor.unwrap_or_else(|| Cursor { total, ..Cursor::default() }),
            result: parsed(self.result, "a result")?,
            skipped: self.skipped,
            error: parsed(self.error, "an error")?,
            attempts,
            waiting,
            cancelled_by: self.cancelled_by,
            cancel_requested: self.cancel_requested,
            retryable: self.retryable,
            run_at: Moment::from_millis(self.run_at),
            created_at: Moment::from_millis(self.created_at),
            started_at: self.started_at.map(Moment::from_millis),
            completed_at: self.completed_at.map(Moment::from_millis),
            tags: parsed(Some(self.tags), "tags")?.unwrap_or_default(),
            request_id: self.request_id,
            callback: parsed(self.callback, "callbacks")?.unwrap_or_default(),
            version: u64::try_from(self.version).unwrap_or_default(),
        })
    }
}

/// The attempts of a job, oldest first.
pub(super) async fn attempts(
    conn: &mut SqliteConnection,
    job: i64,
) -> Result<Vec<AttemptRecord>, QueueError> {
    let rows: Vec<AttemptRow> = sqlx::query_as(ATTEMPTS).bind(job).fetch_all(conn).await?;
    rows.into_iter().rev().map(AttemptRow::record).collect()
}

#[derive(Debug, sqlx::FromRow)]
struct AttemptRow {
    number: u32,
    started_at: i64,
    ended_at: Option<i64>,
    outcome: Option<String>,
    error: Option<String>,
    worker: String,
}

impl AttemptRow {
    fn record(self) -> Result<AttemptRecord, QueueError> {
        let error: Option<Cause> = parsed(self.error, "an error")?;
        Ok(AttemptRecord {
            number: self.number,
            started_at: Moment::from_millis(self.started_at),
            ended_at: self.ended_at.map(Moment::from_millis),
            outcome: self.outcome,
            error,
            worker: self.worker,
        })
    }
}

fn parsed<T: DeserializeOwned>(text: Option<String>, what: &str) -> Result<Option<T>, QueueError> {
    text.map(|text| serde_json::from_str(&text).map_err(|e| corrupt(what, e))).transpose()
}
