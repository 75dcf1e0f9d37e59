//! The table of endings: what becomes of a job, however its run ended.
//!
//! [`judge`] is pure. Workers and the rescuer ask it; queue adapters carry its verdict out and decide
//! nothing themselves.

use std::time::Duration;

use serde_json::Value;

use super::{Cause, Done, Moment, Outcome, Retry, Scope, Stop};

/// How a run ended, as seen from outside the job.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The job said so itself.
    Said(Outcome),
    /// The job's code panicked, with these words.
    Panicked(String),
    /// The run took longer than its kind allows.
    TimedOut(Duration),
    /// The payload is not what its kind expects; the decoder's words.
    Undecodable(String),
    /// The process stops, and the run did not get to its end.
    Stopped,
    /// The worker's lease ran out with nothing heard of it.
    Vanished,
    /// Somebody else holds the job by now.
    LeaseLost,
    /// An operator or the caller cancelled the job while it ran.
    CancelRequested,
}

/// What the judge needs to know beside the end itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// The number of the attempt that ended, from 1.
    pub attempt: u32,
    /// Attempts the job may have.
    pub max_attempts: u32,
    /// Workers that vanished under this job before this end.
    pub crashes: u32,
    /// Vanished workers after which a job is quarantined.
    pub max_crashes: u32,
    /// When the run ended.
    pub now: Moment,
    /// When the job first was to run; patience counts from here.
    pub due_at: Moment,
    /// How long the job may be put off before it is not worth doing.
    pub patience: Duration,
    /// The kind's retry policy.
    pub retry: Retry,
    /// Drawn from `0.0..1.0` by the caller, for the retry's jitter.
    pub chance: f64,
    /// Somebody asked for the job to be cancelled while it ran.
    pub cancel_requested: bool,
}

/// What becomes of the job; every queue adapter carries out exactly these.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// `completed`; the result is kept until retention.
    Complete {
        /// What the job answered; null when it was skipped.
        result: Value,
        /// Why there was nothing to do, when there was nothing to do.
        skipped: Option<String>,
    },
    /// `scheduled` at `at`; the attempt is spent and the error appended.
    Retry {
        /// When the next attempt may begin.
        at: Moment,
        /// What went wrong.
        error: Cause,
    },
    /// `scheduled` at `until`; the attempt is given back.
    SnoozeJob {
        /// Until when the job sleeps.
        until: Moment,
        /// Why, in words.
        why: String,
    },
    /// The lane is parked until `until`, the job waits in front of it; the attempt is given back.
    SnoozeLane {
        /// Until when the lane sleeps.
        until: Moment,
        /// Why, in words.
        why: String,
    },
    /// `failed`, in the dead set.
    Fail {
        /// What went wrong.
        error: Cause,
        /// The attempt counts; otherwise it is given back.
        spent: bool,
        /// Whether `retry` by an operator makes sense by policy.
        retryable: bool,
    },
    /// `cancelled`, for good.
    Cancel,
    /// `queued` at once; the attempt is given back.
    Release,
    /// `queued` at once with one more crash counted; the attempt is spent.
    Rescue {
        /// That the worker vanished.
        error: Cause,
    },
    /// Nothing may be written: the job belongs to somebody else.
    Nothing,
}

/// What is done is done, and nothing else has to be known for that.
impl From<Done> for Verdict {
    fn from(done: Done) -> Self {
        match done {
            Done::Finished(result) => Self::Complete { result, skipped: None },
            Done::Skipped(why) => Self::Complete { result: Value::Null, skipped: Some(why) },
        }
    }
}

/// Judges how a run ended: one row of the table each.
pub fn judge(end: End, facts: &Facts) -> Verdict {
    match end {
        End::LeaseLost => Verdict::Nothing,
        // Work that was done stays done, whoever asked for a cancel meanwhile.
        End::Said(Ok(done)) => done.into(),
        // Past this line the job is not done; a cancel that was asked for is final.
        _ if facts.cancel_requested => Verdict::Cancel,
        End::CancelRequested => Verdict::Cancel,
        End::Said(Err(Stop::Retry { cause, after })) => retry(cause, after, facts),
        End::Said(Err(Stop::Snooze { until, why, scope })) => snooze(until, why, scope, facts),
        End::Said(Err(Stop::Cancel { cause })) => fail(cause, true, false),
        End::Panicked(words) => retry(Cause::new("panic", words), None, facts),
        End::TimedOut(limit) => {
            let words = format!("did not end within {} s", limit.as_secs_f64());
            retry(Cause::new("timeout", words), None, facts)
        }
        End::Undecodable(words) => fail(Cause::new("undecodable", words), true, false),
        End::Stopped => Verdict::Release,
        End::Vanished => rescue(facts),
    }
}

fn retry(error: Cause, after: Option<Duration>, facts: &Facts) -> Verdict {
    if facts.attempt >= facts.max_attempts {
        return fail(error, true, true);
    }
    let wait = after.unwrap_or_else(|| facts.retry.wait(facts.attempt, facts.chance));
    Verdict::Retry { at: facts.now.plus(wait), error }
}

fn snooze(until: Moment, why: String, scope: Scope, facts: &Facts) -> Verdict {
    if until > facts.due_at.plus(facts.patience) {
        let words = format!("too old: put off until {until}, past its patience ({why})");
        return fail(Cause::new("too_old", words), false, true);
    }
    match scope {
        Scope::Job => Verdict::SnoozeJob { until, why },
        Scope::Lane => Verdict::SnoozeLane { until, why },
    }
}

fn rescue(facts: &Facts) -> Verdict {
    let crashes = facts.crashes.saturating_add(1);
    if crashes >= facts.max_crashes {
        let words = format!("quarantined: {crashes} workers vanished while they ran this job");
        return fail(Cause::new("quarantined", words), true, true);
    }
    Verdict::Rescue { error: Cause::new("worker_vanished", "the worker vanished") }
}

fn fail(error: Cause, spent: bool, retryable: bool) -> Verdict {
    Verdict::Fail { error, spent, retryable }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Moment = Moment::from_millis(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn facts() -> Facts {
        Facts {
            attempt: 1,
            max_attempts: 3,
            crashes: 0,
            max_crashes: 3,
            now: NOW,
            due_at: NOW,
            patience: MINUTE * 60,
            retry: Retry { max_attempts: 3, waits: &[MINUTE], jitter: 0.0 },
            chance: 0.5,
            cancel_requested: false,
        }
    }

    fn cause() -> Cause {
        Cause::new("smtp_later", "451 try again later")
    }

    fn said_retry(after: Option<Duration>) -> End {
        End::Said(Err(Stop::Retry { cause: cause(), after }))
    }

    fn said_snooze(after: Duration, scope: Scope) -> End {
        End::Said(Err(Stop::Snooze { until: NOW.plus(after), why: "window".into(), scope }))
    }

    fn failed(code: &'static str, spent: bool, retryable: bool) -> (&'static str, bool, bool) {
        (code, spent, retryable)
    }

    /// Rows whose verdict is written out whole.
    #[test]
    fn every_row_of_the_table_of_endings() {
        let done = json!({"message_id": "<a@b>"});
        let rows = [
            (
                "finished",
                End::Said(Ok(Done::Finished(done.clone()))),
                Verdict::Complete { result: done, skipped: None },
            ),
            (
                "skipped",
                End::Said(Ok(Done::Skipped("suppressed".into()))),
                Verdict::Complete { result: Value::Null, skipped: Some("suppressed".into()) },
            ),
            (
                "retry by policy",
                said_retry(None),
                Verdict::Retry { at: NOW.plus(MINUTE), error: cause() },
            ),
            (
                "retry after",
                said_retry(Some(MINUTE * 7)),
                Verdict::Retry { at: NOW.plus(MINUTE * 7), error: cause() },
            ),
            (
                "snooze job",
                said_snooze(MINUTE, Scope::Job),
                Verdict::SnoozeJob { until: NOW.plus(MINUTE), why: "window".into() },
            ),
            (
                "snooze lane",
                said_snooze(MINUTE, Scope::Lane),
                Verdict::SnoozeLane { until: NOW.plus(MINUTE), why: "window".into() },
            ),
            ("cancelled while running", End::CancelRequested, Verdict::Cancel),
            ("process stops", End::Stopped, Verdict::Release),
            ("lease lost", End::LeaseLost, Verdict::Nothing),
            (
                "worker vanished",
                End::Vanished,
                Verdict::Rescue { error: Cause::new("worker_vanished", "the worker vanished") },
            ),
        ];
        for (name, end, expected) in rows {
            assert_eq!(judge(end, &facts()), expected, "{name}");
        }
    }

    /// Rows that end in the dead set: code, attempt spent, retryable.
    #[test]
    fn every_way_into_the_dead_set() {
        let last = Facts { attempt: 3, ..facts() };
        let third_crash = Facts { crashes: 2, ..facts() };
        let cancel = End::Said(Err(Stop::Cancel { cause: cause() }));
        let rows = [
            ("no attempts left", said_retry(None), last, failed("smtp_later", true, true)),
            ("panic, last", End::Panicked("boom".into()), last, failed("panic", true, true)),
            ("timeout, last", End::TimedOut(MINUTE), last, failed("timeout", true, true)),
            (
                "snooze past patience",
                said_snooze(MINUTE * 61, Scope::Lane),
                facts(),
                failed("too_old", false, true),
            ),
            ("the job cancels", cancel, facts(), failed("smtp_later", true, false)),
            (
                "undecodable",
                End::Undecodable("missing field".into()),
                facts(),
                failed("undecodable", true, false),
            ),
            ("third crash", End::Vanished, third_crash, failed("quarantined", true, true)),
        ];
        for (name, end, facts, expected) in rows {
            let Verdict::Fail { error, spent, retryable } = judge(end, &facts) else {
                panic!("{name}: not a failure");
            };
            assert_eq!((error.code.as_ref(), spent, retryable), expected, "{name}");
        }
    }

    #[test]
    fn panic_and_timeout_are_retried_while_attempts_are_left() {
        for end in [End::Panicked("boom".into()), End::TimedOut(MINUTE)] {
            assert!(matches!(judge(end, &facts()), Verdict::Retry { .. }));
        }
    }

    /// A cancel that was asked for wins over every end but success and a lost lease.
    #[test]
    fn a_cancel_is_final() {
        let asked = Facts { cancel_requested: true, ..facts() };
        let ends = [
            said_retry(None),
            said_snooze(MINUTE, Scope::Job),
            End::Panicked("boom".into()),
            End::TimedOut(MINUTE),
            End::Stopped,
            End::Vanished,
        ];
        for end in ends {
            assert_eq!(judge(end, &asked), Verdict::Cancel);
        }
        let done = End::Said(Ok(Done::Finished(Value::Null)));
        assert!(matches!(judge(done, &asked), Verdict::Complete { .. }));
        assert_eq!(judge(End::LeaseLost, &asked), Verdict::Nothing);
    }
}
