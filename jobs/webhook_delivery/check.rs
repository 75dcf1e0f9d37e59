//! Everything wrong with a payload that can be seen without asking anybody.

use super::{LARGEST_BODY, WebhookDelivery};
use crate::contract::{Moment, Problem};

const LONGEST_EVENT: usize = 64;
const LONGEST_ID: usize = 64;

/// Whether this is the type of an event: `ticket.created`, `message.attempt.failing`.
fn is_event(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    text.len() <= LONGEST_EVENT && text.split('.').all(word)
}

/// Whether this is a subscription: `*`, `ticket.*`, `ticket.created`.
pub fn is_subscription(text: &str) -> bool {
    text == "*" || is_event(text.strip_suffix(".*").unwrap_or(text))
}

/// Whether this can be the name of an endpoint, a delivery or an event.
pub fn is_name(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(fits)
}

pub(super) fn check(job: &WebhookDelivery) -> Vec<Problem> {
    let mut problems = names(job);
    match &job.replay {
        Some(_) => problems.extend(replay(job)),
        None => problems.extend(event(job)),
    }
    problems
}

fn names(job: &WebhookDelivery) -> Vec<Problem> {
    let given = [
        ("/endpoint_id", &job.endpoint_id),
        ("/event_id", &job.event_id),
        ("/replay", &job.replay),
    ];
    let words = format!("expected 1 to {LONGEST_ID} letters, digits, '-', '_' or '.'");
    given
        .into_iter()
        .filter(|(_, name)| name.as_deref().is_some_and(|name| !is_name(name)))
        .map(|(at, _)| Problem::new(at, "invalid_name", words.clone()))
        .collect()
}

fn replay(job: &WebhookDelivery) -> Vec<Problem> {
    let mut problems = Vec::new();
    if job.endpoint_id.is_none() {
        let words = "expected the endpoint of the delivery that is replayed";
        problems.push(Problem::new("/endpoint_id", "missing", words));
    }
    let given = [
        ("/event", job.event.is_some()),
        ("/data", job.data.is_some()),
        ("/event_id", job.event_id.is_some()),
        ("/timestamp", job.timestamp.is_some()),
    ];
    let words = "a replay delivers what is in the log: expected this to be left out";
    let given = given.into_iter().filter(|(_, given)| *given);
    problems.extend(given.map(|(at, _)| Problem::new(at, "not_with_replay", words)));
    problems
}

fn event(job: &WebhookDelivery) -> Vec<Problem> {
    let mut problems = Vec::new();
    let words = "expected words of a-z, 0-9 and _ with dots between them, such as ticket.created, \
                 at most 64 characters";
    match &job.event {
        None => problems.push(Problem::new("/event", "missing", words)),
        Some(event) if !is_event(event) => {
            problems.push(Problem::new("/event", "invalid_event", words));
        }
        Some(_) => {}
    }
    if job.data.is_none() {
        problems.push(Problem::new("/data", "missing", "expected an object: what happened"));
    }
    // The moment of the submission, which is not known yet, is as long as any other.
    let bytes = job.body(Moment::default()).len();
    if bytes > LARGEST_BODY {
        let words = format!("expected a body of at most {LARGEST_BODY} bytes, got {bytes}");
        problems.push(Problem::new("/data", "too_large", words));
    }
    problems
}
