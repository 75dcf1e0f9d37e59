//! The table of answers: what follows from an attempt. Pure.

use std::time::Duration;

use super::WebhookDelivery;
use crate::contract::{
    Cause, Job, Moment, Scope, Stop,
    ports::{Answer, Class, DeliveryState, Exchange, Format, RetryAfter},
};

const MINUTE: Duration = Duration::from_secs(60);
/// The longest that an answer can ask to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What follows from an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Consequence {
    /// How the delivery stands now.
    pub(super) state: DeliveryState,
    /// How the run ends; none when the endpoint took it.
    pub(super) stop: Option<Stop>,
    /// When the next attempt is due.
    pub(super) next_at: Option<Moment>,
    /// Why the endpoint is to be disabled, if it is.
    pub(super) disable: Option<String>,
}

/// What is known beside the exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) format: Format,
    pub(super) now: Moment,
    /// The number of the attempt that ended, counted as the schedule counts.
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    /// Drawn from `0.0..1.0`, for the jitter.
    pub(super) chance: f64,
}

/// Looks an exchange up in the table.
pub(super) fn judge(exchange: &Exchange, facts: &Facts) -> Consequence {
    match &exchange.answer {
        Ok(answer) => answered(answer, facts),
        Err(unanswered) => {
            let cause = Cause::new(unanswered.class.as_str(), unanswered.message.clone());
            match unanswered.class {
                Class::BlockedAddress | Class::InvalidUrl => never(cause),
                Class::Timeout => again(cause, MINUTE, facts),
                Class::Dns | Class::Connect | Class::Tls | Class::Broken => {
                    again(cause, Duration::ZERO, facts)
                }
            }
        }
    }
}

fn answered(answer: &Answer, facts: &Facts) -> Consequence {
    let status = answer.status;
    let cause = |code| Cause::new(code, format!("the endpoint answered {status}"));
    let asked = asked(answer.retry_after, facts.now);
    match (status, facts.format) {
        (200..=299, _) => Consequence {
            state: DeliveryState::Delivered,
            stop: None,
            next_at: None,
            disable: None,
        },
        (410, _) | (403 | 404, Format::Slack) => {
            let why = format!("it answered {status}: it is gone");
            Consequence { disable: Some(why), ..never(cause("gone")) }
        }
        (400, Format::Slack) => never(cause("refused")),
        (429 | 503, _) => later(asked.unwrap_or(MINUTE), status, facts.now),
        (300..=399, _) => {
            let words = format!("the endpoint answered {status}; redirects are not followed");
            again(Cause::new("redirected", words), asked.unwrap_or_default(), facts)
        }
        (502 | 504, _) => {
            again(cause("server_error"), asked.unwrap_or_default().max(MINUTE), facts)
        }
        (500.., _) => again(cause("server_error"), asked.unwrap_or_default(), facts),
        _ => again(cause("refused"), asked.unwrap_or_default(), facts),
    }
}

/// How long the answer asks to be left alone; nothing when that is not in the future.
fn asked(retry_after: Option<RetryAfter>, now: Moment) -> Option<Duration> {
    let wait = match retry_after? {
        RetryAfter::For(wait) => wait,
        RetryAfter::Until(moment) => moment.since(now),
    };
    (!wait.is_zero()).then_some(wait.min(LONGEST_WAIT))
}

fn never(cause: Cause) -> Consequence {
    Consequence {
        state: DeliveryState::Failed,
        stop: Some(Stop::Cancel { cause }),
        next_at: None,
        disable: None,
    }
}

/// The whole lane waits, and no attempt is spent.
fn later(wait: Duration, status: u16, now: Moment) -> Consequence {
    let until = now.plus(wait);
    let why = format!("the endpoint answered {status} and wants to be left alone");
    Consequence {
        state: DeliveryState::Waiting,
        stop: Some(Stop::Snooze { until, why, scope: Scope::Lane }),
        next_at: Some(until),
        disable: None,
    }
}

/// Tried again by the schedule, but not before `least`; unless it was the last attempt.
fn again(cause: Cause, least: Duration, facts: &Facts) -> Consequence {
    let last = facts.attempt >= facts.max_attempts;
    let wait = WebhookDelivery::RETRY.wait(facts.attempt, facts.chance).max(least);
    Consequence {
        state: if last { DeliveryState::Failed } else { DeliveryState::Waiting },
        stop: Some(Stop::Retry { cause, after: Some(wait) }),
        next_at: (!last).then(|| facts.now.plus(wait)),
        disable: None,
    }
}
