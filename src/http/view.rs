//! What a caller may see of a job: a list of what is shown, not of what is hidden. Never the
//! payload, never the name of a worker or of a queue's insides.

use jobs::contract::{Cause, JobId, Moment, ports::ItemError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::queue::{AttemptRecord, JobRecord, NewJob, Status, Waiting, WaitingFor};

/// What goes along with the data of an answer.
#[derive(Debug, Serialize)]
pub(super) struct Meta<'a> {
    /// The request that is answered.
    pub(super) request_id: &'a str,
    /// The key under which the submission is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idempotency_key: Option<&'a str>,
}

/// A job that was taken in.
#[derive(Debug, Serialize)]
pub(super) struct Receipt<'a> {
    id: JobId,
    /// The same, as callers of bulk jobs have known it before there were others.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    r#type: &'a str,
    status: Status,
    total_items: u64,
    created_at: Moment,
}

impl<'a> Receipt<'a> {
    /// The receipt for a job that is taken in now. Where an unfinished job with the same uniqueness
    /// key is there already it gets that one's id, and says of the rest how it was asked for.
    pub(super) fn of(job: &'a NewJob, is_bulk: bool, now: Moment) -> Self {
        let later = job.run_at.is_some_and(|at| at > now);
        Self {
            id: job.id,
            job_id: is_bulk.then_some(job.id),
            r#type: &job.kind,
            status: if later { Status::Scheduled } else { Status::Queued },
            total_items: job.total_items,
            created_at: now,
        }
    }
}

/// What went wrong: with the job, or with one of its items.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ErrorView<'a> {
    Job(&'a Cause),
    Item(&'a ItemError),
}

/// A job.
#[derive(Debug, Serialize)]
pub(super) struct JobView<'a> {
    pub(super) id: JobId,
    pub(super) r#type: &'a str,
    pub(super) status: Status,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) total_items: u64,
    pub(super) processed_items: u64,
    pub(super) failed_items: u64,
    pub(super) errors: Vec<ErrorView<'a>>,
    pub(super) result: Option<Value>,
    pub(super) waiting: Option<WaitingView<'a>>,
    pub(super) attempts: Vec<AttemptView<'a>>,
    pub(super) tags: &'a [String],
    pub(super) run_at: Moment,
    pub(super) created_at: Moment,
    pub(super) started_at: Option<Moment>,
    pub(super) completed_at: Option<Moment>,
}

impl<'a> JobView<'a> {
    /// The view of a job, and of the items of it that failed.
    pub(super) fn of(job: &'a JobRecord, items: &'a [ItemError]) -> Self {
        // While a job is tried again its last error is told by its attempts; it has failed of
        // nothing yet.
        let failed = job.status == Status::Failed;
        let errors = job.error.iter().filter(|_| failed).map(ErrorView::Job);
        Self {
            id: job.id,
            r#type: &job.kind,
            status: job.status,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            total_items: job.cursor.total,
            processed_items: job.processed(),
            failed_items: job.cursor.failed,
            errors: errors.chain(items.iter().map(ErrorView::Item)).collect(),
            result: result(job),
            waiting: job.waiting.as_ref().map(WaitingView::of),
            attempts: job.attempts.iter().map(AttemptView::of).collect(),
            tags: &job.tags,
            run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
        }
    }
}

/// What the job answered, or why there was nothing to do.
fn result(job: &JobRecord) -> Option<Value> {
    match &job.skipped {
        Some(why) => Some(json!({ "skipped": why })),
        None => job.result.clone(),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct AttemptView<'a> {
    pub(super) number: u32,
    pub(super) started_at: Moment,
    pub(super) ended_at: Option<Moment>,
    pub(super) outcome: Option<&'a str>,
    pub(super) error: Option<&'a Cause>,
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            outcome: attempt.outcome.as_deref(),
            error: attempt.error.as_ref(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct WaitingView<'a> {
    pub(super) r#for: WaitingFor,
    /// The limit that admits nothing now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<&'a str>,
    /// Why, in words, when it is not a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    pub(super) until: Option<Moment>,
}

impl<'a> WaitingView<'a> {
    fn of(waiting: &'a Waiting) -> Self {
        let words = waiting.reason.as_deref();
        let is_limit = waiting.what == WaitingFor::Limit;
        Self {
            r#for: waiting.what,
            limit: words.filter(|_| is_limit),
            reason: words.filter(|_| !is_limit),
            until: waiting.until,
        }
    }
}

/// After how many seconds asking again makes sense: 1 to 5, nothing once the job is final.
pub(super) fn poll_after(job: &JobRecord, now: Moment) -> Option<u64> {
    let until = match job.status {
        Status::Completed | Status::Failed | Status::Cancelled => return None,
        Status::Processing => return Some(1),
        Status::Queued | Status::Scheduled => job.waiting.as_ref().and_then(|w| w.until),
    };
    let seconds = until.map_or(2, |until| until.since(now).as_millis().div_ceil(1_000));
    Some(u64::try_from(seconds.clamp(1, 5)).unwrap_or(5))
}
