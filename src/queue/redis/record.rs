//! Jobs and lanes, as scripts show them.

use jobs::contract::{Cursor, Moment};
use serde::Deserialize;

use super::{
    error::corrupt,
    keys::{job_of, lane_of},
    reply::{Fields, parsed},
    submitted::Fixed,
};
use crate::queue::{
    AttemptRecord, JobRecord, LaneRecord, ParkReason, Priority, QueueError, Status, Waiting,
    WaitingFor,
};

/// What holds a lane back.
#[derive(Debug, Deserialize)]
struct Hold {
    till: Option<i64>,
    reason: Option<String>,
    full: bool,
    paused: bool,
    queue_paused: bool,
}

/// The changing part of a job.
#[derive(Debug, Deserialize)]
struct State {
    id: String,
    state: String,
    lane: String,
    priority: u8,
    run_at: i64,
    wait: String,
    reason: Option<String>,
    created_at: i64,
    attempt: u32,
    crashes: u32,
    version: u64,
    cursor: Option<String>,
    result: Option<String>,
    skipped: Option<String>,
    error: Option<String>,
    cancelled_by: Option<String>,
    #[serde(default)]
    cancel_requested: bool,
    #[serde(default)]
    retryable: bool,
    started_at: Option<i64>,
    completed_at: Option<i64>,
    #[serde(default)]
    attempts: Vec<Attempt>,
    hold: Option<Hold>,
}

/// Number, beginning, end, outcome, error, worker.
type Attempt = (u32, i64, Option<i64>, Option<String>, Option<String>, String);

/// A job, from what a script shows of it.
pub(super) fn job(mut fields: Fields, now: Moment) -> Result<JobRecord, QueueError> {
    let state: State = fields.json("a job")?;
    let fixed: Fixed = fields.json("a job")?;
    let status = state.status(now)?;
    let waiting = state.waiting(status)?;
    let lane = lane_of(&state.lane)?;
    let cursor: Option<Cursor> = some("a cursor", state.cursor.as_deref())?;
    Ok(JobRecord {
        id: job_of(&state.id)?,
        tenant: lane.tenant,
        kind: (*fixed.kind).to_owned(),
        queue: lane.queue,
        lane: lane.name,
        status,
        priority: match state.priority {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        },
        attempt: state.attempt,
        max_attempts: fixed.max_attempts,
        crashes: state.crashes,
        cursor: cursor.unwrap_or_else(|| Cursor { total: fixed.items, ..Cursor::default() }),
        result: some("a result", state.result.as_deref())?,
        skipped: state.skipped,
        error: some("an error", state.error.as_deref())?,
        attempts: state.attempts.into_iter().map(attempt).collect::<Result<_, _>>()?,
        waiting,
        cancelled_by: state.cancelled_by,
        cancel_requested: state.cancel_requested,
        retryable: state.retryable,
        run_at: Moment::from_millis(state.run_at),
        created_at: Moment::from_millis(state.created_at),
        started_at: state.started_at.map(Moment::from_millis),
        completed_at: state.completed_at.map(Moment::from_millis),
        tags: fixed.tags,
        request_id: (*fixed.request_id).to_owned(),
        callback: fixed.callback,
        version: state.version,
    })
}

fn some<T: serde::de::DeserializeOwned>(
    what: &str,
    text: Option<&str>,
) -> Result<Option<T>, QueueError> {
    text.map(|text| parsed(what, text)).transpose()
}

fn attempt(attempt: Attempt) -> Result<AttemptRecord, QueueError> {
    let (number, started_at, ended_at, outcome, error, worker) = attempt;
    Ok(AttemptRecord {
        number,
        started_at: Moment::from_millis(started_at),
        ended_at: ended_at.map(Moment::from_millis),
        outcome,
        error: some("an error", error.as_deref())?,
        worker,
    })
}

impl State {
    fn status(&self, now: Moment) -> Result<Status, QueueError> {
        match self.state.as_str() {
            "waiting" if self.run_at > now.millis() => Ok(Status::Scheduled),
            "waiting" => Ok(Status::Queued),
            state => state.parse().map_err(|e| corrupt("a job's state", e)),
        }
    }

    /// Why the job waits; none when it does not.
    fn waiting(&self, status: Status) -> Result<Option<Waiting>, QueueError> {
        let waits = |what, reason, until| Ok(Some(Waiting { what, reason, until }));
        if status == Status::Scheduled {
            let what = match self.wait.as_str() {
                "retry" => WaitingFor::Retry,
                "snooze" => WaitingFor::Snooze,
                _ => WaitingFor::Schedule,
            };
            return waits(what, self.reason.clone(), Some(Moment::from_millis(self.run_at)));
        }
        let Some(hold) = self.hold.as_ref().filter(|_| status == Status::Queued) else {
            return Ok(None);
        };
        if hold.queue_paused || hold.paused {
            return waits(WaitingFor::Paused, None, None);
        }
        match parked(hold.till, hold.reason.as_deref())? {
            Some((until, ParkReason::Limit(label))) => {
                waits(WaitingFor::Limit, Some(label), Some(until))
            }
            Some((until, ParkReason::Snooze(words))) => {
                waits(WaitingFor::Lane, Some(words), Some(until))
            }
            None if hold.full => waits(WaitingFor::InFlight, None, None),
            None => waits(WaitingFor::Turn, None, None),
        }
    }
}

fn parked(
    till: Option<i64>,
    reason: Option<&str>,
) -> Result<Option<(Moment, ParkReason)>, QueueError> {
    let reason = some("a reason for parking", reason)?;
    Ok(till.map(Moment::from_millis).zip(reason))
}

/// A lane, as a script shows it.
#[derive(Debug, Deserialize)]
pub(super) struct LaneView {
    pub(super) id: String,
    policy: Option<String>,
    waiting: u64,
    running: u64,
    parked: Option<i64>,
    reason: Option<String>,
    hold: Hold,
}

impl LaneView {
    /// The lane; none when it was asked for lanes that are held, and this one is not.
    pub(super) fn record(
        self,
        only_held: bool,
        now: Moment,
    ) -> Result<Option<LaneRecord>, QueueError> {
        // A limit parks nobody where nobody waits.
        let parked = if self.waiting == 0 {
            parked(self.parked.filter(|at| *at > now.millis()), self.reason.as_deref())?
        } else {
            parked(self.hold.till, self.hold.reason.as_deref())?
        };
        let held = self.hold.paused || parked.is_some() || (self.hold.full && self.waiting > 0);
        if only_held && !held {
            return Ok(None);
        }
        Ok(Some(LaneRecord {
            lane: lane_of(&self.id)?,
            waiting: self.waiting,
            in_flight: self.running,
            paused: self.hold.paused,
            parked,
            policy: some("a lane's policy", self.policy.as_deref())?.unwrap_or_default(),
        }))
    }
}
