//! A job as the command line shows it: everything but the payload.

use serde_json::{Value, json};

use crate::{
    cli::output::{when, when_known},
    queue::{JobRecord, Waiting, WaitingFor},
};

/// A job as a JSON document.
pub fn document(job: &JobRecord) -> Value {
    json!({
        "id": job.id,
        "tenant": job.tenant,
        "type": job.kind,
        "queue": job.queue,
        "lane": job.lane,
        "status": job.status,
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "total_items": job.cursor.total,
        "processed_items": job.processed(),
        "failed_items": job.cursor.failed,
        "result": job.result,
        "skipped": job.skipped,
        "error": job.error,
        "retryable": job.retryable,
        "waiting": job.waiting,
        "attempts": job.attempts,
        "cancel_requested": job.cancel_requested,
        "cancelled_by": job.cancelled_by,
        "tags": job.tags,
        "request_id": job.request_id,
        "run_at": job.run_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "version": job.version,
    })
}

/// Why a job waits, in words.
pub(super) fn waiting(waiting: &Waiting) -> String {
    let what = match waiting.what {
        WaitingFor::Turn => "its turn",
        WaitingFor::Schedule => "its time",
        WaitingFor::Retry => "its next attempt",
        WaitingFor::Snooze => "a moment it asked for",
        WaitingFor::Limit => "a limit",
        WaitingFor::InFlight => "other jobs of its lane",
        WaitingFor::Lane => "its lane",
        WaitingFor::Paused => "an operator",
    };
    let reason = waiting.reason.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
    let until = waiting.until.map(|at| format!(" until {}", when(at))).unwrap_or_default();
    format!("{what}{reason}{until}")
}

/// What there is to say about a job in a few words: its error, why it waits, why it was skipped.
pub(super) fn remark(job: &JobRecord) -> String {
    if let Some(why) = &job.waiting {
        return format!("waits for {}", waiting(why));
    }
    if let Some(why) = &job.skipped {
        return format!("skipped: {why}");
    }
    job.error.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A job as names and values.
pub(super) fn fields(job: &JobRecord) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("job", job.id.to_string()),
        ("type", job.kind.clone()),
        ("tenant", job.tenant.to_string()),
        ("lane", format!("{} of queue {}", job.lane, job.queue)),
        ("status", job.status.to_string()),
        ("attempt", format!("{} of {}", job.attempt, job.max_attempts)),
        ("submitted", format!("{} by {}", when(job.created_at), job.request_id)),
        ("runs at", when(job.run_at)),
        ("started", when_known(job.started_at)),
        ("ended", when_known(job.completed_at)),
    ];
    let cursor = &job.cursor;
    if cursor.total > 1 {
        let words = format!("{} of {}, {} failed", cursor.processed, cursor.total, cursor.failed);
        fields.push(("items", words));
    }
    let remark = remark(job);
    if !remark.is_empty() {
        fields.push(("remark", remark));
    }
    if let Some(by) = &job.cancelled_by {
        fields.push(("cancelled by", by.clone()));
    }
    if !job.tags.is_empty() {
        fields.push(("tags", job.tags.join(" ")));
    }
    if let Some(result) = &job.result {
        fields.push(("result", format!("{result:#}")));
    }
    fields
}
