//! What verdicts mean; adapters carry endings out and decide nothing.

use jobs::contract::{Cause, Moment, Verdict};

use super::Status;

/// What a verdict means for the job's row and for the history of its attempts.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) state: &'static str,
    pub(super) run_at: Option<Moment>,
    pub(super) wait: &'static str,
    pub(super) wait_reason: Option<String>,
    pub(super) gives_back: bool,
    pub(super) crashed: bool,
    /// The job's last error from now on; none leaves it as it is.
    pub(super) error: Option<Option<Cause>>,
    pub(super) result: Option<serde_json::Value>,
    pub(super) skipped: Option<String>,
    pub(super) retryable: bool,
    pub(super) outcome: &'static str,
    /// The words of a snooze, for the history only.
    pub(super) why: Option<String>,
    pub(super) park_until: Option<Moment>,
}

impl Ending {
    fn new(state: &'static str, outcome: &'static str) -> Self {
        Self {
            state,
            run_at: None,
            wait: "turn",
            wait_reason: None,
            gives_back: false,
            crashed: false,
            error: None,
            result: None,
            skipped: None,
            retryable: false,
            outcome,
            why: None,
            park_until: None,
        }
    }

    /// What `verdict` means. A cancel that was asked for is final, whether or not whoever judged had
    /// heard of it; only work that was done stays done.
    pub(super) fn of(verdict: Verdict, cancel_requested: bool, now: Moment) -> Self {
        let again = |outcome| Self::new("waiting", outcome);
        match verdict {
            Verdict::Complete { result, skipped } => Self {
                result: Some(result),
                skipped,
                error: Some(None),
                ..Self::new("completed", "completed")
            },
            Verdict::Cancel => Self::new("cancelled", "cancelled"),
            _ if cancel_requested => Self::new("cancelled", "cancelled"),
            Verdict::Retry { at, error } => Self {
                run_at: Some(at.max(now)),
                wait: "retry",
                wait_reason: Some(error.code.to_string()),
                error: Some(Some(error)),
                ..again("retried")
            },
            Verdict::SnoozeJob { until, why } => Self {
                run_at: Some(until.max(now)),
                wait: "snooze",
                wait_reason: Some(why.clone()),
                gives_back: true,
                why: Some(why),
                ..again("snoozed")
            },
            // The job keeps its place, which is the first: it was the lane's next one.
            Verdict::SnoozeLane { until, why } => Self {
                gives_back: true,
                why: Some(why),
                park_until: Some(until),
                ..again("snoozed")
            },
            Verdict::Fail { error, spent, retryable } => Self {
                gives_back: !spent,
                error: Some(Some(error)),
                retryable,
                ..Self::new("failed", "failed")
            },
            Verdict::Release => Self { gives_back: true, ..again("released") },
            Verdict::Rescue { error } => {
                Self { crashed: true, error: Some(Some(error)), ..again("vanished") }
            }
            Verdict::Nothing => again("released"), // sorted out before
        }
    }

    /// However it is judged, a worker vanished.
    pub(super) fn vanished(mut self) -> Self {
        self.crashed = true;
        self.outcome = "vanished";
        self
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            "failed" => Status::Failed,
            "cancelled" => Status::Cancelled,
            _ => Status::Queued,
        }
    }
}
